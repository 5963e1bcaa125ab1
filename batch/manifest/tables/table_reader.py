"""What all kinds of tables have in common: names of columns, rows with their lines, problems with places.

A cell is text. Only formats with types of their own (JSON lines, Parquet) may hold more: `None` for a value the
row does not have, and objects and lists, from which a template picks a text.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Final, TypeAlias

from batch.core.errors import Problem
from batch.manifest.files import reason
from batch.manifest.problems import Report, show

Row: TypeAlias = Sequence[Any]

#: A longer line is a file without line ends, which would have to be read whole.
MAX_LINE_CHARACTERS: Final = 16 * 1024 * 1024

#: More columns, and lists and objects in each other, than any table has.
MAX_COLUMNS: Final = 10_000
MAX_LEVELS: Final = 50

_CHUNK_BYTES: Final = 64 * 1024

#: What reading a file may raise, packed or not.
READ_ERRORS: Final = (OSError, EOFError, zlib.error)


class TableReader(ABC):
    """One pass over a table. Use as a context manager; read the header before the rows."""

    #: Whether cells may be missing or hold more than text.
    has_gaps = False

    def __init__(self, stream: BinaryIO, shown: str) -> None:
        self._stream = stream
        self._shown = shown
        self._broken = False
        self.may_be_empty = False
        self.columns: tuple[str, ...] = ()

    def __enter__(self) -> TableReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    @abstractmethod
    def read_header(self, report: Report) -> bool:
        """Read the column names; False (and a problem) if there are none to work with."""

    @abstractmethod
    def rows(self, report: Report) -> Iterator[tuple[int, Row]]:
        """Every good row with the line it starts on."""

    def _names_differ(self, report: Report, line: int = 1) -> bool:
        if len(self.columns) > MAX_COLUMNS:
            cells = f"{len(self.columns):,} cells"
            report(self._problem(f"the header has {cells}; it names the columns, {MAX_COLUMNS:,} at most", line))
            return False
        doubled = sorted(name for name, count in Counter(self.columns).items() if name and count > 1)
        for name in doubled:
            report(self._problem(f'the column "{show(name)}" is named twice; rename one', line))
        return not doubled

    def _say_empty(self, message: str, report: Report) -> None:
        """A table without rows: usually a failed export, sometimes just a quiet night."""
        if not self._broken and not self.may_be_empty:
            report(self._problem(message, 1))

    def _give_up(self, message: str, line: int, report: Report) -> None:
        """Nothing after this can be told apart from its consequences."""
        self._broken = True
        report(self._problem(message, line))

    def _problem(self, message: str, line: int, column: str | None = None) -> Problem:
        field = None if column is None else show(column)
        return Problem(message=message, file=self._shown, line=line, field=field)

    def _not_decodable(self, encoding: str, line: int) -> tuple[str, int]:
        """What to say of bytes that are not in the encoding, and where they stand."""
        name = encoding.removesuffix("-sig")
        found = _undecodable_line(self._stream, encoding)
        return f"not {name}; save the table as UTF-8 or name its encoding in rows", found or line


class RefusedReader(TableReader):
    """A file that is no table of the kind it is taken for. `refusal` says what it is, and what to do."""

    def __init__(self, stream: BinaryIO, shown: str, refusal: str) -> None:
        super().__init__(stream, shown)
        self._refusal = refusal

    def read_header(self, report: Report) -> bool:
        """Say it."""
        self._give_up(self._refusal, 1, report)
        return False

    def rows(self, report: Report) -> Iterator[tuple[int, Row]]:  # noqa: ARG002
        """None."""
        return iter(())


def unreadable(error: BaseException) -> str:
    """Why a file stopped being readable, as a sentence."""
    if isinstance(error, EOFError):
        return "the table cannot be read: the .gz file is cut off"
    if isinstance(error, gzip.BadGzipFile | zlib.error):
        return "the table cannot be read: the .gz file is damaged"
    return f"the table cannot be read: {reason(error) if isinstance(error, OSError) else show(str(error))}"


class NestedTooDeep(ValueError):
    """A value with more levels than any table has; walking through it could end in Python's own limit."""


def as_cell(value: Any, levels: int = MAX_LEVELS) -> Any:
    """A typed value as text; nothing is the empty text; objects and lists keep their form."""
    if isinstance(value, str | bytes):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return {str(key): as_cell(item, _below(levels)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_cell(item, _below(levels)) for item in value]
    return str(value)


def _below(levels: int) -> int:
    if not levels:
        raise NestedTooDeep("nested too deep")
    return levels - 1


def _undecodable_line(stream: BinaryIO, encoding: str) -> int | None:
    """The decoder works ahead of the rows, so the line is looked up again, in the bytes."""
    if encoding.startswith("utf-16"):
        return None
    decoder = codecs.getincrementaldecoder(encoding)()
    ends = io.IncrementalNewlineDecoder(None, translate=True)
    line = 1
    try:
        stream.seek(0)
        while chunk := stream.read(_CHUNK_BYTES):
            line += ends.decode(decoder.decode(chunk)).count("\n")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode(encoding, "ignore")
        return line + ends.decode(before, final=True).count("\n")
    except READ_ERRORS:
        return None
    return None
