"""What an error of OpenAI's images API means: first whether it was paid, then what follows."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

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
)
from batch.plan.causes import CAUSES
from batch.providers.answers.images_errors import images_error

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def error(status: int, headers: dict[str, str] | None = None, **fields: Any) -> AttemptError:
    body = json.dumps({"error": {"message": "no explanation here", "param": None, **fields}}).encode()
    return images_error(status, headers or {}, body, now=NOW, request_id="req_1")


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (429, {"type": "insufficient_quota", "code": "insufficient_quota"}),
        (429, {"type": "insufficient_quota", "code": "project_spend_limit_exceeded"}),
        (429, {"type": "insufficient_quota", "code": "organization_usage_limit_exceeded"}),
        (429, {"type": "insufficient_quota", "code": "something_new"}),
        (429, {"code": "credit_balance_exhausted"}),
        (400, {"code": "billing_hard_limit_reached", "type": "invalid_request_error"}),
        (403, {"code": "billing_not_active"}),
        (403, {"code": "insufficient_user_quota"}),
    ],
)
def test_an_account_without_money_stops_the_run(status: int, fields: dict[str, Any]) -> None:
    """Whatever the status: no request works until the account has money."""
    found = error(status, {"retry-after": "1"}, **fields)
    assert isinstance(found, EndpointDown)
    assert (found.code, found.kind, found.paid, found.of_model) == ("no_credit", Kind.CREDIT, Paid.NO, False)


def test_a_wrong_key_stops_the_run() -> None:
    """It is told as by any other API."""
    found = error(401, code="invalid_api_key", message="Incorrect API key provided: sk-abc.")
    assert isinstance(found, EndpointDown)
    assert (found.code, found.kind, found.exit_code) == ("bad_key", Kind.AUTH, ExitCode.NO_PERMISSION)


@pytest.mark.parametrize(
    ("status", "fields", "code"),
    [
        (404, {"code": "model_not_found"}, "model_missing"),
        (403, {"code": "model_not_found"}, "model_missing"),
        (400, {"code": "invalid_value", "param": "model"}, "model_missing"),
        (403, {"message": "Your organization must be verified to use the model `gpt-image-2`."}, "model_not_allowed"),
    ],
)
def test_a_model_that_this_key_cannot_use_ends_that_model_only(status: int, fields: dict[str, Any], code: str) -> None:
    """Others are still served."""
    found = error(status, **fields)
    assert isinstance(found, EndpointDown)
    assert (found.code, found.of_model, found.paid) == (code, True, Paid.NO)


@pytest.mark.parametrize(
    ("status", "fields", "paid"),
    [
        (400, {"code": "moderation_blocked", "type": "image_generation_user_error"}, Paid.NO),
        (400, {"code": "moderation_blocked", "moderation_details": {"moderation_stage": "input"}}, Paid.NO),
        (400, {"code": "moderation_blocked", "moderation_details": {"moderation_stage": "output"}}, Paid.YES),
        (400, {"code": "content_policy_violation", "type": "invalid_request_error"}, Paid.NO),
        (400, {"code": None, "message": "Your request was rejected as a result of our safety system."}, Paid.NO),
        (403, {"code": "moderation_blocked", "type": "shell_api_error"}, Paid.NO),
        (500, {"code": "moderation_blocked", "type": "upstream_error"}, Paid.NO),
        (400, {"code": "relay_error", "message": "Your request was rejected by the safety system."}, Paid.NO),
    ],
)
def test_a_block_is_of_policy_and_paid_if_the_picture_was_made(status: int, fields: dict[str, Any], paid: Paid) -> None:
    """Another model may take it; nothing says that a picture which was made and withheld is free."""
    found = error(status, **fields)
    assert isinstance(found, Refused)
    assert (found.kind, found.paid, found.may_work_later) == (Kind.POLICY, paid, False)
    assert found.code in CAUSES


@pytest.mark.parametrize(
    "fields",
    [
        {"code": "invalid_size", "param": "size"},
        {"code": "unknown_parameter", "param": "response_format"},
        {"code": "invalid_value", "param": "quality"},
        {"code": None, "type": "invalid_request_error"},
        {"code": "invalid_image_file", "type": "image_generation_user_error"},
    ],
)
def test_a_request_at_fault_is_refused_unpaid(fields: dict[str, Any]) -> None:
    """Five in the same words stop the run."""
    found = error(400, **fields)
    assert isinstance(found, Refused)
    assert (found.code, found.kind, found.paid) == ("invalid_request", Kind.MALFORMED, Paid.NO)


LIMIT = "Rate limit reached for gpt-image-1 in organization org-x on images per min: Limit 5, Used 5, Requested 1."


@pytest.mark.parametrize(
    ("headers", "message", "wait"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, LIMIT, 1.5),
        ({"retry-after": "9"}, LIMIT, 9.0),
        ({}, f"{LIMIT} Please try again in 12s.", 12.0),
        ({}, f"{LIMIT} Please try again in 1m6.5s.", 66.5),
        ({}, f"{LIMIT} Please try again in 340ms.", 0.34),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2m5s"}, LIMIT, 125.0),
        (
            {
                "x-ratelimit-remaining-requests": "4",
                "x-ratelimit-reset-requests": "9m0s",
                "x-ratelimit-remaining-images": "0",
                "x-ratelimit-reset-images": "12s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "15",
            },
            LIMIT,
            15.0,
        ),
        ({"retry-after-ms": "soon", "retry-after": "0"}, LIMIT, None),
        ({}, LIMIT, None),
        ({"retry-after": "9"}, f"{LIMIT} Please try again in 12s.", 9.0),
    ],
)
def test_a_limit_is_waited_for_as_long_as_it_says(headers: dict[str, str], message: str, wait: float | None) -> None:
    """By its most exact word: milliseconds, seconds, the limits of which nothing is left, its sentence."""
    found = error(429, headers, code="rate_limit_exceeded", type="images", message=message)
    assert isinstance(found, RateLimited)
    assert (found.code, found.wait_seconds, found.paid) == ("rate_limited", wait, Paid.NO)


def test_a_limit_of_nothing_ends_the_model() -> None:
    """An account of the lowest tier may have none for pictures; waiting helps nobody."""
    found = error(429, {"retry-after": "12"}, message=LIMIT.replace("Limit 5, Used 5", "Limit 0, Used 0"))
    assert isinstance(found, EndpointDown)
    assert (found.code, found.kind, found.of_model) == ("no_quota", Kind.QUOTA, True)


DAILY = LIMIT.replace("images per min", "requests per day (RPD)")


@pytest.mark.parametrize(
    ("headers", "message", "not_before"),
    [
        ({}, DAILY, "2026-11-29T12:00:00Z"),
        ({}, f"{DAILY} Please try again in 7h12m0s.", "2026-11-28T19:12:00Z"),
        ({"retry-after": "90000000"}, DAILY, "2026-12-05T12:00:00Z"),
    ],
)
def test_a_day_that_is_used_up_says_when_it_is_over(headers: dict[str, str], message: str, not_before: str) -> None:
    """Any 24 hours are a day there, so the time it tells of is when to start again."""
    found = error(429, headers, message=message)
    assert isinstance(found, EndpointDown)
    assert (found.code, found.exit_code, found.not_before, found.of_model) == (
        "daily_quota",
        ExitCode.TEMPORARY,
        not_before,
        True,
    )


def test_a_short_wait_of_a_days_limit_is_waited_for() -> None:
    """The oldest of 24 hours' requests is forgotten soon."""
    found = error(429, message=f"{DAILY} Please try again in 4m12s.")
    assert isinstance(found, RateLimited)
    assert (found.code, found.wait_seconds) == ("daily_quota", 252.0)


