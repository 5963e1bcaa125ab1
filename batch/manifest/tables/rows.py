"""The table whose rows make jobs: which format a file has, and opening it for one pass after the other.

The same file must stay the same while a run goes through it more than once.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from batch.core.errors import InputError, Problem
from batch.manifest.files import FileProblem, open_regular, signature
from batch.manifest.problems import show
from batch.manifest.tables import parquet_rows, xlsx_rows
from batch.manifest.tables.csv_rows import CsvReader
from batch.manifest.tables.encoding import HEAD_BYTES, encoding_of, foreign, is_packed, wrong_encoding
from batch.manifest.tables.jsonl_rows import JsonlReader
from batch.manifest.tables.parquet_rows import ParquetReader
from batch.manifest.tables.standard_input import PrivateCopy
from batch.manifest.tables.table_reader import READ_ERRORS, RefusedReader, TableReader
from batch.manifest.tables.xlsx_rows import XlsxReader

if TYPE_CHECKING:
    from io import FileIO

_BY_ENDING: Final = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".txt": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
}

#: What separates the cells of a text table unless the manifest says otherwise.
USUAL_DELIMITERS: Final = {"csv": ",", "tsv": "\t"}

#: Formats that are text, which may be packed.
TEXTS: Final = ("csv", "tsv", "jsonl")
#: Formats with a row that names the columns among others.
HEADED: Final = ("csv", "tsv", "xlsx")

#: Endings that a `delimiter` does not turn into text.
_NO_TEXT: Final = (".zip", ".zst", ".bz2", ".xz", ".json", ".xlsx", ".xls", ".ods")


@dataclass(slots=True, kw_only=True)
class Table:
    """A file of rows. `shown` is its path as the user would write it."""

    file: Path
    shown: str
    kind: str
    encoding: str
    delimiter: str | None
    #: The rows of the names and of the first product, if the manifest says them (`csv_rows`).
    header_row: int | None = None
    data_row: int | None = None
    #: Of a workbook; None: the first that is not hidden.
    sheet: str | None = None
    #: Of standard input, which has no file.
    copy: PrivateCopy | None = None
    _signature: tuple[int, ...] | None = None
    _known_columns: list[str] = field(default_factory=list)

    def read(self) -> TableReader:
        """Start a pass; raises InputError if the file cannot be read or is not what it was before."""
        stream = self.content()
        if self.kind == "parquet":
            return ParquetReader(stream, self.shown)
        return self._workbook_reader(stream) if self.kind == "xlsx" else self._text_reader(stream)

    def content(self) -> BinaryIO:
        """The file's bytes, unpacked if it is packed; InputError as for `read`."""
        stream = self._opened() if self.copy is None else self.copy.open()
        return _unpacked(stream) if self.kind in TEXTS and is_packed(_head(stream)) else stream

    def problem(self, message: str, line: int) -> Problem:
        """Something that is wrong with the table."""
        return Problem(message=message, file=self.shown, line=line)

    def _opened(self) -> BinaryIO:
        try:
            stream = open_regular(self.file)
        except FileProblem as error:
            raise InputError(
                [Problem(message=f"the table cannot be read ({error}); check the path in rows", file=self.shown)]
            ) from error
        now = signature(stream)
        if self._signature not in (None, now):
            stream.close()
            raise InputError([Problem(message="the file changed while it was in use; start again", file=self.shown)])
        self._signature = now
        return stream

    def _workbook_reader(self, stream: BinaryIO) -> TableReader:
        head = _head(stream)
        if not head.startswith(b"PK"):
            known = foreign(head, "xlsx") or "this is text or something else, and its name says that it is a workbook"
            protected = " (old, or protected by a password)" if head.startswith(b"\xd0\xcf") else ""
            return RefusedReader(stream, self.shown, f"no workbook (.xlsx){protected}: {known}")
        return XlsxReader(stream, self.shown, sheet=self.sheet, header_row=self.header_row, data_row=self.data_row)

    def _text_reader(self, stream: BinaryIO) -> TableReader:
        head = _head(stream)
        encoding = encoding_of(head, self.encoding)
        refusal = foreign(head, self.kind) or wrong_encoding(head, encoding)
        if refusal is not None:
            return RefusedReader(stream, self.shown, refusal)
        if self.kind == "jsonl":
            return JsonlReader(stream, self.shown, encoding, self._known_columns)
        return CsvReader(
            stream,
            self.shown,
            encoding,
            self.delimiter,
            USUAL_DELIMITERS[self.kind],
            header_row=self.header_row,
            data_row=self.data_row,
        )


def kind_of(file: str, given: str | None, *, delimiter_given: bool) -> str | None:
    """The format of a table: as given, else by the file's name; None if neither says."""
    ending = _ending(file)
    if given is None and delimiter_given and ending not in _NO_TEXT and ending not in _BY_ENDING:
        return "csv"
    return given or _BY_ENDING.get(ending)


def rows_problem(file: str, kind: str | None, *, delimiter_given: bool) -> tuple[str, str] | None:
    """Why a table cannot be read as it is described: the field of `rows` that is wrong, and a sentence."""
    if kind is None:
        ending = _ending(file) or Path(file).name
        known = "rows are read from .csv, .tsv, .jsonl, .parquet and .xlsx files"
        return "file", f"{known}; got {show(ending)}, save the table as .csv, or say its format"
    if kind not in TEXTS and file.lower().endswith(".gz"):
        what = "parquet table" if kind == "parquet" else "workbook"
        return "file", f"a {what} is packed already; unpack the .gz file"
    if kind == "parquet" and not parquet_rows.is_available():
        return "file", parquet_rows.MISSING
    if kind == "xlsx" and not xlsx_rows.is_available():
        return "file", xlsx_rows.MISSING
    if delimiter_given and kind not in USUAL_DELIMITERS:
        return "delimiter", f"a {kind} table has no delimiter; remove it"
    return None


def _ending(file: str) -> str:
    """What a file's name says about its content, whether or not it is packed."""
    path = Path(file.lower())
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix


def _head(stream: BinaryIO) -> bytes:
    """The first bytes of what will be read from its beginning; a stream that fails will say so then."""
    try:
        head = stream.read(HEAD_BYTES)
        stream.seek(0)
    except READ_ERRORS:
        return b""
    return head


def _unpacked(stream: BinaryIO) -> BinaryIO:
    packed = gzip.GzipFile(fileobj=stream, mode="rb")
    packed.myfileobj = cast("FileIO", stream)  # closed along with it
    return cast("BinaryIO", packed)
