"""What an answer says of the searches it rests on: made by the provider, kept in the ledger, read by prices."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A page that was found, or (`kind` is `image`) a picture, by the page that it is on."""

    kind: str
    title: str
    uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounding:
    """What was searched for, and what was found. Each query is charged."""

    queries: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
