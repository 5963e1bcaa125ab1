"""Outages and limits, as the real scheduler meets them: how many requests they cost. Time is virtual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from batch.core.errors import (
    AttemptError,
    EndpointDown,
    ExitCode,
    Kind,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    Refused,
    Unavailable,
)
from batch.core.model import Job, Pending, Terms
from batch.core.settings import Limits, RetryPolicy, UnknownPolicy
from batch.limits.quota_store import MemoryQuotaStore
from tests.support.fakes import FakeClock, Recorder, Seller, carry_out, kinds, one_route, scheduler, todo

#: Virtual time starts here.
START = 1000.0
HOUR = 3600.0
UNANSWERED = OutcomeUnknown("timeout", "no answer in 300 s")
REFUSED = NotSent("no_connection", "connection refused")
BROKEN = Unavailable("unavailable", "HTTP 503")
DAY_IS_OVER = EndpointDown(
    "daily_quota", "", of_model=True, exit_code=ExitCode.TEMPORARY, not_before="2026-02-01T08:00:00Z"
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def while_time(clock: FakeClock, begins: float, ends: float, error: AttemptError) -> Callable[[Job, int], Any]:
    """From `begins` to `ends` seconds after the start every request meets the error, then and before none."""
    return lambda job, n: error if begins <= clock.time - START < ends else None


# ---- outages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [REFUSED, BROKEN, UNANSWERED], ids=lambda error: error.code)
@pytest.mark.parametrize("concurrency", [1, 8, 200])
async def test_an_hour_of_outage_costs_twelve_requests(clock: FakeClock, error: AttemptError, concurrency: int) -> None:
    """However many may be in flight: the run ends after half an hour as something for later, all jobs pending."""
    seller = Seller(clock, while_time(clock, 0, HOUR, error))
    policy = RetryPolicy(unknown=UnknownPolicy.HOLD)
    running = scheduler(seller, concurrency=concurrency, policy=policy)
    outcomes = await carry_out(running, todo(1000))
    assert len(seller.calls) <= 12
    assert isinstance(running.stopped_by, EndpointDown)
    assert (running.stopped_by.code, running.stopped_by.exit_code) == ("no_service", 75)
    assert clock.time - START == pytest.approx(1800, abs=5)
    unknown = len(seller.calls) if error is UNANSWERED else 0
    assert kinds(outcomes)["Unknown"] == unknown
    assert kinds(outcomes)["Pending"] == len(outcomes) - unknown


@pytest.mark.parametrize("concurrency", [1, 4, 50])
async def test_an_outage_in_mid_run_costs_what_is_in_flight_and_twelve(clock: FakeClock, concurrency: int) -> None:
    """What was on its way is lost, then only single requests find out whether it is over."""
    seller = Seller(clock, while_time(clock, 10, HOUR, BROKEN))
    running = scheduler(seller, concurrency=concurrency)
    await carry_out(running, todo(10_000))
    assert sum(at - START >= 10 for at, _, _ in seller.calls) <= concurrency + 12
    assert isinstance(running.stopped_by, EndpointDown)
    assert running.stopped_by.code == "no_service"


@pytest.mark.parametrize("minutes", [1, 10, 25])
async def test_an_outage_that_ends_is_survived(clock: FakeClock, minutes: int) -> None:
    """No job is given up over it; once three in a row are served, all slots are used again."""
    told = Recorder()
    seller = Seller(clock, while_time(clock, 30, 30 + 60 * minutes, BROKEN))
    running = scheduler(seller, concurrency=4, listener=told)
    assert kinds(await carry_out(running, todo(300))) == {"Done": 300}
    assert len(seller.calls) <= 300 + 4 + 12
    pauses = [seconds for _, seconds in told.named("gate")]
    assert pauses == [60.0, 120.0, 240.0, 480.0, 600.0][: len(pauses)]
    assert seller.most_in_flight == 4


async def test_how_long_an_outage_may_last_is_the_users_choice(clock: FakeClock) -> None:
    """`max_outage_minutes: 5` ends the run after five minutes."""
    seller = Seller(clock, while_time(clock, 0, HOUR, REFUSED))
    running = scheduler(seller, policy=RetryPolicy(max_outage_seconds=300))
    await carry_out(running, todo(50))
    assert isinstance(running.stopped_by, EndpointDown)
    assert "no service for 5 min" in running.stopped_by.message
    assert clock.time - START == pytest.approx(300, abs=5)


@pytest.mark.parametrize("every", [5, 4])
async def test_a_few_failures_are_no_outage(clock: FakeClock, every: int) -> None:
    """One in five requests fails: no pause, and all but those few get a picture whose three tries all failed."""
    told, sent = Recorder(), 0

    def answer(job: Job, n: int) -> Any:
        nonlocal sent
        sent += 1
        return BROKEN if sent % every == 0 else None

    seller = Seller(clock, answer)
    outcomes = await carry_out(scheduler(seller, concurrency=8, listener=told), todo(2000))
    assert kinds(outcomes)["Done"] >= 0.97 * 2000
    assert told.named("gate") == []


async def test_half_of_all_calls_failing_opens_the_breaker(clock: FakeClock) -> None:
    """Also if some get through: a provider on its knees is left alone for a minute."""
    told, sent = Recorder(), 0

    def answer(job: Job, n: int) -> Any:
        nonlocal sent
        sent += 1
        return BROKEN if sent % 5 in (0, 1, 3) and sent < 40 else None

    await carry_out(scheduler(Seller(clock, answer), concurrency=4, listener=told), todo(60))
    assert told.named("gate")


async def test_limits_and_jobs_own_faults_are_no_outage(clock: FakeClock) -> None:
    """A provider that answers is up, whatever it answers."""
    told = Recorder()
    seller = Seller(clock, lambda job, n: Refused("image_safety", "", kind=Kind.POLICY))
    assert kinds(await carry_out(scheduler(seller, concurrency=4, listener=told), todo(100))) == {"Failed": 100}
    assert told.named("gate") == []


# ---- the first request ------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [EndpointDown("bad_key", "wrong"), EndpointDown("redirected", "moved")])
async def test_a_wrong_key_costs_one_request(clock: FakeClock, error: AttemptError) -> None:
    """The first request of a run goes alone until it is answered, or clearly not refused."""
    seller = Seller(clock, lambda job, n: error)
    running = scheduler(seller, concurrency=100)
    await carry_out(running, todo(1000))
    assert len(seller.calls) == 1
    assert running.stopped_by is error


async def test_a_slow_first_answer_holds_nobody_up(clock: FakeClock) -> None:
    """A refusal comes at once: after two seconds without one the others go."""
    seller = Seller(clock, lambda job, n: 60.0)
    await carry_out(scheduler(seller, concurrency=8, adaptive=False), todo(8))
    assert clock.time - START <= 62.1


@pytest.mark.parametrize("adaptive", [True, False])
@pytest.mark.parametrize(("jobs", "seconds"), [(8, 10.75), (1, 10.0)])
async def test_a_short_batch_goes_out_whole(clock: FakeClock, jobs: int, seconds: float, adaptive: bool) -> None:
    """Eight pictures of ten seconds, with a key that is not known, take hardly longer than one."""
    seller = Seller(clock, lambda job, n: 10.0)
    await carry_out(scheduler(seller, concurrency=8, adaptive=adaptive, jobs=jobs), todo(jobs))
    assert clock.time - START == pytest.approx(seconds)


class SlowlyRefused(Seller):
    """Refuses the key, so many seconds after each request."""

    def __init__(self, clock: FakeClock, seconds: float) -> None:
        super().__init__(clock)
        self._seconds = seconds

    async def buy(self, job: Job, why: str, terms: Terms) -> Any:
        self.calls.append((self.clock.monotonic(), job.id, why))
        await self.clock.sleep(self._seconds)
        raise EndpointDown("bad_key", "wrong")


@pytest.mark.parametrize(
    ("jobs", "seconds", "requests"),
    [(8, 0.7, 1), (8, 1.5, 8), (9, 1.5, 1), (1_000, 1.5, 1), (1_000, 3.0, 4), (1_000, 8.0, 4)],
)
async def test_a_wrong_key_that_is_refused_late(clock: FakeClock, jobs: int, seconds: float, requests: int) -> None:
    """One request if a short batch hears of it in 0.75 s, a long one in 2 s; else those that are out by then."""
    seller = SlowlyRefused(clock, seconds)
    running = scheduler(seller, concurrency=64, jobs=jobs)
    await carry_out(running, todo(jobs))
    assert len(seller.calls) == requests
    assert isinstance(running.stopped_by, EndpointDown)
    assert running.stopped_by.code == "bad_key"


async def known_key(clock: FakeClock) -> MemoryQuotaStore:
    """The counts of a key that has brought a picture."""
    quota_store = MemoryQuotaStore()
    await carry_out(scheduler(Seller(clock), routes=[one_route(Limits(), quota_store)]), todo(1))
    await clock.sleep(7 * 24 * HOUR)
    return quota_store


async def test_a_key_that_was_good_lately_costs_no_time(clock: FakeClock) -> None:
    """Eight pictures of ten seconds take ten seconds, and not two more."""
    quota_store = await known_key(clock)
    began = clock.time
    seller = Seller(clock, lambda job, n: 10.0)
    await carry_out(scheduler(seller, routes=[one_route(Limits(adaptive=False), quota_store)]), todo(8))
    assert clock.time - began <= 10.3


@pytest.mark.parametrize(("seconds", "requests"), [(0.2, 1), (1.5, 8)])
async def test_a_key_that_was_good_and_is_revoked(clock: FakeClock, seconds: float, requests: int) -> None:
    """Refused within a quarter of a second it costs one request, refused later what is in flight, which is not paid;
    the next run goes by one again."""
    quota_store = await known_key(clock)

    for expected in (requests, 1):
        seller = SlowlyRefused(clock, seconds)
        await carry_out(scheduler(seller, routes=[one_route(Limits(adaptive=False), quota_store)]), todo(100))
        assert len(seller.calls) == expected


@pytest.mark.parametrize("concurrency", [1, 8, 64])
async def test_a_revoked_key_costs_what_was_in_flight(clock: FakeClock, concurrency: int) -> None:
    """From the moment the first refusal is here, not one more request goes out."""
    seller = Seller(clock, while_time(clock, 20, HOUR, EndpointDown("bad_key", "revoked")))
    running = scheduler(seller, concurrency=concurrency)
    outcomes = await carry_out(running, todo(10_000))
    after = [at for at, _, _ in seller.calls if at - START >= 20]
    assert len(after) <= concurrency
    assert max(after) - START < 22
    assert set(kinds(outcomes)) == {"Done", "Pending"}


# ---- limits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [10.0, 30.0, 120.0])
@pytest.mark.parametrize("concurrency", [1, 8, 64])
async def test_a_storm_of_429_costs_one_request_per_gate(clock: FakeClock, concurrency: int, delay: float) -> None:
    """Ten minutes of it: what was in flight, then one probe after each named delay, and all is bought in the end."""
    told = Recorder()
    seller = Seller(clock, while_time(clock, 10, 610, RateLimited("rate_limited", "slow down", wait_seconds=delay)))
    running = scheduler(seller, concurrency=concurrency, listener=told)
    assert kinds(await carry_out(running, todo(2000))) == {"Done": 2000}
    in_the_storm = [at for at, _, _ in seller.calls if 10 <= at - START < 610]
    gates = 600 / delay
    assert len(in_the_storm) <= concurrency + gates
    assert running.stopped_by is None


async def test_a_slow_refusal_is_waited_for(clock: FakeClock) -> None:
    """A relay that takes ten seconds to say no: nobody else goes while it may still be saying it."""
    limit = RateLimited("rate_limited", "", wait_seconds=60)

    class Slow(Seller):
        async def buy(self, job: Job, why: str, terms: Terms) -> Any:
            await self.clock.sleep(9)
            return await super().buy(job, why, terms)

    seller = Slow(clock, while_time(clock, 9, 610, limit))
    await carry_out(scheduler(seller, concurrency=8), todo(50))
    storm = [at for at, _, _ in seller.calls if 9 <= at - START < 610]
    assert len(storm) <= 8 + 600 / 60


async def test_a_limit_that_never_ends_stops_the_run(clock: FakeClock) -> None:
    """After half an hour without a picture the run ends as something for later."""
    seller = Seller(clock, lambda job, n: RateLimited("rate_limited", "slow down", wait_seconds=100))
    running = scheduler(seller, concurrency=8)
    outcomes = await carry_out(running, todo(100))
    assert isinstance(running.stopped_by, EndpointDown)
    assert (running.stopped_by.code, running.stopped_by.exit_code) == ("rate_limited", 75)
    assert set(kinds(outcomes)) == {"Pending"}
    assert len(seller.calls) <= 19


async def test_pauses_without_a_named_delay_grow_over_all_jobs(clock: FakeClock) -> None:
    """A relay whose upstream is saturated says no time: each pause is longer than a fresh job's first would be."""
    told = Recorder()
    seller = Seller(clock, while_time(clock, 0, 500, RateLimited("rate_limited", "saturated")))
    assert kinds(await carry_out(scheduler(seller, concurrency=8, listener=told), todo(40))) == {"Done": 40}
    assert len(seller.calls) <= 40 + 30
    assert max(seconds for _, seconds in told.named("gate")) > 20


