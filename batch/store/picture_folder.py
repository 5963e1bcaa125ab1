"""The folder `images/` of an output: the shelf that pictures lie on.

A picture gets its name by a hard link to the finished, synced file, so a name never stands for half a picture. Names
may have folders, which are durable before the first picture lies in them.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Final

from batch.core.model import Image
from batch.core.own_files import in_the_way, sync_folder
from batch.store.durable import PUBLIC_MODE, copy_durably, give_name, storage_errors, sync_file
from batch.store.job_state import FileState

NAME: Final = "images"
_MOST_NAMES: Final = 1000
_FOLDER_MODE: Final = 0o755


@dataclass(frozen=True, slots=True)
class PictureFolder:
    """A `Shelf` of files, in the output folder `name`. It need not be there to be looked at."""

    name: str
    _folders: _Folders = field(default_factory=lambda: _Folders(), init=False, repr=False, compare=False)

    def put(self, file: str, picture: Image) -> Image:
        with storage_errors("store a picture"):
            return self._named(_made_durable(file), picture)

    def adopt(self, file: str, picture: Image) -> Image | None:
        """The same file under a second name, not a copy, where the file system can."""
        with storage_errors("take over a picture"):
            try:
                return self._named(file, picture)
            except FileNotFoundError:
                return None

    def sync(self) -> None:
        with storage_errors("make the pictures durable"):
            self._folders.sync()

    def local(self, path: str) -> str:
        return f"{self.name}/{path}"

    def look(self, picture: Image, *, content: bool) -> FileState:
        file = self.local(picture.path)
        with storage_errors("take over a picture"):
            try:
                whole = os.path.getsize(file) == picture.size_bytes and (not content or _is_same(file, picture))
            except FileNotFoundError:
                return FileState.MISSING
        return FileState.WHOLE if whole else FileState.ALTERED

    def state(self, path: str, size_bytes: int) -> FileState:
        try:
            return FileState.WHOLE if os.lstat(f"{self.name}/{path}").st_size == size_bytes else FileState.ALTERED
        except OSError:
            return FileState.MISSING

    def taken(self, path: str) -> bool:
        return os.path.lexists(self.local(path))

    def _named(self, file: str, picture: Image) -> Image:
        names = picture.path.split("/")[:-1]
        self._folders.make(self.name, names)
        for path in _names(picture.path):
            target = self.local(path)
            if give_name(file, target) or _is_same(target, picture):
                self._folders.note_name_in(self.local("/".join(names)))
                return replace(picture, path=path)
        raise OSError(None, f"no free name for {picture.path}")


class _Folders:
    """`images/` and the folders below it, as pictures are put into them. Used in several threads."""

    def __init__(self) -> None:
        self._durable: set[str] = set()
        self._unsynced: set[str] = set()
        self._lock = Lock()
        self._syncing = Lock()

    def make(self, output: str, names: list[str]) -> None:
        """Make a folder below the first of the names, unless it is there.

        Also of a folder that is there the name is synced once: who made it may have been killed before doing so.
        """
        with self._lock:
            folder = f"{output}/{names[0]}"
            for name in names[1:]:
                above, folder = folder, f"{folder}/{name}"
                if folder not in self._durable:
                    self._make(folder)
                    sync_folder(above)
                    self._durable.add(folder)

    def note_name_in(self, folder: str) -> None:
        """To be called when the name is given: a sync on the way before that would not count for it."""
        with self._lock:
            self._unsynced.add(folder)

    @staticmethod
    def _make(folder: str) -> None:
        try:
            os.mkdir(folder, _FOLDER_MODE)
        except FileExistsError:
            words = in_the_way(folder, folder=True)  # a link would lead out of the output
            if words is not None:
                raise FileExistsError(errno.EEXIST, words) from None

    def sync(self) -> None:
        """Make the names durable that were given so far, also those that another thread is syncing."""
        with self._syncing:
            with self._lock:
                folders, self._unsynced = self._unsynced, set()
            for folder in sorted(folders):
                sync_folder(folder)


def _names(path: str) -> Iterator[str]:
    """The path, then those to use if it is taken: `~` cannot occur in an id, so they are no other job's."""
    yield path
    stem, _, extension = path.rpartition(".")
    for number in range(2, _MOST_NAMES):
        yield f"{stem}~x{number}.{extension}"


def _made_durable(file: str) -> str:
    """Sync the file; if that fails, write its bytes once more to a new one.

    Syncing the same file again would report success for bytes that the kernel has given up.
    """
    try:
        sync_file(file, mode=PUBLIC_MODE)
        return file
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    again = file + ".again"
    copy_durably(file, again)
    return again


def _is_same(path: str, picture: Image) -> bool:
    """Whether a file already holds exactly this picture: an earlier run came this far and died."""
    if os.path.islink(path) or os.path.getsize(path) != picture.size_bytes:
        return False
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == picture.sha256
