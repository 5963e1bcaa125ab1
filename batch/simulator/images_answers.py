"""Answers of OpenAI's images API: the message of a good one, and what it costs."""

from __future__ import annotations

import base64
import gzip
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from batch.simulator.delivery import Answer
from batch.simulator.images_wire import ImagesAsk
from batch.simulator.pictures import Picture

#: Input tokens of one reference that is not kept to closely.
TOKENS_PER_REFERENCE = 323


#: Draws a picture for a request; the keywords are those of `Painter.paint`.
Paint: TypeAlias = Callable[..., Awaitable[Picture]]


async def good_images_message(paint: Paint, ask: ImagesAsk) -> dict[str, Any]:
    """The JSON of what a request without a fault gets."""
    return message(ask, [entry(await drawn(paint, ask)) for _ in range(ask.pictures)])


async def drawn(paint: Paint, ask: ImagesAsk) -> Picture:
    return await paint(format_name=ask.output_format)


def entry(picture: Picture) -> dict[str, Any]:
    """One of `data`."""
    return {"b64_json": base64.b64encode(picture.data).decode("ascii")}


def message(ask: ImagesAsk, data: list[dict[str, Any]]) -> dict[str, Any]:
    """The answer's JSON around its pictures."""
    return {
        "created": int(time.time()),
        "background": ask.background,
        "data": data,
        "output_format": ask.output_format,
        "quality": ask.quality,
        "size": ask.size,
        "usage": usage(ask, len(data)),
    }


def usage(ask: ImagesAsk, pictures: int) -> dict[str, Any]:
    """Token counts: about four letters to a token, and the model's price in tokens per picture."""
    text, images = len(ask.prompt) // 4 + 1, TOKENS_PER_REFERENCE * len(ask.references)
    made = ask.priced.tokens(ask.quality, ask.size) * pictures
    return {
        "input_tokens": text + images,
        "input_tokens_details": {"image_tokens": images, "text_tokens": text},
        "output_tokens": made,
        "output_tokens_details": {"image_tokens": made, "text_tokens": 0},
        "total_tokens": text + images + made,
    }


def images_price(answer: Answer, ask: ImagesAsk, billing: str) -> float:
    """US dollars for a charged request: one list price, or the tokens that the answer reports, if it does."""
    listed = ask.priced.picture_usd(ask.quality, ask.size)
    reported = None if billing != "tokens" or answer.false_usage else _reported(answer)
    if reported is None:
        return round(listed, 6)
    details = reported["input_tokens_details"]
    tokens = (details["text_tokens"], details["image_tokens"], reported["output_tokens"])
    micro_usd: float = sum(rate * count for rate, count in zip(ask.priced.rates, tokens, strict=True))
    return round(micro_usd / 1e6, 6)


def _reported(answer: Answer) -> dict[str, Any] | None:
    """The answer's usage; None if it holds none that can be read."""
    body = answer.body
    try:
        if answer.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        told = json.loads(body.decode("utf-8-sig").removeprefix("data: "))
    except (ValueError, OSError, EOFError, RecursionError):
        return None
    told = told[0] if isinstance(told, list) and told else told
    told = told["data"] if isinstance(told, dict) and isinstance(told.get("data"), dict) else told
    found = told.get("usage") if isinstance(told, dict) else None
    return found if isinstance(found, dict) else None
