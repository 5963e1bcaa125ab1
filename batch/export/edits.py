"""What changes in a table: the cells of the picture columns, columns that are added, further rows below a product's.

Independent of the format: `copies` writes the same file with these changes, `writers` another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

from batch.core.errors import InputError, Problem
from batch.export.facts import Addresses, Cell, compiled, filled, values, with_facts
from batch.export.picks import Pick
from batch.export.settings import Column
from batch.export.writers import safe_for_excel
from batch.manifest.tables.rows import Table
from batch.manifest.tables.table_reader import TableReader
from batch.manifest.templating.templates import Template

#: More rows of one product are not held together.
_MOST_ROWS: Final = 10_000


@dataclass(slots=True, kw_only=True)
class EditedRow:
    """A row of the source: its line, its cells as read, and what changes. Positions are those of `Edits.columns`.

    `after`: cells of rows to add below it. `kept`: whether the row is written at all.
    """

    line: int
    cells: Sequence[Any]
    changes: dict[int, str] = field(default_factory=dict)
    after: list[dict[int, str]] = field(default_factory=list)
    kept: bool = True
    job: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filling:
    """A column that is filled: with the `number`-th picture (from 0), or with each in a row of its own."""

    index: int
    name: str
    template: Template
    number: int
    in_further_rows: bool
    adds_numbers: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EditRules:
    """What an export does with every table. `further_rows_by` are the names of the column that tells products apart."""

    columns: Sequence[Column]
    further_rows_by: tuple[str, ...]
    addresses: Addresses
    exported_rows_only: bool
    #: The most pictures that any row of any table has.
    most_pictures: int
    excel_safe: bool = False


class Edits:
    """The changes in one table, for one pass over its rows."""

    def __init__(self, table: Table, picks: Mapping[int, list[Pick]], rules: EditRules) -> None:
        self._picks = picks
        self._rules = rules
        problems: list[Problem] = []
        self._reader = table.read()
        self._reader.may_be_empty = True
        if not self._reader.read_header(problems.append):
            self._reader.__exit__()
            raise InputError(problems or [table.problem("has no header", 1)])
        source = self._reader.columns
        self.added: list[str] = []
        self._key = _find(source, rules.further_rows_by) if rules.further_rows_by else None
        self._most = rules.most_pictures
        self._names = with_facts(source)
        self._fillings = list(chain.from_iterable(self._fillings_of(column, source) for column in rules.columns))
        self.columns = (*source, *self.added)

    @property
    def reader(self) -> TableReader:
        """The pass over the table; its header is read."""
        return self._reader

    def close(self) -> None:
        """To be called if the rows are not gone through."""
        self._reader.__exit__()

    @property
    def filled(self) -> list[str]:
        """The names of the columns that change."""
        return [self.columns[filling.index] for filling in self._fillings]

    def rows(self) -> Iterator[EditedRow]:
        """Every row of the source that has cells, in order. To be gone through once."""
        with self._reader as reader:
            run: list[EditedRow] = []
            for line, cells in reader.rows(lambda _: None):
                row = EditedRow(line=line, cells=cells)
                if run and not (self._belongs(run[-1], row) and len(run) < _MOST_ROWS):
                    yield from self._edited(run)
                    run = []
                run.append(row)
            if run:
                yield from self._edited(run)

    def _belongs(self, one: EditedRow, other: EditedRow) -> bool:
        return self._key is not None and bool(one.cells[self._key]) and one.cells[self._key] == other.cells[self._key]

    def _edited(self, run: list[EditedRow]) -> list[EditedRow]:
        """The rows of one product, changed."""
        taken = {filling.index: self._highest(run, filling) for filling in self._fillings if filling.adds_numbers}
        further: list[dict[int, str]] = []
        for row in run:
            picks = self._picks.get(row.line)
            if picks:
                row.job = picks[0].job
                self._fill(row, picks, taken)
                if self._key is not None:
                    further += [self._further(row, picks, n, taken) for n in range(1, len(picks))]
        run[-1].after = further
        if self._rules.exported_rows_only and not any(row.changes for row in run):
            for row in run:
                row.kept = False
        return run

    def _fill(self, row: EditedRow, picks: list[Pick], taken: dict[int, int]) -> None:
        for filling in self._fillings:
            if filling.number < len(picks):
                current = _text(row.cells[filling.index]) if filling.index < len(row.cells) else ""
                row.changes[filling.index] = self._filled(filling, row, picks, filling.number, current, taken)

    def _further(self, row: EditedRow, picks: list[Pick], number: int, taken: dict[int, int]) -> dict[int, str]:
        assert self._key is not None
        cells = {self._key: _text(row.cells[self._key])}
        for filling in self._fillings:
            if filling.in_further_rows:
                cells[filling.index] = self._filled(filling, row, picks, number, "", taken)
        return cells

    def _filled(
        self, filling: _Filling, row: EditedRow, picks: list[Pick], number: int, current: str, taken: dict[int, int]
    ) -> str:
        cell = Cell(current=current, next=taken.get(filling.index, 0) + 1)
        facts = values(picks, number, self._rules.addresses, cell)
        text = filled(filling.template, [*row.cells, *facts], f"--set {filling.name}", picks[number].job)
        if filling.adds_numbers and text == str(cell.next):
            taken[filling.index] = cell.next
        return safe_for_excel(text) if self._rules.excel_safe else text

    def _highest(self, run: list[EditedRow], filling: _Filling) -> int:
        """The highest number in this column, of all rows of a product."""
        if filling.index >= len(run[0].cells):
            return 0
        texts = (_text(row.cells[filling.index]).strip() for row in run)
        return max((int(text) for text in texts if text.isascii() and text.isdigit() and len(text) < 10), default=0)

    def _fillings_of(self, column: Column, source: Sequence[str]) -> Iterator[_Filling]:
        template = compiled(column.value, self._names, f"--set {column.names[0]}")
        for number in range(self._most if column.numbered else 1):
            names = column.names if number == 0 else tuple(f"{name}_{number + 1}" for name in column.names)
            index = _find(source, names)
            if index is None:
                if not 0 < column.added_for <= self._most and not column.numbered:
                    continue
                self.added.append(self._spelled(names))
                index = len(source) + len(self.added) - 1
            yield _Filling(
                index=index,
                name=names[0],
                template=template,
                number=number,
                in_further_rows=column.in_further_rows,
                adds_numbers="next" in column.value,
            )

    def _spelled(self, names: tuple[str, ...]) -> str:
        """The spelling that goes with the table's other columns: the second one of Shopify's, if its key is."""
        keys = self._rules.further_rows_by
        if self._key is None or len(names) != len(keys):
            return names[0]
        return names[next((n for n, key in enumerate(keys) if _same(key, self._reader.columns[self._key])), 0)]


def _find(columns: Sequence[str], names: Sequence[str]) -> int | None:
    """The position of the first of these names that the table has."""
    folded = [_folded(column) for column in columns]
    for name in names:
        if name in columns:
            return columns.index(name)
        if _folded(name) in folded:
            return folded.index(_folded(name))
    return None


def _same(one: str, other: str) -> bool:
    return _folded(one) == _folded(other)


def _folded(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name).strip().casefold()


def _text(cell: Any) -> str:
    return cell if isinstance(cell, str) else ""
