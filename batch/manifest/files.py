"""Opening what a user named: regular files only, without waiting on anything else.

A FIFO with no writer would hang an ordinary `open`, a device may never end.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


class FileProblem(Exception):  # carries a sentence to the report
    """The file cannot be used; the text says why."""


def open_regular(file: Path | str) -> BinaryIO:
    """Open a regular file for reading."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise FileProblem(reason(error)) from error
    except ValueError as error:
        raise FileProblem("the name holds a NUL character") from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise FileProblem("is a folder; name a file in it" if stat.S_ISDIR(mode) else "not a regular file")
    return os.fdopen(descriptor, "rb")


def reason(error: OSError) -> str:
    """The system's word for an error, without the path: the message names it already."""
    return "does not exist" if isinstance(error, FileNotFoundError) else (error.strerror or "cannot be read").lower()


def signature(file: BinaryIO) -> tuple[int, ...]:
    """Changes when the file's content does, as far as the file system tells."""
    facts = os.fstat(file.fileno())
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns
