"""`check.ask`: a vision model judges each new picture, within the budget and with a book of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from batch.core.decisions import Side, Verdict
from batch.core.errors import ConfigError, InputError
from batch.core.results import Checked, CheckSpend
from batch.report.status import read_status
from batch.report.text import status_lines, summary_lines
from batch.runner.reviewing import decisions
from batch.runner.run import plan_only
from batch.simulator import Simulator, serve, settings_from
from batch.store.check_book import questions
from tests.support.bench import KEY, Bench, a_bench, balance
from tests.support.fakes import Recorder

JUDGE_KEY = "judge-key-for-tests-0123456789"
ENVIRONMENT = {**KEY, "JUDGE_KEY": JUDGE_KEY}
QUESTION = "Is this a good picture of {{ prompt }} ({{ id }})?"
ON_REJECT = "{{ prompt }} {{ note }}"
UNTIL = {"attempts": 3}
CENT = 0.01


@dataclass
class Court:
    """Two simulators, one that makes pictures and one that judges them."""

    bench: Bench
    judge: Simulator
    api: str

    def check(self, **more: Any) -> dict[str, Any]:
        asked = {
            "provider": self.api,
            "base_url": self.judge.base_url,
            "key_env": "JUDGE_KEY",
            "model": "a-vision-model",
            "prompt": QUESTION,
            "usd_per_request": CENT,
        }
        return {"ask": {name: value for name, value in {**asked, **more}.items() if value is not None}}


@asynccontextmanager
async def a_court(path: Path, api: str = "openai", **judge: Any) -> AsyncIterator[Court]:
    async with a_bench(path, pictures="drawn") as bench:
        bench.options["environment"] = ENVIRONMENT
        options = {"flavour": "google", "judge_accepts": "better", "keys": [JUDGE_KEY], **judge}
        async with serve(settings_from(options)) as simulator:
            yield Court(bench, simulator, api)


@pytest.mark.parametrize("api", ["openai", "google"])
async def test_the_run_makes_better_what_the_model_rejects(tmp_path: Path, api: str) -> None:
    """Each picture is judged once, by the prompt that was sent; `until` obeys; the money is counted apart."""
    async with a_court(tmp_path, api) as court:
        top: dict[str, Any] = {"check": court.check(), "until": UNTIL, "on_reject": ON_REJECT}
        summary = await court.bench.run(2, **top)
        assert (summary.exit, summary.requests) == (0, 4)
        spend = CheckSpend(requests=4, cost_usd=4 * CENT)
        assert summary.checked == Checked(accepted=2, rejected=2, spend=spend)
        assert "4 questions, $0.04, beside the pictures" in "\n".join(summary_lines(summary, "run", "plan"))
        asked = {entry["prompt"] for entry in court.judge.book.summary()["entries"]}
        assert "Is this a good picture of cup number 0 (job-0)?" in asked
        assert "Is this a good picture of cup number 0 make it better (job-0)?" in asked
        said = next(iter(decisions(court.bench.output)))
        assert (said.side, said.by, said.verdict) == (Side.MACHINE, "a-vision-model", Verdict.REJECTED)
        assert (said.reasons, said.note) == (("dull",), "make it better")
        balance(court.bench)
        again = await court.bench.run(2, **top)
        assert (again.requests, again.checked, court.judge.book.billed) == (0, Checked(), 4)
        status = read_status(court.bench.output)
        assert status.checks == spend
        assert "4 questions, $0.04" in "\n".join(status_lines(status))
        assert status.cost_usd == summary.cost_usd


@pytest.mark.parametrize("cap", [0.05, 0.16, 0.33, 0.7])
async def test_pictures_and_questions_stay_within_one_budget(tmp_path: Path, cap: float) -> None:
    """With several of both in flight: what both providers have charged is within the cap, and is what was counted."""
    async with a_court(tmp_path, latency_seconds=0.2) as court:
        check = {**court.check(usd_per_request=0.1), "at_once": 4}
        summary = await court.bench.run(
            4, check=check, until={"attempts": 5}, on_reject=ON_REJECT, budget={"per_run": cap}
        )
        assert summary.checked is not None
        questions_usd = court.judge.book.billed * 0.1
        assert summary.checked.spend.cost_usd == pytest.approx(questions_usd)
        assert court.bench.book.usd + questions_usd <= cap + 1e-9
        assert court.bench.book.billed > 0


async def test_a_cap_for_the_day_holds_over_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions of an earlier run count in it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    async with a_court(tmp_path) as court:
        budget = {"per_day": 0.3}
        await court.bench.run(1, check=court.check(usd_per_request=0.2), budget=budget)
        summary = await court.bench.run(3, check=court.check(usd_per_request=0.2), budget=budget)
        assert summary.checked is not None
        assert summary.checked.accepted + summary.checked.rejected == 0
        assert court.judge.book.billed == 1
        assert court.bench.book.usd + 0.2 <= 0.3


async def test_a_budget_needs_the_price_of_a_question(tmp_path: Path) -> None:
    """It is asked for before anything is sent; without a budget there may be none."""
    async with a_court(tmp_path) as court:
        unpriced = court.check(usd_per_request=None)
        with pytest.raises(ConfigError, match="usd_per_request"):
            await court.bench.run(1, check=unpriced, budget={"per_run": 5})
        assert (court.bench.book.requests, court.judge.book.requests) == (0, 0)
        summary = await court.bench.run(1, check=unpriced)
        assert summary.checked == Checked(rejected=1, spend=CheckSpend(requests=1))


async def test_a_key_that_is_missing_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    """By its variable."""
    async with a_court(tmp_path) as court:
        with pytest.raises(ConfigError, match="NO_SUCH_KEY"):
            await court.bench.run(1, check=court.check(key_env="NO_SUCH_KEY"))
        assert court.bench.book.requests == 0


PASSING = {"a limit": {"fault": "http_429", "times": 1}, "an overload": {"fault": "http_503", "times": 1}}


@pytest.mark.parametrize("rule", PASSING.values(), ids=PASSING)
async def test_what_passes_is_asked_again_at_once(tmp_path: Path, rule: dict[str, Any]) -> None:
    """And is charged once."""
    async with a_court(tmp_path, faults=[rule]) as court:
        summary = await court.bench.run(1, check=court.check())
        assert summary.checked is not None
        assert (summary.checked.rejected, summary.checked.failed) == (1, 0)
        assert (summary.checked.spend.requests, summary.checked.spend.cost_usd) == (2, CENT)
        assert (court.judge.book.requests, court.judge.book.billed) == (2, 1)


@pytest.mark.parametrize("fault", ["http_503", "http_429", "http_500", "reset", "text_only"])
async def test_a_model_that_does_not_answer_gives_no_verdict(tmp_path: Path, fault: str) -> None:
    """The pictures are there, the run ends soon, and after a few failures nothing more is asked; the next run asks."""
    async with a_court(tmp_path, faults=[{"fault": fault}]) as court:
        recorder = court.bench.options["listener"] = Recorder()
        summary = await court.bench.run(12, check=court.check())
        assert (summary.exit, summary.done) == (0, 12)
        assert summary.checked is not None
        assert (summary.checked.accepted, summary.checked.rejected, summary.checked.failed) == (0, 0, 12)
        assert court.judge.book.requests <= 3 * 7
        assert any("a-vision-model gave no verdict" in words for _, words in recorder.named("message"))
        may = summary.checked.spend.cost_usd + summary.checked.spend.maybe_cost_usd
        assert may >= court.judge.book.billed * CENT - 1e-9
        balance(court.bench)
    async with a_court(tmp_path) as court:
        assert (await court.bench.run(12, check=court.check())).checked is not None
        assert court.judge.book.billed == 12


async def test_a_wrong_key_ends_the_asking_and_is_shown_nowhere(tmp_path: Path) -> None:
    """Neither key stands in a message or a file of the output."""
    async with a_court(tmp_path, keys=["another"]) as court:
        recorder = court.bench.options["listener"] = Recorder()
        summary = await court.bench.run(4, check=court.check(), limits={"concurrency": 1})
        assert (summary.exit, summary.done) == (0, 4)
        assert court.judge.book.requests <= 2
        words = " ".join(text for _, text in recorder.named("message"))
        assert "is not asked any more in this run" in words
        kept = b"".join(file.read_bytes() for file in court.bench.output.rglob("*") if file.is_file())
        for key in (JUDGE_KEY, KEY["ANYFAST_API_KEY"]):
            assert key not in words
            assert key.encode() not in kept


async def test_its_own_limit_holds(tmp_path: Path) -> None:
    """No more questions a minute leave than it says, so the provider refuses none."""
    async with a_court(tmp_path, requests_per_minute=None) as court:
        summary = await court.bench.run(5, check=court.check(requests_per_minute=2))
        assert summary.checked is not None
        assert summary.checked.rejected == 5
        assert summary.seconds >= 60


async def test_a_rehearsal_pays_no_model(tmp_path: Path) -> None:
    """Its pictures are not worth it."""
    async with a_court(tmp_path) as court:
        summary = await court.bench.run(1, provider="simulator", check=court.check())
        assert (summary.done, summary.checked, court.judge.book.requests) == (1, None, 0)


KILLED = """
import asyncio, sys
from batch.runner.run import run
asyncio.run(run(sys.argv[1], output=sys.argv[2]))
"""


async def test_a_kill_in_the_middle_of_a_question_counts_it_as_maybe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the status and in the cap for the day, which the next run keeps; the picture is bought once."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    budget = {"per_day": 0.5}
    async with a_court(tmp_path, latency_seconds=300) as court:
        bench = court.bench
        manifest = bench.manifest(1, check=court.check(usd_per_request=0.2), budget=budget)
        command = [sys.executable, "-P", "-c", KILLED, str(manifest), str(bench.output)]
        environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parents[2])}
        process = await asyncio.create_subprocess_exec(*command, env=environment)
        async with asyncio.timeout(60):
            while not court.judge.book.in_flight:  # noqa: ASYNC110  (nothing over there can set an event)
                await asyncio.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        assert [(each.job, each.usd) for each in questions(bench.output)] == [("job-0", 0.2)]
        assert read_status(bench.output).checks == CheckSpend(requests=1, maybe_cost_usd=0.2)

        async with serve(settings_from({"judge_accepts": "better"})) as quick:
            check = Court(bench, quick, "openai").check
            too_dear = await bench.run(1, check=check(usd_per_request=0.3), budget=budget)
            assert too_dear.checked == Checked(failed=1)
            again = await bench.run(1, check=check(usd_per_request=0.1), budget=budget)
            assert again.checked == Checked(rejected=1, spend=CheckSpend(requests=1, cost_usd=0.1))
            assert (too_dear.requests, again.requests, quick.book.billed) == (0, 0, 1)
        status = read_status(bench.output)
        assert status.checks == CheckSpend(requests=2, cost_usd=0.1, maybe_cost_usd=0.2)
        assert status.cost_usd == pytest.approx(bench.book.usd)
        balance(bench)


@pytest.mark.parametrize("is_shared", [True, False])
async def test_the_key_that_makes_the_pictures_has_one_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_shared: bool
) -> None:
    """Questions with it take of the limits for pictures; with another key they do not."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    async with a_court(tmp_path) as court:
        key_env = "ANYFAST_API_KEY" if is_shared else "JUDGE_KEY"
        check = court.check(provider="anyfast", base_url=court.bench.simulator.base_url, key_env=key_env)
        limits = {"requests_per_minute": 6, "adaptive": False}
        summary = await court.bench.run(4, check=check, limits=limits)
        assert summary.checked is not None
        assert summary.checked.accepted == 4
        assert (summary.seconds >= 60) is is_shared


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"provider": "simulator"}, "must be openai, google or one of that kind"),
        ({"prompt": "{{ nothing }}"}, "check.ask.prompt"),
        ({"usd_per_request": -1}, "usd_per_request must be a number"),
        ({"model": None}, "model is missing"),
    ],
)
async def test_a_wrong_question_is_told(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    """With its place in the manifest."""
    async with a_court(tmp_path) as court:
        with pytest.raises(InputError, match=message):
            plan_only(court.bench.manifest(1, check=court.check(**more)), output=court.bench.output)


async def test_a_program_and_a_model_are_not_both_named(tmp_path: Path) -> None:
    """One of them judges."""
    async with a_court(tmp_path) as court:
        with pytest.raises(InputError, match="both run and ask"):
            plan_only(court.bench.manifest(1, check={**court.check(), "run": ["a"]}), output=court.bench.output)
