"""Reference pictures on their way into a request: untouched where they fit, made to fit where they do not."""

from __future__ import annotations

import asyncio
import base64
import io
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageCms, ImageOps

from batch.core.errors import Paid, Refused
from batch.core.model import Reference
from batch.core.profiles import CAREFUL_LIMITS, GOOGLE_LIMITS, ReferenceLimits
from batch.core.registry import resolve_endpoint
from batch.core.settings import ProviderSettings
from batch.providers.gemini import GeminiProvider
from batch.providers.references import references
from batch.providers.references.references import EncodedReference, ReferenceEncoder
from batch.providers.references.shrinking import CannotFit, fitted
from tests.support.fakes import reference

#: Small enough for tests to go through everything.
SMALL = ReferenceLimits(side_pixels=200, file_bytes=30_000, body_bytes=70_000)


def picture(kind: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (6, 4), **options: Any) -> bytes:
    out = io.BytesIO()
    made = Image.new(mode, size)
    if options.pop("solid", False):
        made.putalpha(255)
    made.save(out, kind, **options)
    return out.getvalue()


def noise(kind: str = "PNG", size: tuple[int, int] = (180, 180), *, alpha: bool = False, **options: Any) -> bytes:
    """A picture that no encoder makes small."""
    out = io.BytesIO()
    made = Image.frombytes("RGB", size, os.urandom(3 * size[0] * size[1]))
    if alpha:
        made.putalpha(Image.linear_gradient("L").resize(size))
    made.save(out, kind, **options)
    return out.getvalue()


def sent(encoded: EncodedReference) -> bytes:
    return base64.b64decode(encoded.base64)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("GIF", "P"),
        ("BMP", "RGB"),
        ("TIFF", "RGB"),
        ("TIFF", "CMYK"),
        ("TIFF", "RGBA"),
        ("TIFF", "L"),
        ("GIF", "1"),
        ("AVIF", "RGB"),
        ("TIFF", "I;16"),
        ("TIFF", "F"),
    ],
)
async def test_formats_the_api_does_not_take_become_png(kind: str, mode: str, tmp_path: Path) -> None:
    """The picture goes out as PNG of the same size, declared as what it is."""
    given = reference(tmp_path, picture(kind, mode), f"image/{kind.lower()}")
    [encoded] = await ReferenceEncoder().encode([given])
    image = opened(sent(encoded))
    assert (encoded.mime, image.format, image.size) == ("image/png", "PNG", (6, 4))


@pytest.mark.parametrize("mime", ["image/png", "image/jpeg", "image/webp"])
@pytest.mark.parametrize("limits", [CAREFUL_LIMITS, GOOGLE_LIMITS])
async def test_what_fits_goes_out_as_it_is(mime: str, limits: ReferenceLimits, tmp_path: Path) -> None:
    """Not one byte is changed, metadata and all."""
    data = picture(mime.removeprefix("image/").upper(), size=(2048, 30))
    [encoded] = await ReferenceEncoder(limits).encode([reference(tmp_path, data, mime)])
    assert (encoded.mime, sent(encoded)) == (mime, data)


def test_limits_by_endpoint() -> None:
    """Only Google's own address is known to take more."""
    limits = {
        name: resolve_endpoint(ProviderSettings(profile=name)).reference_limits
        for name in ("anyfast", "simulator", "google")
    }
    assert limits == {"anyfast": CAREFUL_LIMITS, "simulator": CAREFUL_LIMITS, "google": GOOGLE_LIMITS}
    elsewhere = ProviderSettings(profile="google", base_url="https://relay.example.com")
    assert resolve_endpoint(elsewhere).reference_limits == CAREFUL_LIMITS
    assert (CAREFUL_LIMITS.side_pixels, CAREFUL_LIMITS.file_bytes, CAREFUL_LIMITS.body_bytes) == (2048, 4e6, 18e6)
    assert (GOOGLE_LIMITS.side_pixels, GOOGLE_LIMITS.file_bytes, GOOGLE_LIMITS.body_bytes) == (None, 7e6, 95e6)


