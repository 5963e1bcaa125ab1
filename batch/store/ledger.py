"""ledger.jsonl: the append-only log that is the only truth about what was sent, bought and stored.

One JSON object per line, ASCII, ending with a CRC-32 of the bytes before it, so that a torn or damaged line is
known for what it is. Every field is described in docs/ledger.md. A crash can leave at most one torn tail, which
is saved aside and cut off; damage anywhere else is never repaired silently. A last line that lost only its newline is
whole: what it says was bought must not be bought again.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from batch.core.errors import LedgerError, OutputError, StorageError
from batch.core.own_files import in_the_way, open_to_read, open_to_write, sync_folder
from batch.store.contracts import DamagedLine, LogReader, Tail
from batch.store.durable import create_anew, forget, replace_file, storage_errors, write_all

NAME: Final = "ledger.jsonl"
#: The version of most lines, and the newest this program reads. A line that an older reader must not pass over
#: (a picture given to a job without a request, a person's decision) names the version that knows it.
VERSION: Final = 1
TAKEOVER_VERSION: Final = 2
RESOLVE_VERSION: Final = 3
REREAD_VERSION: Final = 4
ACCEPT_VERSION: Final = 4
NEWEST: Final = 4
#: Where the first lines are written before there is a ledger with them.
BEGUN_NAME: Final = ".ledger.part"
#: A group of lines that share a sync takes no further line once it is this long.
GROUP_BYTES: Final = 512 << 10
#: No line is longer, so a torn tail is at most a group and this.
LONGEST_LINE_BYTES: Final = 4 << 20
_READ_BYTES: Final = 1 << 20
#: Most lines are shorter than this.
_LOOK_BYTES: Final = 4096
_END: Final = b',"c":"%08x"}\n'
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_END_BYTES: Final = len(_END % 0)


class Line(msgspec.Struct, gc=False, kw_only=True):
    """The fields of a line that the state of a job is derived from; the others are skipped when reading.

    In the order in which lines have them, which is quickest.
    """

    v: int = 1
    n: int
    t: str
    job: str = ""
    spec: str = ""
    att: int = 0
    why: str = ""
    code: str = ""
    paid: str = "no"
    again: bool = True
    settled: bool = True
    usd: float = 0.0
    decided: str = ""
    maybe_usd: float = 0.0
    saved_usd: float = 0.0
    counted_usd: float = 0.0
    stopped: bool = True
    images: list[StoredFile] | None = None
    warnings: list[str] | None = None
    endpoint: str = ""
    of: str = ""
    given_by: GivenBy | None = msgspec.field(default=None, name="from")
    published: Published | None = None


class StoredFile(msgspec.Struct, gc=False):
    path: str
    bytes: int
    sha256: str = ""


class GivenBy(msgspec.Struct, gc=False):
    """Which job had a picture that was taken over, and in which folder if it was another one.

    `run` bought it. `bought`: it is known not to be the simulator's; older versions did not look.
    """

    job: str
    run: str = ""
    output: str = ""
    bought: bool = False


class Published(msgspec.Struct, gc=False, omit_defaults=True):
    """What manifest.jsonl was made from, so that an unchanged batch need not write it again.

    `rows` names the columns of rows in it, empty if it has none.
    """

    order: str
    through: int
    bytes: int
    rows: str = ""


def encode_line(record: dict[str, Any]) -> bytes:
    """One line: the record as ASCII JSON with its CRC. NaN and infinity are refused, since they are not JSON."""
    text = json.dumps(record, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    body = text[:-1].encode("ascii")
    return body + _END % zlib.crc32(body)


def is_whole(line: bytes) -> bool:
    """Whether a line, with its newline, is all there: its CRC says so."""
    body = line[:-_END_BYTES]
    return bool(body) and line.endswith(_END % zlib.crc32(body))


def without_rest(line: bytes) -> bytes:
    """The whole line, without its newline, in a last line that lost that or has zeros there; or nothing."""
    text = line.rstrip(b"\0")
    return text if is_whole(text + b"\n") else b""


_decoder = msgspec.json.Decoder(Line)


def _read_lines(path: str, start: int = 0) -> Iterator[tuple[int, bytes] | Tail]:
    offset = good_bytes = start
    tail = _TornTail(path)
    tail.lines = 1 if start else 0
    with open_to_read(path, buffering=_READ_BYTES) as file:
        file.seek(start)
        for line in file:  # only \n ends a line
            whole = line if is_whole(line) else without_rest(line)
            if whole:
                tail.refuse_if_any()
                yield offset, whole
                good_bytes = offset + len(whole)
                tail.lines += 1
            if len(whole) < len(line):
                tail.take(line[len(whole) :], good_bytes)
            offset += len(line)
    yield Tail(good_bytes, tail.ended())


def read_ledger(log: LogReader, start: int = 0) -> Iterator[tuple[int, Line] | Tail]:
    """Every line from `start` on with its offset, then a `Tail`. Raises `LedgerError` for damage but a torn tail."""
    decode = _decoder.decode
    for found in log.lines(start):
        if isinstance(found, Tail):
            yield found
            return
        offset, line = found
        try:
            decoded = decode(line)
        except msgspec.MsgspecError:
            decoded = _decoded_otherwise(log.name, offset, line)
        if decoded.v > NEWEST:
            newer = f"format {decoded.v}, this one reads {NEWEST}"
            raise LedgerError(f"{log.name}: written by a newer version ({newer})")
        yield offset, decoded


class _TornTail:
    """The bytes after the last whole line, as long as a crash can have left them.

    That is what was written of one group that was not synced: lines without their end or with holes of zeros. A line
    that has its beginning and its end was written whole, and something else has changed it since.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._first_bad = b""
        self._good_bytes = 0
        self._torn = bytearray()
        #: Whole lines before it.
        self.lines = 0

    def take(self, line: bytes, good_bytes: int) -> None:
        """One more line that is not whole; `good_bytes` is where the last whole one ends."""
        if not self._torn:
            self._first_bad, self._good_bytes = line, good_bytes
        if not self.lines:
            raise self._damaged("not one line of it is valid so far, so this is no torn end")
        if len(self._torn) > GROUP_BYTES or len(line) > LONGEST_LINE_BYTES:
            raise self._damaged("more than a crash can tear")
        if _is_complete(line) or _what_changed(line):
            raise self._damaged("a complete line with the wrong checksum, which no crash leaves")
        self._torn += line

    def refuse_if_any(self) -> None:
        """A whole line follows."""
        if self._torn:
            raise self._damaged("with whole lines after it")

    def ended(self) -> bytes:
        return bytes(self._torn)

    def _damaged(self, why: str) -> LedgerError:
        return LedgerError(
            f"{self._path}: damaged at byte {self._good_bytes} (line {self.lines + 1}): {why}. "
            f"{_what_changed(self._first_bad)}Nothing was changed and nothing sent. Restore the file from a copy, or "
            "correct the damaged lines by hand after looking at them"
        )


