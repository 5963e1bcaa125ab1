"""The Gemini image API over HTTP: builds requests, streams answers into the spool, tells what they mean."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from batch.core.clock import Clock
from batch.core.errors import AttemptError
from batch.core.lane import Lane
from batch.core.model import Job
from batch.core.profiles import Endpoint
from batch.core.settings import Timeouts
from batch.providers.answers.answers import interpret_answer, lane_told, request_id_of
from batch.providers.answers.classify import classify_error
from batch.providers.answers.failed_answers import charged_error, is_web_page, web_page
from batch.providers.answers.framing import read_answer
from batch.providers.answers.told import says_it_failed
from batch.providers.base import Answer, Blob, Received, Request, Spool
from batch.providers.exchange import Exchange
from batch.providers.gemini_fields import request_fields
from batch.providers.gemini_turns import BegunTurn, begun_turn
from batch.providers.references.references import EncodedReference, ReferenceEncoder
from batch.providers.secrets import ApiKey

#: The unique name of an attempt, so that a gateway's log and ours can be laid side by side. Not an idempotency
#: key: the API has none.
ATTEMPT_HEADER: Final = "X-Client-Request-Id"
#: Bodies up to this size are joined into one piece.
_SMALL_BODY_BYTES: Final = 256 << 10
#: A flex request may be answered after 15 minutes (ai.google.dev/gemini-api/docs/flex-inference). Giving up before that
#: would leave a picture that may have been made and charged, so one is waited for a minute longer than Google's target,
#: whatever the manifest says, and some seconds more for a picture to arrive.
FLEX_READ_SECONDS: Final = 960.0
FLEX_TOTAL_SECONDS: Final = 1000.0


class GeminiProvider:
    """`generateContent` for pictures at one endpoint. Implements `providers.base.Provider`."""

    def __init__(self, endpoint: Endpoint, base_url: str, key: ApiKey, timeouts: Timeouts, clock: Clock) -> None:
        self._snake_case = endpoint.profile.snake_case_parts
        self._lanes = endpoint.lanes
        self._timeouts = {lane: _patience(timeouts, lane) for lane in Lane}
        self._clock = clock
        self._base_path = urlsplit(base_url).path.rstrip("/")
        self._references = ReferenceEncoder(endpoint.reference_limits)
        self._exchange = Exchange(endpoint, base_url, key, timeouts, clock)
        self._redactor = self._exchange.redactor

    async def aclose(self) -> None:
        await self._exchange.aclose()

    async def prepare(self, job: Job, lane: Lane = Lane.STANDARD) -> Request:
        if lane not in self._lanes:
            raise ValueError(f"this endpoint has no lane {lane}")  # our own mistake: nothing may be sent for it
        plain = build_request(job, (), snake_case=self._snake_case, lane=lane)
        if not job.references:
            return plain
        references = await self._references.encode(job.references, beside_bytes=plain.size_bytes)
        begun = await asyncio.to_thread(begun_turn, job, references)
        if begun is not None:
            references = references[1:]
        return build_request(job, references, snake_case=self._snake_case, lane=lane, begun=begun)

    async def send(self, request: Request, attempt_id: str, spool: Spool) -> Received:
        headers, timeouts = {ATTEMPT_HEADER: attempt_id}, self._timeouts[request.lane]

        def meaning(received: Received, status: int) -> AttemptError:
            return self._meaning(received, status, path=self._base_path + request.path)

        return await self._exchange.send(request, headers, spool, timeouts, meaning)

    def unpacked(self, received: Received, spool: Spool) -> Received:
        return self._exchange.unpacked(received, spool)

    def interpret(self, received: Received) -> Answer:
        try:
            return self._exchange.without_key(interpret_answer(received))
        except AttemptError as error:
            meant = self._told(received, error)
            meant.usage = meant.usage or error.usage
            meant.lane = meant.lane or error.lane or lane_told(received.headers)
            raise self._exchange.cleaned(received.judged(meant)) from None

    async def download(self, url: str, spool: Spool) -> Blob:
        return await self._exchange.download(url, spool)

    def _told(self, received: Received, error: AttemptError) -> AttemptError:
        """An answer without a picture may say what went wrong in another shape, or be a web page."""
        if error.code not in ("not_json", "no_candidates", "empty_answer", "finish_missing"):
            return error
        if error.code == "not_json" and is_web_page(received):
            return web_page(received)
        tree = read_answer(received.body)
        return charged_error(tree, received, self._meaning) if says_it_failed(tree) else error

    def _meaning(self, received: Received, status: int, *, path: str = "") -> AttemptError:
        return classify_error(
            status,
            received.headers,
            received.body,
            now=self._clock.now(),
            request_id=request_id_of(received),
            redact=self._redactor.text,
            path=path,
        )


def _patience(timeouts: Timeouts, lane: Lane) -> Timeouts:
    """How long a request in this lane is waited for."""
    if lane is not Lane.FLEX:
        return timeouts
    return replace(
        timeouts,
        read_seconds=max(timeouts.read_seconds, FLEX_READ_SECONDS),
        total_seconds=max(timeouts.total_seconds, FLEX_TOTAL_SECONDS),
    )


def build_request(
    job: Job,
    references: Sequence[EncodedReference],
    *,
    snake_case: bool,
    lane: Lane = Lane.STANDARD,
    begun: BegunTurn | None = None,
) -> Request:
    """The request of a job. Its references are separate pieces, shared with every other request that has them.

    References always travel inline: relays of the new-api kind drop `fileData` without a word. The standard lane is
    the one that is not named; others are named beside `contents`, as ai.google.dev/gemini-api/docs/flex-inference has
    it. `begun`: what the conversation that this request goes on with has so far.
    """
    data_name, mime_name = ("inline_data", "mime_type") if snake_case else ("inlineData", "mimeType")
    pieces = [b'{"contents":[']
    if begun is not None:
        pieces += begun.pieces(data_name, mime_name)
    pieces.append(b'{"role":"user","parts":[' + _json({"text": job.prompt}))
    for reference in references:
        pieces.append(f',{{"{data_name}":{{"{mime_name}":"{reference.mime}","data":"'.encode())
        pieces.append(reference.base64)
        pieces.append(b'"}}')
    fields = request_fields(job)
    if lane is not Lane.STANDARD:
        fields["service_tier"] = lane.value
    pieces.append(b"]}]," + _json(fields)[1:])
    request = Request(path=f"/v1beta/models/{job.model}:generateContent", pieces=pieces, lane=lane)
    if request.size_bytes <= _SMALL_BODY_BYTES:
        return replace(request, pieces=(b"".join(pieces),))
    return request


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
