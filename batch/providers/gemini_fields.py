"""What a request of Gemini's API holds beside its contents: a job's parameters in the API's own fields.

Spelled as the API reference has them (ai.google.dev/api/generate-content), in camelCase throughout: relays of the
new-api kind know `safetySettings` and `googleSearch` in no other spelling. What no parameter asks for is left out, so a
job without any is sent byte for byte as it was before there were any.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from batch.core.model import Job
from batch.core.parameters import Parameters

#: The API's name of each kind of search; without one it searches the web.
_SEARCH_TYPES: Final = {"web": "webSearch", "image": "imageSearch"}


def request_fields(job: Job) -> dict[str, Any]:
    """All fields of the request's body but `contents` and the lane, in the order in which they are written."""
    asked = job.parameters
    fields: dict[str, Any] = {"generationConfig": _generation_config(job)}
    system, safety, search = asked.get("system"), asked.get("safety"), asked.get("search")
    if system is not None:
        fields["systemInstruction"] = {"parts": [{"text": system}], "role": "user"}
    if safety is not None:
        fields["safetySettings"] = [
            {"category": category, "threshold": threshold} for category, threshold in sorted(safety.items())
        ]
    if search is not None:
        fields["tools"] = [{"googleSearch": _search(search)}]
    extra = asked.get("extra")
    return fields if extra is None else merged(fields, extra)


def merged(fields: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` with `extra` in it: mappings are merged, tools are added to those there are, all else is set."""
    found = dict(fields)
    for name, value in extra.items():
        there = found.get(name)
        if isinstance(there, dict) and isinstance(value, Mapping):
            found[name] = merged(there, value)
        elif name == "tools" and isinstance(there, list):
            found[name] = [*there, *(value if isinstance(value, list) else [value])]
        else:
            found[name] = value
    return found


def _generation_config(job: Job) -> dict[str, Any]:
    image: dict[str, str] = {}
    if job.aspect_ratio is not None:
        image["aspectRatio"] = job.aspect_ratio
    image["imageSize"] = job.image_size
    return {"responseModalities": list(job.modalities), "imageConfig": image, **_sampling(job.parameters)}


def _sampling(asked: Parameters) -> dict[str, Any]:
    found: dict[str, Any] = {}
    thinking = asked.get("thinking")
    if thinking is not None:
        found["thinkingConfig"] = {"thinkingLevel": thinking.upper()}
    for name, field in (("seed", "seed"), ("temperature", "temperature"), ("top_p", "topP")):
        if asked.get(name) is not None:
            found[field] = asked[name]
    return found


def _search(kinds: tuple[str, ...]) -> dict[str, Any]:
    if tuple(kinds) == ("web",):
        return {}
    return {"searchTypes": {_SEARCH_TYPES[kind]: {} for kind in kinds}}
