"""The run's deadline, and whether it is so near that the cheap lane is too slow."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import Final

from batch.core.clock import Clock

#: What an answer of the cheap lane may take (Google aims at 1 to 15 minutes, ai.google.dev, "Flex inference").
_SLOW_ANSWER_SECONDS: Final = 960.0
#: The pace is that of so many jobs; fewer than the minimum say nothing.
_RECENT: Final = 200
_MIN_JOBS: Final = 10


class Deadline:
    """`to_do` jobs are to have ended by `finish_by`."""

    def __init__(self, finish_by: datetime, to_do: int, clock: Clock) -> None:
        self._finish_by = finish_by
        self._left = to_do
        self._clock = clock
        self._ended: deque[float] = deque([clock.monotonic()], maxlen=_RECENT)

    def job_ended(self) -> None:
        self._left -= 1
        self._ended.append(self._clock.monotonic())

    def is_near(self) -> bool:
        """Whether the jobs that are left would not all be there in time if the next ones took as long as they may."""
        seconds = (self._finish_by - self._clock.now()).total_seconds() - _SLOW_ANSWER_SECONDS
        if seconds <= 0:
            return True
        recent = len(self._ended) - 1
        if recent < _MIN_JOBS:
            return False
        seconds_per_job = (self._clock.monotonic() - self._ended[0]) / recent
        return self._left * seconds_per_job > seconds
