"""A run, read aloud: load the manifest, plan what is left, open the output and the provider, finish what an
earlier run left open, dispatch the jobs, record each outcome, and report.
"""

from __future__ import annotations

import asyncio
import math
import os
import resource
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Final

from batch.attempt import Buyer
from batch.clock import Clock, SystemClock
from batch.dispatch.retry import worth_another
from batch.dispatch.scheduler import ResendBudget, Scheduler
from batch.errors import ConfigError, InputError, OutputError, Problem, StorageError
from batch.events import Listener, Listeners, RunStart
from batch.manifest import Manifest, load_manifest
from batch.manifest.references import picture_kind
from batch.model import Job, Outcome, Pending, Summary
from batch.plan import Decision, Plan, Policies, ToDo, decide, make_plan
from batch.prices import PriceTable, load_prices
from batch.providers.fetched_references import FetchedReferences
from batch.providers.gemini import GeminiProvider
from batch.providers.profiles import Endpoint, resolve_endpoint
from batch.providers.reference_cache import ReferenceCache, cache_folder
from batch.providers.secrets import ApiKey, read_key
from batch.report.summary import Interrupted, Spent, conclude, count_jobs
from batch.settings import ChangedPolicy, Settings
from batch.store.history import History, JobHistory, replay
from batch.store.store import OutputFolder, Store, machine, output_folder

if TYPE_CHECKING:
    from batch.simulator import SimulatorSettings

_RESEND_SHARE: Final = 0.01
_SIMULATOR_KEY: Final = "simulator"
_FILES_PER_REQUEST: Final = 3
_FILES_BESIDE: Final = 64
#: Looking for a similar id among a million takes longer than anybody waits.
_NAMES_COMPARED: Final = 20_000


