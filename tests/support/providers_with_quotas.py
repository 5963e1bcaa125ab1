"""Simulated providers with quotas, for the real scheduler on a clock whose time costs nothing."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, NoReturn

from batch.core.errors import RateLimited
from batch.core.events import Listener
from batch.core.model import AttemptFacts, Done, Job, Outcome, Terms
from batch.core.settings import Limits, RetryPolicy
from batch.core.usage import Usage
from batch.dispatch.base import DispatchConfig
from batch.dispatch.scheduler import Scheduler
from batch.limits.quota_store import QuotaStore
from batch.limits.quotas import need_of
from batch.plan import ToDo
from tests.support.fakes import FakeClock, carry_out, job, one_route, ports

REFUSED_AFTER_SECONDS = 0.15


@dataclass
class QuotaProvider:
    """Serves so many requests in any 60 s and refuses the rest as Google does, naming when the next is served.

    `per_minute(now)` is the quota, None for none. Answers take `seconds` (from, to). Refused requests do not count.
    """

    clock: FakeClock
    per_minute: Callable[[float], float | None] = lambda now: None
    seconds: tuple[float, float] = (4.0, 12.0)
    named_delay: bool = True
    random: Random = field(default_factory=lambda: Random(7))
    #: Share of the requests that is refused whatever the pace, and the delay that such a refusal names.
    sporadic: float = 0.0
    sporadic_delay: float | None = 2.0
    #: So many in flight and no more, if not None.
    slots: int | None = None
    sent: list[float] = field(default_factory=list)
    served: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    first_sent: dict[str, float] = field(default_factory=dict)
    in_flight: int = 0
    _window: deque[float] = field(default_factory=deque)

    async def buy(self, job: Job, why: str, terms: Terms) -> Done:
        now = self.clock.monotonic()
        self.sent.append(now)
        if self.sporadic and self.random.random() < self.sporadic:
            await self._refuse(now, self.sporadic_delay)
        full = self.slots is not None and self.in_flight >= self.slots
        wait_seconds = 1.0 if full else self._no(now)
        if wait_seconds is not None:
            await self._refuse(now, wait_seconds if self.named_delay else None)
        self.served.append(now)
        self.first_sent[job.id] = now
        self.in_flight += 1
        try:
            await self.clock.sleep(self.random.uniform(*self.seconds))
        finally:
            self.in_flight -= 1
        return Done(
            job=job,
            images=(),
            attempt=AttemptFacts(number=1, seconds=5.0, cost_usd=0.067, usage=Usage(total=need_of(job).tokens)),
        )

    async def _refuse(self, now: float, wait_seconds: float | None) -> NoReturn:
        self.refused.append(now)
        await self.clock.sleep(REFUSED_AFTER_SECONDS)
        raise RateLimited("quota_minute", "slow down", wait_seconds=wait_seconds)

    def _no(self, now: float) -> float | None:
        most = self.per_minute(now)
        if most is None:
            return None
        while self._window and self._window[0] <= now - 60:
            self._window.popleft()
        if most < 1:
            return 30.0
        if len(self._window) >= most:
            return max(0.05, self._window[-max(1, int(most))] + 60 - now)
        self._window.append(now)
        return None

    def served_between(self, begin: float, end: float) -> int:
        return bisect_right(self.served, 1000 + end) - bisect_right(self.served, 1000 + begin)


@dataclass
class LeakyProvider(QuotaProvider):
    """Wants requests evenly spaced, as nginx's limit_req does: a bucket of `burst` that drains at the rate.

    If it names a delay, then a second, as the `Retry-After` of proxies has it.
    """

    burst: int = 5
    _level: float = 0.0
    _seen: float = 0.0

    def _no(self, now: float) -> float | None:
        per_second = (self.per_minute(now) or 0) / 60
        level = max(0.0, self._level - (now - self._seen) * per_second)
        if level > self.burst:
            return 1.0
        self._level, self._seen = level + 1, now
        return None


@dataclass
class FixedWindowProvider(QuotaProvider):
    """Counts from each full minute of its own clock to the next, and names the rest of it."""

    _minute: float = -1.0
    _count: int = 0

    def _no(self, now: float) -> float | None:
        minute, left = now // 60, 60 - now % 60
        if minute != self._minute:
            self._minute, self._count = minute, 0
        if self._count >= (self.per_minute(now) or 0):
            return left
        self._count += 1
        return None


@dataclass
class TokenBucketProvider(QuotaProvider):
    """Gives out what has been saved up, a minute's worth at most; it fills evenly. What an API gateway does."""

    _left: float | None = None
    _seen: float = 0.0

    def _no(self, now: float) -> float | None:
        most = self.per_minute(now) or 0
        left = most if self._left is None else min(most, self._left + (now - self._seen) * most / 60)
        self._seen, self._left = now, left
        if left < 1:
            return (1 - left) * 60 / most
        self._left = left - 1
        return None


def sender(
    provider: QuotaProvider,
    jobs: int,
    limits: Limits,
    *,
    listener: Listener | None = None,
    quota_store: QuotaStore | None = None,
    first: int = 0,
    started: dict[str, float] | None = None,
) -> tuple[Scheduler, Iterator[ToDo]]:
    """The real scheduler, and so many jobs for it; `started` gets when each was taken from the plan."""
    config = DispatchConfig(
        routes=[one_route(limits, quota_store)],
        policy=RetryPolicy(wasted_in_a_row=0),  # nobody waits for the first picture: this is about quotas alone
    )

    def plan() -> Iterator[ToDo]:
        for number in range(first, first + jobs):
            if started is not None:
                started[f"job-{number}"] = provider.clock.monotonic()
            yield ToDo(job=job(f"job-{number}"), because="new")

    return Scheduler(ports(provider), config, provider.clock, Random(1), listener or Listener()), plan()


async def send(provider: QuotaProvider, jobs: int, limits: Limits, **more: Any) -> tuple[Scheduler, dict[str, Outcome]]:
    """Carry out so many jobs; `more` as for `sender`."""
    scheduler, plan = sender(provider, jobs, limits, **more)
    return scheduler, await carry_out(scheduler, plan)
