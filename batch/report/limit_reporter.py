"""A listener that passes on what limits the run now, whenever that changes: `status` reads it."""

from __future__ import annotations

from collections.abc import Callable

from batch.core.clock import Clock
from batch.core.errors import AttemptError
from batch.core.events import Waiting
from batch.core.model import Job, Outcome
from batch.report.progress import Counts


class LimitReporter(Counts):
    """`tell` gets the words."""

    def __init__(self, clock: Clock, tell: Callable[[str], None]) -> None:
        super().__init__(clock)
        self._tell = tell
        self._told = ""

    def attempt_started(self, job: Job, in_flight: int) -> None:
        super().attempt_started(job, in_flight)
        self._look()

    def attempt_failed(self, job: Job, error: AttemptError, retry_seconds: float | None) -> None:  # noqa: ARG002
        self._look()

    def waiting(self, waiting: Waiting) -> None:
        super().waiting(waiting)
        self._look()

    def money_waits(self, words: str) -> None:
        super().money_waits(words)
        self._look()

    def stopping(self, reason: str, in_flight: int) -> None:
        super().stopping(reason, in_flight)
        self._look()

    def job_ended(self, outcome: Outcome, in_flight: int) -> None:
        super().job_ended(outcome, in_flight)
        self._look()

    def _look(self) -> None:
        words = self.limit(by_the_clock=True) or "nothing but answers that are waited for"
        if words != self._told:
            self._told = words
            self._tell(words)
