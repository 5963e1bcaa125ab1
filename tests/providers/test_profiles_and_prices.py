"""Which endpoint a name means, and what a picture costs there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batch.core import prices
from batch.core.errors import ConfigError
from batch.core.lane import Lane
from batch.core.prices import Charge, ChargedBy, ModelPrices, PriceList, load_prices
from batch.core.registry import resolve_endpoint
from batch.core.settings import Auth, ProviderSettings
from batch.core.usage import TOKEN_KINDS
from batch.providers.answers.usage import read_usage


def test_profiles_fill_in_what_the_manifest_leaves_open() -> None:
    """Address, key variable and style come from the profile unless said otherwise."""
    plain = resolve_endpoint(ProviderSettings(profile="anyfast"))
    own = resolve_endpoint(ProviderSettings(profile="google", base_url="https://x", auth=Auth.BEARER, key_env="K"))
    assert (plain.base_url, plain.auth, plain.key_env) == ("https://www.anyfast.ai", Auth.QUERY, "ANYFAST_API_KEY")
    assert (own.base_url, own.auth, own.key_env, own.profile.snake_case_parts) == ("https://x", Auth.BEARER, "K", False)


def test_lanes_are_googles_and_the_simulators() -> None:
    """An own address keeps them, for a proxy may stand in front of Google; a relay would drop the wish in silence."""
    named = {
        profile: resolve_endpoint(ProviderSettings(profile=profile)).lanes
        for profile in ("google", "simulator", "anyfast")
    }
    assert named == {"google": set(Lane), "simulator": set(Lane), "anyfast": {Lane.STANDARD}}
    assert resolve_endpoint(ProviderSettings(profile="google", base_url="https://x")).lanes == set(Lane)


def test_only_the_simulator_is_embedded() -> None:
    """It has no address until it runs, and needs no key."""
    simulator = resolve_endpoint(ProviderSettings(profile="simulator"))
    assert (simulator.embedded, simulator.key_env) == (True, None)
    assert not resolve_endpoint(ProviderSettings(profile="google")).embedded


def test_an_unknown_profile_names_the_known_ones() -> None:
    """A typing error is a configuration error."""
    with pytest.raises(ConfigError, match="anyfast, google, openai, simulator, simulator-openai"):
        resolve_endpoint(ProviderSettings(profile="anyfest"))


PRICES = [
    ("gemini-3.1-flash-image", "512", {}, 0.045),
    ("gemini-3.1-flash-image", "4K", {}, 0.151),
    ("gemini-3-pro-image", "1K", {}, 0.134),
    ("somebody-elses", "1K", {}, 0.134),
    ("somebody-elses", "8K", {}, 0.24),
    ("gemini-3.1-flash-image", "1K", {"1K": 0.01}, 0.01),
    ("gemini-3.1-flash-image", "2K", {"1K": 0.01}, 0.101),
]


@pytest.mark.parametrize(("model", "size", "own", "usd"), PRICES)
def test_a_price_is_never_too_low(model: str, size: str, own: dict[str, float], usd: float, tools: Any) -> None:
    """Own prices first, then the list; what is not listed counts as the dearest."""

    job = replace(tools.job(image_size=size), model=model)
    assert load_prices(own).picture_usd(job) == usd


def counts(prompt: int, output: int, thoughts: int = 0, pictures: int | None = None, **more: Any) -> dict[str, Any]:
    """The provider's own count; `pictures` of the output tokens are a picture's."""
    details = {} if pictures is None else {"candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": pictures}]}
    total = {"totalTokenCount": prompt + output + thoughts}
    tokens = {"promptTokenCount": prompt, "candidatesTokenCount": output, "thoughtsTokenCount": thoughts}
    return {**tokens, **total, **details, **more}


CHARGES = [
    ("a picture", counts(8, 1120, pictures=1120), 1, (0.067204, "usage")),
    ("a picture and thinking", counts(8, 1120, 264, pictures=1120), 1, (0.067996, "usage")),
    ("words beside it", counts(8, 1220, pictures=1120), 1, (0.067504, "usage")),
    ("nothing said of the kinds", counts(8, 1220), 1, (0.073204, "usage")),
    ("blocked: input and thinking", counts(1119, 0, 240), 0, (0.00128, "usage")),
    ("two pictures", counts(8, 2240, pictures=2240), 2, (0.134404, "usage")),
    ("no count", None, 1, (0.067204, "list")),
    ("an empty count", {}, 1, (0.067204, "list")),
    ("no total", {"promptTokenCount": 8, "candidatesTokenCount": 1120}, 1, (0.067204, "list")),
    ("does not add up", counts(8, 1120, totalTokenCount=9), 1, (0.067204, "list")),
    ("below nought", counts(8, 1120, promptTokenCount=-8), 1, (0.067204, "list")),
    ("text", counts(8, 1120, candidatesTokenCount="1120"), 1, (0.067204, "list")),
    ("a picture for nothing", counts(8, 0), 1, (0.067204, "list")),
    ("more than an answer holds", counts(8, 32_768), 1, (0.067204, "list")),
]


@pytest.mark.parametrize(("usage", "pictures", "charge"), [case[1:] for case in CHARGES], ids=[c[0] for c in CHARGES])
def test_tokens_count_where_they_are_charged_and_make_sense(
    usage: Any, pictures: int, charge: tuple[float, str], tools: Any
) -> None:
    """Else it is the list price with its input; and per request it is one list price, whatever the tokens say."""
    job = replace(tools.job(image_size="1K"), prompt="a mug :)", references=())
    by_tokens, by_request = load_prices({}, charged_by=ChargedBy.TOKENS), load_prices({})
    found = by_tokens.charge(job, read_usage(usage), pictures=pictures)
    assert (found.usd, found.source) == charge
    assert found.usd <= by_tokens.max_usd(job)
    assert by_request.charge(job, read_usage(usage), pictures=pictures) == Charge(usd=0.067, source="list")
    assert by_request.max_usd(job) == by_request.attempt_usd(job) == 0.067


def test_every_shipped_price_says_where_it_is_from() -> None:
    """A version, and for each model a source with a year, for its lanes too; all sizes of a model have tokens."""
    table = json.loads((Path(prices.__file__).parent / "data/models.json").read_text())
    assert table["version"] == 1
    for model in table["models"].values():
        assert "2026" in model["source"]
        assert set(model["picture_usd"]) == set(model["picture_tokens"])
        assert set(model["per_million_tokens_usd"]) == set(TOKEN_KINDS)
        assert all(lane in model["source"] and 0 < share <= 1 for lane, share in model["lanes"].items())


def test_an_own_table_takes_the_place_of_models_and_says_how_they_are_charged(tools: Any) -> None:
    """What it does not name stays; it knows better than the profile how the endpoint charges."""
    own = PriceList(
        models={"m": ModelPrices(picture_usd={"1K": 1.0}, picture_tokens={"1K": 100}, token_usd=FLAT)},
        charged_by=ChargedBy.TOKENS,
    )
    table, job = load_prices({}, own), replace(tools.job(image_size="1K"), model="m", prompt="x", references=())
    assert table.charge(job, read_usage(counts(1, 100)), pictures=1) == Charge(usd=1.01, source="usage")
    assert table.picture_usd(replace(job, model="gemini-3-pro-image")) == 0.134
    assert load_prices({"1K": 0.5}, own).charge(job, read_usage(counts(1, 100)), pictures=1) == Charge(
        usd=0.5, source="list"
    )


FLEX_PRICES = [
    # what a lane costs: its share of the standard price where the model has one, else all of it
    ("gemini-3-pro-image", "1K", {}, 0.067),
    ("gemini-3-pro-image", "4K", {}, 0.12),
    ("gemini-3.1-flash-image", "1K", {}, 0.0335),
    ("somebody-elses", "1K", {}, 0.134),
    ("gemini-3-pro-image", "1K", {"1K": 0.1}, 0.05),
    ("somebody-elses", "1K", {"1K": 0.1}, 0.1),
]


@pytest.mark.parametrize(("model", "size", "own", "usd"), FLEX_PRICES)
@pytest.mark.parametrize("charged_by", ChargedBy)
def test_a_lane_costs_its_share_and_a_budget_sets_aside_all(
    charged_by: ChargedBy, model: str, size: str, own: dict[str, float], usd: float, tools: Any
) -> None:
    """The manifest's prices are the standard lane's; an unknown share is never guessed; the most is always standard."""
    table = load_prices(own, charged_by=charged_by)
    job = replace(tools.job(image_size=size), model=model, prompt="", references=())
    assert table.picture_usd(job, Lane.FLEX) == usd
    assert table.picture_usd(job, Lane.STANDARD) == table.picture_usd(job) == load_prices(own).picture_usd(job)
    assert table.attempt_usd(job, Lane.FLEX) == pytest.approx(usd, rel=0.01)
    assert table.charge(job, None, pictures=1, lane=Lane.FLEX) == Charge(
        usd=table.attempt_usd(job, Lane.FLEX), source="list"
    )
    assert table.max_usd(job) >= table.attempt_usd(job) >= table.attempt_usd(job, Lane.FLEX)


@pytest.mark.parametrize(("usage", "pictures", "charge"), [case[1:] for case in CHARGES], ids=[c[0] for c in CHARGES])
def test_tokens_are_believed_alike_in_every_lane(
    usage: Any, pictures: int, charge: tuple[float, str], tools: Any
) -> None:
    """The same count that makes sense in one lane makes sense in the other, at its share of the price."""
    job = replace(tools.job(image_size="1K"), prompt="a mug :)", references=())
    found = load_prices({}, charged_by=ChargedBy.TOKENS).charge(
        job, read_usage(usage), pictures=pictures, lane=Lane.FLEX
    )
    assert found.usd == pytest.approx(charge[0] / 2, abs=1e-6)
    assert found.source == charge[1]


FLAT = dict.fromkeys(TOKEN_KINDS, 10_000.0)
