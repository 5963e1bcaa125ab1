"""Rows as script files: `imagebatch.take("rows", 3, {...})`. A page opened from disk may load scripts, not fetch.

Rows are written in columns. A column with few different values is written as these and an index per row, which is a
third of the size, and lets a page filter by comparing numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

#: Rows per file: of the grid, and of the details.
ROWS: Final = 2_000
DETAILS: Final = 200
#: Rows that a page holds at once; more are shown in parts. A multiple of `ROWS`.
PART: Final = 100_000
#: What could end a script or begin markup, if a file were ever taken for a page.
_ESCAPES: Final = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def in_columns(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Rows as columns by name. A row without a column has an empty text there."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: _column([row.get(name, "") for row in rows]) for name in names}


def _column(values: list[Any]) -> Any:
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    if len(numbers) > len(values) // 2 and len(numbers) > 1:
        return values
    return {"of": [*numbers], "at": [numbers[value] for value in values]}


def script(kind: str, number: int, value: Any) -> bytes:
    """A script file that hands a value to the page. ASCII, without a character that means something in HTML."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return f'imagebatch.take("{kind}",{number},{text.translate(_ESCAPES)});\n'.encode("ascii")


def batched(rows: Iterable[Any], size: int) -> Iterable[list[Any]]:
    """Rows in groups of a size; the last one may be shorter."""
    group: list[Any] = []
    for row in rows:
        group.append(row)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
