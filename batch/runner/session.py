"""One run with everything open: leftovers, adoption, dispatch, records, report."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from random import Random
from typing import Final

from batch.core.clock import Clock
from batch.core.errors import (
    BatchError,
    EndpointDown,
    InputError,
    OutputError,
    StorageError,
)
from batch.core.events import JobEnded, JobsAdded, Listener, Message, RunStart, RunStarted
from batch.core.key_index import KEY_BYTES
from batch.core.model import Done, Job, Outcome, Pending
from batch.core.results import Review, Summary
from batch.dispatch.base import DispatchConfig, Past, Ports
from batch.dispatch.scheduler import Scheduler
from batch.money.wallet import Wallet
from batch.plan import (
    CHAINED,
    LEFT_OUT,
    MAY_SEND,
    OPEN,
    REJECTED,
    REMAKE,
    AgainWish,
    Group,
    Plan,
    Policies,
    ToDo,
    decide,
    resend_places,
)
from batch.report.summary import Spent, conclude, count_jobs
from batch.runner.accounts import Account
from batch.runner.adoption import Adopter
from batch.runner.attempt import AttemptRunner
from batch.runner.bottleneck import Bottleneck
from batch.runner.canary import PictureJudge
from batch.runner.checks import Checks, Judge
from batch.runner.connections import KeyedAccount
from batch.runner.control import LiveRun, RunControl
from batch.runner.kept_rows import KeptRows
from batch.runner.leftovers import Leftovers
from batch.runner.preflight import DisabledEndpoint
from batch.runner.preparation import PreparedRun
from batch.store.folder import machine
from batch.store.history import History
from batch.store.job_state import State
from batch.store.ledger import Published
from batch.store.lost_files import NONE_LOST, LostFiles, lost_files
from batch.store.records import EndRecord, LeftOutRecord, RemakeRecord, RunRecord, job_of, terms_of
from batch.store.starts import BoughtStarts
from batch.store.store import Store

log = logging.getLogger(__name__)
#: Caps of our own: the next run looks at its own books, for the caps or the key may be others then.
_KEPT_IN_BOOKS: Final = ("budget", "day_used_up")


def _out_of_use(scheduler: Scheduler) -> dict[str, str]:
    """Endpoints that were left out, and why, if the run did not end over it."""
    if isinstance(scheduler.stopped_by, EndpointDown):
        return {}
    return {route.name: error.message for route in scheduler.statistics().routes for error in route.endings.values()}


def endpoint_names(accounts: Sequence[Account]) -> str:
    """The endpoints in a few words; of several their names in the manifest."""
    if len(accounts) == 1:
        return accounts[0].endpoint.base_url or accounts[0].endpoint.name
    return ", ".join(account.name for account in accounts)


def about_run(prepared: PreparedRun, wish: AgainWish | None) -> RunRecord:
    manifest = prepared.manifest
    return RunRecord(
        manifest=str(manifest.path),
        manifest_sha256=manifest.sha256,
        endpoint=", ".join(account.endpoint.name for account in prepared.accounts),
        **machine(),
        remake=remake_record(wish),
    )


def remake_wish(prepared: PreparedRun, store: Store, begun: AgainWish | None) -> AgainWish | None:
    """The `--again` of this run, or one that stays unfinished because this run was not asked to go on with it."""
    again = prepared.policies.again
    if not again.names_jobs:
        return begun
    since = again.since if again.since >= 0 else store.ledger_bytes
    return AgainWish(said=prepared.options.again, digest=again.digest, since=since)


def remake_record(wish: AgainWish | None) -> RemakeRecord | None:
    return None if wish is None else RemakeRecord(said=wish.said, digest=wish.digest, since=wish.since)


class _HistoryPast:
    """A `JobPast` as the ledger has it."""

    def __init__(self, history: History) -> None:
        self._history = history

    def past(self, job: Job) -> Past:
        known = self._history.of(job.key())
        return Past(known.rejected, known.resends, known.usd)


@dataclass(slots=True, kw_only=True)
class RunSession:
    """One run with everything open."""

    prepared: PreparedRun
    plan: Plan
    store: Store
    attempts: AttemptRunner
    clock: Clock
    listener: Listener
    control: RunControl
    accounts: Sequence[KeyedAccount]
    left_out: Sequence[DisabledEndpoint]
    wish: AgainWish | None
    wallet: Wallet
    judge: Judge | None = None

    _started: float = field(init=False)
    _usd_before: float = field(init=False)
    _maybe_usd_before: float = field(init=False)
    _requests_before: int = field(init=False)
    _ledger_start: int = field(init=False)
    _looked_at: set[int] = field(init=False, default_factory=set)
    #: Jobs of chains that were sent in this run.
    _gone_on: set[bytes] = field(init=False, default_factory=set)
    _rows: KeptRows = field(init=False)
    _adopter: Adopter = field(init=False)
    _leftovers: Leftovers = field(init=False)
    _ended: Scheduler | None = field(init=False, default=None)
    _reopened: Group = field(init=False, default_factory=Group)
    _checks: Checks | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._started = self.clock.monotonic()
        self._usd_before = self.store.history.usd
        self._maybe_usd_before = self.store.history.maybe_usd
        self._requests_before = self.store.history.requests
        self._ledger_start = self.store.ledger_bytes
        self._rows = KeptRows(self.prepared.manifest)
        self.store.published.keeps_rows = bool(self._rows)
        self._adopter = Adopter(
            self.plan,
            self._rows,
            self.store,
            self.prepared.reuse,
            self.listener,
            self.prepared.money.picture_usd,
            self.control.stopping.is_set,
        )
        if self.judge is not None:
            self._checks = Checks(
                judge=self.judge,
                output=self.store.output,
                history=self.store.history,
                rejected=self.prepared.rejected,
                clock=self.clock,
                say=lambda words: self.listener.on_event(Message(words)),
            )
        self._leftovers = Leftovers(self.store, self.attempts, self.listener, self.control.stopping)

    async def carry_out(self, random: Random) -> Summary:
        scheduler = self._scheduler(random)
        self.control.attach(
            LiveRun(
                budget=self.prepared.manifest.settings.budget,
                scheduler=scheduler,
                leftovers=self._leftovers,
                wallet=self.wallet,
            )
        )
        try:
            return await self._carry_out(scheduler)
        finally:
            self.control.detach()

    async def _carry_out(self, scheduler: Scheduler) -> Summary:
        try:
            await self._before_the_jobs()
        except (StorageError, InputError, EndpointDown) as error:
            scheduler.stop(error, str(error))
        self.listener.on_event(RunStarted(self._start()))
        failure: Exception | None = None
        try:
            self._check_what_is_there()
            async with scheduler.outcomes(self._todo()) as outcomes:
                async for outcome in outcomes:
                    self._publish(outcome, scheduler)
                    self.listener.on_event(JobEnded(outcome, scheduler.in_flight))
                    if self._checks is not None and isinstance(outcome, Done):
                        self._checks.add([outcome.job.key()])
        except Exception as error:  # noqa: BLE001  (nothing is in flight any more; what was bought must be told)
            failure = failure_of(error, "go on")
        failure = await self._after_the_jobs(scheduler) or failure
        return await self._report(scheduler, failure)

    async def _before_the_jobs(self) -> None:
        """What costs no request: what the last run left open, and pictures that were bought before."""
        await self._leftovers.settle()
        unknown_money = await self._settle_earlier_runs()
        if unknown_money:
            self.listener.on_event(Message(unknown_money))
        await self._adopter.before_the_run()
        self._count_reopened()

    async def _settle_earlier_runs(self) -> str:
        return await self.wallet.settle_earlier_runs(
            lambda tried: self.attempts.attempt_usd(job_of(tried), terms_of(tried)), self.control.stopping.is_set
        )

    async def _after_the_jobs(self, scheduler: Scheduler) -> Exception | None:
        """Returns what went wrong: the run is over, and its summary comes whatever fails."""
        try:
            if self._checks is not None:
                await self._checks.close()
            await self._leftovers.finish()
            if self._leftovers.ended_late:
                await self._correct_the_books()
            await self._close_open_attempts()
            await self._settle_copies(scheduler)
        except BatchError as error:
            return error
        except Exception as error:  # noqa: BLE001  (a bug of ours, or a disk that cannot be read)
            return failure_of(error, "finish the run")
        return None

    def _check_what_is_there(self) -> None:
        """Pictures without a verdict: of a run that was cut off, or made before the manifest had a check."""
        if self._checks is None:
            return
        order = self.plan.order
        for index, code in enumerate(self.plan.decisions):
            if code == OPEN or (code >= MAY_SEND and code != LEFT_OUT):
                self._checks.add([bytes(order[KEY_BYTES * index : KEY_BYTES * (index + 1)])])

    def _count_reopened(self) -> None:
        """What an earlier run left open, and is sent once more by what is known now."""
        if not self.plan.count("skip: open"):
            return
        for job, code in self.plan.pairs(self.prepared.manifest.jobs()):
            if code == OPEN:
                decision = decide(job, self.store.history.of(job.key()), self.prepared.policies)
                if isinstance(decision, ToDo):
                    self._reopened.add(self.prepared.money.picture_usd(job), 0.0)

    @property
    def _to_do(self) -> int:
        return self.plan.to_do + self._reopened.count

    async def _correct_the_books(self) -> None:
        """Answers of earlier runs have their pictures, and with them their prices."""
        with suppress(EndpointDown, OutputError):  # a book that cannot be had: the next run corrects it
            await self._settle_earlier_runs()

    def _publish(self, outcome: Outcome, scheduler: Scheduler) -> None:
        row = self._rows.take(outcome.job)
        if isinstance(outcome, Pending):
            return
        try:
            self.store.published.append(self.store.history.of(outcome.job.key()), row)
        except StorageError as error:
            scheduler.stop(error, str(error))

    async def _close_open_attempts(self) -> None:
        """After an abort: what was cut off is unknown. Answers that did arrive wait in the spool."""
        await self.store.settle()
        for attempt, received in self.store.open_attempts():
            if received is None:
                await self.attempts.lost(attempt)

    async def _settle_copies(self, scheduler: Scheduler) -> None:
        if not self.control.aborted and not isinstance(scheduler.stopped_by, StorageError | InputError):
            await self._adopter.after_the_run()

    def _start(self) -> RunStart:
        settings = self.prepared.manifest.settings
        return RunStart(
            name=settings.name,
            output=str(self.store.output),
            endpoint=endpoint_names(self.prepared.accounts),
            jobs=self.plan.jobs,
            done=self.plan.jobs - self._to_do,
            to_do=self._to_do,
            concurrency=sum(account.limits.concurrency for account in self.prepared.accounts),
            expected_usd=self.plan.usd + self._reopened.price_usd,
            simulated=self.prepared.is_rehearsal,
            gallery=settings.gallery,
        )

    def _todo(self) -> Iterator[ToDo | None]:
        """The jobs again, streamed, each decided by what is known of it now; None for those that need nothing."""
        if self.plan.to_do == 0 and not self.plan.count("skip: open"):
            return
        for job, code in self.plan.pairs(self._rows.jobs()):
            if code < MAY_SEND and code != CHAINED:
                decision = decide(job, self.store.history.of(job.key()), self.prepared.policies)
                if isinstance(decision, ToDo):
                    self._rows.hold(job)
                yield decision if isinstance(decision, ToDo) else None
            else:
                yield None

    async def more(self) -> Iterator[ToDo | None] | None:
        """Pictures of this run that were rejected meanwhile, as far as the manifest's `until` makes them again."""
        if self._checks is not None:
            await self._checks.idle()
        policies = replace(self.prepared.policies, rejected=self.prepared.policies.rejected.by_itself())
        keys = {key for key in self.prepared.rejected if self._is_to_follow(key, policies)}
        self._looked_at |= {self.store.history.of(key).bought_offset for key in keys}
        return self._following(keys, policies) if keys else await self._unchained()

    async def _unchained(self) -> Iterator[ToDo | None] | None:
        """The jobs whose picture to go on with is there by now."""
        if not self.plan.count("to do: chained"):
            return None
        await self.store.settle()
        entries = self._going_on(BoughtStarts(self.store.output, lambda: self.store.history))
        first = next((entry for entry in entries if entry is not None), None)
        return None if first is None else chain((first,), entries)

    def _going_on(self, starts: BoughtStarts) -> Iterator[ToDo | None]:
        for job, code in self.plan.pairs(self._rows.jobs()):
            if code != CHAINED or job.key() in self._gone_on:
                yield None
                continue
            begun = starts.known(replace(job, references=tuple(r for r in job.references if r.turn is None)))
            past = self.store.history.of(job.key())
            decision = decide(begun, past, self.prepared.policies) if begun.has_its_start else None
            if isinstance(decision, ToDo):
                self._gone_on.add(job.key())
                self._rows.hold(job)
            yield decision if isinstance(decision, ToDo) else None

    def _is_to_follow(self, key: bytes, policies: Policies) -> bool:
        """Each picture is looked at once: what may not be made again now, may not be later either."""
        past = self.store.history.of(key)
        is_judged = self._checks is not None and key in self._checks.judged
        is_new = past.bought_offset >= self._ledger_start or is_judged
        if not is_new or past.bought_offset in self._looked_at:
            return False
        if past.state is not State.DONE or policies.rejected.until is None:
            return False
        return policies.rejected.of(key, past) is not None

    def _following(self, keys: Set[bytes], policies: Policies) -> Iterator[ToDo | None]:
        for job, _ in self.plan.pairs(self._rows.jobs()):
            decision = decide(job, self.store.history.of(job.key()), policies) if job.key() in keys else None
            if isinstance(decision, ToDo):
                self._rows.hold(job)
                self.listener.on_event(JobsAdded(1))
            yield decision if isinstance(decision, ToDo) else None

    def _scheduler(self, random: Random) -> Scheduler:
        settings, history = self.prepared.manifest.settings, self.store.history
        canary_jobs = self._canary_jobs()
        judge = PictureJudge(settings.canary, canary_jobs, self._to_do, history, self.store.output, self.control.ask)
        ports = Ports(
            attempts=self.attempts,
            past=_HistoryPast(history),
            money=self.wallet,
            load=Bottleneck(self.clock, time.process_time, lambda: self.attempts.recording),
            canary=judge,
            follow_up=self,
        )
        config = DispatchConfig(
            routes=[account.route(self.prepared.output, self.clock, self.listener) for account in self.accounts],
            policy=settings.retry,
            resend_places=resend_places(settings, self.plan),
            lane=settings.lane,
            fallback=settings.fallback,
            finish_by=self.prepared.options.finish_by,
            jobs=self._to_do,
            canary_jobs=canary_jobs,
        )
        scheduler = Scheduler(ports, config, self.clock, random, self.listener)
        for each in self.left_out:
            scheduler.leave_out(each.account, each.model, each.error)
        return scheduler

    def _canary_jobs(self) -> int:
        """How many jobs to send first; 0 if no jobs would be left to hold back."""
        wished = self.prepared.options.canary
        jobs = self.prepared.manifest.settings.canary.jobs if wished is None else wished
        return jobs if 0 < jobs < self._to_do else 0

    def summary_despite(self, error: Exception) -> Summary:
        """The run's summary, after something failed when everything was over."""
        assert self._ended is not None
        return self._summary(self._ended, failure_of(error, "close the output"))

    async def _report(self, scheduler: Scheduler, failure: Exception | None) -> Summary:
        self._ended = scheduler
        summary = self._summary(scheduler, failure)
        try:
            await self._write_end(summary, scheduler)
        except Exception as error:  # noqa: BLE001  (the summary comes whatever fails last)
            return self.summary_despite(error)
        return summary

    def _summary(self, scheduler: Scheduler, at_the_end: Exception | None = None) -> Summary:
        history = self.store.history
        totals = count_jobs(self.plan, history)
        spent = Spent(
            usd_before=self._usd_before,
            maybe_usd_before=self._maybe_usd_before,
            requests=history.requests - self._requests_before,
            resent=self.attempts.resent,
            seconds=self.clock.monotonic() - self._started,
            adopted=self._adopter.adopted,
            endpoints_out=_out_of_use(scheduler),
            simulated=self.prepared.is_rehearsal,
            remakes_left=self._not_made_again(REMAKE) + self._still_rejected(),
            review=self._review(),
            checked=None if self._checks is None else self._checks.result,
            lost=self._lost_files() if totals.missing or totals.altered else NONE_LOST,
        )
        return conclude(
            self.prepared.manifest.settings.name,
            str(self.store.output),
            totals,
            history,
            spent,
            (scheduler.stopped_by, scheduler.bug, at_the_end),
            self.prepared.money.picture_usd,
        )

    def _not_made_again(self, code: int) -> int:
        """Of the jobs with that decision, how many are to be made again, are not, and have not failed either."""
        if not self.prepared.policies.again.names_jobs or self.wish is None:
            return 0
        order, history, left = self.plan.order, self.store.history, 0
        index = self.plan.decisions.find(code)
        while index >= 0:
            past = history.of(bytes(order[KEY_BYTES * index : KEY_BYTES * (index + 1)]))
            left += past.state is State.DONE and past.bought_offset < self.wish.since
            index = self.plan.decisions.find(code, index + 1)
        return left

    def _still_rejected(self) -> int:
        """Of the rejected jobs to be made again, how many are not, and have not failed either."""
        order, history, rejected, left = self.plan.order, self.store.history, self.prepared.policies.rejected, 0
        index = self.plan.decisions.find(REJECTED)
        while index >= 0:
            key = bytes(order[KEY_BYTES * index : KEY_BYTES * (index + 1)])
            past = history.of(key)
            is_old = past.state is State.DONE and past.bought_offset < self._ledger_start
            left += is_old and rejected.of(key, past) is not None
            index = self.plan.decisions.find(REJECTED, index + 1)
        return left

    def _wish_left(self) -> AgainWish | None:
        """The `--again` that a later run may go on with: it is made only in part, or was not this run's."""
        is_own = self.prepared.policies.again.names_jobs
        return self.wish if self._not_made_again(REMAKE) or not is_own or self._not_made_again(LEFT_OUT) else None

    def _lost_files(self) -> LostFiles:
        try:
            return lost_files(self.store.output, self.store.history, self.plan.order)
        except OSError:  # the counts are known without the disk, the names are not
            return NONE_LOST

    def _review(self) -> Review | None:
        try:
            return self.prepared.review(self.store.history)
        except (OSError, BatchError):  # what was said of pictures does not keep a run from its end
            return None

    def _left_out(self, scheduler: Scheduler) -> Iterator[LeftOutRecord]:
        """Which accounts make no sense to ask before some time, as the provider said: the next run goes by it."""
        fingerprints = {account.name: account.fingerprint for account in self.accounts}
        for route in scheduler.statistics().routes:
            for model, error in route.endings.items():
                if error.not_before is not None and error.code not in _KEPT_IN_BOOKS:
                    yield LeftOutRecord(
                        endpoint=route.name,
                        account=fingerprints[route.name],
                        model=model,
                        code=error.code,
                        not_before=error.not_before,
                    )

    async def _write_end(self, summary: Summary, scheduler: Scheduler) -> None:
        history = self.store.history
        published = history.published
        if not self.store.published.is_current(self.plan.order, history, self.plan.rows_digest):
            published = await asyncio.to_thread(self._write_published)
        assert published is not None
        end = EndRecord(
            exit=summary.exit,
            reason=summary.reason,
            message=summary.message,
            not_before=summary.not_before,
            left_out=tuple(self._left_out(scheduler)),
            done=summary.done,
            failed=summary.failed,
            unknown=summary.unknown,
            pending=summary.pending,
            requests=summary.requests,
            cost_usd=summary.cost_usd,
            maybe_cost_usd=summary.maybe_cost_usd,
            spend=asdict(summary.spend),
            stopped=scheduler.stopped_by is not None,
            remake=remake_record(self._wish_left()),
            published=published,
        )
        await self.store.note(end)

    def _write_published(self) -> Published:
        if not self._rows:
            return self.store.published.write(self.plan.order, self.store.history)
        published = self.store.published.write(self.plan.order, self.store.history, self._rows.in_order())
        if not self._rows.complete:
            words = "the table was edited while the run was on; the next run writes its columns into manifest.jsonl"
            self.listener.on_event(Message(words))
            return published
        published.rows = self.plan.rows_digest
        return published


def failure_of(error: Exception, what: str) -> Exception:
    """What went wrong at the end, as a summary says it; what is none of ours is logged."""
    if isinstance(error, OSError):
        return StorageError(f"cannot {what}: {error.strerror or error}")
    if not isinstance(error, BatchError):
        log.exception("a bug in imagebatch")
    return error
