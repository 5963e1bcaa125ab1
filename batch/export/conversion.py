"""A picture in another format or size: upright, in sRGB, without notes. The original is only read."""

from __future__ import annotations

import io
from typing import Final

from PIL import Image, ImageColor

from batch.core.errors import OptionError, Problem
from batch.export.settings import Conversion
from batch.manifest.problems import show
from batch.pictures.opening import opened
from batch.pictures.seen import as_seen, orientation

#: Formats that pictures are converted to, as `--format` has them.
MIMES: Final = {"jpeg": "image/jpeg", "webp": "image/webp", "png": "image/png"}
_NAMES: Final = {mime: name.upper() for name, mime in MIMES.items()}
_TURNED: Final = range(5, 9)


def checked(conversion: Conversion) -> Conversion:
    """Raises `OptionError` for a background that is no colour."""
    try:
        ImageColor.getrgb(conversion.background)
    except ValueError:
        message = f"--background must be a colour such as white or #f4f1ea; got {show(conversion.background)}"
        raise OptionError([Problem(message=message)]) from None
    return conversion


def mime_after(mime: str, conversion: Conversion | None) -> str:
    """The format that a picture of this one gets."""
    if conversion is None:
        return mime
    if conversion.mime:
        return conversion.mime
    return mime if mime in _NAMES or not conversion.changes_pixels else MIMES["png"]


def is_changed(mime: str, conversion: Conversion | None) -> bool:
    """Whether its pixels are written anew."""
    return conversion is not None and (conversion.changes_pixels or mime_after(mime, conversion) != mime)


def converted(data: bytes, conversion: Conversion, mime: str) -> tuple[bytes, int, int]:
    """The picture as `mime`, with its width and height. Raises `UnreadablePicture`."""
    with opened(io.BytesIO(data)) as found:
        longest = conversion.longest_side or max(found.picture.size)
        scale = min(1.0, longest / max(found.picture.size))
        size = max(1, round(found.picture.width * scale)), max(1, round(found.picture.height * scale))
        picture = as_seen(found, size)
        assert orientation(found) not in _TURNED or picture.size == size[::-1]
    if conversion.square:
        picture = _squared(picture, conversion.background, keeps_alpha=mime != MIMES["jpeg"])
    if mime == MIMES["jpeg"] and picture.mode == "RGBA":
        picture = _on(picture, conversion.background)
    return _saved(picture, mime, conversion.quality), picture.width, picture.height


def _squared(picture: Image.Image, background: str, *, keeps_alpha: bool) -> Image.Image:
    """In the middle of a square. A picture that shows nothing behind it keeps that."""
    side = max(picture.size)
    place = (side - picture.width) // 2, (side - picture.height) // 2
    if picture.mode == "RGBA" and keeps_alpha:
        square = Image.new("RGBA", (side, side), (255, 255, 255, 0))
        square.paste(picture, place)
        return square
    square = Image.new("RGB", (side, side), background)
    square.paste(_on(picture, background), place)
    return square


def _on(picture: Image.Image, background: str) -> Image.Image:
    if picture.mode != "RGBA":
        return picture
    behind = Image.new("RGB", picture.size, background)
    behind.paste(picture, mask=picture.getchannel("A"))
    return behind


def _saved(picture: Image.Image, mime: str, quality: int) -> bytes:
    out = io.BytesIO()
    if mime == MIMES["png"]:
        picture.save(out, "PNG", optimize=False)
    elif mime == MIMES["jpeg"]:
        picture.save(out, "JPEG", quality=quality, optimize=True, subsampling="4:4:4" if quality >= 90 else "4:2:0")
    else:
        picture.save(out, "WEBP", quality=quality, method=4)
    return out.getvalue()
