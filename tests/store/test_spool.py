"""Answers on their way in: when one counts as received, and what remains of the others."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batch.core.errors import StorageError
from batch.providers.base import Blob, Cut, Received
from batch.store.disk_reserve import DiskReserve
from batch.store.spool import AttemptSpool, SpareFiles, attempt_stem, sweep


class Spool(AttemptSpool):
    """The spool of one attempt, which can be made again."""

    def __init__(self, folder: Path, job: str = "shirt.v2", number: int = 1, files: SpareFiles | None = None) -> None:
        super().__init__(str(folder), attempt_stem(job, number), DiskReserve(str(folder)), files)
        self.again: Callable[[], Spool] = lambda: Spool(folder, job, number)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path)


def again(spool: Spool) -> Spool:
    """The same attempt, as a later run sees it."""
    return spool.again()


def test_a_sealed_answer_is_loaded_as_it_was(spool: Spool, make: Any) -> None:
    """P4: status, headers, body and blobs, with their files found again."""
    received, _ = make.receive(spool, b"picture", body=b'{"a":"spool://0"}')

    assert again(spool).load() == received


@pytest.mark.parametrize(
    "odd", [{}, {"flaw": "no gzip"}, {"cut": Cut(code="cut", message="broke off")}, {"seconds": 0.25, "status": 206}]
)
def test_everything_that_is_known_of_an_answer_comes_back(spool: Spool, odd: dict[str, Any]) -> None:
    """What it is judged by does not depend on which run judges it."""
    writer = spool.new_blob()
    writer.write(b"no base64")
    writer.close()
    blob = Blob(
        file=writer.file, size_bytes=9, is_base64=False, lead="a", tail="b", broken="at byte 3", decoded_bytes=2
    )
    known = {"status": 200, "headers": {"x": "y"}, "body": b"[]\n", "blobs": (blob,), "seconds": 1.5, **odd}
    spool.seal(Received(**known))

    assert again(spool).load() == Received(**known)


def test_an_attempt_without_an_answer_loads_as_none(spool: Spool) -> None:
    """Half a picture is no answer."""
    spool.new_blob().write(b"half")

    assert again(spool).load() is None


def test_an_answer_that_cannot_be_read_ends_the_run(tmp_path: Path, spool: Spool) -> None:
    """It may hold a picture that was paid for, so it is not taken for unknown."""
    (tmp_path / "shirt.v2~1.answer").mkdir()

    with pytest.raises(StorageError, match=r"cannot read .*shirt\.v2~1\.answer"):
        spool.load()


def test_an_answer_cut_at_any_byte_does_not_count(tmp_path: Path, spool: Spool, make: Any) -> None:
    """A crash in the middle of the write leaves an attempt that is unknown, not a run that cannot start."""
    make.receive(spool, b"picture", body=b'{"some":"body"}')
    path = tmp_path / "shirt.v2~1.answer"
    data = path.read_bytes()

    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        assert again(spool).load() is None, cut
    path.write_bytes(b"\0" * len(data))
    assert again(spool).load() is None


def test_an_answer_whose_picture_lost_its_end_does_not_count(tmp_path: Path, spool: Spool, make: Any) -> None:
    """After a power cut the files of one attempt need not be of the same moment."""
    make.receive(spool, b"picture", b"second")
    os.truncate(tmp_path / "shirt.v2~1.1", 3)

    assert again(spool).load() is None


def test_an_answer_whose_picture_is_gone_does_not_count(tmp_path: Path, spool: Spool, make: Any) -> None:
    """The attempt is unknown then: nothing can be kept of it."""
    make.receive(spool, b"picture", b"second")
    (tmp_path / "shirt.v2~1.0").unlink()

    assert again(spool).load() is None


def test_a_large_picture_is_checked_to_its_end(tmp_path: Path, spool: Spool, make: Any) -> None:
    """Block by block: a byte in the first one counts like one in the last."""
    received, _ = make.receive(spool, bytes(range(256)) * 9000)
    assert again(spool).load() == received

    with open(tmp_path / "shirt.v2~1.0", "r+b") as file:
        file.seek(1000)
        file.write(b"!")
    assert again(spool).load() is None


@pytest.mark.parametrize(("size_bytes", "counts"), [(6, False), (7, True), (8, True)])
def test_an_answer_of_an_earlier_version_is_known_by_its_length(
    tmp_path: Path, spool: Spool, size_bytes: int, counts: bool
) -> None:
    """It has no checksums of its pictures; a file may be longer than what was written to it last."""
    file = tmp_path / "shirt.v2~1.0"
    file.write_bytes(b"x" * size_bytes)
    blob = Blob(file=str(file), size_bytes=7)
    received = Received(status=200, headers={}, body=b"{}", blobs=(blob,), seconds=1.0)
    spool.seal(received)

    assert again(spool).load() == (received if counts else None)


def test_a_picture_written_in_pieces_is_checked_as_a_whole(spool: Spool) -> None:
    """As it comes off the wire."""
    writer = spool.new_blob()
    for piece in (b"one", b"", b"two"):
        writer.write(piece)
    writer.close()
    blob = Blob(file=writer.file, size_bytes=6)
    received = Received(status=200, headers={}, body=b"{}", blobs=(blob,), seconds=1.0)
    spool.seal(received)

    assert again(spool).load() == received


def test_files_of_an_attempt_without_an_answer_serve_the_next(tmp_path: Path) -> None:
    """Both that were reserved are free again, and no name is left behind."""
    files = SpareFiles(str(tmp_path))
    spool = Spool(tmp_path, files=files)
    spool.reserve()
    spool.discard()

    freed = [files.take_free() for _ in range(3)]
    assert sorted(file[1] for file in freed if file is not None) == [f"{tmp_path}/free.{n}" for n in (1, 2)]
    for file in freed:
        if file is not None:
            files.give_back(*file)
    files.close()
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_what_stood_in_a_file_before_is_left_in_the_next(tmp_path: Path, make: Any) -> None:
    """Not even where what comes is empty."""
    files = SpareFiles(str(tmp_path))
    first = Spool(tmp_path, "shirt", 1, files)
    make.receive(first, body=b"an older answer")
    first.discard()
    second = Spool(tmp_path, "shirt", 2, files)
    second.reserve()
    for number in range(2):
        second.new_blob().close()
        assert (tmp_path / f"shirt~2.{number}").read_bytes() == b""


def test_an_answer_that_cannot_be_renamed_keeps_nothing_else(
    tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempt is recorded: no error, the other files go, and no descriptor stays open."""
    files = SpareFiles(str(tmp_path))
    spool = Spool(tmp_path, files=files)
    spool.reserve()
    make.receive(spool, b"one", b"two")
    before = len(os.listdir("/proc/self/fd"))

    def refuse(*args: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refuse)
        spool.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["shirt.v2~1.answer"]
    assert (files.take_free(), len(os.listdir("/proc/self/fd"))) == (None, before - 1)


