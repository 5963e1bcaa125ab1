"""A run, read aloud: load the manifest, plan what is left, open the output and the provider, finish what an
earlier run left open, dispatch the jobs, record each outcome, and report.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, ParamSpec, TypeVar

from batch.core.clock import Clock, SystemClock
from batch.core.events import Listener, Listeners, Message
from batch.core.private_environment import PrivateEnvironment
from batch.core.results import Summary
from batch.dispatch.retry import worth_another
from batch.plan import (
    name_examples,
)
from batch.report.progress_reporter import ProgressReporter
from batch.report.review import unreadable_words
from batch.report.summary import is_nothing_new
from batch.runner.attempt import AttemptRunner
from batch.runner.checks import Judge, ProgramJudge, program_judge
from batch.runner.connections import KeyedAccount, connect, keys_by_variable, read_keys
from batch.runner.control import RunControl
from batch.runner.network import reached
from batch.runner.open_files import fit_open_files
from batch.runner.options import RunOptions, options_of
from batch.runner.preflight import (
    agree_to_remakes,
    agreed_plan,
    disabled_endpoints,
    fetch_references,
    not_started,
    refuse_unfit_notes,
    refuse_what_is_in_the_way,
    why_too_early,
)
from batch.runner.preparation import Planned, PreparedRun, begun_again, prepare
from batch.runner.session import RunSession, about_run, remake_wish
from batch.runner.vision_judge import vision_account, vision_judge
from batch.store.folder import last_note, look_into, output_folder
from batch.store.live_status import LiveStatusFile

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


async def run(
    manifest_path: str | Path | Mapping[str, Any],
    *,
    output: str | Path | None = None,
    options: RunOptions | None = None,
    wishes: RunOptions | None = None,
    listener: Listener | None = None,
    environment: Mapping[str, str] | None = None,
    clock: Clock | None = None,
    random: Random | None = None,
    control: RunControl | None = None,
) -> Summary:
    """Buy every picture of a job manifest that is not bought yet, and return how that went.

    Does what `imagebatch run` does. Raises `InputError`, `ConfigError`, `OutputError`, `LedgerError` or
    `LockedError` before anything is sent; what goes wrong later is in the summary's `exit` and `reason`.
    `manifest_path` is a file, or the manifest itself as a mapping with the same keys: `jobs` may then be any iterable
    of mappings or of `JobSpec`, and `rows` any iterable of mappings. Its paths are relative to the current folder.
    `options` says what this one run is to do differently: which jobs, what of edited ones, what again.
    `wishes` is what `options` was called in earlier versions.
    `environment` (default: the process's) holds the API key, `control` lets a caller stop the run.
    """
    clock = clock or SystemClock()
    control = control or RunControl()
    prepared = prepare(manifest_path, output, options_of(options, wishes))
    now = LiveStatusFile(prepared.output)
    listener = Listeners([ProgressReporter(clock, now.write), *([listener] if listener is not None else [])])
    settings = prepared.manifest.settings
    run_id = f"{clock.now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    fitting, fewer_at_once = fit_open_files(prepared.accounts)
    environment = os.environ if environment is None else environment
    reachable, proxies = reached(fitting, environment)
    prepared = replace(prepared, accounts=reachable)
    accounts = read_keys(prepared.accounts, environment, lambda text: listener.on_event(Message(text)))
    program = _program(prepared, accounts, environment)
    vision = vision_account(prepared, environment, lambda text: listener.on_event(Message(text)))
    await fetch_references(prepared, clock, listener)

    with output_folder(prepared.output, bought_only=not prepared.is_rehearsal) as folder:
        before = folder.last_note()
        if prepared.policies.again:
            prepared = prepared.going_on(begun_again(before))
        prepared, plan = agreed_plan(prepared, lambda: folder.history, control)
        refuse_unfit_notes(plan, prepared, folder.history)
        await agree_to_remakes(prepared, plan, control)
        refuse_what_is_in_the_way(plan, prepared, folder)
        left_out = disabled_endpoints(prepared, accounts, folder, clock) if plan.to_do else []
        too_early = why_too_early(prepared, plan, left_out)
        if too_early is not None:
            return replace(not_started(prepared, plan, folder.history, too_early), nothing_new=True)
        control.opening()
        for proxy in proxies:
            listener.on_event(Message(proxy))
        if fewer_at_once is not None:
            listener.on_event(Message(fewer_at_once))
        if prepared.rejected.unreadable_lines:
            listener.on_event(Message(f"{unreadable_words(prepared.rejected.unreadable_lines)}; see docs/review.md"))
        for words in prepared.model_warnings(plan, clock.now().date()):
            listener.on_event(Message(words))
        if folder.torn_bytes:
            listener.on_event(
                Message(f"the ledger's last {folder.torn_bytes} bytes were torn by a crash; they are set aside")
            )
        keys = {account.name: account.key.reveal() for account in accounts}
        wallet = prepared.money.wallet(keys, clock, run_id, listener, waits_at_cap=control.waits_at_cap)
        summary: Summary | None = None
        opened: RunSession | None = None
        try:
            async with (
                folder.open(
                    run_id, clock, decode=settings.verify == "decode", check_content=settings.check_content
                ) as store,
                connect(accounts, prepared.output, settings.timeouts, clock) as providers,
                AsyncExitStack() as stack,
            ):
                judge: Judge | None = program
                if vision is not None:
                    judge = await stack.enter_async_context(
                        vision_judge(vision, prepared, accounts, wallet, run_id, clock, listener)
                    )
                if folder.weaker is not None:
                    listener.on_event(Message(folder.weaker))
                if folder.rehearsal_moved_to is not None:
                    listener.on_event(
                        Message(f"what was rehearsed with the simulator is now in {folder.rehearsal_moved_to}")
                    )
                wish = remake_wish(prepared, store, begun_again(folder.last_note()))
                await store.note(about_run(prepared, wish))
                if prepared.policies.again.since >= 0:
                    listener.on_event(
                        Message("--again goes on where a run before it stopped; what that made is left as it is")
                    )
                attempts = AttemptRunner(
                    providers,
                    store,
                    clock,
                    lambda error, rejected: worth_another(error, rejected, settings.retry),
                    wallet,
                    control.stopping,
                )
                opened = RunSession(
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
                    judge=judge,
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
        return replace(summary, nothing_new=is_nothing_new(summary, before))


def _program(
    prepared: PreparedRun, accounts: Sequence[KeyedAccount], environment: Mapping[str, str]
) -> ProgramJudge | None:
    """The program that the manifest's `check` names, without the run's keys."""
    settings = prepared.manifest.settings.check
    if settings is None or not settings.run:
        return None
    keys = {name: key.reveal() for name, key in keys_by_variable(accounts)}
    given = environment.for_children if isinstance(environment, PrivateEnvironment) else environment
    surroundings = {**os.environ, **given}
    return program_judge(settings, prepared.manifest.path.parent.absolute(), surroundings, keys)


def _is_in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _without_a_loop(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """The same function for callers without an event loop, with the same arguments and types."""

    def call(*args: P.args, **options: P.kwargs) -> T:
        if _is_in_a_loop():
            raise RuntimeError(
                "run_sync was called inside an event loop (a notebook has one): write `await imagebatch.run(...)`"
            )
        return asyncio.run(function(*args, **options))

    call.__doc__ = "`run` for callers without an event loop: the same arguments, the same `Summary`."
    call.__name__ = call.__qualname__ = "run_sync"
    call.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]  # for help()
    return call


run_sync = _without_a_loop(run)


def plan_only(
    manifest_path: str | Path | Mapping[str, Any],
    *,
    output: str | Path | None = None,
    options: RunOptions | None = None,
    wishes: RunOptions | None = None,
    listener: Listener | None = None,
    clock: Clock | None = None,
) -> Planned:
    """What a run would do, and why. Sends nothing, writes nothing, needs no key.

    `clock` says which day it is, for models that end.

    Only reference pictures at web addresses are fetched, into their cache, if they are not there yet: on an event loop
    of their own in another thread, for the caller may be inside one.
    """
    prepared = prepare(manifest_path, output, options_of(options, wishes))
    if prepared.manifest.reference_hosts:
        fetching = fetch_references(prepared, SystemClock(), listener or Listener())
        with ThreadPoolExecutor(1) as aside:
            aside.submit(asyncio.run, fetching).result()
    with look_into(prepared.output, bought_only=not prepared.is_rehearsal) as reading:
        if prepared.policies.again:
            prepared = prepared.going_on(begun_again(last_note(prepared.output, reading.history())))
        plan = prepared.plan(reading.history)
        history = reading.history()
    name_examples(plan, prepared.manifest.jobs(), history, prepared.policies)
    today = (clock or SystemClock()).now().date()
    warnings = prepared.model_warnings(plan, today)
    return Planned(prepared=prepared, history=history, plan=plan, warnings=warnings)
