"""Small stand-ins shared by tests: a clock whose time costs nothing, and a buyer that needs no network."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from batch.core.errors import AttemptError
from batch.core.events import Listener
from batch.core.model import AttemptFacts, Done, Job, Outcome, Reference, Terms
from batch.core.settings import Limits, RetryPolicy
from batch.dispatch.base import (
    AttemptPort,
    CanaryJudge,
    DispatchConfig,
    FollowUp,
    JobPast,
    LoadProbe,
    NothingMore,
    Past,
    Ports,
    RouteSettings,
    SpendGate,
)
from batch.dispatch.scheduler import Scheduler
from batch.limits.quota_store import QuotaStore
from batch.plan import ToDo
from tests.support.parameters import job_fields


class FakeClock:
    """Virtual time: when every task waits, it jumps to the moment the first sleeper wakes."""

    def __init__(self) -> None:
        self.time = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()
        self._driving = False

    def monotonic(self) -> float:
        return self.time

    def now(self) -> datetime:
        return datetime(2026, 1, 31, 12, tzinfo=UTC) + timedelta(seconds=self.time)

    async def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        heapq.heappush(self._sleepers, (self.time + seconds, next(self._order), woken))
        if not self._driving:
            self._driving = True
            loop.call_soon(self._advance)
        await woken

    def _advance(self) -> None:
        """Runs as long as anybody sleeps; moves time only when nothing else is ready to run."""
        loop: Any = asyncio.get_running_loop()
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        if not self._sleepers:
            self._driving = False
            return
        if not loop._ready:  # noqa: SLF001  (asyncio shows nowhere else whether anything can run)
            wakes_at, _, woken = heapq.heappop(self._sleepers)
            self.time = max(self.time, wakes_at)
            woken.set_result(None)
        loop.call_soon(self._advance)


class QuickClock(FakeClock):
    """For tests over real sockets: real time goes on by itself, and sleeping takes none of it."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped_seconds = 0.0

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() + self.skipped_seconds

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        self.skipped_seconds += seconds
        await asyncio.sleep(0)


class ClockAt(QuickClock):
    """Shows a time that the test sets."""

    def __init__(self, now: datetime) -> None:
        super().__init__()
        self.shown = now

    def now(self) -> datetime:
        return self.shown


