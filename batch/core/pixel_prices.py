"""What a picture costs where the price follows from its size in pixels and its quality, as at OpenAI."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from batch.core.model import Job
from batch.core.pixel_sizes import leaves_it_open, pixels_of

#: The sizes that a model chooses among, if it may.
_STANDARD: Final = ((1024, 1024), (1536, 1024), (1024, 1536))
#: The qualities that it chooses among.
_QUALITIES: Final = ("low", "medium", "high")
#: Of tokens that follow from the size: an area that counts beside the picture's own, and one that counts once.
_OFFSET_PIXELS: Final = 2_000_000
_SCALE_PIXELS: Final = 4_000_000
#: What is calculated may be too high by this factor: nothing guarantees the tokens of the newest models.
_DOUBTFUL: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelPrices:
    """`usd`: list prices by quality and size (`1536x1024`). `edge_tokens`: where nothing is listed, tokens along the
    longer edge by quality, from which a picture's follow; `token_usd`: dollars of one token of a picture."""

    token_usd: float
    usd: Mapping[str, Mapping[str, float]]
    edge_tokens: Mapping[str, int]

    def usd_of(self, job: Job) -> float | None:
        """The most that one picture of the job costs; None if nothing is known of its quality."""
        return max(self._prices(job), default=None)

    def least_usd_of(self, job: Job) -> float:
        """The least that one picture of the job can cost: what is left open may turn out cheap."""
        return min(self._prices(job), default=0.0) * (_DOUBTFUL if self.edge_tokens else 1.0)

    def listed(self) -> Mapping[str, Mapping[str, float]]:
        """Prices of the standard sizes, by quality."""
        return {quality: self._listed(quality) for quality in self.usd or self.edge_tokens}

    def tokens_of(self, job: Job) -> int | None:
        usd = self.usd_of(job)
        return None if usd is None else round(usd / self.token_usd)

    def _listed(self, quality: str) -> dict[str, float]:
        found = {f"{width}x{height}": self._usd(quality, width, height) for width, height in _STANDARD}
        return {size: usd for size, usd in found.items() if usd is not None}

    def _prices(self, job: Job) -> Iterable[float]:
        asked = job.parameters.get("quality")
        qualities = _QUALITIES if asked in (None, "auto") else (asked,)
        pixels = pixels_of(job.aspect_ratio, job.image_size)
        is_open = pixels is None or leaves_it_open(job.aspect_ratio, job.image_size)
        sizes = _STANDARD if is_open or pixels is None else (pixels,)
        found = (self._usd(quality, *size) for quality in qualities for size in sizes)
        return [usd for usd in found if usd is not None]

    def _usd(self, quality: str, width: int, height: int) -> float | None:
        listed = self.usd.get(quality, {})
        if listed:
            return listed.get(f"{width}x{height}", max(listed.values()))
        edge = self.edge_tokens.get(quality)
        return None if edge is None else round(_tokens(edge, width, height) * self.token_usd, 6)


def _tokens(edge: int, width: int, height: int) -> int:
    """Tokens of a picture, as the calculator of OpenAI's image generation guide counts them for gpt-image-2."""
    long, short = max(width, height), min(width, height)
    other = (2 * edge * short + long) // (2 * long)  # rounded
    return -(-edge * other * (_OFFSET_PIXELS + width * height) // _SCALE_PIXELS)
