"""Whether our own machine is what limits a run."""

from __future__ import annotations

from batch.runner.bottleneck import Bottleneck
from tests.support.fakes import FakeClock


def test_a_core_that_is_used_up_is_said_after_some_seconds() -> None:
    """And no longer once there is time left again."""
    clock, used = FakeClock(), [0.0]
    load = Bottleneck(clock, lambda: used[0], lambda: 0)
    assert load.local_bottleneck(8) == ""
    clock.time += 5
    used[0] += 4.8
    assert load.local_bottleneck(8) == "cpu"
    clock.time += 1
    assert load.local_bottleneck(8) == "cpu"
    clock.time += 5
    used[0] += 1.0
    assert load.local_bottleneck(8) == ""


def test_answers_that_wait_to_be_written_are_the_disks_fault() -> None:
    """If they are most of what is in flight; of very few nothing is concluded."""
    recording = 3
    load = Bottleneck(FakeClock(), lambda: 0.0, lambda: recording)
    assert [load.local_bottleneck(in_flight) for in_flight in (3, 4, 5, 6, 8)] == ["", "disk", "disk", "", ""]
