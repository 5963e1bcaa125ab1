"""How pictures begin: the one table of it, for those who look for pictures and for those who name what else came."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

#: As many bytes tell every kind; fewer leave a HEIC or AVIF open that says so only in its second brand.
HEAD_BYTES: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A kind of picture: its name with an article, and its MIME type."""

    name: str
    mime: str


_BEGINNINGS: Final = tuple(
    (re.compile(pattern, re.DOTALL), Signature(name=name, mime=mime))
    for pattern, name, mime in (
        (rb"\x89PNG\r\n\x1a\n", "a PNG picture", "image/png"),
        (rb"\xff\xd8\xff", "a JPEG picture", "image/jpeg"),
        (rb"RIFF....WEBP", "a WebP picture", "image/webp"),
        (rb"GIF8[79]a", "a GIF picture", "image/gif"),
        (rb"BM....\0\0\0\0", "a BMP picture", "image/bmp"),
        (rb"II\*\0|MM\0\*", "a TIFF picture", "image/tiff"),
        (rb"II\+\0|MM\0\+", "a BigTIFF picture", "image/tiff"),
        (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 picture", "image/jp2"),
        (rb"\0\0\0\x0cJXL ", "a JPEG XL picture", "image/jxl"),
        (rb"\0\0\x01\0[^\0]\0", "an icon", "image/x-icon"),
        (rb"P[1-6]\s+(?:#[^\n]*\n\s*)*\d+\s+\d+\s", "a PPM picture", "image/x-portable-pixmap"),
        (rb"8BPS\0[\x01\x02]", "a Photoshop file", "image/vnd.adobe.photoshop"),
        (rb"qoif", "a QOI picture", "image/qoi"),
    )
)
#: Brands of the ISO base media format.
_BRANDS: Final = (
    (Signature(name="an AVIF picture", mime="image/avif"), frozenset({b"avif", b"avis"})),
    (
        Signature(name="a HEIC picture", mime="image/heic"),
        frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}),
    ),
)


def signature(head: bytes) -> Signature | None:
    """The kind of picture that begins like this; None for anything else."""
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    return next((kind for pattern, kind in _BEGINNINGS if pattern.match(head)), None)


def begins_as_picture(head: bytes) -> bool:
    """Whether bytes begin as those of a picture do."""
    return signature(head) is not None


def _by_brand(head: bytes) -> Signature | None:
    """By the main brand and those it agrees with. HEIF's general ones stand in AVIF files too."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[place : place + 4] for place in range(16, end, 4))}
    return next((kind for kind, known in _BRANDS if not known.isdisjoint(brands)), None)
