"""A real https server on loopback that stands for hosts of the public web, for tests that fetch pictures."""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trustme
from aiohttp.abc import AbstractResolver, ResolveResult
from PIL import Image

from batch.core.proxies import Network
from batch.providers.http.web_reader import WebReader

#: Bytes to send back, or a function that does something else with the connection.
Reply = bytes | Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def png(side: int = 8, colour: int = 0) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), (colour, 90, 90)).save(out, "PNG")
    return out.getvalue()


def http(body: bytes = b"", status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class PictureHost:
    """Answers `replies[path]`, in turn if it is a list; anything else is 404. `asked` are the requests' heads."""

    names: tuple[str, ...]
    trust: ssl.SSLContext
    port: int = 0
    replies: Mapping[str, Reply | list[Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    connections: int = 0
    resolved: list[str] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    @property
    def paths(self) -> list[str]:
        return [head.split(" ")[1] for head in self.asked]

    def reader(self, **options: Any) -> WebReader:
        """A reader for which the names lead here, and that trusts this host's certificate."""
        return WebReader(**{**options, "resolver": _Names(self), "network": Network(authorities=self.trust)})

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.asked.append(head)
            reply = self.replies.get(head.split(" ")[1], http(status="404 Not Found"))
            if isinstance(reply, list):
                reply = reply.pop(0)
            if isinstance(reply, bytes):
                writer.write(reply)
                await writer.drain()
            else:
                await reply(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.in_flight -= 1
            writer.close()


class _Names(AbstractResolver):
    def __init__(self, host: PictureHost) -> None:
        self._host = host

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self._host.resolved.append(host)
        return [
            {
                "hostname": host,
                "host": "127.0.0.1",
                "port": self._host.port,
                "family": socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
        ]

    async def close(self) -> None: ...


@asynccontextmanager
async def picture_host(*names: str) -> AsyncIterator[PictureHost]:
    """Serves as these host names, with a certificate for them of an authority of its own."""
    authority = trustme.CA()
    trust = ssl.create_default_context()
    trust.load_verify_locations(cadata=authority.cert_pem.bytes().decode())
    host = PictureHost(names, trust)
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(own)
    tasks: set[asyncio.Task[None]] = set()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(host.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=own)
    host.port = server.sockets[0].getsockname()[1]
    try:
        yield host
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
