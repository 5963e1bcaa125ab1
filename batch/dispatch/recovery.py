"""Chooses the recovery for a failed attempt: retry, re-route, change lane, fall back to another model, or give up.

What the failure says about all jobs (a gate, an endpoint's end) is passed on to its route.
"""

from __future__ import annotations

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
from batch.core.settings import UnknownPolicy
from batch.dispatch.base import DispatchConfig, JobPast
from batch.dispatch.retry import RetryBudget, decide_retry, soon_again
from batch.dispatch.route import Permit
from batch.dispatch.router import Router
from batch.dispatch.running_job import RunningJob


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
    """Decides for all jobs of a run, within its budgets."""

    def __init__(self, config: DispatchConfig, past: JobPast, random: Random, router: Router) -> None:
        self._policy = config.policy
        self._resends = ResendBudget(config.resend_places)
        self._repeats = RetryBudget(config.policy.cap_seconds)
        self._past = past
        self._random = random
        self._router = router

    def may_resend(self) -> bool:
        """Whether one more job may be sent again although its last request may have been paid; takes its place."""
        return self._resends.take()

    def wait_seconds(self, running: RunningJob, error: AttemptError) -> float | None:
        """Seconds until the job asks for its next turn, or None if it does not."""
        permit = running.permit
        if permit is None:
            return None  # nothing went out: no endpoint or no money is left
        if isinstance(error, EndpointDown):
            return 0.0 if self._end(permit, error) else None
        self._count(error, running, permit)
        cause = permit.route.patterns.attempt_failed(error)
        if cause is not None and not self._end(permit, cause):
            return None
        replaces = running.job.replaces
        if replaces is not None and not replaces.has_room(self._past.past(running.job).usd):
            return None
        if running.route.shed(error):
            return 0.0
        wait_seconds = self._repeat(running, error, permit)
        if isinstance(error, RateLimited) or error.kind is Kind.NO_CHANNEL:
            wait_seconds = self._all_wait(error, wait_seconds, running, permit)
        if wait_seconds is None and running.route.fall_back(error):
            running.failures.clear()
            return 0.0
        return wait_seconds

    def succeeded(self, running: RunningJob, seconds: float) -> None:
        """The job has its picture, from an attempt that took so long."""
        self._repeats.succeeded(running.job.id)
        if running.permit is not None:
            running.permit.route.patterns.succeeded(seconds)

    def ended(self, running: RunningJob) -> None:
        """The job's last attempt of this run is over, in whatever way."""
        self._repeats.gave_up(running.job.id)

    def failed(self, running: RunningJob, error: AttemptError) -> None:
        """The job is given up: that may be one of many with the same cause."""
        permit = running.permit
        cause = permit.route.patterns.job_given_up(error) if permit is not None else None
        if permit is not None and cause is not None:
            self._end(permit, cause)

    def _all_wait(
        self, error: AttemptError, wait_seconds: float | None, running: RunningJob, permit: Permit
    ) -> float | None:
        """The refusal may concern all jobs on that route; another one may be free."""
        if wait_seconds is not None:
            if not isinstance(error, RateLimited):
                permit.route.pause_for(wait_seconds, error.message, told=True)
            elif not permit.route.refused(error, wait_seconds) and error.wait_seconds is None:
                wait_seconds = min(wait_seconds, soon_again(running.failures[RateLimited], self._random))
            return 0.0 if self._router.others_than(permit.route, permit.terms.model) else wait_seconds
        if not isinstance(error, RateLimited):
            return None
        words = f"the provider keeps asking for fewer requests: {error.message}"
        keeps_on = EndpointDown("rate_limited", words, exit_code=ExitCode.TEMPORARY)
        return 0.0 if self._end(permit, keeps_on) else None

    def _repeat(self, running: RunningJob, error: AttemptError, permit: Permit) -> float | None:
        """By the policy, within the budgets."""
        job, past = running.job, self._past.past(running.job)

        def may_resend() -> bool:
            allowed = self._policy.unknown is UnknownPolicy.RESEND and past.resends == 0
            return allowed and self._repeats.pays(job.id, error) and self._resends.take()

        wait_seconds = decide_retry(
            error, running.failures, self._policy, self._random, rejected_before=past.rejected, may_resend=may_resend
        )
        if wait_seconds is None or permit.breaker.is_open or isinstance(error, OutcomeUnknown):
            return wait_seconds
        return self._repeats.wait_seconds(job.id, error, wait_seconds)

    def _count(self, error: AttemptError, running: RunningJob, permit: Permit) -> None:
        """While no job is served, a failure says nothing about this one: it keeps its attempts."""
        seen = running.failures
        if not (permit.breaker.is_open and isinstance(error, (NotSent, Unavailable))):
            seen[type(error)] += 1
        if isinstance(error, RateLimited) and error.wait_seconds is None:
            # No delay was named: the pauses grow with what all jobs have heard, not only this one.
            seen[RateLimited] = max(seen[RateLimited], permit.breaker.limits_in_a_row)

    def _end(self, permit: Permit, error: EndpointDown) -> bool:
        return self._router.end(permit.route, error, permit.terms.model)
