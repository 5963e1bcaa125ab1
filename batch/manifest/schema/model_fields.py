"""What the fields of a model may hold, in `models` or in a table of models. Names and units: docs/models.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Any, Final

from pydantic_core import PydanticCustomError

from batch.core.image_models import SEARCH_KINDS, THINKING_LEVELS
from batch.core.lane import Lane
from batch.manifest.schema import fields

_RATIO: Final = re.compile(r"[1-9]\d{0,3}:[1-9]\d{0,3}")
_SIZE: Final = re.compile(r"[A-Za-z0-9._-]{1,20}")
_MOST_TOKENS: Final = 1_000_000
#: Lanes that cost a share of what stands in the table, which is the standard lane's price.
_LANES: Final = tuple(lane.value for lane in Lane if lane is not Lane.STANDARD)


def day(value: object) -> str:
    """A date, which YAML may have read as one."""
    try:
        return date.fromisoformat(value.isoformat() if isinstance(value, date) else str(value)).isoformat()
    except ValueError:
        raise _wrong("must be a date such as 2026-10-02", value) from None


def sizes(value: object) -> list[str] | None:
    """Names of sizes; `512` without quotes is a number to YAML."""
    if isinstance(value, list):
        value = [str(size) if isinstance(size, int) and not isinstance(size, bool) else size for size in value]
    return _words(value, "sizes such as [1K, 2K]", lambda word: _SIZE.fullmatch(word) is not None)


def ratios(value: object) -> list[str] | None:
    return _words(value, 'ratios such as ["1:1", "16:9"]', lambda word: _RATIO.fullmatch(word) is not None)


def modalities(value: object) -> list[str] | None:
    return _words(value, "IMAGE, TEXT or both", lambda word: word in ("IMAGE", "TEXT"))


def thinking(value: object) -> list[str] | None:
    return _words(value, f"levels out of {', '.join(THINKING_LEVELS)}", lambda word: word in THINKING_LEVELS)


def search(value: object) -> list[str] | None:
    return _words(value, f"kinds out of {', '.join(SEARCH_KINDS)}", lambda word: word in SEARCH_KINDS)


def prices(value: object) -> dict[str, float]:
    """US dollars per picture, by size."""
    return {size: float(price) for size, price in _by_size(value, "{1K: 0.07}", _is_price, "US dollars").items()}


def tokens(value: object) -> dict[str, int]:
    """Tokens of one picture, by size."""
    return dict(_by_size(value, "{1K: 1120}", _is_count, f"tokens from 1 to {_MOST_TOKENS:,}"))


def lanes(value: object) -> dict[str, float]:
    """Lanes with the share of the standard price that each costs."""
    if not isinstance(value, dict):
        raise _wrong("must be a mapping such as {flex: 0.5}", value)
    for lane, share in value.items():
        if lane not in _LANES:
            raise _wrong(f"must name lanes out of {', '.join(_LANES)}", lane)
        if not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share <= 1:
            raise _wrong("must be shares of the standard price, above 0 and at most 1", share)
    return {lane: float(share) for lane, share in value.items()}


def _words(value: object, what: str, fits: Callable[[str], bool]) -> list[str] | None:
    """A list of words; nothing stands for what is not known."""
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(word, str) and fits(word) for word in value):
        raise _wrong(f"must be a list of {what}", value)
    if len(set(value)) < len(value):
        raise _wrong("names something twice; keep one")
    return value


def _by_size(value: object, example: str, fits: Callable[[Any], bool], what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(f"must be a mapping such as {example}", value)
    found: dict[str, Any] = {}
    for size, item in value.items():
        name = str(size) if isinstance(size, int) and not isinstance(size, bool) else size
        if not isinstance(name, str) or _SIZE.fullmatch(name) is None:
            raise _wrong("must name sizes such as 1K", size)
        if not fits(item):
            raise _wrong(f"must be {what} for each size", item)
        found[name] = item
    return found


def _is_price(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= fields.HIGHEST_PRICE_USD


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST_TOKENS


def _wrong(fragment: str, value: object = ...) -> PydanticCustomError:
    shown = "" if value is ... else f"; got {fields.said(value)}"
    return PydanticCustomError("sentence", "{text}", {"text": fragment + shown})
