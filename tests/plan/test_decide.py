"""One job and its past: whether it is sent, and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batch.core.decisions import Rejection
from batch.core.model import Reference
from batch.core.parameters import common_parameters
from batch.core.settings import ChangedPolicy, UnknownPolicy, Until
from batch.manifest.templating.facts import FactExpression
from batch.plan import DECISIONS, Policies, RejectedPolicy, Remakes, RetryFilter, Skip, ToDo, changes, decide, name_of
from batch.store.job_state import NOTHING, JobHistory, State
from tests.support.fakes import job

CUP = job("cup")
SAME, OTHER = CUP.spec_hash(), job("cup", prompt="another").spec_hash()

ASK, REFUSE, KEEP, RERUN = (Policies(changed=policy) for policy in ChangedPolicy)
HOLD = Policies(unknown=UnknownPolicy.HOLD)
RETRY, RETRY_ALL, RETRY_CUT = (
    Policies(retry=RetryFilter(text, FactExpression)) for text in ("no_image,text_only", "all", "cause == cut")
)


def past(state: State, spec: str = SAME, **fields: Any) -> JobHistory:
    return replace(NOTHING, state=state, spec=spec, attempts=1, **fields)


def bought(spec: str = SAME, state: State = State.DONE, **fields: Any) -> JobHistory:
    return past(state, fields.pop("last_spec", spec), bought_spec=spec, versions=1, **fields)


@pytest.mark.parametrize(
    ("history", "policies", "expected"),
    [
        (NOTHING, REFUSE, "to do: new"),
        (bought(), REFUSE, "skip: done"),
        (bought(), RERUN, "skip: done"),
        (bought(missing=True), REFUSE, "skip: missing"),
        (bought(missing=True), RERUN, "skip: missing"),
        (bought(OTHER), REFUSE, "skip: changed"),
        (bought(OTHER), ASK, "skip: changed"),
        (bought(OTHER), KEEP, "skip: changed"),
        (bought(OTHER), RERUN, "to do: changed"),
        # edited, asked for again, and that attempt's end
        (bought(OTHER, State.FAILED, last_spec=SAME), RERUN, "skip: failed"),
        (bought(OTHER, State.RETRYABLE, last_spec=SAME), RERUN, "to do: again"),
        (bought(OTHER, State.UNKNOWN, last_spec=SAME), RERUN, "to do: resend"),
        (bought(OTHER, State.UNKNOWN, last_spec=SAME), KEEP, "skip: changed"),
        # edited, asked for again in vain, and edited back
        (bought(SAME, State.FAILED, last_spec=OTHER), REFUSE, "skip: done"),
        (bought(SAME, State.UNKNOWN, last_spec=OTHER), REFUSE, "skip: done"),
        (past(State.FAILED), REFUSE, "skip: failed"),
        (past(State.FAILED, code="no_image"), RETRY, "to do: again"),
        (past(State.FAILED, code="image_safety"), RETRY, "skip: failed"),
        (past(State.FAILED, code="image_safety"), RETRY_ALL, "to do: again"),
        (bought(OTHER, State.FAILED, last_spec=SAME, code="no_image"), RETRY, "skip: changed"),
        (past(State.FAILED, OTHER), REFUSE, "to do: new"),
        (past(State.RETRYABLE), REFUSE, "to do: again"),
        (past(State.RETRYABLE), HOLD, "to do: again"),
        (past(State.RETRYABLE, OTHER), REFUSE, "to do: new"),
        (past(State.UNKNOWN), REFUSE, "to do: resend"),
        (past(State.UNKNOWN, resends=1), REFUSE, "skip: held"),
        (past(State.UNKNOWN), HOLD, "skip: held"),
        (past(State.UNKNOWN, OTHER), HOLD, "to do: new"),
        # asked for by a person
        (past(State.UNKNOWN, resends=1, code="cut"), RETRY_CUT, "to do: resend"),
        (past(State.UNKNOWN, resends=1, code="cut"), RETRY_ALL, "skip: held"),
        (past(State.UNKNOWN, resends=1, code="timeout"), RETRY_CUT, "skip: held"),
        # the same end, run after run
        (past(State.RETRYABLE, same_ends=4, code="unavailable"), REFUSE, "to do: again"),
        (past(State.RETRYABLE, same_ends=5, code="unavailable"), REFUSE, "skip: set aside"),
        (past(State.RETRYABLE, same_ends=5, code="no_image"), RETRY, "to do: again"),
        (past(State.RETRYABLE, OTHER, same_ends=5), REFUSE, "to do: new"),
        (past(State.WAITING, same_ends=9), REFUSE, "to do: again"),
        (past(State.SENT), REFUSE, "skip: open"),
        (past(State.SENT, OTHER), HOLD, "skip: open"),
        (bought(OTHER, State.SENT, last_spec=SAME), RERUN, "skip: open"),
    ],
)
def test_decision(history: JobHistory, policies: Policies, expected: str) -> None:
    """One row per state a job can be in: whether it is sent, and why."""
    decision = decide(CUP, history, policies)
    assert name_of(decision) == expected
    assert expected in DECISIONS
    assert decision.job is CUP


def test_what_a_person_asked_for_is_told_apart() -> None:
    """Only then does no budget of the program's own stand before it."""
    unknown = past(State.UNKNOWN, code="cut")
    asked = [decide(CUP, unknown, policies) for policies in (REFUSE, RETRY_CUT)]
    assert [decision.asked_for for decision in asked if isinstance(decision, ToDo)] == [False, True]


