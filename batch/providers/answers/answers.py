"""Reads an answer of the Gemini API, in every shape that endpoints of this kind are known to send.

Pure: from a `Received` to an `Answer`, or to the `AttemptError` that says why there is no picture. Both
spellings (`inlineData`, `inline_data`) are taken everywhere. Where the pictures are: `picture_places`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from batch.core.errors import AttemptError, EndpointDown, Kind, Paid, Refused, Unusable
from batch.core.lane import Lane
from batch.core.usage import Usage
from batch.providers.answers.framing import is_own, is_whole, read_answer, read_documents
from batch.providers.answers.grounding import read_grounding
from batch.providers.answers.json_stream import REFERENCE_PREFIX
from batch.providers.answers.picture_places import PictureFinder, pick
from batch.providers.answers.told import no_surrogates, plain_words
from batch.providers.answers.usage import read_usage
from batch.providers.base import Answer, Blob, Received

#: finishReason → how often more it is worth asking (the answer was charged). None: never, the request is at fault.
#: "STOP" with no picture is handled apart. Evidence for each: docs/wire.md.
_FINISH_RETRIES: Final[Mapping[str, int | None]] = {
    "NO_IMAGE": 2,
    "IMAGE_OTHER": 2,
    "OTHER": 2,
    "MALFORMED_RESPONSE": 2,
    "FINISH_REASON_UNSPECIFIED": 2,
    "": 2,
    "IMAGE_RECITATION": None,
    "RECITATION": None,
    "IMAGE_SAFETY": None,
    "IMAGE_PROHIBITED_CONTENT": None,
    "PROHIBITED_CONTENT": None,
    "SAFETY": None,
    "BLOCKLIST": None,
    "SPII": None,
    "LANGUAGE": None,
    "MODEL_ARMOR": None,
    "ESCALATION": None,
    "MAX_TOKENS": None,
    "CONTINUATION": None,
    "MALFORMED_FUNCTION_CALL": None,
    "UNEXPECTED_TOOL_CALL": None,
    "TOO_MANY_TOOL_CALLS": None,
    "MISSING_THOUGHT_SIGNATURE": None,
}
#: What other APIs call the same.
_OTHER_FINISHES: Final[Mapping[str, str]] = {"stop": "STOP", "content_filter": "SAFETY", "length": "MAX_TOKENS"}
#: With these a picture that came along is not a success: the provider says it must not be used.
_POLICY_FINISHES: Final = frozenset(
    {
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "PROHIBITED_CONTENT",
        "SAFETY",
        "BLOCKLIST",
        "SPII",
        "MODEL_ARMOR",
        "ESCALATION",
        "IMAGE_RECITATION",
        "RECITATION",
        "PUP_LIMITED_DISABLED",
    }
)
#: Of these, what a block of the prompt or the picture is called; another model may take it. A recitation stays one.
_BLOCKED_CODES: Final = frozenset(
    (
        "image_safety",
        "image_prohibited_content",
        "prohibited_content",
        "safety",
        "blocklist",
        "spii",
        "model_armor",
    )
)
#: Google's word for the lane that served a request (ai.google.dev/gemini-api/docs/priority-inference, the example of a
#: downgrade; flex is told in the same way).
_LANE_HEADER: Final = "x-gemini-service-tier"
_LANES: Final = frozenset(lane.value for lane in Lane)
_VAGUE_BLOCKS: Final = frozenset({"OTHER", "BLOCK_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED"})


def interpret_answer(received: Received) -> Answer:
    """The pictures and the caption of a 200 answer. Raises `Unusable`, `Refused` or `EndpointDown`."""
    request_id = request_id_of(received)
    tree = read_answer(received.body)
    metadata = pick(tree, "usageMetadata", "usage_metadata")
    usage, lane = read_usage(metadata), lane_told(received.headers, metadata)
    try:
        return _interpret_tree(received, tree, request_id, usage, lane)
    except AttemptError as error:
        error.usage, error.lane = usage, lane
        if not isinstance(error, Unusable) or is_whole(received.body):
            raise
        unusable = error
    try:
        return _interpret_tree(
            received, read_answer(received.body, loosely=True), request_id, usage, lane, take_any=received.cut is None
        )
    except AttemptError:
        raise unusable from None


def _interpret_tree(
    received: Received,
    read: dict[str, Any] | None,
    request_id: str | None,
    usage: Usage | None,
    lane: Lane | None,
    *,
    take_any: bool = False,
) -> Answer:
    """`take_any`: the JSON cannot be read, so anything in the body that begins as a picture is one."""
    tree = read or {}
    response_id = tree.get("responseId") or tree.get("response_id")
    if request_id is None and isinstance(response_id, str):
        request_id = no_surrogates(response_id[:200])
    ids: dict[str, Any] = {"http_status": received.status, "request_id": request_id}

    blocked = _blocked_prompt(tree, ids)
    if blocked is not None:
        raise blocked
    finder = PictureFinder(received.blobs)
    candidate, *others = _candidates(tree) or [{}]
    for source in (*others, candidate):  # the last picture is the result: it should be the first candidate's
        for part in _parts(source):
            finder.read_part(part)
    if not finder.pictures:
        finder.search(tree if is_own(tree) else read_documents(received.body))
    if not finder.pictures and take_any:
        finder.take_any(received.body)
    if others:
        finder.warnings.append("several_candidates")
    finish, note = _finish(candidate or _choice(tree))
    failure = (
        _not_json(received, request_id)
        if read is None
        else _no_picture(
            finish,
            note,
            finder.caption(),
            ids,
            had_picture=any(picture.url is None for picture in finder.pictures),
            had_candidate=bool(candidate),
            beginning=received.body,
        )
    )
    if not finder.pictures or finish in _POLICY_FINISHES:
        raise failure
    return Answer(
        pictures=tuple(finder.pictures),
        caption=finder.caption() or None,
        request_id=request_id,
        usage=usage,
        warnings=(*finder.warnings, *([f"finish_{finish.lower()}"] if finish not in ("STOP", "") else [])),
        lane=lane,
        grounding=read_grounding(pick(candidate, "groundingMetadata", "grounding_metadata")),
        signature=_signature(candidate, received.blobs),
        otherwise=failure,
    )


def _finish(candidate: dict[str, Any]) -> tuple[str, str]:
    """How it ended, as Gemini writes it, and in words."""
    reason = pick(candidate, "finishReason", "finish_reason")
    finish = no_surrogates(str(reason or ""))[:100]
    note = no_surrogates(str(pick(candidate, "finishMessage", "finish_message") or ""))[:1000]
    return _OTHER_FINISHES.get(finish, finish), note


def lane_told(headers: Mapping[str, str], metadata: Any = None) -> Lane | None:
    """Which lane served a request, by its header, else by its usage; None if neither has a word that is known.

    The header is what Google documents. The usage has a field for it too (`UsageMetadata.service_tier` of its SDK), and
    a proxy that rewrites headers leaves it alone.
    """
    for word in (headers.get(_LANE_HEADER), pick(metadata, "serviceTier", "service_tier")):
        if isinstance(word, str) and word.strip().lower() in _LANES:
            return Lane(word.strip().lower())
    return None


def request_id_of(received: Received) -> str | None:
    """The provider's own id of the request, from the headers that carry one."""
    for name in ("x-oneapi-request-id", "x-request-id", "x-goog-request-id", "x-amzn-requestid", "cf-ray"):
        value = received.headers.get(name)
        if value:
            return value[:200]
    return None


