"""The few file operations that durability is made of. Linux and other POSIX systems.

Nothing is assumed to be ordered or on disk that was not fsynced; a failed fsync is never repeated on the same
file, because the kernel has already forgotten what could not be written.
"""

from __future__ import annotations

import errno
import filecmp
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final

from batch.core.errors import StorageError
from batch.core.own_files import UNSUPPORTED, set_mode, sync_folder
from batch.store.rename import hidden_name, is_placeholder, rename_onto_nothing


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


#: Permissions of what is meant to be seen by others, if the user's umask agrees. The umask can only be read by
#: setting it, which is not for a time when threads create files.
PUBLIC_MODE: Final = 0o666 & ~_umask()
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_NO_LINKS: Final = UNSUPPORTED | {errno.EMLINK, errno.EXDEV}


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn an `OSError` into a `StorageError` that says what was being done."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot {what}: {error.strerror or error}") from error


def write_all(
    descriptor: int, data: bytes | bytearray | memoryview, *, make_room: Callable[[], bool] = lambda: False
) -> None:
    """Write everything, however little the kernel takes at a time.

    When the disk is full, `make_room` says whether it is worth going on from there.
    """
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except OSError as error:
            if error.errno not in _FULL or not make_room():
                raise


def sync_file(path: str, mode: int | None = None) -> None:
    """Make a file's bytes durable, and set its permissions if told."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if mode is not None:
            set_mode(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_file(path: str) -> int:
    """Open a new private file for writing; it must not exist, nor be a planted link."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def create_anew(path: str, *, make_room: Callable[[], bool] = lambda: False) -> int:
    """Like `create_file`, but an older file in the way goes; there hardly ever is one, so it is not looked for first.

    When the disk has no room for another file, `make_room` says whether it is worth trying once more.
    """
    try:
        return create_file(path)
    except FileExistsError:
        forget(path)
        return create_file(path)
    except OSError as error:
        if error.errno not in _FULL or not make_room():
            raise
        return create_file(path)


def give_name(source: str, target: str) -> bool:
    """Let a finished file appear under a second name, at once and whole; False if the name is taken.

    A hard link does this without a window and can never overwrite. File systems without links get a copy under a
    hidden name that is then renamed: `rename.rename_onto_nothing`. The source stays.
    """
    try:
        os.link(source, target, follow_symlinks=False)
        return True
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    return _give_name_of_a_copy(source, target)


def _give_name_of_a_copy(source: str, target: str) -> bool:
    hidden = hidden_name(target)
    is_ours = is_placeholder(target, hidden)
    if os.path.lexists(target) and not is_ours:
        return False
    try:
        if not is_ours or not filecmp.cmp(source, hidden, shallow=False):
            copy_durably(source, hidden)
        if is_ours:
            os.rename(hidden, target)
            return True
        return rename_onto_nothing(hidden, target)
    except OSError:
        forget(hidden)
        raise


def claim_name(source: str, target: str) -> None:
    """Like `give_name`; a file with the same bytes under that name is as good.

    Raises `FileExistsError` if something else has the name.
    """
    if give_name(source, target):
        return
    if os.path.islink(target) or not os.path.isfile(target) or not filecmp.cmp(source, target, shallow=False):
        raise FileExistsError(errno.EEXIST, f"{target} is in the way; move it away")


def set_aside(path: str) -> None:
    """Give a file the next free name beside its own, and free that."""
    for number in count(2):
        free = f"{path}~x{number}"
        if os.path.isdir(path) and not os.path.islink(path):  # it can have one name only
            if not os.path.lexists(free):
                os.rename(path, free)
                return
        elif give_name(path, free):
            forget(path)
            return


def copy_durably(source: str, target: str) -> None:
    """Write a file's bytes again, under another name, and sync them. The target is replaced."""
    forget(target)
    descriptor = create_file(target)
    try:
        with open(source, "rb") as file:
            while block := file.read(1 << 20):
                write_all(descriptor, block)
            set_mode(descriptor, os.fstat(file.fileno()).st_mode & 0o777)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: str, hidden: str) -> None:
    """Put a written and synced file in another's place, durably."""
    os.replace(hidden, path)
    sync_folder(os.path.dirname(path))


def put_in_place(path: str, data: bytes, mode: int = 0o600) -> None:
    """Write a small file that may be lost: a reader sees the old one or the new one. Nothing is synced or followed."""
    hidden = path + ".part"
    descriptor = create_anew(hidden)
    try:
        set_mode(descriptor, mode)
        write_all(descriptor, data)
    finally:
        os.close(descriptor)
    os.replace(hidden, path)


def forget(path: str) -> None:
    """Remove a file that may not be there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
