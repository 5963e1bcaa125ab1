"""What is left to do, and why. Pure: from a job and its history to a decision; nothing is read or written here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from batch.model import Job, Reference
from batch.settings import ChangedPolicy, UnknownPolicy
from batch.store.history import History, JobHistory, State

_EXAMPLES: Final = 5
_NAMED_JOBS: Final = 20
ALL_CAUSES: Final = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToDo:
    """This job will be sent. `because`: `new`, `again` (failed before), `resend` (outcome unknown), `changed`."""

    job: Job
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """This job will not be sent. `because`: `done`, `failed`, `held` (unknown), `changed`, `missing`, `open`.

    `missing`: bought, but its file is gone. `open`: an earlier run sent it and did not come to an end; the next run
    settles that first, from what arrived.
    """

    job: Job
    because: str


Decision: TypeAlias = ToDo | Skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """What the user decided about jobs that are neither new nor simply done."""

    unknown: UnknownPolicy = UnknownPolicy.RESEND
    changed: ChangedPolicy = ChangedPolicy.REFUSE
    #: Causes of failures for good that are worth another request all the same; "all" for any.
    retry: frozenset[str] = frozenset()


def decide(job: Job, past: JobHistory, policies: Policies) -> Decision:
    """Whether a job is to be sent, by its own history alone."""
    if past.state is State.SENT:
        return Skip(job=job, because="open")
    spec = job.spec_hash()
    if past.versions and past.bought_spec == spec:
        return Skip(job=job, because="missing" if past.missing else "done")
    if past.versions and policies.changed is not ChangedPolicy.RERUN:
        return Skip(job=job, because="changed")
    if past.spec != spec:
        # What was asked before was another picture: its failures say nothing about this one.
        return ToDo(job=job, because="changed" if past.versions else "new")
    if past.state is State.FAILED:
        wanted = past.code in policies.retry or ALL_CAUSES in policies.retry
        return ToDo(job=job, because="again") if wanted else Skip(job=job, because="failed")
    if past.state in (State.RETRYABLE, State.WAITING):
        return ToDo(job=job, because="again")
    if past.state is State.UNKNOWN:
        may_resend = policies.unknown is UnknownPolicy.RESEND and past.resends == 0
        return ToDo(job=job, because="resend") if may_resend else Skip(job=job, because="held")
    return ToDo(job=job, because="new")


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
        ("references", *_references(asked, job)),
        ("sample", str(asked.sample), str(job.sample)),
    ]
    return tuple(Change(name, old, new) for name, old, new in pairs if old != new)


def _references(asked: Job, job: Job) -> tuple[str, str]:
    """Reference pictures as words; the same name with other bytes is told apart by them."""
    same_bytes = [ref.sha256 for ref in asked.references] == [ref.sha256 for ref in job.references]
    if same_bytes:
        return "", ""

    def words(references: tuple[Reference, ...]) -> str:
        return ", ".join(f"{ref.name} ({ref.sha256[:8]})" for ref in references) or "none"

    return words(asked.references), words(job.references)


@dataclass(slots=True, kw_only=True)
class Plan:
    """The count of every decision, and what it will cost. `order` holds the jobs' 16-byte keys in a row.

    `counts` is keyed by `to do: new`, `skip: done` and so on. `usd` is the list price of one picture for each
    job to do, `changed_usd` that of the changed jobs that are skipped; `changed` names the first of them.
    """

    jobs: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    usd: float = 0.0
    order: bytearray = field(default_factory=bytearray)
    examples: list[ToDo] = field(default_factory=list)
    changed: list[Job] = field(default_factory=list)
    changed_usd: float = 0.0
    failed_causes: Counter[str] = field(default_factory=Counter)
    removed: int = 0

    @property
    def to_do(self) -> int:
        return sum(count for name, count in self.counts.items() if name.startswith("to do"))


def make_plan(
    jobs: Iterable[Job], history: History, policies: Policies, price_usd: Callable[[Job], float]
) -> Plan:
    """Go through all jobs once. Errors of the stream (a bad row) pass through, after the last job was seen."""
    plan = Plan()
    known = 0
    for job in jobs:
        key = job.key()
        past = history.of(key)
        known += past.state is not State.NEW
        plan.jobs += 1
        plan.order += key
        _count(plan, decide(job, past, policies), past, price_usd)
    plan.removed = len(history) - known
    return plan


def _count(plan: Plan, decision: Decision, past: JobHistory, price_usd: Callable[[Job], float]) -> None:
    if isinstance(decision, ToDo):
        plan.counts[f"to do: {decision.because}"] += 1
        plan.usd += price_usd(decision.job)
        if len(plan.examples) < _EXAMPLES:
            plan.examples.append(decision)
        return
    plan.counts[f"skip: {decision.because}"] += 1
    if decision.because == "failed":
        plan.failed_causes[past.code] += 1
    if decision.because == "changed":
        plan.changed_usd += price_usd(decision.job)
    if decision.because == "changed" and len(plan.changed) < _NAMED_JOBS:
        plan.changed.append(decision.job)
