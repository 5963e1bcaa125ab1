"""HTTP errors: Google's, the odd shapes they come in, rate-limit hints, proxies in between, and what flex may meet."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from batch.simulator import refusals
from batch.simulator.answers import Scene, encode, good_answer
from batch.simulator.delivery import Answer
from batch.simulator.faults.fault import Act, Section
from batch.simulator.refusals import Refusal, detail

SECTION = Section("HTTP errors (not charged)")
HINTS = Section("Rate-limit hints (not charged)")
LANES = Section("Lanes: only requests that ask for flex meet these", wire="gemini")

_ERRORS = {
    "http_400": (400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
    "http_400_precondition": (
        400,
        "FAILED_PRECONDITION",
        "User location is not supported for the API use without a billing account linked.",
    ),
    "http_401": (
        401,
        "UNAUTHENTICATED",
        "Request had invalid authentication credentials. Expected OAuth 2 access token, "
        "login cookie or other valid authentication credential.",
    ),
    "http_402": (
        402,
        "RESOURCE_EXHAUSTED",
        "Your prepayment credits are depleted. Please go to AI Studio to manage your project and billing.",
    ),
    "http_403": (403, "PERMISSION_DENIED", "The caller does not have permission."),
    "http_404": (404, "NOT_FOUND", "Requested entity was not found."),
    "http_404_retired": (
        404,
        "NOT_FOUND",
        "This model models/gemini-3.1-flash-image is no longer available to new users.",
    ),
    "http_409": (409, "ABORTED", "The operation was aborted."),
    "http_429": (429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    "http_429_credit": (
        429,
        "RESOURCE_EXHAUSTED",
        "Your prepayment credits are depleted. Please go to AI Studio to manage your project and billing.",
    ),
    "http_499": (499, "CANCELLED", "The operation was cancelled."),
    "http_500": (
        500,
        "INTERNAL",
        "An internal error has occurred. Please retry or report in https://developers.generativeai.google/guide/"
        "troubleshooting",
    ),
    "http_503": (
        503,
        "UNAVAILABLE",
        "This model is currently experiencing high demand. Spikes in demand are usually temporary. "
        "Please try again later.",
    ),
    "http_503_deadline": (503, "UNAVAILABLE", "Deadline expired before operation could complete."),
    "http_504": (504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
}


def _refusing(refusal: Refusal) -> Act:
    async def act(scene: Scene) -> Answer:
        headers = {"Retry-After": scene.params["retry_after"]} if scene.params["retry_after"] else {}
        answer = scene.refuse(refusal)
        return Answer(status=answer.status, body=answer.body, headers=headers)

    return act


for _name, (_status, _word, _message) in _ERRORS.items():
    SECTION.add(
        _name,
        f"{_status} {_word}: {_message[:60]}",
        _refusing(Refusal(_status, _word, _message)),
        params={"retry_after": ""},
    )
SECTION.add(
    "key_invalid",
    "400 API_KEY_INVALID (Google) or 401 (relay): the key is wrong",
    _refusing(refusals.key_invalid()),
    params={"retry_after": ""},
)


@SECTION.fault("debug_info_key", "403 whose DebugInfo echoes the client's key: redaction must catch it")
async def _debug_info_key(scene: Scene) -> Answer:
    shown = f"generic::permission_denied: api key {scene.key} is blocked"
    refusal = Refusal(
        403, "PERMISSION_DENIED", f"Permission denied: key {scene.key}", (detail("DebugInfo", detail=shown),)
    )
    return Answer(status=403, body=encode(refusals.google_error(refusal)))


def _unavailable() -> dict[str, object]:
    return refusals.google_error(Refusal(503, "UNAVAILABLE", "The service is currently unavailable."))


@SECTION.fault("error_list", "503 with the error object wrapped in a list")
async def _error_list(scene: Scene) -> Answer:  # noqa: ARG001
    return Answer(status=503, body=encode([_unavailable()]))


@SECTION.fault("error_double_encoded", "503 with Google's error JSON as a string inside error.message")
async def _error_double_encoded(scene: Scene) -> Answer:  # noqa: ARG001
    error = {"code": 503, "message": json.dumps(_unavailable()), "status": "Service Unavailable"}
    return Answer(status=503, body=encode({"error": error}))


@SECTION.fault("error_string", "500 whose error is a string and no object")
async def _error_string(scene: Scene) -> Answer:  # noqa: ARG001
    return Answer(status=500, body=encode({"error": "internal error"}))


@SECTION.fault("error_empty", "503 without a body")
async def _error_empty(scene: Scene) -> Answer:  # noqa: ARG001
    return Answer(status=503)


def _page(status: int, title: str) -> Act:
    async def act(scene: Scene) -> Answer:  # noqa: ARG001
        words = f"{status} {title}"
        page = f"<html>\r\n<head><title>{words}</title></head>\r\n<body><h1>{words}</h1></body></html>"
        return Answer(status=status, body=page.encode(), content_type="text/html")

    return act


for _status, _title in (
    (408, "Request Timeout"),
    (413, "Request Entity Too Large"),
    (502, "Bad Gateway"),
    (503, "Service Unavailable"),
    (504, "Gateway Time-out"),
):
    SECTION.add(f"html_{_status}", f"{_status} as a proxy's HTML page", _page(_status, _title))


# ---- rate-limit hints -------------------------------------------------------------------------------------


def _quota(per: str, limit: int, seconds: float) -> Act:
    async def act(scene: Scene) -> Answer:
        wait = scene.params.get("wait") or f"{scene.params.get('seconds', seconds)}s"
        model = scene.ask.model.name
        return scene.refuse(refusals.quota_exceeded(per=per, limit=limit, model=model, wait=wait))

    return act


HINTS.add(
    "quota_minute",
    "429 of the per-minute quota, delay in details and words",
    _quota("Minute", 10, 36.429760048),
    params={"seconds": 36.429760048},
)
HINTS.add(
    "quota_day",
    "429 of the per-day quota, with the misleading short delay",
    _quota("Day", 250, 22.0),
    params={"seconds": 22.0},
)
HINTS.add(
    "quota_zero",
    "429 with limit: 0, there is no quota at all",
    _quota("Day", 0, 22.0),
    params={"seconds": 22.0},
)
HINTS.add(
    "quota_wait",
    "429 per minute with any words for the delay (373.801628ms, 12h26m36s, ...)",
    _quota("Minute", 10, 0.0),
    params={"wait": "373.801628ms"},
)


@HINTS.fault("quota_words_only", "429 with the delay in the words and nowhere else", params={"wait": "12h26m36s"})
async def _quota_words_only(scene: Scene) -> Answer:
    message = f"Quota exceeded. Your quota will reset after {scene.params['wait']}."
    return scene.refuse(Refusal(429, "RESOURCE_EXHAUSTED", message))


@HINTS.fault("quota_error_info", "429 with ErrorInfo RATE_LIMIT_EXCEEDED instead of QuotaFailure")
async def _quota_error_info(scene: Scene) -> Answer:
    info = detail(
        "ErrorInfo",
        reason="RATE_LIMIT_EXCEEDED",
        domain="googleapis.com",
        metadata={
            "quota_limit": "GenerateContentRequestsPerMinutePerProjectPerRegion",
            "quota_limit_value": "10",
        },
    )
    return scene.refuse(Refusal(429, "RESOURCE_EXHAUSTED", "Quota exceeded for requests per minute.", (info,)))


@HINTS.fault("retry_after", "429 with a Retry-After header, any value", params={"value": "2"})
async def _retry_after(scene: Scene) -> Answer:
    return _with_retry_after(scene, scene.params["value"])


@HINTS.fault("retry_after_date", "429 with Retry-After as an HTTP date some seconds from now", params={"seconds": 2.0})
async def _retry_after_date(scene: Scene) -> Answer:
    when = datetime.now(UTC) + timedelta(seconds=scene.params["seconds"])
    return _with_retry_after(scene, format_datetime(when, usegmt=True))


def _fixed_retry_after(value: str) -> Act:
    async def act(scene: Scene) -> Answer:
        return _with_retry_after(scene, value)

    return act


def _with_retry_after(scene: Scene, value: str) -> Answer:
    return scene.refuse(Refusal(429, "RESOURCE_EXHAUSTED", "Too many requests.", headers={"Retry-After": value}))


for _name, _value, _about in (
    ("zero", "0", "0"),
    ("negative", "-5", "a negative number"),
    ("nan", "nan", "nan"),
    ("infinite", "inf", "inf"),
    ("huge", "1000000000", "thirty years"),
    ("old_date", "Wed, 21 Oct 2015 07:28:00 GMT", "a date long past"),
    ("twice", "120, 120", "two values in one"),
    ("empty", "", "nothing"),
    ("words", "soon", "a word"),
    ("arabic", "٣", "a digit of another script, as raw UTF-8"),
):
    HINTS.add(f"retry_after_{_name}", f"429 whose Retry-After is {_about}", _fixed_retry_after(_value))


# ---- lanes (ai.google.dev/gemini-api/docs/flex-inference) ---------------------------------------------------

LANES.add(
    "flex_shed",
    "503 UNAVAILABLE: no capacity is left for flex (not charged)",
    _refusing(Refusal(503, "UNAVAILABLE", "The system is currently at capacity. Please try again later.")),
    params={"retry_after": ""},
    billed=False,
    lane="flex",
)


@LANES.fault("flex_served_standard", "served and charged as standard, and the header says so", lane="flex")
async def _flex_served_standard(scene: Scene) -> Answer:
    return replace(await good_answer(scene), served="standard")
