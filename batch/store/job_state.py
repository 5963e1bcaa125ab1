"""Where one job stands: states, and the facts that jobs share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple

from batch.core.picture_warnings import WarningKind
from batch.core.results import Decided


class State(IntEnum):
    """Where a job stands. The arrows between them: docs/architecture.md, "The life of a job"."""

    NEW = 0
    SENT = 1
    DONE = 2
    FAILED = 3
    RETRYABLE = 4
    UNKNOWN = 5
    WAITING = 6


class FileState(IntEnum):
    """The state of a bought file, as far as its size tells."""

    WHOLE = 0
    ALTERED = 1
    MISSING = 2


class Standing(StrEnum):
    """A job's state as people see it."""

    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    PENDING = "pending"


_STANDINGS = {
    State.DONE: Standing.DONE,
    State.FAILED: Standing.FAILED,
    State.RETRYABLE: Standing.FAILED,
    State.UNKNOWN: Standing.UNKNOWN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHistory:
    """One job's past. `spec` is the last one sent, `bought_spec` the one of the picture on disk (empty: none).

    `rejected` counts charged answers without a usable picture, `resends` how often the job was sent again after
    an unknown outcome, both since it was last edited; `versions` how many pictures it got. `same_ends` counts the
    runs in a row that came to their own end and left the job failed with this `code`. `*_offset` point into the
    ledger.
    """

    state: State
    spec: str
    bought_spec: str
    attempts: int
    rejected: int
    resends: int
    versions: int
    missing: bool
    code: str
    usd: float
    try_offset: int
    last_offset: int
    bought_offset: int
    bought_try_offset: int
    same_ends: int = 0
    altered: bool = False
    #: How many of the versions were made since the job was last edited.
    made: int = 0
    #: A person said that it counts as done although its files are gone or altered or a newer picture failed, or that it
    #: has failed and that is all right.
    accepted: bool = False

    @property
    def standing(self) -> Standing:
        return _standing(self.state, self.versions)


def _standing(state: State, versions: int) -> Standing:
    """A picture bought earlier still stands while a new one for the same job is not settled."""
    return _STANDINGS.get(state, Standing.DONE if versions else Standing.PENDING)


NOTHING = JobHistory(
    state=State.NEW,
    spec="",
    bought_spec="",
    attempts=0,
    rejected=0,
    resends=0,
    versions=0,
    missing=False,
    code="",
    usd=0.0,
    try_offset=-1,
    last_offset=-1,
    bought_offset=-1,
    bought_try_offset=-1,
)


class JobFacts(NamedTuple):
    """What is known of a job apart from its hashes, offsets and cost. Among millions of jobs there are a few
    different ones. The other fields are those of `JobHistory`. `accepted`: a person knows that the picture is gone or
    altered, or that the job failed.
    """

    state: State = State.NEW
    attempts: int = 0
    rejected: int = 0
    resends: int = 0
    versions: int = 0
    missing: bool = False
    code: str = ""
    altered: bool = False
    accepted: bool = False
    #: How many of the versions were made since the job was last edited.
    made: int = 0
    #: Kinds of warnings about the picture that stands.
    warned: tuple[WarningKind, ...] = ()

    @property
    def standing(self) -> Standing:
        return _standing(self.state, self.versions)

    def after_try(self, attempt: int, why: str) -> JobFacts:
        rejected, resends = (0, 0) if why in ("remake", "missing", "rejected") else (self.rejected, self.resends)
        return self._replace(state=State.SENT, attempts=attempt, rejected=rejected, resends=resends + (why == "resend"))

    def after_edited_try(self, attempt: int, why: str) -> JobFacts:
        """Another picture is asked for: what the earlier one cost without a picture does not count against it."""
        return self._replace(rejected=0, resends=0, made=0).after_try(attempt, why)

    def after_done(self, files: FileState, warned: tuple[WarningKind, ...]) -> JobFacts:
        return self._replace(
            state=State.DONE,
            versions=self.versions + 1,
            made=self.made + 1,
            missing=files is FileState.MISSING,
            altered=files is FileState.ALTERED,
            accepted=False,
            code="",
            warned=warned,
        )

    def after_reread(self, files: FileState, warned: tuple[WarningKind, ...], paid: str) -> JobFacts:
        """An answer that counted as rejected, or as unknown, was neither."""
        return self._replace(rejected=max(0, self.rejected - (paid == "yes"))).after_done(files, warned)

    def after_unknown(self, code: str) -> JobFacts:
        return self._replace(state=State.UNKNOWN, code=code)

    def after_decision(self, decided: str, code: str) -> JobFacts:
        """What was not charged starts anew; what was, is held as if it had been sent again already."""
        if decided == Decided.ACCEPTED and not self.versions:
            return self._replace(state=State.FAILED, accepted=True)
        if decided == Decided.ACCEPTED:
            return self._replace(state=State.DONE, missing=False, altered=False, accepted=True, code="")
        if decided == Decided.UNPAID:
            return self._replace(state=State.WAITING, resends=0, code="")
        if decided == Decided.PAID:
            return self._replace(resends=max(self.resends, 1), code=code)
        return self._replace(state=State.FAILED, code=code)

    def after_failure(self, state: State, code: str, paid: str) -> JobFacts:
        return self._replace(state=state, rejected=self.rejected + (paid == "yes"), code=code, accepted=False)


@dataclass(frozen=True, slots=True)
class UnsettledTry:
    """A `try` without a later line: sent or about to be, and nothing more is known from the ledger."""

    job_id: str
    number: int
    try_offset: int


@dataclass(frozen=True, slots=True)
class Bought:
    """The picture on disk: the hash of what was asked (16 bytes), and where its `done` and `try` lines are."""

    spec: bytes
    offset: int
    try_offset: int


class FactTable:
    """All different facts, numbered, and which follow from which: worked out once, then looked up."""

    def __init__(self, facts: Iterable[JobFacts] = (JobFacts(),)) -> None:
        self.facts = list(facts)
        self._numbers = {known: number for number, known in enumerate(self.facts)}
        self._after: dict[tuple[int, Callable[..., JobFacts], tuple[object, ...]], int] = {}

    def after(self, kind: int, change: Callable[..., JobFacts], *what: object) -> int:
        """The number of the facts that a change (a method of `JobFacts`, its arguments) makes of those of a number."""
        step = (kind, change, what)
        number = self._after.get(step)
        if number is None:
            facts = change(self.facts[kind], *what)
            number = self._after[step] = self._numbers.setdefault(facts, len(self.facts))
            if number == len(self.facts):
                self.facts.append(facts)
        return number
