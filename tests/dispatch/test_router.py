"""Several endpoints, two lanes and fallback models, as the real scheduler goes about them. Time is virtual."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.core.errors import (
    EndpointDown,
    ExitCode,
    Kind,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    Refused,
    Unavailable,
    Unusable,
)
from batch.core.lane import Lane
from batch.core.model import Done, Job, Pending, Terms
from batch.core.settings import Fallback, FallbackOn, Limits, RetryPolicy
from batch.dispatch.base import RouteSettings
from batch.dispatch.scheduler import Scheduler
from batch.plan import ToDo
from tests.support.fakes import FakeClock, Recorder, Seller, carry_out, job, kinds, todo
from tests.support.fakes import scheduler as one_scheduler

OWN, OTHER = "gemini-3.1-flash-image", "gemini-3-pro-image"
BROKEN = Unavailable("unavailable", "HTTP 503", http_status=503)
NO_CREDIT = EndpointDown("no_credit", "the account is empty")
DAY_IS_OVER = EndpointDown(
    "daily_quota", "per day", of_model=True, exit_code=ExitCode.TEMPORARY, not_before="2026-02-01T08:00:00Z"
)
WEEK_IS_OVER = EndpointDown("long_pause", "in a week", exit_code=ExitCode.TEMPORARY, not_before="2026-02-07T00:00:00Z")


class Market(Seller):
    """Several sellers; `answers(job, terms, n)` gives the answer to the n-th request of all."""

    def __init__(
        self, clock: FakeClock, answers: Callable[[Job, Terms, int], Any] = lambda job, terms, n: None
    ) -> None:
        super().__init__(clock)
        self.market = answers
        self.sent: list[tuple[float, str, Terms]] = []

    async def buy(self, job: Job, why: str, terms: Terms) -> Done:
        self.sent.append((self.clock.time - 1000, job.id, terms))
        number = len(self.sent)
        self.answers = lambda job, n: self.market(job, terms, number)
        return await super().buy(job, why, terms)

    def count(self, what: Callable[[Terms], Any] = lambda terms: terms.endpoint) -> Counter[Any]:
        return Counter(what(terms) for _, _, terms in self.sent)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def route(name: str = "a", concurrency: int = 4, weight: float = 1, **limits: Any) -> RouteSettings:
    return RouteSettings(
        name=name,
        weight=weight,
        lanes=frozenset(Lane),
        limits=Limits(concurrency=concurrency, adaptive=False, **limits),
    )


def scheduler(market: Market, *routes: RouteSettings, **options: Any) -> Scheduler:
    return one_scheduler(market, routes=routes, budget=5, **{"listener": Recorder(), **options})


# ---- several endpoints ------------------------------------------------------------------------------------


async def test_requests_are_shared_by_weight(clock: FakeClock) -> None:
    """While both have room, one with weight 3 gets three of four."""
    market = Market(clock, lambda job, terms, n: 10.0)
    routes = route("a", 50, weight=3), route("b", 50, weight=1)
    await carry_out(scheduler(market, *routes, policy=RetryPolicy(wasted_in_a_row=0)), todo(60))
    assert market.count() == {"a": 45, "b": 15}


async def test_together_they_are_as_fast_as_both_limits(clock: FakeClock) -> None:
    """60 a minute here and 30 there are 90, whatever the weights, and neither limit is passed."""
    market = Market(clock)
    routes = route("a", 20, requests_per_minute=60), route("b", 20, weight=5, requests_per_minute=30)
    assert kinds(await carry_out(scheduler(market, *routes), todo(270))) == {"Done": 270}
    assert market.count() == {"a": 180, "b": 90}
    assert clock.time - 1000 < 130


async def test_an_endpoint_that_charges_for_nothing_is_left_out_and_the_other_goes_on(clock: FakeClock) -> None:
    """It costs what proves it; who got nothing there gets a picture at the other one, and every job is done."""
    told = Recorder()
    words = Unusable("text_only", "only words", retries=2)
    market = Market(clock, lambda job, terms, n: words if terms.endpoint == "a" else None)
    running = scheduler(market, route("a"), route("b"), listener=told)
    assert kinds(await carry_out(running, todo(100))) == {"Done": 100}
    assert running.stopped_by is None
    assert 5 <= market.count()["a"] <= 8
    [(_, said)] = told.named("message")
    assert said.startswith("a is left out from now on: 5 jobs in a row were charged")


async def test_a_model_that_draws_nothing_is_seen_among_pictures_of_another(clock: FakeClock) -> None:
    """Counted by model: pictures of one do not hide that the other draws nothing."""
    words = Unusable("text_only", "only words", retries=2)
    market = Market(clock, lambda job, terms, n: words if terms.model == OWN else None)
    running = scheduler(market, route("a"))
    jobs = [replace(each, job=replace(each.job, model=OTHER)) if n % 2 else each for n, each in enumerate(todo(100))]
    await carry_out(running, jobs)
    assert isinstance(running.stopped_by, EndpointDown)
    assert running.stopped_by.code == "charged_for_nothing"
    assert market.count(lambda terms: terms.model)[OWN] <= 8


async def test_an_endpoint_stays_in_use_for_the_models_it_draws_with(clock: FakeClock) -> None:
    """It is left out for the model that brings nothing there, and the other endpoint draws that."""
    words = Unusable("text_only", "only words", retries=2)
    market = Market(clock, lambda job, terms, n: words if (terms.endpoint, terms.model) == ("a", OWN) else None)
    jobs = [replace(each, job=replace(each.job, model=OTHER)) if n % 2 else each for n, each in enumerate(todo(100))]
    assert kinds(await carry_out(scheduler(market, route("a"), route("b")), jobs)) == {"Done": 100}
    sent = market.count(lambda terms: (terms.endpoint, terms.model))
    assert sent["a", OWN] <= 8
    assert sent["a", OTHER] >= 15


@pytest.mark.parametrize(
    "error", [NO_CREDIT, EndpointDown("bad_key", ""), DAY_IS_OVER, EndpointDown("html_answer", "")]
)
async def test_an_exhausted_account_does_not_stop_the_night(clock: FakeClock, error: EndpointDown) -> None:
    """It is left out, said once; the requests it refused go to the other one, and every job is done."""
    told = Recorder()
    market = Market(clock, lambda job, terms, n: error if terms.endpoint == "a" and n > 20 else None)
    running = scheduler(market, route("a"), route("b"), listener=told)
    assert kinds(await carry_out(running, todo(100))) == {"Done": 100}
    assert running.stopped_by is None
    assert told.named("message") == [("message", f"a is left out from now on: {error.message}")]
    assert len(market.sent) <= 100 + 4


async def test_an_account_that_is_wrong_from_the_start_costs_one_request(clock: FakeClock) -> None:
    """The first request of each endpoint goes alone."""
    market = Market(clock, lambda job, terms, n: NO_CREDIT if terms.endpoint == "a" else None)
    await carry_out(scheduler(market, route("a", 50), route("b", 50)), todo(200))
    assert market.count()["a"] == 1


async def test_without_any_endpoint_left_the_run_stops(clock: FakeClock) -> None:
    """With the time at which the first is to be asked again, and what each of them said; no job has failed."""
    ends = {"a": NO_CREDIT, "b": WEEK_IS_OVER, "c": DAY_IS_OVER}
    market = Market(clock, lambda job, terms, n: ends[terms.endpoint] if n > 30 else None)
    running = scheduler(market, *(route(name) for name in ends))
    outcomes = await carry_out(running, todo(100))
    assert isinstance(running.stopped_by, EndpointDown)
    assert (running.stopped_by.code, running.stopped_by.not_before) == ("daily_quota", DAY_IS_OVER.not_before)
    assert running.stopped_by.exit_code == ExitCode.TEMPORARY
    assert str(running.stopped_by) == ("no endpoint is left. a: the account is empty; b: in a week; c: per day")
    assert set(kinds(outcomes)) == {"Done", "Pending"}
    assert len(market.sent) <= 30 + 3 * 4


async def test_a_gate_of_one_holds_up_nobody(clock: FakeClock) -> None:
    """A minute of 429 at one: its requests go elsewhere at once, and it is asked again after the minute."""
    limited = RateLimited("rate_limited", "slow down", wait_seconds=60)
    market = Market(clock, lambda job, terms, n: limited if terms.endpoint == "a" and clock.time < 1030 else None)
    assert kinds(await carry_out(scheduler(market, route("a"), route("b")), todo(600))) == {"Done": 600}
    assert [at for at, _, terms in market.sent if terms.endpoint == "a"][1] >= 60
    assert market.count()["a"] > 100
    assert clock.time - 1000 < 115  # 4 a second for a minute, then 8


async def test_an_outage_of_one_costs_a_few_requests(clock: FakeClock) -> None:
    """Its breaker opens, the other goes on, no job is lost; after it, both are used again."""
    market = Market(clock, lambda job, terms, n: BROKEN if terms.endpoint == "a" and clock.time < 1100 else None)
    running = scheduler(market, route("a"), route("b"))
    assert kinds(await carry_out(running, todo(1_500))) == {"Done": 1_500}
    before = [at for at, _, terms in market.sent if terms.endpoint == "a" and at < 100]
    assert len(before) <= 8
    assert market.count()["a"] > 300


async def test_an_outage_of_one_that_never_ends_does_not_end_the_run(clock: FakeClock) -> None:
    """After half an hour it is left out for good."""
    told = Recorder()
    market = Market(clock, lambda job, terms, n: NotSent("no_connection", "refused") if terms.endpoint == "a" else 20.0)
    running = scheduler(market, route("a", 2), route("b", 2), listener=told)
    assert kinds(await carry_out(running, todo(300))) == {"Done": 300}
    assert market.count()["a"] <= 12
    assert [words for _, words in told.named("message")] == [
        "a is left out from now on: no service for 30 min; the last: refused"
    ]


async def test_a_lost_answer_is_not_asked_for_elsewhere_beyond_the_budget(clock: FakeClock) -> None:
    """A second key is no reason to pay twice: each job is sent again once, whoever it goes to."""
    market = Market(clock, lambda job, terms, n: OutcomeUnknown("cut", "no answer", elapsed_seconds=1))
    outcomes = await carry_out(scheduler(market, route("a", 1), route("b", 1)), todo(3))
    assert kinds(outcomes)["Unknown"] > 0
    assert max(Counter(name for _, name, _ in market.sent).values()) <= 2


async def test_a_model_missing_at_one_is_asked_for_at_the_other(clock: FakeClock) -> None:
    """It leaves that endpoint in use for other models."""
    gone = EndpointDown("model_missing", "no such model", of_model=True)

    def answer(job: Job, terms: Terms, n: int) -> Any:
        return gone if terms.endpoint == "a" and terms.model == OWN else None

    market = Market(clock, answer)
    jobs = [job(f"{n}", model=OWN if n % 2 else OTHER) for n in range(60)]
    found = await carry_out(scheduler(market, route("a"), route("b")), [ToDo(job=each, because="new") for each in jobs])
    assert kinds(found) == {"Done": 60}
    assert market.count(lambda terms: (terms.endpoint, terms.model))["a", OWN] == 1
    assert market.count(lambda terms: (terms.endpoint, terms.model))["a", OTHER] > 10


# ---- lanes ------------------------------------------------------------------------------------------------


async def test_the_cheap_lane_is_asked_for_where_there_is_one(clock: FakeClock) -> None:
    """At an endpoint without it the ordinary one."""
    market = Market(clock)
    plain = RouteSettings(name="b", limits=Limits(concurrency=4, adaptive=False))
    await carry_out(scheduler(market, route("a"), plain, lane=Lane.FLEX), todo(40))
    assert set(market.count(lambda terms: (terms.endpoint, terms.lane))) == {("a", Lane.FLEX), ("b", Lane.STANDARD)}


@pytest.mark.parametrize(
    "error",
    [
        BROKEN,
        RateLimited("rate_limited", "exhausted"),
        RateLimited("r", "", kind=Kind.SHED, wait_seconds=60, http_status=503),
    ],
    ids=["503", "429 without a quota", "503 with a delay"],
)
async def test_a_job_that_is_shed_takes_the_ordinary_lane_at_once(clock: FakeClock, error: Any) -> None:
    """Without a pause for it or anybody, and without losing a try."""
    told = Recorder()

    def answer(job: Job, terms: Terms, n: int) -> Any:
        return error if terms.lane is Lane.FLEX and n % 5 == 0 else None

    market = Market(clock, answer)
    running = scheduler(market, route("a", 8), lane=Lane.FLEX, listener=told)
    assert kinds(await carry_out(running, todo(200))) == {"Done": 200}
    assert told.named("gate") == []
    assert {seconds for _, _, _, seconds in told.named("failed")} == {0.0}
    assert market.count(lambda terms: terms.lane) == {Lane.FLEX: 200, Lane.STANDARD: len(told.named("failed"))}


async def test_while_the_cheap_lane_has_room_for_nobody_it_is_left_alone(clock: FakeClock) -> None:
    """An hour without it: a few probes, all else in the ordinary lane without delay, and then it is used again."""

    def answer(job: Job, terms: Terms, n: int) -> Any:
        return BROKEN if terms.lane is Lane.FLEX and clock.time - 1000 < 3600 else 10.0

    market = Market(clock, answer)
    running = scheduler(market, route("a", 4), lane=Lane.FLEX)
    assert kinds(await carry_out(running, todo(2_500))) == {"Done": 2_500}
    shed = [at for at, _, terms in market.sent if terms.lane is Lane.FLEX and at < 3600]
    assert len(shed) <= 20
    assert sum(terms.lane is Lane.FLEX for at, _, terms in market.sent if at > 4300) > 500
    assert clock.time - 1000 < 2_500 / 4 * 10 * 1.03


async def test_a_quota_named_in_the_cheap_lane_is_everybodys(clock: FakeClock) -> None:
    """Both lanes are counted together: the gate closes, and nothing is bought at the full price for it."""
    limited = RateLimited("rate_limited", "per minute", wait_seconds=30)
    market = Market(clock, lambda job, terms, n: limited if 1010 < clock.time < 1020 else None)
    await carry_out(scheduler(market, route("a"), lane=Lane.FLEX), todo(100))
    assert set(market.count(lambda terms: terms.lane)) == {Lane.FLEX}
    assert not [at for at, _, _ in market.sent if 13 < at < 40]


async def test_near_the_deadline_the_ordinary_lane_is_taken(clock: FakeClock) -> None:
    """Ten minutes an answer, 300 jobs, four hours: as many in the cheap lane as still come in time."""
    market = Market(clock, lambda job, terms, n: 600.0 if terms.lane is Lane.FLEX else 10.0)
    finish_by = clock.now() + timedelta(hours=4)
    running = scheduler(market, route("a", 8), lane=Lane.FLEX, finish_by=finish_by, jobs=300)
    assert kinds(await carry_out(running, todo(300))) == {"Done": 300}
    assert clock.now() <= finish_by
    assert market.count(lambda terms: terms.lane)[Lane.FLEX] > 50


async def test_too_late_a_deadline_takes_the_ordinary_lane_from_the_start(clock: FakeClock) -> None:
    """What may take a quarter of an hour is not begun ten minutes before."""
    market = Market(clock)
    soon = clock.now() + timedelta(minutes=10)
    await carry_out(scheduler(market, route("a"), lane=Lane.FLEX, finish_by=soon, jobs=20), todo(20))
    assert set(market.count(lambda terms: terms.lane)) == {Lane.STANDARD}


# ---- fallback models --------------------------------------------------------------------------------------


def models(market: Market) -> Counter[Any]:
    return market.count(lambda terms: terms.model)


async def test_an_overloaded_model_gives_way_after_its_tries(clock: FakeClock) -> None:
    """One job in ten meets an overloaded model three times: the fallback makes its picture."""

    def answer(job: Job, terms: Terms, n: int) -> Any:
        return BROKEN if terms.model == OWN and job.id.endswith("7") else None

    market = Market(clock, answer)
    running = scheduler(market, route("a", 2), fallback=Fallback(models=(OTHER,)))
    assert kinds(await carry_out(running, todo(50))) == {"Done": 50}
    assert models(market) == {OWN: 45 + 5 * 3, OTHER: 5}


async def test_while_a_model_serves_nobody_the_other_is_asked_at_once(clock: FakeClock) -> None:
    """Twenty minutes: no pause for the jobs, a few probes of the own model, and then it is the first again."""

    def answer(job: Job, terms: Terms, n: int) -> Any:
        return BROKEN if terms.model == OWN and clock.time - 1000 < 1200 else 2.0

    market = Market(clock, answer)
    running = scheduler(market, route("a", 4), fallback=Fallback(models=(OTHER,)))
    assert kinds(await carry_out(running, todo(4_000))) == {"Done": 4_000}
    assert len([1 for at, _, terms in market.sent if terms.model == OWN and at < 1200]) <= 12
    assert models(market)[OTHER] > 2_000
    assert models(market)[OWN] > 500
    assert clock.time - 1000 < 4_000 / 4 * 2 * 1.05


async def test_no_channel_for_a_model_is_no_end_with_a_fallback(clock: FakeClock) -> None:
    """What a relay has no channel for is left out; the run goes on with the other model."""
    nothing = Unavailable("no_channel", "no available channel", kind=Kind.NO_CHANNEL, http_status=503)
    market = Market(clock, lambda job, terms, n: nothing if terms.model == OWN else None)
    running = scheduler(market, route("a", 4), fallback=Fallback(models=(OTHER,)))
    assert kinds(await carry_out(running, todo(40))) == {"Done": 40}
    assert running.stopped_by is None
    assert models(market)[OWN] <= 4


async def test_when_no_model_serves_the_run_ends_as_without_fallback(clock: FakeClock) -> None:
    """Half an hour of nothing from either: exit 75, and no job has failed for good."""
    market = Market(clock, lambda job, terms, n: BROKEN)
    running = scheduler(market, route("a", 4), fallback=Fallback(models=(OTHER,)))
    outcomes = await carry_out(running, todo(40))
    assert isinstance(running.stopped_by, EndpointDown)
    assert running.stopped_by.code == "no_service"
    assert all(isinstance(each, Pending) or each.error.may_work_later for each in outcomes.values())  # type: ignore[union-attr]
    assert len(market.sent) <= 2 * 12


@pytest.mark.parametrize(("on", "asked"), [((FallbackOn.OVERLOAD,), 0), ((FallbackOn.SAFETY,), 3)])
async def test_a_block_is_taken_elsewhere_only_if_that_is_asked_for(
    clock: FakeClock, on: tuple[FallbackOn, ...], asked: int
) -> None:
    """A blocked prompt may have been charged, and the other model's answer is charged as well."""

    def answer(job: Job, terms: Terms, n: int) -> Any:
        is_blocked = terms.model == OWN and job.id in ("job-1", "job-2", "job-3")
        return Refused("image_safety", "blocked", kind=Kind.POLICY) if is_blocked else None

    market = Market(clock, answer)
    outcomes = await carry_out(scheduler(market, route("a"), fallback=Fallback(models=(OTHER,), on=on)), todo(10))
    assert models(market)[OTHER] == asked
    assert kinds(outcomes)["Done"] == 7 + asked


