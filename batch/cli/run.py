"""`imagebatch run`."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batch.cli.console import is_terminal, print_error, print_failure, print_json, start_log, typed_again
from batch.cli.options import (
    Count,
    Manifest,
    NamedPath,
    env_file_option,
    environment_with,
    from_environment,
    output_option,
    run_options,
)
from batch.cli.run_gallery import RunGallery
from batch.cli.signals import die_by, run_until_signal
from batch.cli.terminal import paint_words, takes_colour
from batch.core.errors import ExitCode

if TYPE_CHECKING:
    from batch.core.events import Listener
    from batch.core.results import Summary
    from batch.runner.options import RunOptions


def _means_plan(_ctx: click.Context, _param: click.Parameter, given: bool) -> None:  # noqa: FBT001  (click's signature)
    if given:
        raise click.UsageError("`imagebatch plan` shows what a run would send, and why; it sends nothing")


@from_environment
@click.command(short_help="Buy what is not bought yet.")
@click.argument("manifest", type=Manifest)
@output_option
@run_options
@click.option(
    "--canary",
    type=Count(min=0),
    metavar="N",
    help="Send N jobs first, alone; go on only if few of them failed (on a terminal: asks you).",
)
@click.option(
    "--ignore-not-before", is_flag=True, help="Start although the last run said that a day's quota is used up."
)
@click.option("--yes", is_flag=True, help="Do not ask about what --again and --rejected cost (for cron).")
@click.option("--dry-run", is_flag=True, expose_value=False, is_eager=True, hidden=True, callback=_means_plan)
@click.option(
    "--gallery/--no-gallery",
    "gallery",
    default=None,
    help="Make pages to look at the pictures when the run ends; thumbnails in spare time.  [default: on a terminal]",
)
@env_file_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with the numbers on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing unless something new went wrong (for cron).")
@click.option("--log-file", type=NamedPath(dir_okay=False), help="Append the story of the run to this file.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning"]),
    default="info",
    show_default=True,
    help="debug adds every request and every wait.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json: one object per line.",
)
def run(
    manifest: Path,
    output: Path | None,
    options: RunOptions,
    *,
    gallery: bool | None,
    env_file: Path | None,
    as_json: bool,
    quiet: bool,
    log_file: Path | None,
    log_level: str,
    log_format: str,
) -> None:
    """Buy every picture of MANIFEST that is not bought yet.

    Everything is checked before the first request. Ctrl-C stops the run: requests in flight are paid, so they are
    finished and recorded; Ctrl-C again cuts them. Run the command again at any time, also after a crash: it continues
    where it stopped. A finished batch sends nothing.
    """
    from batch.core.errors import LockedError
    from batch.core.events import Listeners

    environment = environment_with(env_file)
    start_log(log_file, log_level, log_format)
    shown = _logged(listener_for(quiet=quiet)) if log_file else listener_for(quiet=quiet)
    pages = RunGallery(said=gallery, quiet=quiet)
    try:
        summary = run_until_signal(
            manifest,
            Listeners([shown, pages]),
            asks=not quiet and is_terminal(),
            output=output,
            options=options,
            environment=environment,
        )
    except LockedError as error:
        if not quiet:
            raise
        print_failure(error.exit_code, error.reason, str(error))  # the run that holds the lock does the work
        sys.exit(error.exit_code)
    plan_words = ["imagebatch", "plan", str(manifest), *([] if output is None else ["-o", str(output)])]
    _report_run(summary, typed_again(), shlex.join(plan_words), as_json=as_json, quiet=quiet)
    pages.make(summary)
    if summary.exit > 128:
        die_by(summary.exit - 128)
    sys.exit(summary.exit)


def _logged(shown: Listener) -> Listener:
    from batch.core.events import Listeners
    from batch.report.event_log import EventLog

    return Listeners([shown, EventLog()])


def listener_for(*, quiet: bool) -> Listener:
    from batch.core.clock import SystemClock
    from batch.core.events import Listener

    if quiet:
        return Listener()
    from batch.report.progress import Bar, Lines

    if sys.stderr.isatty():
        return Bar(SystemClock(), sys.stderr, paint_words if takes_colour(sys.stderr) else str)
    return Lines(SystemClock(), print_error)


def _report_run(summary: Summary, command: str, plan_command: str, *, as_json: bool, quiet: bool) -> None:
    from batch.report.formatting import printable
    from batch.report.text import last_line, summary_lines

    if as_json:
        print_json(asdict(summary))
    if quiet and summary.nothing_new and summary.exit == ExitCode.TEMPORARY:
        return
    if quiet and not summary.exit:
        for name, words in summary.endpoints_out.items():  # the run went well, and a person should know
            print_error(f"imagebatch: {name} was left out: {printable(words)}; out={summary.output}")
    if not quiet or summary.exit:
        for line in summary_lines(summary, command, plan_command):
            print_error(line)
    if summary.exit:
        print_error(last_line(summary))
