"""Looking at a picture's bytes: the right facts, every cut found, nothing believed."""

from __future__ import annotations

import hashlib
import io
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from batch.store.decoding import Decoded
from batch.store.picture_check import BadPicture, PictureFacts, inspect_picture


def drawing(kind: str, **options: Any) -> bytes:
    """A picture with enough in it to have real data."""
    picture = Image.new("RGB", (90, 60), "white")
    pen = ImageDraw.Draw(picture)
    for step in range(0, 90, 3):
        pen.line((step, 0, 89 - step, 59), fill=(step * 2, 255 - step, 90))
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def thumbnail() -> bytes:
    """EXIF with a whole JPEG inside, end marker and all."""
    exif = Image.Exif()
    exif[0x010E] = "a note \u00ff\u00d9"
    return exif.tobytes() + drawing("JPEG")


PICTURES: dict[str, tuple[str, bytes]] = {
    "png": ("image/png", drawing("PNG")),
    "png interlaced palette": ("image/png", drawing("PNG", optimize=True)),
    "jpeg baseline": ("image/jpeg", drawing("JPEG")),
    "jpeg progressive": ("image/jpeg", drawing("JPEG", progressive=True)),
    "jpeg restart markers": ("image/jpeg", drawing("JPEG", restart_marker_blocks=1)),
    "jpeg in jpeg": ("image/jpeg", drawing("JPEG", exif=thumbnail())),
    "webp lossy": ("image/webp", drawing("WEBP", quality=80)),
    "webp lossless": ("image/webp", drawing("WEBP", lossless=True)),
    "webp extended": ("image/webp", drawing("WEBP", quality=80, exif=Image.Exif().tobytes() + b"x" * 20)),
}
#: How many bytes may be cut off with all pixels still there: end chunk, end marker, stuffed byte, a note behind them.
WHOLE_CUTS = {
    "png": 16,
    "png interlaced palette": 16,
    "jpeg baseline": 2,
    "jpeg progressive": 2,
    "jpeg restart markers": 2,
    "jpeg in jpeg": 2,
    "webp lossless": 1,
    "webp extended": 42,
}
ALL = pytest.mark.parametrize("name", PICTURES)


@pytest.fixture
def look(tmp_path: Path) -> Any:
    def look(data: bytes, **options: Any) -> PictureFacts:
        path = tmp_path / "picture"
        path.write_bytes(data)
        return inspect_picture(str(path), **options)

    return look


@ALL
def test_a_whole_picture_is_described(look: Any, name: str) -> None:
    """D10: format, size and hash come from the bytes."""
    mime, data = PICTURES[name]

    assert look(data) == look(data, decode=True)
    assert look(data) == PictureFacts(
        mime=mime, width=90, height=60, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
    )


@ALL
def test_every_cut_into_the_pixels_is_found(look: Any, name: str) -> None:
    """Cut at any byte it is no picture, unless nothing is gone but what follows the pixels; then a word says so."""
    mime, data = PICTURES[name]
    whole = 0

    for end in sorted({*range(0, len(data), 41), *range(max(0, len(data) - 80), len(data))}):
        try:
            facts = look(data[:end])
        except BadPicture:
            assert not whole, "a longer piece was a picture"
            continue
        whole += 1
        assert (facts.mime, facts.width, facts.height, facts.problem != "") == (mime, 90, 60, True)
    assert whole == WHOLE_CUTS.get(name, 0)


def test_the_sample_with_a_picture_inside_really_has_one() -> None:
    """Else the test above would prove nothing."""
    data = PICTURES["jpeg in jpeg"][1]

    assert data.count(b"\xff\xd9") >= 2
    assert PICTURES["jpeg restart markers"][1].count(b"\xff\xd0") >= 1


def test_every_flipped_byte_of_a_png_is_found(look: Any) -> None:
    """Its chunks carry checksums, and so do its pixels: what is kept all the same has every pixel right."""
    _, data = PICTURES["png"]
    kept = []

    for place in {*range(0, len(data), 9), *range(60), *range(len(data) - 40, len(data))}:
        flipped = data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]
        try:
            facts = look(flipped)
        except BadPicture:
            continue
        kept.append(place)
        assert facts.problem
        assert Decoded(flipped).pixels() == Decoded(data).pixels()
    assert 0 < len(kept) < 32


@ALL
@pytest.mark.parametrize("junk", [b"\0", b"\n", b"trailing words", b"\xff\xd9" * 3, b"\0" * 300_000])
def test_what_follows_the_end_does_no_harm(look: Any, name: str, junk: bytes) -> None:
    """The picture is whole; the facts say how much follows."""
    mime, data = PICTURES[name]

    facts = look(data + junk)

    assert (facts.mime, facts.trailing_bytes, facts.size_bytes) == (mime, len(junk), len(data) + len(junk))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG",
        b"GIF89a" + b"\0" * 40,
        b"BM" + b"\0" * 40,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7 and so on and so on",
        b"<!DOCTYPE html><html>no</html>",
        b"\0" * 1000,
        b"RIFF\x10\0\0\0WAVEfmt ",
    ],
)
def test_what_is_no_picture_of_ours_is_refused(look: Any, data: bytes) -> None:
    """The extension is decided here, so nothing else may pass."""
    with pytest.raises(BadPicture):
        look(data)


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (2**31 - 1, 2**31 - 1), (30_000, 30_000)])
def test_hostile_sizes_are_refused(look: Any, make: Any, width: int, height: int) -> None:
    """A few bytes that would decode to gigabytes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + make.chunk(b"IHDR", header) + make.chunk(b"IDAT", b"x") + make.chunk(b"IEND")

    with pytest.raises(BadPicture, match="pixels are not a size"):
        look(data)


def test_a_chunk_that_claims_gigabytes_costs_nothing(look: Any) -> None:
    """Lengths are believed only as far as there are bytes."""
    data = PICTURES["png"][1]

    with pytest.raises(BadPicture, match="cut off"):
        look(data[:33] + b"\xff\xff\xff\xff" + data[37:])


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff\xd9" + b"\0" * 20,
        b"\xff\xd8\xff\xe0\x00\x01" + b"\0" * 20 + b"\xff\xd9",
        b"\xff\xd8" + b"\xff" * 400_000,
        b"RIFF\x04\0\0\0WEBP" + b"\0" * 40,
    ],
    ids=["no frame", "impossible segment", "fill bytes only", "webp of nothing"],
)
def test_pictures_without_a_picture_are_refused(look: Any, data: bytes) -> None:
    """The right first and last bytes are not enough."""
    with pytest.raises(BadPicture):
        look(data)


def test_decoding_finds_what_the_structure_does_not_show(look: Any) -> None:
    """`verify: decode` reads every pixel."""
    data = bytearray(PICTURES["webp lossy"][1])
    data[30:60] = b"\xa5" * 30

    with pytest.raises(BadPicture, match="cannot be decoded"):
        look(bytes(data), decode=True)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.sampled_from([data[:30] for _, data in PICTURES.values()] + [b"RIFF\xff\xff\xff\x7fWEBP"]),
    rest=st.binary(max_size=300),
)
def test_any_bytes_give_facts_or_bad_picture(look: Any, start: bytes, rest: bytes) -> None:
    """No other error, and no end of time."""
    try:
        facts = look(start + rest)
    except BadPicture:
        return
    assert facts.width * facts.height > 0
