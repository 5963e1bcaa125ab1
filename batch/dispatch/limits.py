"""What holds a request back: the rate, and the gate that closes when the provider says so.

Slots (requests in flight) are a plain semaphore and live in the scheduler.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from batch.clock import Clock

_MINUTE_SECONDS: Final = 60.0


class RateLimit:
    """At most so many requests in any 60 seconds, first come first served.

    A sliding window: never more than the number, however the window is laid. No limit if None.
    """

    def __init__(self, requests_per_minute: int | None, clock: Clock) -> None:
        self._most = requests_per_minute
        self._clock = clock
        self._sent: deque[float] = deque(maxlen=requests_per_minute)
        self._turn = asyncio.Lock()

    async def admit(self) -> None:
        """Wait until one more request fits. A waiter that is cancelled takes nothing away."""
        if self._most is None:
            return
        async with self._turn:
            if len(self._sent) == self._most:
                wait_seconds = self._sent[0] + _MINUTE_SECONDS - self._clock.monotonic()
                if wait_seconds > 0:
                    await self._clock.sleep(wait_seconds)
            self._sent.append(self._clock.monotonic())


class Gate:
    """One gate for all requests. Closed while the provider wants nothing from anybody."""

    def __init__(self, clock: Clock, closed: Callable[[float, str], None]) -> None:
        self._clock = clock
        self._tell = closed
        self._opens_at = 0.0

    def close_for(self, seconds: float, reason: str) -> None:
        """Keep everybody back for so long, unless the gate is closed longer already."""
        opens_at = self._clock.monotonic() + seconds
        if opens_at > self._opens_at:
            self._opens_at = opens_at
            self._tell(seconds, reason)

    @property
    def is_open(self) -> bool:
        return self._clock.monotonic() >= self._opens_at

    async def passed(self) -> None:
        """Wait until the gate is open; it may have been closed again meanwhile."""
        while (wait_seconds := self._opens_at - self._clock.monotonic()) > 0:
            await self._clock.sleep(wait_seconds)
