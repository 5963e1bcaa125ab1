"""A picture as people see it: upright, of sRGB colours, no longer than it must be.

Large ones are made smaller while they are read, as far as their format allows, so that memory stays bounded: a JPEG at
a fraction of its size, a PNG in bands of rows. Others are decoded as a whole, one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

from PIL import Image

from batch.pictures import png
from batch.pictures.bands import bands, check_pixels, rows_of_band
from batch.pictures.colours import Range, in_srgb, is_srgb, level_range, mode_of, reducible, without_hidden
from batch.pictures.opening import LARGE_PIXELS, Opened, UnreadablePicture, opened, room_for

_ORIENTATION: Final = 0x0112
#: Rows of a decoded picture that are looked at together.
_BAND_ROWS: Final = 256
_J2K_END: Final = b"\xff\xd9"


def checked_mime(file: BinaryIO) -> str:
    """The MIME type of a whole picture. Raises `UnreadablePicture`."""
    with opened(file) as found:
        if found.in_bands:
            check_pixels(file)
            return found.mime
        with room_for(found):
            # A JPEG read at an eighth of its size is still read to its end; the other formats ignore this.
            found.picture.draft(None, (1, 1))
            found.picture.load()
        if found.mime == "image/jp2" and not _has_end(file):
            raise UnreadablePicture("is damaged or cut off (its end is missing)")  # a decoder makes do with any piece
        return found.mime


def is_plain(found: Opened) -> bool:
    """Whether a service that looks at the pixels alone sees what people see."""
    picture = found.picture
    moves = found.mime == "image/webp" and getattr(picture, "is_animated", False)
    if moves or not found.as_it_is:
        return False
    if found.mime == "image/png" and (png.header(found.file).bit_depth > 8 or "transparency" in picture.info):
        return False
    profile = picture.info.get("icc_profile") or b""
    has_other_colours = mode_of(profile) == _seen_mode(picture.mode) and not is_srgb(profile)
    return picture.mode in ("1", "L", "P", "RGB", "RGBA") and not has_other_colours and orientation(found) == 1


def orientation(found: Opened) -> int:
    """The EXIF orientation, 1 to 8; 1 if it is missing or damaged."""
    picture = found.picture
    try:
        if found.mime == "image/png" and (notes := png.exif(found.file)):
            picture.info["exif"] = notes
        # Of a PNG, the class's own method would decode all pixels to find what may follow them.
        noted = Image.Image.getexif(picture).get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001  (whatever Pillow stumbles over in there)
        return 1
    return noted if noted in range(1, 9) else 1


def as_seen(found: Opened, size: tuple[int, int]) -> Image.Image:
    """The first frame as RGB, or as RGBA if anything shows through; `size` is what it gets before it is turned."""
    picture = found.picture
    profile = picture.info.get("icc_profile") or b""
    with room_for(found):
        if found.in_bands:
            small = _reduced_bands(found, size)
        else:
            _draft(picture, size)
            picture.load()
            small = _reduced(picture, size)
    if small.size != size:
        small = small.resize(size, Image.Resampling.LANCZOS)
    shown = without_hidden(in_srgb(_upright(small, orientation(found)), profile))
    shown.info = {}  # notes and profiles are of the pixels as they were
    return shown


def _draft(picture: Image.Image, size: tuple[int, int]) -> None:
    """A JPEG may be read at a fraction of its size: not below what is needed, nor, of small ones, below twice that."""
    factor = 1 if picture.width * picture.height > LARGE_PIXELS else 2
    picture.draft(None, (factor * size[0], factor * size[1]))


def _reduced(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A decoded picture, reduced by a whole number to no less than twice the size. No larger copy of it is made."""
    factor = _factor(picture.size, size)
    levels = level_range(picture)
    if factor == 1:
        return reducible(picture, levels)
    rows = max(1, _BAND_ROWS // factor) * factor
    parts = (
        reducible(_cropped(picture, top, min(top + rows, picture.height)), levels)
        for top in range(0, picture.height, rows)
    )
    return _joined(parts, picture.size, factor)


def _reduced_bands(found: Opened, size: tuple[int, int]) -> Image.Image:
    factor = _factor(found.picture.size, size)
    rows = rows_of_band(png.header(found.file), factor)
    levels: Range | None = None
    if found.picture.mode.startswith("I"):
        ranges = [level_range(band) for band in bands(found.file, found.picture, rows)]
        levels = max(each for each in ranges if each is not None)
    parts = (reducible(band, levels) for band in bands(found.file, found.picture, rows))
    return _joined(parts, found.picture.size, factor)


def _joined(parts: Iterator[Image.Image], size: tuple[int, int], factor: int) -> Image.Image:
    """Bands below each other, each reduced. All but the last have a multiple of `factor` rows."""
    joined: Image.Image | None = None
    top = 0
    for part in parts:
        small = part.reduce(factor)
        joined = joined or Image.new(small.mode, (-(-size[0] // factor), -(-size[1] // factor)))
        joined.paste(small, (0, top))
        top += small.height
    assert joined is not None
    return joined


def _cropped(picture: Image.Image, top: int, bottom: int) -> Image.Image:
    part = picture.crop((0, top, picture.width, bottom))
    part.info = picture.info
    return part


def _factor(size: tuple[int, int], wanted: tuple[int, int]) -> int:
    """By how much a picture may be reduced: twice the wanted size is left, or once if that is large."""
    for times in (2, 1):
        factor = max(1, min(size[0] // (times * wanted[0]), size[1] // (times * wanted[1])))
        if size[0] * size[1] <= LARGE_PIXELS * factor**2:
            break
    return factor


def _upright(picture: Image.Image, held: int) -> Image.Image:
    turned = _TURNS.get(held)
    return picture if turned is None else picture.transpose(turned)


_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _seen_mode(mode: str) -> str:
    """The mode that a profile speaks of, for a picture of this one."""
    return {"RGBA": "RGB", "P": "RGB", "1": "L", "LA": "L"}.get(mode, mode)


def _has_end(file: BinaryIO) -> bool:
    file.seek(0)
    return _J2K_END in file.read()
