"""One endpoint: what it says of a request that must wait, and what ends its use. Each model and lane for itself."""

from __future__ import annotations

from typing import Any

import pytest

from batch.core.errors import AttemptError, EndpointDown, Unavailable, Unusable
from batch.core.events import Listener
from batch.core.lane import Lane
from batch.core.model import Terms
from batch.core.settings import Limits, RetryPolicy
from batch.dispatch.base import RouteSettings
from batch.dispatch.route import Permit, Route
from batch.limits.quotas import need_of
from batch.limits.wait import Wait
from tests.support.fakes import FakeClock, job

OWN, OTHER = "gemini-3.1-flash-image", "gemini-3-pro-image"
WORDS = Unusable("text_only", "I cannot draw")
BROKEN = Unavailable("unavailable", "HTTP 503", http_status=503)


class Gates(Listener):
    """Notes why the endpoint is paused."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def gate_closed(self, seconds: float, reason: str) -> None:
        self.reasons.append(reason)


class Bench:
    """A route in both lanes. `ends` are what it reported as its end: itself, why, and for which model."""

    def __init__(self, called: str = "", **limits: Any) -> None:
        self.clock = FakeClock()
        self.heard = Gates()
        self.ends: list[tuple[Route, str, str]] = []
        settings = RouteSettings(
            name="somewhere",
            limits=Limits(**{"concurrency": 100, "adaptive": False, **limits}),
            lanes=frozenset(Lane),
        )
        self.route = Route(settings, RetryPolicy(), self.clock, self.heard, called)

    def try_acquire(self, model: str = OWN, lane: Lane = Lane.STANDARD) -> Permit | Wait:
        return self.route.try_acquire(need_of(job()), model, lane)

    def out(self, model: str = OWN, lane: Lane = Lane.STANDARD) -> Permit:
        """Let a request out, however long that takes."""
        found = self.try_acquire(model, lane)
        while isinstance(found, Wait):
            assert found.seconds < float("inf")
            self.clock.time += found.seconds
            found = self.try_acquire(model, lane)
        return found

    def back(self, way: Permit, error: AttemptError | None = None, job_id: str = "cup") -> None:
        """It ends, and is recorded."""
        ends = [*self.route.answered(way, error), self.route.release(way, job_id, error, None)]
        self.ends += [(self.route, end.code, way.terms.model) for end in ends if end is not None]

    def serve(self, model: str = OWN, lane: Lane = Lane.STANDARD) -> None:
        self.back(self.out(model, lane))


def wait(found: Permit | Wait) -> Wait:
    assert isinstance(found, Wait)
    return found


def test_a_request_goes_out_on_the_terms_asked_for() -> None:
    """To this endpoint, for the model and in the lane."""
    bench = Bench()
    assert bench.out(OTHER, Lane.FLEX).terms == Terms(endpoint="somewhere", model=OTHER, lane=Lane.FLEX)


def test_until_a_model_has_drawn_only_a_few_requests_are_in_flight() -> None:
    """The ninth waits for a picture of the first eight, without a time; another model has eight of its own."""
    bench = Bench()
    out = [bench.out() for _ in range(8)]
    full = wait(bench.try_acquire())
    assert full.waiting is not None
    assert (full.seconds, full.waiting.by) == (float("inf"), "picture")
    assert isinstance(bench.out(OTHER), Permit)
    bench.back(out[0])
    assert isinstance(bench.try_acquire(), Permit)


def test_charged_answers_of_several_jobs_end_the_use_for_that_model() -> None:
    """It reports itself, why and the model; a model that draws, and repeats of one job, end nothing."""
    bench = Bench()
    bench.serve(OTHER)
    for number in range(5):
        assert bench.ends == []
        bench.back(bench.out(), WORDS, f"job-{number}")
    assert bench.ends == [(bench.route, "charged_for_nothing", OWN)]
    alone = Bench()
    for _ in range(7):
        alone.back(alone.out(), WORDS, "the one")
    assert alone.ends == []


def outage(bench: Bench) -> None:
    """A picture of each model, then trouble with one of them until it pauses."""
    bench.serve()
    bench.serve(OTHER)
    for _ in range(6):
        bench.back(bench.out(), BROKEN)


def test_an_outage_is_waited_for_until_its_time_and_then_for_one_answer() -> None:
    """The progress line says which: the gate until a moment, then the probe that goes ahead."""
    bench = Bench()
    outage(bench)
    paused = wait(bench.try_acquire())
    assert paused.waiting is not None
    assert (paused.waiting.by, paused.waiting.until) == ("gate", round(bench.clock.time + paused.seconds, 1))
    bench.out()
    probing = wait(bench.try_acquire())
    assert probing.waiting is not None
    assert (probing.seconds, probing.waiting.by) == (float("inf"), "probe")


def test_trouble_with_one_model_holds_up_no_other() -> None:
    """Its breaker is open; another model's request goes out at once."""
    bench = Bench()
    outage(bench)
    assert (bench.route.is_overloaded(OWN), bench.route.is_overloaded(OTHER)) == (True, False)
    assert isinstance(bench.try_acquire(OTHER), Permit)


