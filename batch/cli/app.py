"""The command line. Parses, calls `batch.runner.run`, prints; decides nothing else.

People read stderr, programs read stdout. Heavy imports happen inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

import functools
import gc
import json
import logging
import math
import os
import resource
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from batch.core.errors import BatchError, ExitCode, InputError, StorageError

if TYPE_CHECKING:
    from batch.core.events import Listener
    from batch.core.model import Summary
    from batch.core.settings import ChangedPolicy
    from batch.plan import Plan
    from batch.runner.preparation import PreparedRun, RunOptions
    from batch.runner.run import RunControl
    from batch.store.history import History

_EXIT_CODES: Final = """\b
Exit codes:
   0  every job is done
   1  finished, but some jobs failed for good
   2  wrong command line
   3  some requests may be paid without a result, or a bought file is missing or altered
  65  the manifest, its rows or the ledger are wrong; nothing was sent
  66  the manifest cannot be read
  70  a bug in imagebatch
  73  the output folder cannot be used
  74  reading or writing failed (disk full); everything received is kept
  75  run again later: day quota, budget, outage, another run is on
  76  the endpoint speaks nonsense, redirects, or a proxy cuts requests
  77  key, credit, permission or model: a person must act
  78  wrong or missing setting, such as the API key
 130, 143, 129  stopped by Ctrl-C, SIGTERM, SIGHUP after finishing what was in flight
"""
_ERRORS_SHOWN: Final = 20
_CHANGES_SHOWN: Final = 3
_ABORT_AFTER_SECONDS: Final = 0.5
_PR_SET_DUMPABLE: Final = 4
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _NamedPath(click.Path):
    """A path that is one: `-o "$FOLDER"` with an empty variable must not mean the current folder."""

    def __init__(self, **rest: Any) -> None:
        super().__init__(path_type=Path, **rest)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not os.fspath(value):
            self.fail("is empty; name a file or folder", param, ctx)
        return super().convert(value, param, ctx)


class _Dollars(click.FloatRange):
    """A number of US dollars: `nan` passes every range check, and `inf` is no amount."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        amount = super().convert(value, param, ctx)
        if not math.isfinite(amount):
            self.fail(f"{value!r} is no amount of money.", param, ctx)
        return amount


Manifest = _NamedPath()


class _Group(click.Group):
    """Loads the simulator's command only when it is asked for."""

    _elsewhere: Final = {"simulate": ("batch.simulator.command", "simulate")}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *self._elsewhere]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._elsewhere:
            module, name = self._elsewhere[cmd_name]
            command: click.Command = getattr(import_module(module), name)
            return command
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXIT_CODES)
@click.version_option(package_name="imagebatch")
def cli() -> None:
    """Buy pictures in bulk from an image API: never twice, never lost, as fast as the quota allows.

    Write a job manifest (YAML), run it, run it again after anything went wrong: what is done stays done.

    \b
      imagebatch run jobs/quickstart.yaml     no key needed, runs on the built-in simulator
      imagebatch plan jobs/catalog.yaml       what would be sent, why, and what it costs
      imagebatch status output/catalog        where it stands
    """


def _output_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "-o",
        "--output",
        type=_NamedPath(file_okay=False),
        help="Folder for the results.  [default: output/NAME]",
    )(function)


