"""The ledger's lines, its torn end, and what it does when the disk fails."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batch.core.errors import LedgerError, StorageError
from batch.store.contracts import Tail
from batch.store.folder import output_folder
from batch.store.history import replay
from batch.store.job_state import State
from batch.store.ledger import (
    GROUP_BYTES,
    LONGEST_LINE_BYTES,
    NEWEST,
    LedgerFile,
    LedgerView,
    decode_line,
    encode_line,
    is_whole,
    read_ledger,
)
from batch.store.ledger_reader import LedgerReader, open_ledger
from batch.store.records import DoneRecord, JobRecord, RunRecord, TryRecord

#: As much as a group can be, and a line more would still be one.
A_GROUP_OF_JUNK = (b"x" * 1023 + b"\n") * (GROUP_BYTES >> 10)


def tail_of(path: Path) -> Tail:
    *_, tail = read_ledger(LedgerView(path))
    assert isinstance(tail, Tail)
    return tail


def test_a_line_is_ascii_json_that_ends_with_its_checksum() -> None:
    """Any JSON reader can read a line, and only its CRC makes it valid."""
    line = encode_line({"t": "done", "caption": "café ☕"})

    assert line.isascii()
    assert line.endswith(b'"}\n')
    assert json.loads(line)["caption"] == "café ☕"
    assert is_whole(line)


@pytest.mark.parametrize("text", ["\ud83d", "a\u2028b\u2029c\x85d", "\x00\x1b[31m", '"c":"00000000"}', "\n\r\n"])
def test_text_from_a_server_stays_on_its_line(tmp_path: Path, text: str) -> None:
    """Half a surrogate pair, other line ends and fake checksums are written and read back as they are."""
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(encode_line({"v": 1, "n": 1, "t": "done", "caption": text, "job": "a"}))

    read, tail = list(read_ledger(LedgerView(path)))
    assert isinstance(read, tuple)
    assert isinstance(tail, Tail)
    _, line = read

    assert (line.t, line.job, tail.torn) == ("done", "a", b"")
    with LedgerReader(LedgerView(path)) as ledger:
        record = ledger.at(0)
    assert isinstance(record, DoneRecord)
    assert record.caption == text


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_no_json_is_refused(number: float) -> None:
    """NaN would make the line unreadable elsewhere."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode_line({"usd": number})


def test_every_flipped_byte_of_a_line_is_found() -> None:
    """The CRC covers the line to its end."""
    line = encode_line({"v": 1, "n": 1, "t": "try", "job": "a"})

    for place in range(len(line)):
        flipped = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :]
        assert not is_whole(flipped), place


async def test_a_line_torn_at_any_byte_is_cut_off_and_kept_aside(
    tmp_path: Path, ledger: Any, make: Any, open_store: Any
) -> None:
    """P7: whatever part of the last line a crash left, the run goes on from the line before."""
    whole, job = ledger.write(make.tried(make.job())), make.job("other")
    last = ledger.line(make.tried(job))

    for cut in range(1, len(last) - 1):  # without its newline alone it is whole: see below
        ledger.path.write_bytes(whole + last[:cut])
        tail = tail_of(ledger.path)
        assert (tail.good_bytes, tail.torn) == (len(whole), last[:cut])
        file = LedgerFile(str(ledger.path))
        file.mend(tail, str(tmp_path / f"torn-{cut}"))
        file.append([last])
        file.close()
        assert ledger.path.read_bytes() == whole + last
        assert (tmp_path / f"torn-{cut}").read_bytes() == last[:cut]


async def test_a_store_opened_on_a_torn_ledger_goes_on_with_it(tmp_path: Path, ledger: Any, make: Any) -> None:
    """The torn end is saved beside the ledger under the new run's name."""
    whole = ledger.write(make.tried(make.job()))
    ledger.path.write_bytes(whole + b'{"v":1,"n":2,"t":"do')

    with output_folder(tmp_path) as folder:
        async with folder.open("run-2", SystemClockStub()) as store:
            await store.note(RunRecord())

    assert (tmp_path / "ledger.torn-run-2").read_bytes() == b'{"v":1,"n":2,"t":"do'
    assert ledger.path.read_bytes().startswith(whole)
    assert tail_of(ledger.path).torn == b""