async def test_overload_is_no_reason_where_only_safety_is(clock: FakeClock) -> None:
    """Then an overloaded model's jobs fail for now, as without a fallback."""
    fallback = Fallback(models=(OTHER,), on=(FallbackOn.SAFETY,))
    market = Market(clock, lambda job, terms, n: BROKEN if job.id == "job-3" else None)
    outcomes = await carry_out(scheduler(market, route("a"), fallback=fallback), todo(10))
    assert models(market) == {OWN: 9 + 3}
    assert kinds(outcomes) == {"Done": 9, "Failed": 1}


async def test_every_fallback_is_asked_once_in_its_order(clock: FakeClock) -> None:
    """A job whose own model is among them skips that; after the last one the job fails."""
    fallback = Fallback(models=(OTHER, OWN, "gemini-2.5-flash-image"), on=(FallbackOn.SAFETY,))
    market = Market(clock, lambda job, terms, n: Refused("blocked_safety", "", kind=Kind.POLICY))
    outcomes = await carry_out(scheduler(market, route("a"), fallback=fallback), todo(1))
    assert [terms.model for _, _, terms in market.sent] == [OWN, OTHER, "gemini-2.5-flash-image"]
    assert kinds(outcomes) == {"Failed": 1}


# ---- whatever happens -------------------------------------------------------------------------------------

