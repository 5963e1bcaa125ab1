"""Sizes in pixels, as OpenAI's API takes them in place of a ratio and a class of size.

Only those that are exactly of the ratio: 1K are the three that every model takes (1024x1024, 1536x1024, 1024x1536) and,
for models that take any, sides of as many pixels; 2K and 4K keep to what is documented for such models (sides in steps
of 16, at most 3840 pixels long and 8,294,400 in all; developers.openai.com/api/docs/guides/image-generation, 2026).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd
from typing import Final

#: Providers, as the ledger names them, that are asked for sizes in pixels.
ASKED_IN_PIXELS: Final = frozenset(("openai",))
#: The model chooses the size.
AUTO: Final = "auto"

_SIZE: Final = re.compile(r"([1-9]\d{1,4})x([1-9]\d{1,4})")
_LANDSCAPE: Final[Mapping[str, Mapping[str, tuple[int, int]]]] = {
    "1K": {
        "1:1": (1024, 1024),
        "3:2": (1536, 1024),
        "4:3": (1408, 1056),
        "5:4": (1280, 1024),
        "16:9": (1536, 864),
        "21:9": (1568, 672),
    },
    "2K": {
        "1:1": (2048, 2048),
        "3:2": (2304, 1536),
        "4:3": (2048, 1536),
        "5:4": (2000, 1600),
        "16:9": (2560, 1440),
        "21:9": (2688, 1152),
    },
    "4K": {
        "1:1": (2880, 2880),
        "3:2": (3504, 2336),
        "4:3": (3264, 2448),
        "5:4": (3200, 2560),
        "16:9": (3840, 2160),
        "21:9": (3808, 1632),
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AnySize:
    """Bounds of the sizes that a model takes: sides in steps of `step` pixels, the longest side, the pixels in all, and
    how many times as long as the other a side may be."""

    step: int
    longest: int
    least_pixels: int
    most_pixels: int
    steepest: float

    def problem(self, width: int, height: int) -> str | None:
        """Why a size is out of bounds, as the end of a sentence about it."""
        long, short = max(width, height), min(width, height)
        if width % self.step or height % self.step:
            return f"sides must be multiples of {self.step} pixels"
        if long > self.longest:
            return f"no side may be longer than {self.longest} pixels"
        if long > short * self.steepest:
            return f"no side may be more than {self.steepest:g} times as long as the other"
        if not self.least_pixels <= width * height <= self.most_pixels:
            return f"it must have {self.least_pixels:,} to {self.most_pixels:,} pixels"
        return None


def pixels_in(size: str) -> tuple[int, int] | None:
    """Width and height of a size such as `1536x1024`; None if it is no such size."""
    found = _SIZE.fullmatch(size)
    return None if found is None else (int(found[1]), int(found[2]))


def pixels_of(aspect_ratio: str | None, image_size: str) -> tuple[int, int] | None:
    """Width and height that a ratio and a size mean; None if they mean no one size exactly."""
    named = pixels_in(image_size)
    if named is not None:
        return named if aspect_ratio is None or aspect_ratio in _ratios(named) else None
    if aspect_ratio is None:
        return None
    sizes = _LANDSCAPE.get(image_size, {})
    turned = ":".join(reversed(aspect_ratio.split(":")))
    if turned in sizes and aspect_ratio not in sizes:
        width, height = sizes[turned]
        return height, width
    return sizes.get(aspect_ratio)


def leaves_it_open(aspect_ratio: str | None, image_size: str) -> bool:
    """Whether the size is left to the model: `auto`, or a picture of the ordinary size of whatever ratio."""
    return aspect_ratio is None and image_size in (AUTO, "1K", "")


def _ratios(size: tuple[int, int]) -> tuple[str, ...]:
    """The ratio of a size; 7:3 is also called 21:9."""
    width, height = size
    common = gcd(width, height)
    ratio = f"{width // common}:{height // common}"
    other = {"7:3": "21:9", "3:7": "9:21"}.get(ratio)
    return (ratio,) if other is None else (ratio, other)
