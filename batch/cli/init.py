"""`imagebatch init`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from batch.cli.console import print_error, print_lines, print_problems
from batch.cli.options import NamedPath
from batch.core.errors import InputError
from batch.core.registry import provider_names


class ProviderName(click.Choice[str]):
    """One of ours, or one that is installed; only for a name that is not ours the installed ones are looked through."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        is_ours = value in self.choices
        return value if not is_ours and value in provider_names() else super().convert(value, param, ctx)


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
    type=ProviderName(("simulator", "anyfast", "google", "openai")),
    default="simulator",
    show_default=True,
    help="The provider that will make the pictures.",
)
@click.option(
    "--photos",
    type=NamedPath(),
    metavar="DIR",
    help="Photos called by handle, SKU or title.  [default: photos/, images/ ... beside TABLE]",
)
@click.option("--variants", is_flag=True, help="A picture of every variant, not of every product.")
def init(table: Path | None, manifest: Path | None, provider: str, photos: Path | None, *, variants: bool) -> None:
    """Write a commented manifest for TABLE: which column is the id, which says what to show, which rows are products.

    TABLE is a .csv, .tsv, .jsonl, .parquet or .xlsx file, such as the product export of a shop. The manifest is checked
    to the last row before it is written, so it works as it stands. Without TABLE: three example jobs.
    """
    from batch.starter.starter import write_starter

    try:
        starter = write_starter(table, manifest, provider=provider, photos=photos, variants=variants)
    except InputError as error:
        print_problems(error, "nothing was written")
        sys.exit(error.exit_code)
    if starter.made_from is None and starter.columns:
        print_error(starter.columns)  # of an export that is known they are no news
    for note in starter.notes:
        print_error(note)
    jobs = f"{starter.jobs:,} {'job' if starter.jobs == 1 else 'jobs'}"
    made_from = f" from {starter.made_from}" if starter.made_from else ""
    print_error(f"wrote {starter.path}: {jobs}{made_from}; read its comments, then")
    print_lines(f"  {command}" for command in starter.next_commands)
