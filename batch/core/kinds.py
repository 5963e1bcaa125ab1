"""What a file is by its first bytes, in words: so that a person is told "a PDF" and not "damaged"."""

from __future__ import annotations

import codecs
import re
from typing import Final

from batch.core.signatures import signature

RIFF_HEAD_BYTES: Final = 12
#: As much of a file's beginning as is looked at.
HEAD_BYTES: Final = 1024

_BEGINNINGS: Final = (
    (b"\xff\x0a", "a JPEG XL picture"),  # too little to tell a picture from any base64, so no signature
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
    """What begins like this, with its article; None if it is nothing we know."""
    picture = signature(head)
    if picture is not None:
        return picture.name
    if head[4:8] == b"ftyp":
        return "a video"
    for beginning, name in _BEGINNINGS:
        if head.startswith(beginning):
            return name
    if head.startswith(b"RIFF"):
        return {b"WAVE": "a sound", b"AVI ": "a video"}.get(head[8:12])
    return _text(head.removeprefix(b"\xef\xbb\xbf"))


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
