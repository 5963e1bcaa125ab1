"""What an HTTP error means, as one table: status and body to class, code and wait."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.core.errors import (
    AttemptError,
    EndpointDown,
    ExitCode,
    OutcomeUnknown,
    Paid,
    RateLimited,
    Refused,
    Unavailable,
    Unusable,
)
from batch.providers.answers.classify import classify_error, parse_retry_after
from batch.providers.answers.told import parse_duration

NOW = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)
DAY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
MINUTE = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
TOKENS = "GenerateContentInputTokensPerModelPerMinute-FreeTier"
PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502</h1></body></html>"


def google(code: int, status: str, message: str = "words", *details: dict[str, Any]) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "status": status, "message": message}
    return {"error": {**error, **({"details": list(details)} if details else {})}}


def relay(message: str, code: Any = "", kind: str = "new_api_error") -> dict[str, Any]:
    return {"error": {"message": f"{message} (request id: 2026)", "type": kind, "param": "", "code": code}}


def quota(quota_id: str, delay: str | None = None) -> tuple[dict[str, Any], ...]:
    found: tuple[dict[str, Any], ...] = (
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota_id}]},
    )
    return found if delay is None else (*found, retry_info(delay))


def retry_info(delay: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def reason(word: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": word}


def meant(status: int, body: Any, **headers: str) -> AttemptError:
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return classify_error(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, raw, now=NOW, request_id="r"
    )


EXHAUSTED = "RESOURCE_EXHAUSTED"
CREDIT = "Your prepayment credits are depleted. Please go to AI Studio"

GOOGLE: list[tuple[int, Any, type[AttemptError], str]] = [
    (400, google(400, "INVALID_ARGUMENT"), Refused, "invalid_request"),
    (400, google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."), EndpointDown, "bad_key"),
    (400, google(400, "INVALID_ARGUMENT", "x", reason("API_KEY_INVALID")), EndpointDown, "bad_key"),
    (400, google(400, "FAILED_PRECONDITION"), EndpointDown, "account_not_ready"),
    (402, google(402, EXHAUSTED), EndpointDown, "no_credit"),
    (401, google(401, "UNAUTHENTICATED"), EndpointDown, "bad_key"),
    (403, google(403, "PERMISSION_DENIED"), EndpointDown, "permission_denied"),
    (404, google(404, "NOT_FOUND", "model is no longer available to new users"), EndpointDown, "model_missing"),
    (404, PAGE, EndpointDown, "wrong_address"),
    (409, google(409, "ABORTED"), Unavailable, "unavailable"),
    (408, PAGE, Unavailable, "unavailable"),
    (413, PAGE, Refused, "request_too_large"),
    (429, google(429, EXHAUSTED, "Resource has been exhausted (e.g. check quota)."), RateLimited, "rate_limited"),
    (429, google(429, EXHAUSTED, CREDIT), EndpointDown, "no_credit"),
    (429, google(429, EXHAUSTED, "limit: 0, model: x", *quota(DAY, "22s")), EndpointDown, "no_quota"),
    (429, google(429, EXHAUSTED, "x", *quota(DAY, "22s")), RateLimited, "daily_quota"),
    (429, google(429, EXHAUSTED, "x", *quota(DAY, "12h")), EndpointDown, "daily_quota"),
    (429, google(429, EXHAUSTED, "x", reason("INSUFFICIENT_G1_CREDITS_BALANCE")), EndpointDown, "no_credit"),
    (429, google(429, EXHAUSTED, "x", retry_info("301s")), EndpointDown, "long_pause"),
    (429, google(429, EXHAUSTED, "Your quota will reset after 12h26m36s."), EndpointDown, "long_pause"),
    (499, google(499, "CANCELLED"), OutcomeUnknown, "cancelled"),
    (500, google(500, "INTERNAL"), Unavailable, "unavailable"),
    (503, google(503, "UNAVAILABLE"), Unavailable, "unavailable"),
    (504, google(504, "DEADLINE_EXCEEDED"), Unavailable, "unavailable"),
    (503, [google(503, "UNAVAILABLE")], Unavailable, "unavailable"),
    (502, PAGE, OutcomeUnknown, "gateway_error"),
    (503, PAGE, OutcomeUnknown, "gateway_error"),
    (503, b"", OutcomeUnknown, "gateway_error"),
    (524, PAGE, OutcomeUnknown, "gateway_error"),
    (500, {"error": "internal error"}, Unavailable, "unavailable"),
    (500, {"message": "bare"}, Unavailable, "unavailable"),
    (429, {"error": {"message": json.dumps(google(429, EXHAUSTED, "x", *quota(DAY)))}}, EndpointDown, "daily_quota"),
    (204, b"", Unusable, "no_body"),
    (304, b"", EndpointDown, "redirected"),
]

RELAY: list[tuple[int, Any, type[AttemptError], str]] = [
    (401, relay("Invalid token"), EndpointDown, "bad_key"),
    (401, relay("无效的令牌", kind="one_api_error"), EndpointDown, "bad_key"),
    (401, {"error": {"message": "Invalid API key provided.", "code": "invalid_api_key"}}, EndpointDown, "bad_key"),
    (400, relay("API key not valid. Please pass a valid API key.", 400, "upstream_error"), EndpointDown, "bad_key"),
    (403, relay("用户额度不足", "insufficient_user_quota"), EndpointDown, "no_credit"),
    (403, relay("预扣费额度失败"), EndpointDown, "no_credit"),
    (403, relay("no", "pre_consume_token_quota_failed"), EndpointDown, "no_credit"),
    (403, relay("not enough balance", "NOT_ENOUGH_BALANCE"), EndpointDown, "no_credit"),
    (403, relay("no", "NOT_ENOUGH_BALANCE"), EndpointDown, "no_credit"),
    (401, relay("该令牌额度已用尽"), EndpointDown, "no_credit"),
    (402, relay("Insufficient balance"), EndpointDown, "no_credit"),
    (
        400,
        relay("User location is not supported for the API use.", 400, "upstream_error"),
        EndpointDown,
        "account_not_ready",
    ),
    (403, relay("无权访问 vip 分组"), EndpointDown, "permission_denied"),
    (403, relay("分组 vip 已被弃用"), EndpointDown, "permission_denied"),
    (403, relay("This token has no access to model x"), EndpointDown, "permission_denied"),
    (403, relay("no", "access_denied"), EndpointDown, "permission_denied"),
    (400, relay("Invalid request: x", "invalid_request"), Refused, "invalid_request"),
    (500, relay("failed", "convert_request_failed"), Refused, "invalid_request"),
    (413, relay("too large", "read_request_body_failed"), Refused, "request_too_large"),
    (429, relay("当前分组上游负载已饱和，请稍后再试"), RateLimited, "rate_limited"),
    (503, relay("No available channel for model x under group y", "model_not_found"), Unavailable, "no_channel"),
    (500, relay("x", "get_channel_failed"), Unavailable, "unavailable"),
    (500, relay("x", "do_request_failed"), Unavailable, "unavailable"),
    (500, relay("x", "channel:no_available_key"), Unavailable, "unavailable"),
    (500, relay("x", "bad_response_body"), Unavailable, "unavailable"),
    (500, relay("x", "empty_response"), Unavailable, "unavailable"),
    (500, relay("x", "sensitive_words_detected"), Refused, "sensitive_words_detected"),
    (400, relay("x", "prompt_blocked"), Refused, "prompt_blocked"),
    (500, relay("x", "prompt_blocked"), Refused, "prompt_blocked"),
    (500, relay("x", "model_price_error"), Unavailable, "unavailable"),
    (501, relay("x", "api_not_implemented"), EndpointDown, "wrong_address"),
    (404, relay("Invalid URL (POST /x)", "", "invalid_request_error"), EndpointDown, "wrong_address"),
    (429, relay("x", "bad_response_status_code"), RateLimited, "rate_limited"),
    (429, relay(f"Quota exceeded for quota metric {DAY}", 429), EndpointDown, "daily_quota"),
    (429, relay("Quota exceeded for metric: requests_per_model_per_day", 429), EndpointDown, "daily_quota"),
    (429, relay("Limit reached: 1000 requests per day (RPD)"), EndpointDown, "daily_quota"),
    (429, relay("今日请求次数已达上限"), EndpointDown, "daily_quota"),
    (429, relay("requests per day, please retry in 8s", 429), RateLimited, "daily_quota"),
    (429, relay("x", "rate_limit_exceeded"), RateLimited, "rate_limited"),
    (503, relay("This model is currently experiencing high demand.", 503), Unavailable, "unavailable"),
]


@pytest.mark.parametrize(("status", "body", "kind", "code"), GOOGLE + RELAY)
def test_every_known_error_has_its_class_and_code(status: int, body: Any, kind: type[AttemptError], code: str) -> None:
    """By status first, then code, then words, whoever rewrote the error."""
    error = meant(status, body)
    assert (type(error), error.code) == (kind, code)
    assert (error.http_status, error.request_id) == (status, "r")
    charged: dict[type[AttemptError], Paid] = {OutcomeUnknown: Paid.MAYBE, Unusable: Paid.YES}
    assert error.paid is charged.get(kind, Paid.NO)


STOP_CODES = {
    "bad_key": ExitCode.NO_PERMISSION,
    "no_credit": ExitCode.NO_PERMISSION,
    "daily_quota": ExitCode.TEMPORARY,
    "long_pause": ExitCode.TEMPORARY,
    "wrong_address": ExitCode.CONFIG,
    "redirected": ExitCode.PROTOCOL,
}


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"), [row for row in GOOGLE if row[2] is EndpointDown and row[3] in STOP_CODES]
)
def test_a_stopped_run_says_who_must_act(status: int, body: Any, kind: type[AttemptError], code: str) -> None:
    """The exit code tells a person's work from waiting."""
    error = meant(status, body)
    assert isinstance(error, EndpointDown)
    assert error.exit_code is STOP_CODES[code]