@pytest.mark.parametrize("left", [b"", b"\0", b"\0" * 3000])
def test_a_last_line_that_lost_only_its_newline_is_whole_and_gets_it_back(
    tmp_path: Path, ledger: Any, make: Any, left: bytes
) -> None:
    """What it says was bought is not bought again, whether an editor took the newline or a crash left zeros there."""
    job = make.job()
    whole = ledger.write(make.tried(job), make.done(job))
    ledger.path.write_bytes(whole[:-1] + left)

    assert [type(record) for record in LedgerReader(LedgerView(ledger.path)).records()] == [TryRecord, DoneRecord]
    history, tail = replay(tmp_path)
    assert (history.of(job.key()).state, tail) == (State.DONE, Tail(len(whole) - 1, left))
    with LedgerReader(LedgerView(ledger.path)) as reader:
        assert isinstance(reader.at(history.of(job.key()).bought_offset), DoneRecord)
    file_open = LedgerFile(str(ledger.path))
    file_open.mend(tail, str(tmp_path / "torn"))
    following = ledger.line(make.tried(job, 2))
    assert file_open.append([following]) == [len(whole)]
    file_open.close()
    assert ledger.path.read_bytes() == whole + following


async def test_a_store_goes_on_behind_a_line_without_its_newline(tmp_path: Path, ledger: Any, make: Any) -> None:
    """Nothing is set aside, and the next line begins on a line of its own."""
    whole = ledger.write(make.tried(make.job()))
    ledger.path.write_bytes(whole[:-1])

    with output_folder(tmp_path) as folder:
        async with folder.open("run-2", SystemClockStub()) as store:
            await store.note(RunRecord())

    assert not (tmp_path / "ledger.torn-run-2").exists()
    assert ledger.path.read_bytes().startswith(whole)
    assert [json.loads(line)["n"] for line in ledger.path.read_bytes().splitlines()] == [1, 2]


