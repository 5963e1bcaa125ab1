"""What a provider's package needs, in one place: docs/providers.md shows a whole one.

These names stay; where they are defined may change.
"""

from __future__ import annotations

import json
from typing import Any

from batch.core.clock import Clock
from batch.core.errors import (
    AttemptError,
    EndpointDown,
    ExitCode,
    Kind,
    OutcomeUnknown,
    Paid,
    RateLimited,
    Refused,
    Unavailable,
    Unusable,
)
from batch.core.image_models import ModelFacts
from batch.core.lane import Lane
from batch.core.model import Job
from batch.core.prices import ChargedBy, ModelPrices
from batch.core.profiles import Endpoint, Profile, ReferenceLimits
from batch.core.settings import Auth, Timeouts
from batch.core.usage import Usage
from batch.providers.answers.classify import parse_retry_after
from batch.providers.answers.framing import read_answer
from batch.providers.answers.picture_places import PictureFinder
from batch.providers.base import Answer, Blob, Picture, Provider, Received, Request, Spool
from batch.providers.exchange import Exchange
from batch.providers.references.references import EncodedReference, ReferenceEncoder
from batch.providers.secrets import ApiKey

__all__ = [
    "Answer",
    "ApiKey",
    "AttemptError",
    "Auth",
    "Blob",
    "ChargedBy",
    "Clock",
    "EncodedReference",
    "Endpoint",
    "EndpointDown",
    "Exchange",
    "ExitCode",
    "Job",
    "Kind",
    "Lane",
    "ModelFacts",
    "ModelPrices",
    "OutcomeUnknown",
    "Paid",
    "Picture",
    "Profile",
    "Provider",
    "RateLimited",
    "Received",
    "ReferenceEncoder",
    "ReferenceLimits",
    "Refused",
    "Request",
    "Spool",
    "Timeouts",
    "Unavailable",
    "Unusable",
    "Usage",
    "json_body",
    "json_of",
    "parse_retry_after",
    "pictures_in",
]


def json_body(value: Any) -> bytes:
    """A request's body."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def json_of(received: Received) -> dict[str, Any]:
    """The answer's JSON; empty if it is none. Long strings are replaced by what names their file."""
    tree = read_answer(received.body)
    return tree if isinstance(tree, dict) else {}


def pictures_in(received: Received) -> tuple[Picture, ...]:
    """Every picture of an answer, wherever it stands: as base64, as a data URL, or as an address."""
    finder = PictureFinder(received.blobs)
    finder.search(json_of(received))
    return tuple(finder.pictures)
