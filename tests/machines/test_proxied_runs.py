"""Whole runs in a network with no way out but a proxy, and with an authority of its own."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import batch
from batch.core.errors import ConfigError
from batch.core.events import Listener, Message
from tests.support.connect_proxy import CLOSE, TUNNEL, ConnectProxy, authority, running, tls_endpoint
from tests.support.fakes import QuickClock
from tests.support.picture_host import png

HOST = "relay.invalid"
PASSWORD = "s3cret%40word"
AUTHORITY = authority(HOST)


def answer(_: bytes) -> bytes:
    picture = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(png(64)).decode()}}
    body = json.dumps({"candidates": [{"content": {"parts": [picture]}, "finishReason": "STOP"}]}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


class Words(Listener):
    def __init__(self) -> None:
        self.all: list[str] = []

    def on_event(self, event: Any) -> None:
        if isinstance(event, Message):
            self.all.append(event.text)


class Network:
    """A folder with a manifest, the proxy, and the requests that came to the endpoint."""

    def __init__(self, path: Path, proxy: ConnectProxy, requests: list[bytes]) -> None:
        self.path, self.proxy, self.requests = path, proxy, requests
        self.said = Words()
        (path / "authority.pem").write_bytes(AUTHORITY.pem)

    async def run(self, provider: str = "", **environment: str) -> batch.Summary:
        text = f'provider: {{profile: anyfast, base_url: "https://{HOST}/v1beta"{provider}}}\n'
        (self.path / "m.yaml").write_text(text + "limits: {adaptive: false}\njobs: [{id: a, prompt: cup}]\n")
        return await batch.run(
            self.path / "m.yaml",
            output=self.path / "out",
            environment={
                "ANYFAST_API_KEY": "sk-canary-0123456789abcdef",
                "SSL_CERT_FILE": str(self.path / "authority.pem"),
                **environment,
            },
            clock=QuickClock(),
            listener=self.said,
        )

    def written(self) -> bytes:
        """Every byte of the output folder."""
        return b"".join(file.read_bytes() for file in (self.path / "out").rglob("*") if file.is_file())


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    async with AsyncExitStack() as stack:
        port, requests = await stack.enter_async_context(tls_endpoint(AUTHORITY.server, answer))
        proxy = await stack.enter_async_context(running(ConnectProxy(target=port)))
        yield Network(tmp_path, proxy, requests)


@pytest.mark.parametrize("login", ["", f"me:{PASSWORD}@"])
async def test_a_run_goes_through_the_proxy_of_the_environment(network: Network, login: str) -> None:
    """Name resolution is the proxy's; the run says which one, without its password, which is written nowhere."""
    network.proxy.login = "me:s3cret@word" if login else ""
    summary = await network.run(HTTPS_PROXY=f"http://{login}127.0.0.1:{network.proxy.port}")
    assert summary.done == 1
    assert network.proxy.asked_for == [f"CONNECT {HOST}:443 HTTP/1.1"]
    assert network.requests[0].startswith(b"POST /v1beta/models/")
    assert f"requests to {HOST} go through the proxy {network.proxy.url} (HTTPS_PROXY)" in network.said.all
    assert b"s3cret" not in network.written()


async def test_a_run_goes_through_the_proxy_of_the_manifest(network: Network) -> None:
    """It comes before the environment's; user and password are in a file."""
    network.proxy.login = "me:s3cret@word"
    (network.path / "login").write_text("me:s3cret@word\n")
    summary = await network.run(
        f', proxy: "{network.proxy.url}", proxy_login_file: {network.path / "login"}',
        HTTPS_PROXY="http://127.0.0.1:9",
        NO_PROXY="*",
    )
    assert summary.done == 1
    assert len(network.proxy.seen) == 1


async def test_a_login_may_be_in_a_variable(network: Network) -> None:
    """`user:password` as it is."""
    network.proxy.login = "me:s3cret@word"
    summary = await network.run(f', proxy: "{network.proxy.url}", proxy_login_env: LOGIN', LOGIN="me:s3cret@word")
    assert summary.done == 1


@pytest.mark.parametrize(
    ("provider", "environment"),
    [("", {"NO_PROXY": HOST}), (", proxy: none", {}), ("", {"no_proxy": "*"})],
)
async def test_a_host_can_be_taken_out(network: Network, provider: str, environment: dict[str, str]) -> None:
    """Then the proxy is not asked, and nothing is said of it."""
    summary = await network.run(provider, HTTPS_PROXY=network.proxy.url, **environment)
    assert summary.done == 0  # the name leads nowhere
    assert network.proxy.seen == []
    assert not any("proxy" in words for words in network.said.all)


@pytest.mark.parametrize("answers", [[502, 504, TUNNEL], [CLOSE, TUNNEL]])
async def test_a_job_is_sent_once_the_proxy_serves(network: Network, answers: list[str | int]) -> None:
    """What it refused was not sent, so it is tried again and bought once."""
    network.proxy.answers = answers
    summary = await network.run(HTTPS_PROXY=network.proxy.url)
    assert (summary.done, len(network.requests)) == (1, 1)


@pytest.mark.parametrize("refusal", [403, 407])
async def test_a_proxy_that_refuses_ends_the_run(network: Network, refusal: int) -> None:
    """Exit 78: a setting is wrong, and trying again would not help."""
    network.proxy.answers = [refusal]
    summary = await network.run(HTTPS_PROXY=network.proxy.url)
    assert (summary.exit, summary.reason) == (78, "proxy_refused")
    assert summary.unknown == 0
    assert network.requests == []


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"HTTPS_PROXY": "socks5://127.0.0.1:1080"}, "HTTPS_PROXY names a SOCKS proxy"),
        ({"SSL_CERT_FILE": "/nowhere/ca.pem"}, "SSL_CERT_FILE is set, and /nowhere/ca.pem is no file"),
        ({"SSL_CERT_FILE": os.devnull}, "is no file"),
        ({"SSL_CERT_DIR": "/nowhere"}, "SSL_CERT_DIR is set, and /nowhere is no folder"),
    ],
)
async def test_what_cannot_be_used_is_said_before_anything_is_written(
    network: Network, environment: dict[str, str], words: str
) -> None:
    """Exit 78, and no output folder."""
    with pytest.raises(ConfigError, match=words):
        await network.run(**environment)
    assert not (network.path / "out").exists()


async def test_a_file_without_certificates_is_said(network: Network) -> None:
    """It would only show as a refused certificate."""
    (network.path / "empty.pem").write_text("nothing\n")
    with pytest.raises(ConfigError, match=r"empty\.pem holds no certificates"):
        await network.run(SSL_CERT_FILE=str(network.path / "empty.pem"))


async def test_an_authority_that_is_not_trusted_says_what_to_set(network: Network) -> None:
    """Exit 77, and the message names SSL_CERT_FILE."""
    summary = await network.run(HTTPS_PROXY=network.proxy.url, SSL_CERT_FILE="")
    assert (summary.exit, summary.reason) == (77, "tls")
    assert network.requests == []
