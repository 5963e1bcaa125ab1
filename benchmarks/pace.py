"""Refusals of every kind, on a clock whose time costs nothing: how long a batch takes, and what is refused on the way.

The real scheduler, and beside it a loop as one writes it around the SDK and the controller of inspect_ai, send to
simulated providers: some refuse a share of the requests whatever the pace, some have a quota, some have both.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from random import Random
from statistics import median
from typing import Any, Final

from batch.core.errors import RateLimited
from batch.core.model import Job, Terms
from batch.core.settings import Limits
from batch.limits.quota_store import MemoryQuotaStore, QuotaStore
from tests.support.fakes import FakeClock, job
from tests.support.providers_with_quotas import (
    FixedWindowProvider,
    LeakyProvider,
    QuotaProvider,
    TokenBucketProvider,
    sender,
)

_TERMS: Final = Terms(endpoint="somewhere", model="gemini-3.1-flash-image")
#: After this the pace is to be found.
_FOUND_AFTER_SECONDS: Final = 120.0

Quota = Callable[[float], float | None]


def _steady(per_minute: float) -> Quota:
    return lambda _: per_minute


def _down_and_up(per_minute: float) -> Quota:
    """Half of it between the fifth and the tenth minute."""
    return lambda now: per_minute / 2 if 1300 <= now < 1600 else per_minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`jobs` at most `in_flight` at once against the provider that `make(clock, random)` gives.

    `runs` at once, or one after the other with `again`.
    """

    name: str
    make: Callable[[FakeClock, Random], QuotaProvider]
    jobs: int
    in_flight: int
    quota: Quota | None = None
    runs: int = 1
    again: bool = False


def _sporadic(share: float, delay: float | None, seconds: tuple[float, float]) -> Callable[..., QuotaProvider]:
    def make(clock: FakeClock, random: Random) -> QuotaProvider:
        return QuotaProvider(clock, seconds=seconds, random=random, sporadic=share, sporadic_delay=delay)

    return make


def _limited(
    kind: type[QuotaProvider], quota: Quota, *, named: bool = True, share: float = 0.0, **more: Any
) -> Callable[..., QuotaProvider]:
    def make(clock: FakeClock, random: Random) -> QuotaProvider:
        return kind(clock, quota, named_delay=named, random=random, sporadic=share, **more)

    return make


def cases() -> Iterator[Case]:
    """All of them."""
    for in_flight, seconds, jobs in ((16, (0.7, 0.9), 400), (64, (4.0, 6.0), 640), (16, (8.0, 12.0), 400)):
        about = f"{in_flight} in flight, {sum(seconds) / 2:g} s"
        yield Case(name=f"no refusals; {about}", make=_sporadic(0, 2, seconds), jobs=jobs, in_flight=in_flight)
        for share in (0.01, 0.03, 0.1):
            for delay in (2.0, None, 15.0):
                said = "no delay" if delay is None else f"{delay:g} s"
                yield Case(
                    name=f"{share:.0%} refused, {said}; {about}",
                    make=_sporadic(share, delay, seconds),
                    jobs=jobs,
                    in_flight=in_flight,
                )
    yield Case(
        name="10%, 2 s, then none: the second run",
        make=_sporadic(0.1, 2.0, (0.7, 0.9)),
        jobs=400,
        in_flight=16,
        again=True,
    )
    kinds: list[tuple[str, type[QuotaProvider], dict[str, Any]]] = [
        ("any 60 s", QuotaProvider, {}),
        ("fixed window", FixedWindowProvider, {}),
        ("token bucket", TokenBucketProvider, {}),
        ("leaky, burst 5", LeakyProvider, {"burst": 5}),
        ("leaky, no burst", LeakyProvider, {"burst": 0}),
    ]
    for name, kind, more in kinds:
        for named in (True, False):
            said = "" if named else ", no delay"
            for words, quota in (("300", _steady(300)), ("300, 150, 300", _down_and_up(300))):
                yield Case(
                    name=f"{name}{said}: {words} a minute",
                    make=_limited(kind, quota, named=named, **more),
                    jobs=3_000,
                    in_flight=256,
                    quota=quota,
                )
    for name, kind, more in kinds:
        for share in (0.03, 0.1):
            yield Case(
                name=f"{name}, 300 a minute, and {share:.0%} refused",
                make=_limited(kind, _steady(300), share=share, **more),
                jobs=3_000,
                in_flight=256,
                quota=_steady(300),
            )
    for name, kind, more in kinds:
        yield Case(
            name=f"{name}, 300 a minute: two runs at once",
            make=_limited(kind, _steady(300), **more),
            jobs=1_500,
            in_flight=128,
            quota=_steady(300),
            runs=2,
        )
    yield Case(
        name="24 in flight and no more",
        make=_limited(QuotaProvider, lambda _: None, slots=24),
        jobs=1_500,
        in_flight=64,
    )


