"""A gallery with a run: thumbnails in spare time, pages at the end. The run's exit code stays what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from batch.cli.console import is_terminal, print_error
from batch.core.errors import BatchError
from batch.core.events import Event, Listener, RunStarted

if TYPE_CHECKING:
    from batch.core.events import RunStart
    from batch.core.results import Summary
    from batch.gallery.spare_time import ThumbnailsInSpareTime


class RunGallery(Listener):
    """Makes a gallery if the command line says so, or else the manifest, or else if a person sits at a terminal."""

    def __init__(self, *, said: bool | None, quiet: bool, at_terminal: Callable[[], bool] = is_terminal) -> None:
        self._said = said
        self._quiet = quiet
        self._at_terminal = at_terminal
        self.wanted = bool(said)
        self._thumbnails: ThumbnailsInSpareTime | None = None

    def on_event(self, event: Event) -> None:
        """Once a run begins it is known what the manifest says. One that sends nothing needs no thumbnails."""
        if isinstance(event, RunStarted):
            self.wanted = self._is_wanted(event.start)
            if self.wanted and event.start.to_do:
                self._thumbnails = _thumbnails()
        if self._thumbnails is not None:
            self._thumbnails.on_event(event)

    def close(self) -> None:
        """Let the thumbnails' process end."""
        if self._thumbnails is not None:
            self._thumbnails.close()

    def make(self, summary: Summary) -> None:
        """Make the pages of a run that has ended by itself, if they are wanted."""
        from batch.gallery import build_gallery
        from batch.report.formatting import path

        if not self.wanted:
            return
        if summary.exit > 128:
            print_error(f"no gallery was made; make it with: imagebatch gallery {summary.output}")
            return
        try:
            built = build_gallery(Path(summary.output))
        except BatchError as error:
            print_error(f"no gallery was made: {error}")
            return
        if not self._quiet:
            print_error(f"  gallery    {path(str(built.index))}")

    def _is_wanted(self, start: RunStart) -> bool:
        for said in (self._said, start.gallery):
            if said is not None:
                return said
        return start.to_do > 0 and not self._quiet and self._at_terminal()


def _thumbnails() -> ThumbnailsInSpareTime:
    from batch.gallery.spare_time import ThumbnailsInSpareTime

    return ThumbnailsInSpareTime()
