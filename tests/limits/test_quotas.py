"""The quotas as numbers: what an answer corrects, when there is room again, and what another clock counted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from batch.core.clock import DayStart
from batch.core.settings import Limits
from batch.limits.quotas import Counts, Need

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = DayStart.read(Limits().day_resets_at)


def test_an_answer_corrects_the_tokens_of_its_own_part_alone() -> None:
    """Up or down, never below nothing, and not at all once its minute is over."""
    counts = Counts(parts={8: [1, 100, 7], 9: [1, 200, 7]})
    counts.correct(8, 50)
    assert counts.parts == {8: [1, 150, 7], 9: [1, 200, 7]}
    counts.correct(8, -500)
    counts.correct(7, 50)
    assert counts.parts == {8: [1, 0, 7], 9: [1, 200, 7]}


@pytest.mark.parametrize(("images", "last_part"), [(1, 8), (2, 9), (3, 10), (9, 10)])
def test_there_is_room_when_enough_of_what_was_taken_no_longer_counts(images: int, last_part: int) -> None:
    """A minute after the end of the quarter second; more than the quota itself waits for all of it."""
    counts = Counts(parts={part: [1, 0, 1] for part in (8, 9, 10)})
    room = counts.room(Need(images=images), Limits(images_per_minute=3, adaptive=False), DAY, 3.0, NOON)
    assert room.quota == "images_per_minute"
    assert room.seconds == pytest.approx((last_part + 1) / 4 + 60.25 - 3.0)


@pytest.mark.parametrize(("spaced_at", "seconds"), [(1000.0, 0.0), (1003.0, 3.0), (1060.0, 60.0), (2000.0, 0.0)])
def test_the_next_request_leaves_when_its_turn_comes_unless_another_clock_said_when(
    spaced_at: float, seconds: float
) -> None:
    """A time more than a minute ahead is of before a restart of the machine."""
    limits = Limits(requests_per_second=1.0, adaptive=False)
    room = Counts(spaced_at=spaced_at).room(Need(), limits, DAY, 1000.0, NOON)
    assert max(room.seconds, 0.0) == pytest.approx(seconds)


def test_what_a_request_takes_is_counted_as_it_is() -> None:
    """In its quarter second, and in the day, with what was taken there before."""
    counts = Counts()
    for _ in range(2):
        counts.take(Need(tokens=5, images=2), Limits(adaptive=False), DAY, 2.1, NOON)
    assert counts.parts == {8: [2, 10, 4]}
    assert [day[1:] for day in counts.days.values()] == [[2, 10, 4]]
