"""A listener that passes on how far the run is and what limits it now: `status` reads it from another process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from batch.core.clock import Clock
from batch.core.events import Event, JobEnded, RunStart
from batch.core.model import Pending
from batch.report.progress import Counts
from batch.store.live_status import RunProgress

#: What limits now is told at once; numbers alone are told this often.
_NUMBERS_EVERY_SECONDS: Final = 2.0
#: The rate is that of so many jobs, the last ones: enough to be steady, few enough to follow a change.
_JOBS_MEASURED: Final = 500


class ProgressReporter(Counts):
    """`tell` gets the run's progress whenever what limits it changes, and every other second while jobs end."""

    def __init__(self, clock: Clock, tell: Callable[[RunProgress], None]) -> None:
        super().__init__(clock)
        self._tell = tell
        self._jobs = 0
        self._told_words = ""
        self._told_at_seconds = float("-inf")
        self._ended_at_seconds: deque[float] = deque(maxlen=_JOBS_MEASURED)

    def run_started(self, start: RunStart) -> None:
        super().run_started(start)
        self._jobs = start.jobs
        self._ended_at_seconds.append(self._clock.monotonic())

    def on_event(self, event: Event) -> None:
        super().on_event(event)
        if isinstance(event, JobEnded) and not isinstance(event.outcome, Pending):
            self._ended_at_seconds.append(self._clock.monotonic())
        self._look()

    def _look(self) -> None:
        words = self.limit(by_the_clock=True) or "nothing but answers that are waited for"
        now_seconds = self._clock.monotonic()
        if words == self._told_words and now_seconds < self._told_at_seconds + _NUMBERS_EVERY_SECONDS:
            return
        self._told_words, self._told_at_seconds = words, now_seconds
        per_minute = self._per_minute()
        left = max(0, self._to_do - self._ended())
        self._tell(
            RunProgress(
                limits_now=words,
                jobs=self._jobs,
                to_do=self._to_do,
                ended=self._ended(),
                in_flight=self._in_flight,
                cost_usd=round(self._usd, 6),
                per_minute=per_minute,
                seconds_left=round(left / per_minute * 60, 1) if per_minute else None,
            )
        )

    def _per_minute(self) -> float | None:
        """None before the first job has ended."""
        times = self._ended_at_seconds
        took_seconds = times[-1] - times[0] if len(times) > 1 else 0.0
        return round((len(times) - 1) / took_seconds * 60, 2) if took_seconds > 0 else None
