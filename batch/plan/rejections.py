"""Rejected pictures, and what is asked for in their place. Pure: who knows what was said of a picture is joined on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol, TypeAlias

from batch.core.decisions import Rejection
from batch.core.errors import InputError, Problem
from batch.core.model import Job, Replacement
from batch.core.settings import Until
from batch.store.job_state import JobHistory, State


class RejectedPictures(Protocol):
    """Which jobs' pictures were rejected."""

    def __bool__(self) -> bool:
        """Whether there may be any."""

    def __contains__(self, key: bytes) -> bool:
        """Whether anything was said of the job's pictures: a quick look before `of`."""

    def of(self, key: bytes, past: JobHistory) -> Rejection | None:
        """Of a job, by its key and its past: the rejection of the picture it has now, if nothing answers it yet."""

    def accepted_beside(self, key: bytes) -> int:
        """How many of the samples of a job's entry are accepted, by the job's key."""


class NoneRejected:
    """Of an output that was never looked at."""

    def __bool__(self) -> bool:
        return False

    def __contains__(self, _key: bytes) -> bool:
        return False

    def of(self, _key: bytes, _past: JobHistory) -> Rejection | None:
        return None

    def accepted_beside(self, _key: bytes) -> int:
        return 0


class Answer(Enum):
    """What a run does about a job's picture."""

    #: It was not rejected, or nothing is to be done about it.
    NONE = 0
    #: A person asks for another one.
    REQUESTED = 1
    #: The manifest's `until` asks for another one.
    UNTIL = 2
    #: It would, but attempts or money are used up.
    USED_UP = 3


#: Makes the prompt that is asked for in place of a rejected picture; raises `ValueError` with a sentence.
Amend: TypeAlias = Callable[[str, Rejection], str]


def as_it_was(prompt: str, _rejection: Rejection) -> str:
    """The same prompt once more."""
    return prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedPolicy:
    """What a run does about rejected pictures.

    `remake`: makes them again, for a person asked for it; `until`: how far it does so by itself. `price_usd` is the
    list price of a job's picture.
    """

    pictures: RejectedPictures = field(default_factory=NoneRejected)
    amend: Amend = as_it_was
    remake: bool = False
    until: Until | None = None
    price_usd: Callable[[Job], float] = field(default=lambda _: 0.0)

    def by_itself(self) -> RejectedPolicy:
        """The same for what was not asked for."""
        return replace(self, remake=False)

    def answer(self, key: bytes, past: JobHistory, rejection: Rejection | None, usd: float) -> Answer:
        """What to do about a job's picture, another one of which costs `usd`."""
        if rejection is None:
            return Answer.NONE
        if self.remake:
            return Answer.REQUESTED
        until = self.until
        if until is None or self._is_enough(until, key):
            return Answer.NONE
        attempts_open = past.resends + (past.state is State.UNKNOWN)
        spent = past.usd + usd * attempts_open
        has_money = until.max_cost is None or spent + usd <= until.max_cost + 1e-9
        return Answer.UNTIL if past.made < until.attempts and has_money else Answer.USED_UP

    def _is_enough(self, until: Until, key: bytes) -> bool:
        return until.accepted is not None and self.pictures.accepted_beside(key) >= until.accepted

    def of(self, key: bytes, past: JobHistory) -> Rejection | None:
        """The rejection of a job's picture, if it was rejected."""
        return self.pictures.of(key, past) if key in self.pictures else None

    def in_place(self, job: Job, past: JobHistory, rejection: Rejection | None) -> Job:
        """The job as it is to be asked for in place of its rejected picture; what was edited since, as it is now.

        Raises `InputError` if what was said of the picture cannot be part of a prompt.
        """
        if rejection is None or past.bought_spec != job.spec_hash():
            return job
        try:
            prompt = self.amend(job.prompt, rejection)
        except ValueError as error:
            raise InputError([Problem(message=str(error), job=job.id)]) from None
        cap_usd = None if self.remake or self.until is None else self.until.max_cost
        replacement = Replacement(
            prompt=prompt, instead_of=rejection.sha256, cap_usd=cap_usd, attempt_usd=self.price_usd(job)
        )
        return replace(job, replaces=replacement)
