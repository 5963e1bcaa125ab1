"""The quotas as numbers: what a request takes of each, what was taken, and when there is room again. Pure.

A minute is any 60 seconds, however it is laid. What was taken is counted in quarter seconds, so a day's run needs no
more room than a minute's, and a quarter second counts until a minute after its end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from batch.core.clock import DayStart
from batch.core.model import Job
from batch.core.prices import REFERENCE_TOKENS
from batch.core.settings import Limits

#: Names of the quotas, as the manifest and the progress line spell them, each with what it counts.
PER_MINUTE: Final = {"requests_per_minute": 0, "tokens_per_minute": 1, "images_per_minute": 2}
PER_DAY: Final = {"requests_per_day": 0, "images_per_day": 2}

_PARTS_PER_SECOND: Final = 4
#: What two requests may differ by in the time they take to get out and there.
_JITTER_SECONDS: Final = 0.005
#: A minute, and a little: what leaves here a minute apart may arrive there a bit less than a minute apart.
_COUNTS_SECONDS: Final = 60.25

#: Tokens of an answer's picture by size (Google's Vertex model page).
_PICTURE_TOKENS: Final = {"512": 747, "1K": 1_120, "2K": 1_680, "4K": 2_520}
#: Cautious for English (about four), about right for scripts whose characters take three bytes and one token each.
_BYTES_PER_TOKEN: Final = 3


@dataclass(frozen=True, slots=True)
class Need:
    """What one attempt takes of the quotas."""

    requests: int = 1
    tokens: int = 0
    images: int = 1

    @property
    def amounts(self) -> tuple[int, int, int]:
        return self.requests, self.tokens, self.images


def need_of(job: Job) -> Need:
    """What an attempt at `job` is estimated to take, before the provider has counted it."""
    prompt = math.ceil(len(job.as_asked.prompt.encode("utf-8")) / _BYTES_PER_TOKEN)
    picture = _PICTURE_TOKENS.get(job.image_size, max(_PICTURE_TOKENS.values()))
    return Need(tokens=prompt + REFERENCE_TOKENS * len(job.references) + picture)


@dataclass(frozen=True, slots=True)
class Room:
    """When there is room: after `seconds`; `quota` names the one that has none until then. A day's quota has
    `next_day`."""

    seconds: float = 0.0
    quota: str = ""
    next_day: datetime | None = None


@dataclass(slots=True)
class Counts:
    """What was taken: in the last minute by quarter seconds of the clock that only goes forward, and today.

    `days` holds, by the manifest's `day_resets_at`, when the day began (ISO, UTC) and its requests, tokens and images.
    """

    parts: dict[int, list[int]] = field(default_factory=dict)
    #: When the last request would have left if all had left evenly; monotonic seconds (GCRA's arrival time).
    spaced_at: float = 0.0
    days: dict[str, list[Any]] = field(default_factory=dict)

    def room(self, need: Need, limits: Limits, day: DayStart, now_seconds: float, now: datetime) -> Room:
        """When all quotas of `limits` have room for `need` at once."""
        self._forget(now_seconds)
        for name, what in PER_DAY.items():
            most = getattr(limits, name)
            if most is not None and self._today(day, now)[what] + need.amounts[what] > most:
                return Room(0.0, name, day.next(now))
        latest = Room()
        for name, what in PER_MINUTE.items():
            most = getattr(limits, name)
            if most is not None:
                seconds = self._frees_at(need.amounts[what], most, what) - now_seconds
                latest = max(latest, Room(seconds, name), key=lambda room: room.seconds)
        if limits.spacing is not None:
            per_second, burst = limits.spacing
            name = "requests_per_minute" if limits.requests_per_second is None else "requests_per_second"
            seconds = self._spaced(now_seconds) - (burst - 1) / per_second - now_seconds
            latest = max(latest, Room(seconds, name), key=lambda room: room.seconds)
        return latest

    def _spaced(self, now_seconds: float) -> float:
        """The arrival time; one of before a restart of the machine lies far ahead and says nothing."""
        return self.spaced_at if self.spaced_at < now_seconds + _COUNTS_SECONDS else 0.0

    def take(self, need: Need, limits: Limits, day: DayStart, now_seconds: float, now: datetime) -> int:
        """Count `need` as taken now; returns the part of the clock it stands in, for `correct`."""
        if limits.spacing is not None:
            self.spaced_at = max(self._spaced(now_seconds), now_seconds) + _spacing_seconds(*limits.spacing)
        part = math.floor(now_seconds * _PARTS_PER_SECOND)
        taken = self.parts.setdefault(part, [0, 0, 0])
        taken[:] = [one + other for one, other in zip(taken, need.amounts, strict=True)]
        self._today(day, now)
        for text in self.days:
            today = self._today(DayStart.read(text), now)
            self.days[text][1:] = [one + other for one, other in zip(today, need.amounts, strict=True)]
        return part

    def correct(self, part: int, tokens: int) -> None:
        """What was taken in a part was so many tokens more (or, negative, fewer) than estimated."""
        if part in self.parts:
            self.parts[part][1] = max(0, self.parts[part][1] + tokens)

    def _today(self, day: DayStart, now: datetime) -> list[int]:
        """Requests, tokens and images since the day began. A wall clock that was put back begins no day again."""
        began = day.began(now).isoformat()
        known = self.days.get(day.text)
        if known is None or known[0] < began:
            self.days[day.text] = [began, 0, 0, 0]
        return list(self.days[day.text][1:])

    def _forget(self, now_seconds: float) -> None:
        """Drop what no longer counts, and what another clock (of before a restart) counted. Parts come in order."""
        while self.parts and _ends(first := next(iter(self.parts))) <= now_seconds:
            del self.parts[first]
        while self.parts and (last := next(reversed(self.parts))) > (now_seconds + 1) * _PARTS_PER_SECOND:
            del self.parts[last]

    def _frees_at(self, amount: int, most: int, what: int) -> float:
        """When there is room for `amount`; an amount larger than the quota itself waits until all of it is free."""
        over = sum(taken[what] for taken in self.parts.values()) + min(amount, most) - most
        if over <= 0:
            return float("-inf")
        for part in sorted(self.parts):
            over -= self.parts[part][what]
            if over <= 0:
                return _ends(part)
        raise AssertionError("what was taken adds up to what is over")


def _spacing_seconds(per_second: float, burst: int) -> float:
    """Between two requests. Where none may come early, one that is a moment faster on its way would."""
    return 1 / per_second + (_JITTER_SECONDS if burst == 1 else 0.0)


def _ends(part: int) -> float:
    return (part + 1) / _PARTS_PER_SECOND + _COUNTS_SECONDS
