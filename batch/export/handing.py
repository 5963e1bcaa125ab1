"""Pictures on their way out: read, changed if asked, marked, and written under their new names.

What only gets a mark is done in threads; what is decoded and written anew in processes of their own, one for each
processor. A picture that cannot be read or changed is told, and the others go on.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Final

from batch.core.errors import StorageError
from batch.export.conversion import converted, is_changed, mime_after
from batch.export.provenance import Provenance
from batch.export.settings import Conversion
from batch.pictures.opening import UnreadablePicture
from batch.pictures.xmp import NoRoomForXmp
from batch.store.durable import PUBLIC_MODE, create_file, write_all

_THREADS: Final = 4
#: Handed to the workers at a time, so that a million are not queued.
_AHEAD: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One picture: from which file to which, with what changed. `sha256` and `mime` are the original's."""

    source: str
    target: str
    sha256: str
    mime: str
    conversion: Conversion | None
    provenance: Provenance | None

    @property
    def is_changed(self) -> bool:
        """Whether its pixels are written anew."""
        return is_changed(self.mime, self.conversion)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """How it ended. `problem` is a sentence's end if it was not written; width and height 0: as they were."""

    problem: str = ""
    unmarked: str = ""
    width: int = 0
    height: int = 0
    size_bytes: int = 0
    sha256: str = ""


def hand_over(tasks: Iterable[Task], *, converting: bool) -> Iterator[Handed]:
    """Do them all; results come in the tasks' order. Raises `OSError` if a file cannot be written."""
    waiting: deque[Future[Handed]] = deque()
    with _workers(converting=converting) as workers:
        try:
            for task in tasks:
                waiting.append(workers.submit(hand_over_one, task))
                if len(waiting) >= _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            words = "a process that converts pictures was killed (out of memory?); nothing was put in place"
            raise StorageError(f"cannot convert the pictures: {words}") from error
        finally:
            for future in waiting:
                future.cancel()


def _workers(*, converting: bool) -> Executor:
    if converting:
        return ProcessPoolExecutor(len(os.sched_getaffinity(0)), multiprocessing.get_context("spawn"))
    return ThreadPoolExecutor(_THREADS)


def hand_over_one(task: Task) -> Handed:
    """One picture, durably. Raises `OSError` if it cannot be written."""
    try:
        data, width, height = _read(task)
    except UnreadablePicture as problem:
        return Handed(problem=str(problem))
    except OSError as error:
        return Handed(problem=f"cannot be read ({error.strerror or error})")
    except MemoryError:
        return Handed(problem="needs more memory than there is")
    unmarked = ""
    if task.provenance is not None:
        try:
            data = task.provenance.into(data, mime_after(task.mime, task.conversion))
        except NoRoomForXmp as problem:
            unmarked = str(problem)
    _write(task.target, data)
    sha256 = hashlib.sha256(data).hexdigest()
    return Handed(unmarked=unmarked, width=width, height=height, size_bytes=len(data), sha256=sha256)


def _read(task: Task) -> tuple[bytes, int, int]:
    with open(task.source, "rb") as file:
        data = file.read()
    if hashlib.sha256(data).hexdigest() != task.sha256:
        raise UnreadablePicture("is not the picture that was bought: its content was changed")
    if task.conversion is None or not task.is_changed:
        return data, 0, 0
    return converted(data, task.conversion, mime_after(task.mime, task.conversion))


def _write(target: str, data: bytes) -> None:
    descriptor = create_file(target)
    try:
        write_all(descriptor, data)
        os.fchmod(descriptor, PUBLIC_MODE)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