TOO_LARGE = {
    "too long, PNG": (picture(size=(400, 100)), "image/png", "image/jpeg", (200, 50)),
    "too long, JPEG": (picture("JPEG", size=(3000, 1500)), "image/jpeg", "image/jpeg", (200, 100)),
    "too long, WebP": (picture("WEBP", size=(201, 10)), "image/webp", "image/jpeg", (200, 10)),
    "too long, GIF": (picture("GIF", "P", size=(400, 100)), "image/gif", "image/jpeg", (200, 50)),
    "too many bytes": (noise(size=(110, 110)), "image/png", "image/jpeg", (110, 110)),
    "too many bytes, BMP": (noise("BMP", size=(110, 110)), "image/bmp", "image/jpeg", (110, 110)),
    "too long, shows through": (picture(mode="RGBA", size=(400, 100)), "image/png", "image/png", (200, 50)),
    "too many bytes, shows through": (noise(size=(100, 100), alpha=True), "image/png", "image/webp", (100, 100)),
    "alpha that hides nothing": (
        picture(mode="RGBA", size=(400, 100), solid=True),
        "image/png",
        "image/jpeg",
        (200, 50),
    ),
    "grey, 16 bit": (picture(mode="I;16", size=(400, 100)), "image/png", "image/jpeg", (200, 50)),
    "four colours": (picture("JPEG", "CMYK", size=(400, 100)), "image/jpeg", "image/jpeg", (200, 50)),
}


@pytest.mark.parametrize("what", TOO_LARGE)
def test_what_does_not_fit_is_encoded_again(what: str) -> None:
    """JPEG, or PNG and WebP where something shows through; as large as it may be."""
    data, _, expected_mime, expected_size = TOO_LARGE[what]
    mime, made = fitted(io.BytesIO(data), side_pixels=200, most_bytes=30_000)
    image = opened(made)
    assert (mime, Image.MIME[image.format or ""], image.size) == (expected_mime, expected_mime, expected_size)
    assert len(made) <= 30_000
    assert ("A" in image.getbands()) == ("shows through" in what)


def test_no_quality_low_enough_makes_the_sides_shorter() -> None:
    """Small is better than refused, and there is a smallest."""
    data = noise(size=(180, 180))
    mime, made = fitted(io.BytesIO(data), side_pixels=200, most_bytes=9_000)
    image = opened(made)
    assert mime == "image/jpeg"
    assert image.width == image.height < 180
    with pytest.raises(CannotFit):
        fitted(io.BytesIO(data), side_pixels=200, most_bytes=100)


