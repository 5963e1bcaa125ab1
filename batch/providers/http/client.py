"""HTTP, and the only place that knows httpx and what carries it.

Beneath the httpx client lies a transport on aiohttp: measured, a large answer costs a fraction of the CPU of
httpx's own stack, and a cancelled request leaves no dead connection behind. Every request opens a connection of
its own: beside a request of many seconds a handshake is nothing, and "the server closed the idle connection
just as we reused it", which would leave open whether we paid, cannot happen.

Whether a request was sent is never read from an exception's name. The body is handed over piece by piece, so
we know ourselves whether the last piece was asked for: before that the server cannot have the whole request.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urljoin, urlsplit

import aiohttp
import httpx
import yarl
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from batch.core.errors import AttemptError, ConfigError, EndpointDown, NotSent, OutcomeUnknown, Undelivered, Unusable
from batch.core.settings import Auth, Timeouts
from batch.providers.addresses import host_may_be_public, is_public_address, origin, url_problem
from batch.providers.http.heads import ANNOUNCED, MAX_HEAD_BYTES, OddHead, mended
from batch.providers.http.unpacking import CannotUnpack, Unpacker
from batch.providers.secrets import ApiKey

#: What an answer may measure in all, after inflating. A 4K picture is 24 MB; some answers bring a second one.
MAX_BODY_BYTES: Final = 64 << 20
#: Links to a picture are often sent on once, to a storage service.
_REDIRECTS: Final = 3
#: Picture hosts send AVIF unless the client asks for something else.
_ACCEPT: Final = "image/png, image/jpeg, image/webp, */*;q=0.5"
_OWN_HEADERS: Final = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "imagebatch"}
_PIECE_BYTES: Final = 64 << 10
#: How long a body is waited for that is not whole at its announced length.
_LATE_SECONDS: Final = 5.0
#: An answer may take a quarter of an hour, and routers forget connections on which nothing moves for some minutes: a
#: cut would leave open whether the picture was paid. So the kernel asks now and then whether the other end is there.
_KEEPALIVE_SECONDS: Final = 45


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Status and headers (lower-case names) of an answer that has begun to arrive.

    `tells_end`: its body has a length or comes in chunks. Otherwise the end of the connection is its end, and one that
    was cut looks like any other.
    """

    status: int
    headers: dict[str, str]
    tells_end: bool = True


class Consumer(Protocol):
    """Takes an answer's body as it arrives."""

    def feed(self, chunk: bytes) -> None: ...


class PaidConsumer(Consumer, Protocol):
    """Takes the body of an answer that may have been paid for: nothing of it is thrown away."""

    @property
    def looks_whole(self) -> bool:
        """Whether what came so far may be all."""
        ...

    def keep_packed(self, raw: bytes) -> None:
        """Take the bytes of a compressed body as they came, too."""
        ...

    def give_up(self, flaw: str) -> None:
        """Know that the rest cannot be read, and why."""
        ...


class BodyTooLarge(Exception):
    """The answer passed the size it may have."""


