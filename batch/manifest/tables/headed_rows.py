"""Tables whose header is a row of cells: found, judged, and passed before the products are read.

What reads the cells is a subclass: `csv_rows` reads text, `xlsx_rows` a workbook.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO, Final, TypeAlias

from batch.core.errors import Problem
from batch.manifest.problems import Report, show
from batch.manifest.tables.heads import HEAD_ROWS, Cells, find_head, why_no_header
from batch.manifest.tables.table_reader import TableReader

#: Around a column's name: white space, and invisible marks.
_AROUND_NAMES: Final = re.compile("^[\\s\ufeff\u200b-\u200d\u2060]+|[\\s\ufeff\u200b-\u200d\u2060]+$")

#: A row with its number, counted from 1 with empty rows, and the line it starts on.
Record: TypeAlias = tuple[int, int, list[str]]


class HeadedReader(TableReader):
    """One pass over a table, one row of which names the columns.

    `header_row` and `data_row` are the rows of the names and of the first product, counted from 1 with empty rows, as
    spreadsheets do; None: the first row that is not empty, and the next.
    """

    def __init__(self, stream: BinaryIO, shown: str, *, header_row: int | None, data_row: int | None) -> None:
        super().__init__(stream, shown)
        self._header_row = header_row
        self._data_row = data_row
        #: The line that the names stand on.
        self.header_line = 0
        #: Rows that were read to judge the header, and what went wrong in reading them.
        self._ahead: list[Record] = []
        self._problems_ahead: list[Problem] = []

    @abstractmethod
    def _raw_records(self, report: Report) -> Iterator[Record]:
        """The rows from where the pass stands, empty ones too; a problem ends them."""

    @abstractmethod
    def _misfit(self, row: list[str]) -> str | None:
        """What is wrong with a row of another width than the header's; None if only empty cells make the difference."""

    def _fitted(self) -> None:
        """Called for every row of the header's width."""

    def _undivided(self) -> str | None:
        """Why the header, read as it is, seems to be several cells in one."""
        return None

    def _ends_inside_a_line(self) -> bool:
        """Whether the file seems to be cut off in its last row."""
        return False

    def read_header(self, report: Report) -> bool:
        """Read the column names; False (and a problem) if there are none to work with."""
        number, line, header = self._header(report)
        self.header_line = line
        self.columns = tuple(_AROUND_NAMES.sub("", name) for name in header)
        if not any(self.columns):
            missing = "has no header line; the first line names the columns"
            if self._header_row is not None:
                missing = f"row {number} names no columns; check header_row in rows"
            self._say_empty(missing, report)
            return False
        wrong = self._undivided()
        if wrong is not None:
            report(self._problem(wrong, line))
            return False
        return self._is_header(header, number, line, report) and self._names_differ(report, line)

    def first_rows(self, count: int = HEAD_ROWS) -> list[list[str]]:
        """The file's first rows as they stand, empty ones too. For a look at a table whose header is not known."""
        return [row for _, _, row in islice(self._raw_records(_ignore), count)]

    def _header(self, report: Report) -> Record:
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
                self._fitted()
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

    def _records_below(self, report: Report) -> Iterator[Record]:
        """The rows below the header: those that were read ahead, and the others."""
        yield from self._ahead
        for problem in self._problems_ahead:
            report(problem)
        if not self._problems_ahead:
            yield from self._records(report)

    def _records(self, report: Report) -> Iterator[Record]:
        for record in self._raw_records(report):
            row = record[2]
            # A cell of spaces is looked at only where the first has nothing to say.
            if row and (row[0].strip() or any(map(str.strip, row))):
                yield record


def _ignore(_: Problem) -> None:
    """For a look; the check tells what is wrong."""