def _run_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What one run is to do differently. The command gets them as one value, `options`."""
    names = (
        "on_changed",
        "retry",
        "resend",
        "only",
        "where",
        "limit",
        "sample",
        "seed",
        "reuse",
        "allow_empty",
        "refresh_references",
        "max_cost",
        "finish_by",
        "again",
    )

    @functools.wraps(function)
    def with_options(
        *args: Any, canary: int | None = None, ignore_not_before: bool = False, yes: bool = False, **rest: Any
    ) -> Any:
        given = {name: rest.pop(name) for name in names}
        options = _options_of(**given, canary=canary, ignore_not_before=ignore_not_before, yes=yes)
        return function(*args, options=options, **rest)

    for option in reversed(_RUN_OPTIONS):
        with_options = option(with_options)
    return with_options


def _moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    """A moment to come, as it was typed."""
    from batch.cli.moments import WhenProblem, moment
    from batch.core.clock import SystemClock

    try:
        return None if value is None else moment(value, SystemClock().now())
    except WhenProblem as problem:
        raise click.BadParameter(str(problem)) from None


_RUN_OPTIONS: Final = (
    click.option(
        "--only",
        metavar="ID",
        multiple=True,
        help="Send only jobs with this id, or those that match a pattern such as 'tea-*'. May be repeated.",
    ),
    click.option(
        "--where",
        metavar="EXPR",
        help='Send only jobs whose row meets this, such as \'Vendor == "Acme" and scene == "beach"\'.',
    ),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Send at most N jobs, the first ones."),
    click.option("--sample", type=click.IntRange(min=1), metavar="N", help="Send N jobs drawn at random."),
    click.option("--seed", type=int, default=0, metavar="N", help="Another seed draws other jobs.  [default: 0]"),
    click.option(
        "--retry",
        metavar="CAUSES",
        default="",
        help="Send again what failed for good, or is unknown, with these causes: no_image,text_only or "
        "'cause in (no_image, timeout) and attempts < 4', or all. Charged again.",
    ),
    click.option(
        "--resend",
        type=click.Choice(["unknown"]),
        help="unknown: send every job once more whose request got no answer. May be paid twice.",
    ),
    click.option(
        "--again",
        metavar="WHAT",
        multiple=True,
        help="Make done pictures again, beside the old ones: an id, a pattern such as 'tea-*', missing (those whose "
        "file is gone) or @FILE with ids, one a line. May be repeated. Charged again; asks first, or needs --yes.",
    ),
    click.option(
        "--on-changed",
        type=click.Choice(["ask", "refuse", "keep", "rerun"]),
        default="ask",
        show_default=True,
        help="Jobs edited after their picture was bought: ask (without a terminal: refuse), refuse to start, "
        "keep the old picture, or buy a new one beside it.",
    ),
    click.option(
        "--reuse",
        metavar="DIR",
        multiple=True,
        type=_NamedPath(file_okay=False),
        help="Take pictures over from another output folder, where exactly the same was bought. May be repeated.",
    ),
    click.option(
        "--max-cost",
        type=_Dollars(min=0),
        metavar="USD",
        help="Spend at most so many US dollars in this run, beside the manifest's budget.",
    ),
    click.option(
        "--finish-by",
        metavar="WHEN",
        callback=_moment,
        help="Have everything by then: 06:00 (the next one), 2026-11-26T06:00, or 8h, 90m or 1h30m from now. "
        "When the flex lane becomes too slow for it, jobs are sent in the standard lane.",
    ),
    click.option(
        "--allow-empty",
        is_flag=True,
        help="No jobs, or a table without rows, is a finished batch and no mistake (for exports that may be empty).",
    ),
    click.option(
        "--refresh-references",
        is_flag=True,
        help="Ask again whether reference pictures at web addresses have changed, instead of using those kept.",
    ),
)


def _options_of(
    *,
    on_changed: str,
    retry: str,
    resend: str | None,
    only: tuple[str, ...],
    where: str | None,
    limit: int | None,
    sample: int | None,
    seed: int,
    reuse: tuple[Path, ...],
    allow_empty: bool,
    refresh_references: bool,
    max_cost: float | None,
    finish_by: datetime | None,
    again: tuple[str, ...],
    canary: int | None,
    ignore_not_before: bool,
    yes: bool,
) -> RunOptions:
    from batch.core.settings import ChangedPolicy
    from batch.plan import Selection
    from batch.runner.preparation import RunOptions

    if limit is not None and sample is not None:
        raise click.UsageError("--limit and --sample exclude each other: the first N jobs, or N at random")
    selection = Selection(only=only, where=where, limit=limit, sample=sample, seed=seed)
    return RunOptions(
        on_changed=ChangedPolicy(on_changed),
        retry=retry,
        selection=selection,
        reuse=reuse,
        canary=canary,
        allow_empty=allow_empty,
        refresh_references=refresh_references,
        max_cost=max_cost,
        finish_by=finish_by,
        again=again,
        yes=yes,
        resend_unknown=resend == "unknown",
        ignore_not_before=ignore_not_before,
    )


@cli.command(short_help="Buy what is not bought yet.")
@click.argument("manifest", type=Manifest)
@_output_option
@_run_options
@click.option(
    "--canary",
    type=click.IntRange(min=0),
    metavar="N",
    help="Send N jobs first, alone; go on only if few of them failed (on a terminal: asks you).",
)
@click.option(
    "--ignore-not-before", is_flag=True, help="Start although the last run said until when a day's quota is used up."
)
@click.option("--yes", is_flag=True, help="Do not ask about what --again costs (for cron).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with the numbers on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing unless something went wrong (for cron).")
@click.option("--log-file", type=_NamedPath(dir_okay=False), help="Append a debug log to this file.")
def run(
    manifest: Path, output: Path | None, options: RunOptions, *, as_json: bool, quiet: bool, log_file: Path | None
) -> None:
    """Buy every picture of MANIFEST that is not bought yet.

    Nothing is sent before everything is checked, whatever is selected. Stop it with Ctrl-C: requests in flight are
    waited for and recorded, for they are paid; Ctrl-C again cuts them. Run it again at any time, also after a crash:
    it goes on where it stopped, and a finished batch sends nothing.
    """
    _start_log(log_file)
    summary = _run_until_signal(
        manifest, _listener(quiet=quiet), asks=not quiet and _is_terminal(), output=output, options=options
    )
    _report_run(summary, _typed_again(), as_json=as_json, quiet=quiet)
    if summary.exit > 128:
        _die_by(summary.exit - 128)
    sys.exit(summary.exit)


@cli.command(short_help="Show what a run would send, and why.")
@click.argument("manifest", type=Manifest)
@_output_option
@_run_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plan(manifest: Path, output: Path | None, options: RunOptions, *, as_json: bool) -> None:
    """Check MANIFEST to its last row and show what a run would send, why, and what it would cost.

    Sends nothing, writes nothing, needs no key. Only reference pictures at web addresses are fetched and kept.
    """
    from batch.report.text import plan_as_json, plan_lines
    from batch.report.why import asked_before, change_lines
    from batch.runner.run import plan_only

    planned = plan_only(manifest, output=output, options=options, listener=_listener(quiet=False))
    found, path = planned.plan, planned.output
    affordable = planned.affordable(os.environ)
    budget_ends = None if affordable is None else (affordable.jobs, affordable.cap.words())
    if as_json:
        name = planned.manifest.settings.name
        _show_json(plan_as_json(name, str(path), found, planned.forecast, budget_ends, planned.lost_files))
    else:
        shown = found.changed[:_CHANGES_SHOWN]
        how = {job.id: [*change_lines(asked_before(path, planned.history.of(job.key())), job)] for job in shown}
        _show(plan_lines(found, str(path), planned.forecast, how, budget_ends, planned.lost_files))


@cli.command(short_help="Show why one job will be sent, or will not.")
@click.argument("manifest", type=Manifest)
@click.argument("job_id", metavar="ID")
@_output_option
@_run_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def why(manifest: Path, job_id: str, output: Path | None, options: RunOptions, *, as_json: bool) -> None:
    """Show why the job ID of MANIFEST will be sent, or will not: what was changed, and every attempt so far.

    Sends nothing, writes nothing, needs no key.
    """
    from batch.report.why import why_as_json, why_lines
    from batch.runner.run import plan_only

    planned = plan_only(manifest, output=output, options=options)
    decision, past = planned.decision_on(job_id)
    if as_json:
        _show_json(why_as_json(decision, past, planned.output))
    else:
        _show(why_lines(decision, past, planned.output))


@cli.command(short_help="Show where an output folder stands.")
@click.argument("directory", type=_NamedPath())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(directory: Path, *, as_json: bool) -> None:
    """Show what the output folder DIRECTORY holds: done, failed and why, money, and the next command to type."""
    from batch.report.status import read_status
    from batch.report.text import status_lines

    found = read_status(directory)
    if as_json:
        _show_json(asdict(found))
    else:
        _show(status_lines(found))


@cli.command(short_help="Decide on requests whose outcome is unknown.")
@click.argument("directory", type=_NamedPath())
@click.argument("job_ids", metavar="[ID]...", nargs=-1)
@click.option(
    "--as",
    "decided",
    type=click.Choice(["paid", "unpaid", "failed", "accepted"]),
    help="paid: charged, count it and hold the job. unpaid: not charged, send it again. failed: close it. accepted: "
    "its picture is gone or altered (ID missing: all that are gone), and that is all right.",
)
@click.option("--note", default="", metavar="TEXT", help="Why; kept in the ledger.")
@click.option("--list", "listed", is_flag=True, help="Show the requests, as the provider's log knows them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def resolve(
    directory: Path, job_ids: tuple[str, ...], decided: str | None, *, note: str, listed: bool, as_json: bool
) -> None:
    """Write down what became of requests in the output folder DIRECTORY that were sent and got no answer.

    They may have been paid: look them up in the provider's log by the ids that --list shows, then decide. Sends
    nothing.
    """
    from batch.core.clock import SystemClock
    from batch.core.model import Decided, UnknownAttempt
    from batch.report.unknown import resolved_lines, unknown_lines
    from batch.runner.resolve import accept, unknown_attempts
    from batch.runner.resolve import resolve as write_decision

    if listed == bool(job_ids or decided):
        raise click.UsageError("either --list, or the ids of jobs and --as paid|unpaid|failed|accepted")
    if not listed and not (job_ids and decided):
        raise click.UsageError("name at least one job and what is decided: ID --as paid|unpaid|failed|accepted")
    if listed:
        attempts = unknown_attempts(directory)
        shown = {"output": str(directory), "decided": None, "attempts": [asdict(each) for each in attempts]}
        _show_json(shown) if as_json else _show(unknown_lines(attempts, str(directory)))
        return
    decision = Decided(decided or "")
    written: dict[str, Sequence[UnknownAttempt]] = {}
    if decision is Decided.ACCEPTED:
        taken_note = accept(
            directory, job_ids, note=note, clock=SystemClock(), told=lambda job: written.update({job: ()})
        )
    else:
        taken_note = write_decision(
            directory,
            job_ids,
            decision,
            note=note,
            clock=SystemClock(),
            told=lambda job, attempts: written.update({job: attempts}),
        )
    failure = _carry_out(taken_note)
    concerned = [attempt for attempts in written.values() for attempt in attempts]
    if as_json:
        attempts_as_json = [asdict(each) for each in concerned]
        _print_json({"output": str(directory), "decided": decided, "jobs": [*written], "attempts": attempts_as_json})
    else:
        _print(resolved_lines(concerned, len(written), decision))
    _end_with(failure)


@cli.command(short_help="Look for pictures in answers that could not be read.")
@click.argument("directory", type=_NamedPath())
@click.option("--dry-run", is_flag=True, help="Only show what would be found; open no address.")
@click.option(
    "--base-url", metavar="URL", help="Your endpoint, if its pictures lie on this machine or in a private network."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def reread(directory: Path, *, dry_run: bool, base_url: str | None, as_json: bool) -> None:
    """Read the answers kept in rejected/ of the output folder DIRECTORY again.

    They were paid for, and this version may read what an older one could not. Pictures that are found become their
    jobs' pictures. Sends no request to the provider and needs no key.
    """
    from batch.report.kept import kept_lines
    from batch.runner.connections import read_again

    found: list[Any] = []
    failure = _carry_out(read_again(directory, base_url=base_url, dry_run=dry_run, told=found.append))
    if as_json:
        answers = [asdict(each) for each in found]
        _print_json({"output": str(directory), "dry_run": dry_run, "answers": answers})
    else:
        _print(kept_lines(found, str(directory), dry_run=dry_run))
    _end_with(failure)


@cli.command(short_help="Write a first manifest, for a table.")
@click.argument("table", required=False, type=_NamedPath())
@click.option(
    "-o",
    "manifest",
    type=_NamedPath(),
    metavar="MANIFEST",
    help="The file to write; never over one that exists.  [default: TABLE's name with .yaml]",
)
@click.option(
    "--provider",
    type=click.Choice(["simulator", "anyfast", "google"]),
    default="simulator",
    show_default=True,
    help="Who is to make the pictures.",
)
def init(table: Path | None, manifest: Path | None, provider: str) -> None:
    """Write a commented manifest for TABLE (.csv, .tsv): which column is the id, which says what to show.

    It is checked to the last row before it is written, so it works as it stands. Without TABLE: three example jobs.
    """
    from batch.starter.starter import write_starter

    try:
        starter = write_starter(table, manifest, provider=provider)
    except InputError as error:
        _say_problems(error, "nothing was written")
        sys.exit(error.exit_code)
    _say(f"wrote {starter.path}: {starter.jobs:,} {'job' if starter.jobs == 1 else 'jobs'}; read its comments, then")
    _print(f"  {command}" for command in starter.next_commands)


@cli.command(short_help="Print the manifest's JSON Schema, for editors.")
def schema() -> None:
    """Print the JSON Schema of a manifest: with it an editor completes keys and marks mistakes.

    \b
      imagebatch schema > manifest.schema.json
    and as the manifest's first line
      # yaml-language-server: $schema=manifest.schema.json
    """
    from batch.manifest.schema.json_schema import manifest_json_schema

    _show([json.dumps(manifest_json_schema(), indent=2)])


def main() -> None:
    """The `imagebatch` command: every error of ours becomes a sentence and an exit code."""
    _make_output_safe()
    _dump_no_core()
    try:
        cli.main(prog_name="imagebatch", standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        _despite_broken_output(error.show)
        sys.exit(ExitCode.USAGE)
    except InputError as error:
        _say_problems(error)
        sys.exit(error.exit_code)
    except BatchError as error:
        from batch.report.formatting import printable

        _say(f"error: {printable(str(error), 2000)}")
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `imagebatch ... | head`
        _drop_output(sys.stdout)
        sys.exit(ExitCode.OK)
    except OSError as error:  # a disk or folder that cannot be read; what writes says so in its own words
        from batch.report.formatting import printable

        _say(f"error: {printable(_io_words(error), 2000)}")
        sys.exit(ExitCode.IO_ERROR)
    except Exception as error:  # noqa: BLE001  (the last place to say anything)
        _say(f"{traceback.format_exc()}a bug in imagebatch: {type(error).__name__}; please report the lines above")
        sys.exit(ExitCode.SOFTWARE)


def _carry_out(act: Coroutine[Any, Any, None]) -> StorageError | None:
    """A write that fails is handed back: what was written before it is to be shown all the same."""
    import asyncio

    try:
        asyncio.run(act)
    except StorageError as error:
        return error
    except OSError as error:
        return StorageError(_io_words(error))
    return None


def _io_words(error: OSError) -> str:
    where = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, (str, bytes)) else ""
    return f"{error.strerror or error}{where}"


def _end_with(failure: BatchError | None) -> None:
    if failure is not None:
        raise failure


def _run_until_signal(manifest: Path, listener: Listener, *, asks: bool, **rest: Any) -> Summary:
    import asyncio

    from batch.runner.run import RunControl
    from batch.runner.run import run as run_batch

    gc.freeze()  # what is imported by now stays: the collector need not look at it again and again
    # Those ignored from outside stay so: nohup and a shell's background jobs count on it.
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]

    async def with_signals() -> Summary:
        control = RunControl(
            opening=lambda: _drain_on(heard, control),
            ask=_ask if asks else None,
            choose_changed=_choose_changed if asks else None,
        )
        try:
            return await run_batch(manifest, listener=listener, control=control, **rest)
        finally:
            _die_at_once_on(heard)

    # While everything is checked nothing is written or sent, so a signal may simply end us.
    _die_at_once_on(heard)
    try:
        return asyncio.run(with_signals())
    finally:
        close = getattr(listener, "close", None)
        if close is not None:
            _despite_broken_output(close)


def _drain_on(numbers: Iterable[signal.Signals], control: RunControl) -> None:
    """First signal: finish what is in flight. A later one: cut it. Further ones: die as usual."""
    import asyncio

    loop = asyncio.get_running_loop()
    first_at: list[float] = []
    heard: list[int] = []

    def drain(number: int) -> None:
        heard.append(number)
        control.drain(number, signal.Signals(number).name)

    # Not the loop's own handlers: they are not called while something holds up the loop.
    def received(number: int, _frame: object) -> None:
        if not first_at:
            first_at.append(loop.time())
            loop.call_soon_threadsafe(drain, number)
        elif loop.time() - first_at[0] > _ABORT_AFTER_SECONDS:
            _die_at_once_on(numbers)
            if not heard:  # held up since the first; what is in flight is found as open by the next run
                os.kill(os.getpid(), number)
            loop.call_soon_threadsafe(control.abort)

    for number in numbers:
        signal.signal(number, received)


def _die_at_once_on(numbers: Iterable[signal.Signals]) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)


def _die_by(number: int) -> None:
    """End as the signal would have ended us, so that shells and systemd see what happened."""
    for stream in (sys.stdout, sys.stderr):
        _despite_broken_output(stream.flush)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _listener(*, quiet: bool) -> Listener:
    from batch.core.clock import SystemClock
    from batch.core.events import Listener

    if quiet:
        return Listener()
    from batch.report.progress import Bar, Lines

    if sys.stderr.isatty():
        return Bar(SystemClock(), sys.stderr)
    return Lines(SystemClock(), _say)


def _typed_again() -> str:
    """What was typed, to be typed again."""
    return shlex.join(["imagebatch", *sys.argv[1:]])


def _is_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


async def _ask(question: str) -> bool:
    """Wait for an answer without holding up the run's signals; a stop cuts the waiting short."""
    import asyncio

    _say(f"{question} [y/N] ")
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        if not answer.done():
            answer.set_result(sys.stdin.readline())

    loop.add_reader(sys.stdin, read)
    try:
        return (await answer).strip().lower() in ("y", "yes")
    finally:
        loop.remove_reader(sys.stdin)


