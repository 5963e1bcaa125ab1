"""Names that never overwrite, and folders that are synced."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batch.core.errors import StorageError
from batch.core.own_files import open_to_read, open_to_write, sync_folder
from batch.store.durable import (
    claim_name,
    create_anew,
    create_file,
    forget,
    give_name,
    replace_file,
    set_aside,
    storage_errors,
    sync_file,
    write_all,
)


@pytest.fixture(params=["links", "no links"])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With hard links, and on a file system that has none."""
    if request.param == "no links":

        def refuse(*args: Any, **kwargs: Any) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    return str(request.param)


@pytest.mark.usefixtures("links")
def test_a_file_appears_under_its_second_name_whole(tmp_path: Path) -> None:
    """Content and permissions are the same under both."""
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    (tmp_path / "a").chmod(0o640)

    assert give_name(str(tmp_path / "a"), str(tmp_path / "b"))

    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("taken", ["file", "folder", "dangling link"])
def test_a_taken_name_is_left_alone(tmp_path: Path, taken: str) -> None:
    """P14: whatever stands there, it is not overwritten."""
    (tmp_path / "a").write_bytes(b"new")
    target = tmp_path / "b"
    if taken == "file":
        target.write_bytes(b"old")
    elif taken == "folder":
        target.mkdir()
    else:
        target.symlink_to(tmp_path / "nowhere")
    before = os.lstat(target)

    assert not give_name(str(tmp_path / "a"), str(target))

    assert os.lstat(target).st_ino == before.st_ino
    assert not (tmp_path / "nowhere").exists()


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P2: neither under the name nor hidden beside it."""
    (tmp_path / "a").write_bytes(b"new")

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left"):
        give_name(str(tmp_path / "a"), str(tmp_path / "b"))
    assert os.listdir(tmp_path) == ["a"]


def test_an_error_of_linking_that_is_no_missing_ability_passes(tmp_path: Path) -> None:
    """A full disk must not be answered by a copy."""
    with pytest.raises(FileNotFoundError):
        give_name(str(tmp_path / "nothing"), str(tmp_path / "b"))


def test_a_link_is_not_followed_when_naming(tmp_path: Path) -> None:
    """P23: what gets a name is what stands there."""
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "a").symlink_to(tmp_path / "secret")

    give_name(str(tmp_path / "a"), str(tmp_path / "b"))

    assert (tmp_path / "b").is_symlink()


def test_everything_is_written_however_little_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short writes go on where they stopped."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:3]))
    descriptor = create_file(str(tmp_path / "a"))

    write_all(descriptor, b"0123456789")
    os.close(descriptor)

    assert (tmp_path / "a").read_bytes() == b"0123456789"


@pytest.mark.parametrize("what", ["file", "link"])
def test_a_new_file_is_private_and_takes_nobodys_place(tmp_path: Path, what: str) -> None:
    """What stands there is left alone, or replaced where that is wanted; a link is never followed."""
    path, elsewhere = tmp_path / "a", tmp_path / "elsewhere"
    elsewhere.write_bytes(b"precious")
    if what == "file":
        path.write_bytes(b"older")
    else:
        path.symlink_to(elsewhere)
    with pytest.raises(FileExistsError):
        create_file(str(path))
    assert path.read_bytes() == (b"older" if what == "file" else b"precious")
    os.close(create_anew(str(path)))
    assert (path.read_bytes(), path.is_symlink(), elsewhere.read_bytes()) == (b"", False, b"precious")
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("number", "has_room", "tries"),
    [(errno.ENOSPC, True, 2), (errno.EDQUOT, True, 2), (errno.ENOSPC, False, 1), (errno.EACCES, True, 1)],
)
@pytest.mark.parametrize("call", ["open", "write"])
def test_room_is_made_only_where_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, has_room: bool, tries: int
) -> None:
    """Then the same is tried once more, and succeeds or fails for good; another error is no matter of room."""
    path, calls, asked = str(tmp_path / "a"), [], []
    descriptor = create_file(path) if call == "write" else -1
    real = getattr(os, call)

    def full_once(*args: Any) -> Any:
        calls.append(call)
        if len(calls) == 1:
            raise OSError(number, os.strerror(number))
        return real(*args)

    def make_room() -> bool:
        asked.append(number)
        return has_room

    def act() -> None:
        if call == "write":
            write_all(descriptor, b"bytes", make_room=make_room)
        else:
            os.close(create_anew(path, make_room=make_room))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full_once)
        if tries == 2:
            act()
        else:
            with pytest.raises(OSError, match=re.escape(os.strerror(number))):
                act()
    assert (len(calls), asked) == (tries, [number] if number in (errno.ENOSPC, errno.EDQUOT) else [])
    assert (tmp_path / "a").exists() is (call == "write" or tries == 2)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_sync_folders_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Some network file systems say so; an I/O error is another matter."""
    _fail_fsync(monkeypatch, number)
    sync_folder(str(tmp_path))

    _fail_fsync(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        sync_folder(str(tmp_path))


def test_syncing_a_file_does_not_follow_a_link(tmp_path: Path) -> None:
    """Permissions are set on our own files only."""
    (tmp_path / "secret").write_bytes(b"")
    (tmp_path / "a").symlink_to(tmp_path / "secret")

    with pytest.raises(OSError, match="symbolic links"):
        sync_file(str(tmp_path / "a"), mode=0o777)


def test_no_descriptor_stays_open_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long run with a failing disk must not run out of them."""
    (tmp_path / "a").write_bytes(b"")
    before = len(os.listdir("/proc/self/fd"))
    _fail_fsync(monkeypatch, errno.EIO)

    for _ in range(20):
        with pytest.raises(OSError, match="Input/output"):
            sync_folder(str(tmp_path))
        with pytest.raises(OSError, match="Input/output"):
            sync_file(str(tmp_path / "a"))

    assert len(os.listdir("/proc/self/fd")) == before


def open_to_write_at(path: str) -> int:
    return open_to_write(path, os.O_RDWR | os.O_CREAT)


@pytest.mark.parametrize("open_it", [open_to_read, open_to_write_at])
@pytest.mark.parametrize("what", ["link", "dangling link", "pipe", "folder"])
def test_what_is_no_file_of_ours_is_neither_opened_nor_waited_for(
    tmp_path: Path, open_it: Callable[[str], object], what: str
) -> None:
    """A link would lead elsewhere, a pipe without a writer would never open. No descriptor stays behind."""
    path = tmp_path / "a"
    if what.endswith("link"):
        path.symlink_to(tmp_path / "elsewhere")
        if what == "link":
            (tmp_path / "elsewhere").write_bytes(b"")
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r"a is a (link|FIFO|folder); move it away"):
        open_it(str(path))
    assert len(os.listdir("/proc/self/fd")) == before
    assert (tmp_path / "elsewhere").exists() is (what == "link")


def test_files_of_ours_are_private_and_read_as_bytes(tmp_path: Path) -> None:
    """Those that are made; one that is there keeps its permissions."""
    descriptor = open_to_write_at(str(tmp_path / "a"))
    os.write(descriptor, b"\xff\r\n")
    os.close(descriptor)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    with open_to_read(str(tmp_path / "a"), buffering=0) as file:
        assert file.read() == b"\xff\r\n"


def test_a_file_takes_anothers_place_in_one_step(tmp_path: Path) -> None:
    """Readers see the old file or the new one."""
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a.part").write_bytes(b"new")

    replace_file(str(tmp_path / "a"), str(tmp_path / "a.part"))

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"new"}


def test_forgetting_what_is_not_there_is_fine(tmp_path: Path) -> None:
    """Two may clean up the same file."""
    forget(str(tmp_path / "nothing"))


def test_an_error_says_what_was_being_done() -> None:
    """A person reads it."""
    with (
        pytest.raises(StorageError, match="cannot store a picture: No space left on device"),
        storage_errors("store a picture"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


def _fail_fsync(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)


def test_a_name_is_claimed_once_for_the_same_bytes(tmp_path: Path) -> None:
    """A run that died after naming a file names it again; another file with the name is told apart."""
    file, target = tmp_path / "file", tmp_path / "target"
    file.write_bytes(b"mine")
    claim_name(str(file), str(target))
    claim_name(str(file), str(target))
    target.unlink()
    target.write_bytes(b"else")
    with pytest.raises(FileExistsError, match="in the way"):
        claim_name(str(file), str(target))
    assert target.read_bytes() == b"else"


def test_a_name_is_not_claimed_by_looks(tmp_path: Path) -> None:
    """Same length and time, a link to the same bytes, a folder: none of them is our file."""
    file, target = tmp_path / "file", tmp_path / "target"
    file.write_bytes(b"mine")
    target.write_bytes(b"else")
    os.utime(target, ns=(0, 0))
    os.utime(file, ns=(0, 0))
    with pytest.raises(FileExistsError, match="in the way"):
        claim_name(str(file), str(target))
    target.unlink()
    os.utime(file, ns=(1, 1))  # filecmp remembers what it compared
    target.symlink_to(file)
    with pytest.raises(FileExistsError, match="in the way"):
        claim_name(str(file), str(target))
    target.unlink()
    target.mkdir()
    with pytest.raises(FileExistsError, match="in the way"):
        claim_name(str(file), str(target))


def test_what_is_set_aside_overwrites_nothing(tmp_path: Path) -> None:
    """The next free name is taken, the first one with a 2."""
    (tmp_path / "b").write_bytes(b"one")
    set_aside(str(tmp_path / "b"))
    assert os.listdir(tmp_path) == ["b~x2"]
    (tmp_path / "b~x2").unlink()
    (tmp_path / "a~x2").write_bytes(b"older")
    (tmp_path / "a").write_bytes(b"old")
    set_aside(str(tmp_path / "a"))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"a~x2": b"older", "a~x3": b"old"}
