"""The table whose rows make jobs: CSV or TSV, streamed, every cell kept as the text it is.

A row that does not fit the header is a problem with its line, never silently filled up. The same file must
stay the same while a run goes through it more than once.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from batch.errors import InputError, Problem
from batch.manifest.files import FileProblem, open_regular, reason, signature
from batch.manifest.problems import Report, show

_DELIMITERS: Final = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": "\t"}
FORMATS: Final = ".csv and .tsv"


@dataclass(slots=True, kw_only=True)
class Table:
    """A file of rows. `shown` is its path as the user would write it."""

    file: Path
    shown: str
    encoding: str
    delimiter: str
    _signature: tuple[int, ...] | None = None

    def read(self) -> TableReader:
        """Start a pass; raises InputError if the file cannot be read or is not what it was before."""
        try:
            stream = open_regular(self.file)
        except FileProblem as error:
            raise InputError(
                [Problem(message=f"the table cannot be read ({error}); check the path in rows", file=self.shown)]
            ) from error
        now = signature(stream)
        if self._signature not in (None, now):
            stream.close()
            raise InputError([Problem(message="the file changed while it was in use; start again", file=self.shown)])
        self._signature = now
        return TableReader(self, stream)


def format_problem(file: str, *, delimiter_given: bool) -> str | None:
    """Why a file's name says that it cannot be read as rows."""
    ending = Path(file).suffix.lower()
    packed = (
        ".gz",
        ".zip",
        ".zst",
        ".bz2",
        ".xz",
        ".parquet",
        ".jsonl",
        ".ndjson",
        ".json",
        ".xlsx",
        ".xls",
        ".ods",
    )
    if ending in _DELIMITERS or (delimiter_given and ending not in packed):
        return None
    return f"rows are read from {FORMATS} files; got {show(ending or Path(file).name)}, save the table as .csv"


def usual_delimiter(file: str) -> str:
    """What separates the cells, by the file's name."""
    return _DELIMITERS.get(Path(file).suffix.lower(), ",")


class TableReader:
    """One pass over a table. Use as a context manager."""

    def __init__(self, table: Table, stream: BinaryIO) -> None:
        self._table = table
        self._stream = stream
        text = io.TextIOWrapper(stream, encoding=table.encoding, newline="")
        self._reader = csv.reader(text, delimiter=table.delimiter, strict=True)
        self._text = text
        self.columns: tuple[str, ...] = ()
        self._broken = False

    def __enter__(self) -> TableReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._text.close()

    def read_header(self, report: Report) -> bool:
        """Read the column names; False (and a problem) if there are none to work with."""
        for _, header in self._records(report):
            self.columns = tuple(name.strip() for name in header)
            break
        if not any(self.columns):
            if not self._broken:
                report(self._problem("has no header line; the first line names the columns", 1))
            return False
        if len(self.columns) == 1 and (found := set(self.columns[0]) & set(";\t|,")):
            words = {"\t": "tab"}
            wanted = " or ".join(f'"{words.get(character, character)}"' for character in sorted(found))
            report(self._problem(f"the header is one cell; name the delimiter in rows, perhaps {wanted}", 1))
            return False
        doubled = sorted({name for name in self.columns if name and self.columns.count(name) > 1})
        for name in doubled:
            report(self._problem(f'the column "{show(name)}" is named twice; rename one', 1))
        return not doubled

    def rows(self, report: Report) -> Iterator[tuple[int, list[str]]]:
        """Every row with the line it starts on. Empty rows (spreadsheets leave some behind) are skipped."""
        width = len(self.columns)
        empty = True
        for line, row in self._records(report):
            empty = False
            if len(row) == width:
                yield line, row
            else:
                report(self._wrong_width(row, line))
        if empty and not self._broken:
            report(self._problem("has no rows; write at least one under the header", 1))

    def _records(self, report: Report) -> Iterator[tuple[int, list[str]]]:
        reader = self._reader
        line = reader.line_num + 1
        try:
            for row in reader:
                if row and any(row):
                    yield line, row
                line = reader.line_num + 1
        except csv.Error as error:
            self._give_up(f"the row cannot be read: {_csv_words(error)}", line, report)
        except UnicodeDecodeError:
            name = self._table.encoding.removesuffix("-sig")
            message = f"not {name}; save the table as UTF-8 or name its encoding in rows"
            self._give_up(message, self._undecodable_line() or line, report)
        except (UnicodeError, OSError) as error:
            why = reason(error) if isinstance(error, OSError) else f"it is not {self._table.encoding}"
            self._give_up(f"the table cannot be read: {why}", line, report)

    def _give_up(self, message: str, line: int, report: Report) -> None:
        """Nothing after this can be told apart from its consequences."""
        self._broken = True
        report(self._problem(message, line))

    def _wrong_width(self, row: list[str], line: int) -> Problem:
        width = len(self.columns)
        first_missing = self.columns[len(row)] if len(row) < width else None
        message = f"the row has {len(row)} cells and the header {width}; quote cells that hold the delimiter"
        return self._problem(message, line, first_missing)

    def _problem(self, message: str, line: int, column: str | None = None) -> Problem:
        field = None if column is None else show(column)
        return Problem(message=message, file=self._table.shown, line=line, field=field)

    def _undecodable_line(self) -> int | None:
        """The decoder works ahead of the rows, so the line is looked up again, in the bytes."""
        if self._table.encoding.startswith("utf-16"):
            return None
        self._stream.seek(0)
        for number, content in enumerate(self._stream, start=1):
            try:
                content.decode(self._table.encoding)
            except UnicodeDecodeError:
                return number
        return None


def _csv_words(error: csv.Error) -> str:
    words = str(error)
    if "unexpected end of data" in words:
        return "a quoted cell is never closed"
    if "expected after" in words:
        return 'something follows a closing quote; write " inside a quoted cell as ""'
    if "field larger" in words:
        return "a cell is larger than 131,072 characters, or a quote before it is never closed"
    return show(words)