def test_files_that_are_out_are_removed_at_the_end_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot be is left to the next run, and keeps none of the others."""
    files = SpareFiles(str(tmp_path))
    stuck, other, free = (files.take() for _ in range(3))
    files.give_back(*free)
    real = os.unlink

    def refuse_one(path: str) -> None:
        if path == stuck[1]:
            raise OSError(errno.EIO, "Input/output error")
        real(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse_one)
        files.close()
    assert [str(path) for path in tmp_path.iterdir()] == [stuck[1]]
    for descriptor, _ in (stuck, other):
        os.close(descriptor)


def test_no_room_for_an_answer_is_said_before_it_is_asked_for(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """P15: later there would be nowhere to keep what was paid for."""

    def full(*args: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(StorageError, match="cannot make room for an answer: No space left"):
        spool.reserve()


def test_files_are_numbered_in_the_order_they_are_opened(tmp_path: Path, spool: Spool) -> None:
    """The answer speaks of its long strings by number."""
    for _ in range(3):
        spool.new_blob().close()

    assert sorted(path.name for path in tmp_path.iterdir()) == [f"shirt.v2~1.{number}" for number in range(3)]


def test_discarding_removes_every_file(tmp_path: Path, spool: Spool, make: Any) -> None:
    """Their content stands elsewhere by then."""
    make.receive(spool, b"one", b"two")

    spool.discard()

    assert list(tmp_path.iterdir()) == []
    assert spool.files == []


def test_discarding_what_an_earlier_run_left_removes_every_file(tmp_path: Path, spool: Spool, make: Any) -> None:
    """Its files are found by their names."""
    make.receive(spool, b"one", b"two")
    later = again(spool)
    assert later.load() is not None
    assert (later.sealed, len(later.files)) == (True, 3)

    later.discard()

    assert list(tmp_path.iterdir()) == []
    assert (later.sealed, later.files) == (False, [])


def test_a_file_that_cannot_be_removed_is_no_failure(
    tmp_path: Path, spool: Spool, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempt is recorded; calling it failed now would be wrong."""
    make.receive(spool, b"one")

    def refuse(path: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        spool.discard()

    assert sweep(str(tmp_path), set()) == 2


def test_sweeping_leaves_what_an_open_attempt_claims(tmp_path: Path) -> None:
    """F30: files of dead attempts go, also those of ids that look alike."""
    names = ["a~1.0", "a~1.answer", "a~2.0", "a.b~1.0", "a.b~1.answer", "junk", "a~1.0.again"]
    for name in names:
        (tmp_path / name).write_bytes(b"")

    removed = sweep(str(tmp_path), {"a.b~1"})

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.b~1.0", "a.b~1.answer"]
    assert removed == 5


@pytest.mark.parametrize("call", ["open", "write", "close"])
def test_a_failing_disk_is_a_storage_error(spool: Spool, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """P22: never an error that would look like the job's own."""
    writer = spool.new_blob() if call != "open" else None

    def refuse(*args: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(StorageError, match="cannot write the spool: No space left"):
            _use(spool, writer)


def _use(spool: Spool, writer: Any) -> None:
    if writer is None:
        spool.new_blob()
    writer.write(b"bytes")
    writer.close()


def test_a_seal_that_fails_is_no_seal(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written was not received."""
    real = os.write

    def half(descriptor: int, data: Any) -> int:
        if len(data) < 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, bytes(data)[: len(data) - 30])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(StorageError, match="cannot write the spool: No space left"):
        spool.seal(Received(status=200, headers={}, body=b"{}" * 40, blobs=(), seconds=1.0))

    assert not spool.sealed
    assert again(spool).load() is None


def test_an_older_file_in_the_way_is_replaced(tmp_path: Path, spool: Spool) -> None:
    """A run that died after its `try` may have left one; a link there is not followed."""
    (tmp_path / "target").write_bytes(b"precious")
    (tmp_path / "shirt.v2~1.0").symlink_to(tmp_path / "target")

    writer = spool.new_blob()
    writer.write(b"new")
    writer.close()

    assert (tmp_path / "target").read_bytes() == b"precious"
    assert (tmp_path / "shirt.v2~1.0").read_bytes() == b"new"


def test_headers_in_odd_characters_survive(spool: Spool) -> None:
    """Servers send raw bytes; they arrive here as text that no encoding may refuse."""
    received = Received(status=200, headers={"x": "\udcff\u2028"}, body=b"", blobs=(), seconds=1.0)
    spool.seal(received)

    loaded = again(spool).load()

    assert loaded is not None
    assert loaded.headers == received.headers
    assert json.dumps(loaded.headers).isascii()


def test_answer_files_are_used_again(tmp_path: Path, make: Any) -> None:
    """A longer answer that stood in the file before leaves no trace in the next one."""
    files = SpareFiles(str(tmp_path))
    first, second = (Spool(tmp_path, "shirt", number, files) for number in (1, 2))
    make.receive(first, body=b'{"long":"' + b"x" * 500 + b'"}')
    first.discard()
    received, _ = make.receive(second, body=b"{}")

    assert again(second).load() == received
    assert b"xxx" in (tmp_path / "shirt~2.answer").read_bytes()
    second.trim()
    assert again(second).load() == received
    assert b"xxx" not in (tmp_path / "shirt~2.answer").read_bytes()
    assert again(first).load() is None
    assert [path.name for path in tmp_path.iterdir()] == ["shirt~2.answer"]
    second.discard()
    files.close()
    assert list(tmp_path.iterdir()) == []


def test_an_answer_with_a_second_name_is_never_written_again(tmp_path: Path, make: Any) -> None:
    """What was set aside in rejected/ is the same file until the spool lets go of it."""
    files = SpareFiles(str(tmp_path))
    first, second = (Spool(tmp_path, "shirt", number, files) for number in (1, 2))
    make.receive(first, body=b'{"paid":"for"}')
    os.link(tmp_path / "shirt~1.answer", tmp_path / "kept")
    kept = (tmp_path / "kept").read_bytes()
    first.discard()
    make.receive(second, body=b'{"another":"one"}')

    assert (tmp_path / "kept").read_bytes() == kept
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "shirt~2.answer"]


def test_what_stood_in_a_file_before_is_never_taken_for_an_answer(tmp_path: Path, make: Any) -> None:
    """After a power cut the name may be new and the content old, or the beginning new and the rest old."""
    files = SpareFiles(str(tmp_path))
    first, second = (Spool(tmp_path, "shirt", number, files) for number in (1, 2))
    make.receive(first, body=b'{"first":"' + b"1" * 90 + b'"}')
    old = (tmp_path / "shirt~1.answer").read_bytes()
    first.discard()
    make.receive(second, body=b'{"other":"' + b"2" * 90 + b'"}')
    path = tmp_path / "shirt~2.answer"
    new = path.read_bytes()

    for kept in range(len(new)):
        if new[:kept] + old[kept:] == new:
            break
        path.write_bytes(new[:kept] + old[kept:])
        assert again(second).load() is None, kept


def test_an_answer_whose_picture_came_back_as_zeros_does_not_count(tmp_path: Path, spool: Spool, make: Any) -> None:
    """A power cut may leave a file with its length and without its content; it must not pass for the picture."""
    make.receive(spool, b"picture", b"second")
    (tmp_path / "shirt.v2~1.1").write_bytes(bytes(6))

    assert again(spool).load() is None


def test_a_second_picture_takes_a_waiting_file_where_none_can_be_made(
    tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of requests that have ended serve those that are on their way."""
    files = SpareFiles(str(tmp_path))
    ended, open_one = (Spool(tmp_path, "shirt", number, files) for number in (1, 2))
    ended.reserve()
    open_one.reserve()
    ended.discard()

    def no_file(*args: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", no_file)
        received, _ = make.receive(open_one, b"first", b"second")

    assert again(open_one).load() == received
    files.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shirt~2.0", "shirt~2.1", "shirt~2.answer"]
