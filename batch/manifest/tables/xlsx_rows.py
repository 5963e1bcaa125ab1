"""Workbooks (.xlsx), streamed through openpyxl, which is an optional library.

A cell becomes the text that a person sees in it, as far as that decides anything: 00199 in a column formatted as 00000
keeps its zeros, 12.5 formatted as 0.00 is 12.50, a date is 2026-05-01. A formula has the value saved with it.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import warnings
from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, BinaryIO, Final

from batch.manifest.problems import Report, did_you_mean, show
from batch.manifest.tables.headed_rows import HeadedReader, Record

MISSING: Final = "workbooks are read with openpyxl, which is not installed; pip install 'imagebatch[xlsx]'"

_ZEROS: Final = re.compile(r"0+")
_DECIMALS: Final = re.compile(r"(?:#,##)?0\.(0+)")
#: Excel itself knows so many digits.
_DIGITS: Final = ".15g"


def is_available() -> bool:
    """Whether the optional library is there, found out without loading it."""
    return importlib.util.find_spec("openpyxl") is not None


class XlsxReader(HeadedReader):
    """One pass over one sheet: the one called `sheet`, else the first that is not hidden. Lines are Excel's rows."""

    def __init__(
        self, stream: BinaryIO, shown: str, *, sheet: str | None, header_row: int | None, data_row: int | None
    ) -> None:
        super().__init__(stream, shown, header_row=header_row, data_row=data_row)
        self._sheet = sheet
        self._book: Any = None
        self._rows: Iterator[Any] | None = None
        self._number = 0

    def __exit__(self, *exits: object) -> None:
        if self._book is not None:
            self._book.close()
        super().__exit__(*exits)

    def _raw_records(self, report: Report) -> Iterator[Record]:
        try:
            if self._rows is None:
                self._rows = self._opened(report)
            for row in self._rows:
                self._number += 1
                yield self._number, self._number, self._fit([_text(cell) for cell in row])
        except Exception as error:  # noqa: BLE001  (a damaged workbook raises anything from BadZipFile to ParseError)
            first_line = str(error).strip().partition("\n")[0] or type(error).__name__
            self._give_up(f"the workbook cannot be read: {show(first_line)}", self._number + 1, report)

    def _opened(self, report: Report) -> Iterator[Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of features that no row is made of
            self._book = importlib.import_module("openpyxl").load_workbook(self._stream, read_only=True, data_only=True)
        sheets = self._book.worksheets
        chosen = [each for each in sheets if each.title == self._sheet]
        if self._sheet is None:
            chosen = [each for each in sheets if each.sheet_state == "visible"] or sheets
        if not chosen:
            hint = did_you_mean(self._sheet or "", (each.title for each in sheets), "sheets")
            self._give_up(f'the workbook has no sheet "{show(self._sheet)}"; {hint}', 1, report)
            return iter(())
        chosen[0].reset_dimensions()  # what a file says of its size is often wrong
        rows: Iterator[Any] = chosen[0].iter_rows()
        return rows

    def _fit(self, row: list[str]) -> list[str]:
        """The row as wide as the header: empty cells at its end may be there or not."""
        width = len(self.columns)
        if width and len(row) < width:
            return row + [""] * (width - len(row))
        while row and not row[-1].strip() and len(row) > width:
            row.pop()
        return row

    def _misfit(self, row: list[str]) -> str | None:
        width = len(self.columns)
        return None if len(row) <= width else f"the row has {len(row)} cells and the header {width}; name every column"


def _text(cell: Any) -> str:
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number(value, str(cell.number_format or ""))
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(" ")
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _number(value: float, form: str) -> str:
    decimals = _DECIMALS.fullmatch(form)
    if decimals is not None:
        return f"{value:.{len(decimals[1])}f}"
    text = str(value) if isinstance(value, int) else format(Decimal(format(value, _DIGITS)), "f")
    return text.zfill(len(form)) if _ZEROS.fullmatch(form) and text.isdigit() else text
