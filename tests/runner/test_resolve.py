"""A person's decision on requests whose outcome is unknown, through whole runs against the simulator's book."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from batch.cli.app import cli
from batch.core.errors import BatchError, InputError, LockedError, OutputError
from batch.core.results import Decided
from batch.report.status import read_status
from batch.runner.options import RunOptions
from batch.runner.resolve import resolve, unknown_attempts
from batch.store.folder import output_folder
from tests.support.bench import Bench, balance, faults
from tests.support.fakes import QuickClock

HOLD: dict[str, Any] = {"retry": {"unknown": "hold"}, "limits": {"concurrency": 1}}
lost_once = faults({"fault": "close", "times": 1})


async def decide(bench: Bench, decided: Decided, *ids: str, note: str = "") -> None:
    await resolve(
        bench.output, ids or ["job-0"], decided, note=note, clock=QuickClock(), told=lambda job_id, attempts: None
    )


@lost_once
async def test_a_request_is_shown_as_the_providers_log_knows_it(bench: Bench) -> None:
    """Its own id, when, how long, what it may have cost."""
    await bench.run(2, **HOLD)
    (found,) = unknown_attempts(bench.output)
    (tried,) = [line for line in bench.ledger() if line["t"] == "try" and line["job"] == "job-0"]
    assert (found.job, found.attempt, found.code, found.usd) == ("job-0", 1, "no_answer", 0.045)
    assert found.client_request_id == tried["rid"]
    assert found.client_request_id in [entry.client_request_id for entry in bench.book.entries]


@lost_once
async def test_unpaid_is_sent_again_and_not_counted_as_paid_twice(bench: Bench) -> None:
    """Nothing may have been paid any more, and the next run buys the picture as if nothing had been sent."""
    await bench.run(2, **HOLD)
    await decide(bench, Decided.UNPAID)
    status = read_status(bench.output)
    assert (status.unknown, status.pending, status.maybe_cost_usd, status.cost_usd) == (0, 1, 0.0, 0.045)
    again = await bench.run(2, **HOLD)
    assert (again.exit, again.requests, again.done, again.possibly_paid_twice) == (0, 1, 2, 0)


@lost_once
async def test_paid_is_money_spent_and_never_sent_by_itself(bench: Bench) -> None:
    """Not by the policy that resends, not by `--resend unknown`; only by its own name."""
    await bench.run(2, **HOLD)
    await decide(bench, Decided.PAID, note="found in the log")
    status = read_status(bench.output)
    assert (status.unknown, status.maybe_cost_usd, status.cost_usd) == (1, 0.0, 0.09)
    for options in (RunOptions(), RunOptions(resend_unknown=True), RunOptions(retry="all")):
        assert (await bench.run(2, options=options)).requests == 0
    assert unknown_attempts(bench.output) == []
    (line,) = [line for line in bench.lines() if line["id"] == "job-0"]
    assert (line["status"], line["error"]["code"], line["cost_usd"]) == ("unknown", "resolved_paid", 0.045)
    assert "found in the log" in line["error"]["message"]
    bought = await bench.run(2, options=RunOptions(retry="resolved_paid"))
    assert (bought.exit, bought.requests) == (0, 1)


@lost_once
async def test_failed_closes_the_job(bench: Bench) -> None:
    """It is no open question for the next run, and what it may have cost stays open."""
    await bench.run(2, **HOLD)
    await decide(bench, Decided.FAILED)
    status = read_status(bench.output)
    assert (status.failed, status.unknown, status.maybe_cost_usd) == (1, 0, 0.045)
    summary = await bench.run(2)
    assert (summary.exit, summary.reason, summary.requests) == (1, "failed_jobs", 0)


@faults({"fault": "close", "prompt": "number 0", "times": 2})
async def test_a_decision_is_about_all_requests_of_a_job(bench: Bench) -> None:
    """Sent twice, no answer twice: both may have been paid, and both are decided."""
    await bench.run(1)
    assert len(unknown_attempts(bench.output)) == 2
    await decide(bench, Decided.PAID)
    status = read_status(bench.output)
    assert (status.cost_usd, status.maybe_cost_usd) == (0.09, 0.0)


@faults({"fault": "close", "prompt": "number 0", "times": 3})
async def test_after_unpaid_a_new_silence_is_a_new_question(bench: Bench) -> None:
    """The job has its one resend again, and only what came later is open."""
    await bench.run(1)
    await decide(bench, Decided.UNPAID)
    again = await bench.run(1)
    assert (again.requests, again.done, again.possibly_paid_twice) == (2, 1, 1)
    assert read_status(bench.output).maybe_cost_usd == pytest.approx(0.045)
    balance(bench)


@faults({"fault": "close", "times": 2})
async def test_resend_unknown_sends_what_is_held_once_more(bench: Bench) -> None:
    """All of it, whatever the budget and the policy, and counted."""
    await bench.run(4, **HOLD)
    asked = await bench.run(4, options=RunOptions(resend_unknown=True), **HOLD)
    assert (asked.exit, asked.requests, asked.done, asked.possibly_paid_twice) == (0, 2, 4, 2)
    assert asked.possibly_paid_twice_usd == pytest.approx(0.09)
    balance(bench)


@faults({"fault": "close"})
async def test_a_second_silence_in_one_run_is_the_last(bench: Bench) -> None:
    """Neither a person's wish nor the policy sends a job a third time in the run."""
    await bench.run(2, **HOLD)
    asked = await bench.run(2, options=RunOptions(resend_unknown=True), **HOLD)
    assert (asked.requests, asked.unknown) == (2, 2)


