"""Budgets and the money's way, on whole runs: what was spent never passes a cap, and both sides count the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import batch
from batch.core.results import Summary
from batch.core.settings import ChangedPolicy
from batch.report.status import read_status
from batch.report.text import status_lines, summary_lines
from batch.runner.options import RunOptions
from batch.runner.run import plan_only
from tests.support.bench import KEY, Bench, a_bench, balance, faults
from tests.support.fakes import QuickClock

PRICE = 0.045


def usd(bench: Bench, *kinds: str) -> float:
    return round(sum(float(line["usd"]) for line in bench.ledger() if line["t"] in kinds), 6)


def assert_same_money(bench: Bench) -> None:
    """To the cent, and below: what the ledger knows to be charged, plus at most what is unknown, is the book."""
    balance(bench)
    certain, possible = usd(bench, "done", "fail"), usd(bench, "done", "fail", "unk")
    assert certain - 1e-6 <= bench.book.usd <= possible + 1e-6


async def test_a_run_stops_where_the_next_request_does_not_fit(bench: Bench) -> None:
    """Cleanly, with what fits bought, and it says how the budget stands; the next run begins with a new one."""
    first = await bench.run(8, budget={"per_run": 5.5 * PRICE}, limits={"concurrency": 3})
    assert (first.exit, first.reason, first.done, first.pending, first.not_before) == (75, "budget", 5, 3, None)
    assert first.message == (
        "the budget per run of $0.2475 has no room for the next request, which may cost $0.045: $0.225 spent, $0.00 "
        "reserved, $0.0225 left"
    )
    assert bench.book.requests == 5
    second = await bench.run(8, budget={"per_run": 5.5 * PRICE})
    assert (second.exit, second.done, bench.book.requests) == (0, 8, 8)
    assert_same_money(bench)


async def test_max_cost_is_a_cap_for_one_run(bench: Bench) -> None:
    """The smaller of the two counts."""
    found = await bench.run(4, options=RunOptions(max_cost=2 * PRICE), budget={"per_run": 100})
    assert (found.reason, found.done) == ("budget", 2)
    found = await bench.run(4, options=RunOptions(max_cost=100), budget={"per_run": PRICE})
    assert (found.reason, found.done) == ("budget", 3)


@faults({"fault": "http_503", "share": 0.3}, {"fault": "text_only", "share": 0.2})
async def test_what_costs_nothing_makes_room_again(bench: Bench) -> None:
    """Requests that failed free of charge do not eat the budget; those charged in vain do."""
    found = await bench.run(30, budget={"per_run": 10 * PRICE}, limits={"concurrency": 4})
    assert (found.reason, round(bench.book.usd, 6)) == ("budget", round(10 * PRICE, 6))
    assert_same_money(bench)


@pytest.mark.parametrize("cap", [{"per_day": 3 * PRICE}, {"per_month": 3 * PRICE}, {"tags": {"spring": 3 * PRICE}}])
async def test_a_shared_cap_counts_all_runs_with_the_key(bench: Bench, cap: dict[str, Any]) -> None:
    """In whatever output folder. A run that finds nothing left sends nothing, and says from when on there is more."""
    options: dict[str, Any] = {"budget": cap, "tag": "spring"}
    first = await bench.run(2, **options)
    elsewhere = replace(bench, path=bench.path / "elsewhere")
    elsewhere.path.mkdir()
    second = await elsewhere.run(5, **options)
    third = await elsewhere.run(5, **options)
    assert (first.exit, second.reason, second.done, third.reason, third.requests) == (0, "budget", 1, "budget", 0)
    assert bench.book.requests == 3
    assert (third.not_before is None) == ("tags" in cap)
    other_key = await batch.run(
        elsewhere.manifest(3, **options),
        output=elsewhere.output,
        environment={"ANYFAST_API_KEY": "another"},
        clock=QuickClock(),
    )
    assert other_key.exit == 0


async def test_another_tag_has_its_own_money(bench: Bench) -> None:
    """A tag without a cap is not held back, and does not eat the capped one's."""
    budget: Any = {"tags": {"spring": PRICE}}
    assert (await bench.run(3, budget=budget, tag="autumn")).exit == 0
    found = await bench.run(6, budget=budget, tag="spring")
    assert (found.reason, found.requests) == ("budget", 1)


