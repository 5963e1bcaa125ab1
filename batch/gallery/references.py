"""Where the pictures are that a job was given. They lie outside the output folder, and the ledger has their hashes.

A file is shown only if it still is what was sent. Where it lies is never written into a page.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from batch.core.errors import ConfigError
from batch.providers.references.cache import ReferenceCache, cache_folder


class ReferencePlaces:
    """Finds the file of a reference: below the manifest's folder or others that are named, or among fetched ones."""

    def __init__(self, folders: Sequence[Path], fetched: ReferenceCache | None) -> None:
        self._folders = folders
        self._fetched = fetched

    def find(self, name: str, sha256: str) -> Path | None:
        """A file that may be the reference; its hash is still to be compared. None if there is none."""
        if "://" in name:
            found = self._fetched.file(sha256) if self._fetched is not None else None
            return found if found is not None and found.is_file() else None
        return next(filter(None, (_file(folder, name) for folder in self._folders)), None)


def _file(folder: Path, name: str) -> Path | None:
    """The file of a name, in a folder unless the name says otherwise. A name may be anything that was ever written."""
    try:
        path = folder / Path(name).expanduser()
        return path if path.is_file() else None
    except (OSError, ValueError, RuntimeError):
        return None


def places_of(manifest: str, more: Sequence[Path], environment: Mapping[str, str] = os.environ) -> ReferencePlaces:
    """The places for an output of this manifest: its folder, the current one, and `more`, which come first."""
    beside = [Path(manifest).parent] if manifest else []
    try:
        fetched = ReferenceCache(cache_folder(environment))
    except ConfigError:
        fetched = None
    return ReferencePlaces([*more, *beside, Path()], fetched)
