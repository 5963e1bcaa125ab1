"""A second opinion on a picture, by decoding it: what the structure does not show, and what is known to it no further.

Pillow decodes, from memory and in the pictures' threads. Large pictures one at a time, so that many of them at once
need no more memory than one.
"""

from __future__ import annotations

import hashlib
import io
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from batch.core.kinds import RIFF_HEAD_BYTES
from batch.pictures import png

if TYPE_CHECKING:
    from PIL import Image

#: More than the largest picture of the model (5504x3072, 1536x12288) by far; larger ones are not opened.
MAX_PIXELS: Final = 200_000_000
#: Pillow's formats that are kept, and the MIME type of each.
MIME_TYPES: Final = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "JPEG2000": "image/jp2",
    "ICO": "image/x-icon",
    "PPM": "image/x-portable-pixmap",
}
_LARGE_PIXELS: Final = 20_000_000
_MOST_FRAMES: Final = 200
#: How often a JPEG is decoded with other data where it may be cut: some tables make the same of much.
_NOISES: Final = 5
#: A scan may end in as many zeros; more of them are what a download was filled up with.
_MOST_ZEROS: Final = 4
_BLANK_RANGE: Final = 8
_SMALL_SIDE: Final = 64
_BLOCK_BYTES: Final = 1 << 20
_MOST_BYTES_PER_PIXEL: Final = 9
_one_large_picture = threading.Lock()


class Undecodable(ValueError):
    """Pillow cannot make pixels of it; the text says why."""


class Decoded:
    """A picture that Pillow has decoded to its last pixel."""

    def __init__(self, data: bytes) -> None:
        """Raises `Undecodable`."""
        from PIL import Image  # here: most runs never need it

        with _quiet(), _undecodable(), Image.open(io.BytesIO(_without_notes(data)), formats=[*_openable()]) as picture:
            self.mime = MIME_TYPES[picture.format or ""]
            self.size = picture.size
            if picture.width * picture.height > MAX_PIXELS:
                raise Undecodable(f"{picture.width}x{picture.height} pixels are too many")
            with _room_for(picture.width * picture.height):
                _load_frames(picture)
            self._picture: Image.Image = picture
            if picture.format == "JPEG2000" and b"\xff\xd9" not in data:
                raise Undecodable("it is cut off")  # its decoder makes something of any piece

    def is_blank(self) -> bool:
        """Whether it is one colour, or nearly."""
        picture = self._picture.convert("RGBA" if self._picture.has_transparency_data else "RGB")
        small = picture.reduce(max(1, min(picture.size) // _SMALL_SIDE))
        levels = [[level for level, pixels in enumerate(band.histogram()) if pixels] for band in small.split()]
        if len(levels) == 4 and levels[3][-1] <= _BLANK_RANGE:
            return True  # nothing of it shows
        return all(each[-1] - each[0] <= _BLANK_RANGE for each in levels)

    def pixels(self) -> bytes:
        """A checksum of how it looks, upright: alike for the same picture in two formats."""
        from PIL import ImageOps

        with _undecodable():
            picture = ImageOps.exif_transpose(self._picture).convert("RGBA")
            return hashlib.blake2b(picture.tobytes(), key=b"%dx%d" % picture.size).digest()


def size_of(file: str) -> tuple[int, int] | None:
    """A picture's size in pixels by its header, read without decoding; None if it cannot be read."""
    from PIL import Image

    try:
        with _quiet(), _undecodable(), Image.open(file, formats=[*_openable()]) as picture:
            return picture.size
    except Undecodable:
        return None


def whole_jpeg(data: bytes, *, end: int | None = None) -> Decoded:
    """A JPEG whose pixels are all there, whatever its end looks like. Raises `Undecodable`.

    `end` is where its end marker ends, if it has one. Libraries fill what is missing with grey and say nothing. So it
    is decoded with an end marker after what is there, and again with other data before that: this changes the
    pixels if some were still to come.
    """
    if end is None:
        scans = data[: len(data.rstrip(b"\0")) + _MOST_ZEROS]
        scans += b"\0" if scans.endswith(b"\xff") else b""  # half an end marker: as a byte of data it does no harm
        if not _has_all_scans(scans):
            raise Undecodable("not all of its scans are there")
    else:
        scans = data[: end - 2]
    found = Decoded(scans + b"\xff\xd9")
    pixels = found.pixels()
    if any(Decoded(scans + _noise(number) + b"\xff\xd9").pixels() != pixels for number in range(_NOISES)):
        raise Undecodable("its pixels are cut off")
    return found


def _noise(number: int) -> bytes:
    """What may follow a JPEG's last scan without a change, and nothing before its end.

    All kinds of bits, and every restart marker, since a decoder that waits for one passes over everything else.
    """
    parts = [hashlib.sha512(bytes((number, part))).digest().replace(b"\xff", b"\xa5") for part in range(16)]
    return b"".join(part + bytes((0xFF, 0xD0 + (place + 2 * number) % 8)) for place, part in enumerate(parts))


def whole_webp(data: bytes) -> Decoded:
    """A WebP whose picture is whole, whatever its length says or follows. Raises `Undecodable`."""
    chunks = [(kind, body) for kind, body in _webp_chunks(data)]
    if any(kind in (b"VP8 ", b"VP8L", b"ANMF") and body is None for kind, body in chunks):
        raise Undecodable("its pixels are cut off")
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)
        for kind, body in chunks
        if body is not None
    )
    return Decoded(b"RIFF" + struct.pack("<I", len(body)) + body)


