"""An output and an account in memory: the second implementation of the store's and the money's contracts.

What several handles share is in one object, as a folder would be. Nothing outlives the process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

from batch.core.errors import LedgerError, LockedError, StorageError
from batch.core.model import Image
from batch.money.book import BookHeld, BookWriter, Share, Shares
from batch.store.contracts import DamagedLine, FencedError, Tail
from batch.store.job_state import FileState
from batch.store.ledger import is_whole


class MemoryLog:
    """A `Log` and its `LogReader`. `failing` is raised by the next `append`, `torn` follows its last line."""

    name = "memory"

    def __init__(self) -> None:
        self.there = False
        self.torn = b""
        self.kept: dict[str, bytes] = {}
        self.failing: StorageError | None = None
        self._data = b""

    @property
    def size_bytes(self) -> int:
        return len(self._data)

    def exists(self) -> bool:
        return self.there

    def lines(self, start: int = 0) -> Iterator[tuple[int, bytes] | Tail]:
        offset = start
        for line in self._data[start:].splitlines(keepends=True):
            if not is_whole(line):
                raise LedgerError(f"memory: damaged at byte {offset}")
            yield offset, line
            offset += len(line)
        yield Tail(offset, self.torn)

    def salvage(self) -> Iterator[tuple[int, bytes] | DamagedLine]:
        offset = 0
        for number, line in enumerate(self._data.splitlines(keepends=True), 1):
            yield (offset, line) if is_whole(line) else DamagedLine(offset, len(line), number)
            offset += len(line)

    def line_at(self, offset: int) -> bytes:
        line = self._data[offset:].partition(b"\n")[0] + b"\n"
        if not is_whole(line):
            raise LedgerError(f"memory: no line at byte {offset}")
        return line

    def mend(self, tail: Tail, keep_as: str) -> None:
        if tail.torn:
            self.kept[keep_as], self.torn = tail.torn, b""

    def append(self, lines: Sequence[bytes]) -> list[int]:
        if self.failing is not None:
            raise self.failing
        offsets = []
        for line in lines:
            offsets.append(len(self._data))
            self._data += line
        self.there = True
        return offsets

    def fence(self) -> None:
        """Another owner has it."""
        self.failing = FencedError("another run has taken the output")

    def close(self) -> None:
        """Nothing is open."""


class MemoryShelf:
    """A `Shelf`. `folder`: where `local` puts a picture's bytes."""

    name = "memory"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.pictures: dict[str, bytes] = {}
        self.synced: set[str] = set()

    def put(self, file: str, picture: Image) -> Image:
        try:
            return self._named(Path(file).read_bytes(), picture)
        except OSError as error:
            raise StorageError(f"cannot store a picture: {error}") from error

    def adopt(self, file: str, picture: Image) -> Image | None:
        with suppress(FileNotFoundError):
            return self._named(Path(file).read_bytes(), picture)
        return None

    def sync(self) -> None:
        self.synced = set(self.pictures)

    def local(self, path: str) -> str:
        file = self._folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if path in self.pictures:
            file.write_bytes(self.pictures[path])
        else:
            file.unlink(missing_ok=True)
        return str(file)

    def look(self, picture: Image, *, content: bool) -> FileState:
        state = self.state(picture.path, picture.size_bytes)
        if state is not FileState.WHOLE or not content:
            return state
        digest = hashlib.sha256(self.pictures[picture.path]).hexdigest()
        return FileState.WHOLE if digest == picture.sha256 else FileState.ALTERED

    def state(self, path: str, size_bytes: int) -> FileState:
        if path not in self.pictures:
            return FileState.MISSING
        return FileState.WHOLE if len(self.pictures[path]) == size_bytes else FileState.ALTERED

    def taken(self, path: str) -> bool:
        return path in self.pictures

    def _named(self, data: bytes, picture: Image) -> Image:
        stem, _, extension = picture.path.rpartition(".")
        for number in count(1):
            path = picture.path if number == 1 else f"{stem}~x{number}.{extension}"
            if self.pictures.setdefault(path, data) == data:
                return replace(picture, path=path)
        raise AssertionError("count ends")


class MemoryOwnership:
    """An `Ownership`; `owners` is what several of one output share."""

    def __init__(self, owners: list[MemoryOwnership]) -> None:
        self._owners = owners
        self.run = ""

    def acquire(self) -> bool:
        if self._owners == [self]:
            return False
        if self._owners:
            raise LockedError(f"another run has it ({self._owners[0].run})")
        self._owners.append(self)
        return True

    def write_owner(self, run_id: str) -> None:
        self.run = run_id

    def release(self) -> None:
        if self._owners == [self]:
            self._owners.clear()


class MemoryBook:
    """A `Book`; `shares` is what several handles of one account share, and `holders` who has it locked."""

    name = "memory"

    def __init__(self, shares: dict[tuple[str, str], Share], holders: list[object]) -> None:
        self._shares = shares
        self._holders = holders

    def look(self) -> Shares:
        seen = Shares()
        for share in self._shares.values():
            seen.put(share)
        return seen

    @contextmanager
    def locked(self) -> Iterator[tuple[Shares, BookWriter]]:
        if self._holders:
            raise BookHeld("the book is locked")
        self._holders.append(self)
        try:
            yield self.look(), self
        finally:
            self._holders.clear()

    def put(self, share: Share) -> None:
        self._shares[share.run, share.day] = share
