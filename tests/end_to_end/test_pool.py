"""Several endpoints, lanes and fallback models in whole runs, over real sockets, against simulators with books."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import batch
from batch.core.results import Summary
from batch.report.status import read_status
from batch.report.text import status_lines, summary_lines
from batch.runner.options import RunOptions
from batch.runner.run import plan_only
from batch.simulator import Simulator, serve, settings_from
from tests.support.bench import Bench
from tests.support.fakes import ClockAt, QuickClock

PRICE = 0.045
KEYS = {"KEY_A": "key-for-a", "KEY_B": "key-for-b"}
FLASH, PRO = "gemini-3.1-flash-image", "gemini-3-pro-image"


@dataclass
class Pair:
    """A manifest with two providers, each a simulator of its own."""

    bench: Bench
    other: Simulator
    entries: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.entries = [
            {"profile": "google", "name": name, "key_env": f"KEY_{name.upper()}", "base_url": simulator.base_url}
            for name, simulator in (("a", self.bench.simulator), ("b", self.other))
        ]

    async def run(self, jobs: Any, options: RunOptions | None = None, clock: Any = None, **top: Any) -> Summary:
        file = self.bench.manifest(jobs, **{"provider": self.entries, **top})
        return await batch.run(
            file, output=self.bench.output, environment=KEYS, clock=clock or QuickClock(), options=options
        )

    def asked(self) -> Counter[str]:
        return Counter(line["to"]["endpoint"] for line in self.bench.ledger() if line["t"] == "try")

    def assert_balance(self) -> None:
        """Both books together are what the ledger says, in requests and in money."""
        ends = [line for line in self.bench.ledger() if line["t"] in ("done", "fail", "unk")]
        certain = sum(line["t"] == "done" or line.get("paid") == "yes" for line in ends)
        unknown = sum(line["t"] == "unk" for line in ends)
        billed = self.bench.book.billed + self.other.book.billed
        assert certain <= billed <= certain + unknown
        usd = sum(line["usd"] for line in ends if line["t"] != "unk")
        most = sum(line["usd"] for line in ends)
        assert usd - 0.0005 * len(ends) <= self.bench.book.usd + self.other.book.usd <= most + 0.0005 * len(ends)


@pytest.fixture
async def pair(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    """The options of the two simulators come from the test's mark."""
    options_of_both: tuple[dict[str, Any], dict[str, Any]] = getattr(request, "param", ({}, {}))
    async with AsyncExitStack() as stack:
        made = [
            await stack.enter_async_context(serve(settings_from({"pictures": "plain", "billing": "tokens", **options})))
            for options in options_of_both
        ]
        yield Pair(Bench(tmp_path, made[0]), made[1])


def faults(*first: Any, second: Any = (), **options: Any) -> pytest.MarkDecorator:
    """Run a test with these faults at the first provider, and others at the second."""
    params = {"faults": list(first), **options}, {"faults": list(second), **options}
    return pytest.mark.parametrize("pair", [params], indirect=True, ids=[""])


# ---- several endpoints ------------------------------------------------------------------------------------


@faults({"fault": "http_402", "after": 6})
async def test_an_exhausted_key_does_not_stop_the_night(pair: Pair) -> None:
    """All pictures are bought; who served which is in the ledger, and both books agree with it."""
    summary = await pair.run(30, limits={"concurrency": 3})
    assert (summary.exit, summary.done) == (0, 30)
    done = {line["job"]: line["att"] for line in pair.bench.ledger() if line["t"] == "done"}
    to = {(line["job"], line["att"]): line["to"]["endpoint"] for line in pair.bench.ledger() if line["t"] == "try"}
    served = Counter(to[each] for each in done.items())
    assert served == {"a": 6, "b": 24}
    assert pair.asked()["a"] <= 6 + 3
    assert list(summary.endpoints_out) == ["a"]
    assert any(line.startswith("  endpoint   a was left out: HTTP 402") for line in summary_lines(summary, "x"))
    pair.assert_balance()


@faults({"fault": "http_402", "after": 3}, second=[{"fault": "key_invalid", "after": 4}])
async def test_without_any_left_the_run_ends_and_says_what_each_said(pair: Pair) -> None:
    """Exit 77, seven pictures, the rest to be done."""
    summary = await pair.run(30, limits={"concurrency": 1})
    assert (summary.exit, summary.done, summary.pending) == (77, 7, 23)
    assert summary.message is not None
    assert summary.message.startswith("no endpoint is left. a: ")
    assert "; b: " in summary.message
    pair.assert_balance()


