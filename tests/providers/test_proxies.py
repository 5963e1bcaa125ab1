"""Requests through a CONNECT proxy: whether one was sent stays known, and the key stays in the tunnel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from batch.core.errors import AttemptError, EndpointDown, NotSent, OutcomeUnknown, Paid
from batch.core.proxies import Network, Proxy
from batch.core.settings import Auth, Timeouts
from batch.providers.http.client import PaidClient
from batch.providers.secrets import ApiKey
from tests.support.connect_proxy import CLOSE, HANG, TUNNEL, ConnectProxy, authority, running, tls_endpoint

HOST = "relay.invalid"
KEY = "sk-canary/+key=0123456789abcdef"
PASSWORD = "p@ss:wörd"
AUTHORITY = authority(HOST)
IMPATIENT = Timeouts(connect_seconds=0.5, write_seconds=5, read_seconds=5, total_seconds=10)


class Line:
    """A client, its proxy and the endpoint behind it."""

    def __init__(self, proxy: ConnectProxy, requests: list[bytes], stack: AsyncExitStack) -> None:
        self.proxy = proxy
        self.requests = requests
        self._stack = stack

    async def post(self, tools: Any, size: int = 2, *, auth: Auth = Auth.QUERY, scheme: str = "http") -> Any:
        user, _, password = self.proxy.login.partition(":")
        proxy = Proxy(url=f"{scheme}://127.0.0.1:{self.proxy.port}", user=user, password=password)
        client = PaidClient(
            f"https://{HOST}",
            auth=auth,
            key=ApiKey(KEY),
            timeouts=IMPATIENT,
            network=Network(proxy=proxy, authorities=AUTHORITY.client),
        )
        self._stack.push_async_callback(client.aclose)
        sink = tools.Sink()
        await client.post(tools.PATH, [b"x" * size], {}, sink.begin)
        return sink


@pytest.fixture
async def line(tools: Any) -> AsyncIterator[Line]:
    async with AsyncExitStack() as stack:
        port, requests = await stack.enter_async_context(
            tls_endpoint(AUTHORITY.server, lambda _: tools.answer(b'{"a":1}'))
        )
        proxy = await stack.enter_async_context(running(ConnectProxy(target=port)))
        yield Line(proxy, requests, stack)


@pytest.mark.parametrize("auth", Auth)
@pytest.mark.parametrize("login", ["", f"user:{PASSWORD}", "user:"])
async def test_a_request_goes_through_the_tunnel(line: Line, tools: Any, auth: Auth, login: str) -> None:
    """The proxy learns host and port, and its own password; the endpoint gets the key, and no password."""
    line.proxy.login = login
    sink = await line.post(tools, auth=auth)
    assert bytes(sink.body) == b'{"a":1}'
    assert line.proxy.asked_for == [f"CONNECT {HOST}:443 HTTP/1.1"]
    shown = b"".join(line.proxy.seen) + bytes(line.proxy.tunnelled)
    assert KEY.encode() not in shown
    assert b"key" not in b"".join(line.proxy.seen).lower()
    assert b"proxy-authorization" not in line.requests[0].lower()


async def test_a_proxy_may_be_spoken_to_over_tls(line: Line, tools: Any) -> None:
    """A tunnel within TLS works like any other."""
    own = authority("127.0.0.1")
    AUTHORITY.client.load_verify_locations(cadata=own.pem.decode())
    async with running(ConnectProxy(target=line.proxy.target), own.server) as proxy:
        line.proxy = proxy
        sink = await line.post(tools, scheme="https")
    assert bytes(sink.body) == b'{"a":1}'


@pytest.mark.parametrize("answer", [500, 502, 503, 504, 429, HANG, CLOSE])
async def test_a_tunnel_that_is_not_made_now_sends_nothing(line: Line, tools: Any, answer: str | int) -> None:
    """Not sent, not paid, and may work later."""
    line.proxy.answers = [answer]
    with pytest.raises(NotSent) as caught:
        await line.post(tools)
    assert caught.value.paid is Paid.NO
    assert line.requests == []
    assert not line.proxy.tunnelled


@pytest.mark.parametrize(
    ("answer", "login", "words"),
    [
        (407, "", "wants a user and a password (407)"),
        (407, "user:wrong", "refused its user and password (407)"),
        (401, "", "wants a user and a password (401)"),
        (403, "", "does not allow this host (403)"),
    ],
)
async def test_a_proxy_that_refuses_for_good_stops_the_run(
    line: Line, tools: Any, answer: int, login: str, words: str
) -> None:
    """A person must act; the message names the proxy, and no password."""
    line.proxy.answers = [answer]
    line.proxy.login = login
    with pytest.raises(EndpointDown) as caught:
        await line.post(tools)
    assert caught.value.paid is Paid.NO
    assert caught.value.code == "proxy_refused"
    assert words in caught.value.message
    assert "wrong" not in caught.value.message
    assert line.requests == []


async def test_a_proxy_that_is_not_there_is_named(line: Line, tools: Any) -> None:
    """Not the endpoint, which was never asked."""
    line.proxy.port = 9
    with pytest.raises(NotSent, match=r"cannot connect to the proxy 127\.0\.0\.1:9"):
        await line.post(tools)


async def test_a_certificate_of_another_authority_is_refused_in_the_tunnel(line: Line, tools: Any) -> None:
    """A proxy that looks inside with a certificate of its own gets no request."""
    stranger = authority(HOST)
    async with tls_endpoint(stranger.server, lambda _: tools.answer()) as (port, requests):
        line.proxy.target = port
        with pytest.raises(EndpointDown) as caught:
            await line.post(tools)
    assert caught.value.code == "tls"
    assert requests == []


async def test_a_tunnel_that_leads_nowhere_sends_nothing(line: Line, tools: Any) -> None:
    """The proxy says that the tunnel stands, and closes it before TLS is up."""
    line.proxy.cut_after_bytes = 0
    with pytest.raises(AttemptError) as caught:
        await line.post(tools)
    assert caught.value.paid is Paid.NO
    assert line.requests == []


async def test_a_tunnel_cut_in_a_long_request_sends_nothing(line: Line, tools: Any) -> None:
    """Half of a request is none: it is safe to send again."""
    line.proxy.cut_after_bytes = 1 << 20
    with pytest.raises(NotSent):
        await line.post(tools, size=64 << 20)
    assert line.requests == []


async def test_a_tunnel_cut_behind_the_request_leaves_it_open(line: Line, tools: Any) -> None:
    """As without a proxy: it may be paid."""
    async with tls_endpoint(AUTHORITY.server, lambda _: b"") as (port, requests):
        line.proxy.target = port
        with pytest.raises(OutcomeUnknown) as caught:
            await line.post(tools)
    assert caught.value.paid is Paid.MAYBE
    assert len(requests) == 1


async def test_one_refusal_does_not_spoil_the_next_request(line: Line, tools: Any) -> None:
    """A tunnel is made anew for each."""
    line.proxy.answers = [502, TUNNEL]
    with pytest.raises(NotSent):
        await line.post(tools)
    assert bytes((await line.post(tools)).body) == b'{"a":1}'


async def test_a_cut_is_heard_of_over_tls_without_a_proxy_too(tools: Any) -> None:
    """A TLS transport swallows what is written to a lost connection; the request still counts as not sent."""
    own = authority("127.0.0.1")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=own.server) as server:
        client = PaidClient(
            f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}",
            auth=Auth.HEADER,
            key=ApiKey(KEY),
            timeouts=IMPATIENT,
            network=Network(authorities=own.client),
        )
        with pytest.raises(NotSent):
            await client.post(tools.PATH, [b"x" * (64 << 20)], {}, tools.Sink().begin)
        await client.aclose()
        server.close()