async def test_a_plan_says_where_the_budget_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the tightest cap, with what other runs have spent where the key is known."""
    monkeypatch.setenv("ANYFAST_API_KEY", KEY["ANYFAST_API_KEY"])
    options: dict[str, Any] = {"budget": {"per_run": 6 * PRICE, "per_day": 5 * PRICE}}
    await bench.run(3, **options)
    planned = plan_only(bench.manifest(20, **options), output=bench.output)
    found = planned.affordable({})
    assert found is not None
    assert (found.jobs, found.cap.name) == (6, "per run")
    assert plan_only(bench.manifest(3, **options), output=bench.output).affordable({}) is None


def run_in_a_process(bench: Bench, jobs: int, **top: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "batch", "run", str(bench.manifest(jobs, **top)), "-o", str(bench.output), "-q"]
    return subprocess.Popen(command, env={**os.environ, **KEY}, stderr=subprocess.DEVNULL)


@faults({"fault": "hang", "after": 2})
async def test_a_killed_run_leaves_its_money_set_aside(bench: Bench) -> None:
    """Killed with requests in flight: what it had taken counts, then what its ledger says; no cap is passed."""
    import asyncio

    options: dict[str, Any] = {"budget": {"per_day": 6 * PRICE}, "limits": {"concurrency": 3}}
    killed = run_in_a_process(bench, 20, **options)
    while bench.book.in_flight < 3 or bench.book.requests < 2:
        await asyncio.sleep(0.02)
        assert killed.poll() is None
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    elsewhere = replace(bench, path=bench.path / "elsewhere")
    elsewhere.path.mkdir()
    stopped = await elsewhere.run(20, timeouts={"read_seconds": 0.3, "total_seconds": 0.5}, **options)
    assert stopped.reason == "budget"
    found = await bench.run(20, timeouts={"read_seconds": 0.3, "total_seconds": 0.5}, **options)
    assert found.reason in ("budget", "unknown_outcome")
    every = usd(bench, "done", "fail", "unk") + usd(elsewhere, "done", "fail", "unk")
    assert every <= round(6 * PRICE, 6)


@faults(
    {"fault": "text_only", "prompt": "number 1", "times": 1},
    {"fault": "finish_safety", "prompt": "number 2"},
    {"fault": "cut", "prompt": "number 3"},
)
async def test_the_money_by_what_came_of_it(bench: Bench) -> None:
    """Done, rejected, failed, unknown, superseded and saved: in the summary, in status and in the ledger's end."""
    await bench.run(4, retry={"unknown": "hold"})
    jobs = [{"id": "job-0", "prompt": "another cup"}, {"id": "renamed", "prompt": "cup number 1"}]
    found = await bench.run(jobs, options=RunOptions(on_changed=ChangedPolicy.RERUN))
    spend = found.spend
    assert (spend.done, spend.rejected, spend.failed) == (2 * PRICE, PRICE, PRICE)
    assert (spend.unknown, spend.superseded, spend.saved) == (PRICE, PRICE, PRICE)
    assert spend.done + spend.rejected + spend.failed + spend.superseded == pytest.approx(usd(bench, "done", "fail"))
    status = read_status(bench.output)
    assert status.spend == spend
    assert bench.ledger()[-1]["spend"] == json.loads(json.dumps(batch_spend(found)))


def batch_spend(summary: Summary) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(summary.spend)


async def test_what_limits_now_is_money(bench: Bench) -> None:
    """Status and summary say so in words, as long as the budget is what stopped the last run."""
    found = await bench.run(3, budget={"per_run": PRICE})
    words = list(status_lines(read_status(bench.output)))
    assert any(line.startswith("  budget     limits now: money. the budget per run of $0.045 has") for line in words)
    assert any("the budget per run" in line for line in summary_lines(found, "x"))


MIXED: Sequence[Any] = (
    {"fault": "thought_unmarked", "share": 0.1},
    {"fault": "text_only", "share": 0.1},
    {"fault": "http_503", "share": 0.1},
    {"fault": "cut", "share": 0.05},
    {"fault": "usage_free", "share": 0.1},
    {"fault": "finish_safety", "share": 0.1},
    {"fault": "base64_cut", "share": 0.1},
    {"fault": "html_502", "share": 0.05},
)


@pytest.mark.parametrize("bench", [{"faults": MIXED, "seed": seed} for seed in (1, 2)], indirect=True)
async def test_a_messy_run_costs_what_the_book_says(bench: Bench) -> None:
    """All kinds of faults at once, several pictures in one answer among them."""
    await bench.run(60, limits={"concurrency": 8})
    assert_same_money(bench)


@pytest.mark.parametrize("bench", [{"faults": MIXED, "billing": "tokens", "flavour": "google"}], indirect=True)
async def test_charged_by_tokens_the_cap_holds_too(bench: Bench) -> None:
    """Drafts, refusals and false counts among them: what the provider charged is within the budget, and ours."""
    provider = {"profile": "google", "base_url": bench.simulator.base_url}
    environment = {"GEMINI_API_KEY": "AIza-for-tests"}
    file = bench.manifest(60, provider=provider, budget={"per_run": 1.5}, limits={"concurrency": 8})
    found = await batch.run(file, output=bench.output, environment=environment, clock=QuickClock())
    assert (found.message or "").startswith("the budget per run of $1.50 has no room")
    assert 1.2 < bench.book.usd <= 1.5
    certain, unknown = usd(bench, "done", "fail"), usd(bench, "unk")
    assert certain - 0.005 <= bench.book.usd <= certain + unknown + 0.005
    assert {line["usd_from"] for line in bench.ledger() if line["t"] == "done"} == {"usage", "list"}


@pytest.mark.parametrize(
    "fault", ["text_only", "only_thought_image", "truncated_jpeg", "svg_picture", "no_content", "empty_candidates"]
)
@pytest.mark.parametrize("delay_seconds", [0, 0.3])
async def test_an_endpoint_that_charges_for_nothing_costs_a_handful(
    fault: str, delay_seconds: float, tmp_path: Path
) -> None:
    """300 jobs, 16 at once, none held back: exit 76, the answers are kept aside, and both sides count the same."""
    async with a_bench(tmp_path, faults=[{"fault": fault, "share": 1.0}], latency_seconds=delay_seconds) as bench:
        found = await bench.run(300, limits={"concurrency": 16, "adaptive": False})
        assert (found.exit, found.done) == (76, 0)
        assert bench.book.requests <= 8
        assert len(list((bench.output / "rejected").iterdir())) >= 3
        assert_same_money(bench)
