"""`imagebatch compare`."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from batch.cli.console import show_json, show_lines
from batch.cli.options import NamedPath, references_option, review_options


@click.command(short_help="Show two output folders side by side, and pick the better pictures.")
@click.argument("first", type=NamedPath(file_okay=False))
@click.argument("second", type=NamedPath(file_okay=False))
@click.option(
    "--to",
    "target",
    type=NamedPath(file_okay=False),
    help="Write pages into this folder, complete in itself, and serve nothing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object and serve nothing.")
@review_options
@references_option
def compare(
    first: Path,
    second: Path,
    target: Path | None,
    port: int,
    by: str | None,
    references: tuple[Path, ...],
    *,
    as_json: bool,
    no_browser: bool,
) -> None:
    """Show the output folders FIRST and SECOND side by side: two models, two prompts, two sizes.

    Jobs are paired by their ids. A table says what either came to; the page shows each job's two pictures, with the
    keys of `imagebatch review`: C puts them side by side, and the one that is picked is accepted in its own folder.
    Ctrl-C ends it, and the table is shown again with what was chosen.
    """
    from batch.album import PairedAlbum
    from batch.analysis import compare as gathered
    from batch.analysis import comparison_lines
    from batch.cli.reviewing import review_until_ended
    from batch.gallery import Built, build_pages

    album = PairedAlbum(first, second)
    found = gathered(album)
    if as_json:
        show_json(asdict(found))
        return
    show_lines(comparison_lines(found))
    if target is not None:
        built = build_pages(album, target, is_complete=True, references=references)
        show_lines([f"open {built.index}"])
        return
    with tempfile.TemporaryDirectory(prefix="imagebatch-compare-") as folder:

        def build() -> Built:
            pages = Path(folder) / "gallery"
            opened = PairedAlbum(first, second)
            return build_pages(opened, pages, is_complete=False, thumbnails=False, references=references, keep_old=True)

        review_until_ended(lambda: PairedAlbum(first, second), build, port=port, by=by, opens_browser=not no_browser)
    show_lines(comparison_lines(gathered(PairedAlbum(first, second))))
