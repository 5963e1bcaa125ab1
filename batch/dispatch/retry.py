"""Whether and when a failed attempt is repeated. The only place that knows tenacity, and the only layer that retries.

The decision is a value, `decide_retry(...) -> seconds or None`, made from our own error classes and numbers alone;
tenacity carries it out. An exception that is not one of the classes named here is never retried: a catch-all
would swallow a cancellation and buy the picture again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, TypeVar

import tenacity

from batch.core.clock import Clock
from batch.core.errors import (
    AttemptError,
    EndpointDown,
    Kind,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    Refused,
    Unavailable,
    Unusable,
)
from batch.core.settings import RetryPolicy

#: The classes that can be worth another attempt; the last two only with another model or at another endpoint.
#: Everything else ends the job or the run.
REPEATABLE: Final = (NotSent, Unavailable, RateLimited, OutcomeUnknown, Unusable, Refused, EndpointDown)
#: Beyond every policy's own numbers: no job may be retried without end.
_MAX_ATTEMPTS: Final = 1000
_MAX_DOUBLINGS: Final = 5
#: Added above a delay the server named, so that jobs do not all come back at the same instant.
_TOLD_JITTER_SHARE: Final = 0.1
_TOLD_JITTER_SECONDS: Final = 5.0

T = TypeVar("T")


def decide_retry(
    error: AttemptError,
    seen: Counter[type[AttemptError]],
    policy: RetryPolicy,
    random: Random,
    *,
    rejected_before: int,
    may_resend: Callable[[], bool],
) -> float | None:
    """Seconds to wait before the next attempt, or None to give up.

    `seen` counts this run's attempts of the job by class, the current one included; `rejected_before` its charged
    answers without a picture in all runs, likewise; `may_resend` asks for a place in the budget of jobs that may
    be paid twice, and takes it.
    """
    match error:
        case RateLimited():
            return _throttled(error, seen[RateLimited], policy, random)
        case NotSent():
            return _backoff(seen[NotSent], policy.unsent_attempts, policy.unsent_base_seconds, policy, random)
        case Unavailable():
            maximum, base = policy.unavailable_attempts, policy.unavailable_base_seconds
            if error.kind is Kind.NO_CHANNEL:  # the relay has tried them all; they come back slowly
                base = policy.throttle_base_seconds
            return _backoff(seen[Unavailable], maximum, base, policy, random)
        case Unusable():
            if not worth_another(error, rejected_before, policy):
                return None
            return _full_jitter(rejected_before, policy.unavailable_base_seconds, policy, random)
        case OutcomeUnknown():
            return _full_jitter(1, policy.unavailable_base_seconds, policy, random) if may_resend() else None
    return None


def soon_again(times: int, random: Random) -> float:
    """Seconds until one request that was refused, without a delay and while others are served, is sent again: as
    google-genai waits (1, 2, 4 s), spread by half."""
    return random.uniform(0.5, 1.5) * 2.0 ** min(times - 1, _MAX_DOUBLINGS)


class RetryBudget:
    """How much a run may repeat: without a bound, retries are what keeps an overloaded provider down.

    Full at first. A repeat costs the more the more it may burden the provider; it is given back when the job gets its
    picture, and every picture at the first try gives a little.
    """

    CAPACITY: Final = 100
    COSTS: Final[dict[type[AttemptError], int]] = {NotSent: 5, Unavailable: 14, OutcomeUnknown: 14}
    _GIVEN_FOR_A_PICTURE: Final = 1

    def __init__(self, longest_wait_seconds: float) -> None:
        self._longest_wait_seconds = longest_wait_seconds
        self.left = self.CAPACITY
        #: What jobs under way have taken; nothing for one that was let repeat once without paying.
        self._taken: dict[str, int] = {}

    def pays(self, job_id: str, error: AttemptError) -> bool:
        """Take what a repeat costs, if it is there."""
        cost = self.COSTS.get(type(error), 0)
        if cost > self.left:
            return False
        self.left -= cost
        if cost:
            self._taken[job_id] = self._taken.get(job_id, 0) + cost
        return True

    def wait_seconds(self, job_id: str, error: AttemptError, wanted_seconds: float) -> float | None:
        """How long the repeat waits. One that cannot be paid for goes behind all others, once; then None."""
        if self.pays(job_id, error):
            return wanted_seconds
        if job_id in self._taken:
            return None
        self._taken[job_id] = 0
        return self._longest_wait_seconds

    def succeeded(self, job_id: str) -> None:
        """The job has its picture."""
        self.left = min(self.CAPACITY, self.left + (self._taken.pop(job_id, 0) or self._GIVEN_FOR_A_PICTURE))

    def gave_up(self, job_id: str) -> None:
        """The job ended without one; what it took is spent."""
        self._taken.pop(job_id, None)


def worth_another(error: AttemptError, rejected: int, policy: RetryPolicy) -> bool:
    """Whether the job may be sent again, in this run or a later one.

    `rejected` counts the job's charged answers without a picture so far, this one included: those cost money
    every time, so they are counted in all runs since the job was last edited.
    """
    if isinstance(error, Unusable):
        return rejected <= min(error.retries, policy.unusable_retries)
    return error.may_work_later


def _throttled(error: RateLimited, times: int, policy: RetryPolicy, random: Random) -> float | None:
    if times > policy.throttles or (error.wait_seconds or 0) > policy.longest_server_wait_seconds:
        return None
    if error.wait_seconds is not None:
        jitter = min(_TOLD_JITTER_SECONDS, error.wait_seconds * _TOLD_JITTER_SHARE)
        return error.wait_seconds + random.uniform(0, jitter)
    return policy.throttle_base_seconds + _full_jitter(times, policy.throttle_base_seconds, policy, random)


def _backoff(times: int, maximum: int, base_seconds: float, policy: RetryPolicy, random: Random) -> float | None:
    return None if times >= maximum else _full_jitter(times, base_seconds, policy, random)


def _full_jitter(times: int, base_seconds: float, policy: RetryPolicy, random: Random) -> float:
    """Anything between nothing and the doubled base: spreads a crowd better than a fixed wait with a little noise."""
    return random.uniform(0, min(policy.cap_seconds, base_seconds * 2**times))


class _Decision(tenacity.retry_base):
    """Asks once per failed attempt and remembers the answer for the wait."""

    def __init__(self, ask: Callable[[AttemptError], float | None]) -> None:
        self._ask = ask
        self.wait_seconds = 0.0

    def __call__(self, state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome is not None else None
        if not isinstance(error, REPEATABLE):
            return False
        wait_seconds = self._ask(error)
        self.wait_seconds = wait_seconds or 0.0
        return wait_seconds is not None


async def with_retries(
    attempt: Callable[[], Awaitable[T]],
    ask: Callable[[AttemptError], float | None],
    clock: Clock,
    *,
    is_stopping: Callable[[], bool] = lambda: False,
    on_wait: Callable[[AttemptError, float], None] = lambda *_: None,
) -> T:
    """Call `attempt` until it returns, `ask` gives up on its error, or it raises anything else.

    Nothing is repeated once `is_stopping`, be it since `ask` answered. `on_wait` hears of every repeat to come.
    """
    decision = _Decision(ask)

    def about_to_wait(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        assert isinstance(error, AttemptError)
        on_wait(error, decision.wait_seconds)

    retrying = tenacity.AsyncRetrying(
        retry=decision,
        wait=lambda _: decision.wait_seconds,
        stop=lambda state: state.attempt_number >= _MAX_ATTEMPTS or is_stopping(),
        before_sleep=about_to_wait,
        sleep=clock.sleep,
        reraise=True,
    )
    return await retrying(attempt)
