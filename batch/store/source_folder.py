"""Another output folder, whose pictures may be adopted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from batch.core.grounding import Grounding
from batch.core.model import Image
from batch.store.history import replay
from batch.store.ledger_reader import open_ledger, require_ledger
from batch.store.records import (
    Pictured,
    Record,
    grounding_of,
    images_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPicture:
    """A picture on the disk, and the job in whose name it was bought. Paths of `images` are relative to `folder`."""

    folder: Path
    job_id: str
    run: str
    images: tuple[Image, ...]
    caption: str | None
    warnings: tuple[str, ...]
    grounding: Grounding | None = None
    signature: str = ""


def bought_picture(folder: Path, record: Record) -> StoredPicture:
    """The picture that a record of a folder's ledger gives its job."""
    assert isinstance(record, Pictured)
    return StoredPicture(
        folder=folder,
        job_id=record.job,
        run=record.run,
        images=images_of(record),
        caption=record.caption,
        warnings=record.warnings,
        grounding=grounding_of(record),
        signature=record.signature or "",
    )


class SourceFolder:
    """Another output folder whose pictures may be taken. Only read, never locked: a run may be on there."""

    def __init__(self, path: Path, *, bought_only: bool = True) -> None:
        require_ledger(path)
        self.path = path
        self.history, _ = replay(path, bought_only=bought_only)

    def bought(self, row: int) -> StoredPicture:
        """The picture of a row of that folder's history."""
        with open_ledger(self.path) as ledger:
            return bought_picture(self.path, ledger.at(self.history.at(row).bought_offset))
