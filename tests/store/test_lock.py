"""One run per output folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batch.core.clock import SystemClock
from batch.core.errors import LockedError, OutputError
from batch.store.folder import output_folder
from batch.store.lock import OutputLock

HOLDER = """
import sys, time
from batch.store.lock import OutputLock
lock = OutputLock(sys.argv[1])
lock.acquire()
lock.write_owner("run-1")
print("held", flush=True)
time.sleep(60)
"""


@contextmanager
def held_elsewhere(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_second_process_is_refused_at_once_and_told_who_is_there(tmp_path: Path) -> None:
    """P12: it names process and host, and writes nothing."""
    with held_elsewhere(tmp_path) as holder:
        before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        started = time.monotonic()

        with pytest.raises(LockedError) as caught, output_folder(tmp_path):
            pass

        assert time.monotonic() - started < 1
        assert f"process {holder.pid} on {socket.gethostname()}" in str(caught.value)
        assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    """P12: no stale lock that a person would have to remove."""
    with held_elsewhere(tmp_path) as holder:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()

        assert OutputLock(str(tmp_path)).acquire()


def test_the_lock_is_free_after_the_block(tmp_path: Path) -> None:
    """Also when it ended with an error."""
    with pytest.raises(ValueError, match="inside"), output_folder(tmp_path):
        raise ValueError("inside")

    with output_folder(tmp_path):
        pass


def test_taking_a_lock_that_is_ours_changes_nothing(tmp_path: Path) -> None:
    """The store asks again once the folder certainly exists."""
    lock = OutputLock(str(tmp_path))

    assert (lock.acquire(), lock.acquire()) == (True, False)
    lock.release()


@pytest.mark.parametrize("owner", ["", "{}", "not json", '{"pid": 1}'])
def test_an_owner_that_cannot_be_read_is_no_obstacle(tmp_path: Path, owner: str) -> None:
    """Who holds it is for the message only."""
    with held_elsewhere(tmp_path):
        (tmp_path / ".lock-owner").write_text(owner)

        with pytest.raises(LockedError, match="its process is not known"):
            OutputLock(str(tmp_path)).acquire()


def test_a_folder_that_cannot_hold_a_lock_cannot_be_used(tmp_path: Path) -> None:
    """Exit 73, before anything is sent."""
    (tmp_path / ".lock").mkdir()

    with pytest.raises(OutputError, match="cannot lock"):
        OutputLock(str(tmp_path)).acquire()


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    """Exit 73."""
    (tmp_path / "out").write_bytes(b"")

    with pytest.raises(OutputError, match="is a file; name a folder"), output_folder(tmp_path / "out"):
        pass


async def test_whoever_was_quicker_in_a_new_folder_wins(tmp_path: Path) -> None:
    """Two runs may both find no folder; the slower one's plan knows nothing of what the quicker one bought."""
    with output_folder(tmp_path / "out") as slow:
        with output_folder(tmp_path / "out") as quick:
            async with quick.open("run-1", SystemClock()):
                pass

        with pytest.raises(LockedError, match="has just worked on"):
            async with slow.open("run-2", SystemClock()):
                pass


async def test_the_owner_is_written_when_the_run_opens(tmp_path: Path) -> None:
    """With the run's id, so that logs can be laid side by side."""
    with output_folder(tmp_path / "out") as folder:
        async with folder.open("run-1", SystemClock()):
            owner = json.loads((tmp_path / "out/.lock-owner").read_text())

    assert owner == {"pid": os.getpid(), "host": socket.gethostname(), "run": "run-1"}
