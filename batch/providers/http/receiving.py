"""An answer's body, taken as it arrives and kept whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final

import httpx

from batch.providers.http.contract import MAX_BODY_BYTES, BodyTooLarge, Consumer, PaidConsumer
from batch.providers.http.deadline import Deadline
from batch.providers.http.heads import ANNOUNCED
from batch.providers.http.unpacking import CannotUnpack, Unpacker

PIECE_BYTES: Final = 64 << 10
#: How long a body is waited for that is not whole at its announced length.
_LATE_SECONDS: Final = 5.0


async def receive(response: httpx.Response, consumer: PaidConsumer, deadline: Deadline) -> None:
    """Move the body of a paid answer into the consumer. What cannot be unpacked, or is too large, it keeps as it is."""
    intake = Intake(response.headers.get("content-encoding", ""), consumer)
    async for raw in _raw_pieces(response, deadline, lambda: intake.flawed or consumer.looks_whole):
        intake.feed(raw)
        if intake.is_full:
            return
    intake.finish()


class Intake:
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


async def pump(response: httpx.Response, consumer: Consumer, deadline: Deadline, limit_bytes: int) -> None:
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
    response: httpx.Response, deadline: Deadline, looks_whole: Callable[[], bool]
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
