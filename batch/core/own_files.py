"""Opening what is ours and may have been replaced: by a link that leads elsewhere, or by what no read comes back from.

Nothing here follows a link, waits for the other end of a FIFO, or takes a folder or a device for a file.
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from stat import S_ISDIR, S_ISFIFO, S_ISLNK, S_ISREG
from typing import BinaryIO, Final, cast

#: What a file system answers to what it cannot do; other errors are failures.
UNSUPPORTED: Final = frozenset((errno.EPERM, errno.EACCES, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY))


def sync_folder(path: str) -> bool:
    """Make the names in a folder durable; False if its file system cannot sync folders."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return False
    finally:
        os.close(descriptor)
    return True


def set_mode(descriptor: int, mode: int) -> None:
    """Set a file's permissions, where its file system has any of its own: shares and memory sticks refuse."""
    try:
        os.fchmod(descriptor, mode)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def make_folders(folder: Path, mode: int = 0o700) -> None:
    """Make a folder with all that lead to it, private and durable: what is synced inside must be found again."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(mode=mode, parents=True, exist_ok=True)
    for each in reversed(missing):
        sync_folder(str(each.parent))


def nameless_file() -> BinaryIO:
    """A temporary file that is gone when it is closed. Raises `OSError`, which says what to set if it has no place."""
    try:
        return cast("BinaryIO", tempfile.TemporaryFile(prefix="imagebatch-"))
    except FileNotFoundError:
        words = "there is no folder for temporary files; set TMPDIR to one that can be written"
        raise OSError(errno.EROFS, words) from None


def open_to_read(path: str | os.PathLike[str], *, buffering: int = -1) -> BinaryIO:
    """Open a file of ours. A link, or anything but a regular file, raises `OSError` and never waits for a writer."""
    return open(_opened(path, os.O_RDONLY), "rb", buffering)


def open_to_write(path: str | os.PathLike[str], flags: int, mode: int = 0o600) -> int:
    """Open a file of ours for writing. A link, or anything but a regular file, raises `OSError` and never waits."""
    return _opened(path, flags, mode)


def in_the_way(path: str | os.PathLike[str], *, folder: bool = False) -> str | None:
    """What has the place of a file of ours, or of a `folder`, in a sentence; None if it is one or nothing is there."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return None
    if S_ISDIR(mode) if folder else S_ISREG(mode):
        return None
    wanted = "folder" if folder else "file"
    return f"{os.fspath(path)} is {_kind(mode)}; move it away, a {wanted} of ours belongs there"


def _opened(path: str | os.PathLike[str], flags: int, mode: int = 0o600) -> int:
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, mode)
    except OSError as error:
        raise OSError(error.errno, in_the_way(path) or error.strerror) from error
    if S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, in_the_way(path) or f"{os.fspath(path)} is no file")


def _kind(mode: int) -> str:
    kinds = ((S_ISLNK, "a link"), (S_ISDIR, "a folder"), (S_ISREG, "a file"), (S_ISFIFO, "a FIFO"))
    return next((words for is_kind, words in kinds if is_kind(mode)), "a socket or a device")
