"""A stub of `generateContent` that checks every field of a request as the API's reference has it, and nothing else.

Written from ai.google.dev/api/generate-content and the types of the official SDK (google-genai 3.6), and shares no code
with the package: a field in another place, of another type or with another word is a violation. What is documented as
camelCase is wanted so, but for `inline_data` and `mime_type`, which AnyFast documents.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from PIL import Image

#: Of one value: what is wrong with it, at the path where it stands.
Check = Callable[[Any, str], list[str]]


def text(value: Any, at: str) -> list[str]:
    return [] if isinstance(value, str) and value else [f"{at}: {value!r} is no text"]


def data(value: Any, at: str) -> list[str]:
    """Base64, in either alphabet, as protobuf's JSON takes it."""
    try:
        base64.b64decode(value.replace("-", "+").replace("_", "/"), validate=True)
    except (ValueError, AttributeError):
        return [f"{at}: no base64"]
    return []


def number(lowest: float, highest: float) -> Check:
    def check(value: Any, at: str) -> list[str]:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and lowest <= value <= highest
        return [] if fits else [f"{at}: {value!r} is no number from {lowest} to {highest}"]

    return check


def int32(value: Any, at: str) -> list[str]:
    fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31
    return [] if fits else [f"{at}: {value!r} is no int32"]


def one_of(*words: str) -> Check:
    return lambda value, at: [] if value in words else [f"{at}: {value!r} is none of {words}"]


def list_of(check: Check) -> Check:
    def each(value: Any, at: str) -> list[str]:
        if not isinstance(value, list) or not value:
            return [f"{at}: {value!r} is no list with anything in it"]
        return [wrong for number, item in enumerate(value) for wrong in check(item, f"{at}[{number}]")]

    return each


def message(fields: Mapping[str, Check], required: tuple[str, ...] = ()) -> Check:
    def check(value: Any, at: str) -> list[str]:
        if not isinstance(value, dict):
            return [f"{at}: {value!r} is no object"]
        wrong = [f"{at}.{name}: unknown field" for name in value if name not in fields]
        wrong += [f"{at}.{name}: missing" for name in required if name not in value]
        for name, item in value.items():
            wrong += fields[name](item, f"{at}.{name}") if name in fields else []
        return wrong

    return check


BLOB = message(
    {"mimeType": one_of("image/png", "image/jpeg", "image/webp"), "data": data}, required=("mimeType", "data")
)
SNAKE_BLOB = message(
    {"mime_type": one_of("image/png", "image/jpeg", "image/webp"), "data": data}, required=("mime_type", "data")
)
PART = message({"text": text, "inlineData": BLOB, "inline_data": SNAKE_BLOB, "thoughtSignature": data})
CONTENT = message({"role": one_of("user", "model"), "parts": list_of(PART)}, required=("parts",))
CATEGORIES = one_of(
    *("HARM_CATEGORY_HARASSMENT", "HARM_CATEGORY_HATE_SPEECH", "HARM_CATEGORY_SEXUALLY_EXPLICIT"),
    *("HARM_CATEGORY_DANGEROUS_CONTENT", "HARM_CATEGORY_CIVIC_INTEGRITY", "HARM_CATEGORY_JAILBREAK"),
    *("HARM_CATEGORY_IMAGE_HATE", "HARM_CATEGORY_IMAGE_DANGEROUS_CONTENT", "HARM_CATEGORY_IMAGE_HARASSMENT"),
    "HARM_CATEGORY_IMAGE_SEXUALLY_EXPLICIT",
)
THRESHOLDS = one_of("BLOCK_LOW_AND_ABOVE", "BLOCK_MEDIUM_AND_ABOVE", "BLOCK_ONLY_HIGH", "BLOCK_NONE", "OFF")
SEARCH = message({"searchTypes": message({"webSearch": message({}), "imageSearch": message({})})})
GENERATION = message(
    {
        "responseModalities": list_of(one_of("TEXT", "IMAGE")),
        "imageConfig": message({"aspectRatio": text, "imageSize": one_of("512", "1K", "2K", "4K")}),
        "thinkingConfig": message({"thinkingLevel": one_of("MINIMAL", "LOW", "MEDIUM", "HIGH")}),
        "seed": int32,
        "temperature": number(0, 2),
        "topP": number(0, 1),
        "topK": number(1, 1000),
    },
    required=("responseModalities", "imageConfig"),
)
REQUEST = message(
    {
        "contents": list_of(CONTENT),
        "generationConfig": GENERATION,
        "systemInstruction": CONTENT,
        "safetySettings": list_of(
            message({"category": CATEGORIES, "threshold": THRESHOLDS}, ("category", "threshold"))
        ),
        "tools": list_of(message({"googleSearch": SEARCH, "urlContext": message({})})),
        "labels": lambda value, at: [] if isinstance(value, dict) else [f"{at}: no labels"],
        "service_tier": one_of("flex"),
    },
    required=("contents", "generationConfig"),
)


@dataclass
class StrictApi:
    """What was asked, in order, and what was wrong with it. `grounding` and `signature` go into every answer."""

    base_url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    grounding: dict[str, Any] | None = None
    signature: Callable[[int], str | None] = lambda _: None
    #: Told of every answer that was written, by its number.
    on_answer: Callable[[int], object] = lambda _: None
    _written: dict[int, asyncio.Event] = field(default_factory=dict)
    #: By a part of a prompt: an answer without a picture, and why.
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.bodies]

    async def serve(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.bodies.append(body)
        self.paths.append(request.path)
        asked = json.loads(body)
        wrong = REQUEST(asked, "request")
        self.violations += wrong
        if wrong:
            return web.json_response(
                {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": wrong[0]}}, status=400
            )
        number = len(self.bodies)
        answer = web.json_response(self._answer(number, asked))
        await answer.prepare(request)
        await answer.write_eof()
        self.on_answer(number)
        self._event(number).set()
        return answer

    async def answered(self, number: int) -> None:
        """Wait until so many answers were written."""
        await self._event(number).wait()

    def _event(self, number: int) -> asyncio.Event:
        return self._written.setdefault(number, asyncio.Event())

    def _answer(self, number: int, asked: dict[str, Any]) -> dict[str, Any]:
        prompt = asked["contents"][-1]["parts"][0]["text"]
        finish = next((why for words, why in self.refused.items() if words in prompt), "STOP")
        part: dict[str, Any] = {"inlineData": {"mimeType": "image/png", "data": _picture(number)}}
        signature = self.signature(number)
        if signature is not None:
            part["thoughtSignature"] = signature
        candidate: dict[str, Any] = {"finishReason": finish, "index": 0}
        candidate["content"] = {"role": "model", "parts": [part] if finish == "STOP" else []}
        if self.grounding is not None and "tools" in asked:
            candidate["groundingMetadata"] = self.grounding
        return {"candidates": [candidate], "responseId": f"r-{number}"}


def _picture(number: int) -> str:
    """A PNG of its own for every answer."""
    out = io.BytesIO()
    Image.new("RGB", (512, 512), (number % 251, number // 251 % 251, 90)).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


@asynccontextmanager
async def strict_api() -> AsyncIterator[StrictApi]:
    """One on loopback."""
    api = StrictApi()
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v1beta/models/{model}:generateContent", api.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    api.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield api
    finally:
        await runner.cleanup()
