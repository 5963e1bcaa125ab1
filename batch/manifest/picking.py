"""Which rows make jobs, and in which order: where, then unique, then sort, then limit.

Everything but `sort` works row by row. `sort` holds the rows that are left, packed; with a `limit` no more than so
many of them.
"""

from __future__ import annotations

import hashlib
import heapq
import marshal
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

from batch.errors import Problem
from batch.manifest.entries import Text
from batch.manifest.problems import Report, did_you_mean, show
from batch.manifest.table_reader import Row
from batch.manifest.templates import Columns, Condition, RowProblem, TemplateProblem

Numbered: TypeAlias = tuple[int, Row]
_Test: TypeAlias = Callable[[int, Row], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """The column to sort by. Numbers are compared as numbers only if that is asked for."""

    by: Text
    descending: bool = False
    numeric: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the manifest says about which rows to take."""

    where: Text | None = None
    unique: Text | None = None
    sort: Sort | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Picker:
    """Takes rows of one table by the manifest's choice. `manifest` and `table` are their names in messages."""

    choice: Choice
    columns: Columns
    manifest: str
    table: str
    report: Report

    def pick(self, rows: Iterator[Numbered]) -> Iterator[Numbered]:
        """The rows to make jobs of. What is wrong with the choice itself is told before the first row is read."""
        choice = self.choice
        tests = [test for test in (self._where(), self._first_of_its_kind()) if test is not None]
        sort_column = None if choice.sort is None else self._column(choice.sort.by)
        for test in tests:
            rows = _passing(rows, test)
        if choice.sort is not None and sort_column is not None:
            return self._sorted(rows, choice.sort, sort_column)
        return rows if choice.limit is None else islice(rows, choice.limit)

    def _where(self) -> _Test | None:
        where = self.choice.where
        if where is None:
            return None
        try:
            condition = Condition(where.text, self.columns)
        except TemplateProblem as problem:
            self._report_choice(where, f"where: {problem}")
            return _no_row  # which rows are meant is not known, so nothing is said about any
        said: set[str] = set()

        def holds(line: int, row: Row) -> bool:
            try:
                return condition.holds(row)
            except TemplateProblem as problem:
                message = f"where: {problem}"
                if isinstance(problem, RowProblem) or message not in said:
                    said.add(message)
                    self._report_row(message, line)
                return False

        return holds

    def _first_of_its_kind(self) -> _Test | None:
        """A question to ask of every row: is it the first with its value in the `unique` column?"""
        unique = self.choice.unique
        index = None if unique is None else self._column(unique)
        if unique is None or index is None:
            return None
        column = unique.text
        seen: set[bytes] = set()

        def is_first(line: int, row: Row) -> bool:
            cell = row[index]
            if not isinstance(cell, str) or not cell.strip():
                self._report_row("is empty; unique needs a value in every row", line, column)
                return False
            key = hashlib.blake2b(cell.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            before = len(seen)
            seen.add(key)
            return len(seen) > before

        return is_first

    def _sorted(self, rows: Iterator[Numbered], sort: Sort, column: int) -> Iterator[Numbered]:
        """The rows by the column's value; equal ones keep their order, empty ones come last."""
        sign = -1 if sort.descending else 1

        def keyed() -> Iterator[tuple[bool, Any, int, int, bytes]]:
            for number, (line, row) in enumerate(rows):
                value = self._sort_value(line, row, sort, column)
                if value is not None:
                    is_last = (value == "") != sort.descending
                    yield is_last, value, sign * number, line, marshal.dumps(list(row))

        limit = self.choice.limit
        if limit is None:
            ordered = sorted(keyed(), reverse=sort.descending)
        else:
            ordered = (heapq.nlargest if sort.descending else heapq.nsmallest)(limit, keyed())
        for _, _, _, line, packed in ordered:
            yield line, marshal.loads(packed)  # noqa: S302  # packed a moment ago, never stored

    def _sort_value(self, line: int, row: Row, sort: Sort, column: int) -> str | float | None:
        """What a row is sorted by; None (and a problem) if that cannot be said."""
        cell = "" if row[column] is None else row[column]
        if not isinstance(cell, str):
            self._report_row("is no text; sort needs one", line, sort.by.text)
            return None
        if not cell.strip():
            return ""
        if not sort.numeric:
            return cell.casefold()
        try:
            number = float(cell)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
        self._report_row(f"is no number such as 12.5; got {show(cell)}", line, sort.by.text)
        return None

    def _column(self, text: Text) -> int | None:
        names = self.columns.names
        if text.text and text.text in names:
            return names.index(text.text)
        hint = did_you_mean(text.text, filter(None, names), "columns")
        self._report_choice(text, f'no column "{show(text.text)}"; {hint}')
        return None

    def _report_choice(self, text: Text, message: str) -> None:
        self.report(Problem(message=message, file=self.manifest, line=text.at.line, column=text.at.column))

    def _report_row(self, message: str, line: int, column: str | None = None) -> None:
        field = None if column is None else show(column)
        self.report(Problem(message=message, file=self.table, line=line, field=field))


def _passing(rows: Iterator[Numbered], test: _Test) -> Iterator[Numbered]:
    return (numbered for numbered in rows if test(*numbered))


def _no_row(_line: int, _row: Row) -> bool:
    return False
