"""Reads the `groundingMetadata` of an answer: what was searched for, and which pages and pictures it rests on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from batch.core.grounding import Grounding, Source
from batch.providers.answers.picture_places import pick
from batch.providers.answers.told import no_surrogates

_QUERIES_KEPT: Final = 50
_SOURCES_KEPT: Final = 50
_LONGEST_TEXT: Final = 500
_LONGEST_ADDRESS: Final = 4000


def read_grounding(metadata: Any) -> Grounding | None:
    """What a candidate says of its searches; None if it says nothing."""
    if not isinstance(metadata, dict):
        return None
    queries = [
        no_surrogates(query[:_LONGEST_TEXT])
        for names in (("webSearchQueries", "web_search_queries"), ("imageSearchQueries", "image_search_queries"))
        for query in _list(pick(metadata, *names))
        if isinstance(query, str)
    ]
    chunks = _list(pick(metadata, "groundingChunks", "grounding_chunks"))
    sources = [source for chunk in chunks[:_SOURCES_KEPT] if isinstance(chunk, dict) for source in _sources(chunk)]
    if not queries and not sources:
        return None
    return Grounding(queries=tuple(queries[:_QUERIES_KEPT]), sources=tuple(sources))


def _sources(chunk: dict[str, Any]) -> Iterator[Source]:
    web, image = chunk.get("web"), chunk.get("image")
    if isinstance(web, dict):
        yield _source("web", web, web.get("uri"))
    if isinstance(image, dict):
        page = pick(image, "sourceUri", "source_uri", "uri")
        yield _source("image", image, page or pick(image, "imageUri", "image_uri"))


def _source(kind: str, told: dict[str, Any], address: Any) -> Source:
    return Source(kind=kind, title=_text(told.get("title"), _LONGEST_TEXT), uri=_text(address, _LONGEST_ADDRESS))


def _text(value: Any, most: int) -> str:
    return no_surrogates(value[:most]) if isinstance(value, str) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
