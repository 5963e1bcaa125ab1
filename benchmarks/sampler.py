"""Runs a module and says where its CPU goes: `python -m benchmarks.sampler OUT.json MODULE ARGUMENTS...`.

Every few milliseconds each thread's CPU clock is read, and what it used since is put down to the function it
stands in. That sees worker threads and C code alike, which cProfile does not, and costs a few per cent. A
call in C that keeps the interpreter's lock is put down to where its thread stands when it lets go.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import sys
import threading
import time
from collections import defaultdict
from types import FrameType
from typing import Any, Final

_INTERVAL_SECONDS: Final = 0.003


class Sampler(threading.Thread):
    """Collects CPU seconds per thread name, per function, and per nearest function of the project's own."""

    def __init__(self, package: str) -> None:
        super().__init__(name="sampler", daemon=True)
        self._package = f"{os.sep}{package}{os.sep}"
        self._clocks: dict[int, float] = {}
        self.errors: dict[str, float] = defaultdict(float)
        self.threads: dict[str, float] = defaultdict(float)
        self.functions: dict[str, float] = defaultdict(float)
        self.own: dict[str, float] = defaultdict(float)
        self.inclusive: dict[str, float] = defaultdict(float)

    def run(self) -> None:
        while True:
            time.sleep(_INTERVAL_SECONDS)
            try:
                self._sample()
            except Exception as error:  # noqa: BLE001 - threads come and go meanwhile; one sample less, and it is told
                self.errors[repr(error)] += 1

    def _sample(self) -> None:
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():  # noqa: SLF001 - the documented way
            name = names.get(ident)
            if name is None or ident == self.ident:
                continue
            try:
                now = time.clock_gettime(time.pthread_getcpuclockid(ident))
            except OSError:  # it has just ended
                continue
            used = now - self._clocks.get(ident, 0.0)
            self._clocks[ident] = now
            if used > 0:
                self._put_down(used, name, frame)

    def _put_down(self, used: float, thread: str, frame: FrameType) -> None:
        self.threads[thread] += used
        self.functions[_name(frame)] += used
        seen: set[str] = set()
        nearest = None
        walk: FrameType | None = frame
        while walk is not None:
            if self._package in walk.f_code.co_filename:
                name = _name(walk)
                nearest = nearest or name
                seen.add(name)
            walk = walk.f_back
        self.own[nearest or "(outside the package)"] += used
        for name in seen:
            self.inclusive[name] += used

    def as_json(self) -> dict[str, Any]:
        used = os.times()
        return {
            "user_seconds": used.user,
            "system_seconds": used.system,
            "put_down_seconds": sum(self.threads.values()),
            "failed_samples": dict(self.errors),
            "threads": _most(self.threads, 12),
            "nearest own function": _most(self.own, 30),
            "own function and all below": _most(self.inclusive, 30),
            "function": _most(self.functions, 30),
        }


def _most(seconds: dict[str, float], count: int) -> list[tuple[str, float]]:
    return sorted(seconds.items(), key=lambda entry: -entry[1])[:count]


def _name(frame: FrameType) -> str:
    code = frame.f_code
    return f"{os.sep.join(code.co_filename.split(os.sep)[-2:])}:{code.co_qualname}"


def main() -> None:
    out, module = sys.argv[1:3]
    sys.argv = sys.argv[2:]
    sampler = Sampler(module)

    def write() -> None:
        with open(out, "w", encoding="utf-8") as file:
            json.dump(sampler.as_json(), file, indent=1)

    atexit.register(write)
    sampler.start()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
