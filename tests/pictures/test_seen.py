"""What a service that looks at the pixels alone is given looks as people see the file."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from typing import Any

import pytest
from PIL import Image, ImageCms, ImageDraw

from batch.pictures import opening, png
from batch.pictures.opening import UnreadablePicture, opened
from batch.pictures.seen import as_seen, checked_mime, is_plain

RED, BLUE = (220, 20, 20), (40, 120, 200)
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def scene(size: tuple[int, int] = (120, 80)) -> Image.Image:
    """A picture with a red bar at its top and a green corner: no turn of it looks the same."""
    picture = Image.new("RGB", size, BLUE)
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 0, size[0], size[1] // 4), fill=RED)
    pen.rectangle((0, size[1] * 3 // 4, size[0] // 4, size[1]), fill=(20, 200, 40))
    return picture


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def held(number: int) -> Image.Exif:
    """A camera's note of how it was held."""
    notes = Image.Exif()
    notes[0x0112] = number
    return notes


def lying(picture: Image.Image, orientation: int) -> Image.Image:
    """The picture as a sensor stored it that was held so."""
    return picture.transpose(TURNS[orientation]) if orientation in TURNS else picture


def seen(data: bytes, size: tuple[int, int] | None = None) -> Image.Image:
    with opened(io.BytesIO(data)) as found:
        return as_seen(found, size or found.picture.size)


