"""Space kept back for answers that are on their way when the disk fills up: they are paid for.

It also shows before the first request that there is room at all.
"""

from __future__ import annotations

import os
from typing import Final

from batch.core.errors import StorageError
from batch.core.own_files import UNSUPPORTED
from batch.store.durable import create_file, forget, storage_errors, write_all

NAME: Final = ".reserve"
#: A dozen answers of ordinary size, or a few of the largest.
BALLAST_BYTES: Final = 64 << 20


class DiskReserve:
    """A file without content that is removed when a write finds the disk full. Held inside its `with` block."""

    def __init__(self, output: str) -> None:
        self._path = os.path.join(output, NAME)
        self._is_held = False
        self.was_needed = False

    def __enter__(self) -> DiskReserve:
        """Take the space. Raises `StorageError` if there is none."""
        with storage_errors(f"keep {BALLAST_BYTES >> 20} MB free for answers on their way"):
            forget(self._path)
            descriptor = create_file(self._path)
            self._is_held = True
            try:
                _take(descriptor)
            except OSError:
                forget(self._path)
                raise
            finally:
                os.close(descriptor)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._release()

    def spend(self) -> bool:
        """Give the space to a write that found none; False if it is spent already."""
        if not self._is_held:
            return False
        self.was_needed = True
        self._release()
        return True

    def check(self) -> None:
        """Raise `StorageError` if the disk was found full: what is in flight may still be kept, nothing new is sent."""
        if self.was_needed:
            raise StorageError("the disk is full; answers on their way went to the space kept back for them")

    def _release(self) -> None:
        if self._is_held:
            self._is_held = False
            with storage_errors("give back the space kept free"):
                forget(self._path)


def _take(descriptor: int) -> None:
    """Where space cannot be asked for it is written: a C library may do that by itself, or not."""
    try:
        os.posix_fallocate(descriptor, 0, BALLAST_BYTES)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        for _ in range(BALLAST_BYTES >> 20):
            write_all(descriptor, bytes(1 << 20))
