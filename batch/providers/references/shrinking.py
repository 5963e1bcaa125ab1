"""A picture made to fit a provider's limits. Pure: bytes in, bytes out.

What fits is not touched. What does not is encoded again: upright, scaled to the longest side allowed, and then with
so little loss as its bytes allow. Transparency is kept.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from PIL import Image, ImageOps

from batch.core.image_models import REFERENCE_MIME_TYPES

_QUALITIES: Final = (92, 86, 80, 72, 64)
#: When no quality is low enough, the sides become shorter by this much.
_SCALE: Final = 0.75
_SMALLEST_SIDE: Final = 64
_16_BIT: Final = 65535


class CannotFit(Exception):
    """There is no version of the picture so small."""


def fitted(data: bytes, mime: str, *, side_pixels: int | None, most_bytes: int) -> tuple[str, bytes]:
    """MIME type and bytes of the picture as it may be sent: the given ones if they are within the limits.

    Raises CannotFit, or whatever Pillow raises for a picture that is none.
    """
    with _quiet(), Image.open(io.BytesIO(data)) as picture:
        is_short = side_pixels is None or max(picture.size) <= side_pixels
        if is_short and mime in REFERENCE_MIME_TYPES and len(data) <= most_bytes:
            return mime, data
        if side_pixels is not None:
            # A JPEG may be read at a half or a quarter of its size, never below twice what is needed.
            picture.draft(None, (2 * side_pixels, 2 * side_pixels))
        plain = _plain(picture)
    if side_pixels is not None:
        plain.thumbnail((side_pixels, side_pixels), Image.Resampling.LANCZOS, reducing_gap=3.0)
    for kind, made in _versions(plain, lossless_first=is_short and mime not in REFERENCE_MIME_TYPES):
        if len(made) <= most_bytes:
            return kind, made
    raise CannotFit


@contextmanager
def _quiet() -> Iterator[None]:
    """Warnings about whole pictures are of no use. Other threads may be quiet for as long, which does no harm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _versions(picture: Image.Image, *, lossless_first: bool) -> Iterator[tuple[str, bytes]]:
    """Ever smaller encodings, ever shorter sides."""
    has_alpha = picture.mode == "RGBA"
    while True:
        if has_alpha or lossless_first:
            yield "image/png", _saved(picture, "PNG")
        for quality in _QUALITIES:
            if has_alpha:
                yield "image/webp", _saved(picture, "WEBP", quality=quality, alpha_quality=100)
            else:
                yield "image/jpeg", _saved(picture, "JPEG", quality=quality)
        side = round(max(picture.size) * _SCALE)
        if side < _SMALLEST_SIDE:
            return
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        lossless_first = False


def _saved(picture: Image.Image, kind: str, **options: int) -> bytes:
    out = io.BytesIO()
    profile = picture.info.get("icc_profile")
    picture.save(out, kind, icc_profile=profile, **options)
    return out.getvalue()


def _plain(picture: Image.Image) -> Image.Image:
    """The first frame, upright, as RGB, or as RGBA if anything shows through."""
    upright = _upright(picture)
    profile = picture.info.get("icc_profile") or b""
    if upright.mode.startswith(("I", "F")):
        upright = _eight_bits(upright)
    has_alpha = "A" in upright.getbands() or "transparency" in upright.info
    plain = upright.convert("RGBA" if has_alpha else "RGB")
    if has_alpha and plain.getchannel("A").getextrema()[0] == 255:
        plain = plain.convert("RGB")
    # A profile for other than red, green and blue says nothing about the pixels as they are now.
    plain.info = {"icc_profile": profile} if profile[16:20] == b"RGB " else {}
    return plain


def _upright(picture: Image.Image) -> Image.Image:
    """Turned as the camera was held; damaged notes of it are no reason to refuse a whole picture."""
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # noqa: BLE001  (whatever Pillow stumbles over in there)
        return picture


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Grey with more than eight bits; plain conversion would cut off everything above 255."""
    wide = picture.convert("F")
    low, high = wide.getextrema()
    assert isinstance(low, float)
    assert isinstance(high, float)
    if low >= 0 and high <= 255:
        return wide.convert("L")
    if picture.mode.startswith("I;16") or (low >= 0 and high <= _16_BIT):
        low, high = 0.0, float(_16_BIT)
    scale = 255 / (high - low) if high > low else 0.0
    return wide.point(lambda value: value * scale - low * scale).convert("L")