WAITS = [
    (google(429, EXHAUSTED, "x", *quota(MINUTE, "36.429760048s")), 36.429760048),
    (google(429, EXHAUSTED, "x", *quota(MINUTE, "373.801628ms")), 0.373801628),
    (google(429, EXHAUSTED, "x", *quota(MINUTE)), 60.0),
    (google(429, EXHAUSTED, "x", *quota(TOKENS)), 60.0),
    (google(429, EXHAUSTED, "Please retry in 36.43s."), 36.43),
    (google(429, EXHAUSTED, "Your quota will reset after 1s."), 1.0),
    (google(429, EXHAUSTED, "Please retry in 4m59s."), 299.0),
    (google(429, EXHAUSTED, "Please retry in 0s."), None),
    (google(429, EXHAUSTED, "x", retry_info("0s")), None),
    (google(429, EXHAUSTED, "x", retry_info("soon")), None),
    (google(429, EXHAUSTED, "x", reason("RATE_LIMIT_EXCEEDED")), None),
    (relay("Please retry in 36.43s.", 429, "upstream_error"), 36.43),
    (relay("You have reached the request limit: maximum 60 requests in 1 minutes"), 1.0),
    (relay("maximum 10 requests in 5 minutes"), 30.0),
    (relay("您已达到请求数限制：1分钟内最多请求3次"), 20.0),
    (b"slow down", None),
]


