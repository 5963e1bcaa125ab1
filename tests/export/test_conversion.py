"""Pictures are converted on the way out; the originals are only read."""

from __future__ import annotations

import hashlib
import io

import pytest
from PIL import Image, ImageCms

from batch.core.errors import InputError, OptionError
from batch.export.conversion import checked, converted, mime_after
from batch.export.settings import Conversion
from tests.export.conftest import Shop, rows_of

RED = (200, 30, 30)


def saved(picture: Image.Image, form: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_the_longest_side_is_reduced_and_never_enlarged() -> None:
    """Each side keeps its share."""
    data = saved(Image.new("RGB", (400, 100), RED))

    sizes = [converted(data, Conversion(longest_side=side), "image/png")[1:] for side in (200, 1000)]

    assert sizes == [(200, 50), (400, 100)]


def test_a_square_has_the_picture_in_its_middle() -> None:
    """On the background, before and behind."""
    data = saved(Image.new("RGB", (100, 50), RED))

    found = opened(converted(data, Conversion(square=True, background="#00ff00"), "image/png")[0])

    assert found.size == (100, 100)
    assert [found.getpixel(place) for place in ((50, 0), (50, 50), (50, 99))] == [(0, 255, 0), RED, (0, 255, 0)]


def test_a_jpeg_has_the_background_where_nothing_was() -> None:
    """A format that can keeps what shows through, in a square, too."""
    data = saved(Image.new("RGBA", (64, 32), (0, 0, 0, 0)))
    conversion = Conversion(background="#ff0000", square=True)

    jpeg, png = (opened(converted(data, conversion, mime)[0]) for mime in ("image/jpeg", "image/png"))

    assert jpeg.getpixel((32, 32)) == pytest.approx((254, 0, 0), abs=2)
    assert png.convert("RGBA").getpixel((32, 2)) == (255, 255, 255, 0)


def test_a_picture_that_lies_on_its_side_is_put_upright() -> None:
    """Its EXIF orientation is applied and left out."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(Image.new("RGB", (80, 40), RED), "JPEG", exif=exif)

    found, width, height = converted(data, Conversion(mime="image/webp", longest_side=40), "image/webp")

    assert (width, height) == opened(found).size == (20, 40)
    assert not opened(found).getexif()


def test_colours_come_out_in_srgb() -> None:
    """A profile is applied and left out."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    lab = Image.new("LAB", (16, 16), (128, 128 + 60, 128 + 40))
    data = saved(lab, "TIFF", icc_profile=profile.tobytes())

    found = opened(converted(data, Conversion(mime="image/png"), "image/png")[0])

    assert found.mode == "RGB"
    assert "icc_profile" not in found.info
    assert max(found.getpixel((8, 8))) != 128  # type: ignore[arg-type]


def test_what_no_one_asked_to_change_keeps_its_format() -> None:
    """Only a new size makes a PNG of a format that is not written."""
    assert mime_after("image/gif", None) == "image/gif"
    assert mime_after("image/gif", Conversion(square=True)) == "image/png"
    assert mime_after("image/webp", Conversion(longest_side=100)) == "image/webp"
    assert mime_after("image/webp", Conversion(mime="image/jpeg")) == "image/jpeg"


def test_a_background_is_a_colour() -> None:
    """Told before anything is read."""
    with pytest.raises(OptionError, match="--background must be a colour"):
        checked(Conversion(background="whitish"))


async def test_a_picture_that_cannot_be_converted_is_named_and_the_rest_goes_on(shop: Shop) -> None:
    """Its cells stay as they were, its file is not there, and the exit code is 1. Originals keep their bytes."""
    await shop.run(b"Handle,Title,image\nkite,Kite,old\nmug,Mug,old\n")
    originals = {file.stem: file for file in (shop.output / "images").iterdir()}
    size = originals["mug"].stat().st_size
    originals["mug"].write_bytes(bytes(size))
    before = {file: hashlib.sha256(file.read_bytes()).digest() for file in originals.values()}

    done = shop.export(conversion=Conversion(mime="image/webp", longest_side=64))

    assert (done.pictures, done.exit_code) == (1, 1)
    assert [(job, "was changed" in words) for job, words in done.not_converted] == [("mug", True)]
    assert [row["image"] for row in rows_of(shop.exported(done))] == ["images/kite.webp", "old"]
    assert list(shop.pictures(done)) == ["kite.webp"]
    with Image.open(io.BytesIO(shop.pictures(done)["kite.webp"])) as picture:
        assert max(picture.size) == 64
        assert b"trainedAlgorithmicMedia" in picture.info["xmp"]
    assert {file: hashlib.sha256(file.read_bytes()).digest() for file in originals.values()} == before


async def test_where_nothing_can_be_converted_nothing_is_put_in_place(shop: Shop) -> None:
    """A table without any picture would be no export."""
    await shop.run(b"Handle,Title\nkite,Kite\n")
    [file] = (shop.output / "images").iterdir()
    file.write_bytes(bytes(file.stat().st_size))

    with pytest.raises(InputError, match="was changed"):
        shop.export()

    assert not (shop.output / "export/table").exists()
