"""`imagebatch status`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from batch.cli.console import show_json, show_lines
from batch.cli.options import NamedPath


@click.command(short_help="Show where an output folder stands.")
@click.argument("directory", type=NamedPath())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(directory: Path, *, as_json: bool) -> None:
    """Show what the output folder DIRECTORY holds: done, failed and why, money, and the next command to type.

    A manifest in its place means the folder that its runs write to.
    """
    from batch.report.status import read_status
    from batch.report.text import status_lines

    found = read_status(folder_of(directory))
    if as_json:
        show_json(asdict(found))
    else:
        show_lines(status_lines(found))


def folder_of(given: Path) -> Path:
    """The output folder itself, or the one that a manifest's runs write to."""
    if not given.is_file():
        return given

    from batch.runner.options import RunOptions
    from batch.runner.preparation import prepare

    return prepare(given, None, RunOptions()).output
