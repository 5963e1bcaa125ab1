"""The connection beneath the httpx client: aiohttp's, with the key put on last."""

from __future__ import annotations

import asyncio
import base64
import functools
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import httpx
import yarl
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from batch.core.proxies import Proxy
from batch.core.settings import Auth
from batch.providers.addresses import is_public_address, origin
from batch.providers.http.heads import MAX_HEAD_BYTES, OddHead, mended
from batch.providers.http.sending import NotPublic, ProxyRefused, TlsRefused
from batch.providers.secrets import ApiKey

#: An answer may take a quarter of an hour, and routers forget connections on which nothing moves for some minutes: a
#: cut would leave open whether the picture was paid. So the kernel asks now and then whether the other end is there.
_KEEPALIVE_SECONDS: Final = 45


def _kept_alive(address: tuple[Any, ...]) -> socket.socket:
    """A socket for an address as `getaddrinfo` has it, whose connection is kept alive while nothing moves on it."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
        if hasattr(socket, option):  # not everywhere
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), _KEEPALIVE_SECONDS)
    return made


class KeyTransport(httpx.AsyncBaseTransport):
    """Puts the key on requests to the configured origin, in a copy that nothing above ever sees."""

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


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Carries httpx requests over aiohttp: one fresh connection each, no proxy from the environment, no cookies.

    Through a `proxy` go https requests only, in a tunnel. Nothing of a request is handed over before the tunnel stands
    and the endpoint has shown its certificate.
    """

    def __init__(
        self, resolver: AbstractResolver | None = None, tls: ssl.SSLContext | None = None, proxy: Proxy | None = None
    ) -> None:
        self._resolver = resolver
        self._proxy = proxy
        self._tls: ssl.SSLContext | bool = True if tls is None else tls
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with _foreign_errors(self._proxy):
            response = await self._session_().request(
                request.method,
                yarl.URL(str(request.url), encoded=True),
                headers=request.headers.multi_items(),
                data=request.stream if request.method == "POST" else None,
                allow_redirects=False,
                **self._tunnel(request.url),
            )
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=_AiohttpBody(response),
        )

    def _tunnel(self, url: httpx.URL) -> dict[str, Any]:
        if self._proxy is None or url.scheme != "https":
            return {}
        login = f"{self._proxy.user}:{self._proxy.password}"
        basic = base64.b64encode(login.encode()).decode("ascii")
        return {
            "proxy": yarl.URL(self._proxy.url),
            "proxy_headers": {} if login == ":" else {"Proxy-Authorization": f"Basic {basic}"},
        }

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

    def __init__(self, proxy: Proxy | None = None) -> None:
        self._proxy = proxy

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, httpx.HTTPError):
            return
        if isinstance(error, TimeoutError) or not isinstance(error, Exception):
            return
        if isinstance(error, aiohttp.ClientHttpProxyError) and self._proxy is not None:
            raise _no_tunnel(self._proxy, error.status) from None
        # Whatever else it is: what it means for the money depends on how far the request was, not on its class.
        raise (TlsRefused if _is_tls(error) else httpx.TransportError)(_reason(error)) from None


def _no_tunnel(proxy: Proxy, status: int) -> httpx.ProxyError:
    """What a proxy means that answers a CONNECT with another status than 200."""
    if status in (401, 407):  # tinyproxy says 401 to a wrong password
        wanted = "refused its user and password" if proxy.user or proxy.password else "wants a user and a password"
        return ProxyRefused(f"the proxy {proxy.place} {wanted} ({status}); nothing was sent")
    if 400 <= status < 500 and status not in (408, 429):
        return ProxyRefused(f"the proxy {proxy.place} does not allow this host ({status}); nothing was sent")
    return httpx.ProxyError(f"the proxy {proxy.place} could not reach it ({status})")


def _is_tls(error: Exception) -> bool:
    """Whether the peer is the wrong one, or speaks no TLS. A connection that merely broke off is neither."""
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return not isinstance(error.os_error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError))
    return isinstance(error, aiohttp.ClientConnectorCertificateError)


def _reason(error: Exception) -> str:
    """A foreign error in words that hold no URL."""
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return f"cannot connect to the proxy {error.host}:{error.port}: {error.os_error.strerror or error.os_error}"
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
            raise NotPublic("the name resolves to an address that is not public")
        return found

    async def close(self) -> None:
        await self._inner.close()
