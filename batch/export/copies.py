"""The source's own file once more, with the changes of an export and no other: CSV, JSON lines, Parquet, workbooks.

Of text files every byte that is not in a changed cell is copied. Parquet keeps its types, a workbook its values and
number formats.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final

from batch.core.errors import InputError, Problem
from batch.export.edits import EditedRow, Edits
from batch.export.writers import Workbook
from batch.manifest.problems import show
from batch.manifest.tables.csv_rows import CsvReader
from batch.manifest.tables.headed_rows import HeadedReader
from batch.manifest.tables.jsonl_rows import JsonlReader
from batch.manifest.tables.raw_records import CellWriter, RawRecord, codec_of, raw_records
from batch.manifest.tables.rows import Table

_DECODER: Final = json.JSONDecoder()
_ROWS_AT_ONCE: Final = 10_000


def copy_table(table: Table, edits: Edits, out: BinaryIO) -> int:
    """Write the edited table; returns how many rows changed. Raises `InputError` if a text cannot be written in it."""
    copy = _COPIES["csv" if table.kind == "tsv" else table.kind]
    counted = _Counted()
    copy(table, edits, counted.of(edits.rows()), out)
    return counted.changed


class _Counted:
    """Counts the rows that change, on their way."""

    changed = 0

    def of(self, rows: Iterator[EditedRow]) -> Iterator[EditedRow]:
        for row in rows:
            self.changed += bool(row.changes)
            yield row


def _copy_csv(table: Table, edits: Edits, rows: Iterator[EditedRow], out: BinaryIO) -> None:
    reader = edits.reader
    assert isinstance(reader, CsvReader)
    with table.content() as stream:
        mark, codec = codec_of(stream.read(3), reader.encoding)
        stream.seek(len(mark))
        writer = CellWriter(codec=codec, delimiter=reader.delimiter)
        lines = _CsvLines(writer, edits)
        out.write(mark)
        row = next(rows, None)
        for record in raw_records(stream, codec, reader.delimiter):
            if row is not None and record.line == row.line:
                out.write(lines.row(record, row))
                row = next(rows, None)
            elif record.line == reader.header_line:
                out.write(lines.header(record))
            else:
                out.write(lines.as_it_is(record))
        assert row is None, f"line {row.line} of {table.shown} was read and not found again"


class _CsvLines:
    """Each record's bytes as they are to be."""

    def __init__(self, writer: CellWriter, edits: Edits) -> None:
        self._writer = writer
        self._columns = edits.columns
        self._width = len(edits.columns) if edits.added else 0
        self._named = {len(edits.columns) - len(edits.added) + n: name for n, name in enumerate(edits.added)}
        self._ending = b""
        self._is_open = False

    def header(self, record: RawRecord) -> bytes:
        """With the names of the columns that are added."""
        self._ending = record.ending or self._writer.text("\n")
        return self._closed(record, self._writer.spliced(record, self._named, self._width))

    def as_it_is(self, record: RawRecord) -> bytes:
        """What is no row: a title, a blank line, a row that cannot be read."""
        return self._closed(record, record.raw)

    def row(self, record: RawRecord, row: EditedRow) -> bytes:
        """A row and those below it."""
        try:
            return self._row(record, row)
        except UnicodeEncodeError as error:
            missing = show(error.object[error.start : error.end])
            message = f"its encoding has no {missing}; save the table as UTF-8, or leave that text out with --set"
            raise InputError([Problem(message=message, line=row.line, job=row.job)]) from None

    def _row(self, record: RawRecord, row: EditedRow) -> bytes:
        if not row.kept:
            return b""
        width = self._width or max(row.changes, default=-1) + 1
        written = self._closed(record, self._writer.spliced(record, row.changes, width))
        for cells in row.after:
            quoted = all(cell.quoted for cell in record.cells)
            texts = [cells.get(index, "") for index in range(len(self._columns))]
            written += self._end() + self._writer.row(texts, quoted=quoted, ending=record.ending)
            self._is_open = not record.ending
        return written

    def _closed(self, record: RawRecord, data: bytes) -> bytes:
        """The bytes, after the line end that the record before has not."""
        data = self._end() + data
        self._is_open = not record.ending
        return data

    def _end(self) -> bytes:
        return self._ending if self._is_open else b""


def _copy_jsonl(table: Table, edits: Edits, rows: Iterator[EditedRow], out: BinaryIO) -> None:
    reader = edits.reader
    assert isinstance(reader, JsonlReader)
    with table.content() as stream:
        mark, codec = codec_of(stream.read(3), reader.encoding)
        stream.seek(len(mark))
        line_end = "\n".encode(codec)
        out.write(mark)
        row = next(rows, None)
        for number, raw in enumerate(_json_lines(stream, codec), start=1):
            if row is None or row.line != number:
                out.write(raw)
                continue
            if row.kept:
                line = raw if not row.changes else _with_changes(raw, row, edits, codec)
                out.write(line)
                for cells in row.after:
                    added = json.dumps({edits.columns[index]: text for index, text in cells.items()})
                    out.write((b"" if line.endswith(line_end) else line_end) + added.encode(codec))
                    line = b""
                out.write(line_end if row.after and raw.endswith(line_end) else b"")
            row = next(rows, None)


