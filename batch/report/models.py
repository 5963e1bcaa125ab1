"""The table of models, as lines of text and for programs. Pure: facts in, lines out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from batch.core.image_models import DEFAULT_MODEL, ModelFacts
from batch.core.pixel_sizes import pixels_in
from batch.core.prices import ModelPrices
from batch.report.formatting import usd

#: What is printed of a model beside its name, in columns.
_HEADS: Final = ("model", "sizes", "ratios", "references", "thinking", "search", "a picture")
_GAP: Final = "  "


def table_lines(models: Mapping[str, ModelFacts], prices: Mapping[str, ModelPrices]) -> Iterator[str]:
    """All models, one a line."""
    rows = [_HEADS, *(_row(name, facts, prices[name]) for name, facts in models.items())]
    widths = [max(len(row[number]) for row in rows) for number in range(len(_HEADS))]
    for row in rows:
        yield _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    ends = [f"{name} on {facts.end.day}" for name, facts in models.items() if facts.end is not None]
    if ends:
        yield f"announced to end: {', '.join(ends)}"
    yield "one of them with its sources: imagebatch models NAME. Any other model is sent too, and not checked"


def model_lines(name: str, facts: ModelFacts, prices: ModelPrices) -> Iterator[str]:
    """Everything known of one model."""
    yield f"{name}{f' ({facts.title})' if facts.title else ''}{_default(name)}"
    yield f"  sizes      {_words(facts.image_sizes)}"
    yield f"  ratios     {_words(facts.aspect_ratios)}"
    yield f"  references {'not known' if facts.max_references is None else f'at most {facts.max_references}'}"
    yield f"  answers    {_words(facts.modalities)}"
    yield f"  thinking   {_words(facts.thinking)}"
    yield f"  search     {_words(facts.search)}{_query(prices)}"
    if facts.qualities is not None:
        yield f"  quality    {_words(facts.qualities)}"
        yield f"  fidelity   {_words(facts.input_fidelity)}"
    if prices.picture_usd:
        yield f"  prices     {_by_size(prices.picture_usd)} a picture"
    for quality, listed in {} if prices.by_pixels is None else prices.by_pixels.listed().items():
        yield f"  {quality:<10} {_by_size(listed)} a picture"
    if prices.token_usd:
        tokens = ", ".join(f"{kind} ${price:g}" for kind, price in prices.token_usd.items())
        yield f"  tokens     {tokens} a million"
    for lane, share in prices.lanes.items():
        yield f"  {lane:<10} {share:.0%} of these prices"
    if facts.end is not None:
        yield f"  ends       {facts.end.day}{f': {facts.end.says}' if facts.end.says else ''}"
        yield f"             ({facts.end.source}, looked up on {facts.end.checked})"
    yield f"  sources    {facts.source}"


def models_as_json(models: Mapping[str, ModelFacts], prices: Mapping[str, ModelPrices]) -> dict[str, Any]:
    """The same facts for programs, by model, in the form of the table itself."""
    return {"models": {name: _as_json(name, facts, prices[name]) for name, facts in models.items()}}


def _as_json(name: str, facts: ModelFacts, prices: ModelPrices) -> dict[str, Any]:
    end = facts.end
    return {
        "title": facts.title,
        "default": name == DEFAULT_MODEL,
        "image_sizes": facts.image_sizes,
        "aspect_ratios": facts.aspect_ratios,
        "max_references": facts.max_references,
        "modalities": facts.modalities,
        "thinking": facts.thinking,
        "search": facts.search,
        "search_usd": prices.search_usd,
        "qualities": facts.qualities,
        "input_fidelity": facts.input_fidelity,
        "picture_usd_by_quality": {} if prices.by_pixels is None else prices.by_pixels.listed(),
        "picture_usd": dict(prices.picture_usd),
        "picture_tokens": dict(prices.picture_tokens),
        "per_million_tokens_usd": dict(prices.token_usd),
        "lanes": {str(lane): share for lane, share in prices.lanes.items()},
        "end": None
        if end is None
        else {
            "date": end.day.isoformat(),
            "says": end.says,
            "source": end.source,
            "checked": end.checked,
            "providers": end.providers,
        },
        "source": facts.source,
    }


def _row(name: str, facts: ModelFacts, prices: ModelPrices) -> tuple[str, ...]:
    by_quality = {} if prices.by_pixels is None else prices.by_pixels.listed()
    listed = [*prices.picture_usd.values(), *(price for sizes in by_quality.values() for price in sizes.values())]
    price = usd(listed[0]) if len(set(listed)) == 1 else f"{usd(min(listed))} to {usd(max(listed))}"
    return (
        f"{name}{_default(name)}",
        _sizes(facts),
        "not known" if facts.aspect_ratios is None else str(len(facts.aspect_ratios)),
        "not known" if facts.max_references is None else str(facts.max_references),
        _words(facts.thinking),
        _words(facts.search),
        price,
    )


def _by_size(prices: Mapping[str, float]) -> str:
    return ", ".join(f"{size} {usd(price)}" for size, price in prices.items())


def _sizes(facts: ModelFacts) -> str:
    """Sizes in few words: of those in pixels how many there are."""
    classes = [size for size in facts.image_sizes or () if pixels_in(size) is None]
    pixels = len(facts.image_sizes or ()) - len(classes)
    if not pixels:
        return _words(facts.image_sizes)
    return ", ".join((*classes, f"{'any' if facts.any_size is not None else pixels} in pixels"))


def _default(name: str) -> str:
    return " (default)" if name == DEFAULT_MODEL else ""


def _words(words: Sequence[str] | None) -> str:
    if words is None:
        return "not known"
    return ", ".join(words) or "none"


def _query(prices: ModelPrices) -> str:
    return "" if prices.search_usd is None else f" ({usd(prices.search_usd)} a query)"
