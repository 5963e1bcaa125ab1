"""What an attempt costs: from the tokens the answer reports where that is how it is charged, else the list price.

They stand in the table of models that ships with the package (`core.image_models`); a manifest may extend it
(`models`, `price_table`) or say what a picture costs (`prices`). Rules in words: docs/limits-and-money.md, "Money".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from typing import Any, Final

from batch.core.image_models import shipped_table
from batch.core.lane import Lane
from batch.core.model import Job
from batch.core.pixel_prices import PixelPrices
from batch.core.usage import Usage

#: Tokens of one reference picture (Vertex AI model page).
REFERENCE_TOKENS: Final = 1120
#: The most one answer is taken to hold: two drafts beside the picture, and so much thinking and text.
_PICTURES_AT_MOST: Final = 3
_TEXT_TOKENS_AT_MOST: Final = 4096
#: The same where much thinking is asked for.
_THOUGHT_TOKENS_AT_MOST: Final = 16_384
#: Queries of one request that may search: what it is taken to make, and the most.
_QUERIES: Final = 1
_QUERIES_AT_MOST: Final = 8
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

    `lanes`: the share of these prices that a lane costs; all of them in a lane that is not there. `search_usd`: one
    query of a request that searches; None if it is not known. `by_pixels`: of what the two by size do not have, where
    the price follows from pixels and quality. `reference_tokens`: the most that one reference counts as;
    `pictures_at_most`: how many one answer is taken to hold.
    """

    picture_usd: Mapping[str, float] = field(default_factory=dict)
    picture_tokens: Mapping[str, int] = field(default_factory=dict)
    token_usd: Mapping[str, float] = field(default_factory=dict)
    lanes: Mapping[Lane, float] = field(default_factory=dict)
    search_usd: float | None = None
    by_pixels: PixelPrices | None = None
    reference_tokens: int = REFERENCE_TOKENS
    pictures_at_most: int = _PICTURES_AT_MOST

    def usd_of(self, job: Job) -> float | None:
        """The list price of one picture; None if it is not known."""
        listed = self.picture_usd.get(job.image_size)
        return self.by_pixels.usd_of(job) if listed is None and self.by_pixels is not None else listed

    def least_usd_of(self, job: Job) -> float | None:
        """The least that one picture can cost, where it may be less than the list price; else None."""
        return (
            None if job.image_size in self.picture_usd or self.by_pixels is None else self.by_pixels.least_usd_of(job)
        )

    def tokens_of(self, job: Job) -> int | None:
        """What one picture counts as; None if it is not known."""
        listed = self.picture_tokens.get(job.image_size)
        return self.by_pixels.tokens_of(job) if listed is None and self.by_pixels is not None else listed


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """A user's own prices: models that take the place of those we ship, and how the endpoint charges if it says so.

    `changes`, by model, are fields of `ModelPrices` that take the place of one model's, whatever table it stands in.
    """

    models: Mapping[str, ModelPrices] = field(default_factory=dict)
    charged_by: ChargedBy | None = None
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


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

    def is_priced(self, model: str, image_size: str) -> bool:
        """Whether a picture of this model and size has a price of its own, and is not priced by the dearest known."""
        known = self._models.get(model)
        if image_size in self._own or (known is not None and image_size in known.picture_usd):
            return True
        return known is not None and known.by_pixels is not None

    def picture_usd(self, job: Job, lane: Lane = Lane.STANDARD) -> float:
        """The list price of one picture of this job, with a query where it may search.

        Unknown sizes count as the dearest price of all: never too low.
        """
        return self._with_queries(self._in_lane(self._picture_usd(job), job, lane), job, _QUERIES)

    def attempt_usd(self, job: Job, lane: Lane = Lane.STANDARD) -> float:
        """List price of one attempt: its cost if nothing better is known. With its input, where that is charged."""
        return self._with_queries(self._in_lane(self._attempt_usd(job), job, lane), job, _QUERIES)

    def max_usd(self, job: Job) -> float:
        """The most one attempt is taken to cost: what a budget keeps free before it is sent.

        That is in the standard lane, whichever is asked for: the provider may serve it there.
        """
        return self._with_queries(self._most_usd(job), job, _QUERIES_AT_MOST)

    def charge(
        self, job: Job, usage: Usage | None, *, pictures: int, lane: Lane = Lane.STANDARD, queries: int | None = None
    ) -> Charge:
        """What a charged answer with so many pictures cost in the lane that served it.

        The reported tokens count only if they add up and cost no more than an attempt can; an answer with a picture
        must not be made cheap by them either. Else it is the list price. `queries`: how many searches the answer
        tells of; None if it does not say.
        """
        searched = min(_QUERIES if queries is None else queries, _QUERIES_AT_MOST)
        rates = self._rates(job)
        tokens = None if rates is None or usage is None else usage.by_kind
        if tokens is not None and rates is not None:
            usd = sum(rates[kind] * count for kind, count in tokens.items()) * _PER_MILLION
            least = self._models[job.model].least_usd_of(job)
            lowest = _MIN_SHARE * (self._picture_usd(job) if least is None else least) if pictures else 0.0
            if lowest <= usd <= self._most_usd(job):  # in the standard lane: a lane's share is the same of all three
                usd = round(self._in_lane(usd, job, lane), 6)
                return Charge(usd=self._with_queries(usd, job, searched), source="usage")
        return Charge(
            usd=self._with_queries(self._in_lane(self._attempt_usd(job), job, lane), job, searched), source="list"
        )

    def _most_usd(self, job: Job) -> float:
        """The most that an attempt costs in the standard lane without its searches."""
        rates = self._rates(job)
        if rates is None:
            return self._picture_usd(job)
        thinks = job.parameters.get("thinking") in ("medium", "high")
        text_tokens = _THOUGHT_TOKENS_AT_MOST if thinks else _TEXT_TOKENS_AT_MOST
        pictures = self._models[job.model].pictures_at_most
        highest = self._tokens_usd(job, rates, pictures=pictures, text_tokens=text_tokens)
        return max(self._picture_usd(job), highest)

    def _with_queries(self, usd: float, job: Job, queries: int) -> float:
        """A request's price with its searches, which no lane makes cheaper."""
        if job.parameters.get("search") is None:
            return usd
        return round(usd + queries * self._query_usd(job.model), 6)

    def _query_usd(self, model: str) -> float:
        """One search; of a model without a price for it the dearest that is known."""
        known = self._models.get(model)
        if known is not None and known.search_usd is not None:
            return known.search_usd
        return max((each.search_usd for each in self._models.values() if each.search_usd is not None), default=0.0)

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
        listed = None if known is None else known.usd_of(job)
        if listed is not None:
            return listed
        same_size = [usd for model in self._models.values() if (usd := model.usd_of(job)) is not None]
        lists = (*(model.picture_usd for model in self._models.values()), self._own)
        return max(same_size or [price for prices in lists for price in prices.values()])

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
        return known.token_usd if known.token_usd and known.tokens_of(job) is not None else None

    def _tokens_usd(self, job: Job, rates: Mapping[str, float], *, pictures: int, text_tokens: int) -> float:
        """A text has at most as many tokens as bytes."""
        known = self._models[job.model]
        counts = {
            "input_text": sum(len(text.encode("utf-8", "replace")) for text in _texts_of(job)),
            "input_image": known.reference_tokens * len(job.references),
            "output_text": text_tokens,
            "output_image": pictures * (known.tokens_of(job) or 0),
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
    for name, changed in table.changes.items():
        models[name] = replace(models.get(name, ModelPrices()), **changed)
    if not own and not any(model.picture_usd or model.by_pixels is not None for model in models.values()):
        raise ValueError("no prices")
    return PriceTable(models, own, table.charged_by or charged_by)


@cache
def shipped_prices() -> Mapping[str, ModelPrices]:
    """The prices of the table that comes with the package."""
    return {name: ModelPrices(**price_fields(entry)) for name, entry in shipped_table()["models"].items()}


def price_fields(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry of a table of models says of `ModelPrices`, by field."""
    names = {"picture_usd": "picture_usd", "picture_tokens": "picture_tokens", "per_million_tokens_usd": "token_usd"}
    found = {field: entry[name] for name, field in names.items() if entry.get(name) is not None}
    if entry.get("lanes") is not None:
        found["lanes"] = {Lane(lane): share for lane, share in entry["lanes"].items()}
    if entry.get("search_usd") is not None:
        found["search_usd"] = entry["search_usd"]
    return found


def _texts_of(job: Job) -> tuple[str, ...]:
    system = job.parameters.get("system")
    return (job.prompt,) if system is None else (job.prompt, system)
