"""Moments that a count of system calls does not reach by itself."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash import oracle
from tests.crash.injector import Fault
from tests.crash.sweep import CONCURRENCY, ENVIRONMENT, EXIT, EXPECTED, ROOT, SENT, Bench, faulty_run, plain_run

DRIP = ("--pictures", "plain", "--picture-bytes", "3000000", "--fault", "drip;seconds=0.1;bytes=40000;times=3")


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def start_run(bench: Bench, output: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "batch", "run", str(bench.manifest), "-o", str(output)]
    return subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_kill_while_answers_are_half_received_costs_one_more_request_each(
    make_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    """F2: all are unknown, all are named, and each is sent again once."""
    bench, output = make_bench(*DRIP), tmp_path / "out"
    run = start_run(bench, output)
    until(lambda: len(list((output / "spool").glob("*.0"))) == CONCURRENCY)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    crashed = oracle.State.read(output, [])
    assert len(crashed.ledger.of("try")) == CONCURRENCY
    assert crashed.sealed() == set()

    resumed = plain_run(bench.manifest, output)

    ledger = oracle.read_ledger(output)
    assert resumed.code == 0
    assert len(ledger.of("unk")) == CONCURRENCY
    assert [record["why"] for record in ledger.of("try")].count("resend") == CONCURRENCY
    assert len(ledger.of("try")) == SENT + CONCURRENCY


def test_two_runs_at_once_are_one_run(make_bench: Callable[..., Bench], tmp_path: Path) -> None:
    """P12: the second says who is there, and sends and writes nothing. The first stands still meanwhile."""
    bench, output = make_bench("--latency", "1.5", "--pictures", "plain"), tmp_path / "out"
    first = start_run(bench, output)
    until(lambda: len(oracle.read_ledger(output).of("try")) > 0)
    first.send_signal(signal.SIGSTOP)
    before = (output / "ledger.jsonl").read_bytes()

    second = plain_run(bench.manifest, output)

    assert (second.code, f"process {first.pid}" in second.errors) == (75, True)
    assert (output / "ledger.jsonl").read_bytes() == before
    first.send_signal(signal.SIGCONT)
    first.communicate(timeout=30)
    assert first.returncode == 0
    assert len(oracle.read_ledger(output).of("try")) == SENT


def test_a_ledger_cut_at_any_line_leads_to_the_same_end(bench: Bench, tmp_path: Path) -> None:
    """P10: what the lost lines had recorded is bought again, and the result is whole.

    No crash takes whole lines that were synced; a restored copy may lack them. Pictures that no line speaks of
    are not ours any more, and a run refuses to start beside them, so they are moved away here.
    """
    whole = tmp_path / "whole"
    assert faulty_run(bench.manifest, whole, None).code == EXIT
    lines = (whole / "ledger.jsonl").read_bytes().splitlines(keepends=True)

    for kept in range(1, len(lines), 2):
        output = tmp_path / f"cut-{kept}"
        shutil.copytree(whole, output)
        (output / "ledger.jsonl").write_bytes(b"".join(lines[:kept]))
        known = {json.loads(line).get("job") for line in lines[:kept]}
        for picture in (output / "images").iterdir():
            if picture.stem not in known:
                picture.unlink()
        resumed = plain_run(bench.manifest, output)
        assert resumed.code == EXIT, (kept, resumed.errors)
        state = oracle.State.read(output, [])
        published = (output / "manifest.jsonl").read_bytes().splitlines()
        assert {line["id"]: line["status"] for line in map(json.loads, published)} == EXPECTED
        assert [*oracle.done_files(state), *oracle.whole_pictures(state), *oracle.resends(state)] == []


@pytest.mark.parametrize("fault", ["write:6:before:ENOSPC:lasting", "link:1:before:EIO:lasting"])
def test_a_disk_that_stays_full_is_answered_the_same_way_every_time(bench: Bench, tmp_path: Path, fault: str) -> None:
    """Run again on a full disk, and again: no request is sent for what has been received, no promise is broken."""
    output = tmp_path / "out"
    for _ in range(2):
        assert faulty_run(bench.manifest, output, Fault.parse(fault)).code in (73, 74)

    resumed = plain_run(bench.manifest, output)

    state = oracle.State.read(output, [])
    assert resumed.code in (EXIT, 3), resumed.errors
    assert [*oracle.done_files(state), *oracle.whole_pictures(state), *oracle.resends(state)] == []
