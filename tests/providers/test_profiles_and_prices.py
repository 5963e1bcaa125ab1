"""Which endpoint a name means, and what a picture costs there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from batch.errors import ConfigError
from batch.prices import load_prices
from batch.providers.profiles import resolve_endpoint
from batch.settings import Auth, ProviderSettings


def test_profiles_fill_in_what_the_manifest_leaves_open() -> None:
    """Address, key variable and style come from the profile unless said otherwise."""
    plain = resolve_endpoint(ProviderSettings(profile="anyfast"))
    own = resolve_endpoint(ProviderSettings(profile="google", base_url="https://x", auth=Auth.BEARER, key_env="K"))
    assert (plain.base_url, plain.auth, plain.key_env) == ("https://www.anyfast.ai", Auth.QUERY, "ANYFAST_API_KEY")
    assert (own.base_url, own.auth, own.key_env, own.snake_case_parts) == ("https://x", Auth.BEARER, "K", False)


def test_only_the_simulator_is_embedded() -> None:
    """It has no address until it runs, and needs no key."""
    simulator = resolve_endpoint(ProviderSettings(profile="simulator"))
    assert (simulator.embedded, simulator.key_env) == (True, None)
    assert not resolve_endpoint(ProviderSettings(profile="google")).embedded


def test_an_unknown_profile_names_the_known_ones() -> None:
    """A typing error is a configuration error."""
    with pytest.raises(ConfigError, match="anyfast, google, simulator"):
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
