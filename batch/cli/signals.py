"""Ctrl-C, SIGTERM and SIGHUP: first finish what is in flight, then cut it."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from batch.cli.console import despite_broken_output
from batch.cli.prompts import ask_about_changed, ask_person

if TYPE_CHECKING:
    from batch.core.events import Listener
    from batch.core.results import Summary
    from batch.runner.control import RunControl


_ABORT_AFTER_SECONDS: Final = 0.5
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_until_signal(manifest: Path, listener: Listener, *, asks: bool, **rest: Any) -> Summary:
    import asyncio

    from batch.runner.control import RunControl
    from batch.runner.run import run as run_batch

    gc.freeze()  # what is imported by now stays: the collector need not look at it again and again
    # Those ignored from outside stay so: nohup and a shell's background jobs count on it.
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]

    async def with_signals() -> Summary:
        control = RunControl(
            opening=lambda: _drain_on(heard, control),
            ask=ask_person if asks else None,
            choose_changed=ask_about_changed if asks else None,
        )
        try:
            return await run_batch(manifest, listener=listener, control=control, **rest)
        finally:
            _die_at_once_on(heard)

    # While everything is checked nothing is written or sent, so a signal may simply end us.
    _die_at_once_on(heard)
    try:
        return asyncio.run(with_signals())
    finally:
        close = getattr(listener, "close", None)
        if close is not None:
            despite_broken_output(close)


def _drain_on(numbers: Iterable[signal.Signals], control: RunControl) -> None:
    """First signal: finish what is in flight. A later one: cut it. Further ones: die as usual."""
    import asyncio

    loop = asyncio.get_running_loop()
    first_at: list[float] = []
    heard: list[int] = []

    def drain(number: int) -> None:
        heard.append(number)
        control.drain(number, signal.Signals(number).name)

    # Not the loop's own handlers: they are not called while something holds up the loop.
    def received(number: int, _frame: object) -> None:
        if not first_at:
            first_at.append(loop.time())
            loop.call_soon_threadsafe(drain, number)
        elif loop.time() - first_at[0] > _ABORT_AFTER_SECONDS:
            _die_at_once_on(numbers)
            if not heard:  # held up since the first; what is in flight is found as open by the next run
                os.kill(os.getpid(), number)
            loop.call_soon_threadsafe(control.abort)

    for number in numbers:
        signal.signal(number, received)


def _die_at_once_on(numbers: Iterable[signal.Signals]) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)


def die_by(number: int) -> None:
    """End as the signal would have ended us, so that shells and systemd see what happened."""
    for stream in (sys.stdout, sys.stderr):
        despite_broken_output(stream.flush)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
