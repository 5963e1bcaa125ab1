"""Reads an answer of the Gemini API, in every shape that endpoints of this kind are known to send.

Pure: from a `Received` to an `Answer`, or to the `AttemptError` that says why there is no picture. Both
spellings (`inlineData`, `inline_data`) are taken everywhere; thought pictures are skipped; a picture may be
base64, a data URL, a URL, a Markdown link in the text, or stand in one of the places other image APIs use.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pybase64

from batch.errors import AttemptError, Paid, Refused, RunStopper, Unusable
from batch.model import Lane
from batch.providers.base import Answer, Blob, Picture, Received
from batch.providers.json_stream import REFERENCE_PREFIX

#: Captions are kept up to this length; a longer text is not a caption.
CAPTION_CHARACTERS: Final = 64 * 1024

_REFERENCE = re.compile(re.escape(REFERENCE_PREFIX) + r"(\d{1,6})")
_MARKDOWN_IMAGE = re.compile(
    r"!\[[^\]\n]{0,1000}\]\(\s{0,20}(?:(https?://[^)\s]{1,4000})(?:\s[^)]{0,1000})?|(data:[^)]+))\)"
)
_BARE_URL = re.compile(r"https?://\S{1,4000}")
_DATA_URL = re.compile(r"data:([a-zA-Z0-9.+/-]*)(?:;[a-zA-Z0-9=.-]+)*;base64,(.*)", re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")

#: finishReason → how often more it is worth asking (the answer was charged). None: never, the request is at fault.
#: "STOP" with no picture is handled apart. Evidence for each: docs/architecture.md, "The wire".
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
#: Google's word for the lane that served a request (ai.google.dev/gemini-api/docs/priority-inference, the example of a
#: downgrade; flex is told in the same way).
_LANE_HEADER: Final = "x-gemini-service-tier"
#: Kinds of tokens that a usage counts apart.
_MODALITIES: Final = ("TEXT", "IMAGE", "AUDIO", "VIDEO", "DOCUMENT")
_MODALITIES_AT_MOST: Final = 10
_LANES: Final = frozenset(lane.value for lane in Lane)
_VAGUE_BLOCKS: Final = frozenset({"OTHER", "BLOCK_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED"})


def interpret_answer(received: Received) -> Answer:
    """The pictures and the caption of a 200 answer. Raises `Unusable`, `Refused` or `RunStopper`."""
    request_id = request_id_of(received)
    tree = _tree(received, request_id)
    metadata = _pick(tree, "usageMetadata", "usage_metadata")
    usage, lane = _usage(metadata), lane_told(received.headers, metadata)
    try:
        return _interpret_tree(received, tree, request_id, usage, lane)
    except AttemptError as error:
        error.usage, error.lane = usage, lane
        raise


def _interpret_tree(
    received: Received,
    tree: dict[str, Any],
    request_id: str | None,
    usage: dict[str, Any] | None,
    lane: Lane | None,
) -> Answer:
    response_id = tree.get("responseId") or tree.get("response_id")
    if request_id is None and isinstance(response_id, str):
        request_id = _no_surrogates(response_id[:200])
    ids: dict[str, Any] = {"http_status": received.status, "request_id": request_id}

    blocked = _blocked_prompt(tree, ids)
    if blocked is not None:
        raise blocked
    reader = _PartReader(received.blobs)
    candidate, *others = _candidates(tree) or [{}]
    for source in (*others, candidate):  # the last picture is the result: it should be the first candidate's
        for part in _parts(source):
            reader.read(part)
    if not reader.pictures:
        reader.read_fallbacks(tree)
    if others:
        reader.warnings.append("several_candidates")
    caption = reader.caption()
    finish = _no_surrogates(str(_pick(candidate, "finishReason", "finish_reason") or ""))[:100]
    if not reader.pictures or finish in _POLICY_FINISHES:
        note = _no_surrogates(str(_pick(candidate, "finishMessage", "finish_message") or ""))[:1000]
        raise _no_picture(finish, note, caption, ids, had_picture=bool(reader.pictures), had_candidate=bool(candidate))
    warnings = reader.warnings + ([f"finish_{finish.lower()}"] if finish not in ("STOP", "") else [])
    return Answer(
        pictures=tuple(reader.pictures),
        caption=caption or None,
        request_id=request_id,
        usage=usage,
        warnings=tuple(warnings),
        lane=lane,
    )


def lane_told(headers: Mapping[str, str], metadata: Any = None) -> Lane | None:
    """Which lane served a request, by its header, else by its usage; None if neither has a word that is known.

    The header is what Google documents. The usage has a field for it too (`UsageMetadata.service_tier` of its SDK), and
    a proxy that rewrites headers leaves it alone.
    """
    for word in (headers.get(_LANE_HEADER), _pick(metadata, "serviceTier", "service_tier")):
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


def _tree(received: Received, request_id: str | None) -> dict[str, Any]:
    try:
        value = json.loads(received.body, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        what = "nothing" if not received.body.strip() else "no JSON"
        raise Unusable(
            "not_json", f"the answer holds {what}", http_status=received.status, request_id=request_id
        ) from None
    if isinstance(value, list):
        value = _first_mapping(value)
    if not isinstance(value, dict):
        value = {}
    return value


def _blocked_prompt(tree: dict[str, Any], ids: dict[str, Any]) -> AttemptError | None:
    feedback = _pick(tree, "promptFeedback", "prompt_feedback")
    reason = _no_surrogates(str(_pick(feedback, "blockReason", "block_reason") or ""))[:100]
    if not reason:
        return None
    if reason in _VAGUE_BLOCKS:
        return Unusable("blocked_other", f"the prompt was blocked: {reason}", retries=1, **ids)
    return Refused(f"blocked_{_code(reason)}", f"the prompt was blocked: {reason}", paid=Paid.YES, **ids)


def _no_picture(
    finish: str, note: str, caption: str, ids: dict[str, Any], *, had_picture: bool, had_candidate: bool
) -> AttemptError:
    words = f": {note}" if note else (f"; it said: {caption[:300]}" if caption else "")
    if finish == "PUP_LIMITED_DISABLED":
        stopper = RunStopper("account_limited", f"the account is limited or disabled{words}", **ids)
        stopper.paid = Paid.YES
        return stopper
    if finish == "STOP" or (not finish and caption):
        code = "text_only" if caption else "empty_answer"
        return Unusable(code, f"an answer without a picture{words}", retries=1, **ids)
    if not had_candidate:
        return Unusable("no_candidates", "an answer without candidates", retries=1, **ids)
    code = _code(finish) or "finish_missing"
    retries = _FINISH_RETRIES.get(finish, 1)
    kept = "; the picture that came with it is kept aside" if had_picture else ""
    message = f"no picture, finish reason {finish or 'missing'}{words}{kept}"
    if retries is None:
        return Refused(code, message, paid=Paid.YES, **ids)
    return Unusable(code, message, retries=retries, **ids)


class _PartReader:
    """Collects pictures and text from the parts of an answer, in order.

    A web address in a text is taken for a picture only if there is no other: captions name their sources, too.
    """

    def __init__(self, blobs: tuple[Blob, ...]) -> None:
        self._blobs = blobs
        self._texts: list[str] = []
        self._links: list[str] = []
        self.pictures: list[Picture] = []
        self.warnings: list[str] = []

    def caption(self) -> str:
        text = "\n".join(text for text in self._texts if text.strip()).strip()
        return _no_surrogates(text)[:CAPTION_CHARACTERS]

    def read(self, part: dict[str, Any]) -> None:
        if part.get("thought") is True:
            return
        inline = _pick(part, "inlineData", "inline_data")
        if isinstance(inline, dict):
            self._inline(inline)
        linked = _pick(part, "fileData", "file_data")
        if isinstance(linked, dict):
            self._url(_pick(linked, "fileUri", "file_uri", "uri", "url"), _mime(linked))
        self._url(part.get("url"), None)
        for name in ("image", "image_url", "imageUrl"):
            value = part.get(name)
            self._url(value.get("url") if isinstance(value, dict) else value, None)
        if isinstance(part.get("text"), str):
            self._text(part["text"])

    def read_fallbacks(self, tree: dict[str, Any]) -> None:
        """Links in the text, then the places where OpenAI-style image APIs put pictures."""
        for link in self._links:
            self._url(link, None)
        self._texts = [text for text in self._texts if text.strip() not in self._links]
        if self.pictures:
            return
        for name in ("images", "data"):
            for entry in _mappings_or_strings(tree.get(name)):
                if isinstance(entry, str):
                    self._value(entry, None)
                    continue
                self._value(_pick(entry, "b64_json", "base64"), _mime(entry))
                self._url(entry.get("url"), _mime(entry))
                nested = entry.get("image_url")
                self._url(nested.get("url") if isinstance(nested, dict) else nested, None)

    def _inline(self, inline: dict[str, Any]) -> None:
        data = inline.get("data")
        if isinstance(data, str) and data:
            self._value(data, _mime(inline))
        else:
            self._url(inline.get("url"), _mime(inline))

    def _value(self, value: Any, mime: str | None) -> None:
        """A string that is base64, a data URL, a web address, or points into the spool."""
        if not isinstance(value, str) or not value:
            return
        blob = self._blob(value)
        if blob is not None:
            self.pictures.append(Picture(blob=blob, declared_mime=mime))
        elif value.startswith(("http://", "https://")):
            self.pictures.append(Picture(url=value, declared_mime=mime))
        elif (data_url := _DATA_URL.fullmatch(value)) is not None:
            self._short(data_url[2], data_url[1] or mime)
        else:
            self._short(value, mime)

    def _url(self, value: Any, mime: str | None) -> None:
        if isinstance(value, str) and value.startswith(("http://", "https://", "data:", REFERENCE_PREFIX)):
            self._value(value, mime)

    def _short(self, text: str, mime: str | None) -> None:
        clean = "".join(text.split()).replace("-", "+").replace("_", "/")
        try:
            data = pybase64.b64decode(clean + "=" * (-len(clean) % 4), validate=True)
        except (binascii.Error, ValueError):
            data = b""
        self.pictures.append(Picture(data=data, declared_mime=mime))

    def _text(self, text: str) -> None:
        blob = self._blob(text)
        if blob is not None:
            self._long_text(blob)
            return
        for link in _MARKDOWN_IMAGE.finditer(text):
            if link[1] is not None:
                self._links.append(link[1])
            else:
                self._url(link[2].strip(), None)
        remaining = _MARKDOWN_IMAGE.sub("", text).strip()
        if _BARE_URL.fullmatch(remaining) is not None:
            self._links.append(remaining)
        if _DATA_URL.fullmatch(remaining) is not None:
            self._url(remaining, None)
        else:
            self._texts.append(remaining)

    def _long_text(self, blob: Blob) -> None:
        """A text too long for memory: a picture with words around it, or just very many words."""
        if blob.is_base64:
            self.pictures.append(Picture(blob=blob))
            self._texts.append(re.sub(r"!\[[^\]]*\]\(\s*$", "", blob.lead) + blob.tail.lstrip(") "))
        else:
            self.warnings.append("caption_cut")
            self._texts.append(_head_of_text(blob))

    def _blob(self, value: str) -> Blob | None:
        match = _REFERENCE.fullmatch(value)
        if match is None or int(match[1]) >= len(self._blobs):
            return None
        return self._blobs[int(match[1])]


def _head_of_text(blob: Blob) -> str:
    """The first characters of a text that was spooled raw (JSON escapes and all)."""
    with open(blob.file, "rb") as file:
        raw = file.read(CAPTION_CHARACTERS)
    raw = re.sub(rb"\\(?:u[0-9a-fA-F]{0,3})?\Z", b"", raw)
    try:
        return str(json.loads(b'"' + raw + b'"', strict=False))
    except ValueError:
        return raw.decode("utf-8", "replace")


def _parts(candidate: dict[str, Any]) -> Iterator[dict[str, Any]]:
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict):
            yield part


def _pick(mapping: Any, *names: str) -> Any:
    """The first of several spellings that is there."""
    if isinstance(mapping, dict):
        for name in names:
            if mapping.get(name) is not None:
                return mapping[name]
    return None


def _mime(mapping: Mapping[str, Any]) -> str | None:
    value = _pick(mapping, "mimeType", "mime_type")
    return value[:100] if isinstance(value, str) else None


def _candidates(tree: dict[str, Any]) -> list[dict[str, Any]]:
    found = tree.get("candidates")
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _no_surrogates(text: str) -> str:
    """Half of a surrogate pair is legal in JSON and in nothing that text is written to."""
    return _SURROGATE.sub("\ufffd", text)


def _first_mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        for entry in value:
            if isinstance(entry, dict):
                return entry
    return {}


def _mappings_or_strings(value: Any) -> Iterator[dict[str, Any] | str]:
    for entry in value if isinstance(value, list) else ():
        if isinstance(entry, (dict, str)):
            yield entry


def _usage(usage: Any) -> dict[str, Any] | None:
    """The token counts worth recording: plain numbers, and lists of them by modality; no nonsense."""
    if not isinstance(usage, dict):
        return None
    found: dict[str, Any] = {name: value for name, value in usage.items() if _is_count(value)}
    for name, details in usage.items():
        if isinstance(details, list) and name.lower().endswith("details"):
            entries = [_by_modality(entry) for entry in details[:_MODALITIES_AT_MOST] if isinstance(entry, dict)]
            found[name] = [entry for entry in entries if entry is not None]
            if not found[name]:
                del found[name]
    return found


def _by_modality(entry: dict[str, Any]) -> dict[str, Any] | None:
    modality, count = entry.get("modality"), _pick(entry, "tokenCount", "token_count")
    if modality not in _MODALITIES or not _is_count(count):
        return None
    return {"modality": modality, "tokenCount": count}


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9


def _code(reason: str) -> str:
    """An enum value as a stable cause code, also for values nobody has seen yet."""
    return re.sub(r"[^a-z0-9_]", "_", reason.lower())[:60]
