"""`imagebatch run --gallery`: thumbnails in spare time, pages at the end. The run's exit code stays what it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from batch.cli.console import print_error
from batch.core.errors import BatchError

if TYPE_CHECKING:
    from batch.core.events import Listener
    from batch.core.results import Summary


def with_thumbnails(shown: Listener) -> Listener:
    """A run's listener, and one that has thumbnails made."""
    from batch.core.events import Listeners
    from batch.gallery.spare_time import ThumbnailsInSpareTime

    return Listeners([shown, ThumbnailsInSpareTime()])


def make_gallery(summary: Summary, *, quiet: bool) -> None:
    """Make the pages of a run that has ended by itself."""
    from batch.gallery import build_gallery

    if summary.exit > 128:
        print_error(f"no gallery was made; make it with: imagebatch gallery {summary.output}")
        return
    try:
        built = build_gallery(Path(summary.output))
    except BatchError as error:
        print_error(f"no gallery was made: {error}")
        return
    if not quiet:
        print_error(f"  gallery    {built.index}")
