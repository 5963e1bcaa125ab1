"""What the simulated models are: names, pixels, tokens and list prices.

Written from the provider's public documents and deliberately not imported from the rest of the package: the
simulator judges the client, so a wrong number on one side must show as a difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# ratio, then width x height at 512, 1K, 2K and 4K. The guide prints 792x168 for 21:9 at 512, which is 42:9;
# half of 1K is used instead.
_FLASH_31_PIXELS: Final = """
1:1    512x512    1024x1024  2048x2048  4096x4096
1:4    256x1024   512x2048   1024x4096  2048x8192
4:1    1024x256   2048x512   4096x1024  8192x2048
1:8    192x1536   384x3072   768x6144   1536x12288
8:1    1536x192   3072x384   6144x768   12288x1536
2:3    424x632    848x1264   1696x2528  3392x5056
3:2    632x424    1264x848   2528x1696  5056x3392
3:4    448x600    896x1200   1792x2400  3584x4800
4:3    600x448    1200x896   2400x1792  4800x3584
4:5    464x576    928x1152   1856x2304  3712x4608
5:4    576x464    1152x928   2304x1856  4608x3712
9:16   384x688    768x1376   1536x2752  3072x5504
16:9   688x384    1376x768   2752x1536  5504x3072
21:9   792x336    1584x672   3168x1344  6336x2688
"""

_FLASH_25_PIXELS: Final = """
1:1    1024x1024
2:3    832x1248
3:2    1248x832
3:4    864x1184
4:3    1184x864
4:5    896x1152
5:4    1152x896
9:16   768x1344
16:9   1344x768
21:9   1536x672
"""

Pixels = Mapping[tuple[str, str], tuple[int, int]]


def _read_pixels(text: str, sizes: tuple[str, ...]) -> Pixels:
    pixels: dict[tuple[str, str], tuple[int, int]] = {}
    for line in text.split("\n"):
        ratio, *cells = line.split() or [""]
        for size, cell in zip(sizes, cells, strict=False):
            width, height = cell.split("x")
            pixels[ratio, size] = (int(width), int(height))
    return pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model: `pixels` by (ratio, size), `tokens` and `usd` per output picture by size."""

    name: str
    pixels: Pixels
    max_references: int
    tokens: Mapping[str, int]
    usd: Mapping[str, float]

    @property
    def ratios(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(ratio for ratio, _ in self.pixels))

    @property
    def sizes(self) -> tuple[str, ...]:
        return tuple(self.usd)


_ALL_PIXELS = _read_pixels(_FLASH_31_PIXELS, ("512", "1K", "2K", "4K"))
_ONLY_31 = ("1:4", "4:1", "1:8", "8:1")

MODELS: Final[Mapping[str, Model]] = {
    model.name: model
    for model in (
        Model(
            name="gemini-3.1-flash-image",
            pixels=_ALL_PIXELS,
            max_references=14,
            tokens={"512": 747, "1K": 1120, "2K": 1680, "4K": 2520},
            usd={"512": 0.045, "1K": 0.067, "2K": 0.101, "4K": 0.151},
        ),
        Model(
            name="gemini-3.1-flash-lite-image",
            pixels={(ratio, size): pixels for (ratio, size), pixels in _ALL_PIXELS.items() if size == "1K"},
            max_references=14,
            tokens={"1K": 1120},
            usd={"1K": 0.0336},
        ),
        Model(
            name="gemini-nano-banana-2.1",
            pixels={(ratio, size): pixels for (ratio, size), pixels in _ALL_PIXELS.items() if size != "512"},
            max_references=14,
            tokens={"1K": 1120, "2K": 1680, "4K": 3780},
            usd={"1K": 0.0336, "2K": 0.0504, "4K": 0.1134},
        ),
        Model(
            name="gemini-3-pro-image",
            pixels={
                (ratio, size): pixels
                for (ratio, size), pixels in _ALL_PIXELS.items()
                if size != "512" and ratio not in _ONLY_31
            },
            max_references=14,
            tokens={"1K": 1120, "2K": 1120, "4K": 2000},
            usd={"1K": 0.134, "2K": 0.134, "4K": 0.24},
        ),
        Model(
            name="gemini-2.5-flash-image",
            pixels=_read_pixels(_FLASH_25_PIXELS, ("1K",)),
            max_references=3,
            tokens={"1K": 1290},
            usd={"1K": 0.039},
        ),
    )
}

#: Lanes, by what a request in them costs of the standard price (ai.google.dev/gemini-api/docs/flex-inference: half).
LANE_SHARES: Final[Mapping[str, float]] = {"standard": 1.0, "flex": 0.5}

#: Input tokens of one reference picture (Vertex model page).
TOKENS_PER_REFERENCE: Final = 1120

#: Declared types of reference pictures the API takes.
REFERENCE_MIMES: Final = ("image/png", "image/jpeg", "image/webp", "image/heic", "image/heif")
