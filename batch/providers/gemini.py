"""The Gemini image API over HTTP: builds requests, streams answers into the spool, tells what they mean."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from batch.core.clock import Clock
from batch.core.errors import AttemptError, EndpointDown, ExitCode, Kind, OutcomeUnknown, Unusable
from batch.core.lane import Lane
from batch.core.model import Job
from batch.core.profiles import Endpoint
from batch.core.settings import Timeouts
from batch.core.signatures import HEAD_BYTES, begins_as_picture
from batch.providers.addresses import safest
from batch.providers.answers.answers import interpret_answer, lane_told, request_id_of
from batch.providers.answers.classify import classify_error
from batch.providers.answers.framing import is_whole, looks_cut, read_answer
from batch.providers.answers.json_stream import REFERENCE_PREFIX, RawFile, StringSpooler
from batch.providers.answers.told import may_pass, plain_words, says_it_failed, told_status
from batch.providers.base import Answer, Blob, BlobWriter, Cut, Received, Request, Spool
from batch.providers.http.client import PaidClient, unpack_file
from batch.providers.http.contract import Head, PaidConsumer
from batch.providers.http.web_reader import DownloadClient
from batch.providers.references.references import EncodedReference, ReferenceEncoder
from batch.providers.secrets import ApiKey, Redactor

#: The unique name of an attempt, so that a gateway's log and ours can be laid side by side. Not an idempotency
#: key: the API has none.
ATTEMPT_HEADER: Final = "X-Client-Request-Id"
#: Bodies up to this size are joined into one piece.
_SMALL_BODY_BYTES: Final = 256 << 10
_NO_KEY: Final = Redactor(None)
_ERROR_BODY_BYTES: Final = 1 << 20
#: A flex request may be answered after 15 minutes (ai.google.dev/gemini-api/docs/flex-inference). Giving up before that
#: would leave a picture that may have been made and charged, so one is waited for a minute longer than Google's target,
#: whatever the manifest says, and some seconds more for a picture to arrive.
FLEX_READ_SECONDS: Final = 960.0
FLEX_TOTAL_SECONDS: Final = 1000.0


class GeminiProvider:
    """`generateContent` for pictures at one endpoint. Implements `providers.base.Provider`."""

    def __init__(self, endpoint: Endpoint, base_url: str, key: ApiKey, timeouts: Timeouts, clock: Clock) -> None:
        self._snake_case = endpoint.snake_case_parts
        self._lanes = endpoint.lanes
        self._timeouts = {lane: _patience(timeouts, lane) for lane in Lane}
        self._clock = clock
        self._base_url = base_url
        self._redactor = Redactor(key if endpoint.key_env is not None else None)
        self._references = ReferenceEncoder(endpoint.reference_limits)
        self._client = PaidClient(base_url, auth=endpoint.auth, key=key, timeouts=timeouts)
        self._downloads = DownloadClient(trusted_origin=base_url, timeouts=timeouts)

    async def aclose(self) -> None:
        await self._client.aclose()
        await self._downloads.aclose()

    async def prepare(self, job: Job, lane: Lane = Lane.STANDARD) -> Request:
        if lane not in self._lanes:
            raise ValueError(f"this endpoint has no lane {lane}")  # our own mistake: nothing may be sent for it
        plain = build_request(job, (), snake_case=self._snake_case, lane=lane)
        if not job.references:
            return plain
        references = await self._references.encode(job.references, beside_bytes=plain.size_bytes)
        return build_request(job, references, snake_case=self._snake_case, lane=lane)

    async def send(self, request: Request, attempt_id: str, spool: Spool) -> Received:
        reception = _Reception(spool, self._redactor)
        started = self._clock.monotonic()
        try:
            head = await self._client.post(
                request.path,
                request.pieces,
                {ATTEMPT_HEADER: attempt_id},
                reception.begin,
                self._timeouts[request.lane],
            )
            received = reception.finish(head, self._clock.monotonic() - started)
        except AttemptError as error:
            cut = reception.cut_short(error, self._clock.monotonic() - started)
            if cut is None:
                raise self._cleaned(error) from None
            received = cut
        finally:
            reception.close()
        if not 200 <= received.status < 300 or (received.status != 200 and not received.body.strip()):
            raise self._meaning(received, received.status)
        spool.seal(received)
        return received

    def unpacked(self, received: Received, spool: Spool) -> Received:
        """A kept answer whose body could not be unpacked, tried again; what is in it goes to `spool`."""
        if received.flaw is None or not received.blobs:
            return received
        answer = _GoodAnswer(spool, self._redactor)
        try:
            was_packed = unpack_file(received.blobs[-1].file, received.headers.get("content-encoding", ""), answer)
            body, blobs, flaw = answer.finish()
        finally:
            answer.close()
        if flaw is not None or not was_packed:
            return received
        return replace(received, body=body, blobs=blobs, flaw=None)

    def interpret(self, received: Received) -> Answer:
        try:
            return self._without_key(interpret_answer(received))
        except AttemptError as error:
            meant = self._told(received, error)
            meant.usage = meant.usage or error.usage
            meant.lane = meant.lane or error.lane or lane_told(received.headers)
            raise self._cleaned(received.judged(meant)) from None

    def _without_key(self, answer: Answer) -> Answer:
        """The texts of an answer, once more now that they are read: an escape within an escape shows only here."""
        return replace(
            answer,
            caption=None if answer.caption is None else self._redactor.text(answer.caption),
            request_id=None if answer.request_id is None else self._redactor.text(answer.request_id),
            warnings=tuple(map(self._redactor.text, answer.warnings)),
            otherwise=None if answer.otherwise is None else self._cleaned(answer.otherwise),
        )

    def _cleaned(self, error: AttemptError) -> AttemptError:
        error.message = self._redactor.text(error.message)
        error.args = (error.message,)
        error.code = self._redactor.text(error.code)
        if error.request_id is not None:
            error.request_id = self._redactor.text(error.request_id)
        return error

    async def download(self, url: str, spool: Spool) -> Blob:
        writer = spool.new_blob()
        sink = _Count(writer)
        try:
            await self._downloads.get(safest(url, self._base_url), sink)
        finally:
            writer.close()
        return Blob(file=writer.file, size_bytes=sink.size_bytes)

    def _told(self, received: Received, error: AttemptError) -> AttemptError:
        """An answer without a picture may say what went wrong in another shape, or be a web page."""
        if error.code not in ("not_json", "no_candidates", "empty_answer", "finish_missing"):
            return error
        if error.code == "not_json" and is_web_page(received):
            return EndpointDown(
                "html_answer",
                "the endpoint answered with a web page; base_url does not point at the API. "
                f"It says: {plain_words(received.body.decode('utf-8', 'replace'))[:200] or 'nothing'}",
                exit_code=ExitCode.PROTOCOL,
                http_status=received.status,
            )
        tree = read_answer(received.body)
        return self._charged_error(tree, received) if says_it_failed(tree) else error

    def _charged_error(self, tree: Any, received: Received) -> AttemptError:
        """An error inside a 200: what it says decides what stops the run; otherwise it counts as charged.

        Whether it was is unknown, for a 200 is charged by most relays whatever it holds. It is asked again once, and
        only if the server's words say that this may help.
        """
        status = told_status(tree)
        meant = self._meaning(received, status or received.status)
        if isinstance(meant, EndpointDown):
            return meant
        retries = 1 if status in (408, 409, 429) or (status or 0) >= 500 or may_pass(meant.message) else 0
        return Unusable(
            "error_in_answer",
            f"{received.status} with an error inside: {meant.message}",
            kind=Kind.UNREADABLE,
            retries=retries,
            http_status=received.status,
            request_id=meant.request_id,
        )

    def _meaning(self, received: Received, status: int) -> AttemptError:
        return classify_error(
            status,
            received.headers,
            received.body,
            now=self._clock.now(),
            request_id=request_id_of(received),
            redact=self._redactor.text,
        )


class _Reception:
    """One answer on its way in: a good one is decoded into the spool, of anything else the beginning is kept."""

    def __init__(self, spool: Spool, redactor: Redactor) -> None:
        self._spool = spool
        self._redactor = redactor
        self._head: Head | None = None
        self._answer: _GoodAnswer | None = None
        self._plain = _Plain()

    def begin(self, head: Head) -> PaidConsumer:
        self._head = head
        if not 200 <= head.status < 300:
            return self._plain
        self._answer = _GoodAnswer(self._spool, self._redactor)
        return self._answer

    def finish(self, head: Head, seconds: float, broke_off: AttemptError | None = None) -> Received:
        if self._answer is not None:
            body, blobs, flaw = self._answer.finish(is_cut=broke_off is not None)
        else:
            body, blobs, flaw = self._redactor.data(bytes(self._plain.body)), (), None
        return Received(
            status=head.status,
            headers={name: self._redactor.text(value) for name, value in head.headers.items()},
            body=body,
            blobs=blobs,
            seconds=seconds,
            flaw=flaw,
            cut=self._cut(head, body, broke_off),
        )

    def cut_short(self, error: AttemptError, seconds: float) -> Received | None:
        """What came of a good answer that broke off, if any of it did."""
        if self._head is None or self._answer is None or not isinstance(error, OutcomeUnknown):
            return None
        received = self.finish(self._head, seconds, error)
        return received if received.body.strip() or received.blobs else None

    def _cut(self, head: Head, body: bytes, broke_off: AttemptError | None) -> Cut | None:
        """How the answer broke off, unless its JSON is whole all the same."""
        if self._answer is None:
            return None
        if broke_off is not None and (self._answer.is_picture or not is_whole(body)):
            return Cut(code=broke_off.code, message=self._redactor.text(broke_off.message))
        if not head.tells_end and (self._answer.is_picture or looks_cut(body)):
            return Cut(code="cut", message="sent, but no whole answer came: the connection ended in the middle of it")
        return None

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()


class _GoodAnswer:
    """The body of an answer 2xx. One that cannot be unpacked, or is a picture, is kept in a file of its own."""

    def __init__(self, spool: Spool, redactor: Redactor) -> None:
        self._spool = spool
        self._redactor = redactor = redactor.of_one_answer()
        self._strings = StringSpooler(spool.new_blob, redactor=redactor)
        self._packed: RawFile | None = None
        self._picture: RawFile | None = None
        self._has_begun = False
        self._flaw: str | None = None

    @property
    def is_picture(self) -> bool:
        """Whether the body is no JSON but the picture itself. Only its own structure then says whether it is whole."""
        return self._picture is not None

    @property
    def looks_whole(self) -> bool:
        return self.is_picture or self._strings.looks_whole

    def feed(self, chunk: bytes) -> None:
        if self._picture is None and not self._has_begun and begins_as_picture(chunk[:HEAD_BYTES]):
            self._picture = RawFile(self._spool.new_blob(), _NO_KEY)  # no mask may touch a picture
        self._has_begun = True
        (self._picture or self._strings).feed(chunk)

    def keep_packed(self, raw: bytes) -> None:
        if self._packed is None:
            self._packed = RawFile(self._spool.new_blob(), self._redactor)
        self._packed.feed(raw)

    def give_up(self, flaw: str) -> None:
        self._flaw = f"what cannot be read: {flaw}"

    def finish(self, *, is_cut: bool = False) -> tuple[bytes, tuple[Blob, ...], str | None]:
        body, blobs = self._strings.finish()
        if self._picture is not None:
            body, blobs = f'"{REFERENCE_PREFIX}0"'.encode(), (replace(self._picture.finish(), is_base64=True),)
        if self._packed is not None and ((self._flaw is None and not is_cut) or self._redactor.has_found):
            self._packed.discard()  # all of it was unpacked, or what it holds beside that may be the key
        elif self._packed is not None:
            blobs = (*blobs, self._packed.finish())
            if not body and self._flaw is not None:
                body = f'"{REFERENCE_PREFIX}{len(blobs) - 1}"'.encode()
        return body, blobs, self._flaw or self._strings.flaw

    def close(self) -> None:
        self._strings.close()
        for file in (self._packed, self._picture):
            if file is not None:
                file.close()


class _Plain:
    """Keeps the first megabyte of an error's body."""

    def __init__(self) -> None:
        self.body = bytearray()

    looks_whole = True

    def feed(self, chunk: bytes) -> None:
        self.body += chunk[: _ERROR_BODY_BYTES - len(self.body)]

    def keep_packed(self, raw: bytes) -> None: ...

    def give_up(self, flaw: str) -> None: ...


