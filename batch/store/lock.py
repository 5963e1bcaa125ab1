"""One run at a time per output folder. The lock goes with the process, however it ends."""

from __future__ import annotations

import errno
import json
import os
import socket
from typing import Final

from filelock import FileLock, Timeout

from batch.core.errors import LockedError, OutputError
from batch.core.own_files import UNSUPPORTED, open_to_read
from batch.store.durable import PUBLIC_MODE, put_in_place, storage_errors

_NO_LOCKS: Final = UNSUPPORTED | {errno.ENOLCK}


class OutputLock:
    """An output folder's lock, on its file `.lock`. `.lock-owner` names the holding process, for messages only."""

    def __init__(self, output: str) -> None:
        self._output = output
        self._lock = FileLock(os.path.join(output, ".lock"), timeout=0, fallback_to_soft=False)
        self._owner = os.path.join(output, ".lock-owner")

    def acquire(self) -> bool:
        """Take the lock, or raise `LockedError` at once. False if it is ours already."""
        if self._lock.is_locked:
            return False
        try:
            self._lock.acquire()
        except Timeout:
            raise LockedError(
                f"another run is working on {self._output} ({self._holder()}); nothing was sent"
            ) from None
        except OSError as error:
            raise OutputError(_cannot_lock(self._output, error)) from error
        return True

    def write_owner(self, run_id: str) -> None:
        """Write down which process holds the lock, for a run that finds it taken."""
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "run": run_id}
        with storage_errors("write the output folder"):
            put_in_place(self._owner, json.dumps(owner).encode("ascii"), PUBLIC_MODE)

    def release(self) -> None:
        self._lock.release()

    def _holder(self) -> str:
        try:
            with open_to_read(self._owner) as file:
                holder = json.load(file)
            return f"process {holder['pid']} on {holder['host']}"
        except (OSError, ValueError, LookupError, TypeError):
            return "its process is not known"


def _cannot_lock(output: str, error: OSError) -> str:
    words = error.strerror or str(error)
    if error.errno not in _NO_LOCKS:
        return f"cannot lock {output}: {words}"
    return (
        f"{output} is on a file system without locks (flock: {words}), so two runs could pay for the same pictures; "
        "name a folder on another one. Nothing was sent"
    )