class RunControl:
    """The handle by which somebody outside stops a run: first `drain`, and if that takes too long, `abort`.

    `opening` is called when everything is checked, before anything is written or sent.
    """

    def __init__(self, opening: Callable[[], None] | None = None) -> None:
        self.opening = opening or (lambda: None)
        self._scheduler: Scheduler | None = None
        self._asked: Interrupted | None = None

    def attach(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        if self._asked is not None:
            scheduler.stop(self._asked, f"{self._asked} (once more cuts what is in flight)")

    def drain(self, signal_number: int = signal.SIGINT, name: str = "the caller") -> None:
        """Send nothing new, wait for what is in flight and record it."""
        self._asked = Interrupted(signal_number, name)
        if self._scheduler is not None:
            self._scheduler.stop(self._asked, f"{self._asked} (once more cuts what is in flight)")

    def abort(self) -> None:
        """Do not wait for what is in flight: it is recorded as unknown, maybe paid."""
        if self._asked is None:
            self.drain()
        if self._scheduler is not None:
            self._scheduler.abort()


async def run(
    manifest_path: str | Path,
    *,
    output: str | Path | None = None,
    on_changed: ChangedPolicy | str = ChangedPolicy.REFUSE,
    retry: Iterable[str] = (),
    listener: Listener | None = None,
    environment: Mapping[str, str] | None = None,
    clock: Clock | None = None,
    random: Random | None = None,
    control: RunControl | None = None,
    refresh_references: bool = False,
) -> Summary:
    """Buy every picture of a job manifest that is not bought yet, and return how that went.

    Does what `imagebatch run` does. Raises `InputError`, `ConfigError`, `OutputError`, `LedgerError` or
    `LockedError` before anything is sent; what goes wrong later is in the summary's `exit` and `reason`.
    `retry` names causes of jobs that failed for good and are to be sent again ("all" for any).
    `environment` (default: the process's) holds the API key, `control` lets a caller stop the run.
    `refresh_references` asks again whether reference pictures at web addresses have changed.
    """
    clock = clock or SystemClock()
    control = control or RunControl()
    listener = Listeners([listener] if listener is not None else [])
    manifest = load_manifest(Path(manifest_path))
    settings = manifest.settings
    endpoint = resolve_endpoint(settings.provider)
    simulator = _simulator_settings(manifest, endpoint)
    prices = load_prices(settings.prices)
    policies = Policies(unknown=settings.retry.unknown, changed=ChangedPolicy(on_changed), retry=frozenset(retry))
    run_id = f"{clock.now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    await _fetch_references(manifest, clock, listener, refresh=refresh_references)

    with output_folder(output_path(manifest, output)) as folder:
        plan = make_plan(manifest.check(), folder.history, policies, prices.picture_usd)
        _refuse_what_is_in_the_way(plan, manifest, folder, policies)
        key = _read_key(endpoint, os.environ if environment is None else environment)
        _allow_open_files(settings.limits.concurrency)
        control.opening()
        if folder.torn_bytes:
            listener.message(f"the ledger's last {folder.torn_bytes} bytes were torn by a crash; they are set aside")
        async with (
            folder.open(run_id, clock, decode=settings.verify == "decode") as store,
            _open_provider(endpoint, key, settings, simulator, store, clock) as provider,
        ):
            about = {"manifest": str(manifest.path), "manifest_sha256": manifest.sha256, "endpoint": endpoint.name}
            await store.note("run", **about, **machine())
            buyer = Buyer(
                provider, store, prices, clock, lambda error, rejected: worth_another(error, rejected, settings.retry)
            )
            scheduler = _scheduler(settings, plan, store, buyer, clock, random or SystemRandom(), listener)
            opened = _Run(
                manifest=manifest, plan=plan, policies=policies, endpoint=endpoint, store=store, buyer=buyer,
                prices=prices, clock=clock, listener=listener,
            )  # fmt: skip
            return await opened.carry_out(scheduler, control)


def run_sync(manifest_path: str | Path, **options: object) -> Summary:
    """`run` for callers without an event loop; takes the same arguments."""
    return asyncio.run(run(manifest_path, **options))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a run would do, with everything needed to explain it. Nothing was sent or written."""

    manifest: Manifest
    output: Path
    history: History
    policies: Policies
    plan: Plan

    def decision_on(self, job_id: str) -> tuple[Decision, JobHistory]:
        """What is decided about one job, and its past. Raises `InputError` if the manifest has no such job."""
        names: list[str] = []
        for job in self.manifest.jobs():
            if job.id == job_id:
                past = self.history.of(job.key())
                return decide(job, past, self.policies), past
            if len(names) < _NAMES_COMPARED:
                names.append(job.id)
        close = get_close_matches(job_id, names, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise InputError([Problem(message=f"no job {job_id!r}{hint}", file=str(self.manifest.path))])


def plan_only(
    manifest_path: str | Path,
    *,
    output: str | Path | None = None,
    on_changed: ChangedPolicy = ChangedPolicy.KEEP,
    retry: Iterable[str] = (),
    listener: Listener | None = None,
    refresh_references: bool = False,
) -> Planned:
    """What a run would do, and why. Sends nothing, writes nothing, needs no key.

    Only reference pictures at web addresses are fetched, into their cache, if they are not there yet. It runs an
    event loop of its own for that, so it must not be called from within one.
    """
    manifest = load_manifest(Path(manifest_path))
    endpoint = resolve_endpoint(manifest.settings.provider)
    _simulator_settings(manifest, endpoint)
    path = output_path(manifest, output)
    history, _ = replay(path)
    prices = load_prices(manifest.settings.prices)
    policies = Policies(unknown=manifest.settings.retry.unknown, changed=on_changed, retry=frozenset(retry))
    if manifest.reference_hosts:
        asyncio.run(_fetch_references(manifest, SystemClock(), listener or Listener(), refresh=refresh_references))
    plan = make_plan(manifest.check(), history, policies, prices.picture_usd)
    return Planned(manifest=manifest, output=path, history=history, policies=policies, plan=plan)


def output_path(manifest: Manifest, output: str | Path | None) -> Path:
    """Where a manifest's results go: as told, as the manifest says, else `output/<name>`."""
    chosen = Path(output) if output is not None else manifest.output or Path("output") / manifest.settings.name
    return chosen.absolute()


@dataclass(slots=True, kw_only=True)
class _Run:
    """One run with everything open."""

    manifest: Manifest
    plan: Plan
    policies: Policies
    endpoint: Endpoint
    store: Store
    buyer: Buyer
    prices: PriceTable
    clock: Clock
    listener: Listener

    _started: float = field(init=False)
    _usd_before: float = field(init=False)
    _maybe_usd_before: float = field(init=False)
    _requests_before: int = field(init=False)

    def __post_init__(self) -> None:
        self._started = self.clock.monotonic()
        self._usd_before = self.store.history.usd
        self._maybe_usd_before = self.store.history.maybe_usd
        self._requests_before = self.store.history.requests

    async def carry_out(self, scheduler: Scheduler, control: RunControl) -> Summary:
        await self._finish_open_attempts()
        self.listener.run_started(self._start())
        control.attach(scheduler)
        async with scheduler.outcomes(self._todo()) as outcomes:
            async for outcome in outcomes:
                self._publish(outcome, scheduler)
                self.listener.job_ended(outcome, scheduler.in_flight)
        await self._close_open_attempts()
        return await self._report(scheduler)

    async def _finish_open_attempts(self) -> None:
        """Answers that had arrived before a crash become pictures now, without a request; the rest is unknown."""
        finished = 0
        attempts = self.store.open_attempts()
        for ticket, received in attempts:
            finished += await self.buyer.finish(ticket, received) is not None
        self.store.sweep_spool()
        if attempts:
            self.listener.message(
                f"the last run ended in the middle: of {len(attempts)} requests in flight, {finished} pictures had "
                f"arrived and are kept, {len(attempts) - finished} got no usable answer"
            )

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
                await self.buyer.finish(ticket, None)

    def _start(self) -> RunStart:
        return RunStart(
            name=self.manifest.settings.name,
            output=str(self.store.output),
            endpoint=self.endpoint.base_url or self.endpoint.name,
            jobs=self.plan.jobs,
            done=self.plan.jobs - self.plan.to_do,
            to_do=self.plan.to_do,
            concurrency=self.manifest.settings.limits.concurrency,
            requests_per_minute=self.manifest.settings.limits.requests_per_minute,
            expected_usd=self.plan.usd,
            simulated=self.endpoint.embedded,
        )

    def _todo(self) -> Iterator[ToDo | None]:
        """The jobs again, streamed, each decided by what is known of it now; None for those that need nothing."""
        if self.plan.to_do == 0 and not self.plan.counts["skip: open"]:
            return
        for job in self.manifest.jobs():
            decision = decide(job, self.store.history.of(job.key()), self.policies)
            yield decision if isinstance(decision, ToDo) else None

    async def _report(self, scheduler: Scheduler) -> Summary:
        summary = self._summary(scheduler)
        try:
            await self._write_end(summary)
        except StorageError as error:
            return self._summary(scheduler, error)
        return summary

    def _summary(self, scheduler: Scheduler, at_the_end: StorageError | None = None) -> Summary:
        history = self.store.history
        totals = count_jobs(self.plan.order, history)
        spent = Spent(
            usd_before=self._usd_before,
            maybe_usd_before=self._maybe_usd_before,
            requests=history.requests - self._requests_before,
            resent=self.buyer.resent,
            seconds=self.clock.monotonic() - self._started,
            simulated=self.endpoint.embedded,
        )
        return conclude(
            self.manifest.settings.name, str(self.store.output), totals, history, spent,
            (scheduler.stopped_by, scheduler.bug, at_the_end), self.prices.picture_usd,
        )  # fmt: skip

    async def _write_end(self, summary: Summary) -> None:
        history = self.store.history
        published = history.published
        if not self.store.published.is_current(self.plan.order, history):
            published = await asyncio.to_thread(self.store.published.write, self.plan.order, history)
        assert published is not None
        await self.store.note(
            "end",
            exit=summary.exit,
            reason=summary.reason,
            not_before=summary.not_before,
            done=summary.done,
            failed=summary.failed,
            unknown=summary.unknown,
            pending=summary.pending,
            requests=summary.requests,
            cost_usd=summary.cost_usd,
            published={"order": published.order, "through": published.through, "bytes": published.bytes},
        )


def _scheduler(
    settings: Settings, plan: Plan, store: Store, buyer: Buyer, clock: Clock, random: Random, listener: Listener
) -> Scheduler:
    def past(job: Job) -> tuple[int, int]:
        known = store.history.of(job.key())
        return known.rejected, known.resends

    places = max(settings.limits.concurrency, math.ceil(plan.jobs * _RESEND_SHARE))
    return Scheduler(
        buyer.buy,
        limits=settings.limits,
        policy=settings.retry,
        budget=ResendBudget(places),
        past=past,
        clock=clock,
        random=random,
        listener=listener,
    )


@asynccontextmanager
async def _open_provider(
    endpoint: Endpoint,
    key: ApiKey,
    settings: Settings,
    simulator: SimulatorSettings | None,
    store: Store,
    clock: Clock,
) -> AsyncIterator[GeminiProvider]:
    async with _address(endpoint, simulator, store) as base_url:
        provider = GeminiProvider(endpoint, base_url, key, settings.timeouts, clock)
        try:
            yield provider
        finally:
            await provider.aclose()


@asynccontextmanager
async def _address(endpoint: Endpoint, simulator: SimulatorSettings | None, store: Store) -> AsyncIterator[str]:
    """The endpoint's address; the embedded simulator is started for as long as it is needed."""
    if simulator is None:
        assert endpoint.base_url is not None
        yield endpoint.base_url
        return
    from batch.simulator import serve  # here: a server's libraries are no part of a run against the real thing

    async with serve(simulator, book_path=store.output / "simulator-book.jsonl") as running:
        yield running.base_url


def _simulator_settings(manifest: Manifest, endpoint: Endpoint) -> SimulatorSettings | None:
    if not endpoint.embedded:
        return None
    from batch.simulator import SimulatorOptionsError, settings_from

    try:
        return settings_from(manifest.settings.provider.simulator)
    except SimulatorOptionsError as error:
        problems = [Problem(message=message, file=str(manifest.path)) for message in error.messages]
        raise InputError(problems) from None


def _read_key(endpoint: Endpoint, environment: Mapping[str, str]) -> ApiKey:
    if endpoint.key_env is None:
        return ApiKey(_SIMULATOR_KEY)
    return read_key(environment, endpoint.key_env)


async def _fetch_references(manifest: Manifest, clock: Clock, listener: Listener, *, refresh: bool) -> None:
    """Pictures at web addresses become files before anything is checked; what is wrong with them, the check tells."""
    if manifest.reference_hosts:
        cache = ReferenceCache(cache_folder(os.environ))
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


def _refuse_what_is_in_the_way(plan: Plan, manifest: Manifest, folder: OutputFolder, policies: Policies) -> None:
    """What only a person can decide, found before anything is sent."""
    file = str(manifest.path)
    changed = plan.counts["skip: changed"]
    if changed and policies.changed is ChangedPolicy.REFUSE:
        names = ", ".join(job.id for job in plan.changed) + (", ..." if changed > len(plan.changed) else "")
        message = (
            f"{changed} jobs were edited after their pictures were bought ({names}); choose --on-changed keep (leave "
            f"the old pictures) or --on-changed rerun (buy new ones beside them, ${plan.changed_usd:,.2f})"
        )
        raise InputError([Problem(message=message, file=file)])
    if plan.to_do == 0 or not (folder.path / "images").is_dir():
        return
    for job in manifest.jobs():
        taken = folder.name_in_the_way(job)
        if taken is not None:
            raise OutputError(f"{folder.path / taken} exists and is not in the ledger; move it away (job {job.id!r})")

