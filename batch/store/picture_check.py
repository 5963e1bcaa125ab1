"""Looks at a picture's bytes: what format, how large, whole or cut, and their SHA-256. One pass, no decoding.

The default check must cost less than the transfer did. A PNG is followed chunk by chunk with its CRCs to its end
chunk, a JPEG through its segments to its end marker, a WebP chunk by chunk to its declared length. That finds every cut
file; Pillow's `verify()` alone passes a JPEG that was cut in half, and a full decode of a 4K picture costs hundreds of
milliseconds (`verify: decode` does it for those who want it).

Decoded all the same is what costs little or has no other way: a file that is small for its number of pixels, one in
another format, and one whose structure is damaged, because its pixels may be whole.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO, Final

from batch.core.kinds import HEAD_BYTES, named
from batch.core.signatures import signature
from batch.store.decoding import MAX_PIXELS, SECOND_OPINIONS, Decoded, Undecodable, whole_jpeg

_BLOCK_BYTES: Final = 256 << 10
#: The only extensions ever written, decided by the bytes.
EXTENSIONS: Final = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/avif": "avif",
    "image/gif": "gif",
    "image/bmp": "bmp",
    "image/tiff": "tif",
    "image/jp2": "jp2",
    "image/x-icon": "ico",
    "image/x-portable-pixmap": "ppm",
}
#: A file that has fewer bytes than its pixels divided by this is decoded: it may hold nothing, and it costs little.
_SMALL: Final = {"image/png": 4, "image/jpeg": 16, "image/webp": 16}

_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_WEBP_PIXELS: Final = (b"VP8 ", b"VP8L", b"ANMF")
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class BadPicture(ValueError):
    """The bytes are no whole picture that can be kept; the text says why.

    `name` says what they are instead ("a PDF"), if that is known: the next answer will be the same.
    """

    def __init__(self, problem: str, name: str = "") -> None:
        super().__init__(problem)
        self.name = name


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFacts:
    """What the bytes are. `trailing_bytes` follow the picture's own end and do no harm.

    `problem` says what is wrong with a file whose pixels are all there. `is_blank`: one colour, or nearly; looked for
    only where it was decoded.
    """

    mime: str
    width: int
    height: int
    size_bytes: int
    sha256: str
    trailing_bytes: int = 0
    problem: str = ""
    is_blank: bool = False


def inspect_picture(path: str, *, decode: bool = False) -> PictureFacts:
    """Check a file's structure to its end. Raises `BadPicture`; `OSError` passes through."""
    with open(path, "rb", buffering=_BLOCK_BYTES) as file:
        reader = _Reader(file)
        try:
            mime, width, height = _walk(reader)
            problem = ""
        except BadPicture as error:
            mime, width, height, problem = "", 1, 1, str(error)
        trailing = reader.skip_to_end()
    if width * height > MAX_PIXELS or width < 1 or height < 1:
        raise BadPicture(f"{width}x{height} pixels are not a size this model makes")
    decoded = None
    if problem:
        decoded = _second_opinion(_content(path), problem)
        mime, (width, height), trailing = decoded.mime, decoded.size, 0
        problem = problem if mime in SECOND_OPINIONS else ""
    elif decode or reader.size_bytes * _SMALL[mime] < width * height:
        jpeg_end = reader.size_bytes - trailing if decode and mime == "image/jpeg" else 0
        decoded = _decoded(_content(path), jpeg_end)
    return PictureFacts(
        mime=mime,
        width=width,
        height=height,
        size_bytes=reader.size_bytes,
        sha256=reader.hexdigest(),
        trailing_bytes=trailing,
        problem=problem,
        is_blank=decoded is not None and decoded.is_blank(),
    )


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _second_opinion(data: bytes, problem: str) -> Decoded:
    """The picture in a file whose structure is damaged or not known. Raises `BadPicture` if it is not whole."""
    mime = _walked_mime(data[:12])
    name = "" if mime else named(data[:HEAD_BYTES]) or ""
    try:
        return SECOND_OPINIONS[mime](data) if mime else Decoded(data)
    except Undecodable as error:
        raise BadPicture(f"{problem} ({error})" if name else problem, name) from None


def _decoded(data: bytes, jpeg_end: int) -> Decoded:
    """`jpeg_end`: where the end marker of a JPEG is that must hold all of its pixels."""
    try:
        return whole_jpeg(data, end=jpeg_end) if jpeg_end else Decoded(data)
    except Undecodable as error:
        raise BadPicture(f"cannot be decoded: {error}") from None


