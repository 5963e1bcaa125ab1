"""A model that looks at pictures and answers with a verdict: OpenAI's chat completions, and generateContent for JSON.

It goes by a rule instead of looking: what is asked decides (`judge_accepts`).
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import Any, Final

from batch.simulator import refusals
from batch.simulator.answers import encode

CHAT_PATH: Final = re.compile(r"^(?:/.*)?/v1/chat/completions$")
_PICTURE_BEGINS: Final = (b"\x89PNG", b"\xff\xd8\xff")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of a picture. `is_chat`: by chat completions."""

    text: str
    is_chat: bool


def read_question(body: bytes, *, is_chat: bool) -> Question | None:
    """The question in a request; None if a generateContent asks for no JSON. Raises Refusal."""
    if not is_chat and b'"responseMimeType"' not in body:
        return None
    try:
        tree = json.loads(body)
        if not is_chat and tree.get("generationConfig", {}).get("responseMimeType") != "application/json":
            return None
        texts, pictures = _chat_parts(tree) if is_chat else _gemini_parts(tree)
        shown = [base64.b64decode(picture, validate=True) for picture in pictures]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        if not is_chat:
            return None
        raise refusals.bad_argument("the messages cannot be read") from None
    if not texts or len(shown) != 1 or not shown[0].startswith(_PICTURE_BEGINS):
        raise refusals.bad_argument("a question needs a text and one picture")
    return Question(text="\n".join(texts), is_chat=is_chat)


def _chat_parts(tree: Any) -> tuple[list[str], list[str]]:
    parts = [part for message in tree["messages"] for part in message["content"]]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    return texts, [part["image_url"]["url"].partition(",")[2] for part in parts if part["type"] == "image_url"]


def _gemini_parts(tree: Any) -> tuple[list[str], list[str]]:
    parts = [part for content in tree["contents"] for part in content["parts"]]
    inline = [part.get("inlineData") or part.get("inline_data") for part in parts]
    return [part["text"] for part in parts if "text" in part], [each["data"] for each in inline if each]


def verdict(question: Question, accepts: re.Pattern[str]) -> bytes:
    """The answer: accepted if the question matches, or else rejected with a reason and a note."""
    said: dict[str, Any] = {"verdict": "accepted", "reasons": [], "note": ""}
    if not accepts.search(question.text):
        said = {"verdict": "rejected", "reasons": ["dull"], "note": "make it better"}
    text = json.dumps(said)
    if question.is_chat:
        return encode({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}, ascii_only=True)
    fenced = f"```json\n{text}\n```"  # as models do it all the same
    content = {"role": "model", "parts": [{"text": fenced}]}
    return encode({"candidates": [{"content": content, "finishReason": "STOP"}]}, ascii_only=True)
