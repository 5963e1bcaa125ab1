"""A CONNECT proxy on loopback, and a TLS endpoint whose authority nobody else knows."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trustme

#: What the proxy does with a CONNECT: a status to refuse it with, or a word.
TUNNEL, HANG, CLOSE = "tunnel", "hang", "close"


@dataclass
class ConnectProxy:
    """Leads every tunnel to `target`, whatever host was asked for: names of the test need not resolve.

    `answers` are what it does, in turn, the last one again and again. `login` is wanted if it is not empty. `seen` is
    all it was shown in plain text. A tunnel is cut after `cut_after_bytes` of the client's.
    """

    target: int
    answers: list[str | int] = field(default_factory=lambda: [TUNNEL])
    login: str = ""
    cut_after_bytes: int | None = None
    port: int = 0
    seen: list[bytes] = field(default_factory=list)
    tunnelled: bytearray = field(default_factory=bytearray)
    serving: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def asked_for(self) -> list[str]:
        """The first lines of what it was asked."""
        return [head.split(b"\r\n")[0].decode() for head in self.seen]

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection in a task that ends with the proxy."""
        task = asyncio.get_running_loop().create_task(self.serve(reader, writer))
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)

    async def end(self) -> None:
        """Leave no task behind."""
        tasks = [*self.serving]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.seen.append(head)
            answer = self._answer(head)
            if answer == HANG:
                await reader.read()
            elif isinstance(answer, int):
                writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % answer)
                await writer.drain()
            elif answer == TUNNEL:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await self._tunnel(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _answer(self, head: bytes) -> str | int:
        wanted = b"Proxy-Authorization: Basic " + base64.b64encode(self.login.encode())
        if self.login and wanted not in head:
            return 407
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_connection("127.0.0.1", self.target)
        back = asyncio.create_task(_copy(there, writer))
        try:
            while data := await reader.read(1 << 16):
                self.tunnelled += data
                if self.cut_after_bytes is not None and len(self.tunnelled) > self.cut_after_bytes:
                    return
                here.write(data)
                await here.drain()
            await back
        finally:
            back.cancel()
            here.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def running(proxy: ConnectProxy, tls: ssl.SSLContext | None = None) -> AsyncIterator[ConnectProxy]:
    """The proxy on a free port."""
    async with await asyncio.start_server(proxy.accept, "127.0.0.1", 0, ssl=tls) as server:
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            server.close()
            await proxy.end()


@dataclass(frozen=True)
class Authority:
    """An authority of the test's own: contexts for a server of that name, and for a client that trusts it."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    pem: bytes


def authority(*names: str) -> Authority:
    made = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.issue_cert(*names).configure_cert(server)
    client = ssl.create_default_context(cadata=made.cert_pem.bytes().decode())
    return Authority(server, client, made.cert_pem.bytes())


Answering = Callable[[bytes], bytes]


@asynccontextmanager
async def tls_endpoint(context: ssl.SSLContext | None, answer: Answering) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that answers each whole request; its port, and the requests that came whole."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            request = head + await reader.readexactly(length)
            requests.append(request)
            writer.write(answer(request))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1], requests
        server.close()