def _with_changes(raw: bytes, row: EditedRow, edits: Edits, codec: str) -> bytes:
    changes = {edits.columns[index]: text for index, text in row.changes.items()}
    return with_keys(raw.decode(codec), changes).encode(codec)


def _json_lines(stream: BinaryIO, codec: str) -> Iterator[bytes]:
    if not codec.startswith("utf-16"):
        yield from stream
        return
    for line in re.findall("[^\n]*\n|[^\n]+", stream.read().decode(codec)):
        yield line.encode(codec)


def with_keys(line: str, changes: dict[str, str]) -> str:
    """One line's object with other values of these keys, new ones at its end; the rest as it is written."""
    left = dict(changes)
    pieces: list[str] = []
    done, end = 0, line.index("{") + 1
    place = _past_space(line, end)
    while line[place] != "}":
        key, place = _DECODER.raw_decode(line, place)
        start = _past_space(line, _past_space(line, place) + 1)
        _, end = _DECODER.raw_decode(line, start)
        if key in left:
            pieces += [line[done:start], json.dumps(left.pop(key))]
            done = end
        place = _past_space(line, end)
        place = _past_space(line, place + 1) if line[place] == "," else place
    new = ", ".join(f"{json.dumps(key)}: {json.dumps(text)}" for key, text in left.items())
    comma = ", " if new and line[end - 1] != "{" else ""
    return "".join([*pieces, line[done:end], comma, new, line[end:]])


def _past_space(text: str, place: int) -> int:
    while text[place] in " \t\r\n":
        place += 1
    return place


def _copy_parquet(table: Table, edits: Edits, rows: Iterator[EditedRow], out: BinaryIO) -> None:
    arrow = importlib.import_module("pyarrow")
    parquet = importlib.import_module("pyarrow.parquet")
    with table.content() as stream:
        file = parquet.ParquetFile(stream)
        schema = _schema(arrow, file.schema_arrow, edits)
        with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, use_threads=False):
                found = [next(rows) for _ in range(batch.num_rows)]
                writer.write_table(_edited_batch(arrow, batch, schema, found))


def _schema(arrow: Any, schema: Any, edits: Edits) -> Any:
    for name in edits.filled:
        field = arrow.field(name, arrow.string())
        place = schema.get_field_index(name)
        if place < 0:
            schema = schema.append(field)
        elif not (arrow.types.is_string(schema.field(place).type) or arrow.types.is_large_string(schema.types[place])):
            words = f"the column {show(name)} holds {schema.types[place]}, no text; name another column with --set"
            raise InputError([Problem(message=words)])
    return schema


def _edited_batch(arrow: Any, batch: Any, schema: Any, rows: list[EditedRow]) -> Any:
    columns = []
    for index, field in enumerate(schema):
        old = batch.column(index).to_pylist() if index < batch.num_columns and _changes(rows, index) else None
        if old is None and index < batch.num_columns:
            columns.append(batch.column(index))
            continue
        texts = old or [None] * len(rows)
        columns.append(
            arrow.array([row.changes.get(index, text) for row, text in zip(rows, texts, strict=True)], field.type)
        )
    whole = arrow.RecordBatch.from_arrays(columns, schema=schema)
    pieces, start = [], 0
    for number, row in enumerate(rows):
        if row.after or not row.kept:
            pieces.append(whole.slice(start, number + row.kept - start))
            added = [{schema.names[index]: text for index, text in cells.items()} for cells in row.after]
            pieces.append(arrow.RecordBatch.from_pylist(added, schema=schema))
            start = number + 1
    return arrow.Table.from_batches([*pieces, whole.slice(start)], schema=schema)


def _changes(rows: list[EditedRow], index: int) -> bool:
    return any(index in row.changes for row in rows)


def _copy_workbook(table: Table, edits: Edits, rows: Iterator[EditedRow], out: BinaryIO) -> None:
    reader = edits.reader
    assert isinstance(reader, HeadedReader)
    with table.content() as stream:
        book = importlib.import_module("openpyxl").load_workbook(stream, read_only=True, data_only=True)
        sheets = book.worksheets
        visible = [each for each in sheets if each.sheet_state == "visible"] or sheets
        sheet = next((each for each in sheets if each.title == table.sheet), visible[0])
        sheet.reset_dimensions()
        new = Workbook(out, sheet.title)
        row = next(rows, None)
        width = len(edits.columns) - len(edits.added)
        for number, cells in enumerate(sheet.iter_rows(), start=1):
            typed = [(cell.value, str(getattr(cell, "number_format", "General"))) for cell in cells]
            if number == reader.header_line:
                new.write(typed[:width], dict(enumerate(edits.added, start=width)))
            elif row is not None and row.line == number:
                if row.kept:
                    new.write(typed, row.changes)
                for added in row.after:
                    new.write((), added)
                row = next(rows, None)
            else:
                new.write(typed, {})
        book.close()
        new.close()


_COPIES: Final[dict[str, Callable[[Table, Edits, Iterator[EditedRow], BinaryIO], None]]] = {
    "csv": _copy_csv,
    "jsonl": _copy_jsonl,
    "parquet": _copy_parquet,
    "xlsx": _copy_workbook,
}
