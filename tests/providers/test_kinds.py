"""What kind of failure each of Gemini's words is: all that the dispatcher knows of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from batch.core.errors import AttemptError, EndpointDown, Kind, RateLimited, Unusable
from batch.providers.answers.answers import interpret_answer
from batch.providers.answers.classify import classify_error

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def said(status: int, message: str, code: Any = "", **headers: str) -> AttemptError:
    body = json.dumps({"error": {"message": message, "code": code}}).encode()
    return classify_error(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, now=NOW)


@pytest.mark.parametrize(
    ("status", "message", "code", "kind"),
    [
        (400, "aspect_ratio is not supported", "", Kind.MALFORMED),
        (413, "too large", "", Kind.OTHER),
        (500, "x", "sensitive_words_detected", Kind.POLICY),
        (400, "x", "prompt_blocked", Kind.POLICY),
        (401, "Invalid token", "", Kind.AUTH),
        (403, "no access to this model", "", Kind.AUTH),
        (402, "Insufficient balance", "", Kind.CREDIT),
        (503, "This model is overloaded", 503, Kind.OVERLOAD),
        (503, "No available channel for model x", "model_not_found", Kind.NO_CHANNEL),
        (429, "Resource has been exhausted", 429, Kind.SHED),
        (429, "quota, please retry in 8s", 429, Kind.QUOTA),
        (429, "limit: 0", 429, Kind.QUOTA),
        (200, "x", "", Kind.UNREADABLE),
        (404, "no such model", "", Kind.OTHER),
    ],
)
def test_an_error_has_its_kind(status: int, message: str, code: Any, kind: Kind) -> None:
    """By what it is about, whoever words it."""
    assert said(status, message, code).kind is kind


def test_an_overloaded_server_that_names_a_delay_sheds() -> None:
    """503 names no quota, also with a delay; 429 with a delay is a quota."""
    kinds = [said(status, "x", retry_after="5").kind for status in (503, 429)]
    assert kinds == [Kind.SHED, Kind.QUOTA]


@pytest.mark.parametrize(
    ("status", "message", "of_model"),
    [(404, "no such model", True), (429, "requests per day", True), (401, "x", False), (402, "x", False)],
)
def test_an_end_says_whether_it_is_of_one_model(status: int, message: str, of_model: bool) -> None:
    """A missing model and its day's quota end no other model."""
    error = said(status, message)
    assert isinstance(error, EndpointDown)
    assert error.of_model is of_model


def test_a_day_quota_ends_one_model_if_it_is_said_again() -> None:
    """It comes with a short delay first; what it means after that is of one model, too."""
    error = said(429, "requests per day, please retry in 8s")
    assert isinstance(error, RateLimited)
    assert error.if_repeated is not None
    assert (error.kind, error.if_repeated.kind, error.if_repeated.of_model) == (Kind.QUOTA, Kind.QUOTA, True)


@pytest.mark.parametrize(
    ("finish", "kind"),
    [
        *((word, Kind.POLICY) for word in ("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "PROHIBITED_CONTENT")),
        *((word, Kind.POLICY) for word in ("SAFETY", "BLOCKLIST", "SPII", "MODEL_ARMOR", "BLOCKED_BY_SOMETHING_NEW")),
        *((word, Kind.OTHER) for word in ("MAX_TOKENS", "RECITATION", "LANGUAGE", "NO_IMAGE", "BLOCKED")),
    ],
)
def test_an_answer_without_a_picture_says_whether_it_was_blocked(tools: Any, finish: str, kind: Kind) -> None:
    """Another model may take what this one blocks; whatever else calls itself blocked counts as well."""
    with pytest.raises(AttemptError) as caught:
        interpret_answer(tools.received({"candidates": [{"finishReason": finish, "content": {}}]}))
    assert caught.value.kind is kind


@pytest.mark.parametrize("reason", ["SAFETY", "LANGUAGE", "OTHER"])
def test_a_blocked_prompt_is_blocked_by_policy(tools: Any, reason: str) -> None:
    """Whatever reason is given."""
    with pytest.raises(AttemptError) as caught:
        interpret_answer(tools.received({"promptFeedback": {"blockReason": reason}}))
    assert caught.value.kind is Kind.POLICY


def test_an_answer_that_is_no_json_is_unreadable(tools: Any) -> None:
    """Three of them in a row end the use of an endpoint."""
    with pytest.raises(Unusable) as caught:
        interpret_answer(tools.received(b"oops"))
    assert caught.value.kind is Kind.UNREADABLE