@faults({"fault": "quota_day", "after": 3})
async def test_a_key_whose_day_is_over_is_not_asked_before_the_next(pair: Pair) -> None:
    """The other key does the rest today and tomorrow morning; after midnight in California both are used again."""
    noon = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
    first = await pair.run(12, clock=ClockAt(noon), limits={"concurrency": 1})
    assert (first.exit, first.done, first.not_before) == (0, 12, None)
    asked = pair.bench.book.requests
    second = await pair.run(24, clock=ClockAt(noon + timedelta(hours=1)), limits={"concurrency": 1})
    assert (second.exit, second.done) == (0, 24)
    assert pair.bench.book.requests == asked
    pair.entries.pop()
    alone = await pair.run(30, clock=ClockAt(noon + timedelta(hours=2)), limits={"concurrency": 1})
    assert (alone.exit, alone.requests, alone.not_before) == (75, 0, "2026-11-23T08:00:00Z")
    await pair.run(30, clock=ClockAt(noon + timedelta(hours=13)), limits={"concurrency": 1})
    assert pair.bench.book.requests > asked


@faults({"fault": "quota_day", "after": 1})
async def test_another_key_is_not_held_up_by_what_was_said_to_the_first(pair: Pair) -> None:
    """Quotas belong to a key: with a new one at the same address the run starts."""
    noon = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
    pair.entries.pop()
    first = await pair.run(3, clock=ClockAt(noon), limits={"concurrency": 1})
    assert (first.exit, first.reason) == (75, "daily_quota")
    pair.entries[0]["key_env"] = "KEY_B"
    assert (await pair.run(3, clock=ClockAt(noon), limits={"concurrency": 1})).requests > 0


def run_in_a_process(manifest: Path, output: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "batch", "run", str(manifest), "-o", str(output), "-q"]
    return subprocess.Popen(command, env={**os.environ, **KEYS}, stderr=subprocess.DEVNULL)


async def test_a_killed_run_is_settled_by_whoever_was_asked(pair: Pair) -> None:
    """Killed in the middle, run again: nothing that had arrived is bought twice, and both books balance."""
    file = pair.bench.manifest(40, provider=pair.entries, limits={"concurrency": 4})
    killed = run_in_a_process(file, pair.bench.output)
    while pair.bench.book.requests + pair.other.book.requests < 15:
        await asyncio.sleep(0.01)
        assert killed.poll() is None
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    summary = await pair.run(40, limits={"concurrency": 4})
    assert summary.done == 40
    assert set(pair.asked()) == {"a", "b"}
    pair.assert_balance()


async def test_a_shared_cap_holds_over_all_keys_of_a_run(pair: Pair) -> None:
    """What went through the one is not free at the other, and a run with one key alone sees all of it."""
    for simulator in pair.entries:
        simulator["profile"] = "anyfast"  # charged by request
    options: dict[str, Any] = {"budget": {"per_day": 6 * PRICE}, "limits": {"concurrency": 1}, "lane": "standard"}
    first = await pair.run(4, **options)
    assert (first.exit, first.done) == (0, 4)
    assert set(pair.asked()) == {"a", "b"}
    pair.entries.pop(0)
    second = await pair.run(20, **options)
    assert (second.reason, second.done) == ("budget", 6)


async def test_the_same_key_twice_is_refused_before_anything_is_sent(pair: Pair) -> None:
    """Its quota would count double."""
    pair.entries[1]["base_url"] = pair.entries[0]["base_url"]
    with pytest.raises(batch.ConfigError, match="providers a and b have the same address and the same key"):
        await batch.run(
            pair.bench.manifest(3, provider=pair.entries),
            output=pair.bench.output,
            environment={"KEY_A": "same", "KEY_B": "same"},
        )
    assert pair.bench.book.requests == 0


async def test_several_built_in_simulators_rehearse_it(tmp_path: Path) -> None:
    """Without any key: each is started with the run, has its own options, and keeps a book of its own."""
    file = tmp_path / "m.yaml"
    file.write_text(
        "provider:\n"
        "- {profile: simulator, name: poor, simulator: {pictures: plain, faults: [{fault: http_402, after: 2}]}}\n"
        "- {profile: simulator, name: rich, simulator: {pictures: plain}}\n"
        "jobs: [{prompt: cups, samples: 8}]\ndefaults: {image_size: 512}\nlimits: {concurrency: 1}\n"
    )
    summary = await batch.run(file, output=tmp_path / "out", clock=QuickClock())
    assert (summary.exit, summary.done, summary.simulated) == (0, 8, True)
    books = {file.name: file.read_text().count('"billed": true') for file in (tmp_path / "out").glob("simulator-*")}
    assert set(books) == {"simulator-book.jsonl", "simulator-book-rich.jsonl"}


# ---- lanes ------------------------------------------------------------------------------------------------


async def test_the_cheap_lane_costs_half(pair: Pair) -> None:
    """In the ledger, the summary, the plan and the provider's book."""
    full = await pair.run(4)
    half = await pair.run([{"id": f"flex-{n}", "prompt": "x"} for n in range(4)], lane="flex")
    assert half.cost_usd == pytest.approx(full.cost_usd / 2, rel=0.05)
    lanes = Counter((line["t"], line["lane"]) for line in pair.bench.ledger() if line["t"] == "done")
    assert lanes == {("done", "standard"): 4, ("done", "flex"): 4}
    pair.assert_balance()
    planned = plan_only(pair.bench.manifest(8, provider=pair.entries, lane="flex"), output=pair.bench.output)
    assert planned.forecast.usd == pytest.approx(4 * PRICE / 2)


