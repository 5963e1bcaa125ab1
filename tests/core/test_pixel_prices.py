"""What a picture of OpenAI's costs: by quality and size in pixels, reserved at its most and settled by its tokens."""

from __future__ import annotations

from typing import Any

import pytest

from batch.core.model import Job
from batch.core.openai_models import openai_prices
from batch.core.parameters import common_parameters
from batch.core.prices import ChargedBy, PriceList, load_prices
from batch.core.usage import Usage

PRICES = load_prices({}, charged_by=ChargedBy.TOKENS, known=openai_prices())


def job(model: str = "gpt-image-1.5", ratio: str | None = None, size: str = "1K", **asked: Any) -> Job:
    return Job(id="a", prompt="x" * 100, model=model, parameters=common_parameters(ratio, size).changed(**asked))


@pytest.mark.parametrize(
    ("asked", "usd"),
    [
        (job(ratio="1:1", quality="low"), 0.009),
        (job(size="1536x1024", quality="medium"), 0.05),
        (job(ratio="2:3", quality="high"), 0.2),
        (job(ratio="1:1"), 0.133),  # the model chooses the quality
        (job(quality="high"), 0.2),  # and the size
        (job(), 0.2),
        (job("gpt-image-1-mini", size="auto", quality="low"), 0.006),
        (job("gpt-image-2", ratio="1:1", quality="high"), 0.21072),  # 7,024 tokens
        (job("gpt-image-2", ratio="3:2", quality="high"), 0.16464),  # 5,488
        (job("gpt-image-2", size="3584x2048", quality="high"), 0.36987),  # 12,329
        (job("gpt-image-2", ratio="1:1", quality="low"), 0.00588),
        (job("gpt-image-2-2026-04-21", ratio="1:1", quality="medium"), 0.05268),
    ],
)
def test_the_list_price_follows_size_and_quality(asked: Job, usd: float) -> None:
    """As OpenAI's lists have it, and its guide's calculator; what is left open counts at its dearest."""
    assert PRICES.picture_usd(asked) == pytest.approx(usd)
    assert PRICES.is_priced(asked.model, asked.image_size)


def used(text: int, pictures: int, out: int) -> Usage:
    total = text + pictures + out
    return Usage(input_text=text, input_image=pictures, output_text=0, output_image=out, total=total)


def test_an_answer_is_charged_by_its_tokens() -> None:
    """$5, $8 and $32 a million, each for its kind."""
    charge = PRICES.charge(job(ratio="1:1", quality="high"), used(10, 40, 4160), pictures=1)
    assert charge.usd == pytest.approx(10 * 5e-6 + 40 * 8e-6 + 4160 * 32e-6)
    assert charge.source == "usage"


def test_what_was_left_open_may_turn_out_cheap() -> None:
    """The tokens of a low quality are believed where the model chose it, and not where a high one was asked for."""
    cheap = used(10, 0, 272)
    assert PRICES.charge(job(), cheap, pictures=1).source == "usage"
    assert PRICES.charge(job(quality="high", ratio="1:1"), cheap, pictures=1).source == "list"


@pytest.mark.parametrize("model", ["gpt-image-1.5", "gpt-image-1-mini", "gpt-image-2", "gpt-image-2.5-flare"])
@pytest.mark.parametrize("quality", [None, "low", "high"])
def test_a_budget_keeps_at_least_what_an_attempt_counts_for(model: str, quality: str | None) -> None:
    """The most is never less than the estimate, nor the estimate than the picture."""
    asked = job(model, ratio="3:2", **({} if quality is None else {"quality": quality}))
    assert PRICES.max_usd(asked) >= PRICES.attempt_usd(asked) >= PRICES.picture_usd(asked) > 0


def test_a_model_in_no_table_counts_as_the_dearest() -> None:
    """Of the same size and quality."""
    assert PRICES.picture_usd(job("a-relays-own", ratio="2:3", quality="high")) == 0.25
    assert not PRICES.is_priced("a-relays-own", "1K")


def test_prices_of_the_users_own_come_first() -> None:
    """By size, whatever the quality: of all models, or of one."""
    asked = job(ratio="1:1", quality="high")
    assert load_prices({"1K": 0.02}, known=openai_prices()).picture_usd(asked) == 0.02
    assert load_prices({"1024x1024": 0.02}, known=openai_prices()).picture_usd(job(size="1024x1024")) == 0.02
    changed = PriceList(changes={"gpt-image-1.5": {"picture_usd": {"1K": 0.03}}})
    table = load_prices({}, changed, ChargedBy.TOKENS, openai_prices())
    assert table.picture_usd(asked) == 0.03
    assert table.picture_usd(job(size="1024x1024", quality="high")) == 0.133
