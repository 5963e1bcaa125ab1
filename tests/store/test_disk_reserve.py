"""Space for answers on their way when the disk is full."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from batch.core.errors import StorageError
from batch.providers.base import Received
from batch.store.disk_reserve import BALLAST_BYTES, DiskReserve
from batch.store.spool import AttemptSpool


@pytest.fixture
def full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk on which writes succeed only once the reserve is gone."""
    real = os.write

    def write(descriptor: int, data: Any) -> int:
        if list(tmp_path.rglob(".reserve")):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)


async def test_space_is_held_while_a_store_is_open(open_store: Any, tmp_path: Path) -> None:
    """W9: really taken, not only announced, and given back at the end."""
    _, stack = await open_store()
    held = os.stat(tmp_path / "out/.reserve")
    assert held.st_blocks * 512 >= BALLAST_BYTES

    await stack.aclose()

    assert ".reserve" not in os.listdir(tmp_path / "out")


async def test_an_answer_on_its_way_is_kept_and_nothing_new_is_sent(
    open_store: Any, make: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The disk fills up while two requests are out; both answers are received, a third request is refused."""
    store, _ = await open_store()
    tickets = [await store.begin(make.job(name), why="new") for name in ("one", "two")]
    request.getfixturevalue("full_disk")

    for attempt in tickets:
        make.receive(attempt.spool, make.picture())

    assert all(attempt.spool.load() is not None for attempt in tickets)
    with pytest.raises(StorageError, match="the disk is full"):
        await store.begin(make.job("three"), why="new")


@pytest.mark.usefixtures("full_disk")
def test_the_reserve_makes_room_for_an_answer_without_a_picture(tmp_path: Path) -> None:
    """Its words were paid for, too."""
    with DiskReserve(str(tmp_path)) as disk_reserve:
        spool = AttemptSpool(str(tmp_path), "shirt~1", disk_reserve)
        received = Received(status=200, headers={}, body=b"words", blobs=(), seconds=1.0)
        spool.seal(received)
        assert AttemptSpool(str(tmp_path), "shirt~1", disk_reserve).load() == received
        assert disk_reserve.was_needed


def test_the_reserve_makes_room_for_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not even a name can be written any more."""
    real = os.open

    def open_while_there_is_room(path: str, flags: int, *args: int) -> int:
        if flags & os.O_CREAT and list(tmp_path.rglob(".reserve")):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, flags, *args)

    with DiskReserve(str(tmp_path)) as disk_reserve:
        monkeypatch.setattr(os, "open", open_while_there_is_room)
        writer = AttemptSpool(str(tmp_path), "shirt~1", disk_reserve).new_blob()
        writer.write(b"picture")
        writer.close()
    assert (tmp_path / "shirt~1.0").read_bytes() == b"picture"


def test_no_room_for_the_reserve_is_said_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P15: and no part of it stays behind."""

    def refuse(*args: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)

    with pytest.raises(StorageError, match=r"cannot keep 64 MB free .*: No space left"), DiskReserve(str(tmp_path)):
        pass
    assert os.listdir(tmp_path) == []


def test_it_can_be_spent_once(tmp_path: Path) -> None:
    """After that a full disk is a full disk."""
    with DiskReserve(str(tmp_path)) as disk_reserve:
        assert (disk_reserve.spend(), disk_reserve.spend(), disk_reserve.was_needed) == (True, False, True)


def test_what_a_killed_run_left_is_taken_over(tmp_path: Path) -> None:
    """It would only take up room."""
    (tmp_path / ".reserve").write_bytes(b"old")
    with DiskReserve(str(tmp_path)):
        assert (tmp_path / ".reserve").stat().st_size == BALLAST_BYTES

    assert os.listdir(tmp_path) == []
