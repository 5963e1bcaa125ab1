"""What may be sent while the provider is in trouble: nothing for a while, then one request alone, then all.

Two kinds of trouble are told apart. A *limit* (429) is the gate's to judge; here limits are only counted, so that a run
ends when nothing else is said for too long. An *outage* (no connection, 5xx, no answer) opens the breaker: a pause
without any request, then single requests, and the next pause is twice as long unless they are served. Numbers and
their sources: docs/retries.md.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final

from batch.core.clock import Clock
from batch.core.errors import (
    AttemptError,
    EndpointDown,
    ExitCode,
    Kind,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from batch.core.events import GateClosed, Listener
from batch.core.lane import Lane
from batch.dispatch.failure_patterns import no_channel
from batch.dispatch.shedding import is_shed
from batch.limits.gate import REFUSED_WITHIN_SECONDS

#: Of the last calls that count, so many must have failed before anything is concluded from their share.
_WINDOW: Final = 20
_MIN_ANSWERS: Final = 10
_FAILED_SHARE: Final = 0.5
#: Without a single answer in between, fewer are enough: first requests go one by one, then none goes.
_ROW_TO_GO_ALONE: Final = 3
_ROW_TO_OPEN: Final = 6
_FIRST_PAUSE_SECONDS: Final = 60.0
_LONGEST_PAUSE_SECONDS: Final = 600.0
_SUCCESSES_TO_CLOSE: Final = 3
#: A wrong key is refused after a few round trips, each a quarter of a second at most, across an ocean. The first
#: request of a long batch is given 2 s, which that does not notice; of a short one three round trips (connection, TLS,
#: request), and one where the key was good lately. A later refusal costs what is in flight by then, and no money.
_ROUND_TRIP_SECONDS: Final = 0.25
_SHORT_BATCH_SECONDS: Final = 3 * _ROUND_TRIP_SECONDS
#: The relay has no channel for the model: so many requests, each sent after the answer to the one before.
_NO_CHANNEL_ANSWERS: Final = 3


class State(Enum):
    """Of a circuit breaker. Trouble opens it, a pause later it is half open, and answers in a row close it."""

    CLOSED = "all requests pass"
    OPEN = "no request passes"
    HALF_OPEN = "one request at a time tries whether the trouble is over"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """Of requests for one model in one `lane`. The cheap lane never gives up: there is the standard one.

    Trouble or limits that last `max_outage_seconds` are no pause any more. `known_key`: the key was good lately.
    `short_batch`: all jobs may be in flight before the first picture. `called` begins what is said of it.
    """

    max_outage_seconds: float
    lane: Lane = Lane.STANDARD
    known_key: bool = False
    short_batch: bool = False
    called: str = ""


@dataclass(frozen=True, slots=True)
class BreakerStatistics:
    """Where a breaker stands: its state, limits heard in a row without a request served, and seconds until the next
    request (0: now, infinite: after an answer)."""

    state: State
    limits_in_a_row: int
    wait_seconds: float


class Breaker:
    """Holds requests back while the provider serves none. The route asks it for the request at the head of the line.

    `listener` hears of every pause. What no further request would change (a day's quota or no channel, said again;
    limits for too long) is returned by `ended`; an outage for too long is raised by `wait_seconds`.
    """

    def __init__(self, settings: BreakerSettings, clock: Clock, listener: Listener) -> None:
        self._settings = settings
        self._clock = clock
        self._listener = listener
        self._gives_up = settings.lane is Lane.STANDARD
        #: Requests are numbered as they go out, so that an answer can be matched to its request.
        self._newest = 0
        #: The next request goes alone, and is the probe while it is out. The first of a run does, too: a wrong key or
        #: address costs one request. Ends with an answer to a request later than `_alone_after`.
        self._alone = True
        self._alone_after = 0
        self._probe: int | None = None
        self._probe_at = 0.0
        self._refused_within = _first_seconds(settings)
        self._recent: deque[bool] = deque(maxlen=_WINDOW)
        self._row = 0
        self._row_since = 0.0
        self._last_words = ""
        self._is_tripped = False
        self._open_since = 0.0
        self._half_open_at = float("-inf")
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._successes = 0
        self._limits = _Streak()
        self._limited_since: float | None = None
        self._day_quotas = _Streak()
        self._no_channels = _Streak()

    @property
    def state(self) -> State:
        if not self._is_tripped:
            return State.CLOSED
        return State.OPEN if self._clock.monotonic() < self._half_open_at else State.HALF_OPEN

    @property
    def is_open(self) -> bool:
        """Open or half open."""
        return self._is_tripped

    @property
    def limits_in_a_row(self) -> int:
        """How often the provider named a limit without serving a request in between."""
        return self._limits.times

    @property
    def in_doubt(self) -> bool:
        """Whether something went wrong since the provider last served a request."""
        return self.is_open or self._row > 0 or self._limits.times > 0

    def statistics(self) -> BreakerStatistics:
        """A snapshot, for those who show what limits a run."""
        paused = max(0.0, self._half_open_at - self._clock.monotonic()) if self._is_tripped else 0.0
        waits_for_probe = self._probe is not None and paused == 0
        return BreakerStatistics(self.state, self._limits.times, float("inf") if waits_for_probe else paused)

    def wait_seconds(self) -> float:
        """Until something may change: 0 if the next may go now, infinite if an answer must come first.

        Raises `EndpointDown` when the trouble has lasted too long.
        """
        now = self._clock.monotonic()
        if self.is_open:
            left = self._open_since + self._settings.max_outage_seconds - now if self._gives_up else float("inf")
            if left <= 0:
                raise self._no_service()
            if self.state is State.OPEN:
                return min(self._half_open_at - now, left)
        if self._probe is None:
            return 0.0
        if self.is_open:
            return float("inf")
        return self._probe_at + self._refused_within - now

    def admit(self) -> int:
        """One more request goes out; returns its number, for `ended`."""
        self._newest += 1
        if self._probe is not None:  # it was not refused in time: all may go
            self._probe, self._alone = None, False
        if self._alone or self.is_open:
            self._probe, self._probe_at = self._newest, self._clock.monotonic()
        return self._newest

    def ended(self, number: int, error: BaseException | None) -> list[EndpointDown]:
        """Request `number` is over: with a picture (None), or an error. Returns why nothing more is to be sent, if that
        has become clear."""
        if error is None:
            self._served(number)
        elif isinstance(error, AttemptError):
            return self._failed(number, error)
        elif number == self._probe:
            self._probe = None
        return []

    def _served(self, number: int) -> None:
        """There was an answer that is neither trouble nor a limit: the provider works."""
        self._recent.append(True)
        self._row = 0
        self._limited_since = None
        for repeats in (self._limits, self._day_quotas, self._no_channels):
            repeats.times = 0
        if number == self._probe:
            self._probe = None
            self._successes += 1
            if self.is_open and self._successes >= _SUCCESSES_TO_CLOSE:
                self._close()
        if number > self._alone_after and not self.is_open:
            self._alone, self._probe = False, None

    def _failed(self, number: int, error: AttemptError) -> list[EndpointDown]:
        found: list[EndpointDown] = []
        if isinstance(error, RateLimited) and not is_shed(error, self._settings.lane):
            found = self._limited(number, error)
        elif error.kind is Kind.NO_CHANNEL:
            found = self._without_channel(number, error)
        elif isinstance(error, (NotSent, Unavailable, OutcomeUnknown, RateLimited)):
            self._in_trouble(number, error)
        elif not isinstance(error, EndpointDown):
            self._served(number)
        if number == self._probe:
            self._probe = None
        return found

    def _limited(self, number: int, error: RateLimited) -> list[EndpointDown]:
        found = []
        now = self._clock.monotonic()
        self._limits.add(number, self._newest)
        if self._limited_since is None:
            self._limited_since = now
        if error.if_repeated is not None and self._day_quotas.add(number, self._newest) > 1:
            found.append(error.if_repeated)
        if now - self._limited_since >= self._settings.max_outage_seconds:
            words = f"the provider has asked for fewer requests for {_minutes(now - self._limited_since)}, and served "
            found.append(
                EndpointDown("rate_limited", f"{words}none; the last: {error.message}", exit_code=ExitCode.TEMPORARY)
            )
        return found

    def _without_channel(self, number: int, error: AttemptError) -> list[EndpointDown]:
        self._go_alone()
        if self._no_channels.add(number, self._newest) < _NO_CHANNEL_ANSWERS:
            return []
        return [no_channel(error)]

    def _in_trouble(self, number: int, error: AttemptError) -> None:
        self._recent.append(False)
        self._last_words = error.message
        if self._row == 0:
            self._row_since = self._clock.monotonic()
        self._row += 1
        if self.is_open:
            if number == self._probe:
                self._pause_seconds = min(2 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)
                self._open()
            return
        if self._row >= _ROW_TO_GO_ALONE:
            self._go_alone()
        failed = self._recent.count(False)
        if self._row >= _ROW_TO_OPEN or (
            len(self._recent) >= _MIN_ANSWERS and failed >= _FAILED_SHARE * len(self._recent)
        ):
            self._open_since = self._row_since
            self._open()

    @property
    def _most_failed(self) -> bool:
        calls = len(self._recent)
        return calls >= _MIN_ANSWERS and self._recent.count(False) >= _FAILED_SHARE * calls

    def _go_alone(self) -> None:
        self._alone, self._alone_after = True, self._newest
        self._refused_within = REFUSED_WITHIN_SECONDS

    def _open(self) -> None:
        self._is_tripped = True
        self._successes = 0
        self._probe = None  # what went alone before is no probe of this pause
        self._half_open_at = self._clock.monotonic() + self._pause_seconds
        self._listener.on_event(GateClosed(self._pause_seconds, self._settings.called + self._last_words))

    def _close(self) -> None:
        self._is_tripped = False
        self._recent.clear()
        self._pause_seconds = _FIRST_PAUSE_SECONDS

    def _no_service(self) -> EndpointDown:
        words = f"no service for {_minutes(self._clock.monotonic() - self._open_since)}; the last: {self._last_words}"
        return EndpointDown("no_service", words, kind=Kind.OVERLOAD, exit_code=ExitCode.TEMPORARY, of_model=True)


class _Streak:
    """Counts how often something was answered again: of requests that were in flight together, only once."""

    def __init__(self) -> None:
        self.times = 0
        self._counted_up_to = 0

    def add(self, number: int, newest: int) -> int:
        """Count the answer to request `number`, if that was sent after the last counted answer; `newest` is out."""
        if number > self._counted_up_to:
            self.times += 1
            self._counted_up_to = newest
        return self.times


def _first_seconds(settings: BreakerSettings) -> float:
    """How long the first request of a run goes alone."""
    if settings.known_key:
        return _ROUND_TRIP_SECONDS
    return _SHORT_BATCH_SECONDS if settings.short_batch else REFUSED_WITHIN_SECONDS


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
