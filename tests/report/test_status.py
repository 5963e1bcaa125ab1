"""Where an output folder stands, read from real folders."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

import batch
from batch.core.errors import AttemptError, LedgerError, OutcomeUnknown, OutputError, Refused
from batch.core.model import AttemptFacts
from batch.report.status import Status, read_status
from batch.report.text import status_lines
from batch.store.folder import output_folder
from batch.store.records import RunRecord
from batch.store.store import Store
from tests.support.fakes import QuickClock, job


@pytest.fixture
async def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run of two jobs, in the folder a run would choose."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.yaml").write_text("{defaults: {image_size: 512}, jobs: [{id: a, prompt: x}, {id: b, prompt: y}]}")
    await batch.run("m.yaml", environment={})
    return tmp_path / "output" / "m"


async def went_on(output: Path, *ends: AttemptError | None) -> None:
    """A later run that made these attempts and was killed; None: still open."""
    with output_folder(output) as folder:
        async with folder.open("later", QuickClock()) as store:
            await store.note(RunRecord(manifest="m.yaml"))
            for number, error in enumerate(ends):
                await attempt(store, f"job-{number}", error)


async def attempt(store: Store, job_id: str, error: AttemptError | None) -> None:
    ticket = await store.begin(job(job_id), why="new")
    facts = AttemptFacts(number=1, seconds=1.0, cost_usd=0.067)
    if isinstance(error, OutcomeUnknown):
        await store.unknown(ticket, error, facts)
    elif error is not None:
        await store.reject(ticket, error, facts, again=False)


def files(output: Path) -> dict[str, Any]:
    return {str(file): (file.stat().st_mtime_ns, file.stat().st_size) for file in output.rglob("*")}


def test_a_finished_run(output: Path) -> None:
    """All done, nothing to type; and looking changes nothing."""
    before = files(output)
    found = read_status(output)
    assert (found.done, found.failed, found.unknown, found.pending, found.last_exit) == (2, 0, 0, 0, 0)
    assert (found.running, found.next_command, found.open_attempts, found.torn_bytes) == (None, None, 0, 0)
    assert files(output) == before


async def test_a_run_that_was_killed(output: Path) -> None:
    """Its open requests are counted, what may have cost money is named, and the next command goes on."""
    await went_on(output, Refused("image_safety", "blocked"), OutcomeUnknown("cut", ""), None, None)
    found = read_status(output)
    assert (found.done, found.failed, found.unknown, found.pending) == (2, 1, 1, 2)
    assert (found.open_attempts, found.requests, found.maybe_cost_usd) == (2, 6, 0.067)
    assert found.next_command == "imagebatch run m.yaml"
    words = list(status_lines(found))
    assert words[0] == "output/m: 2 jobs done, 1 failed, 1 unknown, 2 pending"
    assert "  requests   2 left open; the next run settles them" in words
    assert any("did not end by itself" in line for line in words)


async def test_a_run_that_is_on(output: Path) -> None:
    """Told by the lock and the living process; no command to type meanwhile."""
    with output_folder(output) as folder:
        async with folder.open("now", QuickClock()) as store:
            await store.note(RunRecord(manifest="m.yaml"))
            await attempt(store, "job-0", None)
            found = read_status(output)
    assert found.running == f"a run is on (process {os.getpid()})"
    assert (found.next_command, found.last_end) == (None, None)
    assert "  requests   1 in flight" in list(status_lines(found))


def test_a_process_that_only_has_the_same_number(output: Path) -> None:
    """The owner's number may belong to another process by now; without the lock no run is on."""
    (output / ".lock-owner").write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
    assert read_status(output).running is None


@pytest.mark.parametrize("owner", ["", "{", "[]", '{"pid": "x"}', '{"pid": 0, "host": "elsewhere"}'])
def test_a_broken_owner_file(output: Path, owner: str) -> None:
    """It is for messages only; nothing depends on it."""
    (output / ".lock-owner").write_text(owner)
    assert read_status(output).running is None


def test_a_torn_ledger(output: Path) -> None:
    """Half a line at the end is said, not repaired: the next run does that."""
    ledger = output / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes() + b'{"v":1,"n":99,"t":"do')
    before = files(output)
    found = read_status(output)
    assert (found.done, found.torn_bytes) == (2, 21)
    assert "  ledger     its last 21 bytes are torn; the next run sets them aside" in list(status_lines(found))
    assert files(output) == before


def test_a_damaged_ledger(output: Path) -> None:
    """Damage in the middle is refused, with a sentence."""
    ledger = output / "ledger.jsonl"
    text = ledger.read_bytes()
    ledger.write_bytes(text[:60] + b"X" + text[61:])
    with pytest.raises(LedgerError):
        read_status(output)


def test_a_missing_picture(output: Path) -> None:
    """A bought file that is gone is counted."""
    next((output / "images").iterdir()).unlink()
    found = read_status(output)
    assert (found.done, found.missing) == (2, 1)
    assert any(
        line.startswith("  missing    1 picture is no longer in the folder: images/") for line in status_lines(found)
    )


def test_no_output_folder(tmp_path: Path) -> None:
    """A folder without a ledger is not one of ours."""
    with pytest.raises(OutputError, match="name the output folder"):
        read_status(tmp_path)


async def test_the_next_command_can_be_typed(output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the output folder, if it is not the one a run would choose by itself, and quoted for a shell."""
    moved = tmp_path / "my results"
    os.rename(output, moved)
    await went_on(moved, None)
    found: Status = read_status(moved)
    assert found.next_command == "imagebatch run m.yaml -o 'my results'"
