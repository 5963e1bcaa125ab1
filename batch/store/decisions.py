"""decisions.jsonl: what people and machines said of an output's pictures, one line each, only ever appended to.

Each line is durable before it counts. Several processes may write at once: each holds a lock while it appends. A line
cut short by a power cut was never confirmed to anybody; the next writer begins a new one, and readers pass it over.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec
from filelock import FileLock

from batch.core.decisions import Decision, Decisions
from batch.core.errors import OutputError
from batch.core.own_files import open_to_read, open_to_write
from batch.store.durable import PUBLIC_MODE, storage_errors, write_all

NAME: Final = "decisions.jsonl"
_decoder: Final = msgspec.json.Decoder(Decision)


class DecisionFile:
    """The decisions on one output folder's pictures."""

    def __init__(self, output: Path) -> None:
        self._path = output / NAME
        self._lock = FileLock(output / ".decisions.lock")

    def append(self, decisions: Iterable[Decision]) -> None:
        """Add decisions; when this returns they are durable. Raises `StorageError` if they cannot be written."""
        data = b"".join(msgspec.json.encode(decision) + b"\n" for decision in decisions)
        with storage_errors(f"write {NAME}"), self._lock:
            descriptor = open_to_write(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, PUBLIC_MODE)
            try:
                write_all(descriptor, b"\n" + data if _is_torn(descriptor) else data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def read(self) -> Decisions:
        """What counts for each picture. Raises `OutputError` if the file cannot be opened."""
        return Decisions(self.lines())

    def lines(self) -> Iterator[Decision]:
        """Every decision, oldest first, also those that were taken back. Lines that cannot be read are passed over."""
        try:
            with open_to_read(self._path) as file:
                for line in file:
                    decision = _decision_of(line)
                    if decision is not None:
                        yield decision
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutputError(f"cannot read {self._path}: {error.strerror or error}") from error


def _is_torn(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


def _decision_of(line: bytes) -> Decision | None:
    try:
        return _decoder.decode(line)
    except msgspec.MsgspecError:
        return None
