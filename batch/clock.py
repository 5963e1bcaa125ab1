"""Time as an argument: what the scheduler and the limits know of the clock.

`monotonic` is for waiting and measuring, `now` only for what people read. Tests pass a clock of their own
and run a day in a millisecond.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What every part that waits or measures is given."""

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        ...

    def now(self) -> datetime:
        """The wall clock in UTC, for records."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds`."""
        ...


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def timestamp(clock: Clock) -> str:
    """The wall clock as it stands in files: `2026-01-31T12:00:00.000Z`."""
    return clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