def test_a_photograph_is_turned_upright_and_its_notes_are_left_out() -> None:
    """What a camera notes beside the pixels is applied, so nothing of it is needed any more."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = picture("JPEG", size=(400, 100), exif=exif, icc_profile=profile)
    image = opened(fitted(io.BytesIO(data), side_pixels=200, most_bytes=30_000)[1])
    assert image.size == (50, 200)
    assert "icc_profile" not in image.info
    assert 0x0112 not in image.getexif()


@pytest.mark.parametrize("notes", [b"", b"II*\0", b"II*\0\xff\xff\xff\x7f", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02"])
def test_damaged_notes_of_a_camera_do_no_harm(notes: bytes) -> None:
    """The picture is whole, so it is sent."""
    data = picture("JPEG", size=(400, 100), exif=b"Exif\0\0" + notes)
    assert opened(fitted(io.BytesIO(data), side_pixels=200, most_bytes=30_000)[1]).size == (200, 50)


def test_sixteen_bits_keep_their_greys() -> None:
    """Half bright stays half bright."""
    grey = Image.new("I;16", (300, 10), 32768)
    out = io.BytesIO()
    grey.save(out, "PNG")
    image = opened(fitted(out, side_pixels=200, most_bytes=30_000)[1])
    assert abs(image.convert("L").getpixel((5, 3)) - 128) <= 2  # type: ignore[operator]


async def test_several_share_the_request(tmp_path: Path) -> None:
    """Small ones stay as they are; large ones are made smaller until all fit."""
    large = [reference(tmp_path, noise(size=(90, 90)), name=f"large {n}") for n in range(3)]
    small = reference(tmp_path, noise(size=(20, 20)), name="small")
    encoder = ReferenceEncoder(SMALL)
    alone = await encoder.encode(large[:1])
    together = await encoder.encode([*large, small])
    assert sent(alone[0]) == large[0].file.read_bytes()
    assert sent(together[3]) == small.file.read_bytes()
    assert all(len(sent(one)) < one_alone.size_bytes for one, one_alone in zip(together, large, strict=False))
    assert sum(len(one.base64) for one in together) <= SMALL.body_bytes
    assert sum(len(one.base64) for one in together) > SMALL.body_bytes * 0.5


async def test_a_request_is_never_larger_than_the_limit(tmp_path: Path, tools: Any) -> None:
    """The prompt counts too, and fourteen pictures fit by being small."""
    given = tuple(reference(tmp_path, noise("JPEG", size=(1500, 1500)), "image/jpeg", str(n)) for n in range(14))
    endpoint = resolve_endpoint(ProviderSettings(profile="simulator"))
    provider = GeminiProvider(endpoint, "http://127.0.0.1:9", tools.api_key, tools.QUICK, tools.clock)
    request = await provider.prepare(tools.job("x" * 500_000, references=given))
    await provider.aclose()
    assert 9_000_000 < request.size_bytes <= CAREFUL_LIMITS.body_bytes


@pytest.mark.parametrize("beside", [0, 69_000])
async def test_what_can_never_fit_is_refused_before_it_is_sent(beside: int, tmp_path: Path) -> None:
    """The provider's 413 would say less, after a long upload."""
    limits = ReferenceLimits(side_pixels=200, file_bytes=100 if not beside else 30_000, body_bytes=70_000)
    given = [reference(tmp_path, noise(), name=str(n)) for n in range(2)]
    with pytest.raises(Refused, match=r"cannot be made to fit into a request of 0\.07 MB; send less") as caught:
        await ReferenceEncoder(limits).encode(given, beside_bytes=beside)
    assert (caught.value.code, caught.value.paid) == ("request_too_large", Paid.NO)


@pytest.mark.parametrize(("change", "code"), [("rewrite", "reference_changed"), ("remove", "reference_unreadable")])
async def test_a_reference_that_changed_since_it_was_checked_is_not_sent(
    change: str, code: str, tmp_path: Path
) -> None:
    """The job was planned with other bytes; a later run may plan it anew."""
    given = reference(tmp_path, picture())
    given.file.unlink()
    if change == "rewrite":
        given.file.write_bytes(picture(size=(9, 9)))
    with pytest.raises(Refused) as caught:
        await ReferenceEncoder().encode([given])
    assert (caught.value.code, caught.value.may_work_later) == (code, True)


