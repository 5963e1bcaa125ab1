"""What becomes of a job after a failed attempt: tried again here, elsewhere, in the other lane, with another model, or
not. What the failure says of everybody (a gate, an endpoint's end) is passed on to its route.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

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
from batch.core.model import Job
from batch.core.settings import RetryPolicy, UnknownPolicy
from batch.dispatch.job_route import JobRoute
from batch.dispatch.retry import RetryBudget, decide_retry, soon_again
from batch.dispatch.route import Permit
from batch.dispatch.router import Router


class ResendBudget:
    """How many jobs of a run may be sent again although their first request may have been paid."""

    def __init__(self, places: int) -> None:
        self._places = places

    def take(self) -> bool:
        """Take a place if there is one."""
        if self._places <= 0:
            return False
        self._places -= 1
        return True


class RecoveryPolicy:
    """Decides for all jobs of a run. `past(job)`: as for the scheduler."""

    def __init__(
        self,
        policy: RetryPolicy,
        resends: ResendBudget,
        past: Callable[[Job], tuple[int, int]],
        random: Random,
        router: Router,
    ) -> None:
        self._policy = policy
        self._resends = resends
        self._past = past
        self._random = random
        self._router = router
        self.budget = RetryBudget(policy.cap_seconds)

    def wait_seconds(
        self, job: Job, error: AttemptError, seen: Counter[type[AttemptError]], job_route: JobRoute
    ) -> float | None:
        """Seconds until the job asks for its next turn, or None if it does not. `seen` counts its failures by class."""
        permit = job_route.permit
        if permit is None:
            return None  # nothing went out: no endpoint or no money is left
        if isinstance(error, EndpointDown):
            return 0.0 if self._end(permit, error) else None
        self._count(error, seen, permit)
        cause = permit.route.patterns.attempt_failed(error)
        if cause is not None and not self._end(permit, cause):
            return None
        if job_route.shed(error):
            return 0.0
        wait_seconds = self._repeat(job, error, seen, permit)
        if isinstance(error, RateLimited) or error.kind is Kind.NO_CHANNEL:
            wait_seconds = self._all_wait(error, wait_seconds, seen, permit)
        if wait_seconds is None and job_route.fall_back(error):
            seen.clear()
            return 0.0
        return wait_seconds

    def _all_wait(
        self, error: AttemptError, wait_seconds: float | None, seen: Counter[type[AttemptError]], permit: Permit
    ) -> float | None:
        """What was said may concern everybody on that route; another one may be free."""
        if wait_seconds is not None:
            if not isinstance(error, RateLimited):
                permit.route.pause_for(wait_seconds, error.message, told=True)
            elif not permit.route.refused(error, wait_seconds) and error.wait_seconds is None:
                wait_seconds = min(wait_seconds, soon_again(seen[RateLimited], self._random))
            return 0.0 if self._router.others_than(permit.route, permit.terms.model) else wait_seconds
        if not isinstance(error, RateLimited):
            return None
        words = f"the provider keeps asking for fewer requests: {error.message}"
        keeps_on = EndpointDown("rate_limited", words, stop_code=ExitCode.TEMPORARY)
        return 0.0 if self._end(permit, keeps_on) else None

    def _repeat(self, job: Job, error: AttemptError, seen: Counter[type[AttemptError]], permit: Permit) -> float | None:
        """By the policy, within the budgets."""
        rejected, resends = self._past(job)

        def may_resend() -> bool:
            allowed = self._policy.unknown is UnknownPolicy.RESEND and resends == 0
            return allowed and self.budget.pays(job.id, error) and self._resends.take()

        wait_seconds = decide_retry(
            error, seen, self._policy, self._random, rejected_before=rejected, may_resend=may_resend
        )
        if wait_seconds is None or permit.breaker.is_open or isinstance(error, OutcomeUnknown):
            return wait_seconds
        return self.budget.wait_seconds(job.id, error, wait_seconds)

    def _count(self, error: AttemptError, seen: Counter[type[AttemptError]], permit: Permit) -> None:
        """While no job is served, a failure says nothing about this one: it keeps its attempts."""
        if not (permit.breaker.is_open and isinstance(error, (NotSent, Unavailable))):
            seen[type(error)] += 1
        if isinstance(error, RateLimited) and error.wait_seconds is None:
            # No delay was named: the pauses grow with what all jobs have heard, not only this one.
            seen[RateLimited] = max(seen[RateLimited], permit.breaker.limits_in_a_row)

    def _end(self, permit: Permit, error: EndpointDown) -> bool:
        return self._router.end(permit.route, error, permit.terms.model)
