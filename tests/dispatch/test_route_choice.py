"""Which endpoint the next request goes to, asked of the pool alone: no scheduler, no jobs that end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

import pytest

from batch.core.errors import EndpointDown, ExitCode, Kind
from batch.core.lane import Lane
from batch.core.settings import Fallback, FallbackOn, Limits, RetryPolicy
from batch.core.usage import Usage
from batch.dispatch.base import DispatchConfig, RouteSettings
from batch.dispatch.job_route import JobRoute
from batch.dispatch.route import Permit
from batch.dispatch.router import Router
from batch.limits.quotas import need_of
from tests.support.fakes import FakeClock, IdleMachine, Recorder, job

#: Of one model, as providers say it.
MISSING = EndpointDown("model_missing", "", of_model=True)
NO_SERVICE = EndpointDown("no_service", "", kind=Kind.OVERLOAD, of_model=True)


class Told(Recorder):
    """Notes why an endpoint is paused, as well."""

    def __init__(self) -> None:
        super().__init__()
        self.reasons: list[str] = []

    def gate_closed(self, seconds: float, reason: str) -> None:
        self.reasons.append(reason)


class Bench:
    """A pool whose endpoints have each answered once, so that none sends its next request alone."""

    def __init__(
        self,
        fallback: Fallback | None = None,
        limits: Mapping[str, Limits] | None = None,
        **endpoints: tuple[int, float],
    ) -> None:
        self.stops: list[EndpointDown] = []
        self.told = Told()
        routes = [
            RouteSettings(
                name=name,
                weight=weight,
                limits=(limits or {}).get(name, Limits(concurrency=concurrency, adaptive=False)),
            )
            for name, (concurrency, weight) in endpoints.items()
        ]
        config = DispatchConfig(routes=routes, policy=RetryPolicy(), fallback=fallback or Fallback())
        self.clock = FakeClock()
        self.router = Router(config, self.clock, self.told, self, IdleMachine())
        self.sent = 0
        self.is_stopping = False

    def stop(self, reason: BaseException, words: str) -> None:
        assert isinstance(reason, EndpointDown)
        assert words == reason.message
        self.stops.append(reason)

    async def send(self, number: int = 1) -> list[Permit]:
        """Let requests out."""
        out = []
        for _ in range(number):
            self.sent += 1
            job_route = JobRoute(job(), Lane.STANDARD, Fallback())
            out.append(await self.router.acquire(self.sent, need_of(job()), job_route))
        return out

    def served(self, out: list[Permit]) -> None:
        """They end with a picture each."""
        for each in out:
            self.router.answered(each, None)
            self.router.release(each, "cup", None, None)

    async def warm_up(self) -> None:
        self.served(await self.send(len(self.router.routes)))


def names(out: list[Permit]) -> list[str]:
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
    first, second = bench.router.routes
    model = job().model
    assert bench.router.others_than(first, model)
    assert bench.router.end(first, EndpointDown("no_credit", "the account is empty"), model)
    assert names(await bench.send(3)) == ["b", "b", "b"]
    assert not bench.router.others_than(second, model)
    assert bench.stops == []
    assert not bench.router.end(second, EndpointDown("bad_key", "the key is wrong"), model)
    assert ["the key is wrong" in str(stop) for stop in bench.stops] == [True]
    assert bench.told.named("message") == [("message", "a is left out from now on: the account is empty")]


async def test_another_model_is_served_where_one_is_missing() -> None:
    """What ends for one model ends for no other, and does not stop the run for it."""
    bench = Bench(a=(10, 1.0), b=(10, 1.0))
    first, second = bench.router.routes
    missing = EndpointDown("model_missing", "no such model", of_model=True)
    assert bench.router.end(first, missing, "old")
    assert not bench.router.others_than(second, "old")
    assert bench.router.others_than(second, "new")
    assert not bench.router.end(second, missing, "old")
    assert len(bench.stops) == 1
    assert bench.router.end(first, missing, "new")


def test_why_nothing_is_left_names_every_endpoint_and_what_time_mends_first() -> None:
    """Of a wrong key, tomorrow and next week it is tomorrow; its numbers are the run's."""
    bench = Bench(a=(1, 1.0), b=(1, 1.0), c=(1, 1.0))
    endings = [
        EndpointDown("bad_key", "the key is wrong"),
        EndpointDown(
            "daily_quota", "next week", of_model=True, exit_code=ExitCode.TEMPORARY, not_before="2026-02-07T00:00:00Z"
        ),
        EndpointDown(
            "daily_quota",
            "tomorrow",
            exit_code=ExitCode.TEMPORARY,
            not_before="2026-02-01T00:00:00Z",
            kind=Kind.OVERLOAD,
            of_model=True,
            http_status=429,
            request_id="r-1",
        ),
    ]
    for route, error in zip(bench.router.routes, endings, strict=True):
        bench.router.end(route, error, "m")
    [stop] = bench.stops
    assert stop.message == "no endpoint is left. a: the key is wrong; b: next week; c: tomorrow"
    assert (stop.code, stop.exit_code, stop.not_before) == ("daily_quota", ExitCode.TEMPORARY, endings[2].not_before)
    assert (stop.http_status, stop.request_id, stop.kind, stop.of_model) == (429, "r-1", Kind.OVERLOAD, True)


def test_one_endpoints_ending_is_told_as_it_is() -> None:
    """With a single endpoint there is nothing to list."""
    bench = Bench(a=(1, 1.0))
    error = EndpointDown("no_credit", "the account is empty")
    bench.router.end(bench.router.routes[0], error, "m")
    assert bench.stops == [error]


