"""`imagebatch resolve`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from batch.cli.console import print_json, print_lines, show_json, show_lines
from batch.cli.options import NamedPath
from batch.cli.partial import carry_out, end_with


@click.command(short_help="Decide on requests whose outcome is unknown.")
@click.argument("directory", type=NamedPath())
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
    """Record how requests ended that were sent from the output folder DIRECTORY and got no answer.

    They may have been paid: look them up in the provider's log by the ids that --list shows, then decide. Sends
    nothing.
    """
    from batch.core.clock import SystemClock
    from batch.core.results import Decided, UnknownAttempt
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
        show_json(shown) if as_json else show_lines(unknown_lines(attempts, str(directory)))
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
    failure = carry_out(taken_note)
    concerned = [attempt for attempts in written.values() for attempt in attempts]
    if as_json:
        attempts_as_json = [asdict(each) for each in concerned]
        print_json({"output": str(directory), "decided": decided, "jobs": [*written], "attempts": attempts_as_json})
    else:
        print_lines(resolved_lines(concerned, len(written), decision))
    end_with(failure)
