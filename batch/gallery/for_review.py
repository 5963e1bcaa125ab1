"""What a server of reviews needs besides the files: its page, and small copies, made when they are asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from batch.gallery.build import THUMBNAILS, Built
from batch.gallery.pages import render_page
from batch.gallery.thumbnails import SmallCopy, is_made, make

_NICE: Final = 10
_THUMBNAIL: Final = re.compile(rf"{THUMBNAILS}/([0-9a-f]{{2}})/(\1[0-9a-f]{{62}})\.webp")


def review_page(built: Built) -> bytes:
    """The page that also takes decisions. It speaks to its own server, so it is never part of a gallery."""
    *scripts, last = built.page.scripts
    return render_page(replace(built.page, scripts=(*scripts, built.review_script, last), reviews=True))


def make_small_copies(copies: Iterable[SmallCopy]) -> None:
    """Make small copies in a process of its own that others go before. What cannot be made is left out."""
    os.nice(_NICE)
    for copy in copies:
        with suppress(OSError):
            if not is_made(copy):
                make(copy)


def copy_maker(gallery: Path, picture_path: Callable[[str], Path | None]) -> Callable[[str], bool]:
    """A function that makes the thumbnail at a path of the gallery's folder, and says whether it is there.

    `picture_path` says where a picture lies, by its SHA-256; None if there is none.
    """

    def make_copy(name: str) -> bool:
        found = _THUMBNAIL.fullmatch(name)
        source = picture_path(found[2]) if found is not None else None
        if found is None or source is None:
            return False
        copy = SmallCopy(source=str(source), sha256=found[2], target=str(gallery / name))
        try:
            return is_made(copy) or make(copy)
        except OSError:
            return False  # a page without a thumbnail is better than none

    return make_copy
