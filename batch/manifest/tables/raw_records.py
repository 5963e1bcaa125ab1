"""A CSV file's records as bytes, each with where its cells stand: for a copy in which all but a few cells are the same.

The text is read in `csv_rows`, which refuses what is not in order. Here every byte is kept: line ends of any kind,
byte order mark, quotes that need not be there, bytes that two ways of writing a character have.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple

_CHUNK_BYTES: Final = 1 << 20
#: Encodings in which a text has one form only, so that it need not be looked for in the bytes.
_ONE_FORM: Final = ("utf-8", "ascii", "utf-16-le", "utf-16-be")
_LINE: Final = re.compile("[^\r\n]*(?:\r\n|\r|\n|\\Z)")
#: The end of a cell in quotes, of which the first is behind us.
_CLOSED: Final = re.compile('(?:[^"]|"")*"(?!")')
_MARKS: Final = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Span(NamedTuple):
    """A cell: its bytes' place in the record, and whether it stands in quotes."""

    start: int
    end: int
    quoted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRecord:
    """The bytes of one record. `line` is that on which it starts, counted from 1; `ending` its line end's bytes."""

    line: int
    raw: bytes
    cells: Sequence[Span]
    ending: bytes

    @property
    def is_blank(self) -> bool:
        """Whether the line has no character."""
        return len(self.cells) == 1 and self.cells[0].end == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CellWriter:
    """Writes cells in a file's own way. `codec` writes no byte order mark."""

    codec: str
    delimiter: str

    def text(self, text: str) -> bytes:
        """Raises `UnicodeEncodeError` if the encoding has no such character."""
        return text.encode(self.codec)

    def cell(self, text: str, *, quoted: bool) -> bytes:
        """One cell, in quotes if its neighbours are or if it must be."""
        if quoted or any(character in text for character in (self.delimiter, '"', "\r", "\n")) or text != text.strip():
            text = '"' + text.replace('"', '""') + '"'
        return self.text(text)

    def row(self, cells: Sequence[str], *, quoted: bool, ending: bytes) -> bytes:
        """A whole record."""
        return self.text(self.delimiter).join(self.cell(cell, quoted=quoted) for cell in cells) + ending

    def spliced(self, record: RawRecord, changes: dict[int, str], width: int) -> bytes:
        """A record with other cells at these positions, and filled up to `width` cells if it must be."""
        quoted = all(cell.quoted for cell in record.cells)
        pieces, place = [], 0
        for index, cell in enumerate(record.cells):
            if index in changes:
                pieces += [record.raw[place : cell.start], self.cell(changes[index], quoted=cell.quoted)]
                place = cell.end
        body_end = len(record.raw) - len(record.ending)
        pieces.append(record.raw[place:body_end])
        for index in range(len(record.cells), width):
            pieces += [self.text(self.delimiter), self.cell(changes.get(index, ""), quoted=quoted)]
        return b"".join([*pieces, record.ending])


def codec_of(head: bytes, encoding: str) -> tuple[bytes, str]:
    """The byte order mark at a file's beginning, and the encoding of what follows it."""
    mark = next((mark for mark in _MARKS if head.startswith(mark)), b"")
    if encoding == "utf-16":
        return mark, "utf-16-be" if mark == codecs.BOM_UTF16_BE else "utf-16-le"
    return mark, "utf-8" if encoding == "utf-8-sig" else encoding


def raw_records(stream: BinaryIO, codec: str, delimiter: str) -> Iterator[RawRecord]:
    """Every record behind the byte order mark, blank lines and those above the header too.

    Raises `UnicodeDecodeError` for bytes that are not in the encoding.
    """
    waiting: _Record | None = None
    for number, (text, raw) in enumerate(_lines(stream, codec), start=1):
        record = waiting or _Record(number)
        waiting = None if record.takes(text, raw, delimiter) else record
        if waiting is None:
            yield record.done(codec)
    if waiting is not None:
        yield waiting.done(codec)


class _Record:
    """A record as its lines come."""

    def __init__(self, line: int) -> None:
        self._line = line
        self._text = ""
        self._raw = b""
        self._spans: list[Span] = []
        self._opened: int | None = None

    def takes(self, text: str, raw: bytes, delimiter: str) -> bool:
        """Take one more line; whether the record ends with it."""
        place, self._text, self._raw = len(self._text), self._text + text, self._raw + raw
        end = len(self._text.rstrip("\r\n"))
        while True:
            start = place if self._opened is None else self._opened
            if self._opened is not None or self._text.startswith('"', place, end):
                closed = _CLOSED.match(self._text, place if self._opened is not None else place + 1)
                if closed is None:
                    self._opened = start
                    return False
                stop, self._opened = closed.end(), None
                self._spans.append(Span(start, stop, quoted=True))
            else:
                stop = self._text.find(delimiter, place, end)
                stop = end if stop < 0 else stop
                self._spans.append(Span(start, stop, quoted=False))
            if stop >= end:
                return True
            place = stop + 1

    def done(self, codec: str) -> RawRecord:
        spans: Sequence[Span] = self._spans
        body = len(self._text.rstrip("\r\n"))
        if not self._text.isascii() or codec.startswith("utf-16"):
            offsets = _offsets(self._text, self._raw, codec)
            spans = [Span(offsets[start], offsets[end], quoted) for start, end, quoted in spans]
            body = offsets[body]
        return RawRecord(line=self._line, raw=self._raw, cells=spans, ending=self._raw[body:])


def _offsets(text: str, raw: bytes, codec: str) -> list[int]:
    """Where each character begins in the bytes, and where the last one ends."""
    if len(text) == len(raw):
        return list(range(len(raw) + 1))
    if codec.startswith("utf-16"):
        sizes = [4 if character > "\uffff" else 2 for character in text]
    elif codec == "utf-8":
        sizes = [len(character.encode()) for character in text]
    else:
        return _found_offsets(raw, codec)
    offsets = [0]
    for size in sizes:
        offsets.append(offsets[-1] + size)
    return offsets


def _found_offsets(raw: bytes, codec: str) -> list[int]:
    decoder = codecs.getincrementaldecoder(codec)()
    offsets = [0]
    for end in range(1, len(raw) + 1):
        offsets += [end] * len(decoder.decode(raw[end - 1 : end]))
    return offsets


def _lines(stream: BinaryIO, codec: str) -> Iterator[tuple[str, bytes]]:
    """Every line with its end, as text and as bytes. A line ends with LF, CRLF or CR."""
    held = b""
    while chunk := stream.read(_CHUNK_BYTES):
        held += chunk
        end = _last_end(held, codec)
        yield from _split(held[:end], codec)
        held = held[end:]
    yield from _split(held, codec)


def _last_end(data: bytes, codec: str) -> int:
    """The end of the last line that surely ends: after a CR at the very end, a LF may follow."""
    if not codec.startswith("utf-16"):
        return max(data.rfind(b"\n"), data.rfind(b"\r", 0, -1)) + 1
    line_end = "\n".encode(codec)
    place = data.rfind(line_end)
    while place % 2 and place > 0:
        place = data.rfind(line_end, 0, place + 1)
    return place + 2 if place >= 0 else 0


def _split(data: bytes, codec: str) -> Iterator[tuple[str, bytes]]:
    text = data.decode(codec)
    if codec in _ONE_FORM or len(text) == len(data):
        for found in _LINE.finditer(text):
            if found[0]:
                yield found[0], found[0].encode(codec) if len(text) != len(data) else data[slice(*found.span())]
        return
    for raw in re.findall(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", data):
        yield raw.decode(codec), raw