class PaidClient:
    """Sends paid requests to one origin, with the key put on below the client.

    The key is added by the transport, so it is in no URL, log line, exception or repr above it, and never goes
    to another origin. Redirects are not followed.
    """

    def __init__(self, base_url: str, *, auth: Auth, key: ApiKey, timeouts: Timeouts) -> None:
        self.base_url = base_url.rstrip("/")
        self._timeouts = timeouts
        if _parse_problem(self.base_url) == "not a URL":
            raise ConfigError(f"the endpoint's address is not a URL: {self.base_url}")
        self._client = _Client(
            transport=_KeyTransport(_AiohttpTransport(), self.base_url, auth, key),
            follow_redirects=False,
            timeout=None,  # _Deadline watches every phase and the total; httpx knows no total
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
        body = _CountedBody(pieces)
        deadline = _Deadline(timeouts or self._timeouts)
        head: Head | None = None
        failure: _Failure
        try:
            async with deadline, self._answer(path, body.stream(deadline), headers, body.size_bytes) as response:
                head = _head(response)
                await _receive(response, begin(head), deadline)
                return head
        except TimeoutError:
            failure = _Failure("timeout", f"no answer within the time allowed ({deadline.phase})")
        except httpx.HTTPError as error:
            failure = _Failure(_kind(error), str(error) or type(error).__name__)
        if head is not None and head.status >= 400:
            return head  # the status says enough; its body was only to explain it
        # Raised here, outside the handlers: a chained exception would keep the request alive, and with it
        # everything the lower library knows of it.
        raise _meaning(failure, fully_sent=body.handed_over, head=head, elapsed_seconds=deadline.elapsed_seconds)

    @asynccontextmanager
    async def _answer(
        self, path: str, body: AsyncIterator[bytes], headers: dict[str, str], size_bytes: int
    ) -> AsyncIterator[httpx.Response]:
        """The request built by hand: the client's own way merges URLs and headers that are the same every time."""
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = httpx.URL(self.base_url + path)
        every = {"Content-Type": "application/json", "Content-Length": str(size_bytes)}
        request = httpx.Request("POST", url, headers={**_OWN_HEADERS, **headers, **every}, content=body)
        response = await self._client.send(request, stream=True)
        try:
            yield response
        finally:
            await response.aclose()


class FetchFailed(Exception):  # its text follows a host's name, or "it" in a sentence
    """A web address could not be read; the text names nothing of the address itself, which may be a secret.

    `code`: `unsafe` (not opened), `gone`, `too_large`, `tls` or `failed`. `may_work_later` as far as can be told.
    `host` is where it ended, `status` what was answered there, if anything was.
    """

    def __init__(
        self, code: str, text: str, *, host: str | None, may_work_later: bool = False, status: int | None = None
    ) -> None:
        super().__init__(text)
        self.code = code
        self.host = host
        self.may_work_later = may_work_later
        self.status = status


class WebReader:
    """Reads what a stranger's URL leads to: https and public hosts only, without key, cookies or proxy.

    A few redirects are followed, each checked like the first address. `may_open` says what else stands against an
    address, or None. `trusted_origin` (scheme, host, port) is read from as it is, so that a gateway on loopback can
    serve its own pictures. `resolver` and `tls` are for tests.
    """

    def __init__(
        self,
        *,
        timeouts: Timeouts,
        most_bytes: int = MAX_BODY_BYTES,
        trusted_origin: str | None = None,
        may_open: Callable[[str], str | None] = lambda _: None,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._trusted_origin = None if trusted_origin is None else origin(trusted_origin)
        self._timeouts = timeouts
        self._most_bytes = most_bytes
        self._may_open = may_open
        options: dict[str, Any] = {
            "follow_redirects": False,
            "timeout": None,
            "headers": {**_OWN_HEADERS, "Accept": _ACCEPT},
        }
        self._trusted = _Client(transport=_AiohttpTransport(), **options)
        self._public = _Client(transport=_AiohttpTransport(resolver or PublicResolver(), tls), **options)

    async def aclose(self) -> None:
        await self._trusted.aclose()
        await self._public.aclose()

    async def get(self, url: str, consumer: Consumer, headers: Mapping[str, str] | None = None) -> Head:
        """Stream what is there into `consumer`. An answer 304, to conditional `headers`, has no body.

        Raises `FetchFailed`.
        """
        place = url
        for _ in range(_REDIRECTS + 1):
            found = await self._fetch(place, consumer, headers or {})
            if isinstance(found, Head):
                return found
            place = found
        raise FetchFailed("gone", "is redirected again and again", host=urlsplit(url).hostname)

    async def _fetch(self, url: str, consumer: Consumer, headers: Mapping[str, str]) -> Head | str:
        """One request; the address it is redirected to, if it is."""
        client = self.client_for(url)
        host = urlsplit(url).hostname
        deadline = _Deadline(self._timeouts)
        code = "failed"
        try:
            async with deadline, client.stream("GET", url, headers=headers) as response:
                if response.status_code in (301, 302, 303, 307, 308) and "location" in response.headers:
                    return urljoin(url, response.headers["location"])
                if response.status_code != 200 and not (response.status_code == 304 and headers):
                    raise _not_there(response.status_code, host)
                await _pump(response, consumer, deadline, self._most_bytes)
                return _head(response)
        except TimeoutError:
            reason = "no answer in time"
        except _NotPublic:
            raise FetchFailed("unsafe", "not a public host", host=host) from None
        except BodyTooLarge as error:
            raise FetchFailed("too_large", f"is no picture: {error}", host=host) from None
        except (httpx.HTTPError, CannotUnpack) as error:
            reason = str(error) or type(error).__name__
            code = "tls" if isinstance(error, _TlsRefused) else code
        raise FetchFailed(code, f"could not be read: {reason}", host=host, may_work_later=True)

    def client_for(self, url: str) -> httpx.AsyncClient:
        """The client that may open an address. Raises `FetchFailed` if none may."""
        problem = url_problem(url) or _parse_problem(url)
        if problem is None and origin(url) == self._trusted_origin:
            return self._trusted
        if problem is None and urlsplit(url).scheme != "https":
            problem = "not https"
        if problem is None and not host_may_be_public(urlsplit(url).hostname or ""):
            problem = "not a public host"
        problem = problem or self._may_open(url)
        if problem is not None:
            raise FetchFailed("unsafe", problem, host=None)
        return self._public


def _not_there(status: int, host: str | None) -> FetchFailed:
    """A link that is gone stays gone; anything else may work later."""
    is_gone = 400 <= status < 500 and status not in (408, 425, 429)
    code = "gone" if is_gone else "failed"
    return FetchFailed(code, f"answered {status}", host=host, may_work_later=not is_gone, status=status)


class DownloadClient:
    """Fetches pictures that an answer names by URL. Such a picture is paid for, whatever becomes of the download."""

    def __init__(self, *, trusted_origin: str, timeouts: Timeouts) -> None:
        self._reader = WebReader(trusted_origin=trusted_origin, timeouts=timeouts)

    async def aclose(self) -> None:
        await self._reader.aclose()

    async def get(self, url: str, consumer: Consumer) -> None:
        """Stream the picture into `consumer`.

        Raises `Undelivered` if it may work later and `Unusable` if it never will; their text names only the host.
        """
        try:
            await self._reader.get(url, consumer)
        except FetchFailed as error:
            failure = error
        else:
            return
        raise _paid_for(failure)  # outside the handler, for the same reason as in `PaidClient.post`


def _paid_for(failure: FetchFailed) -> Undelivered | Unusable:
    if failure.may_work_later:
        return Undelivered("download_failed", f"the picture's URL at {failure.host} {failure}")
    if failure.code == "unsafe":
        message = f"the picture came as a URL that is not safe to open: {failure}"
        return Unusable("download_refused", message, retries=0)
    return Unusable("download_gone", f"the picture's URL at {failure.host} {failure}", retries=0)


def _parse_problem(url: str) -> str | None:
    """Why the HTTP library would refuse a URL, or read it differently than the checks did."""
    try:
        parsed = httpx.URL(url)
        readable = parsed.host  # httpx looks at it, and fails for a name that is no valid international one
    except (httpx.InvalidURL, ValueError):
        return "not a URL"
    as_checked = urlsplit(url).hostname
    return None if as_checked in (readable, parsed.raw_host.decode("ascii")) else "an odd host name"


def _head(response: httpx.Response) -> Head:
    return Head(
        status=response.status_code,
        headers={name.lower(): value for name, value in response.headers.multi_items() if name.lower() != ANNOUNCED},
        tells_end=ANNOUNCED in response.headers or "transfer-encoding" in response.headers,
    )


def unpack_file(path: str, label: str, consumer: PaidConsumer) -> bool:
    """Move a body that was kept as it came into the consumer, as if it came again; returns whether it was packed.

    `label` is its Content-Encoding.
    """
    intake = _Intake(label, consumer)
    with open(path, "rb") as file:
        while not intake.is_full and (raw := file.read(_PIECE_BYTES)):
            intake.feed(raw)
    if not intake.is_full:
        intake.finish()
    return intake.is_packed


async def _receive(response: httpx.Response, consumer: PaidConsumer, deadline: _Deadline) -> None:
    """Move the body of a paid answer into the consumer. What cannot be unpacked, or is too large, it keeps as it is."""
    intake = _Intake(response.headers.get("content-encoding", ""), consumer)
    async for raw in _raw_pieces(response, deadline, lambda: intake.flawed or consumer.looks_whole):
        intake.feed(raw)
        if intake.is_full:
            return
    intake.finish()


class _Intake:
    """Hands a body on unpacked, and as it came beside that if it was packed; counts both."""

    def __init__(self, label: str, consumer: PaidConsumer) -> None:
        self._unpacker = Unpacker(label)
        self._consumer = consumer
        self._begin = b""  # of a body of which it cannot be told yet whether it is packed
        self._raw_bytes = self._unpacked_bytes = 0
        self.flawed = self.is_full = False

    def feed(self, raw: bytes) -> None:
        self._raw_bytes += len(raw)
        self._begin += raw
        if not self.flawed:
            self._try_to_pass_on(self._unpacker.feed(raw))
        self._keep_packed()
        if self._raw_bytes > MAX_BODY_BYTES and not self.is_full:
            self._give_up(f"it has more than {MAX_BODY_BYTES} bytes")
            self.is_full = True

    def finish(self) -> None:
        if not self.flawed:
            self._try_to_pass_on(self._unpacker.finish())
        self._keep_packed()

    def _try_to_pass_on(self, chunks: Iterable[bytes]) -> None:
        try:
            for chunk in chunks:
                self._unpacked_bytes += len(chunk)
                if self._unpacked_bytes > MAX_BODY_BYTES:
                    self.is_full = True
                    self._give_up(f"it has more than {MAX_BODY_BYTES} bytes")
                    return
                self._consumer.feed(chunk)
        except CannotUnpack as error:
            self._give_up(str(error))

    def _give_up(self, flaw: str) -> None:
        self.flawed = True
        self._consumer.give_up(flaw)

    @property
    def is_packed(self) -> bool:
        return self._unpacker.is_packed is True

    def _keep_packed(self) -> None:
        if self._unpacker.is_packed:
            self._consumer.keep_packed(self._begin)
        if self._unpacker.is_packed is not None:
            self._begin = b""


async def _pump(response: httpx.Response, consumer: Consumer, deadline: _Deadline, limit_bytes: int) -> None:
    """Move a picture's body from the connection into the consumer, unpacked."""
    unpacker = Unpacker(response.headers.get("content-encoding", ""))
    total = 0
    announced = _announced(response)
    if announced is not None and announced > limit_bytes:
        raise BodyTooLarge(f"the answer announces {announced} bytes; at most {limit_bytes} are taken")
    async for raw in _raw_pieces(response, deadline, lambda: True):
        for chunk in unpacker.feed(raw):
            total += len(chunk)
            if total > limit_bytes:
                raise BodyTooLarge(f"the answer is larger than {limit_bytes} bytes")
            consumer.feed(chunk)
    for chunk in unpacker.finish():
        consumer.feed(chunk)


async def _raw_pieces(
    response: httpx.Response, deadline: _Deadline, looks_whole: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """The body as it comes, to its announced length or to the end of the connection.

    One that goes on behind its length is read on until it looks whole: the length may have been counted before a proxy
    unpacked the body, or in characters.
    """
    announced = _announced(response)
    total = 0
    deadline.enter("receiving")
    if announced == 0:
        return
    pieces = response.aiter_raw()
    while True:
        is_over = announced is not None and total >= announced
        if is_over and looks_whole():
            return
        raw = await (_late_piece(pieces) if is_over else anext(pieces, None))
        if raw is None:
            break
        deadline.enter("receiving")
        left = len(raw) if announced is None or is_over else announced - total
        total += len(raw)
        yield raw[:left]
        if left < len(raw) and not looks_whole():
            yield raw[left:]
    if announced is not None and total < announced:
        raise httpx.TransportError("the answer ended before its end")


async def _late_piece(pieces: AsyncIterator[bytes]) -> bytes | None:
    try:
        async with asyncio.timeout(_LATE_SECONDS):
            return await anext(pieces, None)
    except TimeoutError:
        return None


def _announced(response: httpx.Response) -> int | None:
    told = response.headers.get(ANNOUNCED, "")
    return int(told) if told.isdecimal() else None


class _CountedBody:
    """A request body that knows whether its last piece was asked for."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self.size_bytes = sum(len(piece) for piece in pieces)
        #: True from the moment before the last bytes leave our hands.
        self.handed_over = False

    async def stream(self, deadline: _Deadline) -> AsyncIterator[bytes]:
        left = self.size_bytes
        for piece in self._pieces:
            for start in range(0, len(piece), _PIECE_BYTES):
                part = piece[start : start + _PIECE_BYTES]
                left -= len(part)
                if left == 0:
                    self.handed_over = True
                deadline.enter("waiting" if left == 0 else "sending")
                yield part


class _Deadline:
    """One timer for an attempt: every phase has its time, and all of them together.

    Each call of `enter` gives the phase its full time again (so a phase is "no progress for so long"), but
    never beyond the total. Raises `TimeoutError` at the end of the `async with`.
    """

    #: The timer is moved only if that gains more than this, for moving it costs more than reading the clock.
    _GRAIN_SECONDS = 1.0
    _GRAIN_SHARE = 0.1

    def __init__(self, timeouts: Timeouts) -> None:
        self.phase = "connecting"
        self._seconds = {
            "connecting": timeouts.connect_seconds,
            "sending": timeouts.write_seconds,
            "waiting": timeouts.read_seconds,
            "receiving": timeouts.read_seconds,
        }
        self._total_seconds = timeouts.total_seconds
        self._timer = asyncio.timeout(None)
        self._started = 0.0

    @property
    def elapsed_seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._started

    def enter(self, phase: str) -> None:
        self.phase = phase
        now = asyncio.get_running_loop().time()
        seconds = self._seconds[phase]
        when = min(now + seconds, self._started + self._total_seconds)
        current = self._timer.when()
        grain = min(self._GRAIN_SECONDS, seconds * self._GRAIN_SHARE)
        worth_moving = current is None or when < current or when - current > grain
        if worth_moving and not self._timer.expired():
            self._timer.reschedule(when)

    async def __aenter__(self) -> None:
        self._started = asyncio.get_running_loop().time()
        await self._timer.__aenter__()
        self.enter("connecting")

    async def __aexit__(self, *exc_info: Any) -> None:
        await self._timer.__aexit__(*exc_info)


@dataclass(frozen=True, slots=True)
class _Failure:
    kind: str
    text: str


def _kind(error: httpx.HTTPError) -> str:
    if isinstance(error, _TlsRefused):
        return "tls"
    return "connection"


def _meaning(failure: _Failure, *, fully_sent: bool, head: Head | None, elapsed_seconds: float) -> AttemptError:
    """What a broken exchange means for the money: the one question is whether the whole request was out."""
    if failure.kind == "tls":
        return EndpointDown("tls", f"the endpoint's certificate was refused: {failure.text}")
    if not fully_sent and head is None:
        return NotSent(f"not_sent_{failure.kind}", f"the request did not leave: {failure.text}")
    return OutcomeUnknown(
        {"timeout": "timeout", "bad_body": "bad_body"}.get(failure.kind, "cut" if head else "no_answer"),
        f"sent, but no whole answer came: {failure.text}",
        elapsed_seconds=elapsed_seconds,
        http_status=head.status if head is not None else None,
    )


class _NotPublic(httpx.ConnectError):
    """A name from outside leads to an address that is not on the public internet."""


class _TlsRefused(httpx.ConnectError):
    """The peer's certificate does not belong to the host we meant."""


class _NoCookies(httpx.Cookies):
    """A cookie would tie later requests to earlier ones; looking for one costs as much as the rest of the client."""

    def extract_cookies(self, response: httpx.Response) -> None: ...

    def set_cookie_header(self, request: httpx.Request) -> None: ...


class _Client(httpx.AsyncClient):
    """httpx's client without a memory."""

    @property
    def cookies(self) -> httpx.Cookies:
        return _NO_COOKIES

    @cookies.setter
    def cookies(self, cookies: object) -> None: ...


_NO_COOKIES: Final = _NoCookies()


def _kept_alive(address: tuple[Any, ...]) -> socket.socket:
    """A socket for an address as `getaddrinfo` has it, whose connection is kept alive while nothing moves on it."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
        if hasattr(socket, option):  # not everywhere
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), _KEEPALIVE_SECONDS)
    return made


class _KeyTransport(httpx.AsyncBaseTransport):
    """Puts the key on requests to the configured origin, in a copy that nobody above ever sees."""

    def __init__(self, inner: httpx.AsyncBaseTransport, base_url: str, auth: Auth, key: ApiKey) -> None:
        self._inner = inner
        self._origin = origin(str(httpx.URL(base_url)))  # as httpx spells it: a host may be international
        self._auth = auth
        self._key = key
        self._signed: dict[str, httpx.URL] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if origin(str(request.url)) != self._origin:
            raise httpx.UnsupportedProtocol("the key goes to the configured endpoint only")
        url, headers = request.url, request.headers.copy()
        if self._auth is Auth.QUERY:
            url = self._with_key(url)
        elif self._auth is Auth.HEADER:
            headers["x-goog-api-key"] = self._key.reveal()
        else:
            headers["Authorization"] = f"Bearer {self._key.reveal()}"
        signed = httpx.Request(
            request.method, url, headers=headers, stream=request.stream, extensions=request.extensions
        )
        return await self._inner.handle_async_request(signed)

    def _with_key(self, url: httpx.URL) -> httpx.URL:
        found = self._signed.get(str(url))
        if found is None:
            found = self._signed[str(url)] = url.copy_merge_params({"key": self._key.reveal()})
        return found

    async def aclose(self) -> None:
        await self._inner.aclose()


class _MendingProtocol(ResponseHandler):
    """aiohttp's reader of answers, which is given their heads in good order."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._unread: bytes | None = b""

    def data_received(self, data: bytes) -> None:
        if self._unread is None or not data:
            super().data_received(data)
            return
        self._unread += data
        self._pass_on(at_end=False)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._unread:
            self._pass_on(at_end=True)
        super().connection_lost(exc)

    def _pass_on(self, *, at_end: bool) -> None:
        while self._unread:
            try:
                found = mended(self._unread, at_end=at_end)
            except OddHead as error:
                self._unread = None
                self.set_exception(_OddAnswer(str(error)))
                if self.transport is not None:
                    self.transport.close()
                return
            if found is None:
                return
            self._unread = found.body if found.is_interim else None
            super().data_received(found.head if found.is_interim else found.head + found.body)


class _OddAnswer(aiohttp.ClientError):
    """The head of an answer cannot be read."""


class _Connector(aiohttp.TCPConnector):
    """aiohttp has no public way to hand in a protocol; test_whole_answers notices if this one is no longer used."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        protocol: type[ResponseHandler] = _MendingProtocol
        self._factory = functools.partial(protocol, loop=self._loop)


class _AiohttpTransport(httpx.AsyncBaseTransport):
    """Carries httpx requests over aiohttp: one fresh connection each, no proxy from the environment, no cookies."""

    def __init__(self, resolver: AbstractResolver | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._resolver = resolver
        self._tls: ssl.SSLContext | bool = True if tls is None else tls
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with _foreign_errors():
            response = await self._session_().request(
                request.method,
                yarl.URL(str(request.url), encoded=True),
                headers=request.headers.multi_items(),
                data=request.stream if request.method == "POST" else None,
                allow_redirects=False,
            )
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=_AiohttpBody(response),
        )

    def _session_(self) -> aiohttp.ClientSession:
        if self._session is None:  # here, not in __init__: aiohttp wants a running loop
            self._session = aiohttp.ClientSession(
                connector=_Connector(
                    limit=0,
                    force_close=True,
                    resolver=self._resolver,
                    use_dns_cache=self._resolver is None,
                    ssl=self._tls,
                    socket_factory=_kept_alive,
                ),
                timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
                auto_decompress=False,
                max_line_size=MAX_HEAD_BYTES,
                max_field_size=MAX_HEAD_BYTES,
                max_headers=MAX_HEAD_BYTES,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                requote_redirect_url=False,
                skip_auto_headers=("Accept", "User-Agent", "Accept-Encoding", "Content-Type"),
            )
        return self._session

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


class _AiohttpBody(httpx.AsyncByteStream):
    """An answer's raw bytes, as large a piece at a time as has arrived."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._response.content
        while True:
            with _foreign_errors():
                chunk = await content.readany()
            if not chunk:
                return
            yield chunk

    async def aclose(self) -> None:
        self._response.close()


class _foreign_errors:  # noqa: N801  (reads as a statement)
    """Turns aiohttp's errors into httpx's. Their text stays, their objects (which hold the URL) do not."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, httpx.HTTPError):
            return
        if isinstance(error, TimeoutError) or not isinstance(error, Exception):
            return
        # Whatever else it is: what it means for the money depends on how far the request was, not on its class.
        raise (_TlsRefused if _is_tls(error) else httpx.TransportError)(_reason(error)) from None


def _is_tls(error: Exception) -> bool:
    """Whether the peer is the wrong one, or speaks no TLS. A connection that merely broke off is neither."""
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return not isinstance(error.os_error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError))
    return isinstance(error, aiohttp.ClientConnectorCertificateError)


def _reason(error: Exception) -> str:
    """A foreign error in words that hold no URL."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect to {error.host}:{error.port}: {error.os_error.strerror or error.os_error}"
    if isinstance(error, _OddAnswer):
        return f"the answer is not HTTP: {error}"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"the answer is not HTTP: {error.message.partition(chr(10))[0][:100]}"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the answer ended before its end"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed without an answer"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return type(error).__name__


class PublicResolver(AbstractResolver):
    """Resolves a name once and hands on only if every address is public: what was checked is connected to."""

    def __init__(self) -> None:
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if not all(is_public_address(result["host"]) for result in found):
            raise _NotPublic("the name resolves to an address that is not public")
        return found

    async def close(self) -> None:
        await self._inner.close()
