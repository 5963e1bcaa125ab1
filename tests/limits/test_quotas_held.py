"""Whole runs against simulated providers with quotas: the real scheduler, hours in a second.

`QUOTA_JOBS=10000 pytest tests/limits/test_quotas_held.py` is the long form.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from statistics import median

import pytest

from batch.core.errors import EndpointDown
from batch.core.model import Done
from batch.core.settings import Limits
from batch.limits.quota_store import FileQuotaStore, MemoryQuotaStore
from batch.limits.quotas import need_of
from tests.support.fakes import FakeClock, job, kinds
from tests.support.providers_with_quotas import (
    FixedWindowProvider,
    LeakyProvider,
    QuotaProvider,
    TokenBucketProvider,
    send,
    sender,
)

JOBS = int(os.environ.get("QUOTA_JOBS", "1200"))
#: Ten minutes at 300 a minute, or six.
SOME = 3_000 if JOBS >= 3_000 else 1_800
MEAN_ANSWER_SECONDS, LONGEST_ANSWER_SECONDS = 8.0, 12.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def most_in_any_minute(amounts: list[tuple[float, int]]) -> int:
    """The most that any 60 seconds hold, wherever they begin."""
    most = inside = first = 0
    for at, amount in amounts:
        inside += amount
        while amounts[first][0] <= at - 60:
            inside -= amounts[first][1]
            first += 1
        most = max(most, inside)
    return most


def slowest_minute(provider: QuotaProvider, begin: float, end: float) -> int:
    """Pictures in the minute that had the fewest, of those between two times since the start."""
    return min(provider.served_between(at, at + 60) for at in range(int(begin), int(end - 60), 5))


@pytest.mark.parametrize(
    ("per_minute", "tokens"),
    [(300, 1_000_000), (1_000, 250 * 1_127), (300, 250 * 1_127)],
    ids=["requests", "tokens", "both"],
)
async def test_the_quotas_are_used_up_and_never_passed(clock: FakeClock, per_minute: int, tokens: int) -> None:
    """Requests, tokens and a day at once: no minute holds more, none is refused, and it takes hardly longer than it
    must; the day's quota stops the run, and after midnight it goes on."""
    a_day = JOBS * 6 // 10
    in_a_minute = min(per_minute, tokens // 1_127)
    limits = Limits(concurrency=96, requests_per_minute=per_minute, tokens_per_minute=tokens, requests_per_day=a_day)
    provider, quota_store = QuotaProvider(clock, lambda now: per_minute), MemoryQuotaStore()
    for jobs, first in ((a_day, 0), (JOBS - a_day, a_day)):
        began = clock.time
        running, outcomes = await send(provider, JOBS - first, limits, quota_store=quota_store, first=first)
        # Full minutes, then the last ones as their turn comes: evenly, in that many rounds of all slots.
        minutes, last = divmod(jobs - 1, in_a_minute)
        last_seconds = max(last // limits.concurrency * MEAN_ANSWER_SECONDS, last * 60 / per_minute)
        at_best = 60 * minutes + last_seconds + LONGEST_ANSWER_SECONDS
        if first == 0:
            assert isinstance(running.stopped_by, EndpointDown)
            assert (running.stopped_by.code, running.stopped_by.exit_code) == ("day_used_up", 75)
            assert running.stopped_by.not_before is not None
            midnight = datetime.fromisoformat(running.stopped_by.not_before)
            seconds_left = (midnight - clock.now()).total_seconds()
        assert kinds(outcomes)["Done"] == jobs
        # What the beginning takes counts in short runs only.
        assert clock.time - began < at_best * 1.03 + (0 if JOBS >= 10_000 else 10)
        if first == 0:
            await clock.sleep(seconds_left)
    taken = [(at, need_of(job(f"job-{number}")).tokens) for number, at in enumerate(provider.sent)]
    assert provider.refused == []
    assert most_in_any_minute([(at, 1) for at in provider.sent]) <= per_minute
    assert most_in_any_minute(taken) <= tokens


async def test_a_start_before_the_next_day_sends_nothing(clock: FakeClock) -> None:
    """What an earlier run took of the day counts; when it is all, not one request goes out."""
    provider, quota_store, limits = QuotaProvider(clock), MemoryQuotaStore(), Limits(images_per_day=5)
    await send(provider, 9, limits, quota_store=quota_store)
    running, outcomes = await send(provider, 9, limits, quota_store=quota_store, first=9)
    assert len(provider.sent) == 5
    assert set(kinds(outcomes)) == {"Pending"}
    assert "images_per_day is used up: 5 a day" in str(running.stopped_by)


async def test_limits_a_fifth_too_high_cost_few_refusals(clock: FakeClock) -> None:
    """Under 1 % of the requests are refused, and the batch completes in about its time; nobody waits for long."""
    provider = QuotaProvider(clock, lambda now: 300)
    started: dict[str, float] = {}
    limits = Limits(concurrency=64, requests_per_minute=360)
    _, outcomes = await send(provider, JOBS, limits, started=started)
    waited = [provider.first_sent[name] - at for name, at in started.items()]
    assert kinds(outcomes) == {"Done": JOBS}
    assert len(provider.refused) < 0.01 * len(provider.sent)
    assert clock.time - 1000 < 1.1 * JOBS / 300 * 60
    assert max(waited) < 2 * median(waited)


@pytest.mark.parametrize("per_minute", [60, 300, 1_000])
async def test_an_unknown_quota_is_found_and_held(clock: FakeClock, per_minute: int) -> None:
    """Nothing is said of limits: after two minutes every minute has at least 90 % of the quota."""
    jobs = per_minute * (12 if JOBS >= 10_000 else 4)
    provider = QuotaProvider(clock, lambda now: per_minute)
    _, outcomes = await send(provider, jobs, Limits(concurrency=512))
    assert kinds(outcomes) == {"Done": jobs}
    assert slowest_minute(provider, 120, provider.served[-1] - 1000 - 10) >= 0.9 * per_minute


async def test_a_quota_that_falls_to_half_is_found_again(clock: FakeClock) -> None:
    """Two minutes after the step down, and as long as it lasts, 90 % of the new quota are used."""
    provider = QuotaProvider(clock, lambda now: 300 if now < 1400 else 150)
    _, outcomes = await send(provider, 3_000, Limits(concurrency=256))
    assert kinds(outcomes) == {"Done": 3_000}
    assert slowest_minute(provider, 520, provider.served[-1] - 1000 - 10) >= 0.9 * 150
    assert len(provider.refused) < 60


@pytest.mark.parametrize("named_delay", [False, True])
@pytest.mark.parametrize("burst", [0, 5])
async def test_requests_wanted_evenly_spaced(clock: FakeClock, burst: int, named_delay: bool) -> None:
    """A provider that wants them spaced, as nginx does by default, gets them so: after two minutes 90 % of the rate."""
    provider = LeakyProvider(clock, lambda now: 300, burst=burst, named_delay=named_delay)
    _, outcomes = await send(provider, SOME, Limits(concurrency=256))
    assert kinds(outcomes) == {"Done": SOME}
    assert slowest_minute(provider, 120, provider.served[-1] - 1000 - 10) >= 0.9 * 300
    assert len(provider.refused) < 25


async def test_a_slow_limiter_that_spaces_gets_no_storm(clock: FakeClock) -> None:
    """One request in 2 s, none early, and the delay named is 1 s: every second probe is refused, and still it counts
    what was accepted and finds a pace."""
    provider = LeakyProvider(clock, lambda now: 30, burst=0, seconds=(0.5, 0.5))
    _, outcomes = await send(provider, 150, Limits(concurrency=32))
    assert kinds(outcomes) == {"Done": 150}
    assert len(provider.refused) < 75


@pytest.mark.parametrize(("named_delay", "share"), [(True, 0.9), (False, 0.85)])
async def test_a_count_that_begins_anew_at_each_full_minute(clock: FakeClock, named_delay: bool, share: float) -> None:
    """A fixed window: after two minutes 90 % of each, and a little less where it does not say how long to wait."""
    provider = FixedWindowProvider(clock, lambda now: 300, named_delay=named_delay)
    _, outcomes = await send(provider, SOME, Limits(concurrency=256))
    assert kinds(outcomes) == {"Done": SOME}
    counts = Counter(at // 60 for at in provider.served)
    whole = range(((1000 + 120) // 60) + 1, int(provider.served[-1] // 60))
    assert min(counts[minute] for minute in whole) >= share * 300
    assert len(provider.refused) < 45


@pytest.mark.parametrize("named_delay", [False, True])
async def test_what_was_saved_up_is_spent_at_once(clock: FakeClock, named_delay: bool) -> None:
    """A token bucket of a minute's worth: the first minute is not taken for the rate."""
    provider = TokenBucketProvider(clock, lambda now: 300, named_delay=named_delay)
    _, outcomes = await send(provider, SOME, Limits(concurrency=256))
    assert kinds(outcomes) == {"Done": SOME}
    assert slowest_minute(provider, 120, provider.served[-1] - 1000 - 10) >= 0.9 * 300
    assert len(provider.refused) < 45


async def test_a_quota_that_names_no_delay(clock: FakeClock) -> None:
    """Any 60 s count, and nobody says how long to wait: a pause tells it from one that wants requests spaced."""
    provider = QuotaProvider(clock, lambda now: 300, named_delay=False)
    _, outcomes = await send(provider, SOME, Limits(concurrency=256))
    assert kinds(outcomes) == {"Done": SOME}
    assert slowest_minute(provider, 120, provider.served[-1] - 1000 - 10) >= 0.9 * 300


async def test_a_storm_that_names_no_delay_costs_ever_fewer_requests(clock: FakeClock) -> None:
    """It begins with a short pause, as a single refusal does; they grow to a minute."""
    provider = QuotaProvider(clock, lambda now: 300 if not 1100 <= now < 1700 else 0, seconds=(5, 5), named_delay=False)
    _, outcomes = await send(provider, 1_500, Limits(concurrency=32))
    assert kinds(outcomes) == {"Done": 1_500}
    storm = [at for at in provider.refused if 1101 < at < 1700]
    assert len(storm) <= 25
    assert len([at for at in storm if at > 1200]) <= 14


async def test_what_was_found_is_remembered(clock: FakeClock) -> None:
    """The next run of the same model begins at what the last one found. Fewer are refused; it takes hardly longer."""
    quota_store, refused, took = MemoryQuotaStore(), [], []
    for _ in range(2):
        provider = LeakyProvider(clock, lambda now: 300)
        began = clock.time
        await send(provider, 600, Limits(concurrency=256), quota_store=quota_store)
        took.append(clock.time - began)
        refused.append(len(provider.refused))
        await clock.sleep(600)
    with quota_store.transaction() as kept:
        assert kept is not None
        found, _ = kept.found["gemini-3.1-flash-image"]
        assert 200 < found.per_minute < 400
    assert refused[1] < refused[0]
    assert took[1] < 1.03 * took[0]  # the first one begins with what the bucket holds


async def done_of(provider: QuotaProvider, jobs: int, store: FileQuotaStore, first: int) -> int:
    """Carry out so many jobs beside another run."""
    scheduler, plan = sender(provider, jobs, Limits(concurrency=128), first=first, quota_store=store)
    async with scheduler.outcomes(plan) as outcomes:
        return sum([isinstance(outcome, Done) async for outcome in outcomes])


@pytest.mark.parametrize(
    ("make", "share", "refused"),
    [
        (lambda clock: QuotaProvider(clock, lambda now: 300), 0.9, 40),
        (lambda clock: TokenBucketProvider(clock, lambda now: 300), 0.95, 120),
        (lambda clock: LeakyProvider(clock, lambda now: 300, burst=0), 0.75, 60),
    ],
    ids=["any 60 s", "token bucket", "leaky, no burst"],
)
async def test_runs_at_once_share_one_pace(
    clock: FakeClock, tmp_path: Path, make: Callable[[FakeClock], QuotaProvider], share: float, refused: int
) -> None:
    """Together they are one sender, by what stands in the quotas' file, and neither is starved."""
    provider, jobs = make(clock), SOME // 2
    stores = [FileQuotaStore(tmp_path / "quotas", "key.quota", clock, print, boot_id="this") for _ in range(2)]
    done = await asyncio.gather(*(done_of(provider, jobs, store, n * jobs) for n, store in enumerate(stores)))
    assert done == [jobs, jobs]
    last = provider.served[-1] - 1000
    assert provider.served_between(-1, last) >= share * 300 * last / 60
    assert len(provider.refused) < refused
    in_half = sum(at < 1000 + last / 2 for name, at in provider.first_sent.items() if int(name[4:]) < jobs)
    assert 0.3 < in_half / provider.served_between(-1, last / 2) < 0.7


async def test_a_run_that_begins_later_goes_at_the_pace_of_the_others(clock: FakeClock, tmp_path: Path) -> None:
    """It does not find the limit anew by refusals: they are as few as of one run."""
    provider = LeakyProvider(clock, lambda now: 300, burst=5)
    stores = [FileQuotaStore(tmp_path / "quotas", "key.quota", clock, print, boot_id="this") for _ in range(2)]

    async def later() -> float:
        await clock.sleep(125.0)
        began = len(provider.refused)
        assert await done_of(provider, 100, stores[1], 1_200) == 100
        return len(provider.refused) - began

    _, refused = await asyncio.gather(done_of(provider, 1_200, stores[0], 0), later())
    assert refused < 12


async def test_a_storm_of_refusals_costs_a_probe_per_gate(clock: FakeClock) -> None:
    """Ten minutes of 429, each with a delay of 30 s: one request per gate, besides what was in flight."""
    provider = QuotaProvider(clock, lambda now: 300 if not 1100 <= now < 1700 else 0, seconds=(5, 5))
    _, outcomes = await send(provider, 1_500, Limits(concurrency=32))
    assert kinds(outcomes) == {"Done": 1_500}
    storm = [at for at in provider.refused if 1101 < at < 1700]
    assert len(storm) <= 600 / 30
    assert slowest_minute(provider, 820, provider.served[-1] - 1000 - 10) >= 0.9 * 300  # and then it is as before


async def test_a_quota_that_another_used_up_says_nothing_of_itself(clock: FakeClock) -> None:
    """The first request is refused: the run waits as told, and is not slow for it afterwards."""
    provider = QuotaProvider(clock, lambda now: 300 if now > 1030 else 0)
    await send(provider, 1_500, Limits(concurrency=256))
    assert slowest_minute(provider, 150, provider.served[-1] - 1000 - 10) >= 0.9 * 300


async def test_a_quota_of_three_a_minute(clock: FakeClock) -> None:
    """So few are found too: the batch completes, at nearly all of them."""
    provider = QuotaProvider(clock, lambda now: 3)
    _, outcomes = await send(provider, 60, Limits(concurrency=8))
    assert kinds(outcomes) == {"Done": 60}
    assert provider.served[-1] - 1000 < 60 / 3 * 60 / 0.8


@pytest.mark.parametrize("adaptive", [False, True])
async def test_a_configured_limit_is_a_ceiling(clock: FakeClock, adaptive: bool) -> None:
    """A provider that takes everything gets no more than the limits, evenly; without `adaptive` all of it at once."""
    provider = QuotaProvider(clock, seconds=(5, 5))
    limits = Limits(concurrency=100, requests_per_minute=200, adaptive=adaptive)
    await send(provider, 600, limits)
    assert most_in_any_minute([(at, 1) for at in provider.sent]) <= 200
    first_seconds = provider.served_between(-1, 4)
    assert 8 <= first_seconds <= 4 + 5 * 200 / 60 if adaptive else first_seconds == 100
