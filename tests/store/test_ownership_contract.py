"""The contract `Ownership`, for each implementation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from batch.core.errors import LockedError
from batch.store.contracts import Ownership
from batch.store.lock import OutputLock
from tests.support.in_memory import MemoryOwnership

Claim = Callable[[], Ownership]


@pytest.fixture(params=["files", "memory"])
def claim(request: pytest.FixtureRequest, tmp_path: Path) -> Claim:
    """Each call is another one's claim to the same output."""
    owners: list[MemoryOwnership] = []
    return (lambda: MemoryOwnership(owners)) if request.param == "memory" else (lambda: OutputLock(str(tmp_path)))


def test_one_has_it_at_a_time(claim: Claim) -> None:
    """P12: the second is refused at once, until the first gives it back."""
    first, second = claim(), claim()
    assert first.acquire()
    first.write_owner("run-1")

    with pytest.raises(LockedError):
        second.acquire()
    second.release()  # what is not its own it cannot give back
    with pytest.raises(LockedError):
        second.acquire()

    first.release()
    assert second.acquire()
    second.release()


def test_taking_what_is_ours_changes_nothing(claim: Claim) -> None:
    """The store asks again once the output certainly exists."""
    ownership = claim()
    assert (ownership.acquire(), ownership.acquire()) == (True, False)
    ownership.release()
