"""All rows of one product as one row: in each column the first cell that is filled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from batch.manifest.tables.table_reader import Row


class GroupedRow(list[Any]):
    """The cells of a product; `members` are the rows it was made of, in the table's order."""

    def __init__(self, cells: Iterable[Any], members: Sequence[Row]) -> None:
        super().__init__(cells)
        self.members = members


def merged(members: Sequence[Row]) -> GroupedRow:
    """One row of a product's rows."""
    return GroupedRow((first_filled(cells) for cells in zip(*members, strict=True)), members)


def members_of(row: Row) -> Sequence[Row]:
    """The rows that a row was made of: of an ordinary one, itself."""
    return row.members if isinstance(row, GroupedRow) else (row,)


def values_of(row: Row, index: int) -> list[Any]:
    """The different filled cells of a product in one column."""
    found: list[Any] = []
    for member in members_of(row):
        if not is_empty(member[index]) and member[index] not in found:
            found.append(member[index])
    return found


def is_empty(cell: Any) -> bool:
    """Whether a cell says nothing. An empty object or list of JSON says that there is none."""
    return cell is None or cell == "" or cell in ([], {}) or (isinstance(cell, str) and cell.isspace())


def first_filled(cells: Sequence[Any]) -> Any:
    """The first cell that is filled, else the first that the row has at all."""
    for cell in cells:
        if not is_empty(cell):
            return cell
    return next((cell for cell in cells if cell is not None), None)


def stripped(row: Row) -> Row:
    """The row without spaces around its cells."""
    cells = [cell.strip() if isinstance(cell, str) else cell for cell in row]
    return GroupedRow(cells, [stripped(member) for member in row.members]) if isinstance(row, GroupedRow) else cells
