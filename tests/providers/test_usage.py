"""What Gemini says of tokens, in words that fit every provider."""

from __future__ import annotations

from typing import Any

import pytest

from batch.core.usage import Usage
from batch.providers.answers.usage import read_usage

PICTURES = [{"modality": "IMAGE", "tokenCount": 1120}, {"modality": "TEXT", "tokenCount": 3}]
WHOLE: dict[str, Any] = {
    "promptTokenCount": 1130,
    "candidatesTokenCount": 1123,
    "thoughtsTokenCount": 40,
    "totalTokenCount": 2293,
    "promptTokensDetails": PICTURES,
    "candidatesTokensDetails": PICTURES,
}


def snake(value: Any) -> Any:
    if isinstance(value, list):
        return [snake(each) for each in value]
    names = {name: "".join("_" + c.lower() if c.isupper() else c for c in name) for name in value}
    return {names[name]: snake(each) if isinstance(each, list) else each for name, each in value.items()}


def kinds(usage: Usage | None) -> Any:
    return usage and usage.by_kind


def test_the_four_kinds_are_told_apart() -> None:
    """Thinking is text; pictures are what the details call so."""
    usage = read_usage(WHOLE)
    assert kinds(usage) == {"input_text": 10, "input_image": 1120, "output_text": 43, "output_image": 1120}
    assert usage is not None
    assert (usage.total, usage.reported) == (2293, WHOLE)


def test_either_spelling_is_read() -> None:
    """Relays write snake_case; what the ledger keeps is what they wrote, with details spelt as ever."""
    usage = read_usage(snake(WHOLE))
    assert kinds(usage) == kinds(read_usage(WHOLE))
    assert usage is not None
    assert usage.reported["total_token_count"] == usage.total == 2293
    assert usage.reported["prompt_tokens_details"] == PICTURES


@pytest.mark.parametrize(
    "change", [{"totalTokenCount": 9}, {"promptTokenCount": 0}, {"promptTokenCount": "8"}, {"totalTokenCount": None}]
)
def test_what_does_not_add_up_has_no_kinds(change: dict[str, Any]) -> None:
    """Then the list price counts; a total that was said still counts for quotas."""
    usage = read_usage(WHOLE | change)
    assert usage is not None
    assert usage.by_kind is None
    assert usage.total == (change.get("totalTokenCount", 2293))


@pytest.mark.parametrize(("metadata", "usage"), [(None, None), ([], None), ({}, Usage()), ({"odd": -1}, Usage())])
def test_no_counts_are_no_usage(metadata: Any, usage: Usage | None) -> None:
    """An empty count is one, without numbers."""
    assert read_usage(metadata) == usage
