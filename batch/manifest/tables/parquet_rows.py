"""Parquet, read in batches through pyarrow, which is an optional library.

Every value becomes the text a person would write for it: 00199 stays 00199 because it is text in the file, and
12.50 keeps its zero if it is a decimal there.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from batch.manifest.problems import Report, show
from batch.manifest.tables.table_reader import TableReader, as_cell

MISSING: Final = "parquet tables are read with pyarrow, which is not installed; pip install 'imagebatch[parquet]'"

#: pyarrow's own errors are kinds of these.
_ERRORS: Final = (OSError, ValueError, TypeError, KeyError, NotImplementedError, RuntimeError, MemoryError)

#: Rows decoded at a time; of large ones, such as pictures, so many as these bytes hold.
_BATCH_ROWS: Final = 1000
_BATCH_BYTES: Final = 8 << 20


def is_available() -> bool:
    """Whether the optional library is there, found out without loading it."""
    return importlib.util.find_spec("pyarrow") is not None


class ParquetReader(TableReader):
    """One pass over a Parquet file. It has no lines, so rows are counted from 1."""

    has_gaps = True

    def __init__(self, stream: BinaryIO, shown: str) -> None:
        super().__init__(stream, shown)
        self._file: Any = None

    def read_header(self, report: Report) -> bool:
        """Read the names of the columns; False (and a problem) if this is not a Parquet file."""
        if not is_available():
            self._give_up(MISSING, 1, report)
            return False
        try:
            self._file = importlib.import_module("pyarrow.parquet").ParquetFile(self._stream)
            self.columns = tuple(map(str, self._file.schema_arrow.names))
        except _ERRORS as error:
            self._give_up(_unreadable(error), 1, report)
            return False
        if not self.columns or not self._file.metadata.num_rows:
            self._say_empty("has no rows", report)
            return False
        return self._names_differ(report)

    def rows(self, report: Report) -> Iterator[tuple[int, list[Any]]]:
        """Every row with its number."""
        number = 0
        batches = self._batches()
        while True:
            try:
                batch = next(batches, None)
                columns = [] if batch is None else [_cells(column) for column in batch.columns]
            except _ERRORS as error:
                self._give_up(_unreadable(error), number + 1, report)
                return
            if batch is None:
                return
            for row in zip(*columns, strict=True):
                number += 1
                yield number, list(row)

    def _batches(self) -> Iterator[Any]:
        """Row group by row group: asked for all at once, pyarrow keeps several of them."""
        rows = self._batch_rows()
        for group in range(self._file.metadata.num_row_groups):
            yield from self._file.iter_batches(batch_size=rows, row_groups=[group], use_threads=False)

    def _batch_rows(self) -> int:
        facts = self._file.metadata
        size: int = sum(facts.row_group(number).total_byte_size for number in range(facts.num_row_groups))
        rows: int = facts.num_rows
        return max(1, min(_BATCH_ROWS, _BATCH_BYTES * rows // max(1, size)))


def _cells(column: Any) -> list[Any]:
    """The column as texts. Arrow's own writing is exact: no digit is lost or invented."""
    arrow = importlib.import_module("pyarrow")
    is_binary = arrow.types.is_binary(column.type) or arrow.types.is_large_binary(column.type)
    try:
        texts = column.to_pylist() if is_binary else column.cast(arrow.string()).to_pylist()
    except arrow.ArrowException:  # objects and lists
        texts = column.to_pylist()
    return [value if value.__class__ is str else as_cell(value) for value in texts]


def _unreadable(error: Exception) -> str:
    first_line = str(error).strip().partition("\n")[0]
    return f"the table cannot be read as parquet: {show(first_line)}"