@pytest.mark.parametrize(
    ("status", "fields", "kind"),
    [
        (500, {"type": "server_error"}, Unavailable),
        (503, {"code": "slow_down"}, Unavailable),
        (503, {"code": "model_not_found", "message": "no available channel for model"}, Unavailable),
        (502, None, OutcomeUnknown),
        (504, None, OutcomeUnknown),
    ],
)
def test_what_the_server_could_not_do(status: int, fields: dict[str, Any] | None, kind: type[AttemptError]) -> None:
    """Its own word is no charge; a gateway's page says nothing of what ran behind it."""
    if fields is None:
        found = images_error(status, {}, b"<html>Bad Gateway</html>", now=NOW)
    else:
        found = error(status, **fields)
    assert type(found) is kind


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"error":"down"}', b'{"error":[1]}', b"\xff\xfe", b'"x"'])
def test_no_body_is_too_odd(body: bytes) -> None:
    """Relays answer anything; a refusal without a word is a refusal."""
    assert isinstance(images_error(400, {}, body, now=NOW), Refused)
    assert isinstance(images_error(429, {}, body, now=NOW), RateLimited)


def test_the_key_is_taken_out_of_its_words() -> None:
    """Through the function that is given for it."""
    body = b'{"error":{"message":"bad size for sk-1"}}'
    found = images_error(400, {}, body, now=NOW, redact=lambda text: text.replace("sk-1", "***"))
    assert found.message == "HTTP 400: bad size for ***"