@pytest.mark.parametrize(("body", "wait_seconds"), WAITS)
def test_the_servers_own_delay_is_found_wherever_it_stands(body: Any, wait_seconds: float | None) -> None:
    """In RetryInfo, in the quota's name, or in words that survive a relay."""
    error = meant(429, body)
    assert isinstance(error, RateLimited)
    assert error.wait_seconds == (wait_seconds if wait_seconds is None else pytest.approx(wait_seconds))


DATE = "Wed, 21 Oct 2026 07:28:00 GMT"
RETRY_AFTER = [
    ("2", 2.0),
    (" 2.5 ", 2.5),
    ("0", None),
    ("-5", None),
    ("nan", None),
    ("inf", None),
    ("1e9", None),
    ("120, 120", None),
    ("", None),
    ("soon", None),
    ("٣", None),
    ("²", None),
    ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
    (DATE, None),
    ("Wed, 21 Oct 2015 07:28:00 GMT", None),
    ("Wed, 99 Oct 2026 07:28:00 GMT", None),
    ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", None),
    ("Wed, 21 Oct 2026 07:28:30 -0000", None),
]


@pytest.mark.parametrize(("value", "wait_seconds"), RETRY_AFTER)
def test_retry_after_is_believed_only_if_it_is_a_pause(value: str, wait_seconds: float | None) -> None:
    """Numbers that are none, lists, other scripts and the past are no delay; then our own backoff decides."""
    error = meant(429, b"{}", retry_after=value, date=DATE)
    assert isinstance(error, RateLimited)
    assert error.wait_seconds == wait_seconds


@pytest.mark.parametrize("value", ["946080000", "9" * 18, "301"])
def test_a_long_retry_after_ends_the_run_for_now(value: str) -> None:
    """A pause beyond five minutes is the end of this run, and says when the next one makes sense."""
    error = meant(429, b"{}", retry_after=value)
    assert isinstance(error, EndpointDown)
    assert (error.code, error.exit_code) == ("long_pause", ExitCode.TEMPORARY)
    assert error.not_before is not None
    assert error.not_before <= "2026-11-29T20:00:00Z"


def test_an_overloaded_server_that_names_a_delay_is_a_limit() -> None:
    """503 with a delay closes the gate for everybody; it costs no attempt."""
    error = meant(503, google(503, "UNAVAILABLE"), retry_after="7")
    assert isinstance(error, RateLimited)
    assert error.wait_seconds == 7


@given(st.text(), st.text() | st.just(DATE))
def test_no_retry_after_whatever_breaks_the_reader(value: str, date: str) -> None:
    """The header is a stranger's text."""
    seconds = parse_retry_after(value, date)
    assert seconds is None or 0 <= seconds < float("inf")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "code", "status", "message", "details", "violations", "quotaId", "retryDelay", "reason"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(status=st.integers(100, 599).filter(lambda status: status != 200), body=JSON)
