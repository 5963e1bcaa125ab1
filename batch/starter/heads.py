"""Which row of a table is its header, by the names that columns usually have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import Final

from batch.manifest.problems import show
from batch.manifest.tables.heads import HEAD_ROWS, Cells, Head, find_head, why_no_header
from batch.starter.names import COMMON_NAMES, ID_NAMES, PROMPT_NAMES, TEXT_NAMES, TITLE_NAMES, fold
from batch.starter.shops import COMMON_RULES, SHOPS

_KNOWN: Final = frozenset(
    map(
        fold,
        chain(
            (*ID_NAMES, *PROMPT_NAMES, *TITLE_NAMES, *TEXT_NAMES, *COMMON_NAMES),
            chain.from_iterable(rule.columns for rule in COMMON_RULES),
            chain.from_iterable(chain.from_iterable(shop.signs) for shop in SHOPS),
        ),
    )
)
_DECIMAL: Final = re.compile(r"[$\u20ac\u00a3\u00a5]?\s?\d+[.,]\d{1,2}\s?[\u20ac$\u00a3\u00a5]?")


def find_header_row(rows: Sequence[Cells]) -> Head | None:
    """The head, if it is not the first row that is not empty (and the rows below); None if it is, or none is found."""
    filled = [index for index, row in enumerate(rows) if any(map(str.strip, row))]
    if not filled:
        return None
    first, below = rows[filled[0]], [rows[index] for index in filled[1:]]
    head = find_head(rows[: HEAD_ROWS + 1])
    if why_no_header(first, below[:HEAD_ROWS]) is not None:
        return head
    known = _known(first)
    better = next((index for index in filled[1:HEAD_ROWS] if _known(rows[index]) > max(known, 1)), None)
    if known > 1 or (known and better is not None and 2 * _known(rows[better]) <= len(rows[better])):
        better = None
    if better is None and head is not None and head.header_row == filled[0] + 1 < head.data_row - 1:
        return head
    return None if better is None else Head(better + 1, better + 2)


def seems_a_product(rows: Sequence[Cells]) -> str | None:
    """Why the first row seems to be a row like those below it; None if it may name the columns."""
    filled = [row for row in rows if any(map(str.strip, row))]
    if len(filled) < 2 or _known(filled[0]):
        return None
    first, below = filled[0], filled[1:]
    for index, cell in enumerate(first):
        values = [row[index].strip() for row in below if index < len(row) and row[index].strip()]
        if cell.strip() and values and _is_alike(cell.strip(), values):
            return f"{show(cell.strip())} stands over {show(values[0])}"
    return None


def _is_alike(cell: str, values: Sequence[str]) -> bool:
    """Whether a cell is one more of these values: a price, a code of the same shape, or a word that comes again."""
    if _DECIMAL.fullmatch(cell):
        return any(map(_DECIMAL.fullmatch, values))
    if cell.isdigit():
        return len(cell) > 4 and all(value.isdigit() and len(value) == len(cell) for value in values)
    shape = _shape(cell)
    if "9" in shape and "a" in shape and all(_shape(value) == shape for value in values):
        return True
    return len(values) > 2 and cell in values


def _shape(text: str) -> str:
    return re.sub(r"\d+", "9", re.sub(r"[^\W\d_]+", "a", text))


def _known(row: Cells) -> int:
    return sum(1 for cell in row if fold(cell) in _KNOWN)
