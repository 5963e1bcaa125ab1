"""One item of an entry's `references`, ready to be looked up for row after row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from batch.core.model import Reference
from batch.manifest.references.hosts import is_address
from batch.manifest.references.references import ReferenceProblem, References
from batch.manifest.references.wildcards import MARK, unmarked
from batch.manifest.tables.grouped_row import members_of
from batch.manifest.tables.table_reader import Row


class ReferenceSource(Protocol):
    """Finds the pictures of one row and notes what is wrong with them."""

    def find(self, row: Row, problems: list[ReferenceProblem]) -> Sequence[Reference]: ...


@dataclass(frozen=True, slots=True)
class SamePictures:
    """Pictures that are the same for every row, looked at already."""

    pictures: tuple[Reference, ...]

    def find(self, _row: Row, _problems: list[ReferenceProblem]) -> Sequence[Reference]:
        return self.pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedByText:
    """Pictures that a text names. `fill` returns it with the wildcards marked; `column` is the one it is made of."""

    fill: Callable[[Row], str]
    references: References
    optional: bool
    column: str | None

    def find(self, row: Row, problems: list[ReferenceProblem]) -> Sequence[Reference]:
        try:
            return named(self.fill(row), self.references, optional=self.optional)
        except ReferenceProblem as problem:
            problems.append(problem.of(self.column))
            return ()


class _InCell(NamedTuple):
    """A picture whose bytes stand in a cell."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedByColumn:
    """Pictures that a cell names: one, several with `split` between them, or a list."""

    index: int
    column: str
    split: str | None
    references: References
    optional: bool

    def find(self, row: Row, problems: list[ReferenceProblem]) -> Sequence[Reference]:
        try:
            names = self._all_names(row)
        except ReferenceProblem as problem:
            problems.append(problem.of(self.column))
            return ()
        found: list[Reference] = []
        for name in names:
            try:
                if isinstance(name, _InCell):
                    found.append(self.references.in_cell(*name))
                else:
                    found += named(name, self.references, optional=self.optional)
            except ReferenceProblem as problem:
                problems.append(problem.of(self.column))
        return found

    def _all_names(self, row: Row) -> list[str | _InCell]:
        """The names in all rows of a product, each once and in their order."""
        found: dict[str | _InCell, None] = {}
        for member in members_of(row):
            found.update(dict.fromkeys(self._names(member[self.index])))
        if not found and not self.optional:
            raise ReferenceProblem("names no picture; fill it in, or write optional: true beside column")
        return list(found)

    def _names(self, cell: object) -> list[str | _InCell]:
        if isinstance(cell, str):
            cell = [cell] if self.split is None else cell.split(self.split)
        if cell is None:
            cell = []
        names = [self._name(item) for item in (cell if isinstance(cell, list) else [cell])]
        return [name for name in names if name]

    def _name(self, item: object) -> str | _InCell:
        """A name, or a picture whose bytes are there: alone, or as data sets write them, `{bytes, path}`."""
        if isinstance(item, str):
            return item.strip()
        if isinstance(item, bytes):
            return _InCell(self.column, item)
        if isinstance(item, dict) and {"bytes", "path"} & item.keys() <= item.keys() <= {"bytes", "path"}:
            data, path = item.get("bytes") or b"", item.get("path") or ""
            if isinstance(data, bytes) and isinstance(path, str):
                return _InCell(path or self.column, data) if data else path.strip()
        raise ReferenceProblem("holds something else than names of pictures; references need a text or a list")


def named(text: str, references: References, *, optional: bool) -> Sequence[Reference]:
    """The pictures a name means: one, or with marked wildcards any number. Raises ReferenceProblem."""
    try:
        if MARK in text and not is_address(text.strip()):
            return references.matching(text)
        return (references.get(unmarked(text)),)
    except ReferenceProblem as problem:
        if optional and problem.missing:
            return ()
        raise
