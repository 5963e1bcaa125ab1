"""The spool: answers on their way in, and answers received whole but not yet recorded.

One attempt's files are `spool/<job>~<attempt>.<n>` for its long strings and `….answer` for the rest. The answer
file begins with a line that says how long everything is. Once all of that is there the attempt counts as
received, and a run that dies later finishes it at its next start without a request.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from typing import Final

from batch.errors import StorageError
from batch.providers.base import Blob, Received
from batch.store.ballast import Ballast
from batch.store.durable import create_anew, forget, storage_errors, write_all

ANSWER_SUFFIX: Final = ".answer"


def attempt_stem(job_id: str, number: int) -> str:
    """The name an attempt's files share. `~` cannot occur in an id, so no two attempts meet."""
    return f"{job_id}~{number}"


class SpoolFile:
    """One long string or download being written, unbuffered: what was written survives the process."""

    def __init__(self, path: str, ballast: Ballast) -> None:
        self.file = path
        self._ballast = ballast
        with storage_errors("write the spool"):
            self._descriptor: int | None = create_anew(path)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert self._descriptor is not None
        with storage_errors("write the spool"):
            write_all(self._descriptor, data, make_room=self._ballast.spend)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with storage_errors("write the spool"):
                os.close(descriptor)


class AttemptSpool:
    """The spool of one attempt. Implements `providers.base.Spool`."""

    def __init__(self, folder: str, stem: str, ballast: Ballast) -> None:
        self._ballast = ballast
        self._base = os.path.join(folder, stem)
        self._count = 0
        self._sealed = False

    @property
    def files(self) -> list[str]:
        """Every file of this attempt that exists, the answer first."""
        names = [f"{self._base}.{number}" for number in range(self._count)]
        return ([self._base + ANSWER_SUFFIX] if self._sealed else []) + names

    @property
    def sealed(self) -> bool:
        return self._sealed

    def new_blob(self) -> SpoolFile:
        path = f"{self._base}.{self._count}"
        self._count += 1
        return SpoolFile(path, self._ballast)

    def seal(self, received: Received) -> None:
        """From here a crash of the process cannot lose the answer: it is one write, and nothing before it can wait.

        Not synced: that would cost every picture, and after a power cut an attempt is named by its `try` line.
        """
        head = {
            "status": received.status,
            "headers": dict(received.headers),
            "seconds": received.seconds,
            "body_bytes": len(received.body),
            "blobs": [{**asdict(blob), "file": os.path.basename(blob.file)} for blob in received.blobs],
        }
        data = json.dumps(head, ensure_ascii=True).encode("ascii") + b"\n" + received.body
        path = self._base + ANSWER_SUFFIX
        with storage_errors("write the spool"):
            descriptor = create_anew(path)
            try:
                write_all(descriptor, data, make_room=self._ballast.spend)
            finally:
                os.close(descriptor)
        self._sealed = True

    def load(self) -> Received | None:
        """The sealed answer of an earlier run, or None if the attempt never got that far, or lost a part of it."""
        try:
            with open(self._base + ANSWER_SUFFIX, "rb") as file:
                first, body = file.readline(), file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"cannot read {self._base}{ANSWER_SUFFIX}: {error}") from error
        try:
            head = json.loads(first)
        except ValueError:
            return None
        folder = os.path.dirname(self._base)
        blobs = tuple(Blob(**{**blob, "file": os.path.join(folder, blob["file"])}) for blob in head["blobs"])
        if len(body) < head["body_bytes"] or not all(_is_whole(blob) for blob in blobs):
            return None
        self._sealed = True
        self._count = len(blobs)
        return Received(
            status=head["status"], headers=head["headers"], body=body, blobs=blobs, seconds=head["seconds"]
        )

    def discard(self) -> None:
        """Remove this attempt's files: their content stands elsewhere, or was never whole.

        The attempt is recorded by now, so a file that cannot be removed is no failure: the next run sweeps it.
        """
        with suppress(OSError):
            for path in [self._base + ANSWER_SUFFIX, *(f"{self._base}.{number}" for number in range(self._count))]:
                forget(path)
        self._sealed, self._count = False, 0


def _is_whole(blob: Blob) -> bool:
    """Whether the file still has all its bytes; a broken one has more than were decoded."""
    try:
        return os.path.getsize(blob.file) >= blob.size_bytes
    except OSError:
        return False


def sweep(folder: str, claimed: set[str]) -> int:
    """Remove files of dead runs that no open attempt claims; returns how many. `claimed` holds attempt stems."""
    removed = 0
    for name in os.listdir(folder):
        if name.rpartition(".")[0] not in claimed:
            forget(os.path.join(folder, name))
            removed += 1
    return removed
