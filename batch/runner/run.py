"""A run, read aloud: load the manifest, plan what is left, open the output and the provider, finish what an
earlier run left open, dispatch the jobs, record each outcome, and report.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import secrets
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random, SystemRandom
from typing import Final

from batch.core.clock import Clock, SystemClock
from batch.core.errors import (
    BatchError,
    CanaryFailed,
    ConfigError,
    Declined,
    EndpointDown,
    ExitCode,
    InputError,
    OptionError,
    OutputError,
    Problem,
    StorageError,
)
from batch.core.events import Listener, Listeners, RunStart
from batch.core.key_index import KEY_BYTES
from batch.core.model import Done, Job, Outcome, Pending, Summary
from batch.core.picture_warnings import asked_words
from batch.core.settings import ChangedPolicy
from batch.dispatch.deadline import Deadline
from batch.dispatch.recovery import ResendBudget
from batch.dispatch.retry import worth_another
from batch.dispatch.scheduler import Canary, Scheduler
from batch.manifest.references.references import picture_kind
from batch.money.wallet import Wallet
from batch.plan import (
    LEFT_OUT,
    MAY_SEND,
    OPEN,
    REMAKE,
    AgainWish,
    Group,
    Plan,
    ToDo,
    decide,
    name_examples,
    resend_places,
)
from batch.providers.references.cache import ReferenceCache, cache_folder
from batch.providers.references.fetched import FetchedReferences
from batch.report.formatting import count
from batch.report.limit_reporter import LimitReporter
from batch.report.summary import Interrupted, Spent, conclude, count_jobs
from batch.report.warned import count_warnings
from batch.runner.accounts import Account
from batch.runner.adoption import Adopter
from batch.runner.attempt import AttemptRunner
from batch.runner.bottleneck import Bottleneck
from batch.runner.connections import KeyedAccount, connect, read_keys
from batch.runner.leftovers import Leftovers
from batch.runner.preparation import Planned, PreparedRun, RunOptions, begun_again, prepare
from batch.store.history import History, State
from batch.store.live_status import LiveStatusFile
from batch.store.lost_files import NONE_LOST, LostFiles, lost_files
from batch.store.records import EndRecord, LeftOutRecord, RemakeRecord, RunRecord, job_of, terms_of
from batch.store.store import OutputFolder, Store, last_note, look_into, machine, output_folder

log = logging.getLogger(__name__)

_FILES_PER_REQUEST: Final = 3
_FILES_BESIDE: Final = 64
_NAMED: Final = 5
#: Caps of our own: the next run looks at its own books, for the caps or the key may be others then.
_KEPT_IN_BOOKS: Final = ("budget", "day_used_up")
#: How long a start is refused at most because the last run said that it is too early.
_LONGEST_WAIT: Final = timedelta(days=1)


class RunControl:
    """The handle by which somebody outside takes part in a run.

    `opening` is called when everything is checked, before anything is written or sent. `ask` puts a question that is
    answered with yes or no while the run waits; `choose_changed` is told of jobs that were edited after they were
    bought and returns what is to become of them. Without a person there is neither. To stop a run: first `drain`, and
    if that takes too long, `abort`.
    """

    def __init__(
        self,
        opening: Callable[[], None] | None = None,
        ask: Callable[[str], Awaitable[bool]] | None = None,
        choose_changed: Callable[[Plan, PreparedRun, History], ChangedPolicy] | None = None,
    ) -> None:
        self.opening = opening or (lambda: None)
        self.ask = ask
        self.choose_changed = choose_changed
        self._scheduler: Scheduler | None = None
        self._leftovers: Leftovers | None = None
        #: Set by the first wish to stop.
        self.stopping = asyncio.Event()
        self._aborted = False
        self._asked: Interrupted | None = None

    @property
    def aborted(self) -> bool:
        """Whether somebody would not even wait for what is in flight."""
        return self._aborted

    def attach(self, scheduler: Scheduler, leftovers: Leftovers) -> None:
        self._scheduler, self._leftovers = scheduler, leftovers
        self._pass_on()

    def drain(self, signal_number: int = signal.SIGINT, name: str = "the caller") -> None:
        """Send nothing new, wait for what is in flight and record it."""
        self._asked = Interrupted(signal_number, name)
        self.stopping.set()
        self._pass_on()

    def abort(self) -> None:
        """Do not wait for what is in flight: it is recorded as unknown, maybe paid."""
        self._aborted = True
        if self._asked is None:
            self.drain()
        if self._scheduler is not None:
            self._scheduler.abort()
        if self._leftovers is not None:
            self._leftovers.abort()

    def _pass_on(self) -> None:
        """Whichever came first, the wish to stop or the scheduler."""
        if self._asked is not None and self._scheduler is not None:
            self._scheduler.stop(self._asked, f"{self._asked} (once more cuts what is in flight)")


async def run(
    manifest_path: str | Path,
    *,
    output: str | Path | None = None,
    options: RunOptions | None = None,
    listener: Listener | None = None,
    environment: Mapping[str, str] | None = None,
    clock: Clock | None = None,
    random: Random | None = None,
    control: RunControl | None = None,
) -> Summary:
    """Buy every picture of a job manifest that is not bought yet, and return how that went.

    Does what `imagebatch run` does. Raises `InputError`, `ConfigError`, `OutputError`, `LedgerError` or
    `LockedError` before anything is sent; what goes wrong later is in the summary's `exit` and `reason`.
    `options` says what this one run is to do differently: which jobs, what of edited ones, what again.
    `environment` (default: the process's) holds the API key, `control` lets a caller stop the run.
    """
    clock = clock or SystemClock()
    control = control or RunControl()
    prepared = prepare(Path(manifest_path), output, options or RunOptions())
    now = LiveStatusFile(prepared.output)
    listener = Listeners([LimitReporter(clock, now.write), *([listener] if listener is not None else [])])
    settings = prepared.manifest.settings
    run_id = f"{clock.now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    accounts = read_keys(prepared.accounts, os.environ if environment is None else environment)
    await _fetch_references(prepared, clock, listener)

    with output_folder(prepared.output, bought_only=not prepared.is_rehearsal) as folder:
        if prepared.policies.again:
            prepared = prepared.going_on(begun_again(folder.last_note()))
        prepared, plan = _agreed_plan(prepared, lambda: folder.history, control)
        await _agree_to_remakes(prepared, plan, control)
        _refuse_what_is_in_the_way(plan, prepared, folder)
        left_out = _left_out(prepared, accounts, folder, clock) if plan.to_do else []
        too_early = _too_early(prepared, plan, left_out)
        if too_early is not None:
            return _not_started(prepared, plan, folder.history, too_early)
        _allow_open_files(settings.concurrency)
        control.opening()
        if folder.torn_bytes:
            listener.message(f"the ledger's last {folder.torn_bytes} bytes were torn by a crash; they are set aside")
        summary: Summary | None = None
        opened: _Run | None = None
        try:
            async with (
                folder.open(
                    run_id, clock, decode=settings.verify == "decode", check_content=settings.check_content
                ) as store,
                connect(accounts, prepared.output, settings.timeouts, clock) as providers,
            ):
                if folder.rehearsal_moved_to is not None:
                    listener.message(f"what was rehearsed with the simulator is now in {folder.rehearsal_moved_to}")
                wish = _wish(prepared, store, begun_again(folder.last_note()))
                await store.note(_about(prepared, wish))
                if prepared.policies.again.since >= 0:
                    listener.message("--again goes on where a run before it stopped; what that made is left as it is")
                keys = {account.name: account.key.reveal() for account in accounts}
                wallet = prepared.wallet(keys, clock, run_id, listener)
                attempts = AttemptRunner(
                    providers,
                    store,
                    clock,
                    lambda error, rejected: worth_another(error, rejected, settings.retry),
                    wallet,
                    control.stopping,
                )
                opened = _Run(
                    prepared=prepared,
                    plan=plan,
                    store=store,
                    attempts=attempts,
                    clock=clock,
                    listener=listener,
                    control=control,
                    wallet=wallet,
                    accounts=accounts,
                    left_out=left_out,
                    wish=wish,
                )
                try:
                    summary = await opened.carry_out(random or SystemRandom())
                finally:
                    await wallet.close(control.stopping.is_set)
                    now.remove()
        except Exception as error:
            if summary is None or opened is None:
                raise
            return opened.summary_despite(error)
        return summary


def run_sync(manifest_path: str | Path, **options: object) -> Summary:
    """`run` for callers without an event loop; takes the same arguments."""
    return asyncio.run(run(manifest_path, **options))  # type: ignore[arg-type]


def plan_only(
    manifest_path: str | Path,
    *,
    output: str | Path | None = None,
    options: RunOptions | None = None,
    listener: Listener | None = None,
) -> Planned:
    """What a run would do, and why. Sends nothing, writes nothing, needs no key.

    Only reference pictures at web addresses are fetched, into their cache, if they are not there yet. It runs an
    event loop of its own for that, so it must not be called from within one.
    """
    prepared = prepare(Path(manifest_path), output, options or RunOptions())
    if prepared.manifest.reference_hosts:
        asyncio.run(_fetch_references(prepared, SystemClock(), listener or Listener()))
    with look_into(prepared.output, bought_only=not prepared.is_rehearsal) as reading:
        if prepared.policies.again:
            prepared = prepared.going_on(begun_again(last_note(prepared.output, reading.history())))
        plan = prepared.plan(reading.history)
        history = reading.history()
    name_examples(plan, prepared.manifest.jobs(), history, prepared.policies)
    return Planned(prepared=prepared, history=history, plan=plan)


def _agreed_plan(
    prepared: PreparedRun, history: Callable[[], History], control: RunControl
) -> tuple[PreparedRun, Plan]:
    """The plan, once it is settled what becomes of edited jobs. Raises `InputError` if nobody can say."""
    plan = prepared.plan(history)
    prepared.refuse_a_silent_replacement(plan)
    policy = prepared.policies.changed
    if not plan.count("skip: changed") or policy in (ChangedPolicy.KEEP, ChangedPolicy.RERUN):
        return prepared, plan
    name_examples(plan, prepared.manifest.jobs(), history(), prepared.policies)
    if policy is ChangedPolicy.ASK and control.choose_changed is not None:
        policy = control.choose_changed(plan, prepared, history())
    if policy is ChangedPolicy.KEEP:
        return prepared, plan
    if policy is ChangedPolicy.RERUN:
        prepared = prepared.with_changed(policy)
        return prepared, prepared.plan(history)
    raise InputError([_edited(plan, prepared)])


async def _agree_to_remakes(prepared: PreparedRun, plan: Plan, control: RunControl) -> None:
    """Nothing that has its picture is bought again before a person knows the price."""
    question = prepared.refuse_unasked_remakes(plan)
    if not question:
        return
    if control.ask is None:
        raise OptionError([Problem(message=f"--again: {question}; add --yes to send them")])
    if not await control.ask(f"{question}. Send them?"):
        raise Declined("you said no; nothing was sent")


def _edited(plan: Plan, prepared: PreparedRun) -> Problem:
    group = plan.groups["skip: changed"]
    named = plan.changed[:_NAMED]
    names = ", ".join(job.id for job in named) + (", ..." if group.count > len(named) else "")
    message = (
        f"{group.count:,} jobs were edited after their pictures were bought ({names}); choose --on-changed keep (leave "
        f"the old pictures) or --on-changed rerun (buy new ones beside them, ${group.price_usd:,.2f})"
    )
    return Problem(message=message, file=str(prepared.manifest.path))


def _left_out(
    prepared: PreparedRun, accounts: Sequence[KeyedAccount], folder: OutputFolder, clock: Clock
) -> list[DisabledEndpoint]:
    """The accounts that the last run left out until a time that has not come yet; a start would make no sense there.

    Believed for a day at most, and not if it was written in the future: a wrong clock must not lock anybody out.
    """
    end = None if prepared.options.ignore_not_before else folder.last_end()
    if end is None:
        return []
    names = {name: account.name for account in accounts for name in (account.fingerprint, account.former_fingerprint)}
    found = []
    for ending in end.left_out:
        written, opens = datetime.fromisoformat(end.at), datetime.fromisoformat(ending.not_before)
        if ending.account in names and written <= clock.now() < min(opens, written + _LONGEST_WAIT):
            words = f"the last run was told so, and not to come back before {ending.not_before}"
            error = EndpointDown(ending.code, words, stop_code=ExitCode.TEMPORARY, not_before=ending.not_before)
            found.append(DisabledEndpoint(names[ending.account], ending.model, error))
    return found


def _too_early(prepared: PreparedRun, plan: Plan, left_out: Sequence[DisabledEndpoint]) -> EndpointDown | None:
    """Why a start makes no sense yet: nobody is left for any of the jobs to send."""
    if not left_out:
        return None
    out = {(each.account, each.model) for each in left_out}
    for job, code in plan.pairs(prepared.manifest.jobs()):
        if code < MAY_SEND and any(
            not {(account.name, ""), (account.name, job.model)} & out for account in prepared.accounts
        ):
            return None
    first = min((each.error for each in left_out), key=lambda error: error.not_before or "~")
    words = (
        f"too early: the last run ended with {first.code}, and said not before {first.not_before}; nothing was sent "
        "(--ignore-not-before starts all the same)"
    )
    return EndpointDown(first.code, words, stop_code=ExitCode.TEMPORARY, not_before=first.not_before)


def _not_started(prepared: PreparedRun, plan: Plan, history: History, why: EndpointDown) -> Summary:
    """The summary of a run that did nothing, which is written nowhere."""
    spent = Spent(usd_before=history.usd, maybe_usd_before=history.maybe_usd, requests=0, resent=(), seconds=0.0)
    return conclude(
        prepared.manifest.settings.name,
        str(prepared.output),
        count_jobs(plan, history),
        history,
        spent,
        (why,),
        prepared.picture_usd,
    )


@dataclass(frozen=True, slots=True)
class DisabledEndpoint:
    """An account that is not asked, for a model or (empty) for any."""

    account: str
    model: str
    error: EndpointDown


def _out_of_use(scheduler: Scheduler) -> dict[str, str]:
    """Endpoints that were left out, and why, if the run did not end over it."""
    if isinstance(scheduler.stopped_by, EndpointDown):
        return {}
    return {route.name: error.message for route in scheduler.router.routes for error in route.endings.values()}


def _called(accounts: Sequence[Account]) -> str:
    """The endpoints in a few words; of several their names in the manifest."""
    if len(accounts) == 1:
        return accounts[0].endpoint.base_url or accounts[0].endpoint.name
    return ", ".join(account.name for account in accounts)


def _about(prepared: PreparedRun, wish: AgainWish | None) -> RunRecord:
    manifest = prepared.manifest
    return RunRecord(
        manifest=str(manifest.path),
        manifest_sha256=manifest.sha256,
        endpoint=", ".join(account.endpoint.name for account in prepared.accounts),
        **machine(),
        remake=_as_record(wish),
    )


def _wish(prepared: PreparedRun, store: Store, begun: AgainWish | None) -> AgainWish | None:
    """The `--again` of this run, or one that stays unfinished because this run was not asked to go on with it."""
    again = prepared.policies.again
    if not again.names_jobs:
        return begun
    since = again.since if again.since >= 0 else store.ledger_bytes
    return AgainWish(said=prepared.options.again, digest=again.digest, since=since)


def _as_record(wish: AgainWish | None) -> RemakeRecord | None:
    return None if wish is None else RemakeRecord(said=wish.said, digest=wish.digest, since=wish.since)


@dataclass(slots=True, kw_only=True)
class _Run:
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

    _started: float = field(init=False)
    _usd_before: float = field(init=False)
    _maybe_usd_before: float = field(init=False)
    _requests_before: int = field(init=False)
    _adopter: Adopter = field(init=False)
    _leftovers: Leftovers = field(init=False)
    _ended: Scheduler | None = field(init=False, default=None)
    _reopened: Group = field(init=False, default_factory=Group)

    def __post_init__(self) -> None:
        self._started = self.clock.monotonic()
        self._usd_before = self.store.history.usd
        self._maybe_usd_before = self.store.history.maybe_usd
        self._requests_before = self.store.history.requests
        self._adopter = Adopter(
            self.plan,
            self.prepared.manifest.jobs,
            self.store,
            self.prepared.reuse,
            self.listener,
            self.prepared.picture_usd,
            self.control.stopping.is_set,
        )
        self._leftovers = Leftovers(self.store, self.attempts, self.listener, self.control.stopping)

    async def carry_out(self, random: Random) -> Summary:
        scheduler = self._scheduler(random)
        self.control.attach(scheduler, self._leftovers)
        try:
            await self._before_the_jobs()
        except (StorageError, InputError, EndpointDown) as error:
            scheduler.stop(error, str(error))
        self.listener.run_started(self._start())
        failure: Exception | None = None
        try:
            async with scheduler.outcomes(self._todo()) as outcomes:
                async for outcome in outcomes:
                    self._publish(outcome, scheduler)
                    self.listener.job_ended(outcome, scheduler.in_flight)
        except Exception as error:  # noqa: BLE001  (nothing is in flight any more; what was bought must be told)
            failure = _failure_of(error, "go on")
        failure = await self._after_the_jobs(scheduler) or failure
        return await self._report(scheduler, failure)

    async def _before_the_jobs(self) -> None:
        """What costs no request: what the last run left open, and pictures that were bought before."""
        await self._leftovers.settle()
        unknown_money = await self._settle_earlier_runs()
        if unknown_money:
            self.listener.message(unknown_money)
        await self._adopter.before_the_run()
        self._count_reopened()

    async def _settle_earlier_runs(self) -> str:
        return await self.wallet.settle_earlier_runs(
            lambda tried: self.attempts.attempt_usd(job_of(tried), terms_of(tried)), self.control.stopping.is_set
        )

    async def _after_the_jobs(self, scheduler: Scheduler) -> Exception | None:
        """Returns what went wrong: the run is over, and its summary comes whatever fails."""
        try:
            await self._leftovers.finish()
            if self._leftovers.ended_late:
                await self._correct_the_books()
            await self._close_open_attempts()
            await self._settle_copies(scheduler)
        except BatchError as error:
            return error
        except Exception as error:  # noqa: BLE001  (a bug of ours, or a disk that cannot be read)
            return _failure_of(error, "finish the run")
        return None

    def _count_reopened(self) -> None:
        """What an earlier run left open, and is sent once more by what is known now."""
        if not self.plan.count("skip: open"):
            return
        for job, code in self.plan.pairs(self.prepared.manifest.jobs()):
            if code == OPEN:
                decision = decide(job, self.store.history.of(job.key()), self.prepared.policies)
                if isinstance(decision, ToDo):
                    self._reopened.add(self.prepared.picture_usd(job), 0.0)

    @property
    def _to_do(self) -> int:
        return self.plan.to_do + self._reopened.count

    async def _correct_the_books(self) -> None:
        """Answers of earlier runs have their pictures, and with them their prices."""
        with suppress(EndpointDown, OutputError):  # a book that cannot be had: the next run corrects it
            await self._settle_earlier_runs()

    def _publish(self, outcome: Outcome, scheduler: Scheduler) -> None:
        if isinstance(outcome, Pending):
            return
        try:
            self.store.published.append(self.store.history.of(outcome.job.key()))
        except StorageError as error:
            scheduler.stop(error, str(error))

    async def _close_open_attempts(self) -> None:
        """After an abort: what was cut off is unknown. Answers that did arrive wait in the spool."""
        await self.store.settle()
        for ticket, received in self.store.open_attempts():
            if received is None:
                await self.attempts.finish(ticket, None)

    async def _settle_copies(self, scheduler: Scheduler) -> None:
        if not self.control.aborted and not isinstance(scheduler.stopped_by, StorageError | InputError):
            await self._adopter.after_the_run()

    def _start(self) -> RunStart:
        settings = self.prepared.manifest.settings
        return RunStart(
            name=settings.name,
            output=str(self.store.output),
            endpoint=_called(self.prepared.accounts),
            jobs=self.plan.jobs,
            done=self.plan.jobs - self._to_do,
            to_do=self._to_do,
            concurrency=settings.concurrency,
            expected_usd=self.plan.usd + self._reopened.price_usd,
            simulated=self.prepared.is_rehearsal,
        )

    def _todo(self) -> Iterator[ToDo | None]:
        """The jobs again, streamed, each decided by what is known of it now; None for those that need nothing."""
        if self.plan.to_do == 0 and not self.plan.count("skip: open"):
            return
        for job, code in self.plan.pairs(self.prepared.manifest.jobs()):
            if code < MAY_SEND:
                decision = decide(job, self.store.history.of(job.key()), self.prepared.policies)
                yield decision if isinstance(decision, ToDo) else None
            else:
                yield None

    def _scheduler(self, random: Random) -> Scheduler:
        settings, history = self.prepared.manifest.settings, self.store.history

        def past(job: Job) -> tuple[int, int]:
            known = history.of(job.key())
            return known.rejected, known.resends

        scheduler = Scheduler(
            self.attempts.buy,
            routes=[account.route(self.prepared.output, self.clock, self.listener) for account in self.accounts],
            policy=settings.retry,
            budget=ResendBudget(resend_places(settings, self.plan)),
            past=past,
            clock=self.clock,
            random=random,
            listener=self.listener,
            canary=self._canary(),
            lane=settings.lane,
            fallback=settings.fallback,
            deadline=self._deadline(),
            local_bottleneck=Bottleneck(
                self.clock, time.process_time, lambda: self.attempts.recording
            ).local_bottleneck,
            money=self.wallet.place,
        )
        for each in self.left_out:
            scheduler.router.leave_out(each.account, each.model, each.error)
        return scheduler

    def _deadline(self) -> Deadline | None:
        finish_by = self.prepared.options.finish_by
        return None if finish_by is None else Deadline(finish_by, self._to_do, self.clock)

    def _canary(self) -> Canary | None:
        """The jobs to send first, if there are some and others to spare with them."""
        wished = self.prepared.options.canary
        settings = self.prepared.manifest.settings.canary
        jobs = settings.jobs if wished is None else wished
        if not 0 < jobs < self._to_do:
            return None

        odd_before, warnings_before = count_warnings(self.store.history)

        async def judge(ends: Counter[type[Outcome]]) -> CanaryFailed | None:
            odd, warnings = count_warnings(self.store.history)
            odd, how_odd = max(0, odd - odd_before), asked_words(warnings - warnings_before)
            failed = jobs - ends[Done] + odd
            if self.control.ask is not None:
                left = self._to_do - jobs
                words = f"{ends[Done]} of the first {jobs} jobs got a picture, see {self.store.output}/images. "
                words += f"{count(odd, 'picture')} not as asked: {how_odd}. " if odd > 0 else ""
                if await self.control.ask(f"{words}Send the other {left:,} jobs?"):
                    return None
                return CanaryFailed(f"you stopped it after the first {jobs} jobs; the others were not sent")
            if failed <= settings.max_failed * jobs:
                return None
            what = f"no picture, or not the one asked for ({how_odd})" if odd > 0 else "no picture"
            return CanaryFailed(
                f"{failed} of the first {jobs} jobs got {what}, and at most {settings.max_failed:.0%} may: the "
                "others were not sent"
            )

        return Canary(jobs, judge)

    def summary_despite(self, error: Exception) -> Summary:
        """The run's summary, after something failed when everything was over."""
        assert self._ended is not None
        return self._summary(self._ended, _failure_of(error, "close the output"))

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
            remakes_left=self._not_made_again(REMAKE),
            lost=self._lost_files() if totals.missing or totals.altered else NONE_LOST,
        )
        return conclude(
            self.prepared.manifest.settings.name,
            str(self.store.output),
            totals,
            history,
            spent,
            (scheduler.stopped_by, scheduler.bug, at_the_end),
            self.prepared.picture_usd,
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

    def _wish_left(self, summary: Summary) -> AgainWish | None:
        """The `--again` that a later run may go on with: it is made only in part, or was not this run's."""
        is_own = self.prepared.policies.again.names_jobs
        return self.wish if summary.remakes_left or not is_own or self._not_made_again(LEFT_OUT) else None

    def _lost_files(self) -> LostFiles:
        try:
            return lost_files(self.store.output, self.store.history, self.plan.order)
        except OSError:  # the counts are known without the disk, the names are not
            return NONE_LOST

    def _left_out(self, scheduler: Scheduler) -> Iterator[LeftOutRecord]:
        """Which accounts make no sense to ask before some time, as the provider said: the next run goes by it."""
        fingerprints = {account.name: account.fingerprint for account in self.accounts}
        for route in scheduler.router.routes:
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
        if not self.store.published.is_current(self.plan.order, history):
            published = await asyncio.to_thread(self.store.published.write, self.plan.order, history)
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
            remake=_as_record(self._wish_left(summary)),
            published=published,
        )
        await self.store.note(end)


