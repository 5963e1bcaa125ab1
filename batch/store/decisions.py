"""decisions.jsonl: what people and machines said of an output's pictures, one line each, only ever appended to.

Each line is durable before it counts. Several processes may write at once: each holds a lock while it appends. A line
that a crash cut short was never confirmed; the next writer moves it into decisions.torn and goes on. Any other line
that cannot be read may have been a person's word: it stays, and readers name it. Every field: docs/review.md.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from filelock import FileLock

from batch.core.decisions import Decision, Decisions, Side, Verdict
from batch.core.errors import OutputError
from batch.core.own_files import in_the_way, open_to_read, open_to_write, sync_folder
from batch.store.durable import PUBLIC_MODE, storage_errors, write_all

NAME: Final = "decisions.jsonl"
TORN: Final = "decisions.torn"
LOCK: Final = ".decisions.lock"
_LOCK_SECONDS: Final = 60.0
_decoder: Final = msgspec.json.Decoder(Decision)


class DecisionFile:
    """The decisions on one output folder's pictures."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._path = output / NAME
        self._lock = FileLock(output / LOCK, timeout=_LOCK_SECONDS, fallback_to_soft=False)
        self._is_folder_synced = False

    def append(self, decisions: Iterable[Decision]) -> None:
        """Add decisions, all or none; when this returns they are durable.

        Raises `StorageError` if they cannot be written, or if another program holds the file's lock for a minute.
        """
        data = b"".join(map(_line_of, decisions))
        if not data:
            return
        with storage_errors(f"write {NAME}"):
            if words := in_the_way(self._output / LOCK):
                raise OSError(words)
            with self._lock:
                self._append(data)

    def read(self) -> Decisions:
        """What counts for each picture. Raises `OutputError` if the file cannot be opened."""
        unreadable: list[int] = []
        return Decisions(self.lines(unreadable.append), unreadable)

    def lines(self, on_unreadable: Callable[[int], object] = lambda _: None) -> Iterator[Decision]:
        """Every decision, oldest first, also those that were taken back.

        Numbers of lines that cannot be read go to `on_unreadable`, but for a last one without its end: that was never
        confirmed. What a later version may have written is passed over. Raises `OutputError` if it cannot be opened.
        """
        try:
            with open_to_read(self._path) as file:
                for number, line in enumerate(file, 1):
                    found = _decision_of(line)
                    if isinstance(found, Decision):
                        yield found
                    elif found is _Unreadable and line.endswith(b"\n"):
                        on_unreadable(number)
        except OSError as error:
            if not os.path.lexists(self._path):  # nor is its folder one: that is said elsewhere
                return
            raise OutputError(f"cannot read {self._path}: {error.strerror or error}") from error

    def _append(self, data: bytes) -> None:
        descriptor = open_to_write(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, PUBLIC_MODE)
        try:
            size = self._mended(descriptor)
            try:
                write_all(descriptor, data)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)  # half of it must not count later
                raise
        finally:
            os.close(descriptor)
        if not self._is_folder_synced:  # another process may have made the file and died
            sync_folder(str(self._output))
            self._is_folder_synced = True

    def _mended(self, descriptor: int) -> int:
        """The file's size, after the last line got its end, or went away because a crash cut it short."""
        size = os.fstat(descriptor).st_size
        start, line = _last_line(descriptor, size)
        if not line:
            return size
        if isinstance(_decision_of(line), Decision):
            write_all(descriptor, b"\n")
            return size + 1
        self._keep_torn(line)
        os.ftruncate(descriptor, start)
        return start

    def _keep_torn(self, line: bytes) -> None:
        torn = open_to_write(self._output / TORN, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PUBLIC_MODE)
        try:
            write_all(torn, line + b"\n")
            os.fsync(torn)
        finally:
            os.close(torn)


class FollowedDecisions:
    """What counts for each picture, kept up with a file that others append to. `decisions` is as of `catch_up`, and
    so is `unreadable`, the numbers of lines that hold none that could be read."""

    def __init__(self, output: Path) -> None:
        self._path = output / NAME
        self._forget()

    def catch_up(self) -> list[Decision]:
        """Read what was added, and return it. Raises `OutputError` if the file cannot be read."""
        try:
            found = os.stat(self._path, follow_symlinks=False)
            if (found.st_ino, found.st_size) == (self._file, self._end):
                return []
            if found.st_ino != self._file or found.st_size < self._end:
                self._forget()
            return self._read(found.st_ino)
        except OSError as error:
            if not os.path.lexists(self._path):  # nor is its folder one: that is said elsewhere
                self._forget()
                return []
            raise OutputError(f"cannot read {self._path}: {error.strerror or error}") from error

    def _forget(self) -> None:
        self.decisions = Decisions()
        self.unreadable: list[int] = []
        self._file = self._end = self._lines = 0

    def _read(self, file: int) -> list[Decision]:
        with open_to_read(self._path) as stream:
            stream.seek(self._end)
            data = stream.read()
        whole = data[: data.rfind(b"\n") + 1]
        added = []
        for line in whole.split(b"\n")[:-1]:
            self._lines += 1
            found = _decision_of(line)
            if isinstance(found, Decision):
                self.decisions.add(found)
                added.append(found)
            elif found is not None:
                self.unreadable.append(self._lines)
        self._file, self._end = file, self._end + len(whole)
        return added


def _last_line(descriptor: int, size: int) -> tuple[int, bytes]:
    """Where a last line without its end begins, and its bytes; empty if every line has its end."""
    start, line = size, b""
    while start and b"\n" not in line:
        step = min(start, 4096)
        start -= step
        line = os.pread(descriptor, step, start) + line
    cut = line.rfind(b"\n") + 1
    return start + cut, line[cut:]


class _Unreadable:
    """Stands for a line that holds no decision and none of a later version."""


def _line_of(decision: Decision) -> bytes:
    try:
        return msgspec.json.encode(decision) + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair, as a note typed on a broken terminal may hold
        return json.dumps(msgspec.to_builtins(decision)).encode("ascii") + b"\n"


def _decision_of(line: bytes) -> Decision | type[_Unreadable] | None:
    """None: empty, or something that a later version says."""
    try:
        return _decoder.decode(line)
    except (ValueError, RecursionError):
        return _odd_decision(line)


def _odd_decision(line: bytes) -> Decision | type[_Unreadable] | None:
    if not line.strip():
        return None
    try:
        fields = json.loads(line)
        if _is_of_later_version(fields):
            return None
        return msgspec.convert(fields, Decision)
    except (ValueError, RecursionError):
        return _Unreadable


def _is_of_later_version(fields: Any) -> bool:
    """Whether a line has our form, and a word that this version does not know."""
    if not isinstance(fields, dict):
        return False
    known = (("verdict", {*Verdict}), ("side", {*Side}))
    return any(isinstance(word := fields.get(name), str) and word not in words for name, words in known)
