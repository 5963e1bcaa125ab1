"""What an attempt costs: from the tokens the answer reports where that is how it is charged, else the list price.

The table that ships with the package is `batch/data/prices.json`; a manifest may extend it (`price_table`) or say
what a picture costs (`prices`). Rules in words: docs/limits-and-money.md, "Money".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any, Final

from batch.core.lane import Lane
from batch.core.model import Job
from batch.core.usage import Usage

#: Tokens of one reference picture (Vertex AI model page).
REFERENCE_TOKENS: Final = 1120
#: The most one answer is taken to hold: two drafts beside the picture, and so much thinking and text.
_PICTURES_AT_MOST: Final = 3
_TEXT_TOKENS_AT_MOST: Final = 4096
#: A picture that the reported tokens make cheaper than this share of its list price is not believed.
_MIN_SHARE: Final = 0.9
_PER_MILLION: Final = 1e-6


class ChargedBy(StrEnum):
    """What an endpoint charges: one list price per answered request (relays), or the tokens it reports (Google)."""

    REQUEST = "request"
    TOKENS = "tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrices:
    """`picture_usd` and `picture_tokens` by size; `token_usd`: dollars per million tokens by kind, empty if unknown.

    `lanes`: the share of these prices that a lane costs; all of them in a lane that is not there.
    """

    picture_usd: Mapping[str, float]
    picture_tokens: Mapping[str, int] = field(default_factory=dict)
    token_usd: Mapping[str, float] = field(default_factory=dict)
    lanes: Mapping[Lane, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """A user's own table: models that take the place of those we ship, and how the endpoint charges if it says so."""

    models: Mapping[str, ModelPrices] = field(default_factory=dict)
    charged_by: ChargedBy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What an attempt is taken to have cost. `source`: `usage` (tokens the answer reported) or `list` (list price)."""

    usd: float
    source: str


class PriceTable:
    """Prices of pictures and attempts. An unknown model is priced as the dearest known of that size.

    `own` are prices per picture by size, which hold for every model; they are charged per request. All prices are those
    of the standard lane; what another one costs of them is the model's share for it. Which lane an attempt is charged
    by is what its answer says served it: a wish for a cheaper one may not have been granted.
    """

    def __init__(
        self, models: Mapping[str, ModelPrices], own: Mapping[str, float], charged_by: ChargedBy = ChargedBy.REQUEST
    ) -> None:
        self._models = models
        self._own = own
        self._charged_by = charged_by

    def picture_usd(self, job: Job, lane: Lane = Lane.STANDARD) -> float:
        """The list price of one picture of this job. Unknown sizes count as the dearest price of all: never too low."""
        return self._in_lane(self._picture_usd(job), job, lane)

    def attempt_usd(self, job: Job, lane: Lane = Lane.STANDARD) -> float:
        """List price of one attempt: its cost if nothing better is known. With its input, where that is charged."""
        return self._in_lane(self._attempt_usd(job), job, lane)

    def max_usd(self, job: Job) -> float:
        """The most one attempt is taken to cost: what a budget keeps free before it is sent.

        That is in the standard lane, whichever is asked for: the provider may serve it there.
        """
        rates = self._rates(job)
        if rates is None:
            return self._picture_usd(job)
        highest = self._tokens_usd(job, rates, pictures=_PICTURES_AT_MOST, text_tokens=_TEXT_TOKENS_AT_MOST)
        return max(self._picture_usd(job), highest)

    def charge(self, job: Job, usage: Usage | None, *, pictures: int, lane: Lane = Lane.STANDARD) -> Charge:
        """What a charged answer with so many pictures cost in the lane that served it.

        The reported tokens count only if they add up and cost no more than an attempt can; an answer with a picture
        must not be made cheap by them either. Else it is the list price.
        """
        rates = self._rates(job)
        tokens = None if rates is None or usage is None else usage.by_kind
        if tokens is not None and rates is not None:
            usd = sum(rates[kind] * count for kind, count in tokens.items()) * _PER_MILLION
            lowest = _MIN_SHARE * self._picture_usd(job) if pictures else 0.0
            if lowest <= usd <= self.max_usd(job):  # in the standard lane: a lane's share is the same of all three
                return Charge(usd=round(self._in_lane(usd, job, lane), 6), source="usage")
        return Charge(usd=self.attempt_usd(job, lane), source="list")

    def _in_lane(self, usd: float, job: Job, lane: Lane) -> float:
        """What costs so much in the standard lane, in this one."""
        known = self._models.get(job.model)
        if lane is Lane.STANDARD or known is None or lane not in known.lanes:
            return usd
        return round(usd * known.lanes[lane], 6)

    def _picture_usd(self, job: Job) -> float:
        if job.image_size in self._own:
            return self._own[job.image_size]
        known = self._models.get(job.model)
        if known is not None and job.image_size in known.picture_usd:
            return known.picture_usd[job.image_size]
        lists = [model.picture_usd for model in self._models.values()]
        same_size = [prices[job.image_size] for prices in lists if job.image_size in prices]
        return max(same_size or [price for prices in (*lists, self._own) for price in prices.values()])

    def _attempt_usd(self, job: Job) -> float:
        rates = self._rates(job)
        if rates is None:
            return self._picture_usd(job)
        return max(self._picture_usd(job), self._tokens_usd(job, rates, pictures=1, text_tokens=0))

    def _rates(self, job: Job) -> Mapping[str, float] | None:
        """Dollars per million tokens, if that is how this job is charged."""
        known = self._models.get(job.model)
        if self._charged_by is ChargedBy.REQUEST or job.image_size in self._own or known is None:
            return None
        return known.token_usd if known.token_usd and job.image_size in known.picture_tokens else None

    def _tokens_usd(self, job: Job, rates: Mapping[str, float], *, pictures: int, text_tokens: int) -> float:
        """A text has at most as many tokens as bytes."""
        picture_tokens = self._models[job.model].picture_tokens[job.image_size]
        counts = {
            "input_text": len(job.prompt.encode("utf-8", "replace")),
            "input_image": REFERENCE_TOKENS * len(job.references),
            "output_text": text_tokens,
            "output_image": pictures * picture_tokens,
        }
        return round(sum(rates[kind] * count for kind, count in counts.items()) * _PER_MILLION, 6)


def load_prices(
    own: Mapping[str, float],
    table: PriceList | None = None,
    charged_by: ChargedBy = ChargedBy.REQUEST,
    known: Mapping[str, ModelPrices] | None = None,
) -> PriceTable:
    """The provider's table (`known`; None: the one that ships with the package), the user's over it, and the
    manifest's prices on top.

    `charged_by` is how the endpoint is known to charge; a user's table may know better. Raises `ValueError` if no
    price at all is left.
    """
    table = table or PriceList()
    models = {**(shipped_prices() if known is None else known), **table.models}
    if not own and not any(model.picture_usd for model in models.values()):
        raise ValueError("no prices")
    return PriceTable(models, own, table.charged_by or charged_by)


@cache
def shipped_prices() -> Mapping[str, ModelPrices]:
    """The table that comes with the package."""
    text = resources.files("batch.core").joinpath("data/prices.json").read_text("utf-8")
    models: dict[str, dict[str, Any]] = json.loads(text)["models"]
    return {
        name: ModelPrices(
            picture_usd=model["picture_usd"],
            picture_tokens=model["picture_tokens"],
            token_usd=model["per_million_tokens_usd"],
            lanes={Lane(lane): share for lane, share in model["lanes"].items()},
        )
        for name, model in models.items()
    }
