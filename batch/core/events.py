"""What happens during a run, for whoever wants to show it.

The core never prints. It tells a `Listener`; the progress bar, the plain lines and a test's collector are
listeners. All methods do nothing by default; a listener that raises is logged and the run goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from batch.core.errors import AttemptError
from batch.core.model import Job, Outcome

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStart:
    """What a run is about to do. `to_do` of `jobs` will be sent; `expected_usd` is their list price."""

    name: str
    output: str
    endpoint: str
    jobs: int
    done: int
    to_do: int
    concurrency: int
    expected_usd: float
    simulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What the next request waits for; `by` is "" if for nothing.

    `by` is a quota's name in the manifest (`most` is its number), `gate` (closed by the provider until monotonic
    seconds `until`), `probe` (the answer to one request that goes ahead), `picture` (one that shows that the endpoint
    works), `concurrency` (`most` at once), `cpu` or `disk` (our own), or found by trying: `found_slots` (`most` of `of`
    at once) and `found_rate` (`most` a minute).
    """

    by: str = ""
    most: int = 0
    of: int = 0
    until: float = 0.0


class Listener:
    """Override what you want to hear."""

    def run_started(self, start: RunStart) -> None:
        """Everything is checked; the first request is about to go out."""

    def attempt_started(self, job: Job, in_flight: int) -> None:
        """A request goes out; `in_flight` counts it."""

    def attempt_failed(self, job: Job, error: AttemptError, retry_seconds: float | None) -> None:
        """A request of a kind that may be repeated ended without a picture; repeated after `retry_seconds`, or not
        (None)."""

    def gate_closed(self, seconds: float, reason: str) -> None:
        """The provider asked everybody to wait."""

    def waiting(self, waiting: Waiting) -> None:
        """What holds the run back has changed."""

    def money_waits(self, words: str) -> None:
        """A request waits for money that is set aside for others; `words` say under which budget."""

    def job_ended(self, outcome: Outcome, in_flight: int) -> None:
        """A job is settled for this run, and recorded."""

    def stopping(self, reason: str, in_flight: int) -> None:
        """No new requests; those in flight are waited for."""

    def message(self, text: str) -> None:
        """Something a person should know."""


class Listeners(Listener):
    """Tells several listeners, whatever one of them does."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    def _tell(self, method: str, *args: Any) -> None:
        for listener in self._listeners:
            try:
                getattr(listener, method)(*args)
            except Exception:
                log.exception("a listener failed in %s", method)

    def run_started(self, start: RunStart) -> None:
        self._tell("run_started", start)

    def attempt_started(self, job: Job, in_flight: int) -> None:
        self._tell("attempt_started", job, in_flight)

    def attempt_failed(self, job: Job, error: AttemptError, retry_seconds: float | None) -> None:
        self._tell("attempt_failed", job, error, retry_seconds)

    def gate_closed(self, seconds: float, reason: str) -> None:
        self._tell("gate_closed", seconds, reason)

    def waiting(self, waiting: Waiting) -> None:
        self._tell("waiting", waiting)

    def money_waits(self, words: str) -> None:
        self._tell("money_waits", words)

    def job_ended(self, outcome: Outcome, in_flight: int) -> None:
        self._tell("job_ended", outcome, in_flight)

    def stopping(self, reason: str, in_flight: int) -> None:
        self._tell("stopping", reason, in_flight)

    def message(self, text: str) -> None:
        self._tell("message", text)
