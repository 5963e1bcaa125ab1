"""A job's attempts: `retry( money( router( buy ) ) )`, in this order for these reasons.

A job that waits for its retry holds no slot, so others go on. A job that waits for money holds no slot and no quota.
Every attempt passes gate and quotas, so retries are paid for from the same quotas and nothing leaves while the provider
wants nothing. The slot is given back only when the attempt is recorded, so what can be lost or remembered at any
instant is bounded by the number of slots.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from batch.core.clock import Clock
from batch.core.errors import AttemptError, EndpointDown, MoneyWithdrawn, OutcomeUnknown, Refused
from batch.core.events import AttemptFailed, AttemptStarted, Listener
from batch.core.lane import Lane
from batch.core.model import Done
from batch.dispatch.base import Ports, RunEnd
from batch.dispatch.deadline import Deadline
from batch.dispatch.held_repeats import HeldRepeats
from batch.dispatch.recovery import RecoveryPolicy
from batch.dispatch.retry import with_retries
from batch.dispatch.router import Router
from batch.dispatch.running_job import RunningJob
from batch.limits.quotas import need_of

_Step: TypeAlias = Callable[[RunningJob], Awaitable[Done]]


class AttemptLoop:
    """Takes each job from attempt to attempt until it has its picture or is given up. `in_flight`: the tasks whose
    request may be out, or is being recorded."""

    def __init__(
        self,
        ports: Ports,
        router: Router,
        recovery: RecoveryPolicy,
        deadline: Deadline | None,
        clock: Clock,
        listener: Listener,
        run_end: RunEnd,
    ) -> None:
        self._ports = ports
        self._router = router
        self._recovery = recovery
        self._deadline = deadline
        self._clock = clock
        self._listener = listener
        self._run_end = run_end
        self.held = HeldRepeats()
        self.in_flight: set[asyncio.Task[Any] | None] = set()
        self._carry_out = self._retry(self._money(self._route(self._buy)))

    async def carry_out(self, running: RunningJob) -> Done:
        """Raises the error of the last attempt if there is no picture."""
        return await self._carry_out(running)

    def _retry(self, once: _Step) -> _Step:
        """Once more after a failure, as long as the recovery policy finds a way."""

        async def attempts(running: RunningJob) -> Done:
            async def attempt() -> Done:
                await self._may_begin(running)
                return await once(running)

            try:
                done = await with_retries(
                    attempt,
                    lambda error: self._wait_seconds(running, error),
                    self._clock,
                    is_stopping=lambda: self._run_end.is_stopping,
                    on_wait=lambda error, seconds: self._say(running, error, seconds),
                )
                self._recovery.succeeded(running, done.attempt.seconds)
                return done
            except AttemptError as error:
                if not isinstance(error, (EndpointDown, Refused)):
                    self._say(running, error, None)
                raise
            finally:
                self._recovery.ended(running)

        return attempts

    def _money(self, paid: _Step) -> _Step:
        """With the most it can cost set aside. Where a cap was lowered before it went out, it asks for money again."""

        async def attempt(running: RunningJob) -> Done:
            while True:
                running.permit = None
                try:
                    async with self._ports.money.reserve(running.job):
                        return await paid(running)
                except MoneyWithdrawn:
                    continue

        return attempt

    def _route(self, sent: _Step) -> _Step:
        """When the router lets it out; its permit is held until the attempt is recorded."""

        async def attempt(running: RunningJob) -> Done:
            permit = await self._router.acquire(running.place, need_of(running.job), running.route)
            # Nothing may wait between here and sending: a job that is not in flight is let go when the run stops.
            running.permit = permit
            task = asyncio.current_task()
            self.in_flight.add(task)
            done: Done | None = None
            error: BaseException | None = None
            try:
                self._listener.on_event(AttemptStarted(running.job, len(self.in_flight)))
                done = await sent(running)
                return done
            except BaseException as raised:
                error = raised
                raise
            finally:
                self._router.answered(permit, error)
                self.in_flight.discard(task)
                self._router.release(permit, running.job.id, error, done.attempt.usage if done is not None else None)
                self.held.look()

        return attempt

    async def _buy(self, running: RunningJob) -> Done:
        assert running.permit is not None
        return await self._ports.attempts.buy(running.job, running.why, running.permit.terms)

    async def _may_begin(self, running: RunningJob) -> None:
        """Wait until the next attempt is worth its price; it takes the lane that is quick enough by now."""
        if self._deadline is not None and self._deadline.is_near():
            running.route.lane = Lane.STANDARD
        if running.why == "again" and running.permit is not None:
            await self.held.hold(running.permit.route.wasted(running.permit.terms.model))

    def _wait_seconds(self, running: RunningJob, error: AttemptError) -> float | None:
        """After a failed attempt that may be worth repeating: how long to wait, or None."""
        running.why = "resend" if isinstance(error, OutcomeUnknown) else "again"
        return None if self._run_end.is_stopping else self._recovery.wait_seconds(running, error)

    def _say(self, running: RunningJob, error: AttemptError, retry_seconds: float | None) -> None:
        self._listener.on_event(AttemptFailed(running.job, error, retry_seconds))
