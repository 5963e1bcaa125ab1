"""Small real things: servers that send what they are told, a spool in a folder, a client with short timeouts."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from batch.core.clock import SystemClock
from batch.core.model import Job
from batch.core.registry import resolve_endpoint
from batch.core.settings import Auth, ProviderSettings, Timeouts
from batch.providers.base import Blob, Received
from batch.providers.gemini import GeminiProvider
from batch.providers.http.client import PaidClient
from batch.providers.http.contract import Head
from batch.providers.secrets import ApiKey
from tests.support.parameters import job_fields

KEY = "sk-canary/+key=0123456789abcdef"
QUICK = Timeouts(connect_seconds=5, write_seconds=5, read_seconds=5, total_seconds=10)
PATH = "/v1beta/models/gemini-3.1-flash-image:generateContent"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Peer:
    """A server on loopback: where it is and what it has been sent."""

    url: str = ""
    requests: list[bytes] = field(default_factory=list)


class MemoryFile:
    """A spool file in memory."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.data = bytearray()
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.data += data

    def close(self) -> None:
        self.closed = True

    def discard(self) -> None:
        self.closed = True
        self.data.clear()


class MemorySpool:
    """A spool in memory; `root` is where `on_disk` puts its files for code that reads them."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root
        self.files: list[MemoryFile] = []
        self.sealed: list[Received] = []

    def new_blob(self) -> MemoryFile:
        name = str(len(self.files)) if self.root is None else str(self.root / str(len(self.files)))
        self.files.append(MemoryFile(name))
        return self.files[-1]

    def seal(self, received: Received) -> None:
        self.sealed.append(received)

    def on_disk(self) -> None:
        assert self.root is not None
        for file in self.files:
            Path(file.file).write_bytes(file.data)


class Sink:
    """A consumer that keeps everything."""

    def __init__(self) -> None:
        self.head: Head | None = None
        self.body = bytearray()
        self.packed = bytearray()
        self.flaw: str | None = None

    def begin(self, head: Head) -> Sink:
        self.head = head
        return self

    def feed(self, chunk: bytes) -> None:
        self.body += chunk

    def keep_packed(self, raw: bytes) -> None:
        self.packed += raw

    def give_up(self, flaw: str) -> None:
        self.flaw = flaw

    @property
    def looks_whole(self) -> bool:
        return self.body.endswith(b"}")


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Head and body of one request."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    return head + (await reader.readexactly(int(length[1])) if length else b"")


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with a real RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def answer(body: bytes = b"{}", status: str = "200 OK", *headers: str, version: str = "1.1") -> bytes:
    """A whole answer with its true length, unless the headers name a framing."""
    lines = [f"HTTP/{version} {status}", *headers]
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + body


@pytest.fixture
async def raw_server() -> AsyncIterator[Callable[..., Any]]:
    """Starts servers: either with a handler of the test's own, or sending bytes after a whole request."""
    async with AsyncExitStack() as stack:

        async def start(reply: bytes | Handler = b"", *, end: str = "close", ssl: Any = None) -> Peer:
            peer = Peer()
            tasks: set[asyncio.Task[None]] = set()

            async def sending(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                assert isinstance(reply, bytes)
                peer.requests.append(await read_request(reader))
                writer.write(reply)
                await writer.drain()
                if end == "hang":
                    await reader.read()  # until the client leaves
                elif end == "reset":
                    await asyncio.sleep(0.05)  # what was sent must leave first, or the reset overtakes it
                    reset(writer)

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                task = asyncio.current_task()
                assert task is not None
                tasks.add(task)
                try:
                    await (sending if isinstance(reply, bytes) else reply)(reader, writer)
                except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
                    pass
                finally:
                    writer.close()
                    tasks.discard(task)

            server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=ssl, limit=1 << 20)

            async def stop() -> None:
                server.close()
                for task in list(tasks):
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

            stack.push_async_callback(stop)
            scheme = "https" if ssl else "http"
            peer.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            return peer

        yield start


@pytest.fixture
async def paid() -> AsyncIterator[Callable[..., Any]]:
    """Makes paid clients and closes them."""
    async with AsyncExitStack() as stack:

        def make(url: str, *, timeouts: Timeouts = QUICK, auth: Auth = Auth.HEADER, key: str = KEY) -> PaidClient:
            client = PaidClient(url, auth=auth, key=ApiKey(key), timeouts=timeouts)
            stack.push_async_callback(client.aclose)
            return client

        yield make


@pytest.fixture
async def provider() -> AsyncIterator[Callable[..., Any]]:
    """Makes whole providers and closes them."""
    async with AsyncExitStack() as stack:

        def make(
            url: str, *, profile: str = "anyfast", auth: Auth | None = None, timeouts: Timeouts = QUICK
        ) -> GeminiProvider:
            endpoint = resolve_endpoint(ProviderSettings(profile=profile, base_url=url, auth=auth))
            made = GeminiProvider(endpoint, url, ApiKey(KEY), timeouts, SystemClock())
            stack.push_async_callback(made.aclose)
            return made

        yield make


def job(prompt: str = "a mountain", **facts: Any) -> Job:
    return Job(id="a", prompt=prompt, model="gemini-3.1-flash-image", **job_fields({"image_size": "512", **facts}))


def received(value: Any, *, headers: dict[str, str] | None = None, blobs: tuple[Blob, ...] = ()) -> Received:
    """An answer 200 as the spool would hold it; `value` is the body's JSON, or the body."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Received(status=200, headers=headers or {}, body=body, blobs=blobs, seconds=1.0)


@pytest.fixture
def tools() -> SimpleNamespace:
    """The helpers, for test modules that cannot import this one."""
    return SimpleNamespace(
        KEY=KEY,
        QUICK=QUICK,
        PATH=PATH,
        Sink=Sink,
        MemorySpool=MemorySpool,
        answer=answer,
        reset=reset,
        job=job,
        read_request=read_request,
        received=received,
        api_key=ApiKey(KEY),
        clock=SystemClock(),
    )