def _is_complete(line: bytes) -> bool:
    text = line.removeprefix(_BYTE_ORDER_MARK).strip()
    return text.startswith(b"{") and text.endswith(b"}") and line.endswith(b"\n") and b"\0" not in line


def _what_changed(line: bytes) -> str:
    """What an editor or a transfer did to a line, if undoing it makes the line valid."""
    if is_whole(line.split(b"\r")[0] + b"\n"):
        return (
            "Its line ends were converted, by an editor, git or a transfer in text mode; "
            "they must be \\n again (dos2unix does it). "
        )
    if is_whole(line.removeprefix(_BYTE_ORDER_MARK)):
        return "A byte-order mark was put before it, by an editor; remove that. "
    if is_whole(line.strip() + b"\n"):
        return "White space was put around its lines, by an editor; remove that. "
    return ""


def decode_line(line: bytes) -> Line:
    """The fields of a whole line. Raises `ValueError` if it is none of ours."""
    try:
        return _decoder.decode(line)
    except msgspec.MsgspecError:
        # The fast decoder refuses text with half a surrogate pair, which a caption may well hold.
        return msgspec.convert(json.loads(line), Line)


def _decoded_otherwise(path: str, offset: int, line: bytes) -> Line:
    try:
        return decode_line(line)
    except ValueError as error:
        raise LedgerError(f"{path}: the line at byte {offset} is not a ledger line: {error}") from error


