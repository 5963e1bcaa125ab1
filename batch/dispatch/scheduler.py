"""Runs jobs: as many at once as allowed, each with its retries, until done or told to stop.

An attempt is `retry( gate( slots( rate( buy ) ) ) )`, in this order for these reasons: a job that waits for its
retry holds no slot, so others go on; every attempt passes the gate and the rate, so retries are paid for from
the same quota; and the slot is given back only when the attempt is recorded, so what can be lost or remembered
at any instant is bounded by the number of slots.

Stopping never cancels a request that may have been sent: jobs that wait are let go, those in flight finish.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from random import Random
from typing import Final

from batch.clock import Clock
from batch.dispatch.limits import Gate, RateLimit
from batch.dispatch.patterns import Patterns
from batch.dispatch.retry import decide_retry, with_retries
from batch.errors import (
    AttemptError,
    ExitCode,
    OutcomeUnknown,
    RateLimited,
    Refused,
    RunStopper,
    StorageError,
    Undelivered,
)
from batch.events import Listener
from batch.model import Done, Failed, Job, Outcome, Pending, Unknown
from batch.plan import ToDo
from batch.settings import Limits, RetryPolicy, UnknownPolicy

log = logging.getLogger(__name__)

#: Jobs alive per slot: those beyond the slots wait for a retry, the gate or a slot.
_JOBS_PER_SLOT: Final = 3
_INTERNAL_ERRORS: Final = 3


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


class Scheduler:
    """Carries out the jobs it is given.

    `buy(job, why)` makes one recorded attempt. `past(job)` returns two counts over the job's life: charged answers
    without a picture, and requests sent again after an unknown outcome.
    """

    def __init__(
        self,
        buy: Callable[[Job, str], Awaitable[Done]],
        *,
        limits: Limits,
        policy: RetryPolicy,
        budget: ResendBudget,
        past: Callable[[Job], tuple[int, int]],
        clock: Clock,
        random: Random,
        listener: Listener,
    ) -> None:
        self._buy = buy
        self._policy = policy
        self._budget = budget
        self._past = past
        self._clock = clock
        self._random = random
        self._listener = listener
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._alive = asyncio.Semaphore(limits.concurrency * _JOBS_PER_SLOT + 1)
        self._rate = RateLimit(limits.requests_per_minute, clock)
        self._gate = Gate(clock, listener.gate_closed)
        self._patterns = Patterns()
        self._outcomes: asyncio.Queue[Outcome | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._feeding: asyncio.Task[None] | None = None
        self._internal_errors = 0
        #: Why the run stops before its end: an error, or a reason in words from outside (a signal).
        self.stopped_by: RunStopper | StorageError | BaseException | None = None
        self.requests = 0

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @asynccontextmanager
    async def outcomes(self, todo: Iterator[ToDo]) -> AsyncIterator[AsyncIterator[Outcome]]:
        """Start on the jobs and hand out their outcomes as they come. Leaving the block waits for everything."""
        self._feeding = asyncio.create_task(self._feed(todo))
        try:
            yield self._next_outcomes()
        finally:
            self._feeding.cancel()
            self._let_waiting_go()
            await asyncio.gather(self._feeding, *self._tasks, return_exceptions=True)

    def stop(self, reason: BaseException, words: str) -> None:
        """Send nothing new; finish and record what is in flight. Only the first reason counts."""
        if self.stopped_by is not None:
            return
        self.stopped_by = reason
        self._listener.stopping(words, self.in_flight)
        if self._feeding is not None:
            self._feeding.cancel()
        self._let_waiting_go()

    def abort(self) -> None:
        """Cut what is in flight as well. Those attempts stay open in the ledger: maybe paid."""
        for task in list(self._tasks):
            task.cancel()

    def _let_waiting_go(self) -> None:
        for task in self._tasks - self._in_flight:
            task.cancel()

    async def _next_outcomes(self) -> AsyncIterator[Outcome]:
        while (outcome := await self._outcomes.get()) is not None:
            yield outcome

    async def _feed(self, todo: Iterator[ToDo]) -> None:
        """Take jobs from the plan only as room appears, so that a long plan costs no memory."""
        try:
            for entry in todo:
                await self._alive.acquire()
                task = asyncio.create_task(self._settle(entry))
                self._tasks.add(task)
                task.add_done_callback(self._ended)
            while self._tasks:
                await asyncio.wait(self._tasks)
        except asyncio.CancelledError:
            while self._tasks:
                await asyncio.wait(self._tasks)
        except Exception as error:  # noqa: BLE001  (the plan's own error: stop, and let the run report it)
            self.stop(error, str(error))
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            self._outcomes.put_nowait(None)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._alive.release()

    async def _settle(self, entry: ToDo) -> None:
        """Bring one job to its outcome. Nothing but the outcome leaves this function."""
        try:
            outcome: Outcome = await self._with_retries(entry)
        except RunStopper as error:
            self.stop(error, error.message)
            outcome = Pending(job=entry.job)
        except StorageError as error:
            self.stop(error, str(error))
            outcome = Pending(job=entry.job)
        except Undelivered as error:
            self._listener.attempt_failed(entry.job, error, None)
            outcome = Pending(job=entry.job)
        except AttemptError as error:
            outcome = self._given_up(entry.job, error)
        except asyncio.CancelledError:
            outcome = Pending(job=entry.job)
        except Exception as error:  # noqa: BLE001  (one job's bug must not end the others; it is reported)
            outcome = self._bug(entry.job, error)
        self._outcomes.put_nowait(outcome)

    async def _with_retries(self, entry: ToDo) -> Done:
        seen: Counter[type[AttemptError]] = Counter()
        why = entry.because
        if why == "resend" and not self._budget.take():
            raise OutcomeUnknown("held", "not sent again: enough jobs of this run may be paid twice already")

        async def attempt() -> Done:
            return await self._attempt(entry.job, why)

        def ask(error: AttemptError) -> float | None:
            nonlocal why
            why = "resend" if isinstance(error, OutcomeUnknown) else "again"
            return self._after_failure(entry.job, error, seen)

        done = await with_retries(attempt, ask, self._clock)
        self._patterns.succeeded()
        return done

    async def _attempt(self, job: Job, why: str) -> Done:
        """One attempt, when gate, slot and rate allow it."""
        while True:
            await self._gate.passed()
            async with self._slots:
                if not self._gate.is_open:
                    continue
                await self._rate.admit()
                return await self._in_flight_attempt(job, why)

    async def _in_flight_attempt(self, job: Job, why: str) -> Done:
        task = asyncio.current_task()
        assert task is not None
        self._in_flight.add(task)
        self.requests += 1
        self._listener.attempt_started(job, self.in_flight)
        try:
            return await self._buy(job, why)
        finally:
            self._in_flight.discard(task)

    def _after_failure(self, job: Job, error: AttemptError, seen: Counter[type[AttemptError]]) -> float | None:
        """After a failed attempt that may be worth repeating: how long to wait, or None."""
        seen[type(error)] += 1
        stopper = self._patterns.attempt_failed(error)
        if stopper is not None:
            self.stop(stopper, stopper.message)
        if self.stopped_by is not None:
            return None
        rejected, resends = self._past(job)
        wait_seconds = decide_retry(
            error, seen, self._policy, self._random, rejected_before=rejected,
            may_resend=lambda: self._may_resend(resends),
        )  # fmt: skip
        if isinstance(error, RateLimited) and wait_seconds is not None:
            self._gate.close_for(wait_seconds, error.message)
        self._listener.attempt_failed(job, error, wait_seconds)
        return wait_seconds

    def _may_resend(self, resends: int) -> bool:
        return self._policy.unknown is UnknownPolicy.RESEND and resends == 0 and self._budget.take()

    def _given_up(self, job: Job, error: AttemptError) -> Outcome:
        if isinstance(error, OutcomeUnknown):
            return Unknown(job=job, error=error)
        if isinstance(error, RateLimited):
            self.stop(
                RunStopper("rate_limited", error.message, stop_code=ExitCode.TEMPORARY),
                "the provider keeps asking for fewer requests",
            )
            return Pending(job=job)
        if self.stopped_by is None:
            stopper = self._patterns.job_given_up(error)
            if stopper is not None:
                self.stop(stopper, stopper.message)
        return Failed(job=job, error=error)

    def _bug(self, job: Job, error: Exception) -> Outcome:
        log.error("internal error in job %s", job.id, exc_info=error)
        self._internal_errors += 1
        if self._internal_errors >= _INTERNAL_ERRORS:
            self.stop(error, "too many internal errors")
        message = f"internal error ({type(error).__name__}); its answer, if one came, is kept for the next run"
        return Failed(job=job, error=Refused("internal", message))
