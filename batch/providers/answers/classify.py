"""What an HTTP error means: decided here, once, and nowhere else.

Read in this order: the status, then the error's code, then its words. The order matters because relays rewrite
Google's errors: they keep the status and the message but drop `status` and `details`, and may put any code in.
Sources: Google's API error pages and quota bodies as captured in public issue threads, and the error table of
new-api type relays (docs/wire.md).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime, time, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from batch.core.clock import QUOTA_DAY_ZONE, time_zone
from batch.core.errors import (
    AttemptError,
    EndpointDown,
    ExitCode,
    Kind,
    OutcomeUnknown,
    RateLimited,
    Refused,
    Unavailable,
    Unusable,
)
from batch.core.settings import LONGEST_SERVER_WAIT_SECONDS
from batch.providers.answers.told import ErrorBody, parse_duration, read_error_body

_MESSAGE_CHARACTERS: Final = 500
_BUSY: Final = 503

_NO_CREDIT = re.compile(
    r"prepayment credits|credits? (?:is|are|has been|have been)? ?(?:depleted|exhausted)"
    r"|insufficient.{0,12}(?:quota|balance|credit|fund)"
    r"|not.enough.balance|额度不足|余额不足|额度已用尽|预扣费额度失败",
    re.IGNORECASE,
)
_NO_CREDIT_CODES = {
    "insufficient_user_quota",
    "pre_consume_token_quota_failed",
    "insufficient_quota",
    "not_enough_balance",
}
_BAD_KEY = re.compile(
    r"api key not valid|invalid (?:api )?(?:key|token)|incorrect api key|无效的令牌|令牌已过期"
    r"|未提供.{0,12}(?:access token|令牌|key)|未登录|not logged in",
    re.IGNORECASE,
)
_BAD_KEY_CODES = {"invalid_api_key", "api_key_invalid"}
#: Google says it in `status`, which a relay drops.
_NOT_READY = re.compile(r"location is not supported|free tier is not available|enable billing", re.IGNORECASE)
_CONTENT_CODES = {"sensitive_words_detected", "prompt_blocked"}
#: The request itself is at fault; relays answer with 400 or 500.
_BAD_REQUEST_CODES = {"invalid_request", "convert_request_failed"}
_NO_CHANNEL = re.compile(r"no available channel|无可用渠道", re.IGNORECASE)
_WRONG_URL = re.compile(r"invalid url", re.IGNORECASE)
_PER_DAY = re.compile(r"per[ _-]?day|\brpd\b|daily|每天|每日|今日|当日", re.IGNORECASE)
_QUOTA_ZERO = re.compile(r"\blimit: 0\b")
_MANY_PER_MINUTES = re.compile(
    r"maximum (\d{1,6}) requests? in (\d{1,4}) minutes?|(\d{1,4})\s*分钟内最多请求\s*(\d{1,6})\s*次"
)
_WAIT_WORDS = re.compile(r"(?:retry|reset) (?:in|after) ((?:[0-9]+(?:\.[0-9]+)?(?:ms|[hms]))+)", re.IGNORECASE)


def classify_error(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime,
    request_id: str | None = None,
    redact: Callable[[str], str] = str,
    path: str = "",
) -> AttemptError:
    """The error class for an answer that is no picture.

    `now` (UTC) is only used to say when a day quota ends; `redact` takes the key out of the answer's words. `path` is
    what was asked for, if that is known.
    """
    error = read_error_body(body)
    told = _told_wait_seconds(headers, error)
    ids: dict[str, Any] = {"http_status": status, "request_id": request_id}
    text = redact(_sentence(status, error)) + (_asked_for(path) if status == 404 and not _names_model(error) else "")

    stopper = _run_stopper(status, error, text, ids)
    if stopper is not None:
        return stopper
    if error.code in _CONTENT_CODES:
        return Refused(error.code, text, kind=Kind.POLICY, **ids)
    if status == 429 or (status == 503 and told is not None):
        return _rate_limit(error, told, text, now, ids)
    if status == 413:
        return Refused("request_too_large", text, **ids)
    if 300 <= status < 400:
        where = redact(headers.get("location", ""))[:200]
        what = f"redirects to {where}" if where else f"answers with status {status}"
        return EndpointDown(
            "redirected", f"the endpoint {what}; set base_url to the API itself", exit_code=ExitCode.PROTOCOL, **ids
        )
    if status < 300:
        if status != 200:
            return Unusable("no_body", text, retries=1, **ids)
        return Unusable("error_in_answer", text, kind=Kind.UNREADABLE, retries=1, **ids)
    if error.code in _BAD_REQUEST_CODES:
        return Refused("invalid_request", text, kind=Kind.MALFORMED, **ids)
    if status == 499:
        return OutcomeUnknown("cancelled", text, **ids)
    if status in (408, 409) or (status >= 500 and error.is_json):
        return _unavailable(error, text, ids)
    if status >= 500:
        # A proxy's page, not the provider's word: the model may have run behind it.
        return OutcomeUnknown("gateway_error", text, **ids)
    return Refused("invalid_request", text, kind=Kind.MALFORMED, **ids)


def _run_stopper(status: int, error: ErrorBody, text: str, ids: dict[str, Any]) -> EndpointDown | None:
    """Answers after which no request can work: key, credit, permission, model, address."""
    code = error.code.lower()
    words = " ".join((error.message, *error.reasons))
    if (
        status == 402
        or code in _NO_CREDIT_CODES
        or ((status in (401, 403, 429) or status < 300) and _NO_CREDIT.search(words))
    ):
        return EndpointDown("no_credit", text, kind=Kind.CREDIT, **ids)
    if status == 401 or "API_KEY_INVALID" in error.reasons or code in _BAD_KEY_CODES:
        return EndpointDown("bad_key", text, kind=Kind.AUTH, **ids)
    if (status in (400, 403) or status < 300) and _BAD_KEY.search(error.message):
        return EndpointDown("bad_key", text, kind=Kind.AUTH, **ids)
    if status == 400 and (error.status == "FAILED_PRECONDITION" or _NOT_READY.search(error.message)):
        return EndpointDown("account_not_ready", text, **ids)
    if status == 501 or (status == 404 and _WRONG_URL.search(error.message)) or (status == 404 and not error.is_json):
        return EndpointDown("wrong_address", text, exit_code=ExitCode.CONFIG, **ids)
    if status in (404, 410):
        return EndpointDown("model_missing", text, of_model=True, **ids)
    if status == 403 and error.code not in _CONTENT_CODES:
        return EndpointDown("permission_denied", text, kind=Kind.AUTH, **ids)
    return None


def _rate_limit(error: ErrorBody, told: float | None, text: str, now: datetime, ids: dict[str, Any]) -> AttemptError:
    """Google's order (as in its own command line): a day quota first. It carries a short delay as well, which is tried
    once: where requests are counted over the last 24 hours it is the truth."""
    if _QUOTA_ZERO.search(error.message):
        return EndpointDown("no_quota", text, kind=Kind.QUOTA, **ids)
    if any(_PER_DAY.search(quota_id) for quota_id in error.quota_ids) or _PER_DAY.search(error.message):
        day_is_over = EndpointDown(
            "daily_quota",
            text,
            kind=Kind.QUOTA,
            exit_code=ExitCode.TEMPORARY,
            not_before=_iso(next_quota_day(now)),
            of_model=True,
            **ids,
        )
        if told is None or told > LONGEST_SERVER_WAIT_SECONDS:
            return day_is_over
        return RateLimited(
            "daily_quota", text, kind=_limit_kind(told, ids), wait_seconds=told, if_repeated=day_is_over, **ids
        )
    if told is not None and told > LONGEST_SERVER_WAIT_SECONDS:
        until = now + timedelta(seconds=min(told, 7 * 86400.0))
        return EndpointDown("long_pause", text, exit_code=ExitCode.TEMPORARY, not_before=_iso(until), **ids)
    if told is None and any("PerMinute" in quota_id for quota_id in error.quota_ids):
        told = 60.0
    if told is None:
        told = _spacing_seconds(error.message)
    return RateLimited("rate_limited", text, kind=_limit_kind(told, ids), wait_seconds=told, **ids)


def _limit_kind(told: float | None, ids: Mapping[str, Any]) -> Kind:
    """Google sheds flex requests with 503, or with a 429 that names no quota
    (ai.google.dev/gemini-api/docs/flex-inference)."""
    return Kind.SHED if told is None or ids["http_status"] == _BUSY else Kind.QUOTA


def next_quota_day(now: datetime) -> datetime:
    """The next midnight in Google's quota zone, as UTC."""
    zone = time_zone(QUOTA_DAY_ZONE)
    tomorrow = now.astimezone(zone).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), tzinfo=zone).astimezone(now.tzinfo)


