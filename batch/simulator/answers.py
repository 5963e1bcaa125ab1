"""Builds answers: the message of a good one, and the frame in which faults build odd ones.

A `Scene` is what is known when an answer is made. Faults are functions from a scene to an `Answer`; an answer
is status, headers and bytes, and how they are to be delivered (None: whole and politely).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from batch.simulator.delivery import Answer
from batch.simulator.images_answers import good_images_message
from batch.simulator.images_wire import ImagesAsk
from batch.simulator.pictures import Painter, Picture
from batch.simulator.refusals import Refusal, error_body
from batch.simulator.tables import TOKENS_PER_REFERENCE
from batch.simulator.wire import Ask


class FileShelf:
    """Pictures that are handed out as links and served under `/files/`."""

    def __init__(self, capacity: int = 1000) -> None:
        self._capacity = capacity
        self._files: dict[str, tuple[Picture, str]] = {}

    def put(self, name: str, picture: Picture, manner: str) -> str:
        """Keep a picture; returns its path. `manner` says how a download is to go ("ok", "404", ...)."""
        self._files[name] = (picture, manner)
        while len(self._files) > self._capacity:
            del self._files[next(iter(self._files))]
        return f"/files/{name}"

    def get(self, name: str) -> tuple[Picture, str] | None:
        return self._files.get(name)

    def set_manner(self, name: str, manner: str) -> None:
        self._files[name] = (self._files[name][0], manner)


@dataclass(slots=True, kw_only=True)
class Scene:
    """What is known when an answer is made. `key` is there for the one fault that echoes it.

    `take` counts the client's attempts at the job, as far as its request id ends with that: a model does not draw the
    same picture twice.
    """

    ask: Ask
    n: int
    request_id: str
    flavour: str
    spelling: str
    origin: str
    painter: Painter
    files: FileShelf
    key: str = field(default="", repr=False)
    take: int = 1
    params: Mapping[str, Any] = field(default_factory=dict)

    async def picture(self, **wishes: Any) -> Picture:
        again = {"note": f"take {self.take}"} if self.take > 1 else {}
        return await self.painter.paint(self.ask, **{**again, **wishes})

    async def parts(self) -> list[dict[str, Any]]:
        """The parts of a good answer: a caption when text was asked for, then the picture."""
        return [*self.caption_parts(), inline_part(await self.picture())]

    def caption_parts(self) -> list[dict[str, Any]]:
        return [{"text": caption(self.ask)}] if self.ask.wants_text else []

    def message(
        self,
        parts: Sequence[Mapping[str, Any]] | None,
        *,
        finish: str | None = "STOP",
        images: int = 1,
        **more: Any,
    ) -> dict[str, Any]:
        """The answer's JSON around `parts`; None leaves out `content.parts`."""
        content: dict[str, Any] = {"role": "model"}
        if parts is not None:
            content["parts"] = list(parts)
        candidate: dict[str, Any] = {"content": content, "index": 0, **more}
        if finish is not None:
            candidate["finishReason"] = finish
        return {"candidates": [candidate], **self.trailer(images)}

    def trailer(self, images: int) -> dict[str, Any]:
        """Everything after `candidates`."""
        trailer: dict[str, Any] = {
            "usageMetadata": usage(self.ask, images, self.flavour),
            "modelVersion": self.ask.model.name,
            "responseId": self.request_id,
        }
        if self.flavour == "relay":
            trailer["createTime"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return trailer

    def answer(self, message: Any, *, images: int = 1, ascii_only: bool = False) -> Answer:
        """`message` as an answer 200 in the spelling set."""
        return Answer(body=self.encode(message, ascii_only=ascii_only), images=images)

    def encode(self, message: Any, *, ascii_only: bool = False) -> bytes:
        if isinstance(self.ask, ImagesAsk):
            return encode(message, ascii_only=ascii_only)
        if self.spelling == "parts":
            message = with_snake_parts(message)
        elif self.spelling == "snake":
            message = snake_spelled(message)
        return encode(message, ascii_only=ascii_only)

    def refuse(self, refusal: Refusal) -> Answer:
        """The refusal in the flavour set."""
        status, body = error_body(refusal, self.flavour, self.request_id)
        return Answer(status=status, body=encode(body), headers=refusal.headers)


async def good_answer(scene: Scene) -> Answer:
    """What a request without a fault gets."""
    if isinstance(scene.ask, ImagesAsk):
        return scene.answer(await good_message(scene), images=scene.ask.pictures)
    if not scene.ask.wants_image:
        return scene.answer(scene.message([{"text": caption(scene.ask)}], images=0), images=0)
    return scene.answer(scene.message(await scene.parts()))


async def good_message(scene: Scene) -> dict[str, Any]:
    """The JSON of a good answer with a picture."""
    if isinstance(scene.ask, ImagesAsk):
        return await good_images_message(scene.picture, scene.ask)
    return scene.message(await scene.parts())


class PlainAnswers:
    """Good answers from ready-made bytes, for load tests: only the last few fields are made per request."""

    def __init__(self) -> None:
        self._candidates: dict[tuple[str, str, str, bool, str], bytes] = {}

    async def answer(self, scene: Scene) -> Answer:
        ask = scene.ask
        key = (ask.ratio, ask.image_size, ask.model.name, ask.wants_text, scene.painter.format_of(ask))
        head = self._candidates.get(key)
        if head is None:
            parts = [{"text": f"A plain picture, {ask.ratio}, {ask.image_size}."}] if ask.wants_text else []
            parts.append(inline_part(await scene.picture()))
            body = scene.encode({"candidates": scene.message(parts)["candidates"]})
            head = self._candidates[key] = body[:-1] + b","
        return Answer(body=head + scene.encode(scene.trailer(1))[1:], images=1)


def caption(ask: Ask) -> str:
    shown = ask.prompt if len(ask.prompt) <= 120 else ask.prompt[:119] + "…"
    with_references = f" from {len(ask.references)} reference(s)" if ask.references else ""
    return f"Here is your picture{with_references}: {shown}"


def inline_part(picture: Picture, **changes: Any) -> dict[str, Any]:
    """A picture as a part; `changes` replace fields of inlineData."""
    data = base64.b64encode(picture.data).decode("ascii")
    return {"inlineData": {"mimeType": picture.mime, "data": data, **changes}}


def usage(ask: Ask, images: int, flavour: str) -> dict[str, Any]:
    """Token counts: about four letters to a token, and the model's price in tokens per picture."""
    text_tokens = len(ask.prompt) // 4 + 1
    reference_tokens = TOKENS_PER_REFERENCE * len(ask.references)
    image_tokens = ask.model.tokens[ask.image_size] * images
    prompt_details = [{"modality": "TEXT", "tokenCount": text_tokens}]
    if reference_tokens:
        prompt_details.append({"modality": "IMAGE", "tokenCount": reference_tokens})
    counts: dict[str, Any] = {
        "promptTokenCount": text_tokens + reference_tokens,
        "candidatesTokenCount": image_tokens,
        "totalTokenCount": text_tokens + reference_tokens + image_tokens,
        "promptTokensDetails": prompt_details,
    }
    if image_tokens:
        counts["candidatesTokensDetails"] = [{"modality": "IMAGE", "tokenCount": image_tokens}]
    if flavour == "relay":
        counts["trafficType"] = "ON_DEMAND"
    return counts


def encode(message: Any, *, ascii_only: bool = False) -> bytes:
    """Compact JSON; `ascii_only` escapes everything else, which lone surrogates need."""
    return json.dumps(message, ensure_ascii=ascii_only, separators=(",", ":")).encode("utf-8", "replace")


def snake_spelled(value: Any) -> Any:
    """A JSON value with its field names in snake_case."""
    if isinstance(value, dict):
        return {_snake(name): snake_spelled(item) for name, item in value.items()}
    if isinstance(value, list):
        return [snake_spelled(item) for item in value]
    return value


def with_snake_parts(value: Any) -> Any:
    """A JSON value whose pictures stand in `inline_data`; all other names stay."""
    if isinstance(value, dict):
        return {
            _snake(name) if name == "inlineData" else name: snake_spelled(item)
            if name == "inlineData"
            else with_snake_parts(item)
            for name, item in value.items()
        }
    return [with_snake_parts(item) for item in value] if isinstance(value, list) else value


def _snake(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)
