"""A PNG read a band of rows at a time has the pixels that it has as a whole."""

from __future__ import annotations

import io
import random
import struct
import zlib
from typing import Any

import pytest
from PIL import Image

from batch.pictures import png
from batch.pictures.bands import CutOff, bands, check_pixels
from batch.pictures.opening import opened

#: Colour types and bit depths that a PNG may have.
KINDS = [
    *((0, depth) for depth in (1, 2, 4, 8, 16)),
    *((3, depth) for depth in (1, 2, 4, 8)),
    *((kind, depth) for kind in (2, 4, 6) for depth in (8, 16)),
]


def noise(kind: int, depth: int, width: int = 37, height: int = 50) -> bytes:
    """A PNG of random pixels whose rows use all five filters."""
    dice = random.Random(kind * 100 + depth)
    row_bytes = png.Header(width, height, depth, kind, interlaced=False).row_bytes
    rows = b"".join(bytes([dice.randrange(5)]) + dice.randbytes(row_bytes) for _ in range(height))
    palette = png.chunk(b"PLTE", dice.randbytes(3 << depth)) + png.chunk(b"tRNS", b"\0\x80") if kind == 3 else b""
    head = png.chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    return png.SIGNATURE + head + palette + png.chunk(b"IDAT", zlib.compress(rows)) + png.chunk(b"IEND", b"")


@pytest.mark.parametrize(("kind", "depth"), KINDS)
@pytest.mark.parametrize("rows", [1, 8, 50, 99])
def test_bands_are_the_picture(kind: int, depth: int, rows: int) -> None:
    """Every colour type, depth and filter, however the rows are divided."""
    data = noise(kind, depth)
    with Image.open(io.BytesIO(data)) as picture:
        expected = picture.convert("RGBA").tobytes()

    with opened(io.BytesIO(data)) as found:
        made = b"".join(band.convert("RGBA").tobytes() for band in bands(found.file, found.picture, rows))

    assert made == expected


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.98])
def test_pixels_that_end_too_early_are_found(kept: float) -> None:
    """A cut anywhere in them, found without decoding."""
    data = noise(2, 8)
    with pytest.raises(CutOff, match="end too early"):
        check_pixels(io.BytesIO(data[: int(len(data) * kept)]))


@pytest.mark.parametrize("chunks", [1, 7])
def test_whole_pixels_pass(chunks: int) -> None:
    """In one chunk or several; what is behind them does not matter."""
    data = noise(2, 8)
    start = data.index(b"IDAT") - 4
    (length,) = struct.unpack_from(">I", data, start)
    body, step = data[start + 8 : start + 8 + length], length // chunks + 1
    parts = b"".join(png.chunk(b"IDAT", body[at : at + step]) for at in range(0, length, step))
    check_pixels(io.BytesIO(data[:start] + parts))


def test_damaged_pixels_are_found() -> None:
    """By the checksum at their end."""
    data = bytearray(noise(0, 8))
    data[-20:-16] = b"\0\0\0\0"
    with pytest.raises(CutOff):
        check_pixels(io.BytesIO(bytes(data)))


def test_more_data_than_pixels_is_not_unpacked(monkeypatch: Any) -> None:
    """A bomb behind the last row is left packed."""
    rows = bytes(8 * 33) + bytes(1 << 20)
    head = png.chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 8, 8, 0, 0, 0, 0))
    data = png.SIGNATURE + head + png.chunk(b"IDAT", zlib.compress(rows)) + png.chunk(b"IEND", b"")
    with pytest.raises(CutOff):
        check_pixels(io.BytesIO(data))
