"""`imagebatch doctor`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from batch.cli.console import is_terminal, print_error, print_json, print_lines
from batch.cli.options import Manifest, env_file_option, environment_with, output_option
from batch.core.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batch.runner.doctor import Finding
    from batch.runner.options import RunOptions

_SOME_FAILED: Final = 1


@click.command(short_help="Check key, endpoint, network, disk and limits, without buying a picture.")
@click.argument("manifest", type=Manifest, required=False)
@output_option
@click.option("--set", "sets", metavar="KEY=VALUE", multiple=True, help="As for run.")
@click.option("--buy-one", is_flag=True, help="Then send the first job that is due: says its price, and asks.")
@click.option("--yes", is_flag=True, help="Do not ask about what --buy-one costs.")
@env_file_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(
    manifest: Path | None,
    output: Path | None,
    sets: tuple[str, ...],
    *,
    buy_one: bool,
    yes: bool,
    env_file: Path | None,
    as_json: bool,
) -> None:
    """Check everything that a run of MANIFEST needs: key, endpoint, proxy, model, clock, disk, folders, locks, limits.

    Buys nothing. A line per check: ok, warn or fail, and what to do. What only a paid request can tell is named;
    --buy-one sends one. Ends with 0 if nothing failed, with 1 otherwise.
    """
    import asyncio

    from batch.runner.options import RunOptions

    if buy_one and manifest is None:
        raise click.UsageError("--buy-one needs a manifest, whose first job is sent")
    environment, options = environment_with(env_file), RunOptions(overrides=sets)
    findings = asyncio.run(_examined(manifest, output, options, environment, shown=not as_json))
    failed = any(finding.level == "fail" for finding in findings)
    if buy_one and not failed:
        assert manifest is not None
        findings.append(_bought(manifest, output, environment, sets, yes=yes))
        failed = findings[-1].level == "fail"
        if not as_json:
            print_lines(_lines(findings[-1]))
    code = _SOME_FAILED if failed else ExitCode.OK
    if as_json:
        print_json({"exit": int(code), "findings": [asdict(each) for each in findings]})
    sys.exit(code)


async def _examined(
    manifest: Path | None,
    output: Path | None,
    options: RunOptions,
    environment: Mapping[str, str],
    *,
    shown: bool,
) -> list[Finding]:
    from batch.core.clock import SystemClock
    from batch.runner.doctor import examine

    findings = []
    async for finding in examine(manifest, output, options, environment, SystemClock()):
        findings.append(finding)
        if shown:
            print_lines(_lines(finding))
    return findings


def _lines(finding: Finding) -> list[str]:
    from batch.report.formatting import printable

    lines = [f"{finding.level:<5}{finding.about}: {printable(finding.words, 1000)}"]
    return [*lines, f"     {finding.remedy}"] if finding.remedy else lines


def _bought(
    manifest: Path, output: Path | None, environment: Mapping[str, str], sets: tuple[str, ...], *, yes: bool
) -> Finding:
    """Send the first job that is due, after its price was said. Its picture counts as any other."""
    from batch.core.events import JobEnded, Listener
    from batch.core.model import Done
    from batch.plan import Selection
    from batch.runner.doctor import Finding, Level
    from batch.runner.options import RunOptions
    from batch.runner.run import plan_only, run_sync

    first = RunOptions(overrides=sets, selection=Selection(limit=1))
    planned = plan_only(manifest, output=output, options=first)
    if planned.plan.to_do == 0:
        return Finding(about="one picture", level=Level.OK, words="every job has its picture; nothing was bought")
    question = f"one picture is bought, for ${planned.plan.usd:,.3f} at list price"
    if not yes:
        if not is_terminal():
            raise click.UsageError(f"--buy-one: {question}; add --yes to send it")
        print_error(question)
        if not click.confirm("Send it?", err=True):
            return Finding(about="one picture", level=Level.WARN, words="you said no; nothing was sent")
    else:
        print_error(question)
    ended: list[JobEnded] = []

    class Ends(Listener):
        def on_event(self, event: object) -> None:
            if isinstance(event, JobEnded):
                ended.append(event)

    summary = run_sync(manifest, output=output, options=first, environment=environment, listener=Ends())
    if any(isinstance(each.outcome, Done) for each in ended):
        return Finding(about="one picture", level=Level.OK, words=f"came; it is in {summary.output}/images")
    words = f"did not come: {summary.reason}"
    return Finding(about="one picture", level=Level.FAIL, words=words, remedy=f"imagebatch status {summary.output}")
