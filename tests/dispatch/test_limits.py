"""The admission: slots, gate, every quota at once, and whose turn it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fakes import FakeClock, Recorder
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.dispatch.limits import Admission
from batch.dispatch.quotas import Need
from batch.dispatch.tally import Tally
from batch.events import Waiting
from batch.settings import Limits


class Heard(Recorder):
    """Also remembers what was waited for."""

    def waiting(self, waiting: Waiting) -> None:
        self.events.append(("waiting", waiting.by, waiting.most))


class Crowd:
    """Requests that are over as soon as they are let out, each with a name; notes who came through and when."""

    def __init__(self, per_minute: int | None = None, tally: Tally | None = None, **limits: Any) -> None:
        self.clock = FakeClock()
        self.heard = Heard()
        self.limits = Limits(**{"concurrency": 1000, "requests_per_minute": per_minute, "adaptive": False, **limits})
        self.admission = Admission(self.limits, self.clock, self.heard, tally)
        self.passed: list[tuple[int, float]] = []
        self.taken: list[Need] = []

    async def come(self, name: int, after_seconds: float = 0.0, need: Need | None = None) -> None:
        if after_seconds:
            await self.clock.sleep(after_seconds)
        out = await self.admission.enter(name, need or Need(), "m")
        self.passed.append((name, self.clock.monotonic() - 1000.0))
        self.taken.append(out.need)
        self.admission.leave(out)

    def close_for(self, seconds: float) -> None:
        self.admission.close_for(seconds, "slow down")

    @property
    def names(self) -> list[int]:
        return [name for name, _ in self.passed]

    @property
    def times(self) -> list[float]:
        return [at for _, at in self.passed]


@settings(deadline=None, max_examples=60)
@given(
    per_minute=st.integers(1, 9),
    arrivals=st.lists(st.floats(0, 300, allow_nan=False), min_size=1, max_size=60),
    closings=st.lists(st.tuples(st.floats(0, 200), st.floats(0, 90)), max_size=3),
)
def test_no_minute_sees_more_than_the_limit(
    per_minute: int, arrivals: list[float], closings: list[tuple[float, float]]
) -> None:
    """However requests arrive and the gate closes, any 60 seconds hold at most the limit, and nobody is forgotten."""

    async def scenario() -> list[float]:
        crowd = Crowd(per_minute)

        async def close(after_seconds: float, seconds: float) -> None:
            await crowd.clock.sleep(after_seconds)
            crowd.close_for(seconds)

        await asyncio.gather(
            *(crowd.come(n, at) for n, at in enumerate(arrivals)), *(close(*closing) for closing in closings)
        )
        return crowd.times

    times = asyncio.run(scenario())
    assert len(times) == len(arrivals)
    for first, last in zip(times, times[per_minute:], strict=False):
        assert last - first >= 60.0


async def test_the_limit_is_used_up() -> None:
    """A limit of 30 lets out about 30 a minute, not fewer."""
    crowd = Crowd(30)
    await asyncio.gather(*(crowd.come(n) for n in range(300)))
    assert crowd.times[-1] == pytest.approx(9 * 60, abs=9)


async def test_without_a_limit_nobody_waits() -> None:
    """None is no limit."""
    crowd = Crowd(None)
    await asyncio.gather(*(crowd.come(n) for n in range(1000)))
    assert set(crowd.times) == {0.0}


@pytest.mark.parametrize("per_minute", [None, 1, 3])
async def test_first_come_first_served(per_minute: int | None) -> None:
    """Nobody overtakes, whether the gate or the rate holds them back."""
    crowd = Crowd(per_minute)
    crowd.close_for(20)
    await asyncio.gather(*(crowd.come(n) for n in range(9)))
    assert crowd.names == list(range(9))


@pytest.mark.parametrize("steps", range(12))
async def test_a_cancelled_waiter_takes_nothing(steps: int) -> None:
    """Whenever a waiter is cancelled, the others get through as if it had never come, or it had already passed."""
    crowd = Crowd(1)
    await crowd.come(0)
    waiting = asyncio.create_task(crowd.come(1))
    others = [asyncio.create_task(crowd.come(n)) for n in (2, 3)]
    for _ in range(steps):
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(*others)
    await asyncio.gather(waiting, return_exceptions=True)
    assert [name for name in crowd.names if name != 1] == [0, 2, 3]
    places = len(crowd.names)
    assert crowd.times[-1] == pytest.approx((places - 1) * 60.5)


async def test_a_closed_gate_holds_everybody() -> None:
    """One closing keeps back those who wait and those who come later."""
    crowd = Crowd(None)
    crowd.close_for(30)
    await asyncio.gather(*(crowd.come(n, after_seconds=n) for n in range(5)))
    assert set(crowd.times) == {30.0}
    assert crowd.heard.named("gate") == [("gate", 30)]


@pytest.mark.parametrize(("second", "opens_at", "times_told"), [(50.0, 60.0, 2), (5.0, 30.0, 1), (20.0, 30.0, 1)])
async def test_the_longest_closing_counts(second: float, opens_at: float, times_told: int) -> None:
    """A longer delay keeps the gate closed longer, also for those already waiting; a shorter one changes nothing."""
    crowd = Crowd(None)
    crowd.close_for(30)
    waiting = asyncio.create_task(crowd.come(0))
    await crowd.clock.sleep(10)
    crowd.close_for(second)
    await waiting
    assert crowd.times == [opens_at]
    assert len(crowd.heard.named("gate")) == times_told


async def test_who_waits_for_the_rate_also_minds_the_gate() -> None:
    """A request that waited for its minute does not leave through a gate that closed meanwhile."""
    crowd = Crowd(1)
    await crowd.come(0)
    waiting = asyncio.create_task(crowd.come(1))
    await crowd.clock.sleep(50)
    crowd.close_for(100)
    await waiting
    assert crowd.times == [0.0, 150.0]
