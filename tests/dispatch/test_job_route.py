"""One job's way through lanes and models, and until when the cheap lane is quick enough. State by state."""

from __future__ import annotations

from datetime import timedelta

import pytest

from batch.core.errors import (
    AttemptError,
    Kind,
    NotSent,
    OutcomeUnknown,
    Paid,
    RateLimited,
    Refused,
    Unavailable,
    Unusable,
)
from batch.core.events import Listener
from batch.core.lane import Lane
from batch.core.settings import Fallback, FallbackOn, Limits, RetryPolicy
from batch.dispatch.base import RouteSettings
from batch.dispatch.deadline import Deadline
from batch.dispatch.job_route import JobRoute
from batch.dispatch.recovery import ResendBudget
from batch.dispatch.route import Permit, Route
from batch.dispatch.shedding import is_shed
from batch.limits.quotas import Need
from batch.limits.wait import Wait
from tests.support.fakes import FakeClock, job

BLOCKED = Refused("image_safety", "blocked", kind=Kind.POLICY, paid=Paid.YES)
BUSY = Unavailable("unavailable", "503", http_status=503)
OWN, SECOND, THIRD = job().model, "second", "third"


def job_route(*models: str, on: tuple[FallbackOn, ...] = tuple(FallbackOn), lane: Lane = Lane.STANDARD) -> JobRoute:
    return JobRoute(job(), lane, Fallback(models=models, on=on))


def out(model: str = OWN, lane: Lane = Lane.STANDARD) -> Permit:
    """A request that was let out at an endpoint with both lanes."""
    settings = RouteSettings(name="a", limits=Limits(concurrency=9), lanes=frozenset(Lane))
    route = Route(settings, RetryPolicy(), FakeClock(), Listener())
    way = route.try_acquire(Need(), model, lane)
    assert not isinstance(way, Wait)
    return way


@pytest.mark.parametrize(
    ("error", "shed"),
    [
        (BUSY, True),
        (Unavailable("internal", "500", http_status=500), True),
        (RateLimited("rate_limited", "429", http_status=429), True),
        (RateLimited("rate_limited", "503", kind=Kind.SHED, wait_seconds=5, http_status=503), True),
        (RateLimited("rate_limited", "429", wait_seconds=5, http_status=429), False),
        (RateLimited("rate_limited", "429", wait_seconds=0, http_status=429), False),
        (NotSent("refused", "no connection"), False),
        (OutcomeUnknown("timeout", "cut"), False),
        (BLOCKED, False),
        (None, False),
    ],
)
def test_what_says_that_the_cheap_lane_has_no_room(error: AttemptError | None, shed: bool) -> None:
    """Whatever the provider could not serve there, but a quota that it names; in the ordinary lane nothing is."""
    assert is_shed(error, Lane.FLEX) is shed
    assert not is_shed(error, Lane.STANDARD)


def test_a_job_asks_its_own_model_first_and_each_once() -> None:
    """Also if it stands among the fallbacks."""
    assert job_route(SECOND, OWN, THIRD).models == (OWN, SECOND, THIRD)
    assert job_route(SECOND, on=(FallbackOn.SAFETY,)).models == (OWN,)
    assert job_route().models == (OWN,)


def test_a_model_that_was_passed_over_is_not_come_back_to() -> None:
    """Where the second one served, the first is asked no more."""
    way = job_route(SECOND, THIRD)
    left = []
    for model in (SECOND, THIRD):
        went = out(model)
        way.went(went.terms)
        left.append((way.models, way.terms))
    assert [models for models, _ in left] == [(SECOND, THIRD), (THIRD,)]
    assert left[-1][1] is went.terms


