"""Small copies of pictures, by the hash of what they show: upright, of sRGB colours, WebP.

A small copy is made once: by a run in spare time, by a build or by a review. A picture that cannot be read gets none,
and nothing else happens.
"""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing import get_context
from stat import S_ISREG
from types import TracebackType
from typing import BinaryIO, Final, Self

from batch.core.own_files import open_to_read
from batch.pictures.opening import UnreadablePicture, opened
from batch.pictures.seen import as_seen

#: Longest sides in pixels: of a thumbnail, and of a reference's copy, which is shown beside the result.
THUMBNAIL_SIDE: Final = 256
REFERENCE_SIDE: Final = 1024
_QUALITY: Final = {THUMBNAIL_SIDE: 70, REFERENCE_SIDE: 82}
_METHOD: Final = 4
_NICE: Final = 10
#: Pictures handed to a process at once; fewer than twice as many in all are not worth starting one for.
_GROUP: Final = 8
_ALONE: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallCopy:
    """A small copy to be made: of which file, with which hash, where to, and how long its longest side is.

    `checked`: the file may have been replaced since, so its hash is compared first.
    """

    source: str
    sha256: str
    target: str
    side: int = THUMBNAIL_SIDE
    checked: bool = False


def small_copy_name(sha256: str) -> str:
    """Where a small copy lies, below the folder of its kind."""
    return f"{sha256[:2]}/{sha256}.webp"


def is_made(copy: SmallCopy) -> bool:
    """Whether it is there."""
    return os.path.exists(copy.target)


def make(copy: SmallCopy) -> bool:
    """Make a small copy; False if the picture cannot be read. Raises `OSError` if it cannot be written."""
    hidden = f"{copy.target}.{os.getpid()}.part"
    try:
        with _opened_source(copy) as file, opened(file) as found:
            small = as_seen(found, _fitted(found.picture.size, copy.side))
    except (OSError, UnreadablePicture, MemoryError):
        return False
    os.makedirs(os.path.dirname(copy.target), exist_ok=True)
    try:
        small.save(hidden, "WEBP", quality=_QUALITY[copy.side], method=_METHOD)
        os.replace(hidden, copy.target)
    except BaseException:
        with suppress(OSError):
            os.unlink(hidden)
        raise
    return True


def make_all(copies: Iterable[SmallCopy], *, workers: int, made: Callable[[int], None] = lambda _count: None) -> int:
    """Make small copies in processes of low priority; returns how many pictures could not be read.

    `made` hears how many are finished, again and again. A picture that ends its process is passed over, as one that
    cannot be read. Raises `OSError` if they cannot be written.
    """
    waiting = iter(copies)
    first = [*islice(waiting, _ALONE)]
    if len(first) < _ALONE or workers < 1:
        return _made_in(chain(first, waiting), made)
    with _Workers(workers) as pool:
        return pool.make_all(chain(first, waiting), made)


def _made_in(copies: Iterable[SmallCopy], made: Callable[[int], None]) -> int:
    """Make small copies in this process."""
    unreadable = 0
    for count, copy in enumerate(copies, 1):
        unreadable += not make(copy)
        made(count)
    return unreadable


def _make_group(group: Sequence[SmallCopy]) -> int:
    return sum(not make(copy) for copy in group)


class _Workers:
    """Processes that make small copies. One that dies over a picture is replaced. A context manager."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool = self._new(count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=kind is None, cancel_futures=True)

    def make_all(self, copies: Iterable[SmallCopy], made: Callable[[int], None]) -> int:
        groups = _groups(copies)
        sent: dict[Future[int], list[SmallCopy]] = {}
        unreadable = finished = 0
        while True:
            for group in islice(groups, 2 * self._count - len(sent)):
                sent[self._pool.submit(_make_group, group)] = group
            if not sent:
                return unreadable
            ended, _ = wait(sent, return_when=FIRST_COMPLETED)
            try:
                unreadable += sum(future.result() for future in ended)
                done = [sent.pop(future) for future in ended]
            except BrokenProcessPool:
                done = [*sent.values()]
                sent.clear()
                unreadable += self._one_by_one(copy for group in done for copy in group)
                self._pool = self._new(self._count)
            finished += sum(len(group) for group in done)
            made(finished)

    def _one_by_one(self, copies: Iterable[SmallCopy]) -> int:
        """After a process died: which picture it was shows when each has a process to itself."""
        unreadable = 0
        for copy in copies:
            if is_made(copy):
                continue
            with self._new(1) as alone:
                try:
                    unreadable += alone.submit(_make_group, [copy]).result()
                except BrokenProcessPool:
                    unreadable += 1
        return unreadable

    @staticmethod
    def _new(count: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_begin_worker)


def _begin_worker() -> None:
    """Ctrl-C is for the process that started this one, which ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICE)


def _groups(copies: Iterable[SmallCopy]) -> Iterator[list[SmallCopy]]:
    left = iter(copies)
    while group := [*islice(left, _GROUP)]:
        yield group


def _fitted(size: tuple[int, int], side: int) -> tuple[int, int]:
    """A size with the same shape whose longer side is `side` pixels, or the size itself if that is smaller."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


@contextmanager
def _opened_source(copy: SmallCopy) -> Iterator[BinaryIO]:
    if not copy.checked:
        with open_to_read(copy.source) as file:
            yield file
        return
    # A user's own file may well be a link; a FIFO or a device never ends.
    if not S_ISREG(os.stat(copy.source).st_mode):
        raise OSError(f"{copy.source} is no file")
    with open(copy.source, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != copy.sha256:
            raise OSError(f"{copy.source} is another picture by now")
        yield file
