"""Reads an answer of OpenAI's images API, and what relays make of one.

Pure: from a `Received` to an `Answer`, or to the `AttemptError` that says why there is no picture. The pictures are in
`data[]`, as base64 or as an address; if they are not, every string of the answer is looked at (`picture_places`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from batch.core.errors import AttemptError, EndpointDown, ExitCode, Kind, Paid, Unusable
from batch.core.usage import Usage
from batch.providers.answers.answers import request_id_of
from batch.providers.answers.framing import is_whole, read_answer, read_documents
from batch.providers.answers.picture_places import CAPTION_CHARACTERS, IN_A_TEXT, PictureFinder
from batch.providers.answers.told import no_surrogates, plain_words, says_it_failed
from batch.providers.base import Answer, Received

_WRAPPERS: Final = ("data", "response", "result", "output", "body")
_DEEPEST_WRAPPER: Final = 4
_MOST_ENTRIES: Final = 20
#: Of relays that answer before there is a picture.
_TASK_NAMES: Final = ("task_id", "taskId", "job_id", "prediction_id")
_MOST_TOKENS: Final = 10**9
_MIME_OF: Final = {"png": "image/png", "jpeg": "image/jpeg", "jpg": "image/jpeg", "webp": "image/webp"}


def interpret_images(received: Received) -> Answer:
    """The pictures of a 200 answer. Raises `Unusable` with what it says of its tokens, or `EndpointDown` if they are to
    be asked for later."""
    documents = read_documents(received.body)
    own = next(filter(None, map(_own, documents)), {})
    usage = next((read for each in (own, *documents) if (read := _usage_in(each)) is not None), None)
    finder = PictureFinder(received.blobs)
    entries = [entry for entry in own.get("data", ()) if isinstance(entry, dict)]
    for entry in entries:
        _read_entry(finder, entry, _MIME_OF.get(str(own.get("output_format"))))
    if not finder.pictures:
        _search(finder, documents, received)
    failure: AttemptError = _later(documents, received) or _no_picture(documents, received)
    failure.usage = usage
    if all(picture.rank >= IN_A_TEXT for picture in finder.pictures) and (
        not finder.pictures or says_it_failed(documents)  # an error may name the page that explains it
    ):
        raise failure
    return Answer(
        pictures=tuple(finder.pictures),
        caption=_revised_prompt(entries),
        request_id=failure.request_id,
        usage=usage,
        otherwise=failure,
    )


def read_image_usage(reported: Any) -> Usage | None:
    """What an answer says of its tokens; None if it says nothing. The kinds are known only if they add up."""
    if not isinstance(reported, dict):
        return None
    counts = _counts(reported)
    total = counts.get("total_tokens")
    return Usage(total=total if isinstance(total, int) and total else None, reported=counts, **_by_kind(counts))


def _own(document: Any, depth: int = 0) -> dict[str, Any] | None:
    """The mapping with the list of pictures, in whatever it is wrapped."""
    if not isinstance(document, dict) or depth > _DEEPEST_WRAPPER:
        return None
    if isinstance(document.get("data"), list):
        return document
    inner = (_own(document.get(name), depth + 1) for name in _WRAPPERS)
    return next((found for found in inner if found is not None), None)


def _read_entry(finder: PictureFinder, entry: Mapping[str, Any], mime: str | None) -> None:
    """One of `data`: the picture itself if it is there, else its address."""
    data, url = entry.get("b64_json"), entry.get("url")
    if isinstance(data, str) and data.strip():
        finder.read_part({"inlineData": {"data": data, "mimeType": mime}})
    elif isinstance(url, str):
        finder.read_part({"url": url})


def _search(finder: PictureFinder, documents: Sequence[Any], received: Received) -> None:
    """Pictures in other places, and in a body that is no whole JSON."""
    finder.search(list(documents))
    if not finder.pictures and not is_whole(received.body):
        finder.search(read_answer(received.body, loosely=True))
        if not finder.pictures and received.cut is None:
            finder.take_any(received.body)


def _later(documents: Sequence[Any], received: Received) -> EndpointDown | None:
    """That a relay has begun a task and wants to be asked for it later. Asking again would begin, and pay, another."""
    tasks = (task for each in documents for task in _tasks(each))
    task = next(tasks, None)
    if task is None:
        return None
    down = EndpointDown(
        "answers_later",
        f"the endpoint made a task of the request ({task}), and such tasks are not fetched; the picture is in its own "
        "list. Use an endpoint, or a model there, that answers with the picture",
        exit_code=ExitCode.PROTOCOL,
        http_status=received.status,
        request_id=request_id_of(received),
    )
    down.paid = Paid.YES
    return down


def _tasks(value: Any, depth: int = 0) -> Iterator[str]:
    """Names of tasks in an answer."""
    if isinstance(value, list):
        for each in value[:_MOST_ENTRIES]:
            yield from _tasks(each, depth + 1)
    elif isinstance(value, dict) and depth <= _DEEPEST_WRAPPER:
        for name in _TASK_NAMES:
            if isinstance(value.get(name), str | int) and value[name]:
                yield no_surrogates(str(value[name]))[:100]
        for name in _WRAPPERS:
            yield from _tasks(value.get(name), depth + 1)


def _no_picture(documents: Sequence[Any], received: Received) -> Unusable:
    ids: dict[str, Any] = {"http_status": received.status, "request_id": request_id_of(received)}
    words = plain_words(received.body.decode("utf-8", "replace"))[:300]
    if not any(isinstance(each, dict | list) for each in documents):
        what = received.flaw or (f"no JSON; it begins: {words}" if words else "nothing")
        return Unusable("not_json", f"the answer holds {what}", kind=Kind.UNREADABLE, **ids)
    return Unusable("empty_answer", f"an answer without a picture: {words}", retries=1, **ids)


def _revised_prompt(entries: Sequence[Mapping[str, Any]]) -> str | None:
    """The prompt as the model rewrote it, of the picture that is the result."""
    words = entries[-1].get("revised_prompt") if entries else None
    return no_surrogates(words)[:CAPTION_CHARACTERS] if isinstance(words, str) and words.strip() else None


def _usage_in(document: Any) -> Usage | None:
    return read_image_usage(document.get("usage")) if isinstance(document, dict) else None


def _counts(mapping: Mapping[str, Any], *, deeper: bool = True) -> dict[str, Any]:
    """The counts worth recording: whole numbers, and mappings of them."""
    found: dict[str, Any] = {}
    for name, value in mapping.items():
        if _is_count(value):
            found[name] = value
        elif deeper and isinstance(value, dict) and (inner := _counts(value, deeper=False)):
            found[name] = inner
    return found


def _by_kind(counts: Mapping[str, Any]) -> dict[str, int]:
    """Tokens by kind; empty if they are not all there or do not add up. Of cached ones the full price is taken."""
    taken, made, total = (counts.get(name) for name in ("input_tokens", "output_tokens", "total_tokens"))
    if not (isinstance(taken, int) and isinstance(made, int)) or total != taken + made:
        return {}
    pictures_in = min(taken, _detail(counts, "input_tokens_details", "image_tokens") or 0)
    named = _detail(counts, "output_tokens_details", "image_tokens")
    pictures_out = made if named is None else min(made, named)  # output of which nothing more is said is pictures
    return {
        "input_text": taken - pictures_in,
        "input_image": pictures_in,
        "output_text": made - pictures_out,
        "output_image": pictures_out,
    }


def _detail(counts: Mapping[str, Any], name: str, kind: str) -> int | None:
    details = counts.get(name)
    value = details.get(kind) if isinstance(details, dict) else None
    return value if _is_count(value) else None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_TOKENS
