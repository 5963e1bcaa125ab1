"""A server that answers every POST with one canned body after a fixed delay, as cheaply as asyncio can.

    python benchmarks/delay_server.py ANSWER.json SECONDS

Prints its port, then serves on the loopback until it is ended. `GET /stats` tells the requests seen and
how many were in flight at most since the last `GET /stats`.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


@dataclass(slots=True)
class Book:
    """What was seen: requests in all, in flight now, in flight at most."""

    requests: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0


def http_answer(body: bytes) -> bytes:
    """The bytes of a 200 with this JSON body."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def request_end(buffer: bytearray, head_end: int) -> int | None:
    """Where the first request in the buffer ends; None while it is incomplete."""
    head = bytes(buffer[:head_end])
    if _CHUNKED.search(head):
        end = buffer.find(b"\r\n0\r\n\r\n", head_end - 2)
        return None if end < 0 else end + 7
    length = _LENGTH.search(head)
    end = head_end + (int(length[1]) if length else 0)
    return end if len(buffer) >= end else None


class Canned(asyncio.Protocol):
    """One connection."""

    def __init__(self, answer: bytes, delay: float, book: Book) -> None:
        self._answer = answer
        self._delay = delay
        self._book = book
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (head_end := self._buffer.find(b"\r\n\r\n") + 4) > 3:
            end = request_end(self._buffer, head_end)
            if end is None:
                return
            head = bytes(self._buffer[:head_end])
            del self._buffer[:end]
            self._take(head)

    def _take(self, head: bytes) -> None:
        close = _CLOSE.search(head) is not None
        book = self._book
        if head.startswith(b"GET /stats"):
            stats = {"requests": book.requests, "peak_in_flight": book.peak_in_flight}
            book.peak_in_flight = book.in_flight
            self._send(http_answer(json.dumps(stats).encode()), close=close)
            return
        book.requests += 1
        book.in_flight += 1
        book.peak_in_flight = max(book.peak_in_flight, book.in_flight)
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._finish, close)
        else:
            self._finish(close)

    def _finish(self, close: bool) -> None:  # noqa: FBT001 - a callback takes positions only
        self._book.in_flight -= 1
        self._send(self._answer, close=close)

    def _send(self, data: bytes, *, close: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(data)
        if close:
            self._transport.close()


async def serve(answer: bytes, delay: float) -> None:
    """Serves until the process is ended."""
    book = Book()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Canned(http_answer(answer), delay, book), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]).read_bytes(), float(sys.argv[2])))