def test_an_outage_that_does_not_end_is_reported() -> None:
    """After half an hour, at the next look."""
    bench = Bench()
    outage(bench)
    bench.clock.time += RetryPolicy().max_outage_seconds
    with pytest.raises(EndpointDown) as stopped:
        bench.try_acquire()
    assert stopped.value.code == "no_service"


def test_a_cheap_lane_without_room_holds_up_nothing_and_is_no_outage() -> None:
    """The ordinary lane is taken meanwhile, nobody is told to wait, and however long it lasts, the run goes on."""
    bench = Bench()
    bench.serve()
    bench.serve(OWN, Lane.FLEX)
    for _ in range(40):
        way = bench.out(OWN, Lane.FLEX)
        bench.back(way, BROKEN if way.terms.lane is Lane.FLEX else None)
        bench.clock.time += 120
    assert bench.out(OWN, Lane.FLEX).terms.lane is Lane.STANDARD
    assert not bench.route.is_overloaded(OWN)
    assert (bench.heard.reasons, bench.ends) == ([], [])


@pytest.mark.parametrize(("lane", "slots"), [(Lane.FLEX, 5), (Lane.STANDARD, 4)])
def test_a_cheap_lane_without_room_says_nothing_of_the_limits(lane: Lane, slots: int) -> None:
    """How many requests may be in flight goes on growing; trouble of the ordinary lane holds that up."""
    bench = Bench(concurrency=16, adaptive=True)
    out = [bench.out(lane=each) for each in (lane, *[Lane.STANDARD] * 3)]
    bench.back(out[0], BROKEN)
    bench.out()
    bench.back(out[1])
    assert bench.route.statistics().admission.concurrency == slots


def test_where_there_are_several_a_pause_names_the_endpoint() -> None:
    """Whichever of them is meant: by its breaker, or by what the provider said."""
    bench = Bench("somewhere: ")
    outage(bench)
    bench.route.pause_for(30.0, "too many requests", told=True)
    assert len(bench.heard.reasons) == 2
    assert all(reason.startswith("somewhere: ") for reason in bench.heard.reasons)
    assert bench.heard.reasons[1] == "somewhere: too many requests"


@pytest.mark.parametrize(
    ("code", "of_model"),
    [("model_missing", True), ("daily_quota", True), ("no_credit", False), ("bad_key", False)],
)
def test_what_concerns_the_account_ends_every_model(code: str, of_model: bool) -> None:
    """And is not new a second time, nor after the whole endpoint ended."""
    bench = Bench()
    error = EndpointDown(code, "", of_model=of_model)
    assert bench.route.end(error, OWN)
    assert not bench.route.end(error, OWN)
    assert bench.route.ended_by(OWN) is error
    assert bench.route.ended_by(OTHER) is (None if of_model else error)
    assert bench.route.end(EndpointDown("model_missing", "", of_model=True), OTHER) is of_model
