"""An export is written beside its place, made durable, and put there in one step.

So whatever happens on the way (disk full, killed, power cut), the export before it stays whole. A folder that holds
anything but an export of ours is never touched: a list of our files stands in each.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from batch.core.errors import LockedError, OutputError
from batch.core.own_files import make_folders, sync_folder
from batch.store.durable import PUBLIC_MODE, create_file, storage_errors

#: In every export: the files it consists of, one a line.
LIST: Final = ".imagebatch-export"
_FOLDER_MODE: Final = 0o755
_AT_FDCWD: Final = -100
_EXCHANGE: Final = 2


class Beside:
    """The folder that an export is written to, and the names that are in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: set[str] = set()

    def path(self, name: str) -> str:
        """A file to be written, with the folders to it made. `name` is relative to the export."""
        self._files.add(name)
        file = str(self.folder / name)
        os.makedirs(os.path.dirname(file), _FOLDER_MODE, exist_ok=True)
        return file

    def drop(self, name: str) -> None:
        """A file that is not to be there after all."""
        self._files.remove(name)
        file = self.folder / name
        file.unlink(missing_ok=True)
        while file.parent != self.folder and not any(file.parent.iterdir()):
            file = file.parent
            file.rmdir()

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """A file, durable at the block's end."""
        descriptor = create_file(self.path(name))
        with open(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), PUBLIC_MODE)
            os.fsync(file.fileno())

    def finish(self) -> None:
        """Write the list, and make every name durable."""
        listed = "".join(f"{name}\n" for name in sorted(self._files))
        with self.writing(LIST) as file:
            file.write(listed.encode("utf-8", "surrogateescape"))
        for folder, _, _ in os.walk(self.folder):
            sync_folder(folder)


@contextmanager
def beside(target: Path) -> Iterator[Beside]:
    """Write an export in the block; it takes the target's place at its end.

    Raises `OutputError` if the target holds what is not ours, `LockedError` if another export writes to it, and
    `StorageError` if something cannot be written.
    """
    with storage_errors(f"write the export {target}"):
        target = Path(os.path.realpath(target))
        refuse_foreign(target)
        make_folders(target.parent, _FOLDER_MODE)
        hidden = target.parent / f".{target.name}.part"
        with _locked(hidden, target):
            _empty(hidden)
            writing = Beside(hidden)
            try:
                yield writing
                writing.finish()
                refuse_foreign(target)
                _put_in_place(hidden, target)
            finally:
                shutil.rmtree(hidden, ignore_errors=True)


def refuse_foreign(target: Path) -> None:
    """Raises `OutputError` if a folder holds anything that is not an export of ours."""
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise OutputError(f"{target} is a file; name a folder with --to")
    try:
        ours = set((target / LIST).read_text("utf-8", "surrogateescape").split("\n")) | {LIST}
    except FileNotFoundError:
        ours = set()
    for folder, _, names in os.walk(target):
        for name in names:
            found = os.path.relpath(os.path.join(folder, name), target)
            if found not in ours:
                raise OutputError(
                    f"{target} holds {found}, which is no file of an export; move it away, or name another folder "
                    "with --to"
                )


@contextmanager
def _locked(hidden: Path, target: Path) -> Iterator[None]:
    """One export at a time writes beside a target. The lock ends with the process."""
    hidden.mkdir(_FOLDER_MODE, exist_ok=True)
    descriptor = os.open(hidden, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise LockedError(f"another export writes to {target}; wait for it") from None
    finally:
        os.close(descriptor)


def _empty(folder: Path) -> None:
    """What an export that was killed has left."""
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)


def _put_in_place(hidden: Path, target: Path) -> None:
    if not target.exists():
        os.rename(hidden, target)
    elif not _exchanged(hidden, target):
        old = target.parent / f".{target.name}.old"
        shutil.rmtree(old, ignore_errors=True)
        os.rename(target, old)
        os.rename(hidden, target)
        shutil.rmtree(old)
    sync_folder(str(target.parent))


def _exchanged(one: Path, other: Path) -> bool:
    """Let two folders swap names in one step; False where the system cannot. Python itself has no name for it."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number))
