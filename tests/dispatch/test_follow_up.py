"""When all jobs have ended, more may follow: by what was said of their pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from batch.core.model import Outcome
from batch.plan import ToDo
from tests.support.fakes import FakeClock, Seller, carry_out, job, kinds, scheduler, todo


class Rounds:
    """More jobs, so many at a time; notes how many outcomes had been taken when it was asked."""

    def __init__(self, *rounds: int) -> None:
        self._rounds = [*rounds]
        self.taken: list[Outcome] = []
        self.asked_after: list[int] = []

    async def more(self) -> Iterator[ToDo | None] | None:
        self.asked_after.append(len(self.taken))
        if not self._rounds:
            return None
        count, number = self._rounds.pop(0), len(self.asked_after)
        return (ToDo(job=job(f"more-{number}-{n}"), because="rejected") for n in range(count))


async def test_what_follows_is_asked_for_when_every_outcome_was_taken() -> None:
    """Round after round, until nothing follows."""
    rounds = Rounds(3, 0, 1)
    outcomes = await carry_out(scheduler(Seller(FakeClock()), follow_up=rounds), todo(5), rounds.taken.append)
    assert rounds.asked_after == [5, 8, 8, 9]
    assert kinds(outcomes) == {"Done": 9}


async def test_nothing_follows_a_stop() -> None:
    """The run is to end."""
    rounds = Rounds(3)
    running = scheduler(Seller(FakeClock()), follow_up=rounds)
    await carry_out(running, todo(5), lambda _: running.stop(KeyboardInterrupt(), "asked to"))
    assert rounds.asked_after == []


async def test_a_stop_lets_go_of_what_would_follow() -> None:
    """A judge may take its time: the run does not."""
    asked = asyncio.Event()

    class Thinks:
        async def more(self) -> Iterator[ToDo | None] | None:
            asked.set()
            await asyncio.Event().wait()
            return None

    running = scheduler(Seller(FakeClock()), follow_up=Thinks())
    ending = asyncio.create_task(carry_out(running, todo(2)))
    await asked.wait()
    running.stop(KeyboardInterrupt(), "asked to")
    assert kinds(await asyncio.wait_for(ending, 10)) == {"Done": 2}


async def test_an_error_of_what_follows_ends_the_run() -> None:
    """What was bought is told."""
    error = ValueError("no such table")

    class Fails:
        async def more(self) -> Iterator[ToDo | None] | None:
            raise error

    running = scheduler(Seller(FakeClock()), follow_up=Fails())
    assert kinds(await carry_out(running, todo(2))) == {"Done": 2}
    assert running.stopped_by is error
