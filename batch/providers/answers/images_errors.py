"""What an error of OpenAI's images API means: by its code, its type and its headers.

What is not told apart here is read as any other API's (`classify`), for relays answer in the same shape. Codes: the
API's pages on errors (developers.openai.com/api/docs/guides/error-codes), and bodies in public issue threads, 2026.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from batch.core.errors import AttemptError, EndpointDown, ExitCode, Kind, Paid, RateLimited, Refused
from batch.core.settings import LONGEST_SERVER_WAIT_SECONDS
from batch.providers.answers.classify import classify_error, parse_retry_after
from batch.providers.answers.told import parse_duration, read_error_body

#: No request works before the account has money. The type is the first of them, whatever the code.
_CREDIT_CODES: Final = frozenset(
    (
        "insufficient_quota",
        "credit_balance_exhausted",
        "billing_hard_limit_reached",
        "billing_not_active",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
    )
)
_POLICY_CODES: Final = frozenset(
    ("moderation_blocked", "content_policy_violation", "content_filter", "image_content_policy_violation")
)
_SAFETY_WORDS: Final = re.compile(r"rejected (?:by the|as a result of our) safety system", re.IGNORECASE)
_MODEL_CODES: Final = frozenset(("model_not_found", "model_not_available", "model_deprecated"))
_UNVERIFIED: Final = re.compile(r"must be verified to use the model", re.IGNORECASE)
_NO_LIMIT_AT_ALL: Final = re.compile(r"\blimit:? 0\b", re.IGNORECASE)
_A_DAY: Final = re.compile(r"per day|\((?:RPD|IPD|TPD)\)", re.IGNORECASE)
_TRY_AGAIN: Final = re.compile(r"try again in ((?:[0-9]+(?:\.[0-9]+)?(?:ms|[hms]))+)", re.IGNORECASE)
#: `x-ratelimit-remaining-images: 0` beside `x-ratelimit-reset-images: 12s`.
_REMAINING: Final = "x-ratelimit-remaining-"
_RESET: Final = "x-ratelimit-reset-"
_WORDS_CHARACTERS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """An error as it came. `stage`: whether the prompt or the finished picture was refused, if it says so."""

    status: int
    code: str
    type: str
    param: str
    stage: str
    message: str


def images_error(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime,
    request_id: str | None = None,
    redact: Callable[[str], str] = str,
    path: str = "",
) -> AttemptError:
    """The error class for an answer that is no picture. The arguments are those of `classify_error`."""
    told = _read(status, body)
    ids: dict[str, Any] = {"http_status": status, "request_id": request_id}
    text = redact(_sentence(told))
    found = _stopper(told, text, ids) or _policy(told, text, ids)
    if found is not None:
        return found
    if status == 429:
        return _rate_limit(told, _wait_seconds(headers, told.message), text, now, ids)
    return classify_error(status, headers, body, now=now, request_id=request_id, redact=redact, path=path)


def _sentence(told: _Told) -> str:
    label = told.code or told.type
    return f"HTTP {told.status}{f' {label}' if label else ''}: {told.message[:_WORDS_CHARACTERS] or 'no explanation'}"


def _read(status: int, body: bytes) -> _Told:
    error = read_error_body(body)
    fields = _error_fields(body)
    details = fields.get("moderation_details")
    return _Told(
        status=status,
        code=error.code.lower(),
        type=_word(fields.get("type")),
        param=_word(fields.get("param")),
        stage=_word(details.get("moderation_stage")) if isinstance(details, dict) else "",
        message=error.message,
    )


def _error_fields(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) else {}


def _word(value: Any) -> str:
    return value[:100].lower() if isinstance(value, str) else ""


def _stopper(told: _Told, text: str, ids: dict[str, Any]) -> EndpointDown | None:
    """Money, and models that this key cannot use. Keys are the same everywhere (`classify`)."""
    if told.code in _CREDIT_CODES or told.type in _CREDIT_CODES:
        return EndpointDown("no_credit", text, kind=Kind.CREDIT, **ids)
    if told.status == 403 and _UNVERIFIED.search(told.message):
        return EndpointDown("model_not_allowed", text, kind=Kind.AUTH, of_model=True, **ids)
    names_model = told.code in _MODEL_CODES or told.param == "model"
    if names_model and told.status in (400, 403, 404, 410):
        return EndpointDown("model_missing", text, of_model=True, **ids)
    return None


def _policy(told: _Told, text: str, ids: dict[str, Any]) -> Refused | None:
    """A picture that was made and then refused counts as charged: nothing says that it is not."""
    if told.code not in _POLICY_CODES and _SAFETY_WORDS.search(told.message) is None:
        return None
    was_made = told.stage == "output" or told.status < 300
    paid = Paid.YES if was_made else Paid.NO
    code = told.code if told.code in _POLICY_CODES else "moderation_blocked"
    return Refused(code, text, kind=Kind.POLICY, paid=paid, **ids)


def _rate_limit(told: _Told, wait: float | None, text: str, now: datetime, ids: dict[str, Any]) -> AttemptError:
    """A day's limit is any 24 hours long here, so the wait it tells of is true."""
    if _NO_LIMIT_AT_ALL.search(told.message):
        return EndpointDown("no_quota", text, kind=Kind.QUOTA, of_model=True, **ids)
    is_daily = _A_DAY.search(told.message) is not None
    if (wait or 0.0) > LONGEST_SERVER_WAIT_SECONDS or (is_daily and wait is None):
        until = now + timedelta(seconds=min(wait or 86_400.0, 7 * 86_400.0))
        return EndpointDown(
            "daily_quota" if is_daily else "long_pause",
            text,
            kind=Kind.QUOTA,
            exit_code=ExitCode.TEMPORARY,
            not_before=until.isoformat(timespec="seconds").replace("+00:00", "Z"),
            of_model=is_daily,
            **ids,
        )
    return RateLimited("daily_quota" if is_daily else "rate_limited", text, wait_seconds=wait, **ids)


def _wait_seconds(headers: Mapping[str, str], message: str) -> float | None:
    """How long the server says to wait, by what is most exact; None if it does not say, or says no time at all."""
    words = _TRY_AGAIN.search(message)
    told = (
        _milliseconds(headers.get("retry-after-ms", "")),
        parse_retry_after(headers.get("retry-after", ""), headers.get("date")),
        _reset_seconds(headers),
        parse_duration(words[1].lower()) if words else None,
    )
    return next((seconds for seconds in told if seconds), None)


def _milliseconds(value: str) -> float | None:
    seconds = parse_retry_after(value, None)
    return None if seconds is None else seconds / 1000


def _reset_seconds(headers: Mapping[str, str]) -> float | None:
    """When all limits of which nothing is left have room again."""
    resets = [
        _seconds(headers.get(_RESET + name.removeprefix(_REMAINING), ""))
        for name, left in headers.items()
        if name.startswith(_REMAINING) and left.strip() == "0"
    ]
    return max((seconds for seconds in resets if seconds is not None), default=None)


def _seconds(value: str) -> float | None:
    """`6m0s`, or plain seconds as some relays write."""
    return parse_duration(value) if re.search("[a-z]", value) else parse_retry_after(value, None)
