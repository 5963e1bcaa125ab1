"""The spool: answers on their way in, and answers received whole but not yet recorded.

One attempt's files are `spool/<job>~<attempt>.<n>` for its long strings and `….answer` for the rest. The answer
file gets its name when it is whole, and begins with a line that says how long everything is. Once it is there the
attempt counts as received, and a run that dies later finishes it at its next start without a request.
"""

from __future__ import annotations

import json
import os
import zlib
from collections import deque
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final

from batch.core.errors import StorageError
from batch.core.own_files import open_to_read, open_to_write
from batch.providers.base import Blob, Cut, Received
from batch.store.disk_reserve import DiskReserve
from batch.store.durable import create_anew, forget, storage_errors, write_all

ANSWER_SUFFIX: Final = ".answer"


def attempt_stem(job_id: str, number: int) -> str:
    """The name an attempt's files share. `~` cannot occur in an id, so no two attempts meet."""
    return f"{job_id}~{number}"


class SpoolFile:
    """One long string or download being written, unbuffered: what was written survives the process."""

    def __init__(self, path: str, disk_reserve: DiskReserve, ready: tuple[int, str] | None = None) -> None:
        """`ready`: an open file that becomes this one; without it a new one is made."""
        self.file = path
        #: CRC-32 of what was written so far.
        self.crc = 0
        self._disk_reserve = disk_reserve
        with storage_errors("write the spool"):
            if ready is None:
                self._descriptor: int | None = create_anew(path, make_room=disk_reserve.spend)
            else:
                self._descriptor, name = ready
                os.ftruncate(self._descriptor, 0)
                os.lseek(self._descriptor, 0, os.SEEK_SET)
                os.rename(name, path)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert self._descriptor is not None
        self.crc = zlib.crc32(data, self.crc)
        with storage_errors("write the spool"):
            write_all(self._descriptor, data, make_room=self._disk_reserve.spend)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with storage_errors("write the spool"):
                os.close(descriptor)

    def discard(self) -> None:
        """Close and remove it. One that cannot be removed is swept by the next run."""
        self.close()
        with suppress(OSError):
            forget(self.file)


