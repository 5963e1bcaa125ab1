"""The one reader of the ledger's records: each line's checksum is looked at, and each record is a typed value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from batch.core.errors import LedgerError, OutputError
from batch.store.contracts import DamagedLine, LogReader, Tail
from batch.store.places import log_of
from batch.store.records import Asked, Record, read_record_line


class LedgerReader:
    """A log's records, also while a run appends to it. A context manager."""

    def __init__(self, log: LogReader) -> None:
        self._log = log

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._log.close()

    def exists(self) -> bool:
        """Whether there is a ledger. Raises `OutputError` if something else is in its place."""
        return self._log.exists()

    def at(self, offset: int) -> Record:
        """The record whose line starts at an offset. Raises `LedgerError` if there is none."""
        return record_of(self._log.line_at(offset), self._log.name)

    def asked_at(self, offset: int) -> Asked:
        """The record at an offset, which says what was asked."""
        record = self.at(offset)
        assert isinstance(record, Asked)
        return record

    def records(self) -> Iterator[Record]:
        """Every record, in order; kinds of later versions are passed over, and so is a torn end.

        Raises `LedgerError` for any other damage.
        """
        for line in self._lines():
            record = _read(line, self._log.name)
            if record is not None:
                yield record

    def salvaged(self) -> Iterator[Record | DamagedLine]:
        """Every record that can be read, and what cannot, in order: for tools that look at a damaged ledger."""
        for number, found in enumerate(self._log.salvage(), 1):
            if isinstance(found, DamagedLine):
                yield found
                continue
            try:
                record = _read(found[1], self._log.name)
            except LedgerError:
                yield DamagedLine(found[0], len(found[1]), number)
            else:
                if record is not None:
                    yield record

    def raw_records(self) -> Iterator[dict[str, Any]]:
        """Every whole line as it stands, for programs. Raises `LedgerError` as `records` does."""
        return (json.loads(line) for line in self._lines())

    def _lines(self) -> Iterator[bytes]:
        return (found[1] for found in self._log.lines() if not isinstance(found, Tail))


def open_ledger(output: Path) -> LedgerReader:
    """The ledger of an output, to read. There need not be one: `exists` says so."""
    return LedgerReader(log_of(output))


def require_ledger(output: Path) -> None:
    """Raises `OutputError` if an output holds no ledger."""
    if not open_ledger(output).exists():
        raise OutputError(f"{output} holds no ledger: no run has begun there; name the output folder of one")


def what_is_left(output: Path) -> str:
    """Of a damaged ledger, how much can be read, in a sentence."""
    whole, damaged = 0, list[DamagedLine]()
    with open_ledger(output) as ledger:
        for found in ledger.salvaged():
            if isinstance(found, DamagedLine):
                damaged.append(found)
            else:
                whole += 1
    if not damaged:
        return f"each of its {whole:,} lines is whole by itself"
    first = damaged[0]
    where = f"the first at line {first.number:,}, byte {first.offset:,}"
    return f"{whole:,} of its lines can be read, {len(damaged):,} cannot: {where}"


def record_of(line: bytes, name: str) -> Record:
    """A whole line's record, of a kind that this version knows. `name`: the log's, for errors."""
    record = _read(line, name)
    if record is None:
        raise LedgerError(f"{name}: a line of a kind that this version does not know: {line[:80]!r}")
    return record


def _read(line: bytes, name: str) -> Record | None:
    try:
        return read_record_line(line)
    except ValueError as error:
        raise LedgerError(f"{name}: a line is no ledger line: {error}") from error
