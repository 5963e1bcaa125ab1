"""The events of a run, for listeners that show or log it.

The core never prints. It tells a `Listener`; the progress bar, the plain lines and a test's collector are
listeners. All methods do nothing by default; a listener that raises is logged and the run goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

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
    #: What the manifest says of a gallery at the end; None: nothing.
    gallery: bool | None = None


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


@dataclass(frozen=True, slots=True)
class RunStarted:
    """Everything is checked; the first request is about to go out."""

    start: RunStart


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """A request goes out; `in_flight` counts it."""

    job: Job
    in_flight: int


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """A request of a kind that may be repeated ended without a picture; repeated after
    `retry_seconds`, or not (None)."""

    job: Job
    error: AttemptError
    retry_seconds: float | None


@dataclass(frozen=True, slots=True)
class GateClosed:
    """The provider asked for a pause of all requests."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class WaitChanged:
    """What holds the run back has changed."""

    waiting: Waiting


@dataclass(frozen=True, slots=True)
class MoneyWaits:
    """A request waits for money that is reserved for others; `words` say under which budget."""

    words: str


@dataclass(frozen=True, slots=True)
class JobEnded:
    """A job is settled for this run, and recorded."""

    outcome: Outcome
    in_flight: int


@dataclass(frozen=True, slots=True)
class JobsAdded:
    """So many jobs more are to be done than were when the run started: their new pictures were rejected."""

    jobs: int


@dataclass(frozen=True, slots=True)
class Stopping:
    """No new requests; those in flight are waited for."""

    reason: str
    in_flight: int


@dataclass(frozen=True, slots=True)
class Message:
    """Something a person should know."""

    text: str


Event: TypeAlias = (
    RunStarted
    | AttemptStarted
    | AttemptFailed
    | GateClosed
    | WaitChanged
    | MoneyWaits
    | JobEnded
    | JobsAdded
    | Stopping
    | Message
)


class Listener:
    """Hears what happens. Override `on_event`, or only the methods of the events you want; they do nothing."""

    def on_event(self, event: Event) -> None:
        """Called for every event, in the order they happen, on the event loop's thread."""
        match event:
            case RunStarted(start):
                self.run_started(start)
            case AttemptStarted(job, in_flight):
                self.attempt_started(job, in_flight)
            case AttemptFailed(job, error, retry_seconds):
                self.attempt_failed(job, error, retry_seconds)
            case GateClosed(seconds, reason):
                self.gate_closed(seconds, reason)
            case WaitChanged(waiting):
                self.waiting(waiting)
            case MoneyWaits(words):
                self.money_waits(words)
            case JobEnded(outcome, in_flight):
                self.job_ended(outcome, in_flight)
            case JobsAdded(jobs):
                self.jobs_added(jobs)
            case Stopping(reason, in_flight):
                self.stopping(reason, in_flight)
            case Message(text):
                self.message(text)

    def run_started(self, start: RunStart) -> None:
        """See `RunStarted`."""

    def attempt_started(self, job: Job, in_flight: int) -> None:
        """See `AttemptStarted`."""

    def attempt_failed(self, job: Job, error: AttemptError, retry_seconds: float | None) -> None:
        """See `AttemptFailed`."""

    def gate_closed(self, seconds: float, reason: str) -> None:
        """See `GateClosed`."""

    def waiting(self, waiting: Waiting) -> None:
        """See `WaitChanged`."""

    def money_waits(self, words: str) -> None:
        """See `MoneyWaits`."""

    def job_ended(self, outcome: Outcome, in_flight: int) -> None:
        """See `JobEnded`."""

    def jobs_added(self, jobs: int) -> None:
        """See `JobsAdded`."""

    def stopping(self, reason: str, in_flight: int) -> None:
        """See `Stopping`."""

    def message(self, text: str) -> None:
        """See `Message`."""


class Listeners(Listener):
    """Tells several listeners, whatever one of them does."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    def on_event(self, event: Event) -> None:
        for listener in self._listeners:
            try:
                listener.on_event(event)
            except Exception:
                log.exception("a listener failed at %s", type(event).__name__)

    def close(self) -> None:
        """Close those that have something to close."""
        for listener in self._listeners:
            close = getattr(listener, "close", None)
            if close is not None:
                close()
