"""Another process stands still with the lock of the quotas' file: the run says so, hears signals, and sends nothing."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path

import pytest

import batch
from batch.core.events import Listener
from batch.runner.control import RunControl
from tests.support.bench import KEY, Bench
from tests.support.fakes import QuickClock


class Hears(Listener):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[str] = asyncio.Queue()

    def message(self, text: str) -> None:
        self.said.put_nowait(text)


@pytest.fixture
async def locked(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """The file of a run that was, and its lock."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    await bench.run(1)
    (path,) = (tmp_path / "state").rglob("*.quota")
    descriptor = os.open(path, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


async def test_a_first_signal_ends_the_wait(locked: int, bench: Bench) -> None:
    """Nothing is in flight, so nothing more is waited for."""
    control, hears = RunControl(), Hears()
    running = asyncio.ensure_future(
        batch.run(bench.manifest(4), output=bench.output, environment=KEY, control=control, listener=hears)
    )
    assert "is locked by another process" in await asyncio.wait_for(hears.said.get(), 20)
    control.drain()
    summary = await asyncio.wait_for(running, 10)
    assert (summary.reason, summary.done, bench.book.requests) == ("interrupted", 1, 1)
    os.close(locked)


async def test_without_a_signal_it_ends_after_a_minute(locked: int, bench: Bench) -> None:
    """Exit 75, with the file's name; once the lock is free the same run goes on."""
    summary = await batch.run(bench.manifest(4), output=bench.output, environment=KEY, clock=QuickClock())
    assert (summary.exit, summary.reason, bench.book.requests) == (75, "quotas_held", 1)
    assert ".quota is locked by another process, which does not go on" in str(summary.message)
    os.close(locked)
    assert (await bench.run(4)).done == 4
