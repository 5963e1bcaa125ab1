"""Brings the pictures of an answer that came as addresses: from links to files of the attempt's spool.

Such a picture is paid for, so a download is tried several times, and one that may work later keeps the answer waiting.
Relays also name addresses that are none (a page, a source, a small preview), and say nowhere which is which. So the
addresses are opened by rank, those that are no picture are passed over if another one is, and of several pictures the
largest is the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Final
from urllib.parse import urlsplit

from batch.core.clock import Clock
from batch.core.errors import AttemptError, Undelivered, Unusable
from batch.core.picture_warnings import WarningKind, warning
from batch.providers.base import Answer, Picture, Provider, Spool
from batch.store.durable import storage_errors
from batch.store.picture_check import BadPicture, inspect_picture

#: Tries of a download. The picture is paid for; only its delivery is repeated. An address that is not written as a
#: picture's is tried once: a silent host may hold a slot for minutes, and the next run tries again.
_TRIES: Final = 4
_TRIES_IF_UNLIKELY: Final = 1
_PAUSE_SECONDS: Final = 1.0


@dataclass(slots=True)
class _Tried:
    """The state of an answer's addresses so far. `pictures` have their pixels beside them."""

    pictures: list[tuple[int, Picture]] = field(default_factory=list)
    failures: list[tuple[Picture, AttemptError]] = field(default_factory=list)


async def delivered(
    answer: Answer, provider: Provider, spool: Spool, clock: Clock, stopping: asyncio.Event | None = None
) -> Answer:
    """The answer with every picture at hand; the last one is the result. Once `stopping` is set nothing is tried twice.

    Raises `Undelivered` if a picture cannot be read now, and `Unusable` if no address leads to one.
    """
    if all(picture.url is None for picture in answer.pictures):
        return answer
    tried = _Tried()
    stopping = stopping or asyncio.Event()
    for rank, pictures in groupby(sorted(answer.pictures, key=lambda picture: picture.rank), lambda each: each.rank):
        for picture in pictures:
            await _try(picture, tried, provider, spool, clock, stopping, is_certain=rank == 0)
            if stopping.is_set() and not tried.pictures:
                _leave_to_the_next_run(tried)
        if tried.pictures:
            break
    waiting = next((error for picture, error in tried.failures if _is_worth_waiting(picture, error, tried)), None)
    if waiting is not None:
        raise waiting
    if not tried.pictures:
        raise _nothing(answer, tried.failures)
    return replace(
        answer,
        pictures=_in_order(tried.pictures),
        warnings=(
            *answer.warnings,
            *(warning(WarningKind.ADDRESS_PASSED_OVER, words) for words in _passed_over(tried.failures)),
        ),
    )


async def _try(
    picture: Picture,
    tried: _Tried,
    provider: Provider,
    spool: Spool,
    clock: Clock,
    stopping: asyncio.Event,
    *,
    is_certain: bool,
) -> None:
    try:
        found = await _fetched(picture, provider, spool, clock, stopping)
        pixels = 0 if is_certain else await asyncio.to_thread(_pixels, found)
    except (Undelivered, Unusable) as error:
        tried.failures.append((picture, error))
    else:
        tried.pictures.append((pixels, found))


def _leave_to_the_next_run(tried: _Tried) -> None:
    """If an address did not answer, the others would be as long in doing so."""
    for _, error in tried.failures:
        if isinstance(error, Undelivered):
            raise error


async def _fetched(
    picture: Picture, provider: Provider, spool: Spool, clock: Clock, stopping: asyncio.Event
) -> Picture:
    if picture.url is None:
        return picture
    tries = _TRIES if picture.rank == 0 or picture.likely else _TRIES_IF_UNLIKELY
    for number in range(1, tries + 1):
        try:
            blob = await provider.download(picture.url, spool)
            return replace(picture, blob=blob, url=None)
        except Undelivered:
            if number == tries or stopping.is_set():
                raise
            await _pause(_PAUSE_SECONDS * number, clock, stopping)
            if stopping.is_set():
                raise
    raise AssertionError("unreachable")


async def _pause(seconds: float, clock: Clock, stopping: asyncio.Event) -> None:
    """Wait, but no longer than until the run is to stop."""
    waits = {asyncio.ensure_future(clock.sleep(seconds)), asyncio.ensure_future(stopping.wait())}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()


def _pixels(picture: Picture) -> int:
    """How large a picture is. What was fetched and is none raises `Unusable`; data is judged where it is stored."""
    if picture.blob is None:
        return 0
    try:
        with storage_errors("read the spool"):
            facts = inspect_picture(picture.blob.file)
    except BadPicture as error:
        again = 0 if error.name else 1  # a page or a PDF will come again; damage may be an accident
        raise Unusable("bad_image", f"is no picture: {error}", retries=again, http_status=200) from None
    return facts.width * facts.height


def _is_worth_waiting(picture: Picture, error: AttemptError, tried: _Tried) -> bool:
    """Whether the answer waits for an address: it may hold the picture, and nothing says that it does not."""
    return isinstance(error, Undelivered) and (picture.rank == 0 or picture.likely or not tried.pictures)


def _in_order(pictures: Sequence[tuple[int, Picture]]) -> tuple[Picture, ...]:
    """The largest last; of equal ones, and of those that are certain, the last that came."""
    return tuple(picture for _, picture in sorted(pictures, key=lambda entry: entry[0]))


def _nothing(answer: Answer, failures: Sequence[tuple[Picture, AttemptError]]) -> AttemptError:
    """What an answer is whose addresses lead nowhere: a lost picture if one was written as such, else what it said."""
    likely = next((error for picture, error in failures if picture.rank == 0 or picture.likely), None)
    if len(failures) == 1 and likely is not None and failures[0][0].rank == 0:
        return likely
    error = likely if likely is not None or answer.otherwise is None else answer.otherwise
    assert error is not None
    named = "; ".join(_passed_over(failures))
    return Unusable(
        error.code,
        f"no picture at the addresses of the answer: {named}" if likely else f"{error.message}; {named}",
        kind=error.kind,
        retries=getattr(error, "retries", 1),
        http_status=200,
        request_id=error.request_id,
    )


def _passed_over(failures: Sequence[tuple[Picture, AttemptError]]) -> tuple[str, ...]:
    """What stands against each address, by its host: the rest of it may be signed."""
    return tuple(f"an address at {_host(picture)} led to no picture: {error.message}" for picture, error in failures)


def _host(picture: Picture) -> str:
    try:
        return urlsplit(picture.url or "").hostname or "the endpoint"
    except ValueError:
        return "an unknown host"
