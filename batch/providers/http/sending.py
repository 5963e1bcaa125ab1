"""Whether a request was sent, and what its failure means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

import httpx

from batch.core.errors import AttemptError, EndpointDown, ExitCode, NotSent, OutcomeUnknown
from batch.providers.http.contract import Head
from batch.providers.http.deadline import Deadline
from batch.providers.http.receiving import PIECE_BYTES

#: From a connection that is lost over aiohttp's response and its request to the task that writes the body; some more.
_TURNS_OF_A_CUT: Final = 8


class CountedBody:
    """A request body that knows whether its last piece was asked for."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self.size_bytes = sum(len(piece) for piece in pieces)
        #: True from the moment before the last bytes leave our hands.
        self.handed_over = False

    async def stream(self, deadline: Deadline) -> AsyncIterator[bytes]:
        left = self.size_bytes
        for piece in self._pieces:
            for start in range(0, len(piece), PIECE_BYTES):
                part = piece[start : start + PIECE_BYTES]
                left -= len(part)
                if left == 0:
                    await _hear_of_a_cut()
                    self.handed_over = True
                deadline.enter("waiting" if left == 0 else "sending")
                yield part


async def _hear_of_a_cut() -> None:
    """Let a connection that was cut say so: the task that asks for the last piece is then cancelled in here.

    A TLS transport takes all that is written to a lost connection without a word, until the event loop had its turn.
    """
    for _ in range(_TURNS_OF_A_CUT):
        await asyncio.sleep(0)


@dataclass(frozen=True, slots=True)
class Failure:
    kind: str
    text: str


def failure_kind(error: httpx.HTTPError) -> str:
    if isinstance(error, TlsRefused):
        return "tls"
    if isinstance(error, ProxyRefused):
        return "proxy"
    return "connection"


def meaning_of(failure: Failure, *, fully_sent: bool, head: Head | None, elapsed_seconds: float) -> AttemptError:
    """What a broken exchange means for the money: the one question is whether the whole request was out."""
    if failure.kind == "tls":
        return EndpointDown(
            "tls",
            f"the endpoint's certificate was refused: {failure.text}; if an authority of your own has signed it, set "
            "SSL_CERT_FILE to its certificate",
        )
    if failure.kind == "proxy":
        return EndpointDown("proxy_refused", failure.text, exit_code=ExitCode.CONFIG)
    if not fully_sent and head is None:
        return NotSent(f"not_sent_{failure.kind}", f"the request did not leave: {failure.text}")
    return OutcomeUnknown(
        {"timeout": "timeout", "bad_body": "bad_body"}.get(failure.kind, "cut" if head else "no_answer"),
        f"sent, but no whole answer came: {failure.text}",
        elapsed_seconds=elapsed_seconds,
        http_status=head.status if head is not None else None,
    )


class NotPublic(httpx.ConnectError):
    """A name from outside leads to an address that is not on the public internet."""


class ProxyRefused(httpx.ProxyError):
    """The proxy makes no tunnel, and will make none later: user and password are wrong, or the host is not allowed."""


class TlsRefused(httpx.ConnectError):
    """The peer's certificate does not belong to the host we meant."""