@dataclass(slots=True)
class Measured:
    """One case by one contestant, medians over the seeds. `share` is the slowest minute's of the quota after the first
    two, `mean` that of all of them; `undone` were given up."""

    case: str
    who: str
    seconds: float
    refused: float
    undone: float
    share: float | None = None
    mean: float | None = None
    sent: float = 0.0


@dataclass(slots=True)
class _Run:
    provider: QuotaProvider
    seconds: float
    undone: int = 0


async def _ours(case: Case, provider: QuotaProvider, first: int, quota_store: QuotaStore) -> int:
    scheduler, plan = sender(
        provider, case.jobs, Limits(concurrency=case.in_flight), first=first, quota_store=quota_store
    )
    async with scheduler.outcomes(plan) as outcomes:
        return sum([type(outcome).__name__ != "Done" async for outcome in outcomes])


async def _loop(case: Case, provider: QuotaProvider, first: int, _: QuotaStore, *, attempts: int = 5) -> int:
    """A semaphore, and around each call what google-genai does with `HttpRetryOptions(attempts=5)`: 1, 2, 4 s and a
    second of jitter, whatever delay is named."""
    slots, random = asyncio.Semaphore(case.in_flight), Random(first)

    async def one(number: int) -> bool:
        async with slots:
            for attempt in range(attempts):
                if await _bought(provider, number):
                    return True
                if attempt < attempts - 1:
                    await provider.clock.sleep(min(60.0, 2.0**attempt + random.uniform(0, 1)))
        return False

    ends = await asyncio.gather(*(one(number) for number in range(first, first + case.jobs)))
    return ends.count(False)


class _Resizable:
    """A semaphore whose size can change."""

    def __init__(self, size: int) -> None:
        self.size, self.taken = size, 0
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self.taken < self.size)
            self.taken += 1

    async def __aexit__(self, *error: object) -> None:
        async with self._changed:
            self.taken -= 1
            self._changed.notify_all()


class _Controller:
    """inspect_ai's adaptive connections (util/_concurrency.py), written anew: slow start, then +5 % a clean round; at a
    retry -20 %, at most every 15 s."""

    def __init__(self, most: int, clock: FakeClock) -> None:
        self.slots = _Resizable(min(20, most))
        self._most, self._clock = most, clock
        self._good, self._slow_start, self._cooldown_until = 0, True, float("-inf")

    def succeeded(self) -> None:
        if self._clock.monotonic() < self._cooldown_until:
            return
        self._good += 1
        size = self.slots.size
        if self._good >= max(size, 4):
            self._good = 0
            wanted = 2 * size if self._slow_start else _nice(size + max(1, round(0.05 * size)), 4)
            self.slots.size = min(self._most, wanted)

    def retried(self) -> None:
        self._good, self._slow_start = 0, False
        if self._clock.monotonic() >= self._cooldown_until:
            self._cooldown_until = self._clock.monotonic() + 15.0
            self.slots.size = max(1, _nice(int(self.slots.size * 0.8), 0))


def _nice(number: int, up: int) -> int:
    """A multiple of 5 from 10 on."""
    return max(1, number) if number < 10 else (number + up) // 5 * 5


async def _inspect(case: Case, provider: QuotaProvider, first: int, _: QuotaStore) -> int:
    """The slot is held while a request is repeated: after 3 s doubled each time, with jitter."""
    control, random = _Controller(case.in_flight, provider.clock), Random(first)

    async def one(number: int) -> None:
        async with control.slots:
            attempt = 0
            while not await _bought(provider, number):
                control.retried()
                await provider.clock.sleep(min(1800.0, 3.0 * 2**attempt + random.uniform(0, 1)))
                attempt += 1
            if attempt == 0:
                control.succeeded()

    await asyncio.gather(*(one(number) for number in range(first, first + case.jobs)))
    return 0


