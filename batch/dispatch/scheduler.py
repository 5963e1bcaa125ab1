"""Runs jobs: as many at once as allowed, each with its retries, until done or told to stop.

An attempt is `retry( money( pool( buy ) ) )`, in this order for these reasons: a job that waits for its retry holds no
slot, so others go on; every attempt passes gate and quotas, so retries are paid for from the same quotas and nothing
leaves while the provider wants nothing; and the slot is given back only when the attempt is recorded, so what can be
lost or remembered at any instant is bounded by the number of slots.

Stopping never cancels a request that may have been sent: jobs that wait are let go, those in flight finish.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from random import Random
from typing import Final

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
from batch.core.events import AttemptFailed, AttemptStarted, Listener, Stopping
from batch.core.lane import Lane
from batch.core.model import Done, Failed, Job, Outcome, Pending, Terms, Unknown
from batch.core.settings import Fallback, RetryPolicy
from batch.dispatch.deadline import Deadline
from batch.dispatch.job_route import JobRoute
from batch.dispatch.recovery import RecoveryPolicy, ResendBudget
from batch.dispatch.retry import with_retries
from batch.dispatch.route import Permit, RouteSettings
from batch.dispatch.router import Router
from batch.dispatch.waste_breaker import WasteBreaker
from batch.limits.quotas import need_of
from batch.plan import ToDo

log = logging.getLogger(__name__)

#: Jobs alive per slot: those beyond the slots wait for a retry, the gate or a slot.
_JOBS_PER_SLOT: Final = 3
_INTERNAL_ERRORS: Final = 3
#: Jobs that need nothing, passed over between two looks at everything else: a plan may skip a million in a row.
_SKIPS_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Canary:
    """The first `jobs` are sent alone. When all of them have ended, `judge` is told how many did in which way; an
    error it returns stops the run."""

    jobs: int
    judge: Callable[[Counter[type[Outcome]]], Awaitable[BaseException | None]]


class Scheduler:
    """Carries out the jobs it is given.

    `buy(job, why, terms)` makes one recorded attempt. `past(job)` returns two counts since the job was last edited:
    charged answers without a picture, and requests sent again after an unknown outcome. `canary` goes ahead of the
    others.
    `money(job)` sets aside what an attempt may cost while it lasts; it waits or raises if there is too little.
    `lane` is wished for where an endpoint of `routes` has it, until the `deadline` is near; `fallback` names models
    that take the place of one that cannot serve. `local_bottleneck(in_flight)` names what on our own machine gives back
    no slots: `cpu`, `disk` or nothing.
    """

    def __init__(
        self,
        buy: Callable[[Job, str, Terms], Awaitable[Done]],
        *,
        routes: Sequence[RouteSettings],
        policy: RetryPolicy,
        budget: ResendBudget,
        past: Callable[[Job], tuple[int, int]],
        clock: Clock,
        random: Random,
        listener: Listener,
        canary: Canary | None = None,
        lane: Lane = Lane.STANDARD,
        fallback: Fallback | None = None,
        deadline: Deadline | None = None,
        local_bottleneck: Callable[[int], str] = lambda _: "",
        money: Callable[[Job], AbstractAsyncContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        self._buy = buy
        self._money = money
        self._canary = canary
        self._judging: asyncio.Future[BaseException | None] | None = None
        self._started = 0
        self._ends: Counter[type[Outcome]] = Counter()
        self._budget = budget
        self._clock = clock
        self._listener = listener
        self._lane = lane
        self._fallback = fallback or Fallback()
        self._deadline = deadline
        self._room = asyncio.Semaphore(sum(route.limits.concurrency for route in routes) * _JOBS_PER_SLOT)
        self.router = Router(
            routes,
            clock,
            listener,
            policy,
            self._stop_for,
            self._fallback,
            lambda: local_bottleneck(self.in_flight),
        )
        self._recovery = RecoveryPolicy(policy, budget, past, random, self.router)
        #: None marks the end.
        self._outcomes: asyncio.Queue[Outcome | None] = asyncio.Queue()
        self._jobs: dict[asyncio.Task[Outcome], Job] = {}
        #: Repeats of charged answers that wait for proof that they are worth it, the first first.
        self._held: dict[asyncio.Event, WasteBreaker] = {}
        self._in_flight: set[asyncio.Task[Outcome] | None] = set()
        self._bugs = 0
        self._stopping = False
        #: Why the run stopped before its end: an error of the run, or a reason from outside (a signal).
        self.stopped_by: BaseException | None = None
        #: The first error of one job that is our own fault.
        self.bug: Exception | None = None

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @asynccontextmanager
    async def outcomes(self, todo: Iterator[ToDo | None]) -> AsyncIterator[AsyncIterator[Outcome]]:
        """Start on the jobs and hand out their outcomes as they come; None in `todo` stands for a job to pass over.

        Leaving the block starts nothing more and waits for what is in flight.
        """
        running = asyncio.create_task(self._run(todo))
        try:
            yield self._next_outcomes()
        finally:
            self._stopping = True
            self._let_waiting_go()
            try:
                await self._all_ended(running)
            finally:
                self.router.close()

    def stop(self, reason: BaseException, words: str) -> None:
        """Send nothing new; finish and record what is in flight. Only the first reason counts."""
        if self.stopped_by is not None:
            return
        self.stopped_by = reason
        self._stopping = True
        self._listener.on_event(Stopping(words, self.in_flight))
        self._let_waiting_go()

    async def _all_ended(self, running: asyncio.Task[None]) -> None:
        """Wait for what is in flight. Whoever cancels this wait as well means it: then nothing is waited for."""
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
        spared = {*self._in_flight, _this_task()}
        if self._judging is not None:
            self._judging.cancel()
        for task in self._jobs:
            if task not in spared:
                task.cancel()

    async def _next_outcomes(self) -> AsyncIterator[Outcome]:
        while (outcome := await self._outcomes.get()) is not None:
            yield outcome

    async def _run(self, todo: Iterator[ToDo | None]) -> None:
        try:
            await self._feed(todo)
        except Exception as error:  # noqa: BLE001  (the plan's own error: stop, and let the run report it)
            self.stop(error, str(error))
        while self._jobs:
            await asyncio.wait(self._jobs)
        self._outcomes.put_nowait(None)

    async def _feed(self, todo: Iterator[ToDo | None]) -> None:
        """Take jobs from the plan only as room appears, so that a long plan costs no memory."""
        if self._stopping:
            return
        for number, entry in enumerate(todo):
            if entry is not None:
                await self._mind_the_canary()
                if self._stopping:
                    return
                self._start(entry)
                await self._room.acquire()
            elif number % _SKIPS_AT_ONCE == 0:
                await asyncio.sleep(0)
            if self._stopping:
                return

    async def _mind_the_canary(self) -> None:
        """When the canary's jobs are out, wait for their ends and ask whether to go on."""
        if self._canary is None or self._started < self._canary.jobs:
            return
        while self._jobs:
            await asyncio.wait(self._jobs)
        canary, self._canary = self._canary, None
        if self._stopping:
            return
        self._judging = asyncio.ensure_future(canary.judge(self._ends))
        await asyncio.wait([self._judging])
        reason = None if self._judging.cancelled() else self._judging.result()
        if reason is not None:
            self.stop(reason, str(reason))

    def _start(self, entry: ToDo) -> None:
        self._started += 1
        task = asyncio.create_task(self._settle(entry, self._started))
        self._jobs[task] = entry.job
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Outcome]) -> None:
        """Every job's way ends here, also that of a task cancelled before its first step."""
        job = self._jobs.pop(task)
        self._room.release()
        outcome = Pending(job=job) if task.cancelled() else task.result()
        self._ends[type(outcome)] += 1
        self._release_held()
        if self._deadline is not None:
            self._deadline.job_ended()
        self._outcomes.put_nowait(outcome)

    async def _settle(self, entry: ToDo, place: int) -> Outcome:
        """Bring one job, the `place`-th, to its outcome. Only a cancellation leaves this function: it was let go."""
        job_route = JobRoute(entry.job, self._lane, self._fallback)
        try:
            return await self._with_retries(entry, place, job_route)
        except EndpointDown as error:
            self._stop_for(error)
            return Pending(job=entry.job)
        except StorageError as error:
            self.stop(error, str(error))
            return Pending(job=entry.job)
        except AttemptError as error:
            return self._given_up(entry.job, error, job_route.permit)
        except Exception as error:  # noqa: BLE001  (one job's bug must not end the others; it is reported)
            return self._our_bug(entry.job, error)

    async def _with_retries(self, entry: ToDo, place: int, job_route: JobRoute) -> Done:
        seen: Counter[type[AttemptError]] = Counter()
        why = entry.because
        if why == "resend" and not entry.asked_for and not self._budget.take():
            raise OutcomeUnknown("held", "not sent again: enough jobs of this run may be paid twice already")

        async def attempt() -> Done:
            if self._deadline is not None and self._deadline.is_near():
                job_route.lane = Lane.STANDARD
            if why == "again" and job_route.permit is not None:
                await self._hold(job_route.permit.route.wasted(job_route.permit.terms.model))
            return await self._attempt(entry.job, why, place, job_route)

        def ask(error: AttemptError) -> float | None:
            nonlocal why
            why = "resend" if isinstance(error, OutcomeUnknown) else "again"
            return self._after_failure(entry.job, error, seen, job_route)

        try:
            done = await with_retries(attempt, ask, self._clock)
            self._recovery.budget.succeeded(entry.job.id)
        finally:
            self._recovery.budget.gave_up(entry.job.id)
        if job_route.permit is not None:
            job_route.permit.route.patterns.succeeded(done.attempt.seconds)
        return done

    async def _attempt(self, job: Job, why: str, place: int, job_route: JobRoute) -> Done:
        """One attempt, admitted. Its money is set aside first: who waits for that must hold no slot and no quota."""
        job_route.permit = None
        async with self._money(job):
            permit = await self.router.acquire(place, need_of(job), job_route)
            # Nothing may wait between here and `buy`: whoever is not in flight is let go when the run stops.
            task = _this_task()
            self._in_flight.add(task)
            done: Done | None = None
            error: BaseException | None = None
            try:
                self._listener.on_event(AttemptStarted(job, self.in_flight))
                with permit.watch():
                    done = await self._buy(job, why, permit.terms)
                return done
            except BaseException as raised:
                error = raised
                raise
            finally:
                self._in_flight.discard(task)
                self.router.release(permit, job.id, error, done.attempt.usage if done is not None else None)
                self._release_held()

    async def _hold(self, wasted: WasteBreaker) -> None:
        """A repeat waits while charged answers without a picture come in a row: the next one costs as much."""
        if not wasted.is_common:
            return
        worth_it = asyncio.Event()
        self._held[worth_it] = wasted
        self._release_held()
        try:
            await worth_it.wait()
        finally:
            self._held.pop(worth_it, None)

    def _release_held(self) -> None:
        """Release jobs that nothing holds any more; the first one too if no other is left to try."""
        for worth_it, wasted in list(self._held.items()):
            if not wasted.is_common or len(self._held) >= len(self._jobs):
                del self._held[worth_it]
                worth_it.set()

    def _after_failure(
        self, job: Job, error: AttemptError, seen: Counter[type[AttemptError]], job_route: JobRoute
    ) -> float | None:
        """After a failed attempt that may be worth repeating: how long to wait, or None."""
        wait_seconds = None if self._stopping else self._recovery.wait_seconds(job, error, seen, job_route)
        if self._stopping:  # it may be what stopped the run
            wait_seconds = None
        if wait_seconds is not None or not isinstance(error, (EndpointDown, Refused)):
            self._listener.on_event(AttemptFailed(job, error, wait_seconds))
        return wait_seconds

    def _given_up(self, job: Job, error: AttemptError, permit: Permit | None) -> Outcome:
        if isinstance(error, OutcomeUnknown):
            return Unknown(job=job, error=error)
        if isinstance(error, Undelivered):
            self._listener.on_event(AttemptFailed(job, error, None))
            return Pending(job=job)  # bought; the next run fetches it
        if isinstance(error, RateLimited):
            return Pending(job=job)
        if self._stopping and isinstance(error, (NotSent, Unavailable)):
            return Pending(job=job)  # it would have been tried again
        cause = permit.route.patterns.job_given_up(error) if permit is not None else None
        if permit is not None and cause is not None:
            self.router.end(permit.route, cause, permit.terms.model)
        return Failed(job=job, error=error)

    def _stop_for(self, stopper: EndpointDown) -> None:
        self.stop(stopper, stopper.message)

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
