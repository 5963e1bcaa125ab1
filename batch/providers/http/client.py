"""HTTP, and the only place that knows httpx and what carries it.

Beneath the httpx client lies a transport on aiohttp: measured, a large answer costs a fraction of the CPU of
httpx's own stack, and a cancelled request leaves no dead connection behind. Every request opens a connection of
its own: beside a request of many seconds a handshake is nothing, and "the server closed the idle connection
just as we reused it", which would leave open whether we paid, cannot happen.

Whether a request was sent is never read from an exception's name. The body is handed over piece by piece, so
we know ourselves whether the last piece was asked for: before that the server cannot have the whole request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import httpx

from batch.core.errors import ConfigError
from batch.core.proxies import DIRECT, Network
from batch.core.settings import Auth, Timeouts
from batch.providers.http.bare_client import OWN_HEADERS, Client, head_of, parse_problem
from batch.providers.http.contract import Head, PaidConsumer
from batch.providers.http.deadline import Deadline
from batch.providers.http.receiving import PIECE_BYTES, Intake, receive
from batch.providers.http.sending import CountedBody, Failure, failure_kind, meaning_of
from batch.providers.http.transport import AiohttpTransport, KeyTransport
from batch.providers.secrets import ApiKey


class PaidClient:
    """Sends paid requests to one origin, with the key put on below the client.

    The key is added by the transport, so it is in no URL, log line, exception or repr above it, and never goes
    to another origin. Redirects are not followed.
    """

    def __init__(
        self, base_url: str, *, auth: Auth, key: ApiKey, timeouts: Timeouts, network: Network = DIRECT
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._timeouts = timeouts
        if parse_problem(self.base_url) == "not a URL":
            raise ConfigError(f"the endpoint's address is not a URL: {self.base_url}")
        self._client = Client(
            transport=KeyTransport(
                AiohttpTransport(tls=network.authorities, proxy=network.proxy), self.base_url, auth, key
            ),
            follow_redirects=False,
            timeout=None,  # Deadline watches every phase and the total; httpx knows no total
        )
        self._urls: dict[str, httpx.URL] = {}  # one per model: parsing one costs more than sending to it

    async def aclose(self) -> None:
        await self._client.aclose()

    async def post(
        self,
        path: str,
        pieces: Sequence[bytes],
        headers: dict[str, str],
        begin: Callable[[Head], PaidConsumer],
        timeouts: Timeouts | None = None,
    ) -> Head:
        """Send one request and feed its answer's body to the consumer that `begin` returns for its head.

        `timeouts` take the place of the client's own for this request. Returns when the whole answer has arrived.
        Raises `NotSent`, `OutcomeUnknown` or `EndpointDown` (TLS); the consumer's own errors pass through.
        """
        body = CountedBody(pieces)
        deadline = Deadline(timeouts or self._timeouts)
        head: Head | None = None
        failure: Failure
        try:
            async with deadline, self._answer(path, body.stream(deadline), headers, body.size_bytes) as response:
                head = head_of(response)
                await receive(response, begin(head), deadline)
                return head
        except TimeoutError:
            failure = Failure("timeout", f"no answer within the time allowed ({deadline.phase})")
        except httpx.HTTPError as error:
            failure = Failure(failure_kind(error), str(error) or type(error).__name__)
        if head is not None and head.status >= 400:
            return head  # the status says enough; its body was only to explain it
        # Raised here, outside the handlers: a chained exception would keep the request alive, and with it
        # everything the lower library knows of it.
        raise meaning_of(failure, fully_sent=body.handed_over, head=head, elapsed_seconds=deadline.elapsed_seconds)

    @asynccontextmanager
    async def _answer(
        self, path: str, body: AsyncIterator[bytes], headers: dict[str, str], size_bytes: int
    ) -> AsyncIterator[httpx.Response]:
        """The request built by hand: the client's own way merges URLs and headers that are the same every time."""
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = httpx.URL(self.base_url + path)
        every = {**OWN_HEADERS, "Content-Type": "application/json", **headers, "Content-Length": str(size_bytes)}
        request = httpx.Request("POST", url, headers=every, content=body)
        response = await self._client.send(request, stream=True)
        try:
            yield response
        finally:
            await response.aclose()


def unpack_file(path: str, label: str, consumer: PaidConsumer) -> bool:
    """Move a body that was kept as it came into the consumer, as if it came again; returns whether it was packed.

    `label` is its Content-Encoding.
    """
    intake = Intake(label, consumer)
    with open(path, "rb") as file:
        while not intake.is_full and (raw := file.read(PIECE_BYTES)):
            intake.feed(raw)
    if not intake.is_full:
        intake.finish()
    return intake.is_packed
