"""What the simulated provider charges for an answer.

Two ways, as real ones have: `request`, one list price per charged request whatever the answer holds, as relays do; and
`tokens`, those the answer reports in its `usageMetadata`, as Google does. An answer that reports none, or reports what
is not true, is charged at list price. Either way a request that was served in a cheaper lane costs that lane's share.
The numbers are written down here once more on purpose (see `tables`).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from typing import Any, Final

from batch.simulator.delivery import Answer
from batch.simulator.tables import LANE_SHARES, Model

#: US dollars per million tokens: input, words and thinking, pictures.
_TOKEN_USD: Final[Mapping[str, tuple[float, float, float]]] = {
    "gemini-3.1-flash-image": (0.5, 3.0, 60.0),
    "gemini-3.1-flash-lite-image": (0.25, 1.5, 30.0),
    "gemini-nano-banana-2.1": (1.5, 7.5, 30.0),
    "gemini-3-pro-image": (2.0, 12.0, 120.0),
    "gemini-2.5-flash-image": (0.3, 2.5, 30.0),
}


def price(answer: Answer, model: Model, image_size: str, billing: str, lane: str) -> float:
    """US dollars for a charged request that `lane` served."""
    return round(LANE_SHARES[lane] * _standard_price(answer, model, image_size, billing), 6)


def _standard_price(answer: Answer, model: Model, image_size: str, billing: str) -> float:
    listed = model.usd[image_size]
    usage = _reported(answer) if billing == "tokens" and not answer.false_usage else None
    if usage is None:
        return listed
    per_input, per_word, per_picture = _TOKEN_USD[model.name]
    output = usage.get("candidatesTokenCount", 0)
    pictures = sum(part["tokenCount"] for part in usage.get("candidatesTokensDetails", ()))
    words = output - pictures + usage.get("thoughtsTokenCount", 0)
    micro_usd: float = usage["promptTokenCount"] * per_input + words * per_word + pictures * per_picture
    return micro_usd / 1e6


def _reported(answer: Answer) -> dict[str, Any] | None:
    """The answer's `usageMetadata` in camelCase; None if it holds none that can be read."""
    body = answer.body
    try:
        if answer.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        message = json.loads(body.decode("utf-8-sig"))
    except (ValueError, OSError, EOFError, RecursionError):
        return None
    if isinstance(message, list):
        message = message[0] if message else None
    found = _pick(message, "usageMetadata")
    if not isinstance(found, dict):
        return None
    usage = {name: _pick(found, name) for name in ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")}
    details = _pick(found, "candidatesTokensDetails") or []
    usage["candidatesTokensDetails"] = [
        {"tokenCount": _pick(part, "tokenCount")} for part in details if part["modality"] == "IMAGE"
    ]
    return {name: value for name, value in usage.items() if value is not None}


def _pick(fields: Any, name: str) -> Any:
    """A field in either spelling."""
    if not isinstance(fields, dict):
        return None
    snake = "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)
    return fields.get(name, fields.get(snake))
