"""The line before the endpoints: whose turn it is, and what the first in it waits for. Time is virtual."""

from __future__ import annotations

import asyncio

import pytest

from batch.core.events import Listener, Waiting
from batch.dispatch.turnstile import Turnstile
from batch.limits.wait import Wait
from tests.support.fakes import FakeClock


class Hears(Listener):
    """Notes what is waited for, by name."""

    def __init__(self) -> None:
        self.by: list[str] = []

    def waiting(self, waiting: Waiting) -> None:
        self.by.append(waiting.by)


class Room:
    """So many places, each until it is given back; without one, waiters wait as `wait` says."""

    def __init__(self, places: int, wait: Wait) -> None:
        self.places = places
        self.wait = wait
        self.looks = 0

    def try_acquire(self) -> str | Wait:
        self.looks += 1
        if self.places == 0:
            return self.wait
        self.places -= 1
        return "in"


def full(by: str) -> Wait:
    return Wait(float("inf"), Waiting(by=by))


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_has_the_lower_place_goes_first_whenever_it_came() -> None:
    """A place is free once at a time; each is taken by the first in the order, not by the first who asked."""
    line, room, order = Turnstile(FakeClock(), Listener()), Room(0, full("concurrency")), list[int]()

    async def enter(place: int) -> None:
        await line.wait_for(place, room.try_acquire)
        order.append(place)

    entering = [asyncio.create_task(enter(place)) for place in (3, 1, 2)]
    await turns()
    for _ in entering:
        room.places += 1
        line.changed()
        await turns()
    assert order == [1, 2, 3]


async def test_a_waiter_that_is_let_go_leaves_the_place_to_the_next() -> None:
    """Nothing is taken for it, and nothing is stuck behind it."""
    line, room = Turnstile(FakeClock(), Listener()), Room(0, full("concurrency"))
    first, second = (asyncio.create_task(line.wait_for(place, room.try_acquire)) for place in (1, 2))
    await turns()
    first.cancel()
    await turns()
    room.places = 1
    line.changed()
    assert await asyncio.wait_for(second, 10) == "in"
    assert room.places == 0


@pytest.mark.parametrize("local_bottleneck", ["", "disk"])
@pytest.mark.parametrize(("by", "is_a_slot"), [("concurrency", True), ("found_slots", True), ("gate", False)])
async def test_only_for_a_slot_can_our_own_machine_be_the_reason(
    by: str, is_a_slot: bool, local_bottleneck: str
) -> None:
    """A gate or a quota is the provider's, however busy our disk is."""
    heard = Hears()
    line, room = Turnstile(FakeClock(), heard, lambda: local_bottleneck), Room(0, full(by))
    entering = asyncio.create_task(line.wait_for(1, room.try_acquire))
    await turns()
    assert heard.by == [local_bottleneck if local_bottleneck and is_a_slot else by]
    entering.cancel()


async def test_what_is_waited_for_is_said_once_and_taken_back_when_the_line_is_empty() -> None:
    """Looks that find the same say nothing; as long as another waits it still holds."""
    heard = Hears()
    line, room = Turnstile(FakeClock(), heard), Room(0, full("concurrency"))
    entering = [asyncio.create_task(line.wait_for(place, room.try_acquire)) for place in (1, 2)]
    for _ in range(3):
        line.changed()
        await turns()
    assert room.looks == 3
    room.places = 1
    line.changed()
    await turns()
    assert (heard.by, entering[1].done()) == (["concurrency"], False)
    room.places = 1
    line.changed()
    await asyncio.gather(*entering)
    assert heard.by == ["concurrency", ""]


@pytest.mark.parametrize("is_fixed", [True, False])
async def test_what_only_time_mends_is_not_looked_at_before(is_fixed: bool) -> None:
    """A change is worth a look, unless it is known to make no room."""
    clock = FakeClock()
    line, room = (
        Turnstile(clock, Listener(), longest_sleep_seconds=float("inf")),
        Room(0, Wait(60.0, is_fixed=is_fixed)),
    )
    began = clock.time
    entering = asyncio.create_task(line.wait_for(1, room.try_acquire))
    await asyncio.sleep(0)
    room.places = 1
    line.changed()
    await entering
    assert clock.time - began == (60.0 if is_fixed else 0.0)


async def test_a_long_wait_is_looked_at_again_for_what_other_runs_give_back() -> None:
    """At least as often as `longest_sleep_seconds`; a shorter wait is not made longer by it."""
    clock = FakeClock()
    line, room = Turnstile(clock, Listener(), longest_sleep_seconds=2.0), Room(0, Wait(5.0))
    began = clock.time
    entering = asyncio.create_task(line.wait_for(1, room.try_acquire))
    await clock.sleep(1.0)
    room.places = 1
    await entering
    assert clock.time - began == 2.0
    room.wait = Wait(0.5)
    entering = asyncio.create_task(line.wait_for(1, room.try_acquire))
    await asyncio.sleep(0)
    room.places = 1
    await entering
    assert clock.time - began == 2.5