def parse_retry_after(value: str, date: str | None) -> float | None:
    """Seconds of a `Retry-After` header: ASCII decimal seconds, or an HTTP date relative to the answer's own `Date`.

    None for anything else. A delay is never negative, NaN or infinite: waiting on those would not end.
    """
    text = value.strip()
    if re.fullmatch(r"[0-9]{1,18}(?:\.[0-9]{1,9})?", text):
        return float(text)
    try:
        until, since = parsedate_to_datetime(text), parsedate_to_datetime(date or "")
        seconds = (until - since).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _told_wait_seconds(headers: Mapping[str, str], error: ErrorBody) -> float | None:
    """How long the server said to wait: in the header, in RetryInfo, or in words that survive a relay."""
    header = headers.get("retry-after")
    told = parse_retry_after(header, headers.get("date")) if header is not None else None
    if told is None:
        told = error.retry_seconds
    if told is None:
        words = _WAIT_WORDS.search(error.message)
        told = parse_duration(words[1].lower()) if words else None
    return told or None  # "in 0 seconds" is no pause, and asking again at once no answer to a limit


def _spacing_seconds(message: str) -> float | None:
    """A relay's "maximum N requests in M minutes": how far apart requests may stand on average."""
    match = _MANY_PER_MINUTES.search(message)
    if match is None:
        return None
    requests, minutes = (int(match[1]), int(match[2])) if match[1] else (int(match[4]), int(match[3]))
    return max(1.0, 60.0 * minutes / max(requests, 1))


def _unavailable(error: ErrorBody, text: str, ids: Mapping[str, Any]) -> Unavailable:
    if error.code == "model_not_found" or _NO_CHANNEL.search(error.message):
        return Unavailable("no_channel", text, kind=Kind.NO_CHANNEL, **ids)
    return Unavailable("unavailable", text, **ids)


def _sentence(status: int, error: ErrorBody) -> str:
    label = error.status or (error.code if not error.code.isdigit() else "")
    message = error.message[:_MESSAGE_CHARACTERS] or "no explanation"
    return f"HTTP {status}{' ' + label if label else ''}: {message}"


def _names_model(error: ErrorBody) -> bool:
    return "model" in error.message.lower()


def _asked_for(path: str) -> str:
    """What to look at when something is not found, and the answer does not say what."""
    return f"; asked for {path}: check base_url and model" if path else ""


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
