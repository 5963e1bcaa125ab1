"""A few points of the kill sweep and the error sweep, chosen where the order of steps matters most.

All points: `python -m tests.crash.sweep`, see docs/ledger.md.
"""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.crash.injector import KINDS, Fault
from tests.crash.sweep import Bench, StraceKill

KILLS = [
    "fdatasync:1:before:KILL",
    "fdatasync:2:after:KILL",
    "fdatasync:3:before:KILL",
    "write:2:after:KILL",
    "write:8:after:KILL",
    "link:1:before:KILL",
    "link:1:after:KILL",
    "fsync:4:after:KILL",
    "unlink:3:after:KILL",
    "rename:1:before:KILL",
    "send:2:after:KILL",
    "recv:2:after:KILL",
]
ERRORS = [
    "write:6:before:ENOSPC:lasting",
    "write:12:before:EIO",
    "fdatasync:2:before:EIO",
    "fsync:5:before:EIO:lasting",
    "link:1:before:ENOSPC",
    "open:6:before:EMFILE",
]


@pytest.mark.parametrize("words", KILLS)
def test_a_kill_loses_nothing_and_buys_nothing_twice(bench: Bench, words: str) -> None:
    """P1 to P11 after SIGKILL at this call, after a plain run, and after one more."""
    result = bench.try_point(Fault.parse(words))

    assert result.hit
    assert result.wrong == []


@pytest.mark.parametrize("words", ERRORS)
def test_a_failing_disk_ends_the_run_and_loses_nothing(bench: Bench, words: str) -> None:
    """P22: exit 73 or 74, never a `done` for it; once the disk works again, all is brought to its end."""
    result = bench.try_point(Fault.parse(words))

    assert result.hit
    assert result.wrong == []


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_strace_can_kill_at_a_call_too(bench: Bench) -> None:
    """The same judgement with a second, independent injector."""
    probe = subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], check=False, capture_output=True)
    if probe.returncode:
        pytest.skip("processes may not be traced here")

    result = bench.try_point(StraceKill("fdatasync", 2))

    assert result.hit
    assert result.wrong == []


def test_an_undisturbed_run_makes_calls_of_every_kind_that_is_swept(bench: Bench) -> None:
    """Else a sweep would quietly test nothing."""
    counts = bench.counts()

    assert set(KINDS) - {"ftruncate"} <= set(counts)
