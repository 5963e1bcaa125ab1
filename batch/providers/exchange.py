"""One HTTP exchange with an API that answers in JSON: sent once, the answer kept whole, the key out of all of it.

What every provider needs and none should write again: whether a request was sent, long strings of an answer decoded
into the spool, answers that break off, compressed ones, pictures at addresses. What requests and answers mean is the
provider's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from batch.core.clock import Clock
from batch.core.errors import AttemptError, OutcomeUnknown
from batch.core.grounding import Grounding
from batch.core.profiles import Endpoint
from batch.core.settings import Timeouts
from batch.core.signatures import HEAD_BYTES, begins_as_picture
from batch.providers.addresses import safest
from batch.providers.answers.framing import is_whole, looks_cut
from batch.providers.answers.json_stream import REFERENCE_PREFIX, RawFile, StringSpooler
from batch.providers.base import Answer, Blob, BlobWriter, Cut, Received, Request, Spool
from batch.providers.http.client import PaidClient, unpack_file
from batch.providers.http.contract import Head, PaidConsumer
from batch.providers.http.web_reader import DownloadClient
from batch.providers.secrets import ApiKey, Redactor

_NO_KEY: Final = Redactor(None)
_ERROR_BODY_BYTES: Final = 1 << 20

#: What an answer that is no 2xx means, given it and its status.
Meaning: TypeAlias = Callable[[Received, int], AttemptError]


class Exchange:
    """The HTTP side of a provider at one endpoint. `redactor` masks its key."""

    def __init__(self, endpoint: Endpoint, base_url: str, key: ApiKey, timeouts: Timeouts, clock: Clock) -> None:
        self._clock = clock
        self._base_url = base_url
        self.redactor = Redactor(key if endpoint.key_env is not None else None)
        self._client = PaidClient(base_url, auth=endpoint.auth, key=key, timeouts=timeouts, network=endpoint.network)
        self._downloads = DownloadClient(trusted_origin=base_url, timeouts=timeouts, network=endpoint.network)

    async def aclose(self) -> None:
        await self._client.aclose()
        await self._downloads.aclose()

    async def send(
        self,
        request: Request,
        headers: Mapping[str, str],
        spool: Spool,
        timeouts: Timeouts | None,
        meaning: Meaning,
    ) -> Received:
        """POST it once; returns a 2xx with a body, sealed in `spool`, also one that broke off.

        Raises `AttemptError`: what `meaning` says of any other answer, and `NotSent` or `OutcomeUnknown` if none came.
        """
        reception = _Reception(spool, self.redactor)
        started = self._clock.monotonic()
        every = {**headers, "Content-Type": request.content_type}
        try:
            head = await self._client.post(request.path, request.pieces, every, reception.begin, timeouts)
            received = reception.finish(head, self._clock.monotonic() - started)
        except AttemptError as error:
            cut = reception.cut_short(error, self._clock.monotonic() - started)
            if cut is None:
                raise self.cleaned(error) from None
            received = cut
        finally:
            reception.close()
        if not 200 <= received.status < 300 or (received.status != 200 and not received.body.strip()):
            raise self.cleaned(meaning(received, received.status))
        spool.seal(received)
        return received

    def unpacked(self, received: Received, spool: Spool) -> Received:
        """A kept answer whose body could not be unpacked, tried again; what is in it goes to `spool`."""
        if received.flaw is None or not received.blobs:
            return received
        answer = _GoodAnswer(spool, self.redactor)
        try:
            was_packed = unpack_file(received.blobs[-1].file, received.headers.get("content-encoding", ""), answer)
            body, blobs, flaw = answer.finish()
        finally:
            answer.close()
        if flaw is not None or not was_packed:
            return received
        return replace(received, body=body, blobs=blobs, flaw=None)

    def cleaned(self, error: AttemptError) -> AttemptError:
        """The error without the key in any of its words."""
        error.message = self.redactor.text(error.message)
        error.args = (error.message,)
        error.code = self.redactor.text(error.code)
        if error.request_id is not None:
            error.request_id = self.redactor.text(error.request_id)
        return error

    def without_key(self, answer: Answer) -> Answer:
        """The texts of an answer, once more now that they are read: an escape within an escape shows only here."""
        text = self.redactor.text
        return replace(
            answer,
            caption=None if answer.caption is None else text(answer.caption),
            request_id=None if answer.request_id is None else text(answer.request_id),
            warnings=tuple(map(text, answer.warnings)),
            grounding=None if answer.grounding is None else self._redacted(answer.grounding),
            otherwise=None if answer.otherwise is None else self.cleaned(answer.otherwise),
        )

    def _redacted(self, grounding: Grounding) -> Grounding:
        text = self.redactor.text
        sources = [replace(each, title=text(each.title), uri=text(each.uri)) for each in grounding.sources]
        return Grounding(queries=tuple(map(text, grounding.queries)), sources=tuple(sources))

    async def download(self, url: str, spool: Spool) -> Blob:
        """Fetch a picture, without the key. Raises `Undelivered` or `Unusable`."""
        writer = spool.new_blob()
        sink = _Count(writer)
        try:
            await self._downloads.get(safest(url, self._base_url), sink)
        finally:
            writer.close()
        return Blob(file=writer.file, size_bytes=sink.size_bytes)


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
