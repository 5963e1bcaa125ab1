"""`imagebatch reread`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from batch.cli.console import print_json, print_lines
from batch.cli.options import NamedPath
from batch.cli.partial import carry_out, end_with


@click.command(short_help="Look for pictures in answers that could not be read.")
@click.argument("directory", type=NamedPath())
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
    failure = carry_out(read_again(directory, base_url=base_url, dry_run=dry_run, told=found.append))
    if as_json:
        answers = [asdict(each) for each in found]
        print_json({"output": str(directory), "dry_run": dry_run, "answers": answers})
    else:
        print_lines(kept_lines(found, str(directory), dry_run=dry_run))
    end_with(failure)
