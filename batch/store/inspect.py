"""Looks at a picture's bytes: what format, how large, whole or cut, and their SHA-256. One pass, no decoding.

The default check must cost less than the transfer did. A PNG is followed chunk by chunk with its CRCs to its end
chunk, a JPEG through its segments to its end marker, a WebP by its declared length. That finds every cut file;
Pillow's `verify()` alone passes a JPEG that was cut in half, and a full decode of a 4K picture costs hundreds of
milliseconds (`verify: decode` does it for those who want it).
"""

from __future__ import annotations

import hashlib
import re
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import BinaryIO, Final

_BLOCK_BYTES: Final = 256 << 10
#: More than the largest picture of the model (5504x3072, 1536x12288) by far; larger ones are not opened.
MAX_PIXELS: Final = 200_000_000
#: The only extensions ever written, decided by the bytes.
EXTENSIONS: Final = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_JPEG_START: Final = b"\xff\xd8"
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class BadPicture(ValueError):
    """The bytes are no whole picture of a format we know; the text says what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFacts:
    """What the bytes are. `trailing_bytes` follow the picture's own end and do no harm."""

    mime: str
    width: int
    height: int
    size_bytes: int
    sha256: str
    trailing_bytes: int = 0


def inspect_picture(path: str, *, decode: bool = False) -> PictureFacts:
    """Check a file's structure to its end. Raises `BadPicture`; `OSError` passes through."""
    with open(path, "rb", buffering=_BLOCK_BYTES) as file:
        reader = _Reader(file)
        mime, width, height = _walk(reader)
        trailing = reader.skip_to_end()
    if width * height > MAX_PIXELS or width < 1 or height < 1:
        raise BadPicture(f"{width}x{height} pixels are not a size this model makes")
    if decode:
        _decode(path)
    return PictureFacts(
        mime=mime,
        width=width,
        height=height,
        size_bytes=reader.size_bytes,
        sha256=reader.hexdigest(),
        trailing_bytes=trailing,
    )


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
    if head.startswith(_PNG_SIGNATURE):
        return "image/png", *_walk_png(reader, head[8:])
    if head.startswith(_JPEG_START):
        return "image/jpeg", *_walk_jpeg(_Lookback(reader, head[2:]))
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp", *_walk_webp(reader, struct.unpack("<I", head[4:8])[0])
    raise BadPicture("not a PNG, JPEG or WebP")


def _walk_png(reader: _Reader, length_bytes: bytes) -> tuple[int, int]:
    size: tuple[int, int] | None = None
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
        if kind == b"IEND":
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
    while True:
        marker = reader.next_marker()
        if marker == 0xD9:
            if size is None:
                raise BadPicture("a JPEG without a frame")
            reader.end()
            return size
        if marker in (0x01, 0xD8):
            continue
        (length,) = struct.unpack(">H", reader.exactly(2))
        if length < 2:
            raise BadPicture("a damaged JPEG segment")
        if marker in _JPEG_FRAMES and size is None and length >= 8:
            frame = reader.exactly(5)
            height, width = struct.unpack(">HH", frame[1:5])
            size = width, height
            reader.skip(length - 7)
        else:
            reader.skip(length - 2)


def _walk_webp(reader: _Reader, declared: int) -> tuple[int, int]:
    if declared < 22:
        raise BadPicture("a WebP without a picture")
    chunk = reader.exactly(18)
    reader.skip(declared - 4 - 18)
    kind, data = chunk[:4], chunk[8:]
    if kind == b"VP8X":
        return int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[6:10])
        return width & 0x3FFF, height & 0x3FFF
    raise BadPicture("a WebP of an unknown kind")


def _decode(path: str) -> None:
    """Decode every pixel, with Pillow's warning about huge pictures made an error."""
    from PIL import Image  # here: most runs never need it

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as picture:
                picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadPicture(f"cannot be decoded: {error}") from error