def test_a_newline_that_cannot_be_put_back_ends_the_run(
    tmp_path: Path, ledger: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next line would be glued to this one, and both be lost."""
    whole = ledger.write(make.tried(make.job()))
    ledger.path.write_bytes(whole[:-1])
    tail = tail_of(ledger.path)
    file = LedgerFile(str(ledger.path))
    monkeypatch.setattr(os, "write", lambda *_: _no_space())

    with pytest.raises(StorageError, match="end the ledger's last line: No space left"):
        file.mend(tail, str(tmp_path / "torn"))

    file.close()
    assert ledger.path.read_bytes() == whole[:-1]


@pytest.mark.parametrize(
    "junk",
    [
        *(b"\0" * 4096, b"\0\n\0\n", b"half a line\nand another", b"\n\n\n"),
        *(A_GROUP_OF_JUNK + b"\n", b"x" * LONGEST_LINE_BYTES),
        b'{"v":1,"n":2,"t":"try","job":"a"' + b"\0" * 512 + b',"c":"0123abcd"}\n',
    ],
    ids=len,
)
def test_what_a_power_cut_leaves_behind_the_last_line_is_a_tail(ledger: Any, make: Any, junk: bytes) -> None:
    """Zeros, several bad lines and a line with a hole are a torn group, as long as no whole line follows."""
    whole = ledger.write(make.tried(make.job()))
    ledger.path.write_bytes(whole + junk)

    assert tail_of(ledger.path) == Tail(len(whole), junk)


def half_converted(data: bytes) -> bytes:
    first, *others = data.splitlines(keepends=True)
    return first + b"".join(others).replace(b"\n", b"\r\n")


def without_newline_behind_damage(data: bytes) -> bytes:
    first, _, third = data.splitlines(keepends=True)
    return first + b"half a line\n" + third[:-1]


def marked_and_edited_at_the_end(data: bytes) -> bytes:
    """As if an editor had saved the last line as a file of its own, and that was put in the line's place."""
    *others, last = last_line_edited(data).splitlines(keepends=True)
    return b"".join([*others, b"\xef\xbb\xbf", last])


def last_line_edited(data: bytes) -> bytes:
    return data[:-40] + bytes([data[-40] ^ 1]) + data[-39:]


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        (lambda data: data.replace(b"\n", b"\r\n"), "byte 0 (line 1)", "line ends were converted"),
        (lambda data: data.replace(b"\n", b"\r"), "byte 0 (line 1)", "line ends were converted"),
        (half_converted, "(line 2)", "line ends were converted"),
        (lambda data: b"\xef\xbb\xbf" + data, "byte 0 (line 1)", "byte-order mark"),
        (marked_and_edited_at_the_end, "(line 3)", "a complete line with the wrong checksum"),
        (lambda data: data.replace(b"\n", b" \n"), "byte 0 (line 1)", "White space"),
        (lambda data: data.decode().encode("utf-16"), "byte 0 (line 1)", "not one line of it is valid"),
        (lambda data: data.replace(b'"shirt"', b'"short"'), "byte 0 (line 1)", "not one line of it is valid"),
        (last_line_edited, "(line 3)", "a complete line with the wrong checksum"),
        (lambda data: data[:-1] + b" ", "(line 3)", "White space"),
        (lambda data: data[:-1] + b"\r", "(line 3)", "line ends were converted"),
        (without_newline_behind_damage, "(line 2)", "with whole lines after it"),
        (lambda data: data.splitlines()[0][:-9], "byte 0 (line 1)", "not one line of it is valid"),
        (lambda data: b"\0" * len(data), "byte 0 (line 1)", "not one line of it is valid"),
        (lambda data: data + A_GROUP_OF_JUNK + b"\n\n", "(line 4)", "more than a crash can tear"),
    ],
)
@pytest.mark.parametrize("read", [read_ledger, lambda log: LedgerReader(log).records()])
def test_what_no_crash_can_have_done_is_refused_with_its_place_and_a_way_out(
    ledger: Any,
    make: Any,
    change: Callable[[bytes], bytes],
    place: str,
    words: str,
    read: Callable[[LedgerView], Iterator[object]],
) -> None:
    """P7: an editor's or a transfer's work on complete lines is damage, and no torn end, in a ledger of any size."""
    job = make.job()
    changed = change(ledger.write(make.tried(job), make.done(job), make.tried(job, 2)))
    ledger.path.write_bytes(changed)

    with pytest.raises(LedgerError) as refused:
        list(read(LedgerView(ledger.path)))

    assert f"{ledger.path}: damaged at byte" in str(refused.value)
    assert place in str(refused.value)
    assert words in str(refused.value)
    assert "Restore the file from a copy" in str(refused.value)
    assert ledger.path.read_bytes() == changed


def test_records_are_read_without_a_torn_end(ledger: Any, make: Any) -> None:
    """With every field, and no word of what a crash left."""
    ledger.write(make.tried(make.job()), make.done(make.job()))
    ledger.path.write_bytes(ledger.path.read_bytes() + b'{"v":1,"n":3,"t":"try","job":"a"')

    records = [*LedgerReader(LedgerView(ledger.path)).records()]

    assert [type(record) for record in records] == [TryRecord, DoneRecord]
    assert [record.job for record in records if isinstance(record, JobRecord)] == ["shirt", "shirt"]


def test_a_pipe_in_the_ledgers_place_is_an_error_and_no_wait(tmp_path: Path) -> None:
    """Reading it would never end."""
    os.mkfifo(tmp_path / "ledger.jsonl")

    with pytest.raises(OSError, match="is a FIFO; move it away"):
        list(open_ledger(tmp_path).records())


def test_damage_with_whole_lines_after_it_is_refused_and_nothing_is_changed(
    tmp_path: Path, ledger: Any, make: Any
) -> None:
    """A flipped byte in the middle is no crash; only a person may decide."""
    job = make.job()
    data = ledger.write(make.tried(job), make.done(job), make.tried(job, 2))
    place = data.index(b"done")
    ledger.path.write_bytes(data[:place] + b"D" + data[place + 1 :])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    with pytest.raises(LedgerError, match=r"damaged at byte \d+"):
        replay(tmp_path)

    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_more_damage_at_the_end_than_a_crash_can_tear_is_refused(ledger: Any, make: Any) -> None:
    """A tail is at most one group of lines."""
    ledger.path.write_bytes(ledger.write(make.tried(make.job())) + b"x" * (LONGEST_LINE_BYTES + 1))

    with pytest.raises(LedgerError, match="more than a crash can tear"):
        tail_of(ledger.path)