async def test_a_reference_that_cannot_be_converted_is_refused(tmp_path: Path) -> None:
    """Half a GIF fails its own job and nothing else."""
    data = picture("GIF", "P", (300, 300))
    with pytest.raises(Refused, match="is damaged or cut off"):
        await ReferenceEncoder().encode([reference(tmp_path, data[: len(data) // 2], "image/gif")])


async def test_what_is_kept_in_memory_is_bounded(tmp_path: Path) -> None:
    """The least recently used go first, one that is too large is not kept at all, and a hit reads no file."""
    encoder = ReferenceEncoder(cache_bytes=2500)
    given = [reference(tmp_path, picture() + bytes([number]) * 700, name=str(number)) for number in range(4)]
    for one in (*given[:2], given[0], *given[2:]):
        await encoder.encode([one])
    assert encoder.kept == [given[2].sha256, given[3].sha256]
    await encoder.encode([reference(tmp_path, picture() + b"x" * 9000, name="large")])
    assert encoder.kept == [given[2].sha256, given[3].sha256]
    assert 0 < encoder.held_bytes <= 2500
    given[3].file.unlink()
    assert (await encoder.encode([given[3]]))[0].mime == "image/png"


async def test_one_picture_is_worked_on_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many requests need it, at once or one after the other, and whoever of them gives up."""
    worked_on: list[str] = []
    encode = references.encode_reference

    def watched(picture: Reference, *args: Any) -> Any:
        worked_on.append(picture.name)
        return encode(picture, *args)

    monkeypatch.setattr(references, "encode_reference", watched)
    shared = reference(tmp_path, noise(size=(300, 300)), name="shared")
    encoder = ReferenceEncoder(SMALL)

    first = asyncio.create_task(encoder.encode([shared]))
    await asyncio.sleep(0)
    others = [asyncio.create_task(encoder.encode([shared])) for _ in range(200)]
    await asyncio.sleep(0)
    first.cancel()
    made = {sent(encoded) for [encoded] in await asyncio.gather(*others)}
    for _ in range(10_000):
        await encoder.encode([shared])

    assert worked_on == ["shared"]
    assert len(made) == 1
    assert not encoder.is_busy


async def test_an_error_is_told_to_all_who_wait(tmp_path: Path) -> None:
    """And forgotten then: the next request tries again."""
    gone = reference(tmp_path, picture())
    gone.file.unlink()
    encoder = ReferenceEncoder()
    results = await asyncio.gather(*(encoder.encode([gone]) for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [Refused] * 5
    gone.file.write_bytes(picture())
    assert await encoder.encode([gone])


def photograph(orientation: int = 1, size: tuple[int, int] = (160, 96), **options: Any) -> bytes:
    """A JPEG with structure and colour, not upright if so noted."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    made = Image.merge("RGB", [Image.effect_noise((20, 12), 60 + 20 * band) for band in range(3)]).resize(size)
    out = io.BytesIO()
    made.save(out, "JPEG", exif=exif, **options)
    return out.getvalue()


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("quality", [60, 95])
def test_a_small_photograph_is_turned_with_hardly_a_loss(orientation: int, quality: int) -> None:
    """It is saved with its own quantization, turned as it is, so its pixels stay, and so does its size."""
    data = photograph(orientation, quality=quality)
    mime, made = fitted(io.BytesIO(data), side_pixels=2048, most_bytes=4_000_000)
    upright = ImageOps.exif_transpose(opened(data))
    differences = ImageChops.difference(opened(made), upright).convert("L").histogram()
    assert mime == "image/jpeg"
    assert sum(level * pixels for level, pixels in enumerate(differences)) < 2 * upright.width * upright.height
    assert len(made) < 1.1 * len(data)
    assert 0x0112 not in opened(made).getexif()


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_every_sampling_can_be_turned(sampling: str) -> None:
    """Also the one that Pillow cannot write on its side."""
    made = fitted(io.BytesIO(photograph(6, subsampling=sampling)), side_pixels=2048, most_bytes=4_000_000)[1]
    assert opened(made).size == (96, 160)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_other_small_pictures_are_turned_without_loss(kind: str) -> None:
    """As PNG, which keeps every pixel."""
    exif = Image.Exif()
    exif[0x0112] = 8
    data = picture(kind, size=(60, 40), exif=exif)
    mime, made = fitted(io.BytesIO(data), side_pixels=2048, most_bytes=4_000_000)
    assert (mime, opened(made).size) == ("image/png", (40, 60))
    assert ImageChops.difference(opened(made), ImageOps.exif_transpose(opened(data))).getbbox() is None


def test_the_same_file_gives_the_same_bytes() -> None:
    """In another process and another year too: nothing of the clock is in them."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    data = photograph(6, icc_profile=profile)
    made = {fitted(io.BytesIO(data), side_pixels=100, most_bytes=9_000)[1] for _ in range(3)}
    assert len(made) == 1
    assert b"acsp" not in made.pop()


def test_a_provider_without_a_limit_of_sides_still_gets_bounded_ones() -> None:
    """What must be encoded again would otherwise be held in full."""
    exif = Image.Exif()
    exif[0x0112] = 3
    data = picture("JPEG", size=(6000, 300), exif=exif)
    assert opened(fitted(io.BytesIO(data), side_pixels=None, most_bytes=7_000_000)[1]).size == (4096, 205)
