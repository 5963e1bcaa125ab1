"""How a table is written: encoding, delimiter, odd cells."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from batch.core.errors import InputError, MissingInputError, Problem
from batch.manifest.files import FileProblem, open_regular, reason
from batch.manifest.problems import show, show_path
from batch.manifest.tables.encoding import encoding_of, foreign, wrong_encoding
from batch.manifest.tables.headed_rows import HeadedReader
from batch.manifest.tables.heads import HEAD_ROWS
from batch.manifest.tables.rows import HEADED, TEXTS, USUAL_DELIMITERS, Table, kind_of, rows_problem
from batch.manifest.tables.table_reader import READ_ERRORS, Row
from batch.starter.heads import find_header_row, seems_a_product
from batch.starter.names import usable

#: UTF-8 that was once read as cp1252 and saved so: "\u00c3\u00bc" was "\u00fc".
MISREAD: Final = re.compile("\u00c3[\u0080-\u00bf\u0152-\u017e\u2018-\u2122]|\u00e2\u20ac|\u00c2[\u00a0-\u00bf]")
DELIMITER_WORDS: Final = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "pipe"}
_SNIFFED_ROWS: Final = 50
_SNIFFED_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SniffedTable:
    """A table as far as it could be made out. Rows that cannot be read are left to the check, which names them.

    `with_gaps` are the columns that some rows lack altogether, `no_text` those that hold more than texts somewhere.
    """

    source: Table
    header: tuple[str, ...]
    with_gaps: frozenset[int] = frozenset()
    no_text: frozenset[int] = frozenset()

    def rows(self) -> Iterator[list[str]]:
        return ([cell if isinstance(cell, str) else "" for cell in row] for row in raw_rows(self.source))


def raw_rows(source: Table) -> Iterator[Row]:
    with source.read() as reader:
        if reader.read_header(_ignore):
            for _, row in reader.rows(_ignore):
                yield row


def read_table(table: Path) -> SniffedTable:
    kind = kind_of(table.name, None, delimiter_given=False)
    if kind is None:
        ending = show(table.suffix.lower() or table.name)
        raise _wrong(table, f"init reads .csv, .tsv, .jsonl, .parquet and .xlsx; got {ending}, save the table as .csv")
    wrong = rows_problem(table.name, kind, delimiter_given=False)
    if wrong is not None:
        raise _wrong(table, wrong[1])
    try:
        with open_regular(table):
            pass
    except (FileProblem, OSError) as error:
        message = reason(error) if isinstance(error, OSError) else str(error)
        raise MissingInputError([Problem(message=message, file=show_path(table))]) from error
    source = Table(file=table, shown=show_path(table), kind=kind, encoding="utf-8-sig", delimiter=None)
    if kind in TEXTS:
        _find_out_how_it_is_written(source, table)
    if kind in HEADED:
        _find_header(source, table)
    problems: list[Problem] = []
    with source.read() as reader:
        if not reader.read_header(problems.append):
            raise InputError(problems)
        header, has_gaps = reader.columns, reader.has_gaps
    if not any(usable(name) for name in header):
        raise _wrong(table, "no column has a name that can be used; give the columns plain names", 1)
    found = SniffedTable(source=source, header=header)
    if next(found.rows(), None) is None:
        with source.read() as reader:
            if reader.read_header(problems.append):
                for _ in reader.rows(problems.append):
                    pass
        raise InputError(problems)
    return _with_odd_cells(found) if has_gaps else found


def _with_odd_cells(table: SniffedTable) -> SniffedTable:
    """Formats with types of their own may lack cells, or hold objects and lists, in any row."""
    with_gaps: set[int] = set()
    no_text: set[int] = set()
    for row in raw_rows(table.source):
        with_gaps.update(index for index, cell in enumerate(row) if cell is None)
        no_text.update(index for index, cell in enumerate(row) if not (cell is None or isinstance(cell, str)))
    return replace(table, with_gaps=frozenset(with_gaps), no_text=frozenset(no_text))


def _wrong(table: Path, message: str, line: int | None = None) -> InputError:
    return InputError([Problem(message=message, file=show_path(table), line=line)])


def _find_out_how_it_is_written(source: Table, table: Path) -> None:
    """Set the encoding and the delimiter, where the file's name does not say them."""
    try:
        with source.content() as stream:
            head = stream.read(_SNIFFED_BYTES)
            if foreign(head, source.kind) is not None:
                return  # said by the reader
            if not head.strip():
                raise _wrong(table, "the file is empty; the first line names the columns, the others are the rows")
            source.encoding = encoding_of(head, "utf-8-sig")
            if wrong_encoding(head, source.encoding) is not None:
                return
            if source.encoding == "utf-8-sig" and not _decodes(stream, head, "utf-8"):
                stream.seek(0)
                if not _decodes(stream, stream.read(_SNIFFED_BYTES), "cp1252"):
                    message = "the text is neither UTF-8 nor cp1252; in the spreadsheet choose Save as, CSV UTF-8"
                    raise _wrong(table, message)
                source.encoding = "cp1252"
    except READ_ERRORS:
        return  # a damaged .gz file; the reader says so
    usual = USUAL_DELIMITERS.get(source.kind)
    text = head.decode(source.encoding, "ignore")
    if usual is not None and not re.match(r'"?sep=.', text):
        source.delimiter = _delimiter(text, usual)


def _find_header(source: Table, table: Path) -> None:
    """Set the header's row where it is not the first, and refuse a table that seems to have none."""
    with source.read() as reader:
        rows = reader.first_rows(_SNIFFED_ROWS) if isinstance(reader, HeadedReader) else []
    head = find_header_row(rows)
    if head is not None:
        source.header_row = head.header_row
        source.data_row = head.data_row if head.data_row > head.header_row + 1 else None
    elif (wrong := seems_a_product(rows)) is not None:
        advice = "write the names of the columns in a first line, such as SKU,Title,Description"
        raise _wrong(table, f"the first line seems to be a product, not a header: {wrong}; {advice}", 1)


def _decodes(stream: BinaryIO, head: bytes, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while head:
            decoder.decode(head)
            head = stream.read(_SNIFFED_BYTES)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _records(text: str, delimiter: str) -> Iterator[list[str]]:
    """Rows up to the first that cannot be read; what is wrong with it is said by the check."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        yield from (row for row in reader if any(row))
    except csv.Error:
        return


def _delimiter(text: str, usual: str) -> str:
    """The character that cuts the first rows into most cells, all alike; the usual one if none does."""
    best, cells = usual, 1
    for delimiter in (usual, *(each for each in DELIMITER_WORDS if each != usual)):
        widths = [len(row) for _, row in zip(range(_SNIFFED_ROWS), _records(text, delimiter), strict=False)]
        widths = widths[_titles(widths) :]
        # The header has no empty cells to drop, so it is the widest, and most rows are as wide.
        agreeing = sum(1 < width <= widths[0] for width in widths) if widths else 0
        if agreeing >= 0.9 * len(widths) and widths and widths[0] > cells:
            best, cells = delimiter, widths[0]
    return best


def _titles(widths: list[int]) -> int:
    """How many of the first rows are narrower than the header, as titles above it are."""
    widest = widths.index(max(widths)) if widths else 0
    return widest if widest < HEAD_ROWS else 0


def _ignore(_: Problem) -> None:
    """For a pass that only looks; the check tells what is wrong."""
