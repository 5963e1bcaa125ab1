"""What a picture costs: the list price of its model and size, unless the manifest names another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from batch.model import Job


class PriceTable:
    """USD per picture by model and size. An unknown model is priced as the dearest known of that size."""

    def __init__(self, models: Mapping[str, Mapping[str, float]], own: Mapping[str, float]) -> None:
        self._models = models
        self._own = own

    def picture_usd(self, job: Job) -> float:
        """The price of one picture of this job. Unknown sizes count as the dearest price of all: never too low."""
        if job.image_size in self._own:
            return self._own[job.image_size]
        known = self._models.get(job.model)
        if known is not None and job.image_size in known:
            return known[job.image_size]
        same_size = [sizes[job.image_size] for sizes in self._models.values() if job.image_size in sizes]
        every = [price for sizes in self._models.values() for price in sizes.values()]
        return max(same_size or every)


def load_prices(own: Mapping[str, float]) -> PriceTable:
    """The table that ships with the package (`batch/data/prices.json`), with the manifest's prices on top."""
    text = resources.files("batch").joinpath("data/prices.json").read_text("utf-8")
    table: dict[str, Any] = json.loads(text)
    return PriceTable(table["models"], own)
