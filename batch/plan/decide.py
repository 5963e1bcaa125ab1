"""One job and its past: is it to be sent, and why. Pure; nothing is read or written here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from batch.core.model import Job, Reference
from batch.core.parameters import COMMON, canonical_json
from batch.core.settings import ChangedPolicy, UnknownPolicy
from batch.plan.rejections import Answer, RejectedPolicy
from batch.plan.remakes import Remakes
from batch.store.job_state import JobHistory, State


@dataclass(frozen=True, slots=True, kw_only=True)
class ToDo:
    """This job will be sent. `because`: `new`, `again` (failed before), `resend` (outcome unknown), `changed`,
    `remake` (a person wants another picture, by `--again`), `missing` (the same, for its file is gone), `rejected` (its
    picture was rejected).

    `asked_for`: a person named its cause in `--retry`, or the job in `--again`, so no budget of the program's own
    stands before it.
    """

    job: Job
    because: str
    asked_for: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt:
    """This job gets a picture that was bought before, without a request. `because`: `renamed` (the same picture
    under an id that is no longer in the manifest), `same` (another job asked for exactly this), `reused` (another
    output folder has it)."""

    job: Job
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """This job will not be sent.

    `because`: `done`, `failed`, `held` (unknown), `changed`, `missing` (bought, but its file is gone), `altered`
    (bought, but its file has another size), `set aside` (failed in the same way run after run), `rejected` (its picture
    was, and what `until` allows is used up), `copy` (waits for the job that asks for the same picture), `left out`
    (not selected this time), `open` (an earlier run sent it and did not come to an end; the next run settles that
    first, from what arrived).
    """

    job: Job
    because: str


Decision: TypeAlias = ToDo | Adopt | Skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """What the user decided about jobs that are neither new nor simply done.

    `retry` says of a failed or unknown job whether it is wanted again although it would not be sent by itself. A
    job that ended `set_aside_after` runs in the same way waits until it is. `resend_unknown`: all jobs whose outcome
    is unknown are wanted, but for those that a person found to be charged. `dedupe`: jobs that ask for exactly
    the same picture share one. `again`: jobs that a person wants made again; `rejected`: what to do about those whose
    picture was rejected.
    """

    unknown: UnknownPolicy = UnknownPolicy.RESEND
    changed: ChangedPolicy = ChangedPolicy.REFUSE
    retry: Callable[[JobHistory], bool] | None = None
    resend_unknown: bool = False
    set_aside_after: int = 5
    dedupe: bool = False
    again: Remakes = field(default_factory=Remakes)
    rejected: RejectedPolicy = field(default_factory=RejectedPolicy)

    def wants(self, past: JobHistory) -> bool:
        """Whether a person asked for this job again."""
        if self.resend_unknown and past.state is State.UNKNOWN and past.code != "resolved_paid":
            return True
        return self.retry is not None and self.retry(past)


#: Every decision by its name, in a fixed order: a plan keeps a job's decision as one byte.
DECISIONS: Final = (
    "to do: new",
    "to do: again",
    "to do: resend",
    "to do: changed",
    "to do: remake",
    "to do: missing",
    "to do: rejected",
    "to do: chained",
    "skip: open",
    "adopt: renamed",
    "adopt: same",
    "adopt: reused",
    "skip: done",
    "skip: failed",
    "skip: held",
    "skip: changed",
    "skip: missing",
    "skip: altered",
    "skip: set aside",
    "skip: rejected",
    "skip: copy",
    "skip: left out",
    "skip: waits",
)


def name_of(decision: Decision) -> str:
    """A decision as one of `DECISIONS`."""
    kind = "to do" if isinstance(decision, ToDo) else "adopt" if isinstance(decision, Adopt) else "skip"
    return f"{kind}: {decision.because}"


def decide(job: Job, past: JobHistory, policies: Policies) -> Decision:
    """Whether a job is to be sent, by its own history alone."""
    named, spec = policies.again.names(job.id), job.spec_hash()
    rejected = policies.rejected
    rejection = rejected.of(job.key(), past)
    answer = rejected.answer(job.key(), past, rejection, rejected.price_usd(job))
    kind, _, because = judge(spec, past, policies, named=named, answer=answer).partition(": ")
    if kind == "to do":
        asked_for = because in ("again", "resend") and (named or policies.wants(past))
        return ToDo(job=rejected.in_place(job, past, rejection), because=because, asked_for=asked_for)
    return Skip(job=job, because=because)


def judge(spec: str, past: JobHistory, policies: Policies, *, named: bool = False, answer: Answer = Answer.NONE) -> str:
    """The same as one of `DECISIONS`, for a job of which only the spec hash is at hand.

    `named`: in `--again`; `answer`: to the rejection of its picture.
    """
    requested = answer is Answer.REQUESTED
    if past.state is State.SENT:
        return "skip: open"
    if past.versions and past.bought_spec == spec:
        # Asked for once more, it is not settled by the picture it had.
        if past.state is State.DONE or past.spec != spec:
            return _with_its_picture(past, policies, named=named, answer=answer)
        if requested and past.state is State.FAILED:
            return "to do: again"
        if answer is Answer.USED_UP and past.state is not State.FAILED and not (named or policies.wants(past)):
            return "skip: rejected"
    elif past.versions and policies.changed is not ChangedPolicy.RERUN and not (named or requested):
        return "skip: changed"
    if past.spec != spec:
        # What was asked before was another picture: its failures say nothing about this one.
        return "to do: changed" if past.versions else "to do: new"
    return _after_an_end(past, policies, wanted=named or policies.wants(past))


def _with_its_picture(past: JobHistory, policies: Policies, *, named: bool, answer: Answer) -> str:
    """Just this was bought."""
    if answer in (Answer.REQUESTED, Answer.UNTIL):
        return "to do: rejected"
    if answer is Answer.USED_UP and not named:
        return "skip: rejected"
    if past.missing:
        return "to do: missing" if named or policies.again.missing else "skip: missing"
    if named:
        return "to do: remake"
    return "skip: altered" if past.altered else "skip: done"


def _after_an_end(past: JobHistory, policies: Policies, *, wanted: bool) -> str:
    """The same was asked for before and brought no picture."""
    if past.state is State.FAILED:
        return "to do: again" if wanted else "skip: failed"
    if past.state is State.RETRYABLE and past.same_ends >= policies.set_aside_after and not wanted:
        return "skip: set aside"
    if past.state in (State.RETRYABLE, State.WAITING):
        return "to do: again"
    if past.state is State.UNKNOWN:
        may_resend = (policies.unknown is UnknownPolicy.RESEND and past.resends == 0) or wanted
        return "to do: resend" if may_resend else "skip: held"
    return "to do: new"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that was asked differently before: the field's name and both values as words."""

    field: str
    old: str
    new: str