def _choose_changed(plan: Plan, prepared: PreparedRun, history: History) -> ChangedPolicy:
    """Show what was edited and ask what is to become of it. No answer means: do not start."""
    from batch.core.settings import ChangedPolicy
    from batch.report.formatting import count, usd
    from batch.report.why import asked_before, change_lines

    group = plan.groups["skip: changed"]
    _say(f"{count(group.count, 'job')} edited after the picture was bought:")
    for job in plan.changed[:_CHANGES_SHOWN]:
        _say(f"  {job.id}")
        for line in change_lines(asked_before(prepared.output, history.of(job.key())), job):
            _say(f"  {line}")
    _say(f"keep the old pictures (k), buy new ones beside them for {usd(group.price_usd)} (b), or stop here (s)?")
    answer = sys.stdin.readline().strip().lower()[:1]
    return {"k": ChangedPolicy.KEEP, "b": ChangedPolicy.RERUN}.get(answer, ChangedPolicy.REFUSE)


def _report_run(summary: Summary, command: str, *, as_json: bool, quiet: bool) -> None:
    from batch.report.formatting import printable
    from batch.report.text import last_line, summary_lines

    if as_json:
        _print_json(asdict(summary))
    if quiet and not summary.exit:
        for name, words in summary.endpoints_out.items():  # the night went well, and somebody should know
            _say(f"imagebatch: {name} was left out: {printable(words)}; out={summary.output}")
    if not quiet or summary.exit:
        for line in summary_lines(summary, command):
            _say(line)
    if summary.exit:
        _say(last_line(summary))


