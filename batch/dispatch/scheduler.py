"""Runs jobs: as many at once as allowed, each with its retries, until done or told to stop.

Stopping never cancels a request that may have been sent: jobs that wait are let go, those in flight finish. What one
attempt passes: `attempt_loop`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Final, TypeVar

from batch.core.clock import Clock
from batch.core.errors import (
    AttemptError,
    EndpointDown,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    Refused,
    StorageError,
    Unavailable,
    Undelivered,
)
from batch.core.events import Listener, Stopping
from batch.core.model import Failed, Job, Outcome, Pending, Unknown
from batch.core.settings import Limits
from batch.dispatch.attempt_loop import AttemptLoop
from batch.dispatch.base import DispatchConfig, Ports
from batch.dispatch.deadline import Deadline
from batch.dispatch.job_route import JobRoute
from batch.dispatch.recovery import RecoveryPolicy
from batch.dispatch.router import Router, RouterStatistics
from batch.dispatch.running_job import RunningJob
from batch.plan import ToDo

T = TypeVar("T")
log = logging.getLogger(__name__)

#: Jobs alive per slot: those beyond the slots wait for a retry, the gate or a slot.
_JOBS_PER_SLOT: Final = 3
_INTERNAL_ERRORS: Final = 3
#: Jobs that need nothing, passed over between two looks at everything else: a plan may skip a million in a row.
_SKIPS_AT_ONCE: Final = 100


class Scheduler:
    """Carries out the jobs it is given. It is the run's end for its router, breakers and jobs (`RunEnd`)."""

    def __init__(self, ports: Ports, config: DispatchConfig, clock: Clock, random: Random, listener: Listener) -> None:
        self._config = config
        self._listener = listener
        self._canary = ports.canary
        #: Jobs of the canary that have not been judged; 0 when the others may go.
        self._canary_jobs = config.canary_jobs
        self._follow_up = ports.follow_up
        #: What is waited for beside the jobs: the canary's judgement, or what is to follow. A stop lets it go.
        self._waiting: asyncio.Future[Any] | None = None
        self._started = 0
        self._ends: Counter[type[Outcome]] = Counter()
        by = config.finish_by
        self._deadline = None if by is None else Deadline(by, config.jobs, clock)
        self._router = Router(config, clock, listener, self, ports.load)
        self._recovery = RecoveryPolicy(config, ports.past, random, self._router)
        self._loop = AttemptLoop(ports, self._router, self._recovery, self._deadline, clock, listener, self)
        #: None marks the end.
        self._outcomes: asyncio.Queue[Outcome | None] = asyncio.Queue()
        self._jobs: dict[asyncio.Task[Outcome], Job] = {}
        self._room = asyncio.Event()
        self._bugs = 0
        self.is_stopping = False
        #: Why the run stopped before its end: an error of the run, or a reason from outside (a signal).
        self.stopped_by: BaseException | None = None
        #: The first error of one job that is our own fault.
        self.bug: Exception | None = None

    @property
    def in_flight(self) -> int:
        return len(self._loop.in_flight)

    @property
    def limits(self) -> dict[str, Limits]:
        """Those in force, by the endpoint's name."""
        return {route.name: route.limits for route in self._router.routes}

    def statistics(self) -> RouterStatistics:
        """What limits the run now; a snapshot."""
        return self._router.statistics()

    def reconfigure(self, limits: Mapping[str, Limits]) -> None:
        """From now on these limits hold, by the endpoint's name. Requests in flight stay out, also if they are more."""
        self._router.reconfigure(limits)
        self._room.set()

    def leave_out(self, endpoint: str, model: str, error: EndpointDown) -> None:
        """Before the start: an endpoint that is known to be of no use yet, for a model or ("") for any."""
        self._router.leave_out(endpoint, model, error)

    @asynccontextmanager
    async def outcomes(self, todo: Iterator[ToDo | None]) -> AsyncIterator[AsyncIterator[Outcome]]:
        """Start on the jobs and hand out their outcomes as they come; None in `todo` stands for a job to pass over.

        Leaving the block starts nothing more and waits for what is in flight.
        """
        running = asyncio.create_task(self._run(todo))
        try:
            yield self._next_outcomes()
        finally:
            self.is_stopping = True
            self._let_waiting_go()
            try:
                await self._all_ended(running)
            finally:
                self._router.close()

    def stop(self, reason: BaseException, words: str) -> None:
        """Send nothing new; finish and record what is in flight. Only the first reason counts."""
        if self.stopped_by is not None:
            return
        self.stopped_by = reason
        self.is_stopping = True
        self._listener.on_event(Stopping(words, self.in_flight))
        self._let_waiting_go()

    async def _all_ended(self, running: asyncio.Task[None]) -> None:
        """Wait for what is in flight. If this wait is cancelled too, nothing is waited for."""
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError:
            self.abort()
            await asyncio.wait([running])
            raise
        await running

    def abort(self) -> None:
        """After `stop`: cut what is in flight as well. Those attempts stay open in the ledger: maybe paid."""
        for task in self._jobs:
            task.cancel()

    def _let_waiting_go(self) -> None:
        # A job that stops the run is on its way to its own outcome; it must not be cancelled over it.
        spared = {*self._loop.in_flight, _this_task()}
        if self._waiting is not None:
            self._waiting.cancel()
        for task in self._jobs:
            if task not in spared:
                task.cancel()

    async def _next_outcomes(self) -> AsyncIterator[Outcome]:
        while (outcome := await self._outcomes.get()) is not None:
            yield outcome
            self._outcomes.task_done()

    async def _run(self, todo: Iterator[ToDo | None]) -> None:
        more: Iterator[ToDo | None] | None = todo
        while more is not None:
            try:
                await self._feed(more)
                while self._jobs:
                    await asyncio.wait(self._jobs)
                more = await self._let_go(self._more())
            except Exception as error:  # noqa: BLE001  (the plan's own error: stop, and let the run report it)
                self.stop(error, str(error))
                break
        while self._jobs:
            await asyncio.wait(self._jobs)
        self._outcomes.put_nowait(None)

    async def _more(self) -> Iterator[ToDo | None] | None:
        """What follows, once the last of the outcomes has been taken in."""
        await self._outcomes.join()
        return await self._follow_up.more()

    async def _let_go(self, waited_for: Coroutine[Any, Any, T]) -> T | None:
        """Wait for something that a stop lets go; None if it did."""
        if self.is_stopping:
            waited_for.close()
            return None
        self._waiting = asyncio.ensure_future(waited_for)
        await asyncio.wait([self._waiting])
        return None if self._waiting.cancelled() else self._waiting.result()

    async def _feed(self, todo: Iterator[ToDo | None]) -> None:
        """Take jobs from the plan only as room appears, so that a long plan costs no memory."""
        if self.is_stopping:
            return
        for number, entry in enumerate(todo):
            if entry is not None:
                await self._mind_the_canary()
                if self.is_stopping:
                    return
                self._start(entry)
                await self._wait_for_room()
            elif number % _SKIPS_AT_ONCE == 0:
                await asyncio.sleep(0)
            if self.is_stopping:
                return

    async def _mind_the_canary(self) -> None:
        """When the canary's jobs are out, wait for their ends and ask whether to go on."""
        if not self._canary_jobs or self._started < self._canary_jobs:
            return
        while self._jobs:
            await asyncio.wait(self._jobs)
        self._canary_jobs = 0
        if self.is_stopping:
            return
        reason = await self._let_go(self._canary.judge(self._ends))
        if reason is not None:
            self.stop(reason, str(reason))

    async def _wait_for_room(self) -> None:
        while len(self._jobs) > self._router.concurrency * _JOBS_PER_SLOT:
            self._room.clear()
            await self._room.wait()

    def _start(self, entry: ToDo) -> None:
        self._started += 1
        job_route = JobRoute(entry.job, self._config.lane, self._config.fallback)
        running = RunningJob(job=entry.job, place=self._started, why=entry.because, route=job_route)
        task = asyncio.create_task(self._settle(running, asked_for=entry.asked_for))
        self._jobs[task] = entry.job
        self._loop.held.job_began()
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Outcome]) -> None:
        """Ends every job, also one whose task was cancelled before its first step."""
        job = self._jobs.pop(task)
        self._room.set()
        outcome = Pending(job=job) if task.cancelled() else task.result()
        self._ends[type(outcome)] += 1
        self._loop.held.job_ended()
        if self._deadline is not None:
            self._deadline.job_ended()
        self._outcomes.put_nowait(outcome)

    async def _settle(self, running: RunningJob, *, asked_for: bool) -> Outcome:
        """Bring one job to its outcome. Only a cancellation leaves this function: it was let go."""
        job = running.job
        try:
            if running.why == "resend" and not asked_for and not self._recovery.may_resend():
                raise OutcomeUnknown("held", "not sent again: enough jobs of this run may be paid twice already")
            return await self._loop.carry_out(running)
        except EndpointDown as error:
            self.stop(error, error.message)
            return Pending(job=job)
        except StorageError as error:
            self.stop(error, str(error))
            return Pending(job=job)
        except AttemptError as error:
            return self._given_up(running, error)
        except Exception as error:  # noqa: BLE001  (one job's bug must not end the others; it is reported)
            return self._our_bug(job, error)

    def _given_up(self, running: RunningJob, error: AttemptError) -> Outcome:
        if isinstance(error, OutcomeUnknown):
            return Unknown(job=running.job, error=error)
        if isinstance(error, (RateLimited, Undelivered)):
            return Pending(job=running.job)  # of the latter the next run fetches the picture
        if self.is_stopping and isinstance(error, (NotSent, Unavailable)):
            return Pending(job=running.job)  # it would have been tried again
        self._recovery.failed(running, error)
        return Failed(job=running.job, error=error)

    def _our_bug(self, job: Job, error: Exception) -> Outcome:
        log.error("internal error in job %s", job.id, exc_info=error)
        self.bug = self.bug or error
        self._bugs += 1
        if self._bugs >= _INTERNAL_ERRORS:
            self.stop(error, "too many internal errors")
        message = f"internal error ({type(error).__name__}); its answer, if one came, is kept for the next run"
        return Failed(job=job, error=Refused("internal", message))


def _this_task() -> asyncio.Task[Outcome] | None:
    """The job's task we are in; None outside of one, as in a signal's handler."""
    return asyncio.current_task()
