"""Pictures behind URLs: opened without the key, and only where a stranger's text may lead."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from batch.core.errors import AttemptError, Paid, Undelivered, Unusable
from batch.providers.addresses import host_may_be_public, is_public_address, safest, url_problem
from batch.providers.http.web_reader import DownloadClient, WebReader


@pytest.fixture
async def downloads(tools: Any) -> AsyncIterator[Callable[[str], DownloadClient]]:
    """Makes download clients and closes them."""
    async with AsyncExitStack() as stack:

        def make(trusted_origin: str) -> DownloadClient:
            client = DownloadClient(trusted_origin=trusted_origin, timeouts=tools.QUICK)
            stack.push_async_callback(client.aclose)
            return client

        yield make


async def test_the_apis_own_pictures_are_fetched_without_the_key(raw_server: Any, provider: Any, tools: Any) -> None:
    """Same origin, no key in any form, no cookies: the picture's host need not know us."""
    peer = await raw_server(tools.answer(b"picture", "200 OK", "Set-Cookie: a=b"))
    speaker = provider(peer.url)
    for _ in range(2):
        spool = tools.MemorySpool()
        blob = await speaker.download(f"{peer.url}/files/x.png?expires=1", spool)
        assert (blob.size_bytes, bytes(spool.files[0].data), spool.files[0].closed) == (7, b"picture", True)
    for request in peer.requests:
        assert request.startswith(b"GET /files/x.png?expires=1 HTTP/1.1\r\n")
        for secret in (b"key", b"canary", b"authorization", b"cookie", b"x-client-request-id"):
            assert secret not in request.lower()


