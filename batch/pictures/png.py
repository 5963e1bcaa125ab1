"""The structure of a PNG: its chunks, and the picture without the notes that stand beside its pixels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Container, Iterator
from typing import BinaryIO, Final, NamedTuple

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
#: The chunks that the pixels depend on.
PIXEL_CHUNKS: Final = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")
#: Chunks that hold packed data beside the pixels.
_PACKED: Final = (b"zTXt", b"iTXt", b"iCCP")
_TEXTS: Final = (b"tEXt", b"zTXt", b"iTXt")
#: Pillow refuses pictures with more, and so do services that use it.
_LONGEST_NOTE_BYTES: Final = 1 << 20
_MOST_NOTES_BYTES: Final = 64 << 20
_LONGEST_PROFILE_BYTES: Final = 16 << 20


class Header(NamedTuple):
    """What IHDR says. `kind` is the colour type: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha."""

    width: int
    height: int
    bit_depth: int
    kind: int
    interlaced: bool

    @property
    def pixel_bits(self) -> int:
        return self.bit_depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(self.kind, 1)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of pixels, without the filter's byte before it."""
        return (self.width * self.pixel_bits + 7) // 8


def header(file: BinaryIO) -> Header:
    """The header of a PNG that Pillow has opened."""
    file.seek(len(SIGNATURE) + 8)
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", file.read(13))
    return Header(width, height, depth, kind, bool(interlaced))


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bool | None]]:
    """Kind, content and whether the checksum is right (None: cut off), up to the end chunk or the file's end."""
    place = len(SIGNATURE)
    while place + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        checksum = data[place + 8 + length : place + 12 + length]
        yield kind, body, checksum == struct.pack(">I", zlib.crc32(kind + body)) if len(body) == length else None
        if kind == b"IEND":
            return
        place += 12 + length


def only_pixels(data: bytes) -> bytes:
    """The PNG without anything that stands beside its pixels."""
    kept = [chunk(kind, body) for kind, body, _ in chunks(data) if kind in PIXEL_CHUNKS]
    return SIGNATURE + b"".join(kept) + chunk(b"IEND", b"")


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def has_long_notes(file: BinaryIO) -> bool:
    """Whether a PNG's texts or colour profile are longer than Pillow takes."""
    total_bytes = 0
    for kind, length in _walk(file):
        if kind in _PACKED:
            size_bytes = len(_unpacked(kind, file.read(length), _LONGEST_NOTE_BYTES + 1))
            if size_bytes > _LONGEST_NOTE_BYTES:
                return True
        else:
            size_bytes = length
        total_bytes += size_bytes if kind in _TEXTS else 0
    return total_bytes > _MOST_NOTES_BYTES


def with_only(file: BinaryIO, kinds: Container[bytes]) -> bytes:
    """A copy of a PNG with the chunks of these kinds alone. They keep all their bytes, right or wrong."""
    kept = [SIGNATURE]
    for kind, length in _walk(file):
        if kind in kinds:
            file.seek(-8, 1)
            kept.append(file.read(length + 12))
    return b"".join(kept)


def colour_profile(file: BinaryIO) -> bytes:
    """The ICC profile of a PNG, however long it is; empty if there is none that can be unpacked."""
    for kind, length in _walk(file):
        if kind == b"iCCP":
            return _unpacked(kind, file.read(length), _LONGEST_PROFILE_BYTES)
        if kind == b"IDAT":
            break
    return b""


def exif(file: BinaryIO) -> bytes:
    """The EXIF data, which may stand before or after the pixels; empty if there is none."""
    return next((file.read(length) for kind, length in _walk(file) if kind == b"eXIf"), b"")


def packed_pixels(file: BinaryIO) -> Iterator[bytes]:
    """The contents of the IDAT chunks, in pieces."""
    for kind, length in _walk(file):
        left = length if kind == b"IDAT" else 0
        while left and (piece := file.read(min(left, 1 << 16))):
            left -= len(piece)
            yield piece


def _walk(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Kind and length of each chunk, with the file standing at its content."""
    place = len(SIGNATURE)
    file.seek(place)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        yield kind, length
        place += 12 + length
        file.seek(place)


def _unpacked(kind: bytes, body: bytes, most_bytes: int) -> bytes:
    """What a packed chunk holds, at most so many bytes of it; as it is if it is not packed, or not well."""
    name, _, rest = body.partition(b"\0")
    if kind == b"iTXt":
        is_packed, (_, _, rest) = rest[:1] == b"\1", (*rest[2:].split(b"\0", 2), b"", b"", b"")[:3]
        if not is_packed:
            return name + rest
    else:
        rest = rest[1:]
    try:
        return zlib.decompressobj().decompress(rest, most_bytes)
    except zlib.error:
        return b""
