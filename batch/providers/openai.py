"""OpenAI's images API over HTTP, and every relay that speaks it: generations, and edits where there are references."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from batch.core.clock import Clock
from batch.core.errors import AttemptError, EndpointDown
from batch.core.lane import Lane
from batch.core.model import Job
from batch.core.profiles import Endpoint
from batch.core.settings import Timeouts
from batch.providers.answers.answers import request_id_of
from batch.providers.answers.failed_answers import charged_error, is_web_page, web_page
from batch.providers.answers.framing import read_answer
from batch.providers.answers.images_answers import interpret_images
from batch.providers.answers.images_errors import images_error
from batch.providers.answers.told import says_it_failed
from batch.providers.base import Answer, Blob, Received, Request, Spool
from batch.providers.exchange import Exchange
from batch.providers.openai_request import build_request
from batch.providers.references.references import ReferenceEncoder
from batch.providers.secrets import ApiKey

#: The API keeps it beside its own request id, for questions about a request. It is no idempotency key.
ATTEMPT_HEADER: Final = "X-Client-Request-Id"
#: A step of a path that is a version: `v1`, `v3`, `v1beta`.
_VERSION: Final = re.compile(r"v\d+(?:beta|alpha)?\d*", re.IGNORECASE)


class OpenAIProvider:
    """Pictures by the images API of one endpoint. Implements `providers.base.Provider`."""

    def __init__(self, endpoint: Endpoint, base_url: str, key: ApiKey, timeouts: Timeouts, clock: Clock) -> None:
        self._clock = clock
        self._prefix = version_path(base_url)
        self._base_path = urlsplit(base_url).path.rstrip("/")
        self._references = ReferenceEncoder(endpoint.reference_limits)
        self._exchange = Exchange(endpoint, base_url, key, timeouts, clock)
        self._redactor = self._exchange.redactor

    async def aclose(self) -> None:
        await self._exchange.aclose()

    async def prepare(self, job: Job, lane: Lane = Lane.STANDARD) -> Request:
        if lane is not Lane.STANDARD:
            raise ValueError(f"this endpoint has no lane {lane}")  # our own mistake: nothing may be sent for it
        references = await self._references.encode(job.references, beside_bytes=len(job.prompt.encode()))
        return build_request(job, references, prefix=self._prefix)

    async def send(self, request: Request, attempt_id: str, spool: Spool) -> Received:
        def meaning(received: Received, status: int) -> AttemptError:
            return self._meaning(received, status, path=self._base_path + request.path)

        return await self._exchange.send(request, {ATTEMPT_HEADER: attempt_id}, spool, None, meaning)

    def unpacked(self, received: Received, spool: Spool) -> Received:
        return self._exchange.unpacked(received, spool)

    def interpret(self, received: Received) -> Answer:
        try:
            return self._exchange.without_key(interpret_images(received))
        except AttemptError as error:
            meant = self._told(received, error)
            meant.usage = meant.usage or error.usage
            raise self._exchange.cleaned(received.judged(meant)) from None

    async def download(self, url: str, spool: Spool) -> Blob:
        return await self._exchange.download(url, spool)

    def _told(self, received: Received, error: AttemptError) -> AttemptError:
        """An answer without a picture may say what went wrong, or be a web page."""
        if isinstance(error, EndpointDown):
            return error
        if error.code == "not_json" and is_web_page(received):
            return web_page(received)
        tree = read_answer(received.body)
        return charged_error(tree, received, self._meaning) if says_it_failed(tree) else error

    def _meaning(self, received: Received, status: int, *, path: str = "") -> AttemptError:
        return images_error(
            status,
            received.headers,
            received.body,
            now=self._clock.now(),
            request_id=request_id_of(received),
            redact=self._redactor.text,
            path=path,
        )


def version_path(base_url: str) -> str:
    """What stands between an address and the API's own path: `/v1`, unless the address names a version itself."""
    steps = urlsplit(base_url).path.split("/")
    return "" if any(_VERSION.fullmatch(step) for step in steps) else "/v1"