class _Reader:
    """Reads a file once, hashing all of it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size_bytes = 0
        self.looked_ahead = 0

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._hash.update(data)
        self.size_bytes += len(data)
        return data

    def exactly(self, size: int) -> bytes:
        data = self.read(size)
        if len(data) < size:
            raise BadPicture(f"cut off after {self.size_bytes} bytes")
        return data

    def crc_of(self, size: int, start: int) -> int:
        """CRC-32 of the next `size` bytes, going on from `start`."""
        crc = start
        while size > 0:
            data = self.exactly(min(size, _BLOCK_BYTES))
            crc = zlib.crc32(data, crc)
            size -= len(data)
        return crc

    def skip(self, size: int) -> None:
        while size > 0:
            size -= len(self.exactly(min(size, _BLOCK_BYTES)))

    def skip_to_end(self) -> int:
        skipped = self.looked_ahead
        while data := self.read(_BLOCK_BYTES):
            skipped += len(data)
        return skipped


def _walk(reader: _Reader) -> tuple[str, int, int]:
    head = reader.read(12)
    if not head:
        raise BadPicture("empty")
    if len(head) < 12:
        raise BadPicture(f"cut off after {len(head)} bytes")
    mime = _walked_mime(head)
    if mime == "image/png":
        return mime, *_walk_png(reader, head[8:])
    if mime == "image/jpeg":
        return mime, *_walk_jpeg(_Lookback(reader, head[2:]))
    if mime == "image/webp":
        return mime, *_walk_webp(reader, struct.unpack("<I", head[4:8])[0])
    raise BadPicture("not a PNG, JPEG or WebP")


def _walked_mime(head: bytes) -> str:
    """Which of the formats whose structure we follow begins like this; empty for none."""
    kind = signature(head)
    return kind.mime if kind is not None and kind.mime in SECOND_OPINIONS else ""


def _walk_png(reader: _Reader, length_bytes: bytes) -> tuple[int, int]:
    size: tuple[int, int] | None = None
    has_pixels = False
    while True:
        (length,) = struct.unpack(">I", length_bytes)
        kind = reader.exactly(4)
        crc = zlib.crc32(kind)
        if size is None:
            if kind != b"IHDR" or length != 13:
                raise BadPicture("a PNG without a header")
            header = reader.exactly(13)
            size = struct.unpack(">II", header[:8])
            crc = zlib.crc32(header, crc)
        else:
            crc = reader.crc_of(length, crc)
        if reader.exactly(4) != crc.to_bytes(4, "big"):
            raise BadPicture(f"damaged PNG: wrong checksum of a {kind.decode('latin-1')!r} chunk")
        has_pixels = has_pixels or (kind == b"IDAT" and length > 0)
        if kind == b"IEND":
            if not has_pixels:
                raise BadPicture("a PNG without pixels")
            return size
        length_bytes = reader.exactly(4)


class _Lookback:
    """A reader for JPEG: looks for markers in entropy-coded data without reading byte by byte."""

    def __init__(self, reader: _Reader, held: bytes) -> None:
        self._reader = reader
        self._held = held

    def exactly(self, size: int) -> bytes:
        if len(self._held) < size:
            self._held += self._reader.exactly(size - len(self._held))
        data, self._held = self._held[:size], self._held[size:]
        return data

    def skip(self, size: int) -> None:
        held = min(size, len(self._held))
        self._held = self._held[held:]
        self._reader.skip(size - held)

    def end(self) -> None:
        """The picture ends here: what was read beyond it trails."""
        self._reader.looked_ahead = len(self._held)

    def next_marker(self) -> int:
        """The next marker that is no restart marker and no stuffed byte."""
        while True:
            match = _JPEG_MARKER.search(self._held)
            if match is not None:
                marker = self._held[match.end() - 1]
                self._held = self._held[match.end() :]
                return marker
            last = self._held[-1:]
            block = self._reader.read(_BLOCK_BYTES)
            if not block:
                raise BadPicture(f"a JPEG cut off after {self._reader.size_bytes} bytes")
            self._held = last + block


def _walk_jpeg(reader: _Lookback) -> tuple[int, int]:
    size: tuple[int, int] | None = None
    has_scan = False
    while True:
        marker = reader.next_marker()
        if marker == 0xD9:
            if size is None:
                raise BadPicture("a JPEG without a frame")
            if not has_scan:
                raise BadPicture("a JPEG without a scan")
            reader.end()
            return size
        if marker in (0x01, 0xD8):
            continue
        (length,) = struct.unpack(">H", reader.exactly(2))
        if length < 2:
            raise BadPicture("a damaged JPEG segment")
        has_scan = has_scan or marker == 0xDA
        if marker in _JPEG_FRAMES and size is None and length >= 8:
            frame = reader.exactly(5)
            height, width = struct.unpack(">HH", frame[1:5])
            size = width, height
            reader.skip(length - 7)
        else:
            reader.skip(length - 2)


def _walk_webp(reader: _Reader, declared: int) -> tuple[int, int]:
    """Chunk by chunk. The first one has the size; one of them must hold pixels, and all must lie within the file's."""
    size: tuple[int, int] | None = None
    has_pixels = False
    left = declared - 4
    while left >= 8:
        kind, length = struct.unpack("<4sI", reader.exactly(8))
        left -= 8 + length
        if left < 0:
            raise BadPicture("a damaged WebP: a chunk goes beyond its end")
        beginning = reader.exactly(min(length, 10))
        size = size or _webp_size(kind, beginning)
        padding = min(length & 1, left)
        reader.skip(length - len(beginning) + padding)
        left -= padding
        has_pixels = has_pixels or (kind in _WEBP_PIXELS and length > 0)
    reader.skip(max(left, 0))
    if size is None or not has_pixels:
        raise BadPicture("a WebP without a picture")
    return size


def _webp_size(kind: bytes, data: bytes) -> tuple[int, int]:
    if len(data) < 10:
        raise BadPicture("a WebP without a picture")
    if kind == b"VP8X":
        return int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[6:10])
        return width & 0x3FFF, height & 0x3FFF
    raise BadPicture("a WebP of an unknown kind")