def day_quota(wait_seconds: float) -> RateLimited:
    return RateLimited("daily_quota", "per day", wait_seconds=wait_seconds, if_repeated=DAY_IS_OVER)


async def test_a_days_quota_is_asked_once_more(clock: FakeClock) -> None:
    """It names seconds as well: one request after them, and if it says the same, the run ends with the day."""
    seller = Seller(clock, while_time(clock, 10, HOUR, day_quota(22)))
    running = scheduler(seller, concurrency=8)
    outcomes = await carry_out(running, todo(1000))
    assert running.stopped_by is DAY_IS_OVER
    after = [at for at, _, _ in seller.calls if at - START >= 10]
    assert len(after) <= 8 + 1
    assert max(after) >= min(after) + 22
    assert set(kinds(outcomes)) == {"Done", "Pending"}


async def test_a_days_quota_that_was_none(clock: FakeClock) -> None:
    """Where requests are counted over the last 24 hours, the named seconds are true: the run goes on."""
    seller = Seller(clock, while_time(clock, 10, 20, day_quota(22)))
    running = scheduler(seller, concurrency=8)
    assert kinds(await carry_out(running, todo(200))) == {"Done": 200}
    assert running.stopped_by is None


# ---- the retry budget -------------------------------------------------------------------------------------


async def test_repeats_stay_within_the_budget(clock: FakeClock) -> None:
    """Two in five requests fail for ever: what is repeated is bounded, the rest is for the next run."""
    sent = 0

    def answer(job: Job, n: int) -> Any:
        nonlocal sent
        sent += 1
        return BROKEN if sent % 5 in (1, 3) else None

    seller = Seller(clock, answer)
    jobs = 2000
    outcomes = await carry_out(scheduler(seller, concurrency=8), todo(jobs))
    repeats = len(seller.calls) - jobs
    assert repeats <= 0.7 * jobs
    assert kinds(outcomes)["Done"] >= 0.7 * jobs
    assert not any(isinstance(outcome, Pending) for outcome in outcomes.values())