def test_a_ledger_of_the_newest_version_is_read(ledger: Any) -> None:
    """What this program writes, it understands."""
    ledger.path.write_bytes(encode_line({"v": NEWEST, "n": 1, "t": "reread", "job": "a"}))

    assert tail_of(ledger.path).torn == b""


def test_a_ledger_of_a_newer_version_is_refused(ledger: Any) -> None:
    """What we cannot understand we must not continue."""
    ledger.path.write_bytes(encode_line({"v": NEWEST + 1, "n": 1, "t": "try", "job": "a"}))

    with pytest.raises(LedgerError, match=rf"newer version \(format {NEWEST + 1}, this one reads {NEWEST}\)"):
        tail_of(ledger.path)


def test_a_whole_line_that_is_no_record_is_refused_with_its_place(ledger: Any, make: Any) -> None:
    """A valid checksum alone does not make a record."""
    start = len(ledger.write(make.tried(make.job())))
    ledger.path.write_bytes(ledger.path.read_bytes() + encode_line({"n": "seven"}))

    with pytest.raises(LedgerError, match=f"{ledger.path}: the line at byte {start} is not a ledger line"):
        tail_of(ledger.path)


def test_an_unknown_field_and_an_unknown_kind_of_line_are_passed_over(ledger: Any) -> None:
    """Fields may be added without a new version."""
    ledger.write({"t": "weather", "sky": "blue", "job": ""})

    history, tail = replay(ledger.path.parent)

    assert (len(history), history.last_n, tail.torn) == (0, 1, b"")


def test_a_full_disk_in_the_middle_of_a_line_is_cut_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The half that fitted is removed, and the ledger takes nothing more: what follows must not be glued to it."""
    file = LedgerFile(str(tmp_path / "ledger.jsonl"))
    first, second = encode_line({"n": 1}), encode_line({"n": 2})
    file.append([first])
    real = os.write

    def half(descriptor: int, data: bytes) -> int:
        return real(descriptor, data[:10])

    calls: Iterator[Callable[[int, bytes], int]] = iter([half, lambda d, data: _no_space()])
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda d, data: next(calls)(d, bytes(data)))
        with pytest.raises(StorageError, match=r"^cannot write the ledger: No space left"):
            file.append([second])

    assert (tmp_path / "ledger.jsonl").read_bytes() == first
    with pytest.raises(StorageError, match="No space left"):
        file.append([second])
    file.close()


def test_a_group_of_lines_is_written_as_it_is(tmp_path: Path) -> None:
    """Behind other lines as well as at the beginning, each where its offset says."""
    lines = [encode_line({"n": number, "t": "run", "text": "x" * number}) for number in range(1, 6)]
    file = LedgerFile(str(tmp_path / "ledger.jsonl"))

    offsets = file.append(lines[:2]) + file.append(lines[2:])
    found = [file.line_at(offset) for offset in offsets]
    file.close()

    assert found == lines
    assert (tmp_path / "ledger.jsonl").read_bytes() == b"".join(lines)
    read = [each[0] for each in read_ledger(LedgerView(tmp_path / "ledger.jsonl")) if isinstance(each, tuple)]
    assert read == offsets


def test_a_torn_end_takes_the_place_of_one_set_aside_before(tmp_path: Path, ledger: Any, make: Any) -> None:
    """None of the older one stays behind it."""
    whole = ledger.write(make.tried(make.job()))
    ledger.path.write_bytes(whole + b"torn")
    (tmp_path / "torn").write_bytes(b"a longer one")
    file = LedgerFile(str(ledger.path))

    file.mend(tail_of(ledger.path), str(tmp_path / "torn"))

    file.close()
    assert (tmp_path / "torn").read_bytes() == b"torn"
    assert ledger.path.read_bytes() == whole


@pytest.mark.parametrize(
    ("call", "do", "words"),
    [
        ("fsync", lambda path: LedgerFile(str(path / "new.jsonl")), "cannot open the ledger: "),
        ("ftruncate", lambda path: cut(path), "cannot set the ledger's torn end aside: "),
        ("close", lambda path: LedgerFile(str(path / "ledger.jsonl")).close(), "cannot close the ledger: "),
    ],
)
def test_a_disk_that_fails_is_an_error_with_what_was_being_done(
    tmp_path: Path,
    ledger: Any,
    make: Any,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    do: Callable[[Path], object],
    words: str,
) -> None:
    """P22: never a success, and never an error of another kind."""
    ledger.write(make.tried(make.job()))
    real = getattr(os, call)

    def fails(descriptor: int, *_: int) -> None:
        if call == "close":
            real(descriptor)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, call, fails)
    with pytest.raises(StorageError) as failed:
        do(tmp_path)
    monkeypatch.undo()

    assert str(failed.value) == words + "Input/output error"


def cut(folder: Path) -> None:
    file = LedgerFile(str(folder / "ledger.jsonl"))
    file.mend(Tail(1, b"torn"), str(folder / "torn"))


def test_a_ledger_that_cannot_be_opened_for_good_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No descriptor is left behind."""
    before = set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "fsync", lambda _: _no_space())

    with pytest.raises(StorageError):
        LedgerFile(str(tmp_path / "ledger.jsonl"))

    assert set(os.listdir("/proc/self/fd")) == before


