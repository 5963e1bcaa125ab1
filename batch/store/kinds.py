"""What a file is by its first bytes, in words: so that a person is told "a PDF" and not "damaged"."""

from __future__ import annotations

import codecs
import re
from typing import Final

RIFF_HEAD_BYTES: Final = 12
#: As much of a file's beginning as is looked at.
HEAD_BYTES: Final = 1024

#: Brands of the ISO base media format.
_BRANDS: Final = (
    ("an AVIF picture", frozenset({b"avif", b"avis"})),
    ("a HEIC picture", frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})),
)
_BEGINNINGS: Final = (
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"II+\0", "a BigTIFF picture"),
    (b"MM\0+", "a BigTIFF picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"8BPS", "a Photoshop file"),
    (b"\0\0\x01\0", "an icon"),
    (b"qoif", "a QOI picture"),
    (b"%PDF", "a PDF"),
    (b"%!PS", "a PostScript file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"\x1a\x45\xdf\xa3", "a video"),
    (b"ID3", "a sound"),
    (b"OggS", "a sound"),
)
_SVG: Final = re.compile(rb"\s*(<\?xml[^>]*>|<!--.*?-->|<!DOCTYPE svg[^>]*>|\s)*<svg[\s>]", re.DOTALL | re.I)
_PAGE: Final = re.compile(rb"\s*(<\?xml[^>]*>|<!--.*?-->|\s)*<(!doctype html|html|head|body)[\s>]", re.DOTALL | re.I)


def named(head: bytes) -> str | None:
    """What begins like this, with its article; None if it is nothing we know. `inspect` knows PNG, JPEG and WebP."""
    if head[4:8] == b"ftyp":
        return _media(head)
    for beginning, name in _BEGINNINGS:
        if head.startswith(beginning):
            return name
    if head.startswith(b"RIFF"):
        return {b"WAVE": "a sound", b"AVI ": "a video"}.get(head[8:12])
    return _text(head.removeprefix(b"\xef\xbb\xbf"))


def _media(head: bytes) -> str:
    """By the brands: the main one, and those it agrees with. HEIF's general ones stand in AVIF files too."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[place : place + 4] for place in range(16, end, 4))}
    return next((name for name, known in _BRANDS if not known.isdisjoint(brands)), "a video")


def _text(head: bytes) -> str | None:
    if _SVG.match(head):
        return "an SVG"
    if _PAGE.match(head):
        return "a web page"
    if head.lstrip()[:1] in (b"{", b"["):
        return "JSON"
    if head.lstrip().startswith(b"<?xml"):
        return "an XML document"
    if len(head) > 20 and not re.search(rb"[\x00-\x08\x0e-\x1f\x7f]", head) and _is_utf8(head):
        return "a text"
    return None


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return True
