"""Whether our own machine is what holds a run back: its processor, or its disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from batch.core.clock import Clock

#: Python's event loop has one core; near all of it, answers wait for us and not we for answers.
_BUSY_SHARE: Final = 0.9
_MEASURED_SECONDS: Final = 5.0
#: With fewer in flight, most of them being recorded is chance.
_MIN_IN_FLIGHT: Final = 4


class Bottleneck:
    """`cpu_seconds()`: what this process has used; `recording()`: answers that are here and not yet on the disk."""

    def __init__(self, clock: Clock, cpu_seconds: Callable[[], float], recording: Callable[[], int]) -> None:
        self._clock = clock
        self._cpu_seconds = cpu_seconds
        self._recording = recording
        self._since = clock.monotonic(), cpu_seconds()
        self._is_busy = False

    def local_bottleneck(self, in_flight: int) -> str:
        """`cpu`, `disk`, or nothing."""
        since, used = self._since
        now = self._clock.monotonic()
        if now - since >= _MEASURED_SECONDS:
            self._is_busy = self._cpu_seconds() - used >= _BUSY_SHARE * (now - since)
            self._since = now, self._cpu_seconds()
        if self._is_busy:
            return "cpu"
        return "disk" if in_flight >= _MIN_IN_FLIGHT and 2 * self._recording() > in_flight else ""
