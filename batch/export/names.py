"""What exported pictures are called: as in the output, or by a template with folders."""

from __future__ import annotations

import posixpath
from typing import Final

from batch.export.picks import Pick
from batch.manifest.ids import id_key
from batch.store.picture_check import EXTENSIONS

_IMAGES: Final = "images/"


class Names:
    """Gives every picture of an export a name that no other one has, whatever its ending, and in any case."""

    def __init__(self) -> None:
        self._taken: set[bytes] = set()

    def give(self, pick: Pick, wanted: str, mime: str) -> str:
        """A free name: the wanted one (a path without extension), or the next one with a number."""
        stem = wanted or posixpath.splitext(pick.path.removeprefix(_IMAGES))[0]
        free, number = stem, 1
        while (key := id_key(free)) in self._taken:
            number += 1
            free = f"{stem}-{number}"
        self._taken.add(key)
        return f"{free}.{EXTENSIONS[mime]}"