class SpareFiles:
    """Open files for answers, made before a request is sent, so that an answer needs no new file to be kept.

    Those that answers are sealed in are used again and again: where many files were just removed, ext4 searches long
    for room for the next one. While a file is free it is called `free.<n>`; a rename makes it an attempt's, and
    another one gives it back.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._made = 0
        self._free: deque[tuple[int, str]] = deque()
        self._lent: set[str] = set()

    def take(self) -> tuple[int, str]:
        """An open file with its path. What it holds is of no use."""
        file = self.take_free()
        if file is None:
            self._made += 1
            path = os.path.join(self._folder, f"free.{self._made}")
            file = create_anew(path), path
        self._lent.add(file[1])
        return file

    def take_free(self) -> tuple[int, str] | None:
        """One that is there already, if any."""
        try:
            return self._free.pop()
        except IndexError:
            return None

    def used_up(self, path: str) -> None:
        """A file that was taken has another name now and does not come back."""
        self._lent.discard(path)

    def give_back(self, descriptor: int, path: str, answer: str | None = None) -> None:
        """Take a file back. One that has a second name (in rejected/) is never written again."""
        if os.fstat(descriptor).st_nlink != 1:
            os.close(descriptor)
            forget(answer or path)
            return
        if answer is not None:
            try:
                os.rename(answer, path)
            except OSError:
                os.close(descriptor)  # it keeps its name, and the next run sweeps it
                raise
        self._lent.discard(path)
        self._free.append((descriptor, path))

    def close(self) -> None:
        """Remove those that still are called free. One that cannot be removed is swept by the next run."""
        for path in self._lent:
            with suppress(OSError):
                forget(path)
        while self._free:
            descriptor, path = self._free.pop()
            with suppress(OSError):
                os.close(descriptor)
                forget(path)


class AttemptSpool:
    """The spool of one attempt. Implements `providers.base.Spool`."""

    def __init__(self, folder: str, stem: str, disk_reserve: DiskReserve, spares: SpareFiles | None = None) -> None:
        self._disk_reserve = disk_reserve
        self._base = os.path.join(folder, stem)
        self._count = 0
        self._sealed = False
        self._spares = spares or SpareFiles(folder)
        self._owns_spares = spares is None
        self._answer_file: tuple[int, str] | None = None
        self._ready: tuple[int, str] | None = None
        self._writers: dict[str, SpoolFile] = {}

    def reserve(self) -> None:
        """Take the files that an answer needs, before it is asked for: later there may be no room for a new one."""
        with storage_errors("make room for an answer"):
            self._answer_file = self._spares.take()
            self._ready = self._spares.take()

    @property
    def files(self) -> list[str]:
        """Every file of this attempt that exists, the answer first."""
        names = [f"{self._base}.{number}" for number in range(self._count)]
        return ([self._base + ANSWER_SUFFIX] if self._sealed else []) + list(filter(os.path.lexists, names))

    @property
    def sealed(self) -> bool:
        return self._sealed

    def new_blob(self) -> SpoolFile:
        path = f"{self._base}.{self._count}"
        self._count += 1
        ready, self._ready = self._ready, None
        if ready is not None:
            self._spares.used_up(ready[1])
        writer = self._writers[path] = self._opened(path, ready)
        return writer

    def _opened(self, path: str, ready: tuple[int, str] | None) -> SpoolFile:
        """Where no file can be made any more, one that waits for other requests serves."""
        try:
            return SpoolFile(path, self._disk_reserve, ready)
        except StorageError:
            spare = self._spares.take_free()
            if spare is None:
                raise
            return SpoolFile(path, self._disk_reserve, spare)

    def seal(self, received: Received) -> None:
        """From here a crash of the process cannot lose the answer: nothing before the rename can wait.

        Not synced: that would cost every picture, and after a power cut an attempt is named by its `try` line.
        """
        head = {
            "attempt": os.path.basename(self._base),
            "status": received.status,
            "headers": dict(received.headers),
            "seconds": received.seconds,
            "body_bytes": len(received.body),
            "blobs": [self._head_of(blob) for blob in received.blobs],
        }
        if received.flaw is not None:
            head["flaw"] = received.flaw
        if received.cut is not None:
            head["cut"] = asdict(received.cut)
        head["crc"] = _crc(head, received.body)
        data = json.dumps(head, ensure_ascii=True).encode("ascii") + b"\n" + received.body
        with storage_errors("write the spool"):
            self._answer_file = descriptor, path = self._answer_file or self._spares.take()
            os.lseek(descriptor, 0, os.SEEK_SET)
            # What an older, longer answer left behind the end is not cut off here: that would cost as much again.
            write_all(descriptor, data, make_room=self._disk_reserve.spend)
            os.rename(path, self._base + ANSWER_SUFFIX)
        self._spares.used_up(path)
        self._sealed = True

    def _head_of(self, blob: Blob) -> dict[str, Any]:
        writer = self._writers.get(blob.file)
        checked = {} if writer is None else {"crc": writer.crc}
        return {**asdict(blob), "file": os.path.basename(blob.file), **checked}

    def load(self) -> Received | None:
        """The sealed answer of an earlier run, or None if the attempt never got that far, or lost a part of it."""
        try:
            with open_to_read(self._base + ANSWER_SUFFIX) as file:
                first, body = file.readline(), file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"cannot read {self._base}{ANSWER_SUFFIX}: {error}") from error
        try:
            head = json.loads(first)
            body = body[: head["body_bytes"]]
            is_ours = head.pop("crc") == _crc(head, body) and head["attempt"] == os.path.basename(self._base)
        except (ValueError, LookupError, TypeError):
            return None
        if not is_ours:  # after a power cut a file may have its new name and still hold what stood in it before
            return None
        folder = os.path.dirname(self._base)
        crcs = [blob.pop("crc", None) for blob in head["blobs"]]
        blobs = tuple(Blob(**{**blob, "file": os.path.join(folder, blob["file"])}) for blob in head["blobs"])
        if not all(_is_whole(blob, crc) for blob, crc in zip(blobs, crcs, strict=True)):
            return None
        self._sealed = True
        self._count = max((int(blob.file.rpartition(".")[2]) + 1 for blob in blobs), default=0)
        return Received(
            status=head["status"],
            headers=head["headers"],
            body=body,
            blobs=blobs,
            seconds=head["seconds"],
            flaw=head.get("flaw"),
            cut=Cut(**head["cut"]) if "cut" in head else None,
        )

    def trim(self) -> None:
        """Cut off what an older answer left behind this one's end, before the file is read."""
        if self._sealed:
            path = self._base + ANSWER_SUFFIX
            with open_to_read(path) as file:
                first = file.readline()
            descriptor = open_to_write(path, os.O_WRONLY)
            try:
                os.ftruncate(descriptor, len(first) + json.loads(first)["body_bytes"])
            finally:
                os.close(descriptor)

    def discard(self) -> None:
        """Remove this attempt's files: their content stands elsewhere, or was never whole.

        The attempt is recorded by now, so a file that cannot be removed is no failure: the next run sweeps it.
        """
        with suppress(OSError):
            self._discard_answer()
        with suppress(OSError):
            ready, self._ready = self._ready, None
            if ready is not None:
                self._spares.give_back(*ready)
        with suppress(OSError):
            for number in range(self._count):
                forget(f"{self._base}.{number}")
        self._sealed, self._count = False, 0

    def _discard_answer(self) -> None:
        answer = self._base + ANSWER_SUFFIX if self._sealed else None
        if self._answer_file is not None:
            file, self._answer_file = self._answer_file, None
            self._spares.give_back(*file, answer)
        elif answer is not None:
            forget(answer)  # an earlier run's
        if self._owns_spares:
            self._spares.close()


def _crc(head: dict[str, Any], body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(json.dumps(head, ensure_ascii=True).encode("ascii")))


def _is_whole(blob: Blob, crc: int | None) -> bool:
    """Whether the file still is what was written; an earlier version's answers know only how long it was.

    A power cut may leave a file of the right length with zeros in it.
    """
    try:
        if crc is None:
            return os.path.getsize(blob.file) >= blob.size_bytes
        return _file_crc(blob.file) == crc
    except OSError:
        return False


def _file_crc(path: str) -> int:
    crc = 0
    with open_to_read(path) as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc


def sweep(folder: str, claimed: set[str]) -> int:
    """Remove files of dead runs that no open attempt claims; returns how many. `claimed` holds attempt stems."""
    removed = 0
    for name in os.listdir(folder):
        if name.rpartition(".")[0] not in claimed:
            forget(os.path.join(folder, name))
            removed += 1
    return removed
