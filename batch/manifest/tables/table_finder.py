"""From what `rows` says to tables: files, names with wildcards, and standard input."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from batch.manifest.files import reason
from batch.manifest.problems import Problems, show, show_path
from batch.manifest.references.wildcards import MARK, Folders, marked
from batch.manifest.schema.schema import RowsShape
from batch.manifest.schema.yaml_text import Document
from batch.manifest.tables.encoding import HEAD_BYTES, is_packed
from batch.manifest.tables.rows import HEADED, Table, kind_of, rows_problem
from batch.manifest.tables.standard_input import SHOWN, PrivateCopy
from batch.manifest.tables.table_set import TableSet

STANDARD_INPUT: Final = "-"
_ADDRESS: Final = re.compile(r"(?i)[a-z][a-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class PipedRows:
    """What `rows: '-'` reads (None: our own standard input), and what messages call it."""

    stream: BinaryIO | None = None
    shown: str = SHOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFinder:
    """Finds the tables that a manifest in `folder` names, and notes what is wrong. `piped` is what `-` reads."""

    rows: RowsShape
    folder: Path
    document: Document
    problems: Problems
    piped: PipedRows = PipedRows()

    def tables(self) -> TableSet:
        """All of them in order, each file once; one stands in for those that are wrong."""
        found: dict[str, Table] = {}
        for number, name in enumerate(self.rows.file):
            for file in self._files(name, number):
                if file not in found:
                    found[file] = self._table(file, number)
                elif file == STANDARD_INPUT:
                    self._add("standard input is named twice; keep one", "file", number)
        self._check_header_rows([table.kind for table in found.values()])
        return TableSet(tables=list(found.values()) or [self._table(self.rows.file[0], None)])

    def _files(self, name: str, number: int) -> Iterator[str]:
        """The files that a name means."""
        if _ADDRESS.match(name):
            message = "rows are read from this machine; copy the table here, or pipe it in with rows: '-'"
            self._add(message, "file", number)
            return
        pattern = marked(name)
        if MARK not in pattern:
            yield name
            return
        try:
            files = Folders(os.fspath(self.folder), lambda _: True).matching(pattern)
        except (OSError, ValueError) as error:
            why = reason(error) if isinstance(error, OSError) else "is no valid file name"
            self._add(f"{show(name)} cannot be looked up: {why}", "file", number)
            return
        if not files:
            self._add(f"{show(name)} matches no file; check the folder and the ending", "file", number)
        yield from files

    def _table(self, name: str, number: int | None) -> Table:
        copy = self._copied(number) if name == STANDARD_INPUT and number is not None else None
        kind = self._kind(name, copy)
        wrong = rows_problem(name, kind, delimiter_given=self.rows.delimiter is not None)
        if wrong is not None and number is not None and (name != STANDARD_INPUT or copy is not None):
            self._add(wrong[1], wrong[0], number)
        file = self.folder / name
        return Table(
            file=file,
            shown=self.piped.shown if name == STANDARD_INPUT else show_path(file),
            kind=kind or "csv",
            encoding=self.rows.encoding,
            delimiter=self.rows.delimiter,
            header_row=self.rows.header_row,
            data_row=self.rows.data_row,
            sheet=self.rows.sheet,
            copy=copy,
        )

    def _kind(self, name: str, copy: PrivateCopy | None) -> str | None:
        if name != STANDARD_INPUT or self.rows.format is not None:
            return kind_of(name, self.rows.format, delimiter_given=self.rows.delimiter is not None)
        return "csv" if copy is None else _sniffed(copy)

    def _copied(self, number: int) -> PrivateCopy | None:
        stream = self.piped.stream or (None if sys.stdin is None else sys.stdin.buffer)
        if stream is None or stream.isatty():
            self._add("rows: '-' reads standard input, and nothing is piped in: cat table.csv | ...", "file", number)
            return None
        try:
            return PrivateCopy(stream)
        except OSError as error:
            self._add(f"standard input cannot be copied: {reason(error)}", "file", number)
            return None

    def _check_header_rows(self, kinds: list[str]) -> None:
        for name in ("header_row", "data_row"):
            wrong = next((kind for kind in kinds if kind not in HEADED), None)
            if getattr(self.rows, name) is not None and wrong is not None:
                self._add(f"a {wrong} table has no {name}; remove it", name)
        if self.rows.data_row is not None and self.rows.data_row <= (self.rows.header_row or 1):
            self._add("data_row must be below header_row", "data_row")
        if self.rows.sheet is not None and "xlsx" not in kinds:
            self._add("only a workbook has sheets; remove sheet", "sheet")

    def _add(self, message: str, *path: str | int) -> None:
        at = self.document.at("rows", *path)
        self.problems.add_once_at(message, at.line, at.column)


def _sniffed(copy: PrivateCopy) -> str:
    """The format of a table without a name, by its first bytes."""
    with copy.open() as stream:
        head = stream.read(HEAD_BYTES)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"PK\x03\x04"):
        return "xlsx"
    first_line = head.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")[0]
    if is_packed(head) or not first_line.startswith(b"{"):
        return "tsv" if b"\t" in first_line and b"," not in first_line else "csv"
    return "jsonl"
