"""The order of jobs and the rows kept of them, from manifest.jsonl.

The file is derived and may be missing or a run may be appending to it: then the order is the ledger's, and there are no
rows. What it says of pictures and money is not read; the ledger says it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from batch.core.own_files import open_to_read
from batch.store.published import NAME


class Listed(msgspec.Struct, frozen=True, gc=False):
    """What is read of a line: the job's id, and the columns of its row that were kept."""

    id: str
    row: dict[str, Any] | None = None


_decoder = msgspec.json.Decoder(Listed)


def listed_jobs(output: Path) -> Iterator[Listed]:
    """Every line's job, in the file's order; a job settled again during a run comes twice. Nothing if there is none."""
    try:
        file = open_to_read(output / NAME)
    except OSError:
        return
    with file:
        for line in file:
            try:
                yield _decoder.decode(line)
            except msgspec.MsgspecError:
                continue  # half a line: a run is writing it, or was killed
