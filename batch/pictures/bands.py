"""A large PNG, a band of rows at a time: in the memory of one band, however large the picture is.

Pillow decodes a PNG as a whole. So its rows are unpacked here and given to Pillow's decoder as small pictures. A row
may be written as the difference to the row above; so each band begins with the last row of the one before.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from PIL import Image, ImageFile

from batch.pictures import png

_BAND_BYTES: Final = 8 << 20
#: The mode of a picture with as many bytes per pixel, to take a row's filter away whatever the pixels mean.
_MODES: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
#: With 16 bits a channel Pillow keeps the upper eight; the lower ones are only needed to filter the next band.
_WIDE_MODES: Final = {6: "RGB", 8: "RGBA"}


class CutOff(ValueError):
    """The pixels end too early, or are damaged."""


def rows_of_band(header: png.Header, multiple: int) -> int:
    """How many rows a band has: a multiple of `multiple`, of about 8 MB, packed or as pixels of four bytes."""
    return max(1, _BAND_BYTES // max(header.row_bytes, 4 * header.width) // multiple) * multiple


def bands(file: BinaryIO, picture: ImageFile.ImageFile, rows: int) -> Iterator[Image.Image]:
    """The rows of a PNG that is not interlaced, so many at a time. `picture` has its header read.

    Raises `CutOff`.
    """
    header = png.header(file)
    above = bytes(header.row_bytes)
    for packed_rows in _filtered(file, header, rows):
        band, above = _unfiltered(packed_rows, above, header, picture)
        yield band


def check_pixels(file: BinaryIO) -> None:
    """Raises `CutOff` unless a PNG's pixels are all there, by their own checksum. Nothing is decoded."""
    header = png.header(file)
    for _ in _filtered(file, header, rows_of_band(header, 1)):
        pass


def _filtered(file: BinaryIO, header: png.Header, rows: int) -> Iterator[bytes]:
    """The unpacked rows, each behind its filter's byte, a band at a time, to the checksum at their end."""
    stride = header.row_bytes + 1
    left = stride * header.height
    unpacker, held = zlib.decompressobj(), bytearray()
    try:
        for piece in png.packed_pixels(file):
            while piece and left:
                wanted = min(rows * stride, left) - len(held)
                held += unpacker.decompress(piece, wanted)
                piece = unpacker.unconsumed_tail
                if len(held) == min(rows * stride, left):
                    left -= len(held)
                    yield bytes(held)
                    held.clear()
            if not left:
                unpacker.decompress(piece, 1)  # the checksum
    except zlib.error as error:
        raise CutOff(f"its pixels are damaged: {error}") from None
    if left or not unpacker.eof:
        raise CutOff("its pixels end too early")


def _unfiltered(
    packed_rows: bytes, above: bytes, header: png.Header, picture: ImageFile.ImageFile
) -> tuple[Image.Image, bytes]:
    """A band as a picture, and its last row as bytes."""
    stride = header.row_bytes + 1
    rows = len(packed_rows) // stride
    data = zlib.compress(b"\0" + above + packed_rows, 0)
    pixel_bytes = max(1, header.pixel_bits // 8)
    if pixel_bytes in _WIDE_MODES:
        mode = _WIDE_MODES[pixel_bytes]
        size = header.width, rows + 1
        upper = Image.frombytes(mode, size, data, "zip", f"{mode};16B")
        lower = Image.frombytes(mode, size, data, "zip", f"{mode};16L")
        last = bytearray(header.row_bytes)
        last[::2], last[1::2] = _last_row(upper), _last_row(lower)
        return upper.crop((0, 1, *size)), bytes(last)
    mode = _MODES[pixel_bytes]
    plain = Image.frombytes(mode, (header.row_bytes // pixel_bytes, rows + 1), data, "zip", mode).tobytes()
    band = Image.frombytes(picture.mode, (header.width, rows), plain[header.row_bytes :], "raw", picture.tile[0][3])
    if picture.palette is not None:
        band.putpalette(picture.palette.palette, picture.palette.mode)
    band.info = dict(picture.info)
    return band, plain[-header.row_bytes :]


def _last_row(picture: Image.Image) -> bytes:
    return picture.crop((0, picture.height - 1, *picture.size)).tobytes()