BROKEN: dict[str, tuple[bytes, type[AttemptError], str]] = {
    "404": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", Unusable, "download_gone"),
    "giant": (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", Unusable, "download_gone"),
    "turns in circles": (b"HTTP/1.1 302 Found\r\nLocation: /signed?token=secret\r\n\r\n", Unusable, "download_gone"),
    "leads to a private place": (
        b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n",
        Unusable,
        "download_refused",
    ),
    "leads to a file": (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n", Unusable, "download_refused"),
    "503": (b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", Undelivered, "download_failed"),
    "302 to nowhere": (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", Undelivered, "download_failed"),
    "cut": (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf", Undelivered, "download_failed"),
    "silence": (b"", Undelivered, "download_failed"),
    "brotli": (b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n\x1b\x03\x00\xf8abc", Undelivered, "download_failed"),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_download_that_fails_was_paid_for(what: str, raw_server: Any, downloads: Any, tools: Any) -> None:
    """It is fetched later or is gone; the message names the host, for the URL is a secret while it lives."""
    reply, kind, code = BROKEN[what]
    peer = await raw_server(reply)
    with pytest.raises(kind) as caught:
        await downloads(peer.url).get(f"{peer.url}/signed?token=secret", tools.Sink())
    assert (caught.value.code, caught.value.paid) == (code, Paid.YES)
    assert "secret" not in str(caught.value)
    assert len(peer.requests) <= 4


async def test_a_download_may_be_sent_on(raw_server: Any, downloads: Any, tools: Any) -> None:
    """Links often lead to a storage service first; the next address is checked like the first."""

    async def storage(reader: Any, writer: Any) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        moved = tools.answer(b"", "302 Found", "Location: ../second")
        writer.write(tools.answer(b"picture") if b"GET /second" in request else moved)

    peer = await raw_server(storage)
    sink = tools.Sink()
    await downloads(peer.url).get(peer.url + "/files/first", sink)
    assert sink.body == b"picture"


REFUSED = [
    "http://169.254.169.254/latest/meta-data",
    "https://169.254.169.254/",
    "http://example.com/x.png",
    "https://localhost/x.png",
    "https://127.0.0.1/x.png",
    "https://127.1/x.png",
    "https://2130706433/x.png",
    "https://0x7f.1/x.png",
    "https://0177.0.0.1/x.png",
    "https://0/x.png",
    "https://10.0.0.1/x.png",
    "https://192.168.1.1/x.png",
    "https://100.64.0.1/x.png",
    "https://224.0.0.1/x.png",
    "https://[::1]/x.png",
    "https://[::]/x.png",
    "https://[fe80::1%25eth0]/x.png",
    "https://[::ffff:127.0.0.1]/x.png",
    "https://[64:ff9b::7f00:1]/x.png",
    "https://[64:ff9b:1::7f00:1]/x.png",
    "https://[2002:7f00:1::]/x.png",
    "https://[2001:0:1::1]/x.png",
    "https://good.com\\@evil.com/",
    "https://user@good.com/x.png",
    "https://user:word@good.com/x.png",
    "https://good.com:8443/x.png",
    "https://good.com:99999/x.png",
    "https://good.com /x.png",
    "https://good.com/\nx.png",
    "https://１２７.0.0.1/x.png",
    "https://exämple.com/x.png",
    "https://127.0.0.1\u3002/x.png",
    "https:///x.png",
    "https://[::1/x.png",
    "https://xn--/x.png",
    "https://" + "a" * 70_000,
    "ftp://good.com/x.png",
    "file:///etc/passwd",
    "data:image/png;base64,AAAA",
    "",
]


@pytest.mark.parametrize("url", REFUSED)
async def test_urls_that_lead_elsewhere_than_the_public_web_are_refused(
    url: str, downloads: Any, tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No connection is even tried."""

    async def connecting(*_: Any, **__: Any) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr("aiohttp.TCPConnector._wrap_create_connection", connecting)
    client = downloads("https://api.example")
    with pytest.raises(Unusable) as caught:
        await client.get(url, tools.Sink())
    assert caught.value.code == "download_refused"


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "::1", "64:ff9b::7f00:1", "169.254.169.254"])
async def test_a_public_name_with_a_private_address_is_refused(
    address: str, downloads: Any, tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the name resolves to is checked in the same step that connects to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found = [
        {"hostname": "x", "host": host, "port": 443, "family": family, "proto": 0, "flags": 0}
        for host in ("93.184.216.34", address)
    ]

    async def resolve(*_: Any, **__: Any) -> Any:
        return found

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    with pytest.raises(Unusable, match="not a public host"):
        await downloads("https://api.example").get("https://pictures.example/x.png", tools.Sink())


@pytest.mark.parametrize(
    "url", ["https://example.com/a.png?x=1", "https://EXAMPLE.com:443/", "https://xn--exmple-cua.com/"]
)
async def test_plain_public_addresses_pass(url: str, tools: Any) -> None:
    """The rules refuse tricks, not pictures."""
    assert url_problem(url) is None
    reader = WebReader(trusted_origin="https://api.example", timeouts=tools.QUICK)
    assert reader.client_for(url)
    await reader.aclose()
    assert host_may_be_public("example.com")
    assert is_public_address("8.8.8.8")
    assert is_public_address("2606:4700::1111")


@pytest.mark.parametrize(
    ("url", "opened"),
    [
        ("http://cdn.example/a.png?x=1", "https://cdn.example/a.png?x=1"),
        ("http://cdn.example:80/a.png", "https://cdn.example/a.png"),
        ("http://cdn.example:8080/a.png", "http://cdn.example:8080/a.png"),
        ("http://127.0.0.1:9000/a.png", "http://127.0.0.1:9000/a.png"),
        ("http://127.0.0.1:9001/a.png", "http://127.0.0.1:9001/a.png"),
        ("http://user@cdn.example/a.png", "http://user@cdn.example/a.png"),
        ("https://cdn.example/a.png", "https://cdn.example/a.png"),
        ("http://[x/a.png", "http://[x/a.png"),
        ("http://cdn.example:x/a.png", "http://cdn.example:x/a.png"),
        ("/files/a.png", "http://127.0.0.1:9000/files/a.png"),
    ],
)
def test_an_address_is_opened_in_its_safest_form(url: str, opened: str) -> None:
    """A host of pictures named by http is asked by https; the endpoint's own are fetched as they are."""
    assert safest(url, "http://127.0.0.1:9000") == opened
