"""New tables: rows of text as CSV, JSON lines, Parquet or a workbook, streamed."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from itertools import islice
from typing import Any, BinaryIO, Final

from batch.core.errors import InputError, OptionError, Problem

_ROWS_AT_ONCE: Final = 10_000
#: Excel's own limits.
_MOST_ROWS: Final = 1_048_576
_MOST_CHARACTERS: Final = 32_767
#: What a spreadsheet takes for a formula.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")

Rows = Iterable[Sequence[Any]]


def safe_for_excel(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: with an apostrophe before it, which changes the data."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def format_problem(table_format: str) -> str | None:
    """Why this format cannot be written here; None if it can."""
    library, extra = {"parquet": ("pyarrow", "parquet"), "xlsx": ("xlsxwriter", "xlsx")}.get(table_format, ("", ""))
    if library and importlib.util.find_spec(library) is None:
        return f"{table_format} is written with {library}, which is not installed; pip install 'imagebatch[{extra}]'"
    return None


def write_table(table_format: str, columns: Sequence[str], rows: Rows, out: BinaryIO) -> None:
    """Write rows in one of `FORMATS`. Cells are texts; JSON lines take any value, and leave out None."""
    wrong = format_problem(table_format)
    if wrong is not None:
        raise OptionError([Problem(message=wrong)])
    FORMATS[table_format](columns, rows, out)


def _write_csv(columns: Sequence[str], rows: Rows, out: BinaryIO, delimiter: str = ",") -> None:
    text = io.TextIOWrapper(out, "utf-8", newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(map(_as_texts, rows))
    text.detach()


def _write_tsv(columns: Sequence[str], rows: Rows, out: BinaryIO) -> None:
    _write_csv(columns, rows, out, "\t")


def _write_jsonl(columns: Sequence[str], rows: Rows, out: BinaryIO) -> None:
    for row in rows:
        found = {name: cell for name, cell in zip(columns, row, strict=True) if name and cell is not None}
        out.write(json.dumps(found, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")


def _write_parquet(columns: Sequence[str], rows: Rows, out: BinaryIO) -> None:
    arrow = importlib.import_module("pyarrow")
    parquet = importlib.import_module("pyarrow.parquet")
    schema = arrow.schema([(name, arrow.string()) for name in columns])
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        for batch in _batches(rows):
            cells = [arrow.array([_as_text(row[n]) for row in batch], arrow.string()) for n in range(len(columns))]
            writer.write_batch(arrow.RecordBatch.from_arrays(cells, schema=schema))


def _write_workbook(columns: Sequence[str], rows: Rows, out: BinaryIO) -> None:
    book = Workbook(out, "Sheet1")
    book.write([(name, "") for name in columns], {})
    for row in rows:
        book.write([(_as_text(cell), "") for cell in row], {})
    book.close()


class Workbook:
    """One sheet, written row by row in constant memory. No text becomes a formula, a link or a number."""

    def __init__(self, out: BinaryIO, title: str) -> None:
        wrong = format_problem("xlsx")
        if wrong is not None:
            raise OptionError([Problem(message=wrong)])
        options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
        self._book = importlib.import_module("xlsxwriter").Workbook(out, options)
        self._book.set_properties({"created": datetime(2000, 1, 1)})  # noqa: DTZ001  (the same bytes every time)
        self._sheet = self._book.add_worksheet(title)
        self._formats: dict[str, Any] = {}
        self._row = 0

    def write(self, cells: Sequence[tuple[Any, str]], changes: Mapping[int, str]) -> None:
        """The next row: values with their number formats, and texts in place of some or behind them."""
        if self._row == _MOST_ROWS:
            message = f"a sheet has {_MOST_ROWS:,} rows at most; export as CSV or Parquet"
            raise InputError([Problem(message=message)])
        for index in range(max(len(cells), max(changes, default=-1) + 1)):
            value, form = cells[index] if index < len(cells) else (None, "")
            self._write(index, changes.get(index, value), "" if index in changes else form)
        self._row += 1

    def _write(self, index: int, value: Any, form: str) -> None:
        if isinstance(value, bool):
            self._sheet.write_boolean(self._row, index, value)
        elif isinstance(value, int | float):
            self._sheet.write_number(self._row, index, value, self._format(form))
        elif isinstance(value, datetime | date | time):
            self._sheet.write_datetime(self._row, index, value, self._format(form or "yyyy-mm-dd"))
        elif value is not None:
            self._write_text(index, str(value))

    def _write_text(self, index: int, text: str) -> None:
        if len(text) > _MOST_CHARACTERS:
            message = f"a cell holds {len(text):,} characters, and a workbook's {_MOST_CHARACTERS:,} at most"
            raise InputError([Problem(message=f"{message}; export as CSV, or shorten it with --set")])
        self._sheet.write_string(self._row, index, text)

    def _format(self, form: str) -> Any:
        if not form or form == "General":
            return None
        if form not in self._formats:
            self._formats[form] = self._book.add_format({"num_format": form})
        return self._formats[form]

    def close(self) -> None:
        """Write the file."""
        self._book.close()


def _batches(rows: Rows) -> Iterator[list[Sequence[Any]]]:
    left = iter(rows)
    while batch := list(islice(left, _ROWS_AT_ONCE)):
        yield batch


def _as_texts(row: Sequence[Any]) -> list[str]:
    return [_as_text(cell) or "" for cell in row]


def _as_text(cell: Any) -> str | None:
    if cell is None or isinstance(cell, str):
        return cell
    return None if isinstance(cell, bytes) else json.dumps(cell, ensure_ascii=False)


FORMATS: Final[Mapping[str, Callable[[Sequence[str], Rows, BinaryIO], None]]] = {
    "csv": _write_csv,
    "tsv": _write_tsv,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
    "xlsx": _write_workbook,
}
#: What a file of each format is called.
ENDINGS: Final = {"csv": ".csv", "tsv": ".tsv", "jsonl": ".jsonl", "parquet": ".parquet", "xlsx": ".xlsx"}
