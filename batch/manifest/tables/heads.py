"""Which line of a table names its columns.

Marketplaces and reports write lines above it: a title, a date, a version, names for people above names for programs.
Taken for the header, such a line would make products of the lines below. So a first line that cannot be a header is
a problem, and the line that looks like one is named.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

Cells: TypeAlias = Sequence[str]

#: So many rows are looked at.
HEAD_ROWS: Final = 12

#: `Version=2021.0101`: what a program tells another one.
_SETTING: Final = re.compile(r"[A-Za-z]\w*=\S.*", re.DOTALL)
_ADDRESS_OR_PICTURE: Final = re.compile(r"(?i)(?:https?://\S+|\S.*\.(?:jpe?g|png|webp|gif|avif))")
_NUMBER: Final = re.compile(r"[$€£¥]?\s?-?[\d.,]+\s?[%€$£¥]?")
#: A name as programs write it. A line of these below a line of other names is the one that programs read.
_PROGRAM_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:[_-][a-z0-9]+)*(?:\[.*)?(?:#.*)?|::\w+")
#: The file itself says it: `settings=labelRow=4&attributeRow=5&dataRow=7` in its first line.
_SAID: Final = re.compile(r"(?:^|[=&])(attributeRow|dataRow)=(\d{1,3})(?=&|$)")
_DUTIES: Final = frozenset({"required", "optional", "conditionallyrequired", "preferred", "desired", "recommended"})


@dataclass(frozen=True, slots=True)
class Head:
    """The rows, counted from 1 as spreadsheets do, that hold the names and the first product."""

    header_row: int
    data_row: int


def why_no_header(first: Cells, below: Sequence[Cells]) -> str | None:
    """Why the first row cannot name the columns of the rows below it; None if it can."""
    names = _filled(first)
    for name in names:
        if _SETTING.fullmatch(name):
            return f"it says {name[:40]}"
    if names and not all(map(_ADDRESS_OR_PICTURE.fullmatch, names)):
        for name in names:
            if _ADDRESS_OR_PICTURE.fullmatch(name):
                return f"{name[:60]} stands in it"
    wider = [row for row in below if len(_filled(row)) > 2 * len(names)]
    if names and len(wider) >= 2 and 2 * len(wider) >= len(below):
        cells = max(len(_filled(row)) for row in wider)
        return f"it names {len(names)} of {cells} columns"
    return None


def find_head(rows: Sequence[Cells]) -> Head | None:
    """The head of a table whose first row is no header, out of its first rows; None if no row looks like one."""
    said = dict(_SAID.findall("\n".join(rows[0]).replace("\n", "&"))) if rows else {}
    if "attributeRow" in said:
        header = int(said["attributeRow"])
        return Head(header, max(int(said.get("dataRow", 0)), header + 1))
    widest = max((len(_filled(row)) for row in rows), default=0)
    for index, row in enumerate(rows):
        below = rows[index + 1 :]
        if not _could_name(row, widest) or why_no_header(row, [each for each in below if _filled(each)]):
            continue
        if below and _could_name(below[0], widest) and all(map(_PROGRAM_NAME.fullmatch, _filled(below[0]))):
            index += not all(map(_PROGRAM_NAME.fullmatch, _filled(row)))
        return Head(index + 1, _data_row(rows, index))
    return None


def _data_row(rows: Sequence[Cells], header: int) -> int:
    """The first row of a product: a row that says which columns are required is none."""
    row = header + 1
    while row < len(rows) and (words := _filled(rows[row])):
        if not {re.sub(r"[\W_]", "", word).casefold() for word in words} <= _DUTIES:
            break
        row += 1
    return row + 1


def _could_name(row: Cells, widest: int) -> bool:
    """Whether these may be names of columns: most columns have one, no two are alike, none is a number or address."""
    names = _filled(row)
    return (
        2 * len(names) >= max(widest, 2)
        and len(set(names)) == len(names)
        and not any(pattern.fullmatch(name) for name in names for pattern in (_ADDRESS_OR_PICTURE, _NUMBER, _SETTING))
    )


def _filled(row: Cells) -> list[str]:
    return [cell.strip() for cell in row if cell and cell.strip()]
