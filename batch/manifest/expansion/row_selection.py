"""Which rows make jobs, and in which order: carry, then where, then unique, then group, then sort, then limit.

Everything but `sort` works row by row; for `unique` there is a pass before, which keeps a line for each value.
`sort` holds the rows that are left, packed; with a `limit` no more than so many of them.
"""

from __future__ import annotations

import hashlib
import heapq
import marshal
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Final, TypeAlias

from batch.core.errors import Problem
from batch.manifest.expansion.entries import Text
from batch.manifest.expansion.products import MAX_ROWS, Numbered, Products, RowGroups, TooManyRows
from batch.manifest.problems import Report, did_you_mean, show
from batch.manifest.tables.grouped_row import GroupedRow
from batch.manifest.tables.table_reader import Row
from batch.manifest.tables.table_set import POSITION_BITS, TableSet
from batch.manifest.tables.values import value_of
from batch.manifest.templating.amounts import amount
from batch.manifest.templating.templates import Columns, Condition, RowProblem, TemplateProblem

#: A row's rank holds what it has to say above its line; the first of equal rows wins.
_LAST_LINE: Final = (1 << POSITION_BITS) - 1

_NOTHING: Final = ("", None)

_Test: TypeAlias = Callable[[int, Row], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """A column to sort by, as text, as numbers, or by a list of its `words` from first to last."""

    by: Text
    descending: bool = False
    numeric: bool = False
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSelection:
    """What the manifest says about which rows to take."""

    where: Text | None = None
    unique: Text | None = None
    sort: tuple[Sort, ...] = ()
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class RowSelector:
    """Takes rows of one table by the manifest's choice. `manifest` is its name in messages.

    `prompt_columns` and `other_columns` are the positions of those the jobs use.
    """

    choice: RowSelection
    columns: Columns
    manifest: str
    tables: TableSet
    report: Report
    prompt_columns: frozenset[int] = frozenset()
    other_columns: frozenset[int] = frozenset()
    groups: RowGroups = field(default_factory=RowGroups)
    #: The first column of the jobs' ids: what tells products apart where the manifest does not say.
    id_column: int | None = None
    #: Hears of every product that begins, by its digest and line.
    on_product: Callable[[bytes, int], None] | None = None

    def pick(self, rows: Iterator[Numbered]) -> Iterator[Numbered]:
        """The rows to make jobs of. Problems of the selection itself are reported before the first row is read."""
        choice = self.choice
        tests = [test for test in (self._where(self.report), self._best_of_its_kind()) if test is not None]
        keys = [(key, column) for key in choice.sort if (column := self._column(key.by)) is not None]
        products = self._products(self.report)
        if products is not None and self.groups.carry:
            rows = products.filled(rows)
        for test in tests:
            rows = _passing(rows, test)
        if products is not None:
            rows = self._by_product(products, rows)
        if keys:
            return self._sorted(rows, keys)
        return rows if choice.limit is None else islice(rows, choice.limit)

    def _products(self, report: Report) -> Products | None:
        """Which rows belong together; None, and a problem unless it is said, if that is not known or not asked."""
        groups = self.groups
        named = groups.group or groups.within
        if named is None and not groups.carry:
            return None
        key = self.id_column if named is None else self._column(named, report)
        carried = [self._column(text, report) for text in groups.carry]
        if named is None and key is None:
            words = "carry fills within a product; name the column that is the same in all its rows: "
            words += f"carry: {{columns: [{show(groups.carry[0].text)}], within: Handle}}"
            report(self._choice_problem(groups.carry[0], words))
        if key is None or None in carried:
            return None
        found = [column for column in carried if column is not None]
        return Products(key=key, carried=found, on_begin=self.on_product)

    def _by_product(self, products: Products, rows: Iterator[Numbered]) -> Iterator[Numbered]:
        rows = products.watched(rows)
        if self.groups.group is not None:
            column = self.groups.group.text
            advice = f'fill it in, or leave such rows out with where: {self.columns.written(products.key)} != ""'
            message = f"is empty; group needs a value in every row: {advice}"
            rows = products.grouped(rows, lambda line: self._report_row(message, line, column))
        try:
            yield from rows
        except TooManyRows as error:
            column = self.columns.names[products.key]
            message = f"more than {MAX_ROWS:,} rows from here on have one value; name the column that tells products"
            self._report_row(f"{message} apart", error.line, column)

    def _where(self, report: Report) -> _Test | None:
        where = self.choice.where
        if where is None:
            return None
        try:
            condition = Condition(where.text, self.columns)
        except TemplateProblem as problem:
            report(self._choice_problem(where, f"where: {problem}"))
            return _no_row  # which rows are meant is not known, so nothing is said about any
        said: set[str] = set()

        def holds(line: int, row: Row) -> bool:
            try:
                return condition.holds(row)
            except TemplateProblem as problem:
                message = f"where: {problem}"
                if isinstance(problem, RowProblem) or message not in said:
                    said.add(message)
                    report(self._row_problem(message, line))
                return False

        return holds

    def _best_of_its_kind(self) -> _Test | None:
        """A question to ask of every row: is it the one to take of those with its value in the `unique` column?"""
        unique = self.choice.unique
        index = None if unique is None else self._column(unique)
        if unique is None or index is None:
            return None
        column = unique.text
        lines = self._best_lines(index)
        position = 0

        def is_best(line: int, row: Row) -> bool:
            nonlocal position
            if value_of(row[index]) is None:
                advice = f'fill it in, or leave such rows out with where: {self.columns.written(index)} != ""'
                self._report_row(f"is empty; unique needs a value in every row: {advice}", line, column)
                return False
            while position < len(lines) and lines[position] < line:
                position += 1
            return position < len(lines) and lines[position] == line

        return is_best

    def _best_lines(self, index: int) -> array[int]:
        """The lines of the rows to take, found in a pass of its own: of each value the row with most to say.

        An export's first row of a product is the complete one only until the file is sorted. Which row is taken must
        not depend on that, or the same products would be bought anew.
        """
        if self.tables.best_rows is not None:
            return self.tables.best_rows
        best: dict[bytes, int] = {}
        holds = self._where(_ignore)
        with self.tables.read() as reader:
            rows: Iterator[Numbered] = reader.rows(_ignore) if reader.read_header(_ignore) else iter(())
            products = self._products(_ignore)
            if products is not None and self.groups.carry:
                products.on_begin = None
                rows = products.filled(rows)
            for line, row in rows if holds is None else _passing(rows, holds):
                value = value_of(row[index])
                if value is not None:
                    key = hashlib.blake2b(value, digest_size=16).digest()
                    best[key] = max(best.get(key, 0), self._words_in(row) << POSITION_BITS | _LAST_LINE - line)
        self.tables.best_rows = array("q", sorted(_LAST_LINE - (rank & _LAST_LINE) for rank in best.values()))
        return self.tables.best_rows

    def _words_in(self, row: Row) -> int:
        """How much a row has of what the jobs use; the prompt counts most."""
        in_prompt = sum(1 for column in self.prompt_columns if row[column] not in _NOTHING)
        return in_prompt << 16 | sum(1 for column in self.other_columns if row[column] not in _NOTHING)

    def _sorted(self, rows: Iterator[Numbered], keys: Sequence[tuple[Sort, int]]) -> Iterator[Numbered]:
        """The rows by their columns' values, the first column first; equal rows keep their order."""

        def keyed() -> Iterator[tuple[tuple[Any, ...], int, int, bytes]]:
            for number, (line, row) in enumerate(rows):
                values = [self._sort_value(line, row, sort, column) for sort, column in keys]
                if None not in values:
                    yield tuple(chain.from_iterable(filter(None, values))), number, line, _packed(row)

        limit = self.choice.limit
        for _, _, line, packed in sorted(keyed()) if limit is None else heapq.nsmallest(limit, keyed()):
            yield line, _unpacked(packed)

    def _sort_value(self, line: int, row: Row, sort: Sort, column: int) -> tuple[bool, Any] | None:
        """What a row is sorted by: whether it is empty, which comes last, and the value; None (and a problem) if none.

        The smaller value comes first, so what is to come from large to small is turned round.
        """
        cell = "" if row[column] is None else row[column]
        if not isinstance(cell, str):
            self._report_row("is no text; sort needs one", line, sort.by.text)
            return None
        text = cell.strip().casefold()
        if not text:
            return True, 0
        if sort.words:
            value: Any = sort.words.index(text) if text in sort.words else None
            wanted = f"is none of the words in order, {', '.join(map(show, sort.words))}"
        elif sort.numeric:
            value = amount(cell)
            wanted = "is no number such as 12.5"
        else:
            return False, _Backwards(text) if sort.descending else text
        if value is None:
            self._report_row(f"{wanted}; got {show(cell)}", line, sort.by.text)
            return None
        return False, -value if sort.descending else value

    def _column(self, text: Text, report: Report | None = None) -> int | None:
        names = self.columns.names
        if text.text and text.text in names:
            return names.index(text.text)
        hint = did_you_mean(text.text, filter(None, names), "columns")
        (report or self.report)(self._choice_problem(text, f'no column "{show(text.text)}"; {hint}'))
        return None

    def _choice_problem(self, text: Text, message: str) -> Problem:
        return Problem(message=message, file=self.manifest, line=text.at.line, column=text.at.column)

    def _report_row(self, message: str, line: int, column: str | None = None) -> None:
        self.report(self._row_problem(message, line, column))

    def _row_problem(self, message: str, line: int, column: str | None = None) -> Problem:
        field = None if column is None else show(column)
        place = self.tables.place(line)
        return Problem(message=message, file=place.file, line=place.line, field=field)


def _packed(row: Row) -> bytes:
    members = [list(member) for member in row.members] if isinstance(row, GroupedRow) else None
    return marshal.dumps((list(row), members))


def _unpacked(packed: bytes) -> Row:
    cells, members = marshal.loads(packed)  # noqa: S302  # packed a moment ago, never stored
    return cells if members is None else GroupedRow(cells, members)


@dataclass(frozen=True, slots=True)
class _Backwards:
    """A text that comes before those it would come after."""

    text: str

    def __lt__(self, other: _Backwards) -> bool:
        return other.text < self.text


def _ignore(_: Problem) -> None:
    """For the pass before; problems are reported by the pass that takes the rows."""


def _passing(rows: Iterator[Numbered], test: _Test) -> Iterator[Numbered]:
    return (numbered for numbered in rows if test(*numbered))


def _no_row(_line: int, _row: Row) -> bool:
    return False
