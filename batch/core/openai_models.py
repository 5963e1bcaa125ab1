"""What OpenAI's image models can be asked for and what they cost, from `batch/core/data/openai_models.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

from batch.core.image_models import ModelFacts, fact_fields
from batch.core.pixel_prices import PixelPrices
from batch.core.prices import ModelPrices

#: Of a reference that is kept to closely: 6,144 for its picture, and some tiles (OpenAI's image generation guide).
_REFERENCE_TOKENS: Final = 6_600
#: One request asks for one picture, and the API makes no drafts that are charged.
_PICTURES: Final = 1


@cache
def openai_table() -> Mapping[str, Any]:
    """The table, as JSON; a snapshot stands in it like the model that it is of."""
    table: dict[str, Any] = json.loads(
        resources.files("batch.core").joinpath("data/openai_models.json").read_text("utf-8")
    )
    models: dict[str, Any] = table["models"]
    return models | {name: models[of] for name, of in table["snapshots"].items()}


def openai_prices() -> Mapping[str, ModelPrices]:
    """List prices by size in pixels and quality, and what tokens cost."""
    return {name: _prices(entry) for name, entry in openai_table().items()}


def _prices(entry: Mapping[str, Any]) -> ModelPrices:
    rates: Mapping[str, float] = entry["per_million_tokens_usd"]
    by_pixels = PixelPrices(
        token_usd=rates["output_image"] / 1e6,
        usd=entry["picture_usd_by_quality"],
        edge_tokens=entry["edge_tokens"] or {},
    )
    return ModelPrices(
        token_usd=rates, by_pixels=by_pixels, reference_tokens=_REFERENCE_TOKENS, pictures_at_most=_PICTURES
    )


def _facts(entry: Mapping[str, Any]) -> ModelFacts:
    return ModelFacts(**fact_fields(entry))


#: The first is the default: what OpenAI names in place of the model that it shut down.
OPENAI_MODELS: Final[Mapping[str, ModelFacts]] = {name: _facts(entry) for name, entry in openai_table().items()}
