"""The files of a gallery. All but index.html are named for their content and never change, so that a build cut short
leaves the old pages whole, and a second build writes only what is new. index.html is put in place last.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from batch.core.errors import OutputError, StorageError
from batch.core.own_files import in_the_way

_DIGITS: Final = 12
#: Folders whose files the pages name one by one; what they name no longer is removed.
SWEPT: Final = ("assets", "data")


class GalleryFiles:
    """A folder of pages. Raises `OutputError` if something is in its way, `StorageError` if it cannot be written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._named: set[str] = set()
        self.written = 0
        for each in (folder, *(folder / name for name in SWEPT)):
            self._make(each)

    def add(self, folder: str, stem: str, suffix: str, content: bytes) -> str:
        """Write a file under a name that says what is in it, unless it is there; returns its path in the gallery."""
        digest = hashlib.sha256(content).hexdigest()[:_DIGITS]
        name = f"{folder}/{stem}.{digest}{suffix}"
        self._named.add(name)
        path = self.folder / name
        if not _has_size(path, len(content)):
            self.put(name, content)
        return name

    def put(self, name: str, content: bytes) -> None:
        """Write a file; a reader sees the old one or the new one."""
        path = self.folder / name
        hidden = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            hidden.write_bytes(content)
            os.replace(hidden, path)
        except OSError as error:
            with suppress(OSError):
                hidden.unlink()
            raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
        self.written += 1

    def put_if_other(self, name: str, content: bytes) -> None:
        """Write a file whose content is another one so far."""
        try:
            if (self.folder / name).read_bytes() == content:
                return
        except OSError:
            pass
        self.put(name, content)

    def sweep(self) -> None:
        """Remove what earlier builds wrote and no page names any more. Files of other names are left alone."""
        for path in self._swept():
            if f"{path.parent.name}/{path.name}" not in self._named and path.suffix in (".js", ".css", ".part"):
                with suppress(OSError):
                    path.unlink()

    def _swept(self) -> Iterable[Path]:
        for name in SWEPT:
            yield from (self.folder / name).iterdir()

    def _make(self, folder: Path) -> None:
        words = in_the_way(folder, folder=True)
        if words:
            raise OutputError(words)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make {folder}: {error.strerror or error}") from error


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False
