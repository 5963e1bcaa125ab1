"""The order of jobs and the rows kept of them, from manifest.jsonl.

The file is derived. It may be missing, or a run may be appending to it: then the order is the ledger's, and there are
no rows. What it says of pictures and money is not read; the ledger says it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from batch.core.own_files import open_to_read
from batch.store.published import NAME


class _Listed(msgspec.Struct, frozen=True, gc=False):
    """What is read of a line: the job's id, and the columns of its row that were kept."""

    id: str
    row: dict[str, Any] | None = None


_decoder = msgspec.json.Decoder(_Listed)


class Listing:
    """The jobs of manifest.jsonl in its order, each with its kept row or None. `update` reads on as a run appends."""

    def __init__(self, output: Path) -> None:
        self._path = output / NAME
        self._rows: dict[str, Mapping[str, Any] | None] = {}
        #: The file that was read, and how far: at a run's end another one takes its place.
        self._inode = self._offset = 0

    def __contains__(self, job: str) -> bool:
        return job in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, job: str) -> Mapping[str, Any] | None:
        """The kept row of a job; None where none was kept."""
        return self._rows.get(job)

    def update(self) -> None:
        """Read what was written since. A file put in its place is read from its beginning."""
        try:
            file = open_to_read(self._path)
        except OSError:
            return
        with file:
            status = os.fstat(file.fileno())
            if status.st_ino != self._inode or status.st_size < self._offset:
                self._rows, self._inode, self._offset = {}, status.st_ino, 0
            self._read_on(file)

    def _read_on(self, file: BinaryIO) -> None:
        file.seek(self._offset)
        for line in file:
            if not line.endswith(b"\n"):
                return  # a run is writing it, or was killed
            self._offset += len(line)
            try:
                listed = _decoder.decode(line)
            except msgspec.MsgspecError:
                continue
            self._rows[listed.id] = listed.row
