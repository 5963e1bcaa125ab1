"""The contract `Log` and its `LogReader`, for each implementation."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from batch.core.errors import LedgerError, StorageError
from batch.store.contracts import Log, LogReader, Tail
from batch.store.ledger import LedgerFile, LedgerView, encode_line
from tests.support.in_memory import MemoryLog

ONE, TWO, THREE = (encode_line({"v": 1, "n": n, "t": "run"}) for n in (1, 2, 3))
TORN = b'{"v":1,"n":4,"t":"r'


@dataclass
class Place:
    """Where one log is. `tear` leaves what a crash would; after `break_next` the next group cannot be written."""

    open: Callable[[], Log]
    reader: LogReader
    tear: Callable[[], None]
    kept: Callable[[], bytes]
    break_next: Callable[[], None]


@pytest.fixture(params=["files", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    if request.param == "memory":
        log = MemoryLog()

        def fail_in_memory() -> None:
            log.failing = StorageError("full")

        return Place(lambda: log, log, lambda: setattr(log, "torn", TORN), lambda: log.kept["torn"], fail_in_memory)
    path = tmp_path / "ledger.jsonl"

    def tear() -> None:
        path.write_bytes(path.read_bytes() + TORN)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def fail() -> None:
        monkeypatch.setattr(os, "fdatasync", full)

    return Place(lambda: LedgerFile(str(path)), LedgerView(path), tear, lambda: (tmp_path / "torn").read_bytes(), fail)


def test_there_is_none_before_the_first_run(place: Place) -> None:
    """Asking makes none."""
    assert (place.reader.exists(), place.reader.size_bytes) == (False, 0)


def test_a_reader_sees_what_was_appended_at_its_offsets(place: Place) -> None:
    """While the writer goes on, in the order of `append`."""
    log = place.open()

    offsets = log.append([ONE, TWO]) + log.append([THREE])

    assert [*place.reader.lines()] == [*zip(offsets, (ONE, TWO, THREE), strict=True), Tail(log.size_bytes, b"")]
    assert [place.reader.line_at(offset) for offset in offsets] == [ONE, TWO, THREE]
    assert [log.line_at(offset) for offset in offsets] == [ONE, TWO, THREE]
    assert place.reader.exists()
    assert place.reader.size_bytes == log.size_bytes == len(ONE + TWO + THREE)
    log.close()
    place.reader.close()


def test_a_reader_goes_on_from_a_line_it_knows(place: Place) -> None:
    """Offsets and the end are those of the whole log."""
    log = place.open()
    log.append([ONE, TWO])
    log.append([THREE])
    second, third = (len(ONE), TWO), (len(ONE + TWO), THREE)

    assert list(place.reader.lines(len(ONE))) == [second, third, Tail(len(ONE + TWO + THREE), b"")]
    assert list(place.reader.lines(len(ONE + TWO + THREE))) == [Tail(len(ONE + TWO + THREE), b"")]


def test_a_torn_end_right_where_reading_goes_on_is_no_damage(place: Place) -> None:
    """What was read before is whole, so a crash can have left it."""
    log = place.open()
    log.append([ONE])
    place.tear()

    assert list(place.reader.lines(len(ONE))) == [Tail(len(ONE), TORN)]


def test_the_next_writer_goes_on_where_the_last_one_ended(place: Place) -> None:
    """No line moves."""
    first = place.open()
    first.append([ONE])
    first.close()

    second = place.open()

    assert second.append([TWO]) == [len(ONE)]
    assert (second.line_at(0), second.line_at(len(ONE))) == (ONE, TWO)
    second.close()


def test_a_torn_end_is_told_kept_and_cut_off(place: Place) -> None:
    """It was never said to be durable; it is kept for a person all the same."""
    log = place.open()
    log.append([ONE])
    log.close()
    place.tear()

    *_, tail = place.reader.lines()
    assert tail == Tail(len(ONE), TORN)
    log = place.open()
    assert isinstance(tail, Tail)
    log.mend(tail, "torn")
    log.append([TWO])

    assert [*place.reader.lines()] == [(0, ONE), (len(ONE), TWO), Tail(len(ONE + TWO), b"")]
    assert place.kept() == TORN
    log.close()


def test_an_offset_without_a_line_is_an_error(place: Place) -> None:
    """Never a part of a line, nor the next one."""
    log = place.open()
    log.append([ONE, TWO])

    for offset in (1, len(ONE + TWO)):
        with pytest.raises(LedgerError):
            log.line_at(offset)
        with pytest.raises(LedgerError):
            place.reader.line_at(offset)
    log.close()
    place.reader.close()


def test_after_a_group_that_failed_no_other_is_taken(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second try of a sync would succeed and prove nothing."""
    log = place.open()
    log.append([ONE])
    place.break_next()
    with pytest.raises(StorageError):
        log.append([TWO])
    monkeypatch.undo()

    with pytest.raises(StorageError):
        log.append([THREE])

    assert [*place.reader.lines()] == [(0, ONE), Tail(len(ONE), b"")]
    log.close()


def test_damage_is_a_value_for_a_reader_that_salvages(place: Place) -> None:
    """What is whole is handed out as `lines` does, and nothing is damaged in a log that nothing happened to."""
    log = place.open()
    log.append([ONE, TWO])
    assert [*place.reader.salvage()] == [found for found in place.reader.lines() if not isinstance(found, Tail)]
    log.close()
    place.reader.close()
