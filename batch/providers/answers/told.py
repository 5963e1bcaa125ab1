"""What a body says went wrong: the server's own words and codes, whatever shape it gives them.

Google's errors, those of relays, and of the frameworks that gateways are written with. Nothing is judged here: what an
error means is said in `classify`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

#: How much of an error's text is looked at.
_TEXT_CHARACTERS: Final = 8_000

#: Fields, without `_` and in lower case. Those that hold an error's words, and are only there if something failed;
#: those that hold words of either kind; codes; and what an answer may be wrapped in.
_COMPLAINTS: Final = ("errormessage", "errormsg", "errmsg", "errordescription", "errors", "error")
_REASONS: Final = ("failurereason", "failreason")
_WORDS: Final = ("message", "msg", *_COMPLAINTS[:4], "detail", "details", *_COMPLAINTS[4:], "reason", *_REASONS)
_NOTES: Final = ("description", "statusmessage", "statusmsg", "title", "info", "hint")
_CODES: Final = ("code", "errorcode", "errcode", "status", "statuscode", "state", "taskstatus", "ret")
_WRAPPERS: Final = ("response", "result", "data", "output", "body", "meta", "baseresp", "task")
#: Parts of words that a code or a status of a failure is made of.
_FAILED = re.compile(r"fail|error|reject|denied|invalid|refused|expired|cancel")
_FINE: Final = frozenset(("", "ok", "success", "none", "null", "0"))
_DEEPEST_WORDS: Final = 4
_MOST_WORDS: Final = 5
#: A refusal that may pass, in words.
_PASSES = re.compile(
    r"try again|retry|overload|busy|timed? ?out|temporar|unavailable|饱和|繁忙|稍后|超时|重试", re.IGNORECASE
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|[hms])")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBody:
    """What could be read out of an error's body, whatever its shape."""

    code: str = ""
    status: str = ""
    message: str = ""
    reasons: frozenset[str] = frozenset()
    quota_ids: tuple[str, ...] = ()
    retry_seconds: float | None = None
    is_json: bool = False


def read_error_body(body: bytes) -> ErrorBody:
    """Google's shape, a relay's, any other gateway's, inside a list or inside its own message, or plain text.

    The server's own words are in `message`, whatever the field is called; without a field that is known, the beginning
    of the body.
    """
    text = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    try:
        value = json.loads(text.removeprefix("data:"), strict=False)
    except (ValueError, RecursionError):
        return ErrorBody(message=plain_words(text))
    error = _error_of(value)
    inner = _double_encoded(error.get("message"))
    if inner is not None:
        error = {**error, **inner}
    found = _from_mapping(error)
    if found.message:
        return found
    outside = _words(value if isinstance(value, (dict, list)) else str(value), depth=0)
    return replace(found, message=plain_words(outside or ("" if value in ({}, [], None) else text)))


def _error_of(value: Any) -> dict[str, Any]:
    """The mapping that holds the error: `error`, the first of `errors`, or the body itself."""
    if isinstance(value, list):
        value = next((entry for entry in value if isinstance(entry, dict)), None)
    if not isinstance(value, dict):
        return {}
    error = value.get("error")
    if isinstance(error, list):
        error = next((entry for entry in error if entry), None)
    if isinstance(error, str) and error:
        # A name beside the words, as in OAuth's `error` and `error_description`, is the code.
        words = _words({name: entry for name, entry in value.items() if name != "error"}, depth=0)
        return {**value, "code": error, "message": words} if words else {**value, "message": error}
    return error if isinstance(error, dict) and error else value


def _words(value: Any, depth: int) -> str:
    """The server's words in a JSON value of any shape, or nothing."""
    if isinstance(value, str):
        return value.strip()
    if depth > _DEEPEST_WORDS:
        return ""
    if isinstance(value, list):
        return "; ".join(filter(None, (_words(entry, depth + 1) for entry in value[:_MOST_WORDS])))
    if not isinstance(value, dict):
        return ""
    names = {re.sub("[^a-z]", "", str(name).lower()): name for name in reversed(value)}
    for name in (*_WORDS, *_NOTES, *_WRAPPERS):
        words = _words(value[names[name]], depth + 1) if name in names else ""
        if words:
            return f"{where}: {words}" if (where := _place(value)) else words
    if depth and not any(name in names for name in ("code", "status", "type", "success")):
        # A mapping of field names to complaints, as several frameworks write `errors`.
        named = ((name, _words(entry, depth + 1)) for name, entry in list(value.items())[:_MOST_WORDS])
        return "; ".join(f"{name}: {words}" for name, words in named if words)
    return ""


