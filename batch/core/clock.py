"""Time as an argument: what the scheduler and the limits know of the clock.

`monotonic` is for waiting and measuring, `now` only for what people read. Tests pass a clock of their own
and run a day in a millisecond.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from time import monotonic
from typing import Final, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

#: Google's day quotas start anew at midnight there; the one zone that is always known.
QUOTA_DAY_ZONE: Final = "America/Los_Angeles"


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
        return monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def timestamp(clock: Clock) -> str:
    """The wall clock as it stands in files: `2026-01-31T12:00:00.000Z`."""
    return clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")


def time_zone(name: str) -> tzinfo:
    """A time zone by its name. Raises `ZoneInfoNotFoundError`.

    The zone of the quota day is there on a machine without time zone data too: as winter time, in summer an hour late,
    so that nothing is sent too early.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        if name == QUOTA_DAY_ZONE:
            return timezone(timedelta(hours=-8))
        raise ZoneInfoNotFoundError(name) from None


class DayStartProblem(ValueError):
    """A text that does not say when a day begins; the message follows the field's name."""


@dataclass(frozen=True, slots=True)
class DayStart:
    """When a provider's day begins: a time of a place, such as midnight in California, winter or summer time."""

    text: str
    hour: int
    minute: int
    zone: tzinfo

    @classmethod
    def read(cls, text: str) -> DayStart:
        """`00:00 America/Los_Angeles`. Raises `DayStartProblem`."""
        found = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d) ([A-Za-z][\w+/-]{0,63})", text)
        if found is None:
            raise DayStartProblem("must be a time and a zone, such as 00:00 America/Los_Angeles")
        try:
            zone = time_zone(found[3])
        except ZoneInfoNotFoundError:
            raise DayStartProblem(
                f"names no time zone that this machine knows ({found[3]}); if it is spelled rightly, install tzdata"
            ) from None
        return cls(f"{found[1]}:{found[2]} {found[3]}", int(found[1]), int(found[2]), zone)

    def began(self, now: datetime) -> datetime:
        """The last beginning of a day up to `now`, in UTC."""
        today = now.astimezone(self.zone).date()
        return next(start for start in (self._on(today + timedelta(days=n)) for n in (1, 0, -1)) if start <= now)

    def next(self, now: datetime) -> datetime:
        """The first beginning of a day after `now`, in UTC."""
        today = now.astimezone(self.zone).date()
        return next(start for start in (self._on(today + timedelta(days=n)) for n in (-1, 0, 1, 2)) if start > now)

    def _on(self, day: date) -> datetime:
        return datetime.combine(day, time(self.hour, self.minute), self.zone).astimezone(UTC)
