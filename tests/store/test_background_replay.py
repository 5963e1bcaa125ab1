"""A large ledger is read by a second process; what comes back is what this one would have read."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from batch.core.errors import LedgerError, OutcomeUnknown, Refused
from batch.store.background_replay import BackgroundReplay
from batch.store.history import History, replay
from tests.support.fakes import job as make_job

BLOCKED = Refused("image_safety", "no")
LOST = OutcomeUnknown("cut", "gone")


@pytest.fixture
def output(tmp_path: Path, make: Any, ledger: Any) -> Path:
    """A ledger with jobs in every state, an edited one, an open one, and a torn end."""
    run = {"t": "run", "run": "r"}
    end = {"t": "end", "run": "r", "stopped": False, "published": {"order": "ab", "through": 9, "bytes": 7}}
    edited = make.job("edited", prompt="another")
    ledger.write(
        run,
        make.tried(make.job("done")),
        make.done(make.job("done")),
        make.tried(make.job("edited")),
        make.done(make.job("edited")),
        make.tried(edited, 2),
        make.failed(edited, BLOCKED, 2),
        make.tried(make.job("lost")),
        make.unknown(make.job("lost"), LOST),
        make.tried(make.job("again")),
        make.failed(make.job("again"), BLOCKED, again=True),
        end,
        run,
        make.tried(make.job("again"), 2, "again"),
        make.failed(make.job("again"), BLOCKED, 2, again=True),
        end,
        run,
        make.tried(make.job("open")),
    )
    with ledger.path.open("ab") as file:
        file.write(b'{"v":1,"n":99')
    return tmp_path


def known(history: History) -> list[Any]:
    """Everything in it, whatever attributes it has."""
    rows = [(history.key_at(row), history.at(row)) for row in range(len(history))]
    rest = {name: value for name, value in vars(history).items() if name not in ("_rows", "_kinds")}
    return [rows, rest, vars(history)["_rows"].columns, vars(history)["_kinds"].facts]


def test_a_second_process_reads_the_same(output: Path) -> None:
    """Every row, number and open attempt, the torn end, and what is applied afterwards."""
    with BackgroundReplay(output, worth_a_process_bytes=0) as reading:
        assert reading.process is not None
        history, tail = reading.history(), reading.tail()
        assert reading.process is None
    here, tail_here = replay(output)
    assert known(history) == known(here)
    assert tail == tail_here
    assert history.of(make_job("nobody").key()) == here.of(make_job("nobody").key())
    assert list(history.pictures()) == list(here.pictures())
    assert history.tally_of_all() == here.tally_of_all()


def test_a_small_ledger_is_read_here(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is started for it, nor for one that is not there."""
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("started"))
    with BackgroundReplay(output) as reading:
        assert len(reading.history()) == 5
    with BackgroundReplay(output / "nowhere", worth_a_process_bytes=1) as reading:
        assert len(reading.history()) == 0


@pytest.mark.parametrize("command", [["false"], ["echo", "{}"], ["echo", '{"good_bytes": 1, "torn_bytes": 0}'], None])
def test_a_process_that_cannot_read_is_no_harm(
    output: Path, monkeypatch: pytest.MonkeyPatch, command: list[str] | None
) -> None:
    """It dies, says nothing or something else, or cannot be started: then the ledger is read here."""
    start = subprocess.Popen

    def popen(_: Any, **options: Any) -> Any:
        if command is None:
            raise OSError("no more processes")
        return start(command, **options)

    monkeypatch.setattr(subprocess, "Popen", popen)
    with BackgroundReplay(output, worth_a_process_bytes=0) as reading:
        assert known(reading.history()) == known(replay(output)[0])


def test_a_damaged_ledger_is_told_by_whoever_reads_it(output: Path) -> None:
    """The error is the same as if it had been read here."""
    path = output / "ledger.jsonl"
    data = path.read_bytes()
    path.write_bytes(data[:20] + b"x" + data[21:])
    with BackgroundReplay(output, worth_a_process_bytes=0) as reading:  # noqa: SIM117
        with pytest.raises(LedgerError, match="damaged at byte 0"):
            reading.history()


def test_leaving_ends_the_other_process(output: Path) -> None:
    """A mistake in the manifest, found first, leaves nobody reading on."""
    with BackgroundReplay(output, worth_a_process_bytes=0) as reading:
        process = reading.process
    assert process is not None
    assert process.poll() is not None
