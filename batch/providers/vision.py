"""A model that looks at a picture and answers in words: OpenAI's chat completions, or Gemini's generateContent.

One question, one answer of JSON text. The shape of the answer is asked for by the API's own option; what a model puts
around it all the same (a fence of Markdown) is taken off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import pybase64

from batch.core.clock import Clock
from batch.core.errors import AttemptError, Refused, Unusable
from batch.core.profiles import OPENAI_API, Endpoint
from batch.core.settings import Timeouts
from batch.pictures.opening import UnreadablePicture
from batch.providers.answers.classify import classify_error
from batch.providers.answers.images_errors import images_error
from batch.providers.http.client import PaidClient
from batch.providers.http.contract import Head
from batch.providers.openai import version_path
from batch.providers.references.shrinking import CannotFit, fitted
from batch.providers.secrets import ApiKey, Redactor

_MOST_BYTES: Final = 1 << 20
#: As much of a picture as a model looks at anyway.
_SIDE_PIXELS: Final = 1024
_MOST_PICTURE_BYTES: Final = 1_500_000
_FENCE: Final = re.compile(r"\s*```\w*\s*\n(.*?)\n?\s*```\s*", re.DOTALL)
#: What a verdict looks like. Both APIs take this part of JSON Schema.
_VERDICT: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "verdict": {"type": "string", "enum": ["accepted", "rejected"]},
        "reasons": {"type": "array", "items": {"type": "string"}},
        "note": {"type": "string"},
    },
    "required": ["verdict", "reasons", "note"],
}


def reduced(path: str) -> tuple[str, bytes]:
    """MIME type and bytes of a picture as it is shown to a model. Raises `Refused` if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return fitted(file, side_pixels=_SIDE_PIXELS, most_bytes=_MOST_PICTURE_BYTES)
    except (OSError, UnreadablePicture, CannotFit) as error:
        raise Refused("unreadable_picture", f"the picture cannot be read: {error}") from None


class VisionModel:
    """One model at one endpoint."""

    def __init__(
        self, endpoint: Endpoint, base_url: str, key: ApiKey, timeouts: Timeouts, clock: Clock, *, model: str
    ) -> None:
        self._is_openai = endpoint.profile.provider == OPENAI_API
        self._snake_case = endpoint.profile.snake_case_parts
        self._model = model
        self._clock = clock
        self._path = (
            f"{version_path(base_url)}/chat/completions"
            if self._is_openai
            else f"/v1beta/models/{model}:generateContent"
        )
        self._redactor = Redactor(key)
        self._client = PaidClient(base_url, auth=endpoint.auth, key=key, timeouts=timeouts, network=endpoint.network)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def ask(self, question: str, mime: str, picture: bytes) -> str:
        """What it says of the picture. Raises `AttemptError`, whose `paid` says whether it may have been charged."""
        body = self._openai_body(question, mime, picture) if self._is_openai else self._gemini(question, mime, picture)
        answer = _Body()
        try:
            head = await self._client.post(self._path, [json.dumps(body).encode("ascii")], {}, lambda _: answer)
        except AttemptError as error:
            raise self._cleaned(error) from None
        if head.status != 200:
            raise self._cleaned(self._meaning(head, bytes(answer.data)))
        return self._redactor.text(_text_of(answer, is_openai=self._is_openai))

    def _openai_body(self, question: str, mime: str, picture: bytes) -> dict[str, Any]:
        url = f"data:{mime};base64,{pybase64.b64encode(picture).decode('ascii')}"
        schema = {**_VERDICT, "additionalProperties": False}
        return {
            "model": self._model,
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": question}, {"type": "image_url", "image_url": {"url": url}}],
                }
            ],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "verdict", "strict": True, "schema": schema},
            },
        }

    def _gemini(self, question: str, mime: str, picture: bytes) -> dict[str, Any]:
        data, kind = ("inline_data", "mime_type") if self._snake_case else ("inlineData", "mimeType")
        inline = {kind: mime, "data": pybase64.b64encode(picture).decode("ascii")}
        return {
            "contents": [{"role": "user", "parts": [{"text": question}, {data: inline}]}],
            "generationConfig": {"responseMimeType": "application/json", "responseSchema": _VERDICT},
        }

    def _meaning(self, head: Head, body: bytes) -> AttemptError:
        meaning = images_error if self._is_openai else classify_error
        return meaning(
            head.status, head.headers, body, now=self._clock.now(), redact=self._redactor.text, path=self._path
        )

    def _cleaned(self, error: AttemptError) -> AttemptError:
        error.message = self._redactor.text(error.message)
        error.args = (error.message,)
        return error


class _Body:
    """An answer's body, as far as it is no longer than a verdict can be."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.flaw = ""

    looks_whole = True

    def feed(self, chunk: bytes) -> None:
        self.data += chunk[: _MOST_BYTES - len(self.data)]

    def keep_packed(self, raw: bytes) -> None: ...

    def give_up(self, flaw: str) -> None:
        self.flaw = flaw


def _text_of(answer: _Body, *, is_openai: bool) -> str:
    """The model's own words, without a fence around them. Raises `Unusable`."""
    try:
        tree = json.loads(answer.data)
        text = _openai_text(tree) if is_openai else _gemini_text(tree)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        head = bytes(answer.data[:80]).decode("utf-8", "replace")
        raise Unusable("no_words", f"the answer holds no words: {answer.flaw or repr(head)}") from None
    fenced = _FENCE.fullmatch(text)
    return fenced[1] if fenced else text


def _openai_text(tree: Any) -> str:
    content = tree["choices"][0]["message"]["content"]
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part.get("type") == "text")


def _gemini_text(tree: Any) -> str:
    parts = tree["candidates"][0]["content"]["parts"]
    return "".join(part["text"] for part in parts if "text" in part and not part.get("thought"))
