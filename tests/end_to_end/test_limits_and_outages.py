"""What the server's answers cost over real sockets: days' quotas, storms, outages, a revoked key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batch.runner.options import RunOptions
from tests.support.bench import Bench, balance, faults
from tests.support.fakes import ClockAt

LATE = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)  # noon in California; the day ends at 08:00 UTC
MIDNIGHT = "2026-11-23T08:00:00Z"


async def run_at(bench: Bench, now: datetime, jobs: Any = 4, **options: Any) -> Any:
    bench.options["clock"] = ClockAt(now)
    return await bench.run(jobs, limits={"concurrency": 1}, **options)


day_is_over = faults({"fault": "quota_day", "times": 2}, flavour="google")


# ---- too early --------------------------------------------------------------------------------------------


@day_is_over
async def test_a_start_before_the_day_begins_sends_nothing(bench: Bench) -> None:
    """Cron tries again and again: exit 75 at once, with the time; after midnight all is bought."""
    first = await run_at(bench, LATE)
    assert (first.exit, first.reason, first.not_before, first.requests) == (75, "daily_quota", MIDNIGHT, 2)
    before = bench.ledger()
    for hours in (0, 1, 11.9):
        early = await run_at(bench, LATE + timedelta(hours=hours))
        assert (early.exit, early.reason, early.not_before, early.requests) == (75, "daily_quota", MIDNIGHT, 0)
        assert "too early" in (early.message or "")
    assert bench.ledger() == before
    assert bench.book.requests == 2
    later = await run_at(bench, LATE + timedelta(hours=12))
    assert (later.exit, later.done) == (0, 4)


@day_is_over
async def test_a_person_may_start_all_the_same(bench: Bench) -> None:
    """`--ignore-not-before`: the quota may have been raised."""
    await run_at(bench, LATE)
    assert (await run_at(bench, LATE, options=RunOptions(ignore_not_before=True))).done == 4


@day_is_over
async def test_another_model_is_not_held_up(bench: Bench) -> None:
    """The quota was one model's."""
    await run_at(bench, LATE)
    other = [{"id": "x", "prompt": "x", "model": "gemini-2.5-flash-image"}]
    assert (await run_at(bench, LATE, [*other], defaults={"image_size": "1K"})).done == 1


@day_is_over
async def test_another_endpoint_is_not_held_up(bench: Bench) -> None:
    """Nor does what one provider said hold for another."""
    await run_at(bench, LATE)
    provider = {"profile": "anyfast", "base_url": bench.simulator.base_url.replace("127.0.0.1", "localhost")}
    assert (await run_at(bench, LATE, provider=provider)).requests > 0


@day_is_over
async def test_a_finished_batch_is_never_too_early(bench: Bench) -> None:
    """Where nothing is to be sent there is nothing to wait for."""
    await run_at(bench, LATE)
    await run_at(bench, LATE, options=RunOptions(ignore_not_before=True))
    assert (await run_at(bench, LATE)).exit == 0


@pytest.mark.parametrize("shift", [timedelta(days=400), timedelta(hours=30), timedelta(minutes=1)])
@day_is_over
async def test_a_wrong_clock_locks_nobody_out(bench: Bench, shift: timedelta) -> None:
    """A run whose clock was ahead wrote a time far away: the next one, with the right time, starts."""
    await run_at(bench, LATE + shift)
    assert (await run_at(bench, LATE)).done == 4


@faults({"fault": "retry_after_huge", "times": 1})
async def test_nobody_waits_longer_than_a_day(bench: Bench) -> None:
    """A server that says "in a week" is asked again after a day."""
    first = await run_at(bench, LATE)
    assert first.not_before is not None
    assert first.not_before > "2026-11-24"
    assert (await run_at(bench, LATE + timedelta(hours=23))).requests == 0
    assert (await run_at(bench, LATE + timedelta(hours=24))).done == 4


# ---- short forms of what the scheduler's tests try on virtual time ------------------------------------------


@faults({"fault": "http_503"})
async def test_an_outage_ends_the_run_and_leaves_every_job_to_be_done(bench: Bench) -> None:
    """Half an hour of virtual pauses, what was in flight and a dozen requests, exit 75."""
    summary = await bench.run(60, limits={"concurrency": 4})
    assert (summary.exit, summary.reason) == (75, "no_service")
    assert bench.book.requests <= 4 + 12
    assert summary.pending + summary.worth_retrying == 60
    assert summary.cost_usd == 0


@faults({"fault": "http_503", "requests": list(range(1, 9))})
async def test_an_outage_that_ends_costs_no_job(bench: Bench) -> None:
    """The first eight requests fail, then all is bought in the same run."""
    summary = await bench.run(20, limits={"concurrency": 8})
    assert (summary.exit, summary.done, summary.requests) == (0, 20, 28)
    balance(bench)


@faults({"fault": "quota_minute", "requests": list(range(5, 15))}, flavour="google")
async def test_a_storm_of_429_costs_a_probe_per_gate(bench: Bench) -> None:
    """Ten refusals in all, whatever the concurrency, and nothing is lost."""
    summary = await bench.run(30, limits={"concurrency": 2})
    assert (summary.exit, summary.done, summary.requests) == (0, 30, 40)
    balance(bench)


@faults({"fault": "http_401", "after": 6})
async def test_a_revoked_key_ends_the_run(bench: Bench) -> None:
    """After the sixth picture every request is refused: what was in flight, and no more."""
    summary = await bench.run(100, limits={"concurrency": 4})
    assert (summary.exit, summary.reason, summary.done) == (77, "bad_key", 6)
    assert bench.book.requests <= 6 + 4


@pytest.mark.parametrize("bench", [{"faults": [{"fault": "late_401", "seconds": 0.3}]}], indirect=True, ids=[""])
@pytest.mark.parametrize("adaptive", [True, False])
async def test_a_wrong_key_refused_late_costs_what_may_go_before_a_picture(bench: Bench, adaptive: bool) -> None:
    """The server looks at the key after our clock has skipped the wait: what is out by then, and exit 77."""
    summary = await bench.run(100, limits={"concurrency": 64, "adaptive": adaptive})
    assert (summary.exit, summary.reason, summary.done) == (77, "bad_key", 0)
    assert bench.book.requests == (4 if adaptive else 8)


@faults({"fault": "relay_no_channel"})
async def test_a_relay_without_a_channel_ends_the_run(bench: Bench) -> None:
    """Three rounds, a pause before each repeat, exit 77."""
    summary = await bench.run(50, limits={"concurrency": 2})
    assert (summary.exit, summary.reason) == (77, "no_channel")
    assert bench.book.requests <= 3 * 2


@faults({"fault": "relay_saturated", "requests": [3, 4, 5]})
async def test_a_saturated_relay_is_waited_for(bench: Bench) -> None:
    """It names no time; the pauses grow, and all is bought."""
    summary = await bench.run(10, limits={"concurrency": 1})
    assert (summary.exit, summary.done, summary.requests) == (0, 10, 13)
