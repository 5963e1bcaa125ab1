"""`imagebatch review`."""

from __future__ import annotations

from pathlib import Path

import click

from batch.cli.console import show_lines
from batch.cli.options import NamedPath, references_option, review_options


@click.command(short_help="Look at pictures in a browser, and accept or reject them.")
@click.argument("directory", type=NamedPath(file_okay=False))
@review_options
@references_option
def review(directory: Path, port: int, by: str | None, references: tuple[Path, ...], *, no_browser: bool) -> None:
    """Look at the pictures of the output folder DIRECTORY in a browser, and say which are good.

    \b
      A accept   R reject   1-9 reject with a reason   N note   U undo
      Space next unseen   C compare versions   ? all keys

    The page is served on this machine alone, at an address with a token in it. A run may be on: new pictures appear as
    they land. A decision is on the disk before the page shows it, in decisions.jsonl. Ctrl-C ends the review; then
    `imagebatch run MANIFEST --rejected` makes the rejected ones again.
    """
    from batch.album import open_album
    from batch.cli.reviewing import review_until_ended
    from batch.gallery import build_gallery

    review_until_ended(
        lambda: open_album(directory),
        lambda: build_gallery(directory, thumbnails=False, references=references, keep_old=True),
        port=port,
        by=by,
        opens_browser=not no_browser,
    )
    show_lines(_last_words(directory))


def _last_words(directory: Path) -> list[str]:
    """How many pictures are accepted and rejected, and what to type next."""
    from batch.analysis import read_figures

    jobs = read_figures(directory).jobs
    words = [f"{jobs.accepted:,} accepted, {jobs.rejected:,} rejected, {jobs.undecided:,} left"]
    if jobs.rejected:
        words.append("  next       imagebatch run MANIFEST --rejected")
    return words
