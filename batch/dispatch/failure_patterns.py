"""Recognises failures of many jobs that have one cause, so that the run stops instead of paying for more of them."""

from __future__ import annotations

import re
from collections import deque
from typing import Final

from batch.core.errors import AttemptError, EndpointDown, ExitCode, Kind, OutcomeUnknown, Refused, Unusable

#: Requests cut this many times at the same elapsed time are cut by something with a timer.
_SAME_CUTS: Final = 3
_SAME_SECONDS: Final = 1.0
#: Sooner cuts are no proxy's time limit but a connection that breaks.
_SHORTEST_LIMIT_SECONDS: Final = 5.0
_UNREADABLE_ANSWERS: Final = 3
#: Jobs in a row told the same words: it is not the jobs that are malformed.
_SAME_REFUSALS: Final = 5
#: Relays put each request's own id into their words.
_REQUEST_ID: Final = re.compile(r"request[ _-]?id\W+\S+", re.IGNORECASE)


def no_channel(error: AttemptError) -> EndpointDown:
    """The error for a relay that has no channel for the model after several tries."""
    words = f"the relay has no channel for this model: {error.message}"
    return EndpointDown("no_channel", words, kind=Kind.NO_CHANNEL, of_model=True)


class FailurePatterns:
    """Told how every attempt ended; returns an `EndpointDown` once the failures show a common cause."""

    def __init__(self) -> None:
        self._cut_seconds: deque[float] = deque(maxlen=_SAME_CUTS)
        self._unreadable = 0
        self._refusals = 0
        self._refused_with = ""

    def succeeded(self, seconds: float) -> None:
        """After an attempt that took so long and brought a picture."""
        self._unreadable = 0
        self._refusals = 0
        if self._cut_seconds and seconds > max(self._cut_seconds) + _SAME_SECONDS:
            self._cut_seconds.clear()  # nothing cuts at that time

    def attempt_failed(self, error: AttemptError) -> EndpointDown | None:
        """After each failed attempt."""
        if isinstance(error, OutcomeUnknown):
            return self._cut(error)
        if isinstance(error, Unusable) and error.kind is Kind.UNREADABLE:
            self._unreadable += 1
            if self._unreadable >= _UNREADABLE_ANSWERS:
                return EndpointDown(
                    "unreadable_answers",
                    f"{self._unreadable} answers in a row could not be read; the last: {error.message}",
                    exit_code=ExitCode.PROTOCOL,
                )
        return None

    def job_given_up(self, error: AttemptError) -> EndpointDown | None:
        """After a job's last attempt of this run failed."""
        if error.kind is Kind.NO_CHANNEL:
            return no_channel(error)
        if isinstance(error, Refused) and error.kind is Kind.MALFORMED:
            return self._same_refusal(error)
        return None

    def _same_refusal(self, error: AttemptError) -> EndpointDown | None:
        words = _REQUEST_ID.sub("", error.message)
        self._refusals = self._refusals + 1 if words == self._refused_with else 1
        self._refused_with = words
        if self._refusals < _SAME_REFUSALS:
            return None
        return EndpointDown(
            "all_refused", f"{self._refusals} jobs in a row were refused with the same words: {error.message}"
        )

    def _cut(self, error: OutcomeUnknown) -> EndpointDown | None:
        if error.elapsed_seconds < _SHORTEST_LIMIT_SECONDS:
            return None
        self._cut_seconds.append(error.elapsed_seconds)
        spread = max(self._cut_seconds) - min(self._cut_seconds)
        if len(self._cut_seconds) < _SAME_CUTS or spread > 2 * _SAME_SECONDS:
            return None
        return EndpointDown(
            "cut_at_constant_time",
            f"something between here and the API cuts every request after {error.elapsed_seconds:.0f} s (a proxy's "
            "time limit, or the timeouts of this manifest); raise it. The cut requests may have been paid",
            exit_code=ExitCode.PROTOCOL,
        )