ANSWERS: dict[str, Any] = {
    "picture": None,
    "slow": 40.0,
    "broken": BROKEN,
    "no connection": NotSent("no_connection", ""),
    "limited": RateLimited("rate_limited", "", wait_seconds=7),
    "limited somehow": RateLimited("rate_limited", ""),
    "lost": OutcomeUnknown("cut", "", elapsed_seconds=1),
    "blocked": Refused("image_safety", "", kind=Kind.POLICY),
    "no channel": Unavailable("no_channel", "", kind=Kind.NO_CHANNEL),
    "empty": NO_CREDIT,
    "day over": DAY_IS_OVER,
    "no model": EndpointDown("model_missing", "", of_model=True),
}


@settings(max_examples=int(os.environ.get("POOL_EXAMPLES", "60")), deadline=None)
@given(
    answers=st.lists(st.sampled_from(["picture"] * 12 + list(ANSWERS)), min_size=1, max_size=60),
    routes=st.lists(st.tuples(st.integers(1, 4), st.sampled_from([0.5, 1, 3]), st.booleans()), min_size=1, max_size=3),
    lane=st.sampled_from(Lane),
    on=st.sets(st.sampled_from(FallbackOn), min_size=1),
    models=st.lists(st.sampled_from([OTHER, "gemini-2.5-flash-image"]), unique=True),
    seed=st.integers(0, 9),
)
def test_every_job_ends_once_and_nothing_is_asked_that_must_not_be(
    answers: list[str],
    routes: list[tuple[int, float, bool]],
    lane: Lane,
    on: set[FallbackOn],
    models: list[str],
    seed: int,
) -> None:
    """Any endpoints, lanes, models and answers: each endpoint has at most its slots in flight, one that ended gets no
    more than was on its way, a job with a picture is not sent again, nor one that was left without an answer twice."""

    async def play() -> None:
        clock = FakeClock()
        order = Random(seed)
        now: Counter[str] = Counter()
        most: Counter[str] = Counter()
        ended: dict[tuple[str, str], int] = {}
        after: Counter[tuple[str, str]] = Counter()
        got: set[str] = set()
        lost: Counter[str] = Counter()

        class World(Market):
            async def buy(self, job: Job, why: str, terms: Terms) -> Done:
                assert job.id not in got
                assert lost[job.id] <= 1
                for scope in ((terms.endpoint, ""), (terms.endpoint, terms.model)):
                    after[scope] += scope in ended
                now[terms.endpoint] += 1
                most[terms.endpoint] = max(most[terms.endpoint], now[terms.endpoint])
                try:
                    found = await super().buy(job, why, terms)
                    got.add(job.id)
                    return found
                except EndpointDown as error:
                    scope = (terms.endpoint, terms.model if error.code in ("daily_quota", "model_missing") else "")
                    ended.setdefault(scope, now[terms.endpoint])
                    raise
                except OutcomeUnknown:
                    lost[job.id] += 1
                    raise
                finally:
                    now[terms.endpoint] -= 1

        market = World(clock, lambda job, terms, n: ANSWERS[order.choice(answers)])
        made = [
            RouteSettings(
                name=f"r{number}",
                weight=weight,
                limits=Limits(concurrency=slots, adaptive=adaptive),
                lanes=frozenset(Lane if number % 2 else [Lane.STANDARD]),
            )
            for number, (slots, weight, adaptive) in enumerate(routes)
        ]
        running = scheduler(market, *made, lane=lane, fallback=Fallback(models=tuple(models), on=tuple(on)))
        outcomes = await carry_out(running, todo(25))
        for each in made:
            assert most[each.name] <= each.limits.concurrency
        for (name, _), in_flight in ended.items():
            assert after[name, _] <= in_flight
        done_jobs = {name for name, outcome in outcomes.items() if isinstance(outcome, Done)}
        assert done_jobs == got
        if running.stopped_by is None:
            assert not any(isinstance(each, Pending) for each in outcomes.values())

    asyncio.run(play())