@faults({"fault": "flex_shed", "share": 0.4}, second=[{"fault": "flex_served_standard", "share": 0.5}])
async def test_shed_requests_are_served_in_the_ordinary_lane_and_priced_so(pair: Pair) -> None:
    """And so are those that the provider itself served there: the answer says it."""
    summary = await pair.run(40, lane="flex", limits={"concurrency": 4})
    assert (summary.exit, summary.done) == (0, 40)
    lanes = Counter(line["lane"] for line in pair.bench.ledger() if line["t"] == "done")
    assert set(lanes) == {"flex", "standard"}
    pair.assert_balance()


@faults({"fault": "flex_shed"}, second=[{"fault": "flex_shed"}])
async def test_a_cap_holds_while_lanes_change(pair: Pair) -> None:
    """The full price is set aside for a request in the cheap lane, too."""
    summary = await pair.run(40, lane="flex", budget={"per_run": 1.2}, limits={"concurrency": 4})
    assert summary.reason == "budget"
    assert pair.bench.book.usd + pair.other.book.usd <= 1.2
    pair.assert_balance()


async def test_a_deadline_that_is_near_takes_the_ordinary_lane(pair: Pair) -> None:
    """`--finish-by` in ten minutes: nothing is asked for in a lane that may take fifteen."""
    options = RunOptions(finish_by=datetime.now(UTC) + timedelta(minutes=10))
    await pair.run(6, options=options, lane="flex")
    assert {line["to"]["lane"] for line in pair.bench.ledger() if line["t"] == "try"} == {"standard"}


# ---- fallback models --------------------------------------------------------------------------------------


overloaded = faults({"fault": "http_503", "model": FLASH}, second=[{"fault": "http_503", "model": FLASH}])


@overloaded
async def test_an_overloaded_model_is_replaced_and_the_record_says_by_which(pair: Pair) -> None:
    """In the ledger and in manifest.jsonl, priced as what it is; a second run sends nothing."""
    summary = await pair.run(12, defaults={"image_size": "1K"}, fallback=PRO, limits={"concurrency": 2})
    assert (summary.exit, summary.done) == (0, 12)
    assert {line["model"] for line in pair.bench.lines()} == {PRO}
    assert min(line["usd"] for line in pair.bench.ledger() if line["t"] == "done") > 0.12
    pair.assert_balance()
    again = await pair.run(12, defaults={"image_size": "1K"}, fallback=PRO)
    assert (again.exit, again.requests) == (0, 0)


@overloaded
async def test_a_cap_holds_for_a_dearer_fallback(pair: Pair) -> None:
    """What the dearest model may cost is set aside."""
    summary = await pair.run(30, defaults={"image_size": "1K"}, fallback=PRO, budget={"per_run": 3.0})
    assert summary.reason == "budget"
    assert 0 < pair.bench.book.usd + pair.other.book.usd <= 3.0
    pair.assert_balance()


@faults(
    {"fault": "finish_image_safety", "model": FLASH, "prompt": "number 3"},
    second=[{"fault": "finish_image_safety", "model": FLASH, "prompt": "number 3"}],
)
async def test_a_block_is_bought_elsewhere_only_if_asked(pair: Pair) -> None:
    """The blocked answer was charged and is kept; the other model's picture is the job's."""
    jobs = [{"id": f"job-{n}", "prompt": f"cup number {n}", "image_size": "1K"} for n in range(5)]
    assert (await pair.run(jobs, fallback=PRO)).failed == 1
    fallback = {"models": [PRO], "on": ["safety"]}
    more = await pair.run(jobs, fallback=fallback, options=RunOptions(retry="image_safety"))
    assert (more.exit, more.done) == (0, 5)
    assert [line["model"] for line in pair.bench.lines()].count(PRO) == 1
    pair.assert_balance()


# ---- what is shown ----------------------------------------------------------------------------------------


@faults({"fault": "hang"}, second=[{"fault": "hang"}])
async def test_status_says_what_limits_a_run_that_is_on(pair: Pair) -> None:
    """Asked from another process, in the words of the progress line; after the run nothing is left of it."""
    timeouts = {"read_seconds": 3, "total_seconds": 3}
    options: dict[str, Any] = {"limits": {"concurrency": 1}, "timeouts": timeouts, "retry": {"unknown": "hold"}}
    running = asyncio.create_task(pair.run(6, **options))
    said: set[str] = set()
    while not running.done():
        await asyncio.sleep(0.02)
        if (pair.bench.output / "ledger.jsonl").exists():
            said.update(status_lines(await asyncio.to_thread(read_status, pair.bench.output)))
    assert "  limits now limited by concurrency 1" in said
    assert read_status(pair.bench.output).limits_now is None
    assert not (pair.bench.output / ".now").exists()
