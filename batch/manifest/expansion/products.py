"""Rows that belong together: `carry` fills what a shop writes in one of them only, `group` makes one job of all.

Both go by the value of one column, and by rows that follow each other, so that only one product is held at a time.
Whether a product's rows really follow each other is found out on the way, for 8 bytes a product.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from batch.manifest.expansion.entries import Text
from batch.manifest.tables.grouped_row import is_empty, merged
from batch.manifest.tables.table_reader import Row
from batch.manifest.tables.values import value_of

#: More rows of one product are a column that tells nothing apart.
MAX_ROWS: Final = 10_000

Numbered: TypeAlias = tuple[int, Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowGroups:
    """What the manifest says: `carry` these columns, by the column `within`; make one job of all rows by `group`."""

    carry: tuple[Text, ...] = ()
    within: Text | None = None
    group: Text | None = None

    @property
    def words(self) -> str:
        """The field that needs rows to follow each other."""
        return "carry" if self.group is None else "group"


class TooManyRows(Exception):  # carries the line to the report
    """A product of more rows than are held; `line` is the first of them."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


@dataclass(slots=True)
class Products:
    """The products of one pass, by the column at `key`. `carried` are positions of columns."""

    key: int
    carried: Sequence[int] = ()
    #: Told the digest and the first line of every product whose rows are taken, each time they begin.
    on_begin: Callable[[bytes, int], None] | None = None
    _began: int = field(default=0, init=False)

    def filled(self, rows: Iterator[Numbered]) -> Iterator[Numbered]:
        """The rows, with the empty cells of the carried columns filled: from above, else from below."""
        continues = self.key in self.carried
        for product in self._runs(rows, continues=continues):
            self._began = product[0][0]
            if continues or value_of(product[0][1][self.key]) is not None:
                yield from _carried(product, self.carried)
            else:
                yield from product

    def watched(self, rows: Iterator[Numbered]) -> Iterator[Numbered]:
        """The same rows; `on_begin` hears of every product."""
        last: tuple[bytes | None, int] = (None, -1)
        for line, row in rows:
            value = value_of(row[self.key])
            if value is not None and (value, self._began) != last and self.on_begin is not None:
                self.on_begin(hashlib.blake2b(value, digest_size=16).digest(), line)
            last = value, self._began
            yield line, row

    def grouped(self, rows: Iterator[Numbered], refuse: Callable[[int], None]) -> Iterator[Numbered]:
        """One row for each product, at the line of its first; `refuse` hears of rows without a value."""
        for product in self._runs(rows):
            line, first = product[0]
            if value_of(first[self.key]) is None:
                refuse(line)
            else:
                yield line, merged([row for _, row in product])

    def _runs(self, rows: Iterator[Numbered], *, continues: bool = False) -> Iterator[list[Numbered]]:
        """Rows that follow each other with one value; a row without one is alone, or `continues` the one before."""
        run: list[Numbered] = []
        current: bytes | None = None
        for numbered in rows:
            value = value_of(numbered[1][self.key])
            if run and (value == current if value is not None else continues):
                if len(run) == MAX_ROWS:
                    raise TooManyRows(run[0][0])
                run.append(numbered)
                continue
            if run:
                yield run
            run, current = [numbered], value
        if run:
            yield run


def _carried(product: Sequence[Numbered], columns: Sequence[int]) -> Iterator[Numbered]:
    known = {column: _first(product, column) for column in columns}
    for line, row in product:
        gaps = []
        for column in columns:
            if is_empty(row[column]):
                gaps.append(column)
            else:
                known[column] = row[column]
        if gaps:
            row = list(row)
            for column in gaps:
                row[column] = row[column] if known[column] is None else known[column]
        yield line, row


def _first(product: Sequence[Numbered], column: int) -> Any:
    return next((row[column] for _, row in product if not is_empty(row[column])), None)