def plain(data: bytes) -> bool:
    with opened(io.BytesIO(data)) as found:
        return is_plain(found)


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of the levels of two pictures, of 255."""
    assert one.size == other.size
    pairs = zip(one.convert("RGB").tobytes(), other.convert("RGB").tobytes(), strict=True)
    return sum(abs(first - second) for first, second in pairs) / (3 * one.width * one.height)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_seen_upright(kind: str, orientation: int) -> None:
    """However the camera was held, in every format that can note it."""
    data = saved(lying(scene(), orientation), kind, exif=held(orientation))
    assert difference(seen(data), scene()) < 4
    assert plain(data) == (orientation == 1)


def test_a_note_behind_the_pixels_counts() -> None:
    """A PNG may say how it was held after its pixels."""
    data = saved(lying(scene(), 6), "PNG")
    end = png.chunk(b"IEND", b"")
    data = data.removesuffix(end) + png.chunk(b"eXIf", held(6).tobytes().removeprefix(b"Exif\0\0")) + end
    assert difference(seen(data), scene()) == 0


GREY = Image.linear_gradient("L").resize((64, 64))


def wide(mode: str, factor: float) -> Image.Image:
    """The gradient with other levels."""
    picture = GREY.convert("F").point(lambda level: level * factor + 0.0)
    return picture if mode == "F" else picture.convert("I").convert(mode)


@pytest.mark.parametrize(
    "data",
    [
        saved(wide("I;16", 257), "PNG"),
        saved(wide("I;16", 257), "TIFF"),
        saved(wide("I", 257), "TIFF"),
        saved(wide("F", 1), "TIFF"),
        saved(wide("F", 1 / 255), "TIFF"),
        saved(wide("F", 257), "TIFF"),
        saved(wide("I;16", 257), "TIFF", compression="tiff_lzw"),
    ],
)
def test_greys_of_more_bits_keep_their_brightness(data: bytes) -> None:
    """Sixteen bits, and floats from 0 to 1, to 255 or to 65535."""
    assert difference(seen(data), GREY) <= 1
    assert not plain(data)


def deep_png(kind: int, levels: tuple[int, ...]) -> bytes:
    """A PNG of 16 bits, all pixels alike."""
    row = b"\0" + struct.pack(f">{len(levels)}H", *levels) * 8
    head = png.chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, kind, 0, 0, 0))
    return png.SIGNATURE + head + png.chunk(b"IDAT", zlib.compress(row * 8)) + png.chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (deep_png(2, (0xC800, 0x6400, 0x3200)), (200, 100, 50)),
        (deep_png(6, (0xC800, 0x6400, 0x3200, 0x8000)), (200, 100, 50, 128)),
        (deep_png(4, (0xC800, 0x8000)), (200, 200, 200, 128)),
        (saved(Image.new("LA", (8, 8), (200, 128)), "PNG"), (200, 200, 200, 128)),
        (saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF"), (255, 0, 0)),
        (saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), (255, 0, 0)),
        (saved(Image.new("YCbCr", (8, 8), (128, 128, 128)), "TIFF"), (128, 128, 128)),
        (saved(Image.new("LAB", (8, 8), (255, 128, 128)), "TIFF"), (255, 255, 255)),
    ],
)
def test_other_pixels_become_red_green_and_blue(data: bytes, expected: tuple[int, ...]) -> None:
    """With what shows through, as a service would not read it by itself."""
    pixel = seen(data).getpixel((4, 4))
    assert isinstance(pixel, tuple)
    assert len(pixel) == len(expected)
    assert all(abs(level - wanted) <= 3 for level, wanted in zip(pixel, expected, strict=True)), pixel
    assert not plain(data)


def transparent_palette() -> bytes:
    picture = Image.new("P", (8, 8), 0)
    picture.putpalette([200, 0, 0, 0, 200, 0])
    picture.paste(1, (0, 0, 8, 4))
    return saved(picture, "PNG", transparency=0)


@pytest.mark.parametrize(
    "data",
    [
        transparent_palette(),
        saved(Image.new("RGB", (8, 8), RED), "PNG", transparency=RED),
        saved(Image.new("L", (8, 8), 9), "PNG", transparency=9),
    ],
)
def test_a_transparent_colour_becomes_alpha(data: bytes) -> None:
    """White where nothing is seen, for a service that drops alpha."""
    assert not plain(data)
    assert seen(data).getpixel((4, 6)) == (255, 255, 255, 0)


def _profile(primaries: tuple[tuple[float, float, float], ...], gamma: float = 2.2) -> bytes:
    """A version 2 ICC profile of three primaries (XYZ, D50) and one gamma."""

    def fixed(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + bytes(78)
    white = b"XYZ \0\0\0\0" + fixed(0.9642) + fixed(1.0) + fixed(0.8249)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    parts = [(b"desc", text + bytes(-len(text) % 4)), (b"cprt", b"text\0\0\0\0no\0\0"), (b"wtpt", white)]
    for name, primary in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True):
        parts.append((name, b"XYZ \0\0\0\0" + b"".join(map(fixed, primary))))
    parts += [(name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")]
    place, table, body = 128 + 4 + 12 * len(parts), b"", b""
    for name, content in parts:
        table += name + struct.pack(">II", place + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s", 0, b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + fixed(0.9642) + fixed(1.0) + fixed(0.8249) + bytes(48)
    whole = head + struct.pack(">I", len(parts)) + table + body
    return struct.pack(">I", len(whole)) + whole[4:]


DISPLAY_P3 = _profile(((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_colours_of_a_wide_space_become_srgb(kind: str) -> None:
    """A phone's red is stored with other numbers than sRGB's; a service reads the numbers."""
    options = {} if kind in ("PNG", "TIFF") else {"quality": 95}
    data = saved(Image.new("RGB", (16, 16), (200, 60, 50)), kind, icc_profile=DISPLAY_P3, **options)
    pixel = seen(data).getpixel((8, 8))
    assert isinstance(pixel, tuple)
    assert all(abs(level - wanted) <= 4 for level, wanted in zip(pixel, (219, 37, 34), strict=True)), pixel
    assert "icc_profile" not in seen(data).info
    assert plain(data) is False


@pytest.mark.parametrize("profile", [SRGB, b"", b"no profile at all", SRGB[:200], DISPLAY_P3[:300]])
def test_a_profile_that_changes_nothing_leaves_the_file_alone(profile: bytes) -> None:
    """sRGB itself, and what cannot be read: viewers show such a picture as if it had none."""
    data = saved(Image.new("RGB", (16, 16), (200, 60, 50)), "PNG", icc_profile=profile)
    assert plain(data)
    assert seen(data).getpixel((8, 8)) == (200, 60, 50)


def test_a_profile_of_other_pixels_is_ignored() -> None:
    """A grey picture with a profile for red, green and blue."""
    assert seen(saved(Image.new("L", (8, 8), 77), "JPEG", icc_profile=DISPLAY_P3)).getpixel((4, 4)) == (77, 77, 77)


def test_the_first_frame_is_the_picture() -> None:
    """Of what moves or has pages."""
    frames = [scene(), Image.new("RGB", (120, 80), "white")]
    for kind in ("GIF", "WEBP", "TIFF", "PNG"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert difference(seen(data), scene()) < 12, kind
    assert not plain(saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]))


NOTE = b"zTXtworkflow\0\0" + zlib.compress(b"step " * 400_000)


@pytest.mark.parametrize(
    ("chunk", "place"),
    [
        (png.chunk(NOTE[:4], NOTE[4:]), b"IDAT"),
        (png.chunk(NOTE[:4], NOTE[4:]), b"IEND"),
        (png.chunk(b"iTXt", b"history\0\1\0\0\0" + zlib.compress(b"step " * 400_000)), b"IEND"),
        (png.chunk(b"iCCP", b"wide\0\0" + zlib.compress(DISPLAY_P3 + bytes(2 << 20))), b"IDAT"),
        (png.chunk(b"iCCP", b"wide\0\7whatever"), b"IDAT"),
        (png.chunk(b"pHYs", b"\0"), b"IDAT"),
    ],
)
def test_notes_beside_the_pixels_are_no_damage(chunk: bytes, place: bytes) -> None:
    """Long texts, long or odd profiles: the picture is whole, and is sent without what others stumble over."""
    data = saved(scene(), "PNG")
    at = data.index(place) - 4
    noted = data[:at] + chunk + data[at:]
    assert checked_mime(io.BytesIO(noted)) == "image/png"
    assert not plain(noted)
    assert difference(seen(noted), scene()) < 30


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16", "LA"])
def test_large_pictures_look_the_same_in_parts(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in bands or decoded as a whole, reduced or not."""
    source = scene((1200, 801)).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        source = source.convert("F").point(lambda level: level * 257 + 0.0).convert("I").convert("I;16")
    data = saved(source, "PNG")
    expected = scene((1200, 801)).convert("L" if mode in ("L", "I;16", "LA") else "RGB").resize((60, 40))

    assert difference(seen(data, (60, 40)), expected) < 2
    monkeypatch.setattr(opening, "LARGE_PIXELS", 10_000)
    with opened(io.BytesIO(data)) as found:
        assert found.in_bands
    assert difference(seen(data, (60, 40)), expected) < 2
    assert checked_mime(io.BytesIO(data)) == "image/png"
    with pytest.raises(UnreadablePicture, match="cut off"):
        checked_mime(io.BytesIO(data[: len(data) * 3 // 4]))


@pytest.mark.parametrize(("width", "height"), [(65_535, 1), (1, 65_535), (40_000, 3)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_a_picture_of_one_row_is_a_picture(width: int, height: int, kind: str) -> None:
    """Sides are at least one pixel."""
    if kind == "JPEG":
        width, height = min(width, 65_500), min(height, 65_500)
    data = saved(Image.new("RGB", (width, height), RED), kind)
    assert checked_mime(io.BytesIO(data))
    assert seen(data, (max(1, width // 40), max(1, height // 40))).size == (max(1, width // 40), max(1, height // 40))


def test_jpeg_2000_is_read_and_its_cut_found() -> None:
    """Its decoder makes something of any piece."""
    data = saved(scene(), "JPEG2000")
    assert checked_mime(io.BytesIO(data)) == "image/jp2"
    assert difference(seen(data), scene()) < 6
    with pytest.raises(UnreadablePicture, match="cut off"):
        checked_mime(io.BytesIO(data[: len(data) * 2 // 3]))


def test_heic_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named, and the way without it."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UnreadablePicture, match=r"pip install 'imagebatch\[heic\]' \(or save it as JPEG\)"):
        checked_mime(io.BytesIO(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)))


def test_heic_is_read_with_its_library() -> None:
    """Upright, as every other format."""
    heif = pytest.importorskip("pillow_heif")
    out = io.BytesIO()
    heif.from_pillow(lying(scene(), 6)).save(out, quality=90, exif=held(6).tobytes())
    assert checked_mime(out) == "image/heic"
    assert difference(seen(out.getvalue()), scene()) < 6