def test_nothing_bought_is_ever_asked_for_again_by_default() -> None:
    """Whatever else was asked for since, a picture that was bought for exactly this is not bought again."""
    for state in State:
        last_spec = SAME if state in (State.DONE, State.SENT) else OTHER
        for resends in (0, 1):
            for policies in (REFUSE, KEEP, RERUN, HOLD):
                known = bought(state=state, resends=resends, last_spec=last_spec)
                assert isinstance(decide(CUP, known, policies), Skip)


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (bought(), "to do: remake"),
        (bought(missing=True), "to do: missing"),
        (bought(altered=True), "to do: remake"),
        (bought(OTHER), "to do: changed"),
        (past(State.FAILED), "to do: again"),
        (past(State.UNKNOWN, resends=1), "to do: resend"),
        (past(State.SENT), "skip: open"),
    ],
)
def test_a_job_that_is_named_is_made_again(history: JobHistory, expected: str) -> None:
    """Whatever it ended as; only a request that is still open is settled first. Others are left alone."""
    assert name_of(decide(CUP, history, replace(HOLD, again=Remakes([CUP.id])))) == expected
    assert name_of(decide(CUP, history, replace(HOLD, again=Remakes(["other"])))) == name_of(decide(CUP, history, HOLD))


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State.FAILED, "skip: failed"),
        (State.RETRYABLE, "to do: again"),
        (State.WAITING, "to do: again"),
        (State.UNKNOWN, "to do: resend"),
    ],
)
def test_a_remake_that_is_not_settled_goes_on(state: State, expected: str) -> None:
    """As any other request, although the job has an older picture."""
    assert name_of(decide(CUP, bought(state=state), REFUSE)) == expected


def test_changes_name_what_decides_the_picture_and_nothing_else() -> None:
    """Prompt, parameters and the references' bytes count; a reference's new name does not."""
    old = replace(CUP, references=(reference("a.png", "1" * 64),), parameters=common_parameters(image_size="1K"))
    moved = replace(old, references=(reference("b/a.png", "1" * 64),))
    other = replace(old, references=(reference("a.png", "2" * 64),), parameters=common_parameters("16:9", "2K"))

    assert changes(old, moved) == ()
    assert [(change.field, change.old, change.new) for change in changes(old, other)] == [
        ("aspect_ratio", "free", "16:9"),
        ("image_size", "1K", "2K"),
        ("references", "a.png (11111111)", "a.png (22222222)"),
    ]


def reference(name: str, sha256: str) -> Reference:
    return Reference(name=name, file=Path(name), sha256=sha256, mime="image/png", size_bytes=1)


class Rejected:
    """The cup's picture was rejected."""

    def __bool__(self) -> bool:
        return True

    def __contains__(self, key: bytes) -> bool:
        return key == CUP.key()

    def of(self, _key: bytes, _past: JobHistory) -> Rejection | None:
        return Rejection(sha256="a1", note="blue")

    def accepted_beside(self, _key: bytes) -> int:
        return 1


def about_rejected(*, remake: bool, **rest: Any) -> Policies:
    def amend(prompt: str, rejection: Rejection) -> str:
        return f"{prompt}, {rejection.note}"

    return Policies(rejected=RejectedPolicy(pictures=Rejected(), amend=amend, remake=remake), **rest)


