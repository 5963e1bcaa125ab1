"""What is left to do, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import job

from batch.errors import InputError, Problem
from batch.model import Job, Reference
from batch.plan import Policies, Skip, ToDo, changes, decide, make_plan
from batch.settings import ChangedPolicy, UnknownPolicy
from batch.store.history import NOTHING, History, JobHistory, State

CUP = job("cup")
SAME, OTHER = CUP.spec_hash(), job("cup", prompt="another").spec_hash()

REFUSE, KEEP, RERUN = (Policies(changed=policy) for policy in ChangedPolicy)
HOLD = Policies(unknown=UnknownPolicy.HOLD)
RETRY, RETRY_ALL = Policies(retry=frozenset({"no_image", "text_only"})), Policies(retry=frozenset({"all"}))


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
        (past(State.SENT), REFUSE, "skip: open"),
        (past(State.SENT, OTHER), HOLD, "skip: open"),
        (bought(OTHER, State.SENT, last_spec=SAME), RERUN, "skip: open"),
    ],
)
def test_decision(history: JobHistory, policies: Policies, expected: str) -> None:
    """One row per state a job can be in: whether it is sent, and why."""
    decision = decide(CUP, history, policies)
    kind = "to do" if isinstance(decision, ToDo) else "skip"
    assert f"{kind}: {decision.because}" == expected
    assert decision.job is CUP


def test_nothing_bought_is_ever_asked_for_again_by_default() -> None:
    """Whatever else is known of a job, a picture that was bought for exactly this is not bought again."""
    for state in State:
        for resends in (0, 1):
            for policies in (REFUSE, KEEP, RERUN, HOLD):
                assert isinstance(decide(CUP, bought(state=state, resends=resends), policies), Skip)


class KnownJobs(History):
    """A history of given rows, without a ledger."""

    def __init__(self, rows: dict[str, JobHistory]) -> None:
        super().__init__()
        self._known = {job(job_id).key(): row for job_id, row in rows.items()}

    def of(self, key: bytes) -> JobHistory:
        return self._known.get(key, NOTHING)

    def __len__(self) -> int:
        return len(self._known)


def row(job_id: str, state: State, **fields: Any) -> JobHistory:
    return past(state, job(job_id).spec_hash(), **fields)


def test_counts_and_price() -> None:
    """Every job is counted once, and the price is that of the jobs to be sent."""
    history = KnownJobs({
        "a": bought(job("a").spec_hash()),
        "b": row("b", State.FAILED, code="image_safety"),
        "c": row("c", State.UNKNOWN),
        "gone": row("gone", State.RETRYABLE),
    })  # fmt: skip
    jobs = [job(name) for name in "abcde"]
    plan = make_plan(jobs, history, REFUSE, lambda job: 0.5 if job.id == "c" else 0.1)
    assert plan.counts == {"skip: done": 1, "skip: failed": 1, "to do: resend": 1, "to do: new": 2}
    assert (plan.jobs, plan.to_do, plan.removed) == (5, 3, 1)
    assert plan.usd == pytest.approx(0.7)
    assert plan.failed_causes == {"image_safety": 1}
    assert bytes(plan.order) == b"".join(each.key() for each in jobs)


def test_examples_are_few() -> None:
    """A plan of any size shows the first five jobs to send and names at most twenty changed ones."""
    assert [entry.job.id for entry in make_plan(map(job, "abcdefgh"), History(), REFUSE, lambda _: 0).examples] == list(
        "abcde"
    )
    names = [f"job-{n}" for n in range(50)]
    changed = make_plan(map(job, names), KnownJobs({name: bought(OTHER) for name in names}), KEEP, lambda _: 0)
    assert [job.id for job in changed.changed] == names[:20]
    assert changed.counts == {"skip: changed": 50}


def test_jobs_are_streamed() -> None:
    """A plan holds no job but its examples; an error at the end of the stream comes out."""

    def jobs() -> Iterator[Job]:
        yield from (job(f"job-{n}") for n in range(100))
        raise InputError([Problem(message="row 101 is wrong")])

    with pytest.raises(InputError, match="row 101"):
        make_plan(jobs(), History(), REFUSE, lambda _: 0.1)


def test_changes_name_what_decides_the_picture_and_nothing_else() -> None:
    """Prompt, parameters and the references' bytes count; a reference's new name does not."""
    old = replace(CUP, references=(reference("a.png", "1" * 64),), image_size="1K")
    moved = replace(old, references=(reference("b/a.png", "1" * 64),))
    other = replace(old, references=(reference("a.png", "2" * 64),), image_size="2K", aspect_ratio="16:9")

    assert changes(old, moved) == ()
    assert [(change.field, change.old, change.new) for change in changes(old, other)] == [
        ("aspect_ratio", "free", "16:9"),
        ("image_size", "1K", "2K"),
        ("references", "a.png (11111111)", "a.png (22222222)"),
    ]


def reference(name: str, sha256: str) -> Reference:
    return Reference(name=name, file=Path(name), sha256=sha256, mime="image/png", size_bytes=1)
