"""What the image models can be asked for: names, ratios, sizes and the pixels they mean.

Plain facts, used by the manifest's checks and by the check of what came back. What each model takes stands in a table
that ships with the package, `batch/core/data/models.json`, with its sources; a manifest changes or extends it
(docs/models.md). The pixels are those of Google's image generation guide.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from typing import Any, Final

from batch.core.picture_warnings import WarningKind, size_kinds, warning
from batch.core.pixel_sizes import ASKED_IN_PIXELS, AnySize, leaves_it_open, pixels_of

DEFAULT_MODEL: Final = "gemini-3.1-flash-image"
DEFAULT_SIZE: Final = "1K"

#: The four sizes are spelled exactly so; "1k" and "512px" are refused or silently ignored by the API.
IMAGE_SIZES: Final = ("512", "1K", "2K", "4K")

#: The spellings of `responseModalities` the API takes.
MODALITIES: Final = (("IMAGE",), ("TEXT", "IMAGE"))

#: Levels of thinking the API knows; which a model takes is in the table.
THINKING_LEVELS: Final = ("minimal", "low", "medium", "high")

#: What may be searched for before a picture is made.
SEARCH_KINDS: Final = ("web", "image")

#: Reference pictures per request (Vertex model page of gemini-3.1-flash-image).
MAX_REFERENCES: Final = 14

#: MIME types AnyFast takes as references; anything else is converted before it is sent.
REFERENCE_MIME_TYPES: Final = ("image/png", "image/jpeg", "image/webp")

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

#: All ratios whose pixels are known.
ASPECT_RATIOS: Final = tuple(_1K)


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
class EndOfLife:
    """An announced end of a model. `says`: what is announced, if that is more than the day; `checked`: when the
    `source` was looked up. `providers`: whose own API it is told of, every one if there are none."""

    day: date
    says: str = ""
    source: str = ""
    checked: str = ""
    providers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What one model can be asked for; None where that is not known, and then nothing is checked.

    `any_size`: it also takes sizes in pixels that are in no list, within these bounds; None: only those listed.
    """

    title: str = ""
    image_sizes: tuple[str, ...] | None = IMAGE_SIZES
    aspect_ratios: tuple[str, ...] | None = ASPECT_RATIOS
    max_references: int | None = MAX_REFERENCES
    modalities: tuple[str, ...] | None = None
    thinking: tuple[str, ...] | None = None
    search: tuple[str, ...] | None = None
    qualities: tuple[str, ...] | None = None
    input_fidelity: tuple[str, ...] | None = None
    any_size: AnySize | None = None
    end: EndOfLife | None = None
    source: str = ""


#: Of a model that stands in no table.
NOTHING_KNOWN: Final = ModelFacts(image_sizes=None, aspect_ratios=None, max_references=None)


@cache
def shipped_table() -> Mapping[str, Any]:
    """The table that comes with the package, as JSON."""
    table: dict[str, Any] = json.loads(resources.files("batch.core").joinpath("data/models.json").read_text("utf-8"))
    return table


def fact_fields(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry of a table of models says of `ModelFacts`, by field; its prices are read elsewhere."""
    lists = (
        *("image_sizes", "aspect_ratios", "modalities", "thinking", "search"),
        *("qualities", "input_fidelity"),
    )
    found: dict[str, Any] = {name: tuple(entry[name]) for name in lists if entry.get(name) is not None}
    found |= {name: entry[name] for name in ("title", "max_references", "source") if entry.get(name) is not None}
    if entry.get("any_size") is not None:
        found["any_size"] = AnySize(**entry["any_size"])
    if "end" in entry:
        found["end"] = None if entry["end"] is None else _end(entry["end"])
    return found


def _end(entry: Mapping[str, Any]) -> EndOfLife:
    return EndOfLife(
        day=date.fromisoformat(entry["date"]),
        says=entry.get("says", ""),
        source=entry.get("source", ""),
        checked=entry.get("checked", ""),
        providers=tuple(entry.get("providers", ())),
    )


#: What each model we know can be asked for; the first is the default.
MODELS: Final[Mapping[str, ModelFacts]] = {
    name: ModelFacts(**fact_fields(entry)) for name, entry in shipped_table()["models"].items()
}
#: Model ids the provider has retired, and the name that replaced them.
RETIRED_MODELS: Final[Mapping[str, str]] = shipped_table()["retired"]


#: How far a side may be from the documented one; relays' tables differ by a few pixels.
SIZE_TOLERANCE: Final = 0.05


def size_warnings(
    aspect_ratio: str | None, image_size: str, width: int, height: int, *, provider: str = ""
) -> tuple[str, ...]:
    """What is wrong with a picture's size in pixels for what was asked of a provider, by its name in the ledger.

    Without a ratio only the area can be compared; every ratio of a size has about the same. Nothing is said of sizes
    and ratios whose pixels are not known.
    """
    if provider in ASKED_IN_PIXELS:
        is_open = leaves_it_open(aspect_ratio, image_size)
        exact = None if is_open else pixels_of(aspect_ratio, image_size)
        return () if exact is None else _differing(exact, width, height)
    if image_size not in IMAGE_SIZES or (aspect_ratio is not None and aspect_ratio not in _1K):
        return ()
    got = f"got {width}x{height}"
    if aspect_ratio is None:
        side, _ = expected_pixels("1:1", image_size)
        area = width * height / (side * side)
        if abs(area - 1) <= 4 * SIZE_TOLERANCE:
            return ()
        return (warning(WarningKind.SMALLER if area < 1 else WarningKind.LARGER, f"asked for {image_size}, {got}"),)
    return _differing(expected_pixels(aspect_ratio, image_size), width, height)


def _differing(wanted: tuple[int, int], width: int, height: int) -> tuple[str, ...]:
    words = f"asked for {wanted[0]}x{wanted[1]}, got {width}x{height}"
    return tuple(warning(kind, words) for kind in size_kinds(wanted, (width, height), SIZE_TOLERANCE))