def whole_png(data: bytes) -> Decoded:
    """A PNG whose pixels are whole by their own checksum, whatever stands beside them. Raises `Undecodable`."""
    decoded = Decoded(data)
    packed = zlib.decompressobj()
    left = _MOST_BYTES_PER_PIXEL * (decoded.size[0] + 1) * decoded.size[1]
    for kind, body, is_right in png.chunks(data):
        if is_right is None and kind in png.PIXEL_CHUNKS:
            raise Undecodable("its pixels are cut off")
        if kind in png.PIXEL_CHUNKS[:3] and not is_right:
            raise Undecodable(f"wrong checksum of a {kind.decode('ascii')!r} chunk")
        if kind == b"IDAT":
            left -= _unpack(packed, body, left)
    _unpack(packed, b"", left)
    if not packed.eof:
        raise Undecodable("its pixels are cut off")
    return decoded


def _unpack(packed: zlib._Decompress, data: bytes, most: int) -> int:
    """Go through packed data for its checksum, keeping none of it; returns how much it was unpacked."""
    size = 0
    try:
        while not packed.eof:
            made = packed.decompress(data, _BLOCK_BYTES)
            data, size = packed.unconsumed_tail, size + len(made)
            if size > most:
                raise Undecodable("it unpacks to more than its pixels")
            if len(made) < _BLOCK_BYTES and not data:
                break
    except zlib.error as error:
        raise Undecodable(f"its pixels are damaged ({error})") from None
    return size


def _openable() -> Iterator[str]:
    """The formats this Pillow can read: AVIF and JPEG 2000 depend on how it was built."""
    from PIL import Image

    Image.init()
    return (name for name in MIME_TYPES if name in Image.OPEN)


def _load_frames(picture: Image.Image) -> None:
    """All frames of an animated picture, unless it is a decompression bomb."""
    frames = getattr(picture, "n_frames", 1) if picture.format in ("GIF", "WEBP", "AVIF") else 1
    most = max(1, MAX_PIXELS // max(1, picture.width * picture.height))
    for number in reversed(range(min(frames, most, _MOST_FRAMES))):  # the first one last: it is looked at
        if frames > 1:
            picture.seek(number)
        picture.load()


def _without_notes(data: bytes) -> bytes:
    """Pillow refuses whole PNGs for long texts and profiles beside the pixels."""
    return png.only_pixels(data) if data.startswith(png.SIGNATURE) else data


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    """Kind and content; None for one that is cut off."""
    place = RIFF_HEAD_BYTES
    while place + 8 <= len(data):
        kind, (length,) = data[place : place + 4], struct.unpack_from("<I", data, place + 4)
        body = data[place + 8 : place + 8 + length]
        yield kind, body if len(body) == length else None
        place += 8 + length + (length & 1)


def _has_all_scans(data: bytes) -> bool:
    """Whether a JPEG's scans reach the last bit of every coefficient of every component."""
    components, seen = 0, set[tuple[int, int]]()
    for marker, segment in _jpeg_segments(data):
        if marker in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA) and len(segment) > 5:
            components = segment[5]
        elif marker == 0xDA and len(segment) > 3 and segment and len(segment) >= 4 + 2 * segment[0]:
            names = segment[1 : 1 + 2 * segment[0] : 2]
            first, last, bits = segment[1 + 2 * segment[0] : 4 + 2 * segment[0]]
            if not bits & 15:
                seen |= {(name, each) for name in names for each in range(first, min(last, 63) + 1)}
    return components > 0 and len(seen) >= 64 * components


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = data.find(b"\xff", 2)
    while 0 <= place < len(data) - 3:
        marker = data[place + 1]
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9:
            place = data.find(b"\xff", place + 1 + (marker != 0xFF))
            continue
        (length,) = struct.unpack_from(">H", data, place + 2)
        yield marker, data[place + 4 : place + 2 + length]
        place = data.find(b"\xff", place + 2 + length)


@contextmanager
def _undecodable() -> Iterator[None]:
    try:
        yield
    except Undecodable:
        raise
    except Exception as error:  # decoders of damaged pictures raise anything from SyntaxError to struct.error
        raise Undecodable(str(error) or type(error).__name__) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Oddities in whole pictures are no warnings of ours. Other threads may be quiet for as long, without harm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _room_for(pixels: int) -> Iterator[None]:
    if pixels < _LARGE_PIXELS:
        yield
        return
    with _one_large_picture:
        yield


#: Of the formats whose structure is walked: who says whether the pixels of a damaged file are all there.
SECOND_OPINIONS: Final[dict[str, Callable[[bytes], Decoded]]] = {
    "image/png": whole_png,
    "image/jpeg": whole_jpeg,
    "image/webp": whole_webp,
}
