"""`imagebatch init`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batch.cli.console import print_error, print_lines, print_problems
from batch.cli.options import NamedPath
from batch.core.errors import InputError
from batch.core.profiles import PROFILES

if TYPE_CHECKING:
    pass


@click.command(short_help="Write a first manifest, for a table.")
@click.argument("table", required=False, type=NamedPath())
@click.option(
    "-o",
    "manifest",
    type=NamedPath(),
    metavar="MANIFEST",
    help="The file to write; never over one that exists.  [default: TABLE's name with .yaml]",
)
@click.option(
    "--provider",
    type=click.Choice(sorted(PROFILES, key=lambda name: (PROFILES[name].key_env is not None, name))),
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
        print_problems(error, "nothing was written")
        sys.exit(error.exit_code)
    print_error(
        f"wrote {starter.path}: {starter.jobs:,} {'job' if starter.jobs == 1 else 'jobs'}; read its comments, then"
    )
    print_lines(f"  {command}" for command in starter.next_commands)
