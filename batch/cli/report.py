"""`imagebatch report`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from batch.cli.console import show_json, show_lines
from batch.cli.options import NamedPath


@click.command(short_help="Write a report on an output folder: money, time, failures.")
@click.argument("directory", type=NamedPath())
@click.option(
    "--to",
    "target",
    type=NamedPath(),
    metavar="FILE",
    help="Where to write it, as .html or .md.  [default: report.html and report.md in DIRECTORY]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object and write no file.")
def report(directory: Path, target: Path | None, *, as_json: bool) -> None:
    """Write down what the runs of the output folder DIRECTORY came to.

    Jobs, money (pictures that count, rejected, wasted, unknown), how long pictures took and how fast they came,
    refusals, failures by cause with what to do about them, and every run. report.html is one file without scripts,
    which opens anywhere; report.md says the same as text.
    """
    from batch.analysis import read_figures
    from batch.analysis.files import write_report
    from batch.analysis.wording import headline

    figures = read_figures(directory)
    if as_json:
        show_json(asdict(figures))
        return
    written = write_report(figures, [target] if target is not None else [])
    show_lines([f"{headline(figures)}", *(f"  report     {path}" for path in written)])
