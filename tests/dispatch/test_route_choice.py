"""Which endpoint the next request goes to, asked of the pool alone: no scheduler, no jobs that end."""

from __future__ import annotations

from collections import Counter

import pytest

from batch.dispatch.course import Course
from batch.dispatch.pool import Out, Pool
from batch.dispatch.quotas import need_of
from batch.dispatch.route import RouteSettings
from batch.errors import RunStopper
from batch.events import Listener
from batch.model import Lane
from batch.settings import Fallback, Limits, RetryPolicy
from tests.support.fakes import FakeClock, job


class Bench:
    """A pool whose endpoints have each answered once, so that none sends its next request alone."""

    def __init__(self, **endpoints: tuple[int, float]) -> None:
        self.stops: list[RunStopper] = []
        routes = [
            RouteSettings(name=name, weight=weight, limits=Limits(concurrency=concurrency, adaptive=False))
            for name, (concurrency, weight) in endpoints.items()
        ]
        self.pool = Pool(
            routes, FakeClock(), Listener(), RetryPolicy(), self.stops.append, Fallback(), slowed_by=lambda: ""
        )
        self.sent = 0

    async def send(self, number: int = 1) -> list[Out]:
        """Let requests out."""
        out = []
        for _ in range(number):
            self.sent += 1
            course = Course(job(), Lane.STANDARD, Fallback())
            out.append(await self.pool.enter(self.sent, need_of(job()), course))
        return out

    def served(self, out: list[Out]) -> None:
        """They end with a picture each."""
        for each in out:
            with each.way.watch():
                pass
            self.pool.leave(each, "cup", None, None)

    async def warm_up(self) -> None:
        self.served(await self.send(len(self.pool.routes)))


def names(out: list[Out]) -> list[str]:
    return [each.route.name for each in out]


@pytest.mark.parametrize("weight", [1.0, 2.0, 3.0])
async def test_turns_are_taken_by_weight(weight: float) -> None:
    """An endpoint of weight 3 gets three requests for each one of weight 1, and never much more in between."""
    bench = Bench(a=(100, weight), b=(100, 1.0))
    await bench.warm_up()
    sent = Counter(names(await bench.send(40)))
    assert abs(sent["a"] - weight * sent["b"]) <= 1 + weight


async def test_an_endpoint_that_was_busy_is_not_given_a_crowd_later() -> None:
    """While `a` was full, `b` had sixteen requests more. That is not made up for: they take turns again."""
    bench = Bench(a=(8, 1.0), b=(100, 1.0))
    await bench.warm_up()
    long = await bench.send(32)
    busy = [each for each in long if each.route.name == "a"]
    assert len(busy) == 8
    bench.served(busy)
    assert names(await bench.send(8)) == ["a", "a", "b", "a", "b", "a", "b", "a"]


async def test_the_busy_one_has_its_turn_first_when_it_has_room() -> None:
    """It has had less than the other."""
    bench = Bench(a=(1, 1.0), b=(100, 1.0))
    await bench.warm_up()
    long = await bench.send(6)
    bench.served([each for each in long if each.route.name == "a"])
    assert names(await bench.send()) == ["a"]


async def test_an_endpoint_that_ended_gets_nothing_more() -> None:
    """The others take its part; the run is told to stop when the last one ends."""
    bench = Bench(a=(10, 1.0), b=(10, 1.0))
    await bench.warm_up()
    first, second = bench.pool.routes
    model = job().model
    assert bench.pool.others_than(first, model)
    assert bench.pool.end(first, RunStopper("no_credit", "the account is empty"), model)
    assert names(await bench.send(3)) == ["b", "b", "b"]
    assert not bench.pool.others_than(second, model)
    assert bench.stops == []
    assert not bench.pool.end(second, RunStopper("bad_key", "the key is wrong"), model)
    assert ["the key is wrong" in str(stop) for stop in bench.stops] == [True]


@pytest.mark.parametrize(("code", "models"), [("bad_key", []), ("model_missing", ["another"])])
async def test_an_ending_concerns_the_key_or_one_model(code: str, models: list[str]) -> None:
    """A wrong key ends all that goes through an endpoint, a missing model only what asks for that one."""
    route = Bench(a=(1, 1.0)).pool.routes[0]
    assert route.end(RunStopper(code, ""), "gemini")
    assert [model for model in ("gemini", "another") if route.ended_by(model) is None] == models
    assert not route.end(RunStopper(code, ""), "gemini")