def _failure_of(error: Exception, what: str) -> Exception:
    """What went wrong at the end, as a summary says it; what is none of ours is logged."""
    if isinstance(error, OSError):
        return StorageError(f"cannot {what}: {error.strerror or error}")
    if not isinstance(error, BatchError):
        log.exception("a bug in imagebatch")
    return error


async def _fetch_references(prepared: PreparedRun, clock: Clock, listener: Listener) -> None:
    """Pictures at web addresses become files before anything is checked; what is wrong with them, the check tells."""
    manifest = prepared.manifest
    if manifest.reference_hosts:
        cache = ReferenceCache(cache_folder(os.environ))
        refresh = prepared.options.refresh_references
        fetched = FetchedReferences(cache, picture_kind, manifest.reference_hosts.allows, clock, refresh=refresh)
        await fetched.fetch(manifest.wanted_addresses(), listener.message)
        manifest.use_fetched(fetched)


def _allow_open_files(concurrency: int) -> None:
    """Each request in flight has a connection and a spool file; the usual limit of 1,024 files is soon reached."""
    needed = _FILES_PER_REQUEST * concurrency + _FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigError(
            f"concurrency {concurrency} needs {needed} open files, this system allows {hard}; lower limits.concurrency "
            "or raise the limit (ulimit -n)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _refuse_what_is_in_the_way(plan: Plan, prepared: PreparedRun, folder: OutputFolder) -> None:
    """Files that are not ours under names that our pictures would get, found before anything is sent."""
    if plan.to_do == 0 or not (folder.path / "images").is_dir():
        return
    for job, code in plan.pairs(prepared.manifest.jobs()):
        taken = folder.name_in_the_way(job) if code < MAY_SEND else None
        if taken is not None:
            raise OutputError(f"{folder.path / taken} exists and is not in the ledger; move it away (job {job.id!r})")