@pytest.mark.parametrize(
    ("history", "quiet", "asked"),
    [
        (bought(), "skip: done", "to do: rejected"),
        (bought(missing=True), "skip: missing", "to do: rejected"),
        (bought(altered=True), "skip: altered", "to do: rejected"),
        (bought(OTHER), "skip: changed", "to do: changed"),
        (bought(state=State.SENT), "skip: open", "skip: open"),
        (bought(state=State.FAILED), "skip: failed", "to do: again"),
        (bought(state=State.RETRYABLE), "to do: again", "to do: again"),
        (bought(state=State.UNKNOWN), "to do: resend", "to do: resend"),
        # who asks for the rejected ones has not said that what may be paid is sent again
        (bought(state=State.UNKNOWN, resends=1), "skip: held", "skip: held"),
        (bought(SAME, State.FAILED, last_spec=OTHER), "skip: done", "to do: rejected"),
    ],
)
def test_a_rejected_picture_is_made_again_if_that_is_asked_for(history: JobHistory, quiet: str, asked: str) -> None:
    """And what was said of it is part of every request for another one, but for an edited job's."""
    decisions = [decide(CUP, history, about_rejected(remake=remake)) for remake in (False, True)]
    assert [name_of(each) for each in decisions] == [quiet, asked]
    sent = [each.job.as_asked.prompt for each in decisions if isinstance(each, ToDo)]
    assert set(sent) <= {CUP.prompt if history.bought_spec == OTHER else f"{CUP.prompt}, blue"}
    assert {each.job.spec_hash() for each in decisions} == {SAME}


@pytest.mark.parametrize(
    ("until", "history", "expected"),
    [
        (Until(attempts=3), bought(made=2), "to do: rejected"),
        (Until(attempts=3), bought(made=3), "skip: rejected"),
        (Until(attempts=3, accepted=2), bought(made=1), "to do: rejected"),
        (Until(attempts=3, accepted=1), bought(made=1), "skip: done"),
        (Until(max_cost=0.5), bought(made=1, usd=0.4), "to do: rejected"),
        (Until(max_cost=0.5), bought(made=1, usd=0.41), "skip: rejected"),
        # failures are what they always were, as long as there is room
        (Until(max_cost=0.5), bought(state=State.RETRYABLE, made=1, usd=0.1), "to do: again"),
        (Until(max_cost=0.5), bought(state=State.RETRYABLE, made=1, usd=0.45), "skip: rejected"),
        (Until(max_cost=0.5), bought(state=State.FAILED, made=1, usd=0.1), "skip: failed"),
        (Until(max_cost=0.5), bought(state=State.UNKNOWN, made=1, usd=0.3), "to do: resend"),
        (Until(max_cost=0.5), bought(state=State.UNKNOWN, made=1, usd=0.35), "skip: rejected"),
        # an edit is decided on by a person
        (Until(), bought(OTHER, made=1), "skip: changed"),
        (Until(attempts=3), bought(state=State.SENT, made=3), "skip: open"),
    ],
)
def test_until_makes_rejected_pictures_again_by_itself(until: Until, history: JobHistory, expected: str) -> None:
    """Up to so many pictures and so much money of one job, at ten cents here; a person may always ask for more."""
    policies = about_rejected(remake=False)
    rejected = replace(policies.rejected, until=until, price_usd=lambda _: 0.1)
    decision = decide(CUP, history, replace(policies, rejected=rejected))
    assert name_of(decision) == expected
    if isinstance(decision, ToDo):
        assert decision.job.replaces is not None
        assert decision.job.replaces.has_room(0.4)
        assert decision.job.replaces.has_room(0.41) == (until.max_cost is None)
    asked = decide(CUP, history, replace(policies, rejected=replace(rejected, remake=True)))
    assert name_of(asked) != "skip: rejected"


def test_a_named_remake_of_a_rejected_picture_asks_for_what_was_said() -> None:
    """`--again` is another way to have it made again."""
    decision = decide(CUP, bought(), about_rejected(remake=False, again=Remakes(["cup"])))
    assert (name_of(decision), decision.job.as_asked.prompt) == ("to do: remake", f"{CUP.prompt}, blue")


def test_another_job_is_no_concern_of_a_rejection() -> None:
    """It goes by the job's id, although the picture may be the same."""
    assert name_of(decide(replace(CUP, id="pot"), bought(), about_rejected(remake=True))) == "skip: done"