def _not_json(received: Received, request_id: str | None) -> Unusable:
    words = plain_words(received.body.decode("utf-8", "replace"))[:300]
    what = received.flaw or (f"no JSON; it begins: {words}" if words else "nothing")
    return Unusable(
        "not_json",
        f"the answer holds {what}",
        kind=Kind.UNREADABLE,
        http_status=received.status,
        request_id=request_id,
    )


def _blocked_prompt(tree: dict[str, Any], ids: dict[str, Any]) -> AttemptError | None:
    feedback = pick(tree, "promptFeedback", "prompt_feedback")
    reason = no_surrogates(str(pick(feedback, "blockReason", "block_reason") or ""))[:100]
    if not reason:
        return None
    if reason in _VAGUE_BLOCKS:
        return Unusable("blocked_other", f"the prompt was blocked: {reason}", kind=Kind.POLICY, retries=1, **ids)
    words = f"the prompt was blocked: {reason}"
    return Refused(f"blocked_{_code(reason)}", words, kind=Kind.POLICY, paid=Paid.YES, **ids)


def _no_picture(
    finish: str,
    note: str,
    caption: str,
    ids: dict[str, Any],
    *,
    had_picture: bool,
    had_candidate: bool,
    beginning: bytes,
) -> AttemptError:
    words = f": {note}" if note else (f"; it said: {caption[:300]}" if caption else "")
    if finish == "PUP_LIMITED_DISABLED":
        stopper = EndpointDown("account_limited", f"the account is limited or disabled{words}", **ids)
        stopper.paid = Paid.YES
        return stopper
    if finish == "STOP" or (not finish and caption):
        code = "text_only" if caption else "empty_answer"
        return Unusable(code, f"an answer without a picture{words}", retries=1, **ids)
    if not had_candidate:
        words = f": {plain_words(beginning.decode('utf-8', 'replace'))[:300]}" if beginning.strip() else ""
        return Unusable("no_candidates", f"an answer without candidates{words}", retries=1, **ids)
    code = _code(finish) or "finish_missing"
    retries = _FINISH_RETRIES.get(finish, 1)
    kept = "; the picture that came with it is kept aside" if had_picture else ""
    message = f"no picture, finish reason {finish or 'missing'}{words}{kept}"
    if retries is None:
        return Refused(code, message, kind=_kind(code), paid=Paid.YES, **ids)
    return Unusable(code, message, kind=_kind(code), retries=retries, **ids)


def _parts(candidate: dict[str, Any]) -> Iterator[dict[str, Any]]:
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict):
            yield part


def _signature(candidate: dict[str, Any], blobs: Sequence[Blob]) -> str | Blob | None:
    """The thought signature of the last picture, or of the last part that has one where none stands beside it."""
    found: str | None = None
    for part in _parts(candidate):
        told = pick(part, "thoughtSignature", "thought_signature")
        if isinstance(told, str) and told and part.get("thought") is not True:
            found = told
    if found is None or not found.startswith(REFERENCE_PREFIX):
        return found
    number = found.removeprefix(REFERENCE_PREFIX)
    return blobs[int(number)] if number.isdecimal() and int(number) < len(blobs) else None


def _candidates(tree: dict[str, Any]) -> list[dict[str, Any]]:
    found = tree.get("candidates")
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _choice(tree: dict[str, Any]) -> dict[str, Any]:
    """The first choice of an answer in the shape of OpenAI's chat."""
    return _first_mapping(tree.get("choices"))


def _first_mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        for entry in value:
            if isinstance(entry, dict):
                return entry
    return {}


def _kind(code: str) -> Kind:
    """Whether an answer without a picture was blocked by policy."""
    return Kind.POLICY if code in _BLOCKED_CODES or code.startswith("blocked_") else Kind.OTHER


def _code(reason: str) -> str:
    """An enum value as a stable cause code, also for values that are new."""
    return re.sub(r"[^a-z0-9_]", "_", reason.lower())[:60]