def test_a_line_that_is_not_at_its_offset_is_named(tmp_path: Path) -> None:
    """With the ledger and the place."""
    file = LedgerFile(str(tmp_path / "ledger.jsonl"))
    file.append([encode_line({"n": 1})])

    with pytest.raises(LedgerError, match=rf"{tmp_path}/ledger\.jsonl: the line at byte 3 was changed"):
        file.line_at(3)
    file.close()


def test_a_failed_sync_is_never_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel reports a lost write once; a second sync would say all is well."""
    file, syncs = LedgerFile(str(tmp_path / "ledger.jsonl")), []

    def failing(descriptor: int) -> None:
        syncs.append(descriptor)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", failing)
    for _ in range(3):
        with pytest.raises(StorageError):
            file.append([encode_line({"n": 1})])
    file.close()

    assert len(syncs) == 1
    assert (tmp_path / "ledger.jsonl").read_bytes() == b""


@pytest.mark.parametrize("length", [10, 4095, 4096, 4097, 20_000, 300_000])
def test_a_record_of_any_length_is_read_at_its_offset(tmp_path: Path, length: int) -> None:
    """Reading goes on until the line's end is found."""
    file = LedgerFile(str(tmp_path / "ledger.jsonl"))
    offsets = file.append([encode_line({"n": 1, "text": "x" * length}), encode_line({"n": 2})])

    assert [json.loads(file.line_at(offset))["n"] for offset in offsets] == [1, 2]
    assert len(json.loads(file.line_at(0))["text"]) == length
    file.close()


def test_a_link_in_the_ledgers_place_is_refused(tmp_path: Path) -> None:
    """Nothing outside the output folder is written."""
    (tmp_path / "elsewhere").write_bytes(b"")
    (tmp_path / "ledger.jsonl").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StorageError, match="open the ledger"):
        LedgerFile(str(tmp_path / "ledger.jsonl"))


def test_the_ledger_is_private(tmp_path: Path) -> None:
    """Prompts and captions are nobody else's business."""
    LedgerFile(str(tmp_path / "ledger.jsonl")).close()

    assert (tmp_path / "ledger.jsonl").stat().st_mode & 0o777 == 0o600


def test_fields_are_read_with_their_defaults() -> None:
    """A line says only what it has to."""
    line = decode_line(encode_line({"n": 3, "t": "stop"}))

    assert (line.v, line.job, line.paid, line.again, line.usd) == (1, "", "no", True, 0.0)


def _no_space() -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


class SystemClockStub:
    """A clock that stands still."""

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("waits")

    def now(self) -> Any:
        from datetime import UTC, datetime

        return datetime(2026, 1, 1, tzinfo=UTC)
