"""Brings answers to the client in ways no well-behaved server would.

These write to the socket themselves, below the HTTP library, because a library refuses to send what is wrong.
Each returns True when the whole answer was handed to the operating system.
"""

from __future__ import annotations

import asyncio
import http
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from aiohttp import web

JSON_TYPE = "application/json; charset=UTF-8"
_LEFT_POLL_SECONDS = 0.1
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back. `images` counts the pictures in it, for the book. With `false_usage` its `usageMetadata` is not
    what it is charged by. `served` is the lane that serves it, if that is not the one asked for."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)
    images: int = 0
    false_usage: bool = False
    served: str | None = None
    deliver: Deliver | None = None


#: Brings an answer to the client in a special way; True when all of it was handed to the operating system.
Deliver: TypeAlias = "Callable[[Connection, Answer], Awaitable[bool]]"


class LeftError(Exception):
    """The client has gone, or the simulator is closing: the rest is not awaited."""


class Spent(web.StreamResponse):
    """Tells aiohttp that the answer has been dealt with and the connection is to be closed."""

    async def prepare(self, request: web.BaseRequest) -> None:  # noqa: ARG002
        return None

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002
        return None


class Connection:
    """One client's connection while its request is answered. Times count from the request's arrival."""

    def __init__(self, request: web.BaseRequest, arrived: float, closing: asyncio.Event) -> None:
        self._request = request
        self._arrived = arrived
        self._closing = closing
        if request.transport is not None:
            # Draining then waits until the operating system has every byte.
            request.transport.set_write_buffer_limits(0)

    @property
    def flushed(self) -> bool:
        """The operating system has everything written so far, and the connection still stands."""
        transport = self._request.transport
        return transport is not None and transport.get_write_buffer_size() == 0

    async def send(self, data: bytes) -> None:
        """Write and wait until the operating system has taken it. Raises LeftError."""
        for start in range(0, len(data), _BLOCK_BYTES):
            transport = self._request.transport
            if transport is None or transport.is_closing():
                raise LeftError
            transport.write(data[start : start + _BLOCK_BYTES])
            await self.drain()

    async def drain(self) -> None:
        writer = self._request.writer
        try:
            await writer.drain()
        except ConnectionError:
            raise LeftError from None
        if not self.flushed:
            raise LeftError

    async def pause(self, seconds: float | None = None) -> None:
        """Wait, without end if no time is given. Raises LeftError as soon as the client has gone."""
        loop = asyncio.get_running_loop()
        end = None if seconds is None else loop.time() + seconds
        while end is None or loop.time() < end:
            transport = self._request.transport
            if transport is None or transport.is_closing() or self._closing.is_set():
                raise LeftError
            left = _LEFT_POLL_SECONDS if end is None else min(_LEFT_POLL_SECONDS, end - loop.time())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), max(left, 0.0))

    async def pause_until(self, seconds: float) -> None:
        """Wait until `seconds` after the request arrived."""
        await self.pause(self._arrived + seconds - asyncio.get_running_loop().time())

    async def swallow_request(self) -> None:
        """Read and forget what the client still sends."""
        with suppress(ConnectionError, web.RequestPayloadError, asyncio.IncompleteReadError):
            while await self._request.content.readany():
                pass

    def close(self) -> None:
        """End the connection in order (FIN), after what has been written."""
        if self._request.transport is not None:
            self._request.transport.close()

    def reset(self) -> None:
        """Break the connection with a real RST."""
        transport = self._request.transport
        if transport is None:
            return
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


def head(
    answer: Answer,
    *,
    version: str = "1.1",
    length: int | str | None = None,
    framing: Mapping[str, str] | None = None,
) -> bytes:
    """Status line and headers. `length` None announces the true one; `framing` replaces Content-Length."""
    reason = http.HTTPStatus(answer.status).phrase
    fields = {"Content-Type": answer.content_type, **answer.headers, "Connection": "close"}
    if framing is None:
        fields["Content-Length"] = str(len(answer.body) if length is None else length)
    else:
        fields.update(framing)
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/{version} {answer.status} {reason}\r\n{lines}\r\n".encode("latin-1")


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def share_of(answer: Answer, count: int) -> bytes:
    """The first `count` bytes of the body; a negative count means half, and never is it everything."""
    wanted = len(answer.body) // 2 if count < 0 else count
    return answer.body[: max(0, min(wanted, len(answer.body) - 1))]


