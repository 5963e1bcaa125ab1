"""Pictures in other formats and with oddities are kept as what they are; what no program opens is no picture."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from random import Random
from typing import Any, Protocol

import pytest
from PIL import Image, ImageDraw, PngImagePlugin

from batch.store.decoding import MIME_TYPES
from batch.store.picture_check import EXTENSIONS, BadPicture, PictureFacts, inspect_picture


class Look(Protocol):
    def __call__(self, data: bytes, *, decode: bool = False) -> PictureFacts: ...


@pytest.fixture
def look(tmp_path: Path) -> Look:
    def look(data: bytes, *, decode: bool = False) -> PictureFacts:
        (tmp_path / "picture").write_bytes(data)
        return inspect_picture(str(tmp_path / "picture"), decode=decode)

    return look


def drawn(size: tuple[int, int] = (90, 60)) -> Image.Image:
    picture = Image.frombytes("RGB", size, Random(7).randbytes(3 * size[0] * size[1])).reduce(2).resize(size)
    ImageDraw.Draw(picture).ellipse((5, 5, size[0] - 20, size[1] - 20), fill="red")
    return picture


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, width: int = 64, height: int = 64) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND")


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(kind + struct.pack("<I", len(data)) + data for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def long_note() -> PngImagePlugin.PngInfo:
    """A text that unpacks to more than Pillow's limit."""
    note = PngImagePlugin.PngInfo()
    note.add_text("workflow", "a step of it, " * 200_000, zip=True)
    return note


FRAMES = [drawn((40, 30)).convert("P") for _ in range(3)]
OTHER_FORMATS: dict[str, tuple[str, bytes]] = {
    "avif": ("image/avif", encoded(drawn(), "AVIF")),
    "avif lossless": ("image/avif", encoded(drawn(), "AVIF", quality=100)),
    "gif": ("image/gif", encoded(drawn(), "GIF")),
    "gif in frames": ("image/gif", encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:])),
    "bmp": ("image/bmp", encoded(drawn(), "BMP")),
    "tiff": ("image/tiff", encoded(drawn(), "TIFF")),
    "tiff packed": ("image/tiff", encoded(drawn(), "TIFF", compression="tiff_lzw")),
    "tiff deflated": ("image/tiff", encoded(drawn(), "TIFF", compression="tiff_adobe_deflate")),
    "jpeg 2000": ("image/jp2", encoded(drawn(), "JPEG2000")),
}


@pytest.mark.parametrize("name", OTHER_FORMATS)
def test_a_whole_picture_in_another_format_is_kept_as_what_it_is(look: Look, name: str) -> None:
    """Its own type, the right size, and nothing is wrong with it."""
    mime, data = OTHER_FORMATS[name]
    with Image.open(io.BytesIO(data)) as picture:
        size = picture.size

    facts = look(data)

    assert (facts.mime, (facts.width, facts.height), facts.size_bytes) == (mime, size, len(data))
    assert facts.problem == ""
    assert mime in EXTENSIONS


def test_every_format_that_is_decoded_has_an_extension() -> None:
    """Else a kept picture could have no name."""
    assert set(MIME_TYPES.values()) == set(EXTENSIONS)


@pytest.mark.parametrize("name", OTHER_FORMATS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_picture_in_another_format_that_is_cut_is_damaged(look: Look, name: str, share: float) -> None:
    """And the words name what it is."""
    if name == "gif in frames" and share == 0.9:
        pytest.skip("its first picture, which is shown, is whole")
    data = OTHER_FORMATS[name][1]

    with pytest.raises(BadPicture):
        look(data[: int(len(data) * share)])


WHOLE_AND_ODD = {
    "png with a long text": encoded(drawn(), "PNG", pnginfo=long_note()),
    "png with a long profile": encoded(drawn(), "PNG", icc_profile=bytes(3_000_000)),
    "blank png with a long text": encoded(Image.new("RGB", (500, 500)), "PNG", pnginfo=long_note()),
    "jpeg with a profile in many pieces": encoded(drawn(), "JPEG", icc_profile=bytes(300_000)),
    "palette with alpha": encoded(drawn().quantize(16), "PNG", transparency=0),
    "grey of 16 bits": encoded(Image.new("I;16", (60, 40), 40_000), "PNG"),
    "black and white": encoded(drawn().convert("1"), "PNG"),
    "cmyk jpeg": encoded(drawn().convert("CMYK"), "JPEG"),
    "webp in frames": encoded(drawn((40, 30)), "WEBP", save_all=True, append_images=[drawn((40, 30))]),
}


@pytest.mark.parametrize("name", WHOLE_AND_ODD)
@pytest.mark.parametrize("decode", [False, True])
def test_what_stands_beside_the_pixels_does_no_harm(look: Look, name: str, *, decode: bool) -> None:
    """Programs write settings, profiles and edit histories into pictures; viewers show them."""
    facts = look(WHOLE_AND_ODD[name], decode=decode)

    assert (facts.problem, facts.trailing_bytes) == ("", 0)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}, {"optimize": True}])
