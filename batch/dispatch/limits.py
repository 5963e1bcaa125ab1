"""What holds requests back: the rate, and the gate that closes when the provider says so.

Both concern everybody, so both stand in one place, the turnstile, which requests pass one after the other. Slots
(requests in flight) are a plain semaphore and live in the scheduler.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from batch.clock import Clock

#: A minute, and a little: what leaves here a minute apart may arrive there a bit less than a minute apart.
_WINDOW_SECONDS: Final = 60.5


class Turnstile:
    """Lets requests out, first come first served: none while the gate is closed, and never more than
    `requests_per_minute` in any 60 seconds, however the minute is laid. None: no limit.

    `told(seconds, reason)` hears of every closing.
    """

    def __init__(self, requests_per_minute: int | None, clock: Clock, told: Callable[[float, str], None]) -> None:
        self._most = requests_per_minute
        self._clock = clock
        self._told = told
        self._let_out: deque[float] = deque(maxlen=requests_per_minute or 0)
        self._opens_at = float("-inf")
        self._turn = asyncio.Lock()

    async def pass_through(self) -> None:
        """Wait for the turn of one more request and take it. A waiter that is cancelled takes nothing away."""
        async with self._turn:
            # Looked at again after every wait: the gate may have been closed for longer meanwhile.
            while (wait_seconds := self._free_at() - self._clock.monotonic()) > 0:
                await self._clock.sleep(wait_seconds)
            self._let_out.append(self._clock.monotonic())

    def close_for(self, seconds: float, reason: str) -> None:
        """Keep everybody back for so long, unless the gate is closed longer already."""
        opens_at = self._clock.monotonic() + seconds
        if opens_at > self._opens_at:
            self._opens_at = opens_at
            self._told(seconds, reason)

    def _free_at(self) -> float:
        if self._most is None or len(self._let_out) < self._most:
            return self._opens_at
        return max(self._opens_at, self._let_out[0] + _WINDOW_SECONDS)
