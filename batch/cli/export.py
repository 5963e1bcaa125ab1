"""`imagebatch export`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from batch.cli.console import print_failure, print_problems, show_json, show_lines
from batch.cli.options import Count, NamedPath
from batch.core.errors import InputError

if TYPE_CHECKING:
    from batch.export import Column, Conversion, Export, ExportOptions

_PRESETS: Final = (
    *("table", "shopify", "shopify-variants", "woocommerce", "merchant", "merchant-lifestyle"),
    *("csv", "jsonl", "parquet", "xlsx", "imagefolder", "webdataset", "folder"),
)


@click.command(short_help="Hand pictures over: a shop's table, a data set, a folder.")
@click.argument("directory", type=NamedPath())
@click.option(
    "--for",
    "preset",
    type=click.Choice(_PRESETS),
    default="table",
    show_default=True,
    metavar="PRESET",
    help=f"What the export is for: {', '.join(_PRESETS)}.",
)
@click.option("--to", type=NamedPath(file_okay=False), metavar="DIR", help="[default: DIRECTORY/export/PRESET]")
@click.option(
    "--base-url",
    default="",
    metavar="URL",
    help="Where the exported folder images/ will be served, such as https://cdn.example/kites. Shops need it.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="COLUMN=TEMPLATE",
    help="Fill a column, such as 'Image Src={{ url }}' or 'Alt={{ caption or Title }}'. May be repeated.",
)
@click.option(
    "--include",
    multiple=True,
    type=click.Choice(["unseen", "rejected", "all"]),
    help="Hand these over, too. Once a picture is accepted only accepted ones are; before that, all but rejected ones.",
)
@click.option(
    "--rows",
    type=click.Choice(["all", "exported"]),
    default="all",
    show_default=True,
    help="exported: leave products without an exported picture out of the table.",
)
@click.option(
    "--as",
    "table_format",
    type=click.Choice(["csv", "tsv", "jsonl", "parquet", "xlsx"]),
    help="Format of the table.  [default: as the source]",
)
@click.option(
    "--names",
    metavar="TEMPLATE",
    help="Names of the pictures, with folders: '{{ Vendor | slug }}/{{ Handle }}'.  [default: as in DIRECTORY]",
)
@click.option("--table-only", is_flag=True, help="Write the table and no pictures.")
@click.option("--manifest", type=NamedPath(), metavar="FILE", help="[default: the manifest of the last run]")
@click.option("--format", "mime", type=click.Choice(["jpeg", "webp", "png"]), help="Convert pictures to this format.")
@click.option("--quality", type=Count(min=1, max=100), default=90, show_default=True, help="Of JPEG and WebP.")
@click.option("--longest-side", type=Count(min=16, max=16383), metavar="PIXELS", help="Reduce larger pictures to this.")
@click.option("--square", is_flag=True, help="Pad pictures to squares.")
@click.option(
    "--background",
    default="white",
    show_default=True,
    metavar="COLOUR",
    help="Behind --square, and behind what is transparent in a JPEG.",
)
@click.option(
    "--provenance/--no-provenance",
    default=True,
    help="Mark the copies as made by a model, with prompt, model and id (IPTC and XMP).  [default: mark them]",
)
@click.option(
    "--source-type",
    type=click.Choice(["generated", "composite"]),
    help="What the mark says.  [default: composite if a job had references]",
)
@click.option("--excel-safe", is_flag=True, help="Write ' before a text that a spreadsheet would calculate.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def export(directory: Path, *, as_json: bool, **given: Any) -> None:
    """Hand the pictures of the output folder DIRECTORY over: copies of them, and the table they came from.

    \b
      imagebatch export output/kites                        your table, with a column image
      imagebatch export output/kites --for shopify --base-url https://cdn.example/kites
      imagebatch export output/kites --for merchant --format jpeg --longest-side 1500 --base-url ...
      imagebatch export output/kites --for folder --names '{{ Vendor | slug }}/{{ Handle }}'

    In the table nothing but the picture columns changes: every other byte is your file's. After a review only
    accepted pictures are handed over. The pictures in DIRECTORY are not touched, and nothing is put in place until all
    of it is written. Templates know the row's columns and url, path, link, id, prompt, caption, model, number, urls
    and more (docs/export.md).

    Exit code 1: a picture is missing, or could not be converted; all others were handed over.
    """
    from batch.export import export as hand_over

    try:
        done = hand_over(_folder_of(directory), _options(**given))
    except InputError as error:
        print_problems(error, "nothing was exported")
        print_failure(error.exit_code, error.reason, str(error), error.problems, error.more)
        sys.exit(error.exit_code)
    if as_json:
        show_json({**asdict(done), "exit": int(done.exit_code)})
    else:
        show_lines(_lines(done))
    sys.exit(done.exit_code)


def _folder_of(directory: Path) -> Path:
    """The folder itself, or that of a manifest."""
    if not directory.is_file():
        return directory
    from batch.runner.options import RunOptions
    from batch.runner.preparation import prepare

    return prepare(directory, None, RunOptions()).output


def _options(
    *,
    preset: str,
    to: Path | None,
    base_url: str,
    settings: tuple[str, ...],
    include: tuple[str, ...],
    rows: str,
    table_format: str | None,
    names: str | None,
    table_only: bool,
    manifest: Path | None,
    provenance: bool,
    source_type: str | None,
    excel_safe: bool,
    **conversion: Any,
) -> ExportOptions:
    from batch.export import PRESETS, ExportOptions, Status
    from batch.export.provenance import COMPOSITE, GENERATED

    wanted = {"unseen", "rejected"} if "all" in include else set(include)
    return ExportOptions(
        preset=PRESETS[preset],
        to=to,
        base_url=base_url,
        manifest=manifest,
        columns=tuple(map(_column, settings)),
        names=names,
        include=frozenset(map(Status, wanted)),
        table_format=table_format,
        exported_rows_only=rows == "exported",
        table_only=table_only,
        conversion=_conversion(**conversion),
        provenance=provenance,
        source_type={"generated": GENERATED, "composite": COMPOSITE}.get(source_type or ""),
        excel_safe=excel_safe,
    )


def _column(text: str) -> Column:
    from batch.export import Column

    name, equals, template = text.partition("=")
    if not equals or not name.strip():
        raise click.BadParameter(f"write COLUMN=TEMPLATE, such as 'Image Src={{{{ url }}}}'; got {text!r}")
    return Column(names=(name.strip(),), value=template)


def _conversion(
    *, mime: str | None, quality: int, longest_side: int | None, square: bool, background: str
) -> Conversion | None:
    from batch.export import Conversion
    from batch.export.conversion import MIMES

    if not (mime or longest_side or square):
        return None
    return Conversion(
        mime=MIMES[mime] if mime else "",
        quality=quality,
        longest_side=longest_side,
        square=square,
        background=background,
    )


def _lines(done: Export) -> Iterator[str]:
    from batch.report.formatting import count, path, printable

    if not done.pictures:
        yield "nothing was exported: no picture is to be handed over"
    else:
        tables = ", ".join(path(name) for name in done.tables[:3]) or "no table"
        yield f"exported {count(done.pictures, 'picture')} to {path(done.to)} ({tables})"
    if done.added_columns:
        yield f"  your table had no column {' or '.join(map(printable, done.added_columns))}; added at its end"
    for why, number in done.left_out.items():
        yield f"  left out: {number:,} {_REASONS[why]} ({_some(done.left_out_ids[why], number)})"
    for job, problem in done.not_converted[:20]:
        yield f"  not exported: {printable(job)}: the picture {printable(problem)}"
    if done.edited:
        words = f"{count(done.edited, 'row')} edited since: the picture is of an earlier prompt"
        yield f"  {words} ({_some(done.edited_ids, done.edited)})"
    if done.rows_not_read:
        yield f"  {count(done.rows_not_read, 'problem')} in the manifest's rows; imagebatch plan tells them"
    if done.unmarked:
        yield f"  {count(done.unmarked, 'picture')} in a format that takes no mark of how it was made"
    if done.simulated:
        yield "  these are the simulator's drawings, to try the export with"
    if done.pictures and done.next_step:
        yield f"next: {done.next_step}"


_REASONS: Final = {
    "unseen": "not reviewed; --include unseen hands them over",
    "rejected": "rejected; --include rejected hands them over",
    "failed": "without a picture: failed",
    "unknown": "without a picture: outcome unknown",
    "pending": "without a picture: not done yet",
    "gone": "no longer in the manifest",
    "lost": "missing or altered in the output folder",
}


def _some(ids: Any, number: int) -> str:
    shown = ", ".join(ids[:5])
    return f"{shown}, ..." if number > 5 else shown
