"""CSV and TSV, streamed, every cell kept as the text it is.

Spreadsheets leave empty rows and cells behind, or drop empty cells at a row's end: that is put right. A row that
does not fit the header otherwise is a problem with its line.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, BinaryIO, Final, TypeAlias

from batch.core.errors import Problem
from batch.manifest.problems import Report, show
from batch.manifest.tables.heads import HEAD_ROWS, Cells, find_head, why_no_header
from batch.manifest.tables.table_reader import MAX_LINE_CHARACTERS, READ_ERRORS, TableReader, unreadable

_TOO_LONG: Final = f"its line is longer than {MAX_LINE_CHARACTERS:,} characters"

#: Excel's own first line, which names the delimiter.
_SEP_LINE: Final = re.compile('"?sep=(?P<delimiter>[^\r\n"])"?[\r\n]*')

#: Around a column's name: white space, and invisible marks.
_AROUND_NAMES: Final = re.compile("^[\\s\ufeff\u200b-\u200d\u2060]+|[\\s\ufeff\u200b-\u200d\u2060]+$")


#: A row with its number, counted from 1 with empty rows, and the line it starts on.
_Record: TypeAlias = tuple[int, int, list[str]]


class CsvReader(TableReader):
    """One pass over a table, one row of which names the columns.

    `delimiter` is what the manifest names, `usual_delimiter` what such files have if neither it nor the file's
    first line (`sep=;`) says otherwise. `header_row` and `data_row` are the rows of the names and of the first
    product, counted from 1 with empty rows, as spreadsheets do; None: the first row that is not empty, and the next.
    """

    def __init__(
        self,
        stream: BinaryIO,
        shown: str,
        encoding: str,
        delimiter: str | None,
        usual_delimiter: str = ",",
        *,
        header_row: int | None = None,
        data_row: int | None = None,
    ) -> None:
        super().__init__(stream, shown)
        self._header_row = header_row
        self._data_row = data_row
        self._encoding = encoding
        self._text = io.TextIOWrapper(stream, encoding=encoding, newline="")
        self._delimiter = delimiter
        self._usual_delimiter = usual_delimiter
        self._lines_before = 0
        self._number = 0
        self._reader: Any = None
        self._short_cells = 0
        #: Rows that were read to judge the header, and what went wrong in reading them.
        self._ahead: list[_Record] = []
        self._problems_ahead: list[Problem] = []

    def read_header(self, report: Report) -> bool:
        """Read the column names; False (and a problem) if there are none to work with."""
        number, line, header = self._header(report)
        self.columns = tuple(_AROUND_NAMES.sub("", name) for name in header)
        if not any(self.columns):
            missing = "has no header line; the first line names the columns"
            if self._header_row is not None:
                missing = f"row {number} names no columns; check header_row in rows"
            self._say_empty(missing, report)
            return False
        if len(self.columns) == 1 and (found := set(self.columns[0]) & set(";\t|,")):
            words = {"\t": "tab"}
            wanted = " or ".join(f'"{words.get(character, character)}"' for character in sorted(found))
            report(self._problem(f"the header is one cell; name the delimiter in rows, perhaps {wanted}", line))
            return False
        return self._is_header(header, number, line, report) and self._names_differ(report, line)

    def first_rows(self, count: int = HEAD_ROWS) -> list[list[str]]:
        """The file's first rows as they stand, empty ones too. For a look at a table whose header is not known."""
        return [row for _, _, row in islice(self._raw_records(_ignore), count)]

    def _header(self, report: Report) -> _Record:
        """The row that names the columns; an empty one if there is none."""
        wanted = self._header_row
        for record in self._records(report):
            if wanted is None or record[0] >= wanted:
                return record if wanted in (None, record[0]) else (wanted or 1, record[1], [])
        return (wanted or 1, 1, [])

    def _is_header(self, header: list[str], number: int, line: int, report: Report) -> bool:
        """Look at the rows below, and refuse a title, a setting or a product in the header's place."""
        if self._header_row is not None:
            return True
        self._ahead = list(islice(self._records(self._problems_ahead.append), HEAD_ROWS))
        below = [row for _, _, row in self._ahead]
        wrong = why_no_header(header, below)
        if wrong is None:
            return True
        rows: list[Cells] = [[] for _ in range(self._ahead[-1][0] if self._ahead else number)]
        for found, _, row in [(number, line, header), *self._ahead]:
            rows[found - 1] = row
        head = find_head(rows)
        advice = "the first line must name the columns, or header_row in rows says which line does"
        if head is not None and head.header_row > number:
            advice = f"line {head.header_row} looks like the header: write header_row: {head.header_row} in rows"
        message = f"this line does not name the columns ({show(wrong)}); {advice} (header_row: {number}: this one)"
        report(self._problem(message, line))
        return False

    def rows(self, report: Report) -> Iterator[tuple[int, list[str]]]:
        """Every row with the line it starts on. Empty rows are skipped, empty cells at a row's end may be missing."""
        width = len(self.columns)
        empty = True
        was_filled_up = False
        line = 1
        for number, line, row in self._records_below(report):
            if self._data_row is not None and number < self._data_row:
                continue
            empty = False
            if len(row) == width:
                was_filled_up = False
                self._short_cells = 0
                yield line, row
                continue
            wrong = self._misfit(row)
            was_filled_up = wrong is None and len(row) < width
            if wrong is None:
                yield line, row[:width] + [""] * (width - len(row))
            else:
                report(self._problem(wrong, line, self.columns[len(row)] if len(row) < width else None))
        if empty:
            self._say_empty("has no rows; write at least one under the header", report)
        if was_filled_up and not self._broken and self._ends_inside_a_line():
            message = "the table ends in the middle of this row; is the file whole? If it is, end the line"
            report(self._problem(message, line))

    def _lines(self) -> Iterator[str]:
        while line := self._text.readline(MAX_LINE_CHARACTERS):
            if len(line) >= MAX_LINE_CHARACTERS:
                raise csv.Error(_TOO_LONG)
            yield line

    def _records_below(self, report: Report) -> Iterator[_Record]:
        """The rows below the header: those that were read ahead, and the others."""
        yield from self._ahead
        for problem in self._problems_ahead:
            report(problem)
        if not self._problems_ahead:
            yield from self._records(report)

    def _records(self, report: Report) -> Iterator[_Record]:
        for record in self._raw_records(report):
            row = record[2]
            # A cell of spaces is looked at only where the first has nothing to say.
            if row and (row[0].strip() or any(map(str.strip, row))):
                yield record

    def _raw_records(self, report: Report) -> Iterator[_Record]:
        line = 1
        try:
            reader = self._reader or self._begin()
            before = self._lines_before + 1
            line = reader.line_num + before
            for row in reader:
                self._number += 1
                yield self._number, line, row
                line = reader.line_num + before
        except csv.Error as error:
            self._give_up(f"the row cannot be read: {_csv_words(error)}", line, report)
        except UnicodeDecodeError:
            self._give_up(*self._not_decodable(self._encoding, line), report)
        except UnicodeError:
            self._give_up(f"the table cannot be read: it is not {self._encoding}", line, report)
        except READ_ERRORS as error:
            self._give_up(unreadable(error), line, report)

    def _begin(self) -> Any:
        lines = self._lines()
        first = next(lines, "")
        separated = _SEP_LINE.fullmatch(first)
        if separated is not None:
            self._lines_before = 1
        named = self._delimiter or (separated and separated["delimiter"])
        # A title above the header says nothing about it.
        guessed = _only_delimiter(first, self._usual_delimiter) if self._header_row in (None, 1) else None
        delimiter = named or guessed or self._usual_delimiter
        rest = lines if separated is not None else chain([first], lines)
        self._reader = csv.reader(rest, delimiter=delimiter, strict=True)
        return self._reader

    def _misfit(self, row: list[str]) -> str | None:
        """What is wrong with a row of another width than the header's; None if only empty cells make the difference.

        A line end that stands in a cell without quotes breaks a row in two. Filled up with empty cells, both would
        make jobs of half a product; they are known by what they have together, or by the single cell.
        """
        width = len(self.columns)
        count = len(row)
        if count > width:
            self._short_cells = 0
            if not any(map(str.strip, row[width:])):
                return None
            first = "; the first line must name the columns" if width == 1 else ""
            return f"the row has {count} cells and the header {width}; quote cells that hold the delimiter{first}"
        together = self._short_cells + count - 1 if self._short_cells else count
        self._short_cells = count if together > width else together
        if count == 1:
            return f"the row has 1 cell and the header {width}; quote cells that hold a line end or the delimiter"
        if together == width:
            return "this row and the one before look like one row, broken in two; quote cells that hold a line end"
        return None

    def _ends_inside_a_line(self) -> bool:
        """Whether the file's last line has no end, as one that was cut off. Of a packed file the checksum says it."""
        try:
            self._stream.seek(-4, os.SEEK_END)
            return not {b"\n", b"\r"} & {bytes([byte]) for byte in self._stream.read()}
        except (OSError, ValueError):
            return False


def _only_delimiter(header: str, usual: str) -> str | None:
    """What separates the names of a header that has not the usual delimiter, if it can be nothing else.

    Spreadsheets of half the world save their .csv with semicolons.
    """
    found = [character for character in ";\t|" if character in header]
    return found[0] if len(found) == 1 and usual not in header else None


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


def _ignore(_: Problem) -> None:
    """For a look; the check tells what is wrong."""
