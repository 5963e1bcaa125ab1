"""Rejected pictures, and what is asked for in their place. Pure: who knows what was said of a picture is joined on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

from batch.core.decisions import Rejection
from batch.core.errors import InputError, Problem
from batch.core.model import Job, Replacement
from batch.store.job_state import JobHistory


class RejectedPictures(Protocol):
    """Which jobs' pictures were rejected."""

    def __bool__(self) -> bool:
        """Whether there may be any."""

    def __contains__(self, key: bytes) -> bool:
        """Whether anything was said of the job's pictures: a quick look before `of`."""

    def of(self, key: bytes, past: JobHistory) -> Rejection | None:
        """Of a job, by its key and its past: the rejection of the picture it has now, if nothing answers it yet."""


class NoneRejected:
    """Of an output that was never looked at."""

    def __bool__(self) -> bool:
        return False

    def __contains__(self, _key: bytes) -> bool:
        return False

    def of(self, _key: bytes, _past: JobHistory) -> Rejection | None:
        return None


#: Makes the prompt that is asked for in place of a rejected picture; raises `ValueError` with a sentence.
Amend: TypeAlias = Callable[[str, Rejection], str]


def as_it_was(prompt: str, _rejection: Rejection) -> str:
    """The same prompt once more."""
    return prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedPolicy:
    """What a run does about rejected pictures. `remake`: makes them again, for a person asked for it."""

    pictures: RejectedPictures = field(default_factory=NoneRejected)
    amend: Amend = as_it_was
    remake: bool = False

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
        return replace(job, replaces=Replacement(prompt=prompt, instead_of=rejection.sha256))
