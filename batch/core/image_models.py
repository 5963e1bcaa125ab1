"""What the image models can be asked for: names, ratios, sizes and the pixels they mean.

Plain facts, used by the manifest's checks and by the check of what came back. Sources: Google's image
generation guide (ratios, sizes, pixels) and AnyFast's page of gemini-3.1-flash-image (its five ratios).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from batch.core.picture_warnings import WarningKind, size_kinds, warning

DEFAULT_MODEL: Final = "gemini-3.1-flash-image"
DEFAULT_SIZE: Final = "1K"

#: The four sizes are spelled exactly so; "1k" and "512px" are refused or silently ignored by the API.
IMAGE_SIZES: Final = ("512", "1K", "2K", "4K")

#: The spellings of `responseModalities` the API takes.
MODALITIES: Final = (("IMAGE",), ("TEXT", "IMAGE"))

#: Reference pictures per request (Vertex model page of gemini-3.1-flash-image).
MAX_REFERENCES: Final = 14

#: MIME types AnyFast takes as references; anything else is converted before it is sent.
REFERENCE_MIME_TYPES: Final = ("image/png", "image/jpeg", "image/webp")

#: Model ids the provider has retired, and the name that replaced them.
RETIRED_MODELS: Final = {
    "gemini-3.1-flash-image-preview": "gemini-3.1-flash-image",
    "gemini-3-pro-image-preview": "gemini-3-pro-image",
    "gemini-2.5-flash-image-preview": "gemini-2.5-flash-image",
}

_1K: Final = {
    "1:1": (1024, 1024),
    "1:4": (512, 2048),
    "4:1": (2048, 512),
    "1:8": (384, 3072),
    "8:1": (3072, 384),
    "2:3": (848, 1264),
    "3:2": (1264, 848),
    "3:4": (896, 1200),
    "4:3": (1200, 896),
    "4:5": (928, 1152),
    "5:4": (1152, 928),
    "9:16": (768, 1376),
    "16:9": (1376, 768),
    "21:9": (1584, 672),
}

#: All ratios of the model; AnyFast documents the first-named five.
ASPECT_RATIOS: Final = tuple(_1K)
ANYFAST_ASPECT_RATIOS: Final = ("1:1", "4:3", "3:4", "16:9", "9:16")


def expected_pixels(aspect_ratio: str, image_size: str) -> tuple[int, int]:
    """Width and height in pixels that the model documents for a ratio and a size.

    2K and 4K are exactly two and four times 1K, 512 is half of it (the guide's 792x168 for 21:9 at 512
    contradicts its own ratio and is read as x336; the check allows a tolerance anyway).
    """
    width, height = _1K[aspect_ratio]
    if image_size == "512":
        return width // 2, height // 2
    factor = {"1K": 1, "2K": 2, "4K": 4}[image_size]
    return width * factor, height * factor


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What one model can be asked for."""

    image_sizes: tuple[str, ...] = IMAGE_SIZES
    aspect_ratios: tuple[str, ...] = ASPECT_RATIOS
    max_references: int = MAX_REFERENCES


#: The older models know no extreme ratios.
_TEN_RATIOS: Final = tuple(ratio for ratio in ASPECT_RATIOS if ratio not in ("1:4", "4:1", "1:8", "8:1"))

#: Sizes, ratios and references by model (Google's image generation guide and Vertex model pages).
MODELS: Final[Mapping[str, ModelFacts]] = {
    "gemini-3.1-flash-image": ModelFacts(),
    "gemini-3-pro-image": ModelFacts(image_sizes=("1K", "2K", "4K"), aspect_ratios=_TEN_RATIOS),
    "gemini-2.5-flash-image": ModelFacts(image_sizes=("1K",), aspect_ratios=_TEN_RATIOS, max_references=3),
}


def model_facts(model: str) -> ModelFacts:
    """What `model` can be asked for; a model we do not know is taken to do what the newest one does."""
    return MODELS.get(model, MODELS[DEFAULT_MODEL])


#: How far a side may be from the documented one; relays' tables differ by a few pixels.
SIZE_TOLERANCE: Final = 0.05


def size_warnings(aspect_ratio: str | None, image_size: str, width: int, height: int) -> tuple[str, ...]:
    """What is wrong with a picture's size in pixels for what was asked.

    Without a ratio only the area can be compared; every ratio of a size has about the same. Nothing is said of sizes
    and ratios whose pixels are not known.
    """
    if image_size not in IMAGE_SIZES or (aspect_ratio is not None and aspect_ratio not in _1K):
        return ()
    got = f"got {width}x{height}"
    if aspect_ratio is None:
        side, _ = expected_pixels("1:1", image_size)
        area = width * height / (side * side)
        if abs(area - 1) <= 4 * SIZE_TOLERANCE:
            return ()
        return (warning(WarningKind.SMALLER if area < 1 else WarningKind.LARGER, f"asked for {image_size}, {got}"),)
    wanted = expected_pixels(aspect_ratio, image_size)
    words = f"asked for {wanted[0]}x{wanted[1]}, {got}"
    return tuple(warning(kind, words) for kind in size_kinds(wanted, (width, height), SIZE_TOLERANCE))