@pytest.mark.parametrize(
    ("error", "on", "falls_back"),
    [
        (BUSY, (FallbackOn.OVERLOAD,), True),
        (BUSY, (FallbackOn.SAFETY,), False),
        (BLOCKED, (FallbackOn.SAFETY,), True),
        (BLOCKED, (FallbackOn.OVERLOAD,), False),
        (Refused("invalid_request", "", kind=Kind.MALFORMED), tuple(FallbackOn), False),
        (Refused("image_safety", "not said to be a block"), tuple(FallbackOn), False),
        (Unusable("image_safety", "", kind=Kind.POLICY), tuple(FallbackOn), False),
        (RateLimited("rate_limited", ""), tuple(FallbackOn), False),
        (OutcomeUnknown("timeout", ""), tuple(FallbackOn), False),
    ],
)
def test_for_which_reasons_another_model_is_asked(
    error: AttemptError, on: tuple[FallbackOn, ...], falls_back: bool
) -> None:
    """Overload and blocks, each only where the manifest says so: another model costs another price."""
    way = job_route(SECOND, on=on)
    assert way.fall_back(error) is falls_back
    assert way.models[0] == (SECOND if falls_back else OWN)


def test_after_the_last_model_there_is_no_other() -> None:
    """Each is given up once."""
    way = job_route(SECOND, THIRD)
    assert [way.fall_back(BUSY) for _ in range(3)] == [True, True, False]
    assert way.models == (THIRD,)


def test_a_job_that_was_shed_stays_in_the_ordinary_lane() -> None:
    """From then on, and only if it went out in the cheap one."""
    way = job_route(lane=Lane.FLEX)
    seen = [(way.shed(BUSY), way.lane)]
    way.went(out(lane=Lane.FLEX).terms)
    seen += [(way.shed(error), way.lane) for error in (BLOCKED, BUSY)]
    way.went(out(lane=Lane.STANDARD).terms)
    seen += [(way.shed(BUSY), way.lane)]
    assert seen == [(False, Lane.FLEX), (False, Lane.FLEX), (True, Lane.STANDARD), (False, Lane.STANDARD)]


def test_places_to_send_again_are_taken_once_each() -> None:
    """As many jobs may be paid twice as the run allows, and not one more."""
    budget = ResendBudget(2)
    assert [budget.take() for _ in range(4)] == [True, True, False, False]
    assert not ResendBudget(0).take()


@pytest.mark.parametrize(("seconds", "near"), [(960, True), (961, False), (0, True), (-5, True)])
def test_what_may_take_a_quarter_of_an_hour_is_not_begun_later(seconds: int, near: bool) -> None:
    """An answer of the cheap lane may take 16 minutes: with less left, the ordinary one is taken."""
    clock = FakeClock()
    assert Deadline(clock.now() + timedelta(seconds=seconds), 1, clock).is_near() is near


@pytest.mark.parametrize(("ended", "near"), [(9, False), (10, True)])
def test_the_pace_is_known_after_ten_jobs(ended: int, near: bool) -> None:
    """Of fewer nothing is concluded."""
    clock = FakeClock()
    deadline = Deadline(clock.now() + timedelta(seconds=960 + ended * 10 + 100), 1000, clock)
    for _ in range(ended):
        clock.time += 10
        deadline.job_ended()
    assert deadline.is_near() is near


@pytest.mark.parametrize(("spare_seconds", "near"), [(0, False), (-1, True)])
def test_the_jobs_left_at_the_pace_so_far_decide(spare_seconds: int, near: bool) -> None:
    """Ten jobs took 10 seconds each, and 30 are left: 300 seconds, and what the last answer may take."""
    clock = FakeClock()
    deadline = Deadline(clock.now() + timedelta(seconds=100 + 300 + 960 + spare_seconds), 40, clock)
    for _ in range(10):
        clock.time += 10
        deadline.job_ended()
    assert deadline.is_near() is near


@pytest.mark.parametrize(("spare_seconds", "near"), [(0, False), (-1, True)])
def test_the_pace_is_that_of_the_last_two_hundred_jobs(spare_seconds: int, near: bool) -> None:
    """A slow beginning is forgotten: after it one job took 200 seconds and 198 a second each, and 100 are left."""
    clock = FakeClock()
    begun = clock.now()
    deadline = Deadline(begun + timedelta(seconds=50_000 + 398 + 2 * 100 + 960 + spare_seconds), 300, clock)
    clock.time += 50_000
    deadline.job_ended()
    clock.time += 199
    for _ in range(199):
        clock.time += 1
        deadline.job_ended()
    assert deadline.is_near() is near
