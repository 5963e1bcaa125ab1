"""Fails or kills this very process at its N-th system call of one kind. Needs no privileges and no other program.

The functions of `os` and the methods of `socket.socket` are wrapped, so what is counted are the calls this
package and asyncio make, not those of imports. File operations count only inside the watched folder, socket
operations only on network sockets.
"""

from __future__ import annotations

import errno
import functools
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from batch.store.abilities import PROBE

_kill: Final = os.kill
_readlink: Final = os.readlink
_fstat: Final = os.fstat

#: Which functions make up a kind; the position of the path or descriptor is always the first argument.
KINDS: Final = {
    "open": ("open",),
    "write": ("write", "pwrite"),
    "fsync": ("fsync",),
    "fdatasync": ("fdatasync",),
    "rename": ("rename", "replace"),
    "link": ("link",),
    "mkdir": ("mkdir",),
    "unlink": ("unlink", "remove"),
    "ftruncate": ("ftruncate",),
    "close": ("close",),
    "send": ("send", "sendall", "sendto", "sendmsg"),
    "recv": ("recv", "recv_into", "recvfrom"),
}
SOCKET_KINDS: Final = ("send", "recv")


@dataclass(frozen=True)
class Fault:
    """`action` is KILL or the name of an errno. `when` is before or after the call.

    An error comes instead of the call; `lasting` ones come at every later call of the kind as well, as on a full
    disk. A failing write of that sort first writes half of what it was given, as a full disk does.
    """

    kind: str
    number: int
    when: str = "before"
    action: str = "KILL"
    lasting: bool = False

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}:{self.when}:{self.action}" + (":lasting" if self.lasting else "")

    @classmethod
    def parse(cls, words: str) -> Fault:
        kind, number, when, action, *lasting = words.split(":")
        return cls(kind, int(number), when, action, bool(lasting))


class Injector:
    """Counts the calls in `folder` and commits `fault`, if there is one."""

    def __init__(self, folder: str, fault: Fault | None) -> None:
        self._folder = os.path.realpath(folder)
        self._fault = fault
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.committed = False

    def install(self) -> None:
        for kind, names in KINDS.items():
            owner: Any = socket.socket if kind in SOCKET_KINDS else os
            for name in names:
                setattr(owner, name, self._wrapped(kind, getattr(owner, name)))

    def _wrapped(self, kind: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def wrapper(first: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._is_watched(kind, first) or not self._is_due(kind):
                return call(first, *args, **kwargs)
            return self._commit(call, first, *args, **kwargs)

        return wrapper

    def _is_watched(self, kind: str, first: Any) -> bool:
        if kind in SOCKET_KINDS:
            return bool(first.family in (socket.AF_INET, socket.AF_INET6))
        try:
            path = _readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else os.path.abspath(first)
        except OSError:
            return False
        # What a start tries the file system with holds nothing, and would only move the numbers of the calls that do.
        is_probe = os.path.basename(path).startswith(f"{PROBE}.")
        return (path == self._folder or path.startswith(self._folder + "/")) and not is_probe

    def _is_due(self, kind: str) -> bool:
        with self._lock:
            self.counts[kind] += 1
            fault = self._fault
            if fault is None or fault.kind != kind:
                return False
            return self.counts[kind] == fault.number or (fault.lasting and self.counts[kind] > fault.number)

    def _commit(self, call: Callable[..., Any], first: Any, *args: Any, **kwargs: Any) -> Any:
        fault = self._fault
        assert fault is not None
        is_first, self.committed = not self.committed, True
        if fault.action == "KILL":
            if fault.when == "after":
                with suppress(OSError):  # a folder that is there already, a file that is gone
                    call(first, *args, **kwargs)
            _kill(os.getpid(), signal.SIGKILL)
        if fault.lasting and fault.kind == "write" and is_first and len(args[0]) > 1:
            return call(first, args[0][: len(args[0]) // 2])
        if fault.kind == "close":
            call(first)  # the kernel frees the descriptor even when it reports an error
        number = getattr(errno, fault.action)
        raise OSError(number, os.strerror(number))
