"""Several tables read as one, in the order in which the manifest names them.

A row's position tells its file and its line: they are one number, so that a pass may sort and compare positions.
Of a single table the position is the line.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from batch.core.errors import InputError, Problem
from batch.core.model import Place
from batch.manifest.problems import Report
from batch.manifest.tables.rows import Table
from batch.manifest.tables.table_reader import Row, TableReader

_LINE_BITS: Final = 40
#: More files than a manifest can name.
POSITION_BITS: Final = 62


@dataclass(slots=True, kw_only=True)
class TableSet:
    """The tables of a manifest, at least one."""

    tables: Sequence[Table]
    #: The positions of the rows that `unique` takes, once they are known.
    best_rows: array[int] | None = None

    def read(self) -> TableReader:
        """Start a pass; raises InputError if a file cannot be read or is not what it was before."""
        return self.tables[0].read() if len(self.tables) == 1 else _JoinedReader(self.tables)

    def place(self, position: int) -> Place:
        """Where a row stands."""
        table = self.tables[position >> _LINE_BITS]
        return Place(file=table.shown, line=position & ((1 << _LINE_BITS) - 1))


class _JoinedReader(TableReader):
    """One pass over several tables. A column that not all of them have is one that rows may lack."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self._tables = tables
        self._reading: TableReader | None = None
        self._without_rows: set[int] = set()
        self.may_be_empty = False
        self.columns = ()

    def __exit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.__exit__()

    def read_header(self, report: Report) -> bool:
        """Read the names of all tables' columns; False, and problems, if one has none to work with."""
        columns: dict[str, None] = {}
        seen: set[frozenset[str]] = set()
        problems: list[Problem] = []
        for number, table in enumerate(self._tables):
            names = self._names(table, problems.append)
            if names is None:
                self._without_rows.add(number)
            else:
                columns.update(dict.fromkeys(names))
                seen.add(frozenset(names))
        for problem in problems:
            report(problem)
        self.columns = tuple(columns)
        self.has_gaps |= len(seen) > 1
        if not columns and not problems:
            self._say_no_rows(report)
        return bool(columns) and not problems

    def _names(self, table: Table, report: Report) -> tuple[str, ...] | None:
        try:
            reader = table.read()
        except InputError as error:
            report(error.problems[0])
            return None
        with reader:
            reader.may_be_empty = True
            self.has_gaps |= reader.has_gaps
            return reader.columns if reader.read_header(report) else None

    def _say_no_rows(self, report: Report) -> None:
        if not self.may_be_empty:
            report(self._tables[0].problem("has no rows, and neither has any other table", 1))

    def rows(self, report: Report) -> Iterator[tuple[int, Row]]:
        """Every good row of every table, at its position."""
        empty = True
        for number, table in enumerate(self._tables):
            if number in self._without_rows:
                continue
            try:
                self._reading = table.read()
            except InputError as error:
                report(error.problems[0])
                return
            with self._reading as reader:
                reader.may_be_empty = True
                if not reader.read_header(report):
                    continue
                arrange = _arranged(reader.columns, self.columns)
                for line, row in reader.rows(report):
                    empty = False
                    yield number << _LINE_BITS | line, arrange(row) if arrange else row
        if empty:
            self._say_no_rows(report)


def _arranged(names: tuple[str, ...], wanted: tuple[str, ...]) -> Any:
    """What puts a row's cells in the wanted order, None for those it has not; nothing to do if they are in it."""
    if names == wanted:
        return None
    places = {name: index for index, name in enumerate(names)}
    order = [places.get(name) for name in wanted]
    return lambda row: [None if index is None else row[index] for index in order]