async def _bought(provider: QuotaProvider, number: int) -> bool:
    asked: Job = job(f"job-{number}")
    try:
        await provider.buy(asked, "new", _TERMS)
    except RateLimited:
        return False
    return True


Send = Callable[[Case, QuotaProvider, int, QuotaStore], Awaitable[int]]
CONTESTANTS: Final[dict[str, Send]] = {"imagebatch": _ours, "SDK loop": _loop, "inspect_ai": _inspect}


async def _one(case: Case, contestant: Send, seed: int) -> _Run:
    clock = FakeClock()
    provider = case.make(clock, Random(seed))
    quota_store = MemoryQuotaStore()
    if case.again:
        await contestant(case, provider, 0, quota_store)
        provider = QuotaProvider(clock, seconds=provider.seconds, random=provider.random)
    began = clock.monotonic()
    ends = await asyncio.gather(
        *(contestant(case, provider, number * case.jobs, quota_store) for number in range(case.runs))
    )
    return _Run(provider, clock.monotonic() - began, sum(ends))


def measure(case: Case, who: str, seeds: int) -> Measured:
    """The case by one contestant."""
    runs = [asyncio.run(_one(case, CONTESTANTS[who], seed)) for seed in range(1, seeds + 1)]
    shares = [_shares(case, run.provider) for run in runs] if case.quota is not None else []
    return Measured(
        case=case.name,
        who=who,
        seconds=median(run.seconds for run in runs),
        refused=median(len(run.provider.refused) for run in runs),
        sent=median(len(run.provider.sent) for run in runs),
        undone=median(run.undone for run in runs),
        share=median(slowest for slowest, _ in shares) if shares else None,
        mean=median(mean for _, mean in shares) if shares else None,
    )


def _shares(case: Case, provider: QuotaProvider) -> tuple[float, float]:
    """Of the quota, in the slowest minute and in all; the 90 s after a step are not counted for the slowest."""
    assert case.quota is not None
    last = provider.served[-1] - 1000 - 10
    minutes: list[float] = []
    at = _FOUND_AFTER_SECONDS
    while at + 60 <= last:
        allowed = {case.quota(1000 + at + more) for more in range(-120, 60, 5)}
        if len(allowed) == 1:
            minutes.append(provider.served_between(at, at + 60) / (allowed.pop() or 1))
        at += 5
    whole = sum((case.quota(1000 + second) or 0) / 60 for second in range(int(last)))
    return min(minutes, default=0.0), provider.served_between(-1, last) / whole


def measure_all(wanted: str, who: list[str], seeds: int) -> Iterator[Measured]:
    """Those whose name contains `wanted`."""
    for case in cases():
        if wanted in case.name:
            for name in who:
                yield measure(case, name, seeds)


def as_markdown(found: list[Measured]) -> str:
    """A table of times and refusals, the contestants side by side; times by what the first case of its kind took."""
    who = list(dict.fromkeys(one.who for one in found))
    lines = ["| case | " + " | ".join(who) + " |", "| --- |" + " ---: |" * len(who)]
    clean: dict[tuple[str, str], float] = {}
    for name in dict.fromkeys(one.case for one in found):
        row = {one.who: one for one in found if one.case == name}
        about = name.partition("; ")[2]
        for one in row.values():
            if name.startswith("no refusals"):
                clean[about, one.who] = one.seconds
        lines.append(f"| {name} | " + " | ".join(_cell(row[each], clean.get((about, each))) for each in who) + " |")
    return "\n".join(lines)


def _cell(one: Measured, clean: float | None) -> str:
    words = f"{one.seconds:,.0f} s"
    if clean and one.seconds != clean:
        words += f", {one.seconds / clean:.2f}"
    if one.share is not None:
        words += f", {one.share:.2f} ({one.mean:.2f})"
    words += f"; {one.refused:.0f}"
    return words + (f"; {one.undone:.0f} given up" if one.undone else "")


def tell(one: Measured) -> None:
    print(f"{one.case} | {one.who}: {_cell(one, None)}", file=sys.stderr)
