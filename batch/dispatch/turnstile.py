"""A fair FIFO turnstile, ordered by job and not by attempt: a job that comes back after a refusal keeps its place.
Only the job at the head checks for capacity, so no job is overtaken.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from typing import Final, TypeVar

from batch.core.clock import Clock
from batch.core.events import Listener, WaitChanged, Waiting
from batch.limits.wait import Wait

#: What another run gives back, or counts right, is seen so soon.
SEEN_AFTER_SECONDS: Final = 1.0
T = TypeVar("T")


class Turnstile:
    """Those who wait for a turn. `listener` hears what the first one waits for.

    Where that is a slot, `local_bottleneck()` names what on our own machine gives none back: `cpu` or `disk`. A wait
    for a time looks again after `longest_sleep_seconds`, for other runs may have made room.
    """

    def __init__(
        self,
        clock: Clock,
        listener: Listener,
        local_bottleneck: Callable[[], str] = lambda: "",
        longest_sleep_seconds: float = SEEN_AFTER_SECONDS,
    ) -> None:
        self._longest_sleep_seconds = longest_sleep_seconds
        self._clock = clock
        self._local_bottleneck = local_bottleneck
        self._listener = listener
        self._line: list[tuple[int, int]] = []
        self._turns: dict[tuple[int, int], asyncio.Event] = {}
        self._numbers = count()
        #: What the first one waits for.
        self.waiting = Waiting()
        #: Waits for nothing but time that are on: of the first one, and of those that were first before it came.
        self._fixed: set[asyncio.Future[None]] = set()

    async def wait_for(self, place: int, try_acquire: Callable[[], T | Wait]) -> T:
        """Wait for the turn of `place`, and until `try_acquire` finds something other than a `Wait`.

        A waiter that is cancelled takes nothing away. Nothing is awaited between finding and returning.
        """
        me = (place, next(self._numbers))
        heapq.heappush(self._line, me)
        turn = self._turns[me] = asyncio.Event()
        try:
            while True:
                if self._first() != me:
                    turn.clear()
                    await turn.wait()
                elif isinstance(found := try_acquire(), Wait):
                    self._say(found.waiting)
                    await self._pause(turn, found)
                else:
                    if len(self._turns) == 1:
                        self._say(Waiting())
                    return found
        finally:
            del self._turns[me]
            self.changed()

    def changed(self) -> None:
        """There may be room now."""
        first = self._first()
        if first is not None:
            self._turns[first].set()

    def rules_changed(self) -> None:
        """What is waited for may be due at another time, or not at all: even a wait for nothing but time ends."""
        for sleeping in self._fixed:
            sleeping.cancel()
        self.changed()

    def _first(self) -> tuple[int, int] | None:
        """The job at the head of the line; jobs that left it are skipped."""
        while self._line and self._line[0] not in self._turns:
            heapq.heappop(self._line)
        return self._line[0] if self._line else None

    def _say(self, waiting: Waiting | None) -> None:
        """Tell what is waited for when it is something else, or another number; not at every step."""
        if waiting is not None and waiting.by in ("concurrency", "found_slots") and (own := self._local_bottleneck()):
            waiting = Waiting(by=own)
        if waiting is not None and waiting != self.waiting:
            self.waiting = waiting
            self._listener.on_event(WaitChanged(waiting))

    async def _pause(self, turn: asyncio.Event, wait: Wait) -> None:
        turn.clear()
        seconds = min(wait.seconds, self._longest_sleep_seconds)
        if wait.seconds == float("inf"):
            await turn.wait()
            return
        if wait.is_fixed:
            await self._sleep(seconds)
            return
        waits = [
            asyncio.ensure_future(self._clock.sleep(seconds)),
            asyncio.ensure_future(turn.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _sleep(self, seconds: float) -> None:
        """Until then, or until the rules change."""
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        self._fixed.add(sleeping)
        try:
            await asyncio.wait([sleeping])
        finally:
            self._fixed.discard(sleeping)
            sleeping.cancel()
            await asyncio.gather(sleeping, return_exceptions=True)
