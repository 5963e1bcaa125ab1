"""Reads the `usageMetadata` of a Gemini answer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from batch.core.usage import Usage
from batch.providers.answers.picture_places import pick

#: Kinds of tokens that a usage counts apart.
_MODALITIES: Final = ("TEXT", "IMAGE", "AUDIO", "VIDEO", "DOCUMENT")
_MODALITIES_AT_MOST: Final = 10


def read_usage(metadata: Any) -> Usage | None:
    """What an answer says of its tokens; None if it says nothing."""
    if not isinstance(metadata, dict):
        return None
    reported = _counts(metadata)
    return Usage(total=_count(reported, "totalTokenCount") or None, reported=reported, **_by_kind(reported))


def _counts(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The token counts worth recording: plain numbers, and lists of them by modality; anything else is dropped."""
    found: dict[str, Any] = {name: value for name, value in metadata.items() if _is_count(value)}
    for name, details in metadata.items():
        if isinstance(details, list) and name.lower().endswith("details"):
            entries = [_by_modality(entry) for entry in details[:_MODALITIES_AT_MOST] if isinstance(entry, dict)]
            found[name] = [entry for entry in entries if entry is not None]
            if not found[name]:
                del found[name]
    return found


def _by_modality(entry: dict[str, Any]) -> dict[str, Any] | None:
    modality, count = entry.get("modality"), pick(entry, "tokenCount", "token_count")
    if modality not in _MODALITIES or not _is_count(count):
        return None
    return {"modality": modality, "tokenCount": count}


def _by_kind(reported: Mapping[str, Any]) -> dict[str, int]:
    """The tokens by kind; empty if they are not all there or do not add up to the total."""
    prompt, total = _count(reported, "promptTokenCount"), _count(reported, "totalTokenCount")
    if not prompt or total is None:
        return {}
    output, thoughts = _count(reported, "candidatesTokenCount") or 0, _count(reported, "thoughtsTokenCount") or 0
    found = _count(reported, "toolUsePromptTokenCount") or 0  # what a search brought, which is read as text
    if total != prompt + found + output + thoughts:
        return {}
    pictures_in = min(prompt, _pictures_in(reported, "promptTokensDetails") or 0)
    named = _pictures_in(reported, "candidatesTokensDetails")
    # Output of which nothing more is said counts as pictures, the dearest it can be.
    pictures_out = output if named is None else min(output, named)
    return {
        "input_text": prompt - pictures_in + found,
        "input_image": pictures_in,
        "output_text": output - pictures_out + thoughts,
        "output_image": pictures_out,
    }


def _count(reported: Mapping[str, Any], name: str) -> int | None:
    value = reported.get(name, reported.get(_snake(name)))
    return value if _is_count(value) else None


def _pictures_in(reported: Mapping[str, Any], name: str) -> int | None:
    """Tokens of pictures in a list of counts by modality; None if there is no such list."""
    details = reported.get(name, reported.get(_snake(name)))
    if not isinstance(details, list):
        return None
    return sum(_count(entry, "tokenCount") or 0 for entry in details if entry["modality"] == "IMAGE")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9


@cache
def _snake(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)
