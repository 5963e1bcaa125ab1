"""CSV and TSV, streamed, every cell kept as the text it is.

A row that does not fit the header is a problem with its line, never silently filled up.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO, Final

from batch.errors import Problem
from batch.manifest.problems import Report, show
from batch.manifest.table_reader import MAX_LINE_CHARACTERS, READ_ERRORS, TableReader, unreadable

_TOO_LONG: Final = f"its line is longer than {MAX_LINE_CHARACTERS:,} characters"


class CsvReader(TableReader):
    """One pass over a table whose first line names the columns."""

    def __init__(self, stream: BinaryIO, shown: str, encoding: str, delimiter: str) -> None:
        super().__init__(stream, shown)
        self._encoding = encoding
        self._text = io.TextIOWrapper(stream, encoding=encoding, newline="")
        self._reader = csv.reader(self._lines(), delimiter=delimiter, strict=True)

    def read_header(self, report: Report) -> bool:
        """Read the column names; False (and a problem) if there are none to work with."""
        for _, header in self._records(report):
            self.columns = tuple(name.strip() for name in header)
            break
        if not any(self.columns):
            self._say_empty("has no header line; the first line names the columns", report)
            return False
        if len(self.columns) == 1 and (found := set(self.columns[0]) & set(";\t|,")):
            words = {"\t": "tab"}
            wanted = " or ".join(f'"{words.get(character, character)}"' for character in sorted(found))
            report(self._problem(f"the header is one cell; name the delimiter in rows, perhaps {wanted}", 1))
            return False
        return self._names_differ(report)

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
        if empty:
            self._say_empty("has no rows; write at least one under the header", report)

    def _lines(self) -> Iterator[str]:
        while line := self._text.readline(MAX_LINE_CHARACTERS):
            if len(line) >= MAX_LINE_CHARACTERS:
                raise csv.Error(_TOO_LONG)
            yield line

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
            self._give_up(*self._not_decodable(self._encoding, line), report)
        except UnicodeError:
            self._give_up(f"the table cannot be read: it is not {self._encoding}", line, report)
        except READ_ERRORS as error:
            self._give_up(unreadable(error), line, report)

    def _wrong_width(self, row: list[str], line: int) -> Problem:
        width = len(self.columns)
        first_missing = self.columns[len(row)] if len(row) < width else None
        message = f"the row has {len(row)} cells and the header {width}; quote cells that hold the delimiter"
        return self._problem(message, line, first_missing)


def _csv_words(error: csv.Error) -> str:
    words = str(error)
    if words == _TOO_LONG:
        return words
    if "unexpected end of data" in words:
        return "a quoted cell is never closed"
    if "expected after" in words:
        return 'something follows a closing quote; write " inside a quoted cell as ""'
    if "field larger" in words:
        return "a cell is larger than 131,072 characters, or a quote before it is never closed"
    return show(words)