def _place(complaint: Mapping[str, Any]) -> str:
    """What a complaint is about: `loc` of pydantic, `field` or `param` of others."""
    where = complaint.get("loc") or complaint.get("field") or complaint.get("path")
    if isinstance(where, list):
        return ".".join(str(step) for step in where[:10])
    return where if isinstance(where, str) else ""


def says_it_failed(value: Any, depth: int = 0) -> bool:
    """Whether a JSON value that holds no picture says of itself that the request failed, in any usual way."""
    if isinstance(value, list):
        return any(says_it_failed(entry, depth + 1) for entry in value[:_MOST_WORDS])
    if not isinstance(value, dict) or depth > _DEEPEST_WORDS:
        return False
    names = {re.sub("[^a-z]", "", str(name).lower()): entry for name, entry in value.items()}
    if any(_complains(names.get(name)) for name in (*_COMPLAINTS, *_REASONS)):
        return True
    if any(names.get(name) in (False, "false", "False") for name in ("success", "succeeded", "ok", "issuccess")):
        return True
    if any(_is_failure_code(names.get(name)) for name in _CODES):
        return True
    says_well = names.get("success") is True or any(names.get(name) not in (None, "") for name in _CODES)
    if not says_well and any(names.get(name) for name in ("detail", "msg", "message")):
        return True
    return any(says_it_failed(names.get(name), depth + 1) for name in _WRAPPERS)


def _complains(value: Any) -> bool:
    return bool(value) and not (isinstance(value, str) and value.strip().lower() in _FINE)


def _is_failure_code(value: Any) -> bool:
    """Whether a code or a status is one of a failure. 0, 1 and the 200s are not, and neither is an unknown word."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value.strip()):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value not in (0, 1) and not 200 <= value < 300
    return isinstance(value, str) and _FAILED.search(value.lower()) is not None


def told_status(value: Any, depth: int = 0) -> int | None:
    """The HTTP status that an error inside an answer names itself, or None."""
    if not isinstance(value, dict) or depth > _DEEPEST_WORDS:
        return None
    for name in ("code", "status", "status_code", "statusCode", "error_code", "http_status"):
        code = value.get(name)
        if isinstance(code, str) and re.fullmatch("[45][0-9][0-9]", code.strip()):
            code = int(code)
        if isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600:
            return code
    inner = (told_status(value.get(name), depth + 1) for name in ("error", *_WRAPPERS))
    return next((code for code in inner if code is not None), None)


def parse_duration(text: str) -> float | None:
    """Seconds of a duration as these APIs write it: `36s`, `45.83s`, `373.8ms`, `12h26m36s`."""
    parts = _DURATION_PART.findall(text.strip())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip() or len(text) > 40:
        return None
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)


def _from_mapping(error: Mapping[str, Any]) -> ErrorBody:
    details = error.get("details")
    entries = [entry for entry in details if isinstance(entry, dict)] if isinstance(details, list) else []
    delays = [parse_duration(entry["retryDelay"]) for entry in entries if isinstance(entry.get("retryDelay"), str)]
    lists = [entry["violations"] for entry in entries if isinstance(entry.get("violations"), list)]
    violations = [violation for violations in lists for violation in violations if isinstance(violation, dict)]
    return ErrorBody(
        code=_word(error.get("code", error.get("error_code", error.get("errorCode")))),
        status=_word(error.get("status")),
        message=plain_words(_words(error, depth=0)),
        reasons=frozenset(str(entry["reason"]) for entry in entries if "reason" in entry),
        quota_ids=tuple(str(violation.get("quotaId", "")) for violation in violations),
        retry_seconds=next((delay for delay in delays if delay is not None), None),
        is_json=bool(error),
    )


def _word(value: Any) -> str:
    """A code as text; empty for what is none."""
    return str(value)[:100] if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def _double_encoded(message: Any) -> dict[str, Any] | None:
    """An error that a client library put, as JSON, into another error's message."""
    if not isinstance(message, str) or not message.lstrip().startswith(("{", "[")):
        return None
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, list) and value:
        value = value[0]
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) else None


def may_pass(message: str) -> bool:
    """Whether a refusal's words say that the same request may work soon."""
    return _PASSES.search(message) is not None


def plain_words(text: str) -> str:
    """Words of an HTML page or a message on one line."""
    text = text[:_TEXT_CHARACTERS]
    if "<" in text:
        text = re.sub(r"<(script|style).*?</\1>|<[^<>]*>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    return " ".join(no_surrogates(text).split())


def no_surrogates(text: str) -> str:
    """Half of a surrogate pair is legal in JSON and in nothing that text is written to."""
    return _SURROGATE.sub("\ufffd", text)
