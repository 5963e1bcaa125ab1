"""Giving a file a name that must not be taken, where the file system has no hard links.

First by Linux's `renameat2(RENAME_NOREPLACE)`, which is as good as a link: one step that cannot overwrite. Where the
file system does not know that either, an empty file takes the name first, which fails if it is taken, and the rename
then replaces it. A crash between the two leaves the empty file beside the whole one under its hidden name: the pair
says that it is ours, and the next start puts the file in its place.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

from batch.core.own_files import UNSUPPORTED

_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1


def hidden_name(target: str) -> str:
    """What a file is called before it gets its name."""
    return os.path.join(os.path.dirname(target), f".{os.path.basename(target)}.part")


def is_placeholder(target: str, hidden: str) -> bool:
    """Whether the name is only held by an empty file of ours, whose content a crash left beside it."""
    return (
        not os.path.islink(target)
        and os.path.isfile(target)
        and os.path.getsize(target) == 0
        and os.path.isfile(hidden)
        and os.path.getsize(hidden) > 0
    )


def rename_onto_nothing(hidden: str, target: str) -> bool:
    """Give a written, synced file its name; False, and the file is gone, if something has that name."""
    try:
        if not _rename_noreplace(hidden, target):
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            os.rename(hidden, target)
    except FileExistsError:
        os.unlink(hidden)
        return False
    return True


def _rename_noreplace(source: str, target: str) -> bool:
    """One step, or False where C library, kernel or file system do not know it. Raises `OSError`."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    if renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number in UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), target)