def changes(asked: Job, job: Job) -> tuple[Change, ...]:
    """What is different between a job as it was asked and as it stands now, in everything that decides a picture."""
    pairs = [
        ("prompt", asked.prompt, job.prompt),
        ("model", asked.model, job.model),
        ("aspect_ratio", asked.aspect_ratio or "free", job.aspect_ratio or "free"),
        ("image_size", asked.image_size, job.image_size),
        ("modalities", "+".join(asked.modalities), "+".join(job.modalities)),
        *_other_parameters(asked, job),
        ("references", *_references(asked, job)),
        ("sample", str(asked.sample), str(job.sample)),
    ]
    return tuple(Change(name, old, new) for name, old, new in pairs if old != new)


def _other_parameters(asked: Job, job: Job) -> Iterator[tuple[str, str, str]]:
    """What a provider takes beside the common parameters, each as JSON."""
    for name in sorted((asked.parameters.keys() | job.parameters.keys()) - set(COMMON)):
        old, new = (
            canonical_json(each.parameters[name]) if name in each.parameters else "none" for each in (asked, job)
        )
        yield name, old, new


def _references(asked: Job, job: Job) -> tuple[str, str]:
    """Reference pictures as words; they distinguish files of one name with different bytes."""
    same_bytes = [ref.sha256 for ref in asked.references] == [ref.sha256 for ref in job.references]
    if same_bytes:
        return "", ""

    def words(references: tuple[Reference, ...]) -> str:
        return ", ".join(f"{ref.name} ({ref.sha256[:8]})" for ref in references) or "none"

    return words(asked.references), words(job.references)
