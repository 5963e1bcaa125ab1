"""`imagebatch plan`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batch.cli.console import show_json, show_lines
from batch.cli.options import Manifest, from_environment, output_option, run_options
from batch.cli.prompts import CHANGES_SHOWN
from batch.cli.run import listener_for

if TYPE_CHECKING:
    from batch.runner.options import RunOptions


@from_environment
@click.command(short_help="Show what a run would send, and why.")
@click.argument("manifest", type=Manifest)
@output_option
@run_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plan(manifest: Path, output: Path | None, options: RunOptions, *, as_json: bool) -> None:
    """Check the whole MANIFEST and show what a run would send, why, and what it would cost.

    Sends nothing, writes nothing, needs no key. Only reference pictures at web addresses are fetched and kept.
    """
    from batch.report.text import model_lines, plan_as_json, plan_lines
    from batch.report.why import asked_before, change_lines
    from batch.runner.run import plan_only

    planned = plan_only(manifest, output=output, options=options, listener=listener_for(quiet=False))
    found, path = planned.plan, planned.output
    affordable = planned.affordable(os.environ)
    budget_ends = None if affordable is None else (affordable.jobs, affordable.cap.words())
    if as_json:
        name = planned.manifest.settings.name
        facts = plan_as_json(name, str(path), found, planned.forecast, budget_ends, planned.lost_files)
        show_json({**facts, "warnings": list(planned.warnings)})
    else:
        shown = found.changed[:CHANGES_SHOWN]
        how = {job.id: [*change_lines(asked_before(path, planned.history.of(job.key())), job)] for job in shown}
        lines = plan_lines(found, str(path), planned.forecast, how, budget_ends, planned.lost_files)
        show_lines([*lines, *model_lines(planned.warnings)])