@lost_once
async def test_nothing_is_written_if_one_id_is_wrong(bench: Bench) -> None:
    """Every id is looked at first, and everything wrong is told at once."""
    await bench.run(2, **HOLD)
    before = bench.ledger()
    with pytest.raises(InputError) as caught:
        await decide(bench, Decided.UNPAID, "job-0", "job-1", "nobody")
    assert [problem.job for problem in caught.value.problems] == ["job-1", "nobody"]
    assert bench.ledger() == before
    await decide(bench, Decided.PAID)
    with pytest.raises(InputError, match="decided already"):
        await decide(bench, Decided.UNPAID)
    await decide(bench, Decided.FAILED)


@lost_once
async def test_not_while_a_run_is_on(bench: Bench) -> None:
    """A decision needs the folder for itself; looking does not."""
    await bench.run(2, **HOLD)
    with output_folder(bench.output):
        with pytest.raises(LockedError):
            await decide(bench, Decided.PAID)
        assert len(unknown_attempts(bench.output)) == 1


def test_a_folder_without_a_ledger(tmp_path: Path) -> None:
    """Nothing is made there."""
    with pytest.raises(OutputError, match="holds no ledger"):
        unknown_attempts(tmp_path)
    assert list(tmp_path.iterdir()) == []


# ---- the command ------------------------------------------------------------------------------------------


@pytest.fixture
def command() -> Callable[..., Any]:
    def call(*words: str) -> Any:
        return CliRunner().invoke(cli, ["resolve", *words], catch_exceptions=True)

    return call


@pytest.mark.parametrize(
    "words", [[], ["job-0"], ["--as", "paid"], ["--list", "job-0"], ["--list", "--as", "paid"], ["job-0", "--as", "no"]]
)
def test_what_is_no_decision(command: Any, tmp_path: Path, words: list[str]) -> None:
    """Exit 2, with what to write."""
    assert command(str(tmp_path), *words).exit_code == 2


@lost_once
async def test_the_command_lists_and_decides(bench: Bench) -> None:
    """For people and, with --json, for programs."""
    import asyncio

    await bench.run(2, **HOLD)

    def call(*words: str) -> Any:
        return CliRunner().invoke(cli, ["resolve", str(bench.output), *words])

    shown = await asyncio.to_thread(call, "--list")
    assert "1 request with an unknown outcome, at most $0.045" in shown.stdout
    assert "client request id" in shown.stdout
    listed = json.loads((await asyncio.to_thread(call, "--list", "--json")).stdout)
    assert listed["attempts"][0]["job"] == "job-0"
    told = await asyncio.to_thread(call, "job-0", "--as", "unpaid", "--note", "not in the log")
    assert "1 job resolved as unpaid" in told.stdout
    why = await asyncio.to_thread(
        CliRunner().invoke, cli, ["why", str(bench.path / "m.yaml"), "job-0", "-o", str(bench.output)]
    )
    assert "decided by a person: unpaid: not in the log" in why.stdout
    assert "no request waits" in (await asyncio.to_thread(call, "--list")).stdout
    assert bench.ledger()[-1]["note"] == "not in the log"
    wrong = await asyncio.to_thread(call, "job-0", "--as", "paid")
    assert isinstance(wrong.exception, BatchError)