class Recorder(Listener):
    """Remembers what it was told, as tuples that begin with the event's name."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def attempt_started(self, job: Job, in_flight: int) -> None:
        self.events.append(("started", job.id, in_flight))

    def attempt_failed(self, job: Job, error: AttemptError, retry_seconds: float | None) -> None:
        self.events.append(("failed", job.id, error.code, retry_seconds))

    def gate_closed(self, seconds: float, reason: str) -> None:
        self.events.append(("gate", seconds))

    def stopping(self, reason: str, in_flight: int) -> None:
        self.events.append(("stopping", reason, in_flight))

    def job_ended(self, outcome: Outcome, in_flight: int) -> None:
        self.events.append(("ended", outcome.job.id, type(outcome).__name__))

    def message(self, text: str) -> None:
        self.events.append(("message", text))

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [event for event in self.events if event[0] == name]


def job(job_id: str = "cup", **fields: Any) -> Job:
    return Job(
        **job_fields({"id": job_id, "prompt": f"a picture of {job_id}", "model": "gemini-3.1-flash-image", **fields})
    )


def terms_of_job(job: Job) -> Terms:
    """To the only endpoint there is, for what it asks."""
    return Terms(endpoint="simulator", model=job.model)


def reference(folder: Path, data: bytes, mime: str = "image/png", name: str = "r") -> Reference:
    """A reference picture in a file of its own."""
    file = folder / name
    file.write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    return Reference(name=name, file=file, sha256=sha256, mime=mime, size_bytes=len(data))


def done(job: Job, *, seconds: float = 5.0) -> Done:
    return Done(job=job, attempt=AttemptFacts(number=1, seconds=seconds, cost_usd=0.067), images=())


class Seller:
    """Stands where `AttemptRunner.buy` does. `answers(job, n)` gives the n-th answer to a job: an error to raise, None
    for a picture, or seconds that the picture takes; all others take `seconds`."""

    def __init__(
        self, clock: FakeClock, answers: Callable[[Job, int], Any] = lambda job, n: None, *, seconds: float = 1.0
    ) -> None:
        self.clock = clock
        self.seconds = seconds
        self.answers = answers
        self.calls: list[tuple[float, str, str]] = []
        self.recorded: list[str] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.rejected: Counter[str] = Counter()
        self.resends: Counter[str] = Counter()

    def times(self, job_id: str) -> int:
        return sum(called == job_id for _, called, _ in self.calls)

    def past(self, job: Job) -> Past:
        return Past(self.rejected[job.id], self.resends[job.id])

    async def buy(self, job: Job, why: str, terms: Terms) -> Done:
        self.calls.append((self.clock.monotonic(), job.id, why))
        self.resends[job.id] += why == "resend"
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            answer = self.answers(job, self.times(job.id))
            await self.clock.sleep(answer if isinstance(answer, (int, float)) else self.seconds)
            if isinstance(answer, BaseException):
                self.rejected[job.id] += getattr(answer, "paid", "") == "yes"
                raise answer
            self.recorded.append(job.id)
            return done(job)
        finally:
            self.in_flight -= 1


def one_route(limits: Limits, quota_store: QuotaStore | None = None) -> RouteSettings:
    return RouteSettings(name="somewhere", limits=limits, quota_store=quota_store)


class NoPast:
    """No job was ever sent before."""

    def past(self, job: Job) -> Past:
        return Past(0, 0)


class NoCap:
    """Money for everything."""

    @asynccontextmanager
    async def reserve(self, job: Job) -> AsyncIterator[None]:
        yield


class IdleMachine:
    """Our own machine is never what holds a run back."""

    def local_bottleneck(self, in_flight: int) -> str:
        return ""


class GoOn:
    """Judges no first jobs."""

    async def judge(self, ends: Counter[type[Outcome]]) -> BaseException | None:
        return None


def ports(
    attempts: AttemptPort,
    *,
    past: JobPast | None = None,
    money: SpendGate | None = None,
    load: LoadProbe | None = None,
    canary: CanaryJudge | None = None,
    follow_up: FollowUp | None = None,
) -> Ports:
    """Those that are not given hold nothing back."""
    return Ports(
        attempts=attempts,
        past=past or NoPast(),
        money=money or NoCap(),
        load=load or IdleMachine(),
        canary=canary or GoOn(),
        follow_up=follow_up or NothingMore(),
    )


def scheduler(
    seller: Seller,
    *,
    concurrency: int = 2,
    per_minute: int | None = None,
    adaptive: bool = True,
    routes: Sequence[RouteSettings] = (),
    listener: Listener | None = None,
    policy: RetryPolicy | None = None,
    budget: int = 10,
    money: SpendGate | None = None,
    load: LoadProbe | None = None,
    canary: CanaryJudge | None = None,
    follow_up: FollowUp | None = None,
    **config: Any,
) -> Scheduler:
    """On one route, or those given; `config` as `DispatchConfig` takes it."""
    limits = Limits(concurrency=concurrency, requests_per_minute=per_minute, adaptive=adaptive)
    return Scheduler(
        ports(seller, past=seller, money=money, load=load, canary=canary, follow_up=follow_up),
        DispatchConfig(
            routes=routes or [one_route(limits)], policy=policy or RetryPolicy(), resend_places=budget, **config
        ),
        seller.clock,
        Random(1),
        listener or Listener(),
    )


def todo(number: int, because: str = "new") -> Iterator[ToDo]:
    return (ToDo(job=job(f"job-{n}"), because=because) for n in range(number))


async def carry_out(
    scheduler: Scheduler,
    entries: Iterable[ToDo | None],
    each: Callable[[Outcome], None] = lambda outcome: None,
    *,
    bug: Exception | Sequence[Exception] | None = None,
) -> dict[str, Outcome]:
    """Run to the end; the outcomes by job. No job may have two, and no task may be left behind.

    No internal error may happen but the one that is planted (`bug`; of several, one of them or none).
    """
    found: dict[str, Outcome] = {}
    before = asyncio.all_tasks()
    async with scheduler.outcomes(iter(entries)) as outcomes:
        async for outcome in outcomes:
            assert outcome.job.id not in found
            found[outcome.job.id] = outcome
            each(outcome)
    assert asyncio.all_tasks() <= before
    if isinstance(bug, Sequence):
        assert scheduler.bug is None or any(scheduler.bug is planted for planted in bug)
    else:
        assert scheduler.bug is bug
    return found


def kinds(outcomes: dict[str, Outcome]) -> Counter[str]:
    return Counter(type(outcome).__name__ for outcome in outcomes.values())
