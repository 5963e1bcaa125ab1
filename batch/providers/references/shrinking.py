"""A picture made to fit a provider's limits. Pure: a file's bytes in, bytes out, the same each time.

What fits, and looks to a service as it does to people, is not touched. Everything else is encoded again: upright, in
sRGB, scaled to the longest side allowed, and then with so little loss as its bytes allow. Transparency is kept.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from PIL import Image, JpegImagePlugin

from batch.core.image_models import REFERENCE_MIME_TYPES
from batch.pictures.opening import Opened, opened
from batch.pictures.seen import as_seen, is_plain, orientation

#: Pictures that must be encoded again get no longer than this, whatever a provider takes.
LONGEST_SIDE: Final = 4096
_QUALITIES: Final = (92, 86, 80, 72, 64)
#: When no quality is low enough, the sides become shorter by this much.
_SCALE: Final = 0.75
_SMALLEST_SIDE: Final = 64
#: Orientations in which rows have become columns.
_ON_ITS_SIDE: Final = (5, 6, 7, 8)


class CannotFit(Exception):
    """There is no version of the picture so small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _First:
    """The encoding to try first: a file's kind, and how it is saved."""

    mime: str
    options: dict[str, Any]


def fitted(file: BinaryIO, *, side_pixels: int | None, most_bytes: int) -> tuple[str, bytes]:
    """MIME type and bytes of the picture as it may be sent: the file's own if they may be.

    Raises CannotFit, or UnreadablePicture.
    """
    with opened(file) as found:
        size_bytes = file.seek(0, os.SEEK_END)
        is_short = side_pixels is None or max(found.picture.size) <= side_pixels
        may_stay = is_short and size_bytes <= most_bytes and found.mime in REFERENCE_MIME_TYPES
        if may_stay and is_plain(found):
            file.seek(0)
            return found.mime, file.read()
        size = _scaled(found.picture.size, side_pixels or LONGEST_SIDE)
        first = _first(found, is_scaled=size != found.picture.size, fits=may_stay)
        seen = as_seen(found, size)
    for mime, made in _versions(seen, first):
        if len(made) <= most_bytes:
            return mime, made
    raise CannotFit


def _scaled(size: tuple[int, int], side: int) -> tuple[int, int]:
    """The size of a picture with the same shape and no side longer than `side`."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _first(found: Opened, *, is_scaled: bool, fits: bool) -> _First | None:
    """The way to encode a picture again that loses least, unless it is scaled: then nothing stays as it was."""
    if is_scaled:
        return None
    if found.mime == "image/jpeg" and found.picture.mode in ("L", "RGB"):
        return _First(mime="image/jpeg", options=_own_tables(found))
    # Of a photograph whose bytes were too many, a PNG has too many again.
    return _First(mime="image/png", options={}) if fits or found.mime not in REFERENCE_MIME_TYPES else None


def _own_tables(found: Opened) -> dict[str, Any]:
    """A JPEG's own quantization: what is saved with it again comes out nearly as it was, and not larger."""
    picture = found.picture
    tables = getattr(picture, "quantization", {})
    on_its_side = orientation(found) in _ON_ITS_SIDE
    if on_its_side:
        tables = {number: [table[8 * (k % 8) + k // 8] for k in range(64)] for number, table in tables.items()}
    sampling = JpegImagePlugin.get_sampling(picture)
    # 4:2:2 on its side is 4:4:0, which Pillow does not write.
    return {"qtables": tables, "subsampling": 0 if sampling < 0 or (sampling == 1 and on_its_side) else sampling}


def _versions(picture: Image.Image, first: _First | None) -> Iterator[tuple[str, bytes]]:
    """Ever smaller encodings, ever shorter sides."""
    has_alpha = picture.mode == "RGBA"
    if first is not None:
        yield first.mime, _saved(picture, first.mime, **first.options)
    while True:
        if has_alpha:
            yield "image/png", _saved(picture, "image/png")
        for quality in _QUALITIES:
            if has_alpha:
                yield "image/webp", _saved(picture, "image/webp", quality=quality, alpha_quality=100)
            else:
                yield "image/jpeg", _saved(picture, "image/jpeg", quality=quality)
        side = round(max(picture.size) * _SCALE)
        if side < _SMALLEST_SIDE:
            return
        picture = picture.resize(_scaled(picture.size, side), Image.Resampling.LANCZOS)


def _saved(picture: Image.Image, mime: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, mime.removeprefix("image/"), **options)
    return out.getvalue()
