"""The simulated provider's request quotas.

A minute is any 60 seconds, a day 24 hours from the server's start. Refused requests do not count, as with
Google. The clock is an argument.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from batch.simulator.refusals import Refusal, quota_exceeded

MINUTE_SECONDS: Final = 60.0
DAY_SECONDS: Final = 86_400.0

# Google's per-day refusals carry a short delay too, although waiting that long is no use. So do ours.
_DAY_DELAY: Final = "22.5s"


class Quota:
    """Counts served requests; `refusal` says no in the API's words."""

    def __init__(self, per_minute: int | None, per_day: int | None, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._per_day = per_day
        self._clock = clock
        self._served: deque[float] = deque()
        self._day_began = clock()
        self._served_today = 0

    def refusal(self, model: str) -> Refusal | None:
        """None, and the request counts; or the refusal to answer with."""
        now = self._clock()
        if now - self._day_began >= DAY_SECONDS:
            self._day_began += (now - self._day_began) // DAY_SECONDS * DAY_SECONDS
            self._served_today = 0
        if self._per_day is not None and self._served_today >= self._per_day:
            return quota_exceeded(per="Day", limit=self._per_day, model=model, wait=_DAY_DELAY)
        if self._per_minute is not None:
            while self._served and now - self._served[0] >= MINUTE_SECONDS:
                self._served.popleft()
            if len(self._served) >= self._per_minute:
                return self._minute_refusal(now, model)
            self._served.append(now)
        self._served_today += 1
        return None

    def _minute_refusal(self, now: float, model: str) -> Refusal:
        oldest = self._served[0] if self._served else now
        wait = f"{oldest + MINUTE_SECONDS - now:.9f}s"
        return quota_exceeded(per="Minute", limit=self._per_minute or 0, model=model, wait=wait)