class LedgerView:
    """The ledger as a `LogReader`. The file is opened when something is read."""

    def __init__(self, path: str | Path) -> None:
        self.name = os.fspath(path)
        self._descriptor = -1

    @property
    def size_bytes(self) -> int:
        try:
            return os.stat(self.name).st_size
        except OSError:
            return 0

    def exists(self) -> bool:
        if os.path.isfile(self.name):
            return True
        if os.path.lexists(self.name):
            raise OutputError(in_the_way(self.name) or f"{self.name} is no file")
        return False

    def lines(self, start: int = 0) -> Iterator[tuple[int, bytes] | Tail]:
        return _read_lines(self.name, start)

    def salvage(self) -> Iterator[tuple[int, bytes] | DamagedLine]:
        offset = 0
        with open_to_read(self.name, buffering=_READ_BYTES) as file:
            for number, line in enumerate(file, 1):
                whole = line if is_whole(line) else without_rest(line)
                if whole:
                    yield offset, whole
                if len(whole) < len(line):
                    yield DamagedLine(offset + len(whole), len(line) - len(whole), number)
                offset += len(line)

    def line_at(self, offset: int) -> bytes:
        if self._descriptor < 0:
            self._descriptor = os.open(self.name, os.O_RDONLY | os.O_CLOEXEC)
        return _line_at(self._descriptor, offset, self.name)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class LedgerFile:
    """The ledger open for appending, as a `Log`."""

    def __init__(self, path: str) -> None:
        self.name = path
        with storage_errors("open the ledger"):
            self._descriptor = open_to_write(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            try:
                self._size = os.fstat(self._descriptor).st_size
                if not self._size:
                    os.fsync(self._descriptor)
                    sync_folder(os.path.dirname(path))  # or a power cut could take the whole file
            except OSError:
                os.close(self._descriptor)
                raise
        self._broken: str | None = None

    @property
    def size_bytes(self) -> int:
        return self._size

    def mend(self, tail: Tail, keep_as: str) -> None:
        """A torn end is saved beside it, in the file `keep_as`; a lost newline is put back."""
        if tail.torn:
            self._cut(tail, keep_as)
        with storage_errors("end the ledger's last line"):
            if self._size and os.pread(self._descriptor, 1, self._size - 1) != b"\n":
                write_all(self._descriptor, b"\n")
                os.fsync(self._descriptor)
                self._size += 1

    def _cut(self, tail: Tail, keep_as: str) -> None:
        with storage_errors("set the ledger's torn end aside"):
            beside = os.path.join(os.path.dirname(self.name), keep_as)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                write_all(descriptor, tail.torn)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            sync_folder(os.path.dirname(self.name))  # the copy must not be lost together with the original
            os.ftruncate(self._descriptor, tail.good_bytes)
            os.fsync(self._descriptor)
        self._size = tail.good_bytes

    def append(self, lines: Sequence[bytes]) -> list[int]:
        """After an error the file is cut back to its last good byte and nothing more is accepted: a failed sync
        must not be tried again, for it would report success for bytes that are lost.
        """
        if self._broken is not None:
            raise StorageError(self._broken)
        offsets, end = [], self._size
        for line in lines:
            offsets.append(end)
            end += len(line)
        try:
            if self._size:
                write_all(self._descriptor, b"".join(lines))
                os.fdatasync(self._descriptor)
            else:
                self._begin(b"".join(lines))
        except OSError as error:
            self._broken = f"cannot write the ledger: {error.strerror or error}"
            self._cut_back()
            raise StorageError(self._broken) from error
        self._size = end
        return offsets

    def line_at(self, offset: int) -> bytes:
        return _line_at(self._descriptor, offset, self.name)

    def close(self) -> None:
        with storage_errors("close the ledger"):
            os.close(self._descriptor)

    def _begin(self, data: bytes) -> None:
        """The first lines appear at once: a ledger with content and without a valid line is never a crash's work."""
        hidden = os.path.join(os.path.dirname(self.name), BEGUN_NAME)
        descriptor = create_anew(hidden)
        try:
            write_all(descriptor, data)
            os.fdatasync(descriptor)
            replace_file(self.name, hidden)
            begun = open_to_write(self.name, os.O_RDWR | os.O_APPEND)
        except OSError:
            forget(hidden)
            raise
        finally:
            _close_synced(descriptor)
        empty, self._descriptor = self._descriptor, begun
        _close_synced(empty)

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            return  # the next start finds a torn tail and cuts it


def _close_synced(descriptor: int) -> None:
    """Of a file that is on the disk, or empty: closing it can lose nothing, and frees the descriptor in any case."""
    with suppress(OSError):
        os.close(descriptor)


def _line_at(descriptor: int, offset: int, path: str) -> bytes:
    """The whole line of an open ledger that starts at an offset. Raises `LedgerError` if there is none."""
    size, read = _LOOK_BYTES, b""
    while b"\n" not in read:
        read = os.pread(descriptor, size, offset)
        if len(read) < size:
            break
        size *= 4
    line = read.partition(b"\n")[0].rstrip(b"\0") + b"\n"  # zeros: a crash may have left them in a newline's place
    if not is_whole(line):
        raise LedgerError(f"{path}: the line at byte {offset} was changed since it was read")
    return line
