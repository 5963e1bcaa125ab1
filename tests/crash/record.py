"""A run that writes down every file operation: `python -m tests.crash.record MANIFEST OUT LOG [FAULT]`.

LOG is a pickled list of events, in the order they took effect. What they mean: `tests/crash/power.py`. What lay in
OUT's folder before comes first, synced, up to the event `begin`. MANIFEST and FAULT: `tests/crash/child.py`.
"""

from __future__ import annotations

import os
import pickle
import re
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.crash.child import prepared, tell
from tests.crash.injector import Fault, Injector

Event = tuple[Any, ...]
_REQUEST_ID = re.compile(rb"x-client-request-id: (\S+)\r\n", re.IGNORECASE)
_isdir, _fstat = os.path.isdir, os.fstat


class Recorder:
    """Wraps the functions of `os` and `socket`. Paths are relative to `root`, which holds the output folder."""

    def __init__(self, root: str) -> None:
        self._root = os.path.realpath(root) + "/"
        self._lock = threading.RLock()
        #: The number of the file that has a name, and of the one behind a descriptor; 0 is a folder.
        self._named: dict[str, int] = {}
        self._opened: dict[int, tuple[str, int]] = {}
        self._positions: dict[int, int] = {}
        self._made = 0
        self.events: list[Event] = []
        self._note_what_is_there()

    def _note_what_is_there(self) -> None:
        for path in sorted(Path(self._root).rglob("*")):
            name = self._path(path)
            if path.is_dir():
                self.events.append(("mkdir", name))
                continue
            self._made += 1
            self._named[name] = self._made
            created = ("create", name, self._made), ("data", self._made, 0, path.read_bytes())
            self.events += [*created, ("sync file", self._made)]
        folders = {os.path.dirname(event[1]) for event in self.events if event[0] in ("mkdir", "create")}
        self.events += [*(("sync folder", folder) for folder in sorted(folders)), ("begin", "")]

    def install(self) -> None:
        notes: dict[str, Callable[..., None]] = {
            "open": self._on_open,
            "write": self._on_write,
            "lseek": self._on_seek,
            "fsync": self._on_sync,
            "fdatasync": self._on_sync,
            "ftruncate": self._on_cut,
            "close": self._on_close,
            "link": self._on_link,
            "rename": self._on_rename,
            "replace": self._on_rename,
            "unlink": self._on_unlink,
            "remove": self._on_unlink,
            "mkdir": self._on_mkdir,
        }
        for name, note in notes.items():
            setattr(os, name, self._wrapped(getattr(os, name), note))
        setattr(socket.socket, "send", self._wrapped(socket.socket.send, self._on_send))  # noqa: B010

    def say(self, job: str) -> None:
        with self._lock:
            self.events.append(("said", job))

    def _wrapped(self, call: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                try:
                    result = call(*args, **kwargs)
                except OSError:
                    if call.__name__ in ("fsync", "fdatasync"):
                        self._on_failed_sync(args[0])
                    raise
                note(result, *args)
                return result

        return wrapper

    def _path(self, path: Any) -> str:
        """Empty for what lies elsewhere."""
        whole = os.path.abspath(os.fsdecode(path)) if isinstance(path, str | bytes | os.PathLike) else ""
        return whole.removeprefix(self._root) if whole.startswith(self._root) else ""

    def _on_open(self, descriptor: int, path: Any, flags: int = 0, *_: Any) -> None:
        name = self._path(path)
        if _isdir(path) and (name or os.path.abspath(path) + "/" == self._root):
            self._opened[descriptor] = name, 0
        if not name or _isdir(path):
            return
        if name not in self._named:
            self._made += 1
            self._named[name] = self._made
            self.events.append(("create", name, self._made))
        file = self._named[name]
        self._opened[descriptor] = name, file
        self._positions[descriptor] = _fstat(descriptor).st_size if flags & os.O_APPEND else 0
        if flags & os.O_TRUNC:
            self.events.append(("cut", file, 0))

    def _on_write(self, written: int, descriptor: int, data: Any) -> None:
        if descriptor in self._opened:
            at = self._positions[descriptor]
            self.events.append(("data", self._opened[descriptor][1], at, bytes(data)[:written]))
            self._positions[descriptor] = at + written

    def _on_seek(self, position: int, descriptor: int, *_: Any) -> None:
        self._positions[descriptor] = position

    def _on_sync(self, _: None, descriptor: int) -> None:
        if descriptor in self._opened:
            name, file = self._opened[descriptor]
            self.events.append(("sync file", file) if file else ("sync folder", name))

    def _on_failed_sync(self, descriptor: int) -> None:
        """The kernel forgets what it could not write: no later sync makes it durable."""
        if descriptor in self._opened:
            name, file = self._opened[descriptor]
            self.events.append(("failed file", file) if file else ("failed folder", name))

    def _on_cut(self, _: None, descriptor: int, size: int) -> None:
        if descriptor in self._opened:
            self.events.append(("cut", self._opened[descriptor][1], size))

    def _on_close(self, _: None, descriptor: int) -> None:
        self._opened.pop(descriptor, None)

    def _on_link(self, _: None, old: Any, new: Any) -> None:
        name = self._path(new)
        if name:
            self._named[name] = self._named[self._path(old)]
            self.events.append(("create", name, self._named[name]))

    def _on_rename(self, _: None, old: Any, new: Any) -> None:
        source, target = self._path(old), self._path(new)
        if source and target:
            self._named[target] = self._named.pop(source)
            self.events.append(("rename", source, target, self._named[target]))

    def _on_unlink(self, _: None, path: Any, *__: Any) -> None:
        name = self._path(path)
        if self._named.pop(name, None) is not None:
            self.events.append(("unlink", name))

    def _on_mkdir(self, _: None, path: Any, *__: Any) -> None:
        if self._path(path):
            self.events.append(("mkdir", self._path(path)))

    def _on_send(self, _: int, __: Any, data: Any, *___: Any) -> None:
        for found in _REQUEST_ID.findall(bytes(data)):
            self.events.append(("sent", found.decode("ascii")))


def main(manifest: str, output: str, log: str, fault: str = "") -> int:
    recorder = Recorder(os.path.dirname(output))
    injector = Injector(output, Fault.parse(fault) if fault else None)
    work = prepared(manifest, output, recorder.say)
    injector.install()
    recorder.install()
    code, reason = work()
    with open(log, "wb") as file:
        pickle.dump(recorder.events, file)
    tell(injector, code, reason)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
