"""What a scheduler is joined to and told: its ports, its configuration, and where a job is on its way.

Each port has one method, and a class of the runner or of a test stands behind it. A configuration is a frozen value:
it says what is allowed and wished, and never changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from batch.core.lane import Lane
from batch.core.model import Done, Job, Outcome, Terms
from batch.core.settings import Fallback, Limits, RetryPolicy
from batch.limits.quota_store import QuotaStore
from batch.plan import ToDo

# ---- ports


class AttemptPort(Protocol):
    """Makes attempts."""

    async def buy(self, job: Job, why: str, terms: Terms) -> Done:
        """One recorded attempt. Returns once the picture is on disk; raises the recorded `AttemptError` otherwise, and
        `MoneyWithdrawn` if nothing was sent because a cap was lowered."""
        ...


class Past(NamedTuple):
    """What is known of a job since it was last edited: charged answers without a picture, and requests sent again
    after an unknown outcome."""

    rejected: int
    resends: int
    #: What it cost so far, in US dollars.
    usd: float = 0.0


class JobPast(Protocol):
    """Knows how a job's earlier attempts ended, in this run and in those before."""

    def past(self, job: Job) -> Past: ...


class SpendGate(Protocol):
    """Keeps a cap on what is spent."""

    def reserve(self, job: Job) -> AbstractAsyncContextManager[None]:
        """Around one attempt: reserves the most it can cost. Waits for room; raises `EndpointDown` if there is none."""
        ...


class LoadProbe(Protocol):
    """Knows how busy our own machine is."""

    def local_bottleneck(self, in_flight: int) -> str:
        """What gives back no slots, with so many requests in flight: `cpu`, `disk`, or "" for nothing of ours."""
        ...


class CanaryJudge(Protocol):
    """Decides whether a run goes on after its first jobs."""

    async def judge(self, ends: Counter[type[Outcome]]) -> BaseException | None:
        """Given how many jobs ended in which way: why the run is to stop, or None."""
        ...


class FollowUp(Protocol):
    """Knows what is still to be made when all jobs have ended."""

    async def more(self) -> Iterator[ToDo | None] | None:
        """The next jobs, as at the start; None if there are none. Waits for whatever decides on it."""
        ...


class NothingMore:
    """Jobs end once."""

    async def more(self) -> Iterator[ToDo | None] | None:
        return None


class RunEnd(Protocol):
    """Ends the run. The one way by which a breaker, a route or a job does."""

    @property
    def is_stopping(self) -> bool:
        """Whether nothing new may be sent."""
        ...

    def stop(self, reason: BaseException, words: str) -> None:
        """Send nothing new. Only the first reason counts."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything a scheduler is joined to."""

    attempts: AttemptPort
    past: JobPast
    money: SpendGate
    load: LoadProbe
    canary: CanaryJudge
    follow_up: FollowUp = field(default_factory=NothingMore)


# ---- configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSettings:
    """An endpoint as the manifest has it. `quota_store` keeps what was taken of its quotas; None: of this run alone.

    Of several, each gets requests by its `weight`. `models`: those that it is known to serve; empty if nothing is
    known.
    """

    name: str
    limits: Limits
    weight: float = 1.0
    lanes: frozenset[Lane] = frozenset((Lane.STANDARD,))
    quota_store: QuotaStore | None = None
    models: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchConfig:
    """How a run is dispatched.

    `resend_places`: how many jobs may be sent again although their first request may have been paid. `lane` is wished
    for where an endpoint of `routes` has it, until `finish_by` is near, by when all are to have ended. The run
    has `jobs` jobs, 0 if that is not known.
    `fallback` names models that take the place of one that cannot serve. The first `canary_jobs` are sent alone and
    judged before the others (0: all go at once).
    """

    routes: Sequence[RouteSettings]
    policy: RetryPolicy
    resend_places: int = 0
    lane: Lane = Lane.STANDARD
    fallback: Fallback = field(default_factory=Fallback)
    finish_by: datetime | None = None
    jobs: int = 0
    canary_jobs: int = 0
