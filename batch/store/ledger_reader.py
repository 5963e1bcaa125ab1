"""The one reader of the ledger's records: each line's checksum is looked at, and each record is a typed value."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from batch.core.errors import LedgerError
from batch.store.ledger import Tail, line_at, read_lines
from batch.store.records import Asked, Record, read_record_line


class LedgerReader:
    """A ledger open for reading, also while a run appends to it. A context manager."""

    def __init__(self, path: str | Path) -> None:
        self._path = os.fspath(path)
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._descriptor)

    def at(self, offset: int) -> Record:
        """The record whose line starts at an offset. Raises `LedgerError` if there is none."""
        return record_of(line_at(self._descriptor, offset, self._path), self._path)

    def asked_at(self, offset: int) -> Asked:
        """The record at an offset, which says what was asked."""
        record = self.at(offset)
        assert isinstance(record, Asked)
        return record


def read_records(path: str | Path) -> Iterator[Record]:
    """Every record, in order; kinds of later versions are passed over, and so is a torn end.

    Raises `LedgerError` for any other damage.
    """
    for found in read_lines(path):
        if not isinstance(found, Tail):
            record = _read(found[1], os.fspath(path))
            if record is not None:
                yield record


def raw_records(path: str | Path) -> Iterator[dict[str, Any]]:
    """Every whole line as it stands, for programs. Raises `LedgerError` as `read_records` does."""
    for found in read_lines(path):
        if not isinstance(found, Tail):
            yield json.loads(found[1])


def record_of(line: bytes, path: str) -> Record:
    """A whole line's record, of a kind that this version knows."""
    record = _read(line, path)
    if record is None:
        raise LedgerError(f"{path}: a line of a kind that this version does not know: {line[:80]!r}")
    return record


def _read(line: bytes, path: str) -> Record | None:
    try:
        return read_record_line(line)
    except ValueError as error:
        raise LedgerError(f"{path}: a line is no ledger line: {error}") from error
