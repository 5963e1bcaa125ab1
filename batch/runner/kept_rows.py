"""The columns of rows on their way into manifest.jsonl (`keep`).

A row is known while its job comes out of the manifest, and its line is written when the job is settled; only the
rows of jobs between the two are held. When the file is written anew, the table is read once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from batch.core.errors import InputError
from batch.core.model import Job
from batch.manifest import Manifest, RowJob


class KeptRows:
    """The kept rows of one manifest's jobs."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._held: dict[bytes, Mapping[str, Any] | None] = {}
        self._newest: RowJob | None = None
        #: Whether the last pass in order came to the table's end.
        self.complete = True

    def __bool__(self) -> bool:
        return self._manifest.keeps_rows

    def jobs(self) -> Iterator[Job]:
        """A pass over the manifest's jobs; the row of the newest one can be held. One pass at a time."""
        if not self:
            yield from self._manifest.jobs()
            return
        for pair in self._manifest.jobs_with_rows():
            self._newest = pair
            yield pair.job

    def hold(self, job: Job) -> None:
        """Keep the row of the job that came out last, until `take`."""
        newest = self._newest
        if newest is not None and newest.job is job:
            self._held[job.key()] = self._manifest.kept(newest.row)

    def take(self, job: Job) -> Mapping[str, Any] | None:
        """The row of a job that is settled; None if it is not held."""
        return self._held.pop(job.key(), None)

    def in_order(self) -> Iterator[tuple[bytes, Mapping[str, Any] | None]]:
        """Every job's key and row. Ends early, and not `complete`, if the table was edited while the run was on."""
        self.complete = False
        try:
            for row, job in self._manifest.jobs_with_rows():
                yield job.key(), self._manifest.kept(row)
        except InputError:
            return
        self.complete = True