def test_no_body_whatever_breaks_the_reader(status: int, body: Any) -> None:
    """Any JSON in any place ends in one of our errors, in text that can be written."""
    error = classify_error(status, {}, json.dumps({"error": body}).encode(), now=NOW)
    assert isinstance(error, AttemptError)
    assert error.message.encode("utf-8")


@given(status=st.integers(201, 599), body=st.binary(max_size=300))
def test_no_bytes_whatever_break_the_reader(status: int, body: bytes) -> None:
    """Nor do bytes that are no JSON."""
    assert isinstance(classify_error(status, {}, body, now=NOW), AttemptError)


DURATIONS = [
    ("36s", 36.0),
    ("45.837906927s", 45.837906927),
    ("373.801628ms", 0.373801628),
    ("12h26m36s", 44796.0),
    ("1m", 60.0),
    ("", None),
    ("5", None),
    ("s", None),
    ("-5s", None),
    ("5s later", None),
    ("٣s", None),
    ("1e3s", None),
    ("9" * 50 + "s", None),
]


@pytest.mark.parametrize(("text", "seconds"), DURATIONS)
def test_durations_are_read_as_these_apis_write_them(text: str, seconds: float | None) -> None:
    """Hours, minutes, seconds and milliseconds in a row, and nothing else."""
    assert parse_duration(text) == (seconds if seconds is None else pytest.approx(seconds))


DAYS = [
    ("2026-11-22T20:00:00", "2026-11-23T08:00:00"),  # winter time
    ("2026-11-23T07:59:59", "2026-11-23T08:00:00"),
    ("2026-11-23T08:00:00", "2026-11-24T08:00:00"),
    ("2026-07-01T06:59:00", "2026-07-01T07:00:00"),  # summer time
    ("2026-11-01T06:00:00", "2026-11-01T07:00:00"),  # before the day on which the clock is set back
    ("2026-11-01T07:00:00", "2026-11-02T08:00:00"),
    ("2026-03-08T07:59:59", "2026-03-08T08:00:00"),  # before the day on which it is set forward
    ("2026-03-08T08:00:00", "2026-03-09T07:00:00"),
]


@pytest.mark.parametrize(("now", "until"), DAYS)
def test_a_day_quota_ends_at_midnight_in_california(now: str, until: str) -> None:
    """The run may start again then, in summer and in winter."""
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    for delay in (None, "8s"):
        body = json.dumps(google(429, EXHAUSTED, "x", *quota(DAY, delay))).encode()
        error = classify_error(429, {}, body, now=moment)
        stopper = error.if_repeated if isinstance(error, RateLimited) else error
        assert isinstance(stopper, EndpointDown)
        assert (stopper.not_before, stopper.exit_code) == (until + "Z", ExitCode.TEMPORARY)


def test_a_day_quota_with_a_delay_of_seconds_may_be_tried_once_more() -> None:
    """The delay stands where the server put it; what the quota means if it is said again goes along."""
    error = meant(429, google(429, EXHAUSTED, "x", *quota(DAY, "22s")))
    assert isinstance(error, RateLimited)
    assert error.wait_seconds == 22
    assert error.if_repeated is not None
    assert error.if_repeated.code == "daily_quota"


def test_the_message_is_one_bounded_line_of_words() -> None:
    """Pages lose their tags and scripts; a megabyte becomes a sentence."""
    error = meant(502, f"<script>x()</script>{PAGE}\n\n" + "<" * 200_000)
    assert error.message.startswith("HTTP 502: 502 Bad Gateway 502")
    assert len(error.message) < 600
    assert "\n" not in error.message


def test_the_key_is_taken_out_of_words_and_addresses() -> None:
    """What the server echoes passes the redaction before it becomes a message."""
    hide = {"redact": lambda text: text.replace("KEY", "***")}
    words = classify_error(403, {}, b'{"error":{"message":"\\u004bEY is blocked"}}', now=NOW, **hide)  # type: ignore[arg-type]
    moved = classify_error(307, {"location": "https://x/?key=KEY"}, b"", now=NOW, **hide)  # type: ignore[arg-type]
    assert "KEY" not in words.message + moved.message
    assert "https://x/?key=***" in moved.message


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"detail": "Not Found"}', True),
        (PAGE, True),
        ("", True),
        (google(404, "NOT_FOUND", "models/gemini-x is not found for API version v1beta"), False),
    ],
)
def test_a_404_that_names_no_model_says_what_was_asked_for(body: Any, told: bool) -> None:
    """It says as much about the address as about the model."""
    path = "/relay/v1beta/models/gemini-x:generateContent"
    data = body if isinstance(body, str) else json.dumps(body)
    error = classify_error(404, {}, data.encode(), now=NOW, path=path)
    assert (f"asked for {path}: check base_url and model" in error.message) is told