@pytest.mark.parametrize("after", [b"", b"\0" * 3000])
def test_a_jpeg_without_its_end_marker_is_whole_if_its_pixels_are(
    look: Look, options: dict[str, Any], after: bytes
) -> None:
    """The file is as it came; a word says what is odd about it."""
    data = encoded(drawn(), "JPEG", **options)[:-2]

    facts = look(data + after)

    assert (facts.mime, facts.width, facts.height) == ("image/jpeg", 90, 60)
    assert "cut off" in facts.problem


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}, {"optimize": True}])
@pytest.mark.parametrize("after", [b"", b"\0" * 200_000])
@pytest.mark.parametrize("share", [0.4, 0.8, 0.97])
def test_a_jpeg_that_is_cut_in_its_pixels_is_damaged(
    look: Look, options: dict[str, Any], after: bytes, share: float
) -> None:
    """Also if what is missing was filled up with zeros."""
    data = encoded(drawn(), "JPEG", **options)

    with pytest.raises(BadPicture, match="cut off"):
        look(data[: int(len(data) * share)] + after)


def test_a_cut_jpeg_with_an_end_marker_put_on_is_found_by_decoding(look: Look) -> None:
    """Its structure is right, and decoders fill the rest with grey without a word."""
    data = encoded(drawn(), "JPEG")
    cut = data[: len(data) // 2] + b"\xff\xd9"

    assert look(cut).width == 90
    with pytest.raises(BadPicture, match="cut off"):
        look(cut, decode=True)


def test_a_webp_whose_length_is_wrong_is_whole_if_its_picture_is(look: Look) -> None:
    """Half of the tools that cut metadata off leave the old length standing."""
    data = encoded(drawn(), "WEBP")
    wrong = data[:4] + struct.pack("<I", len(data) + 5000) + data[8:]

    assert "cut off" in look(wrong).problem


HEAD = b"\xff\xc0\x00\x11\x08\x04\x00\x04\x00\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01"
SCAN = b"\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00"
EXTENDED = (b"VP8X", b"\0\0\0\0" + b"\xff\x03\0\xff\x03\0")
AVIF = OTHER_FORMATS["avif"][1]
NO_PIXELS = {
    "png without IDAT": png(),
    "png with an empty IDAT": png(chunk(b"IDAT")),
    "png whose IDAT is no packed data": png(chunk(b"IDAT", b"x" * 50)),
    "png whose IDAT is too short": png(chunk(b"IDAT", zlib.compress(b"\0" * 99))),
    "png of a text alone": png(chunk(b"tEXt", b"Comment\0hello" * 20)),
    "png of no width": png(chunk(b"IDAT", zlib.compress(b"\0" * 99)), width=0),
    "png with a chunk beyond the file": png(b"\xff\xff\xff\xffIDATxxxxxxxxxxxx"),
    "jpeg without a scan": b"\xff\xd8" + HEAD + b"\xff\xd9",
    "jpeg of a scan's header": b"\xff\xd8" + HEAD + SCAN + b"\xff\xd9",
    "jpeg without a frame": b"\xff\xd8" + SCAN + b"data of a scan" + b"\xff\xd9",
    "jpeg of no height": b"\xff\xd8" + HEAD.replace(b"\x04\x00\x04\x00", b"\x00\x00\x04\x00") + SCAN + b"\xff\xd9",
    "webp of a header": webp(EXTENDED),
    "webp of a header and notes": webp(EXTENDED, (b"EXIF", b"notes!"), (b"XMP ", b"more notes")),
    "webp of an empty chunk": webp((b"VP8 ", b"")),
    "webp of nonsense": webp((b"VP8L", b"\x2f" + b"\xff\x00" * 20)),
    "webp with a chunk beyond its length": webp((b"VP8 ", b"x" * 40)).replace(b"\x28\0\0\0", b"\xff\0\0\0"),
    "gif without a picture": b"GIF89a\x40\0\x40\0\0\0\0;",
    "gif of an extension": b"GIF89a\x40\0\x40\0\0\0\0!\xfe\x05hello\0;",
    "bmp of a header": OTHER_FORMATS["bmp"][1][:54],
    "tiff of a header": b"II*\0\x08\0\0\0\0\0\0\0\0\0",
    "avif without its data": AVIF[: AVIF.index(b"mdat") - 4],
    "avif without its meta": AVIF.replace(b"meta", b"free", 1),
    "avif of a type": AVIF[: int.from_bytes(AVIF[:4], "big")],
    "avif of no size": AVIF.replace(b"ispe\0\0\0\0\0\0\0\x5a", b"ispe\0\0\0\0\0\0\0\0"),
}


@pytest.mark.parametrize("name", NO_PIXELS)
def test_what_no_program_can_open_is_no_picture(look: Look, name: str) -> None:
    """The right first bytes, and the right last ones, are not enough."""
    with pytest.raises(BadPicture):
        look(NO_PIXELS[name])


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("an SVG", b"<svg xmlns='http://www.w3.org/2000/svg' width='9'><rect/></svg>"),
        ("an SVG", b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- by us -->\n<!DOCTYPE svg PUBLIC "x">\n<svg></svg>'),
        ("a PDF", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3 and so on"),
        ("a web page", b"\n<!DOCTYPE html><html><body>502 Bad Gateway</body></html>"),
        ("a web page", b"<html lang='zh'>\xe9\x94\x99\xe8\xaf\xaf</html>"),
        ("JSON", b'{"error": {"code": 404, "message": "gone"}}'),
        ("an XML document", b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"),
        ("a text", "the picture has expired, 图片已过期".encode()),
        ("a HEIC picture", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 60),
        ("an AVIF picture", b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf" + b"\0" * 60),
        ("a JPEG XL picture", b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0" * 60),
        ("a JPEG XL picture", b"\xff\x0a" + b"\x31" * 60),
        ("a video", b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + b"\0" * 60),
        ("a ZIP archive", b"PK\x03\x04" + b"\0" * 60),
        ("a Photoshop file", b"8BPS\0\x01" + b"\0" * 60),
        ("", b"\x91\x02" * 60),
        ("", b"\0" * 600),
    ],
)
def test_another_kind_of_file_is_called_what_it_is(look: Look, name: str, data: bytes) -> None:
    """The next answer will be the same, which whoever buys must know."""
    with pytest.raises(BadPicture) as caught:
        look(data)

    assert caught.value.name == name


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF"])
def test_a_picture_of_one_colour_is_blank(look: Look, kind: str, mode: str) -> None:
    """In any format, at a size a model makes."""
    flat = Image.new(mode, (512, 512), 7 if mode in "LP" else (200, 30, 40, 255)[: len(mode)])

    assert look(encoded(flat.convert("RGB") if kind == "JPEG" else flat, kind)).is_blank


def test_a_picture_of_nearly_one_colour_is_blank(look: Look) -> None:
    """A gradient that nobody sees; and one of which nothing shows."""
    faint = Image.linear_gradient("L").resize((512, 512)).point(lambda level: 250 + level // 64)
    nothing = drawn((512, 512))
    nothing.putalpha(0)

    assert look(encoded(faint, "PNG")).is_blank
    assert look(encoded(nothing, "WEBP", lossless=True)).is_blank


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize("box", [(200, 200, 240, 216), (0, 0, 512, 3), (500, 500, 511, 511)])
def test_a_small_thing_on_a_white_ground_is_not_blank(look: Look, kind: str, box: tuple[int, int, int, int]) -> None:
    """A shop's pictures are mostly white."""
    picture = Image.new("RGB", (512, 512), "white")
    ImageDraw.Draw(picture).rectangle(box, fill=(120, 120, 160))

    assert not look(encoded(picture, kind)).is_blank


@pytest.mark.parametrize("pixels", [(16_000, 16_000), (40_000, 40_000)])
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(look: Look, pixels: tuple[int, int]) -> None:
    """A gigabyte of nothing in a few bytes, in a format that is only known by decoding."""
    with pytest.raises(BadPicture):
        look(b"GIF89a" + struct.pack("<HH", *pixels) + b"\0\0\0,\0\0\0\0" + struct.pack("<HH", *pixels) + b"\0\x02\0;")


def test_a_large_picture_that_is_small_as_a_file_is_kept(look: Look) -> None:
    """Above the number of pixels at which Pillow warns of a bomb."""
    facts = look(encoded(Image.new("1", (11_000, 10_000)), "PNG"))

    assert (facts.width, facts.height, facts.is_blank) == (11_000, 10_000, True)
