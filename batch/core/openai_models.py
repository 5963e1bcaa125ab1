"""What OpenAI's image models can be asked for and what they cost, from `batch/core/data/openai_models.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

from batch.core.image_models import ModelFacts, fact_fields
from batch.core.prices import ModelPrices


@cache
def openai_table() -> Mapping[str, Any]:
    """The table, as JSON; a snapshot stands in it like the model that it is of."""
    table: dict[str, Any] = json.loads(
        resources.files("batch.core").joinpath("data/openai_models.json").read_text("utf-8")
    )
    models: dict[str, Any] = table["models"]
    return models | {name: models[of] for name, of in table["snapshots"].items()}


def openai_prices() -> Mapping[str, ModelPrices]:
    """List prices, by the dearest quality and size that a job may get."""
    return {name: _prices(entry) for name, entry in openai_table().items()}


def _prices(entry: Mapping[str, Any]) -> ModelPrices:
    rates: Mapping[str, float] = entry["per_million_tokens_usd"]
    dearest = max((usd for sizes in entry["picture_usd_by_quality"].values() for usd in sizes.values()), default=0.42)
    return ModelPrices(
        picture_usd=dict.fromkeys(entry["image_sizes"], dearest),
        picture_tokens=dict.fromkeys(entry["image_sizes"], round(dearest / rates["output_image"] * 1e6)),
        token_usd=rates,
    )


def _facts(entry: Mapping[str, Any]) -> ModelFacts:
    return ModelFacts(**fact_fields(entry))


#: The first is the default: what OpenAI names in place of the model that it shut down.
OPENAI_MODELS: Final[Mapping[str, ModelFacts]] = {name: _facts(entry) for name, entry in openai_table().items()}