@pytest.mark.parametrize(
    ("on", "models", "error", "goes_on"),
    [
        (FallbackOn.OVERLOAD, ("other",), NO_SERVICE, True),
        (FallbackOn.OVERLOAD, ("other",), MISSING, False),
        (FallbackOn.SAFETY, ("other",), NO_SERVICE, False),
        (FallbackOn.OVERLOAD, (), NO_SERVICE, False),
        (FallbackOn.OVERLOAD, ("own",), NO_SERVICE, False),
    ],
    ids=["overloaded", "missing", "only for safety", "no fallback", "the same model"],
)
def test_a_fallback_model_keeps_the_run_going(
    on: FallbackOn, models: tuple[str, ...], error: EndpointDown, goes_on: bool
) -> None:
    """Only when the model is overloaded, the manifest says so, and the other one can be asked."""
    bench = Bench(Fallback(models=models, on=(on,)), a=(1, 1.0))
    assert bench.router.end(bench.router.routes[0], error, "own") is goes_on
    assert len(bench.stops) == (0 if goes_on else 1)


@pytest.mark.parametrize(("error", "models"), [(EndpointDown("bad_key", ""), []), (MISSING, ["another"])])
async def test_an_ending_concerns_the_key_or_one_model(error: EndpointDown, models: list[str]) -> None:
    """A wrong key ends all that goes through an endpoint, a missing model only what asks for that one."""
    route = Bench(a=(1, 1.0)).router.routes[0]
    assert route.end(error, "gemini")
    assert [model for model in ("gemini", "another") if route.ended_by(model) is None] == models
    assert not route.end(error, "gemini")


@pytest.mark.parametrize("error", [EndpointDown("bad_key", ""), MISSING])
def test_only_those_that_could_be_asked_say_whether_a_model_is_overloaded(error: EndpointDown) -> None:
    """One endpoint cannot serve the model at all, the other is overloaded: the fallback model takes over there."""
    bench = Bench(Fallback(models=("other",)), a=(1, 1.0), b=(1, 1.0))
    first, second = bench.router.routes
    bench.router.end(first, error, "own")
    assert bench.router.end(second, NO_SERVICE, "own")
    assert bench.stops == []


async def test_an_endpoint_known_to_be_of_no_use_is_left_out_before_the_start() -> None:
    """Once, for the model it is of no use for; the others are asked, and the run goes on."""
    bench = Bench(a=(10, 1.0), b=(10, 1.0))
    first, second = bench.router.routes
    known = EndpointDown("daily_quota", "the day's quota is used up", of_model=True)
    for _ in range(2):
        bench.router.leave_out("b", job().model, known)
    assert (first.ended_by(job().model), second.ended_by(job().model), second.ended_by("other")) == (None, known, None)
    assert names(await bench.send(3)) == ["a", "a", "a"]
    assert bench.told.named("message") == [("message", "b is left out: the day's quota is used up")]
    assert bench.stops == []


def test_new_limits_of_one_endpoint_leave_the_others_as_they_are() -> None:
    """An endpoint that is not named keeps its limits, and no message says that they changed."""
    bench = Bench(a=(10, 1.0), b=(7, 1.0))
    bench.router.reconfigure({"a": Limits(concurrency=3, adaptive=False)})
    assert [route.limits.concurrency for route in bench.router.routes] == [3, 7]
    assert bench.told.named("message") == [("message", "the limits of a are changed: concurrency 3 (was 10)")]


async def test_requests_in_flight_are_counted_until_they_are_recorded() -> None:
    """At all endpoints together."""
    bench = Bench(a=(10, 1.0), b=(10, 1.0))
    out = await bench.send(2)
    assert bench.router.statistics().in_flight == 2
    bench.served(out[:1])
    assert bench.router.statistics().in_flight == 1
    bench.served(out[1:])
    assert bench.router.statistics().in_flight == 0


async def test_the_soonest_of_several_waits_counts() -> None:
    """`a` has room in 20 seconds, `b` in a minute: the next request leaves after 20 seconds."""
    bench = Bench(limits=dict.fromkeys("ab", Limits(requests_per_minute=1, adaptive=False)), a=(1, 1.0), b=(1, 1.0))
    bench.served(await bench.send())
    bench.clock.time += 40
    bench.served(await bench.send())
    began = bench.clock.time
    assert names(await bench.send()) == ["a"]
    assert bench.clock.time - began == pytest.approx(20, abs=1)


async def test_an_answer_that_took_less_than_was_set_aside_makes_room_at_once() -> None:
    """Also while the soonest wait is one at another endpoint that only time ends."""
    tokens = need_of(job()).tokens
    limits = {
        "a": Limits(requests_per_minute=1, adaptive=False),
        "b": Limits(tokens_per_minute=tokens, adaptive=False),
    }
    bench = Bench(limits=limits, a=(10, 1.0), b=(10, 1.0))
    await bench.warm_up()
    bench.clock.time += 61
    bench.served(await bench.send())
    bench.clock.time += 5
    [out] = await bench.send()
    next_one = asyncio.create_task(bench.send())
    for _ in range(3):
        await asyncio.sleep(0)  # until it waits
    bench.router.answered(out, None)
    bench.router.release(out, "cup", None, Usage(total=0))
    began = bench.clock.time
    assert names(await next_one) == ["b"]
    assert bench.clock.time == began


@pytest.mark.parametrize(("endpoints", "reason"), [(1, "too many requests"), (2, "a: too many requests")])
def test_a_pause_names_the_endpoint_where_there_are_several(endpoints: int, reason: str) -> None:
    """The only one needs no name."""
    bench = Bench(a=(1, 1.0)) if endpoints == 1 else Bench(a=(1, 1.0), b=(1, 1.0))
    bench.router.routes[0].pause_for(30.0, "too many requests", told=True)
    assert bench.told.reasons == [reason]