class _Count:
    """Writes a download into its file and counts it."""

    def __init__(self, writer: BlobWriter) -> None:
        self._writer = writer
        self.size_bytes = 0

    def feed(self, chunk: bytes) -> None:
        self._writer.write(chunk)
        self.size_bytes += len(chunk)


def is_web_page(received: Received) -> bool:
    """Whether a body that is no JSON is a page for people. A page labelled as JSON came from the API's own place."""
    labelled = "json" in received.headers.get("content-type", "").lower()
    return not labelled and received.body.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<"


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
    job: Job, references: Sequence[EncodedReference], *, snake_case: bool, lane: Lane = Lane.STANDARD
) -> Request:
    """The request of a job. Its references are separate pieces, shared with every other request that has them.

    References always travel inline: relays of the new-api kind drop `fileData` without a word. The standard lane is
    the one that is not named; others are named beside `contents`, as ai.google.dev/gemini-api/docs/flex-inference has
    it.
    """
    data_name, mime_name = ("inline_data", "mime_type") if snake_case else ("inlineData", "mimeType")
    pieces = [b'{"contents":[{"role":"user","parts":[' + _json({"text": job.prompt})]
    for reference in references:
        pieces.append(f',{{"{data_name}":{{"{mime_name}":"{reference.mime}","data":"'.encode())
        pieces.append(reference.base64)
        pieces.append(b'"}}')
    tier = b"" if lane is Lane.STANDARD else b',"service_tier":' + _json(lane.value)
    pieces.append(b']}],"generationConfig":' + _json(_generation_config(job)) + tier + b"}")
    request = Request(path=f"/v1beta/models/{job.model}:generateContent", pieces=pieces, lane=lane)
    if request.size_bytes <= _SMALL_BODY_BYTES:
        return replace(request, pieces=(b"".join(pieces),))
    return request


def _generation_config(job: Job) -> dict[str, Any]:
    image: dict[str, str] = {}
    if job.aspect_ratio is not None:
        image["aspectRatio"] = job.aspect_ratio
    image["imageSize"] = job.image_size
    return {"responseModalities": list(job.modalities), "imageConfig": image}


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
