"""Refusals that have nothing to do with the pace: the batch takes about as long as without them. Time is virtual."""

from __future__ import annotations

from random import Random

import pytest

from batch.core.settings import Limits
from batch.limits.quota_store import MemoryQuotaStore
from tests.support.fakes import FakeClock, kinds
from tests.support.providers_with_quotas import LeakyProvider, QuotaProvider, send

SECONDS = {16: (0.7, 0.9), 64: (4.0, 6.0)}
JOBS = {16: 400, 64: 640}


async def run(in_flight: int, share: float, delay: float | None, seed: int = 1) -> QuotaProvider:
    """A batch at a provider that refuses that share of the requests, whatever the pace."""
    clock, random = FakeClock(), Random(seed)
    seconds = SECONDS[in_flight]
    provider = QuotaProvider(clock, seconds=seconds, random=random, sporadic=share, sporadic_delay=delay)
    _, outcomes = await send(provider, JOBS[in_flight], Limits(concurrency=in_flight))
    assert kinds(outcomes) == {"Done": JOBS[in_flight]}
    return provider


@pytest.mark.parametrize("delay", [2.0, None])
@pytest.mark.parametrize("share", [0.01, 0.03, 0.1])
@pytest.mark.parametrize("in_flight", [16, 64])
async def test_refusals_by_chance_cost_little_time(in_flight: int, share: float, delay: float | None) -> None:
    """At most 1.3 times as long as without any, with a named delay and without."""
    clean = await run(in_flight, 0.0, None)
    refused = await run(in_flight, share, delay)
    assert refused.clock.time - 1000 <= 1.3 * (clean.clock.time - 1000)


async def test_refusals_by_chance_are_not_remembered() -> None:
    """The next run, without refusals, is as fast as if there had been none."""
    quota_store = MemoryQuotaStore()
    took = []
    for share in (0.0, 0.1, 0.0):
        clock = FakeClock()
        provider = QuotaProvider(clock, seconds=(0.7, 0.9), random=Random(3), sporadic=share)
        await send(provider, 200, Limits(concurrency=16), quota_store=quota_store)
        took.append(clock.time - 1000)
    assert took[2] == pytest.approx(took[0])


@pytest.mark.parametrize("share", [0.03, 0.1])
async def test_a_quota_and_refusals_by_chance_together(share: float) -> None:
    """A leaky bucket of 300 a minute, and some refused whatever the pace: four fifths of the quota are used."""
    provider = LeakyProvider(FakeClock(), lambda _: 300, burst=5, random=Random(1), sporadic=share)
    _, outcomes = await send(provider, 1_500, Limits(concurrency=256))
    assert kinds(outcomes) == {"Done": 1_500}
    last = provider.served[-1] - 1000 - 10
    assert provider.served_between(60, last) >= 0.8 * 300 * (last - 60) / 60


async def test_no_pace_is_set_before_one_was_measured(caplog: pytest.LogCaptureFixture) -> None:
    """Four in flight at once, most of them refused, say nothing of a rate: the batch does not crawl for minutes."""
    provider = LeakyProvider(FakeClock(), lambda _: 300, burst=0, random=Random(1), sporadic=0.1)
    with caplog.at_level("INFO", "batch"):
        await send(provider, 100, Limits(concurrency=256))
    said = [record.getMessage() for record in caplog.records]
    assert any("free -> " in words for words in said)
    assert not any("free -> 1 a minute" in words for words in said)


async def test_a_delay_holds_the_request_that_was_given_it() -> None:
    """The refused one comes back after the named time and not before; the others go on meanwhile."""
    clock = FakeClock()
    provider = QuotaProvider(clock, seconds=(1.0, 1.0), random=Random(5), sporadic=0.02, sporadic_delay=20.0)
    await send(provider, 200, Limits(concurrency=8))
    first = provider.refused[0]
    assert provider.served_between(first - 1000 + 0.5, first - 1000 + 20) > 50


async def test_the_log_says_what_was_decided_and_why(caplog: pytest.LogCaptureFixture) -> None:
    """What a run found can be followed afterwards: the endpoint, its gate, the pace before and after, and why."""
    provider = QuotaProvider(FakeClock(), lambda _: 60, random=Random(1))
    with caplog.at_level("INFO", "batch"):
        await send(provider, 200, Limits(concurrency=64))
    said = [record.getMessage() for record in caplog.records]
    assert any(words.startswith("gate of somewhere closed for ") for words in said)
    assert any(words.startswith("pace of gemini-3.1-flash-image at somewhere: free -> ") for words in said)
