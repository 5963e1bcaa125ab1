"""Error answers, in the two dialects a client meets.

A `Refusal` is raised where a request is found wrong and says everything once; `error_body` renders it as
Google would (`status`, `details`) or as a new-api relay would, which keeps only message and code of an
upstream error and adds its request id to the words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_TYPE_PREFIX = "type.googleapis.com/google.rpc."


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayError:
    """An error that comes from the relay itself and not from the model behind it."""

    status: int
    message: str
    type: str = "new_api_error"
    code: str | int = ""
    has_param: bool = False

    def body(self, request_id: str) -> dict[str, Any]:
        error: dict[str, Any] = {"message": f"{self.message} (request id: {request_id})", "type": self.type}
        if self.has_param:
            error["param"] = ""
        error["code"] = self.code
        return {"error": error}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesError:
    """What OpenAI's images API says beside an error's words."""

    type: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal(Exception):
    """A request the API does not serve. `relay` replaces the whole answer in the relay's dialect, `images` adds what
    OpenAI's says beside the words."""

    http_status: int
    status: str
    message: str
    details: Sequence[Mapping[str, Any]] = ()
    relay: RelayError | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    images: ImagesError | None = None


def images_error(message: str, kind: str, code: str | None, param: str | None = None) -> dict[str, Any]:
    """The error object of OpenAI's images API."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


#: Of refusals that are the same in all dialects, by status: type and code.
_IMAGES_ERRORS: Mapping[int, tuple[str, str | None]] = {
    401: ("invalid_request_error", "invalid_api_key"),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None),
    503: ("server_error", None),
}


def google_error(refusal: Refusal) -> dict[str, Any]:
    """Google's error object."""
    error: dict[str, Any] = {
        "code": refusal.http_status,
        "message": refusal.message,
        "status": refusal.status,
    }
    if refusal.details:
        error["details"] = list(refusal.details)
    return {"error": error}


def error_body(refusal: Refusal, flavour: str, request_id: str) -> tuple[int, dict[str, Any]]:
    """HTTP status and body of a refusal in the given flavour."""
    if flavour == "google":
        return refusal.http_status, google_error(refusal)
    if flavour == "openai":
        kind, code = _IMAGES_ERRORS.get(refusal.http_status, ("invalid_request_error", None))
        said = refusal.images or ImagesError(type=kind, code=code)
        return refusal.http_status, images_error(refusal.message, said.type, said.code, said.param)
    if refusal.relay is not None:
        return refusal.relay.status, refusal.relay.body(request_id)
    upstream = RelayError(
        status=refusal.http_status,
        message=refusal.message,
        type="upstream_error",
        code=refusal.http_status,
        has_param=True,
    )
    return refusal.http_status, upstream.body(request_id)


def detail(kind: str, **fields: Any) -> dict[str, Any]:
    """One entry of `error.details`."""
    return {"@type": _TYPE_PREFIX + kind, **fields}


def bad_field(message: str, where: str = "") -> Refusal:
    """400 INVALID_ARGUMENT that names the field."""
    violation = {"field": where, "description": message} if where else {"description": message}
    return Refusal(400, "INVALID_ARGUMENT", message, (detail("BadRequest", fieldViolations=[violation]),))


def bad_argument(message: str) -> Refusal:
    """400 INVALID_ARGUMENT in words only."""
    return Refusal(400, "INVALID_ARGUMENT", message)


def key_missing() -> Refusal:
    return Refusal(
        403,
        "PERMISSION_DENIED",
        "Method doesn't allow unregistered callers (callers without established identity). "
        "Please use API Key or other form of API consumer identity to call this API.",
        relay=RelayError(status=401, message="Invalid token"),
    )


def key_invalid() -> Refusal:
    """Google answers an invalid key with 400, not 401."""
    message = "API key not valid. Please pass a valid API key."
    return Refusal(
        400,
        "INVALID_ARGUMENT",
        message,
        (
            detail(
                "ErrorInfo",
                reason="API_KEY_INVALID",
                domain="googleapis.com",
                metadata={"service": "generativelanguage.googleapis.com"},
            ),
            detail("LocalizedMessage", locale="en-US", message=message),
        ),
        relay=RelayError(status=401, message="Invalid token"),
    )


def images_key_missing() -> Refusal:
    words = "You didn't provide an API key. You need to provide it in an Authorization header using Bearer auth."
    return Refusal(401, "UNAUTHENTICATED", words, images=ImagesError())


def images_key_invalid() -> Refusal:
    words = "Incorrect API key provided: sim***."
    return Refusal(401, "UNAUTHENTICATED", words, images=ImagesError(code="invalid_api_key"))


def model_unknown(model: str, version: str) -> Refusal:
    return Refusal(
        404,
        "NOT_FOUND",
        f"models/{model} is not found for API version {version}, or is not supported for generateContent. "
        "Call ListModels to see the list of available models and their supported methods.",
        relay=RelayError(
            status=503,
            message=f"No available channel for model {model} under group default (distributor)",
            code="model_not_found",
        ),
    )


def body_too_large(limit_bytes: int) -> Refusal:
    return Refusal(
        400,
        "INVALID_ARGUMENT",
        f"Request payload size exceeds the limit: {limit_bytes} bytes.",
        relay=RelayError(status=413, message="http: request body too large", code="read_request_body_failed"),
    )


def quota_exceeded(
    *,
    per: str,
    limit: int,
    model: str,
    wait: str,
    retry_delay: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Refusal:
    """429 as Google words it; `per` is "Minute" or "Day", `wait` stands in the words ("36.4s")."""
    # The metric's name is all that tells a day from a minute once a relay has dropped the details.
    suffix = "_per_day" if per == "Day" else ""
    metric = f"generativelanguage.googleapis.com/generate_requests_per_model{suffix}"
    quota_id = f"GenerateRequestsPer{per}PerProjectPerModel"
    message = (
        "You exceeded your current quota, please check your plan and billing details. For more information "
        "on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. \n"
        f"* Quota exceeded for metric: {metric}, limit: {limit}, model: {model}\n"
        f"Please retry in {wait}."
    )
    violation = {
        "quotaMetric": metric,
        "quotaId": quota_id,
        "quotaDimensions": {"location": "global", "model": model},
        "quotaValue": str(limit),
    }
    link = {
        "description": "Learn more about Gemini API quotas",
        "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
    }
    details = (
        detail("QuotaFailure", violations=[violation]),
        detail("Help", links=[link]),
        detail("RetryInfo", retryDelay=wait if retry_delay is None else retry_delay),
    )
    return Refusal(429, "RESOURCE_EXHAUSTED", message, details, headers=dict(headers or {}))