def _say_problems(error: InputError, ending: str = "nothing was sent") -> None:
    for problem in error.problems[:_ERRORS_SHOWN]:
        _say(f"error: {problem}")
    more = len(error.problems) - _ERRORS_SHOWN + error.more
    if more > 0:
        _say(f"... and {more:,} more")
    _say(ending)


def _start_log(path: Path | None) -> None:
    for name in ("httpx", "httpcore", "aiohttp", "asyncio", "PIL"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if path is None:
        return
    try:
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}", param_hint="--log-file") from None
    logging.basicConfig(
        handlers=[handler], level=logging.DEBUG, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )


def _dump_no_core() -> None:
    """The key is in this process's memory; a crash must not write it to a file. `IMAGEBATCH_CORE_DUMPS=1` allows it."""
    if os.environ.get("IMAGEBATCH_CORE_DUMPS") == "1":
        return
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    with suppress(OSError, AttributeError):  # Linux: where the kernel hands dumps to a program, no limit holds
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _make_output_safe() -> None:
    """Nothing that happens to our words may touch the batch.

    A closed stream is opened to nowhere, or the ledger could get its number and receive other people's messages.
    Prompts in any language must not break a terminal or a log that knows fewer characters.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _print(lines: Iterable[str]) -> OSError | None:
    """On stdout. Returns why it could not be written; that is said on stderr, too, unless the reader is just gone."""
    text = "\n".join(lines)
    error = _despite_broken_output(lambda: print(text, flush=True))  # noqa: T201
    if error is not None and not isinstance(error, BrokenPipeError):
        _say(f"error: cannot write to stdout: {error.strerror or error}")
    return error


def _print_json(value: Any) -> OSError | None:
    """In ASCII: what is JSON in one locale must be JSON in every other."""
    return _print([json.dumps(value, allow_nan=False)])


def _show(lines: Iterable[str]) -> None:
    """Print what the command was called for, and did nothing else: if that fails, the command failed."""
    error = _print(lines)
    if error is not None and not isinstance(error, BrokenPipeError):
        sys.exit(ExitCode.IO_ERROR)


def _show_json(value: Any) -> None:
    _show([json.dumps(value, allow_nan=False)])


def _say(text: str) -> None:
    _despite_broken_output(lambda: print(text, file=sys.stderr, flush=True))  # noqa: T201


def _despite_broken_output(act: Callable[[], Any]) -> OSError | None:
    """Whoever read our words may be gone; the batch goes on and the exit code still says how it ended."""
    try:
        act()
    except OSError as error:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                _drop_output(stream)
        return error
    return None


def _drop_output(stream: IO[str]) -> None:
    """Send what is left in a broken stream's buffer nowhere, or Python would fail over it at the very end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
