"""A table from standard input. It comes once, and a run reads its table several times, so it is copied first.

The copy is a file without a name, which nothing else can edit and which is gone with the process.
"""

from __future__ import annotations

import io
import os
import shutil
import weakref
from typing import BinaryIO, Final, cast

from batch.core.own_files import nameless_file

#: What messages call it.
SHOWN: Final = "standard input"


class PrivateCopy:
    """All bytes of a stream, to be read as often as wanted. Raises OSError if there is no room for them."""

    def __init__(self, stream: BinaryIO) -> None:
        with nameless_file() as file:
            shutil.copyfileobj(stream, file, 1 << 20)
            file.flush()
            self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)

    def open(self) -> BinaryIO:
        """A reader with a place of its own."""
        return cast("BinaryIO", io.BufferedReader(_Reader(self._descriptor, self)))


class _Reader(io.RawIOBase):
    def __init__(self, descriptor: int, copy: PrivateCopy) -> None:
        self._descriptor = descriptor
        self._copy = copy  # as long as there is a reader, there is the file
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = os.pread(self._descriptor, len(buffer), self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: os.fstat(self._descriptor).st_size}[whence]
        if start + offset < 0:
            raise OSError("seek before the beginning")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position
