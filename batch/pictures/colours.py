"""A picture's colours as people see them: sRGB, eight bits a channel.

Services look at the numbers and at nothing beside them. So a profile is applied and left out, a palette is looked up,
and what has more than eight bits is brought to eight.
"""

from __future__ import annotations

import io
import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

from PIL import Image, ImageChops, ImageCms

if TYPE_CHECKING:
    from PIL._imagingcms import CmsProfile

#: The colour space a profile names, and the mode of pixels it speaks of.
_MODE_OF_SPACE: Final = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "LAB": "LAB"}
#: What differs from sRGB by no more, of 255, is seen as sRGB.
_UNSEEN: Final = 6
_STEPS: Final = (0, 64, 128, 192, 255)
_16_BITS: Final = 65535.0
#: Brightness from 0 to 1 may have highlights above that.
_BRIGHTEST_OF_ONE: Final = 2.0

Range: TypeAlias = tuple[float, float]


def level_range(picture: Image.Image) -> Range | None:
    """Which levels of a grey picture with more than eight bits are black and white; None for other pictures."""
    if not picture.mode.startswith(("I", "F")):
        return None
    low, high = (float(level) for level in picture.getextrema() if not isinstance(level, tuple))
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0.0, 1.0
    if picture.mode == "F" and low >= 0 and high <= _BRIGHTEST_OF_ONE:
        return 0.0, 1.0
    if low >= 0 and high <= 255:
        return 0.0, 255.0
    if picture.mode.startswith("I;16") or (low >= 0 and high <= _16_BITS):
        return 0.0, _16_BITS
    return low, high


def reducible(picture: Image.Image, levels: Range | None) -> Image.Image:
    """The picture in a mode whose pixels can be averaged, eight bits a channel: L, RGB, RGBA, CMYK or LAB."""
    if levels is not None:
        return _eight_bits(picture, levels)
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    if picture.mode in ("L", "RGB", "CMYK", "LAB"):
        return picture
    return picture.convert("L" if picture.mode == "1" else "RGB")


def _eight_bits(picture: Image.Image, levels: Range) -> Image.Image:
    low, high = levels
    scale = 255 / (high - low) if high > low else 0.0
    return picture.convert("F").point(lambda value: value * scale + (0.5 - low * scale)).convert("L")


def in_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """A reducible picture as RGB or RGBA in sRGB. A profile that cannot be read, or fits other pixels, is ignored."""
    opaque = picture.convert("RGB") if picture.mode == "RGBA" else picture
    if opaque.mode == "LAB":
        seen = _converted(opaque, ImageCms.createProfile("LAB"))
    elif mode_of(profile) == opaque.mode and not is_srgb(profile):
        seen = _converted(opaque, ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    else:
        seen = opaque.convert("RGB")
    if picture.mode == "RGBA":
        seen.putalpha(picture.getchannel("A"))
    return seen


def without_hidden(picture: Image.Image) -> Image.Image:
    """RGB if nothing shows through; else RGBA, white where nothing is seen, for services that drop what is alpha."""
    if picture.mode != "RGBA":
        return picture
    alpha = picture.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return picture.convert("RGB")
    white = Image.new("RGB", picture.size, "white")
    shown = Image.composite(picture.convert("RGB"), white, alpha.point(lambda level: 255 if level else 0))
    shown.putalpha(alpha)
    return shown


@lru_cache(32)
def mode_of(profile: bytes) -> str:
    """The mode of the pixels that a profile is for; empty if it cannot be read."""
    try:
        space: str = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip()
    except (OSError, ImageCms.PyCMSError):
        return ""
    return _MODE_OF_SPACE.get(space, "")


@lru_cache(32)
def is_srgb(profile: bytes) -> bool:
    """Whether a profile's colours look like sRGB, or there is none that could be applied."""
    mode = mode_of(profile)
    if mode not in ("L", "RGB"):
        return not mode
    colours = bytes(level for red in _STEPS for green in _STEPS for blue in _STEPS for level in (red, green, blue))
    sample = Image.frombytes("RGB", (len(colours) // 3, 1), colours).convert(mode)
    try:
        seen = _converted(sample, ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except ImageCms.PyCMSError:
        return True  # browsers show such a picture as if it had none
    differences = ImageChops.difference(seen, sample.convert("RGB")).getextrema()
    return all(isinstance(band, tuple) and band[1] <= _UNSEEN for band in differences)


def _converted(picture: Image.Image, profile: ImageCms.ImageCmsProfile | CmsProfile) -> Image.Image:
    seen = ImageCms.profileToProfile(picture, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert seen is not None
    return seen
