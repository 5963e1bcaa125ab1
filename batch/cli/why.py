"""`imagebatch why`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batch.cli.console import show_json, show_lines
from batch.cli.options import Manifest, from_environment, output_option, run_options

if TYPE_CHECKING:
    from batch.runner.options import RunOptions


@from_environment
@click.command(short_help="Show why one job will be sent, or will not.")
@click.argument("manifest", type=Manifest)
@click.argument("job_id", metavar="ID")
@output_option
@run_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def why(manifest: Path, job_id: str, output: Path | None, options: RunOptions, *, as_json: bool) -> None:
    """Show why the job ID of MANIFEST will be sent, or will not: what was changed, and every attempt so far.

    Sends nothing, writes nothing, needs no key.
    """
    from batch.report.why import explain, why_lines
    from batch.runner.run import plan_only

    planned = plan_only(manifest, output=output, options=options)
    decision, past = planned.decision_on(job_id)
    if as_json:
        show_json(asdict(explain(decision, past, planned.output)))
    else:
        show_lines(why_lines(decision, past, planned.output))