def cut(count: int, *, rst: bool = False, after_seconds: float | None = None) -> Deliver:
    """Announce the whole length, send `count` bytes of the body, and end."""

    async def deliver(connection: Connection, answer: Answer) -> bool:
        await connection.send(head(answer) + share_of(answer, count))
        if after_seconds is not None:
            await connection.pause_until(after_seconds)
        if rst:
            # What was sent must leave first: a reset throws away what the peer has not read yet.
            await connection.pause(0.05)
        connection.reset() if rst else connection.close()
        return False

    return deliver


def cut_chunked(count: int) -> Deliver:
    """Send a chunked body and end it within a chunk, without the last one."""

    async def deliver(connection: Connection, answer: Answer) -> bool:
        part = share_of(answer, count)
        frame = head(answer, framing={"Transfer-Encoding": "chunked"})
        await connection.send(frame + chunk(part) + b"ffff\r\n" + part[:10])
        connection.close()
        return False

    return deliver


def http_1_0(count: int | None) -> Deliver:
    """HTTP/1.0 without a length: the end of the connection is the end of the body. None sends all of it."""

    async def deliver(connection: Connection, answer: Answer) -> bool:
        body = answer.body if count is None else share_of(answer, count)
        await connection.send(head(answer, version="1.0", framing={}) + body)
        connection.close()
        return count is None

    return deliver


def silence(*, rst: bool = False, after_seconds: float | None = None) -> Deliver:
    """End the connection without a byte of answer."""

    async def deliver(connection: Connection, answer: Answer) -> bool:  # noqa: ARG001
        if after_seconds is not None:
            await connection.pause_until(after_seconds)
        connection.reset() if rst else connection.close()
        return False

    return deliver


def reset_after_head() -> Deliver:
    """Send the headers, then reset."""
    return cut(0, rst=True)


def hang() -> Deliver:
    """Never answer; ends when the client leaves or the simulator closes."""

    async def deliver(connection: Connection, answer: Answer) -> bool:  # noqa: ARG001
        await connection.pause()
        return False

    return deliver


def late(seconds: float) -> Deliver:
    """Answer in full, but only after a while."""

    async def deliver(connection: Connection, answer: Answer) -> bool:
        await connection.pause(seconds)
        await connection.send(head(answer) + answer.body)
        connection.close()
        return True

    return deliver


def drip(bytes_per_step: int, step_seconds: float) -> Deliver:
    """Send the body a few bytes at a time."""

    async def deliver(connection: Connection, answer: Answer) -> bool:
        await connection.send(head(answer))
        for start in range(0, len(answer.body), bytes_per_step):
            await connection.send(answer.body[start : start + bytes_per_step])
            await connection.pause(step_seconds)
        connection.close()
        return True

    return deliver


def raw(make: Callable[[Answer], bytes]) -> Deliver:
    """Send whatever `make` builds, then close."""

    async def deliver(connection: Connection, answer: Answer) -> bool:
        await connection.send(make(answer))
        connection.close()
        return True

    return deliver


def giant(megabytes: int, framing: str) -> Deliver:
    """The body, then spaces up to `megabytes`. `framing`: "length", "chunked" or "close"."""

    async def deliver(connection: Connection, answer: Answer) -> bool:
        total = megabytes << 20
        fields = {
            "length": {"Content-Length": str(total)},
            "chunked": {"Transfer-Encoding": "chunked"},
            "close": {},
        }[framing]
        await connection.send(head(answer, framing=fields))
        wrap = chunk if framing == "chunked" else bytes
        await connection.send(wrap(answer.body))
        left = total - len(answer.body)
        while left > 0:
            await connection.send(wrap(b" " * min(left, _BLOCK_BYTES)))
            left -= _BLOCK_BYTES
        await connection.send(b"0\r\n\r\n" if framing == "chunked" else b"")
        connection.close()
        return True

    return deliver


def early() -> Deliver:
    """Answer before the request has been read, then read the rest so that the answer is not lost."""

    async def deliver(connection: Connection, answer: Answer) -> bool:
        await connection.send(head(answer) + answer.body)
        await connection.swallow_request()
        connection.close()
        return True

    return deliver
