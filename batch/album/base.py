"""What pages and reviews need of an album, whether it is of one output or of two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from batch.album.entry import Entry
from batch.core.decisions import Decisions


class AlbumView(Protocol):
    """Jobs in an order, each an entry. `refresh` reads on; until then nothing changes."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def simulated(self) -> bool:
        """Whether all its pictures are the simulator's."""
        ...

    @property
    def manifest(self) -> str:
        """The manifest of the last run, as its path was given; empty if it is not known."""
        ...

    @property
    def decisions(self) -> Decisions:
        """What was said of its pictures."""
        ...

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The output folders it is of."""
        ...

    def __len__(self) -> int: ...

    def __contains__(self, job_id: str) -> bool: ...

    def __iter__(self) -> Iterator[Entry]: ...

    def entry(self, job_id: str) -> Entry:
        """One job's entry. Raises `KeyError` if there is no such job."""
        ...

    def refresh(self) -> frozenset[str]:
        """Read what was written since; the ids of jobs of which a ledger says something new."""
        ...

    def picture_path(self, sha256: str) -> str | None:
        """A picture's path, as entries have it, by its hash; None if there is none."""
        ...

    def file_of(self, path: str) -> Path:
        """Where a picture lies, by its path in the entries."""
        ...

    def keepers_of(self, job_id: str, sha256: str) -> tuple[Path, ...]:
        """The outputs whose job has this picture, and whose decisions it belongs to."""
        ...
