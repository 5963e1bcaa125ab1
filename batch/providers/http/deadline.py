"""One deadline over all phases of a request."""

from __future__ import annotations

import asyncio
from typing import Any

from batch.core.settings import Timeouts


class Deadline:
    """One timer for an attempt: every phase has its time, and all of them together.

    Each call of `enter` gives the phase its full time again (so a phase is "no progress for so long"), but
    never beyond the total. Raises `TimeoutError` at the end of the `async with`.
    """

    #: The timer is moved only if that gains more than this, for moving it costs more than reading the clock.
    _GRAIN_SECONDS = 1.0
    _GRAIN_SHARE = 0.1

    def __init__(self, timeouts: Timeouts) -> None:
        self.phase = "connecting"
        self._seconds = {
            "connecting": timeouts.connect_seconds,
            "sending": timeouts.write_seconds,
            "waiting": timeouts.read_seconds,
            "receiving": timeouts.read_seconds,
        }
        self._total_seconds = timeouts.total_seconds
        self._timer = asyncio.timeout(None)
        self._started = 0.0

    @property
    def elapsed_seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._started

    def enter(self, phase: str) -> None:
        self.phase = phase
        now = asyncio.get_running_loop().time()
        seconds = self._seconds[phase]
        when = min(now + seconds, self._started + self._total_seconds)
        current = self._timer.when()
        grain = min(self._GRAIN_SECONDS, seconds * self._GRAIN_SHARE)
        worth_moving = current is None or when < current or when - current > grain
        if worth_moving and not self._timer.expired():
            self._timer.reschedule(when)

    async def __aenter__(self) -> None:
        self._started = asyncio.get_running_loop().time()
        await self._timer.__aenter__()
        self.enter("connecting")

    async def __aexit__(self, *exc_info: Any) -> None:
        await self._timer.__aexit__(*exc_info)
