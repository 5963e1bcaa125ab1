"""Percentiles, bars and rates."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.analysis.statistics import histogram, latency_of, percentile, round_width, throughput_of

SECONDS = st.lists(st.floats(min_value=0.001, max_value=1e5), min_size=1, max_size=300)


def test_a_percentile_is_one_of_the_values() -> None:
    """Nearest rank: half of four values are up to the second."""
    assert percentile([1, 2, 3, 4], 0.5) == 2
    assert percentile([1, 2, 3, 4], 0.51) == 3
    assert percentile([1, 2, 3, 4], 0.99) == 4
    assert percentile([7], 0.5) == 7


@given(SECONDS)
def test_every_value_is_in_one_bar(values: list[float]) -> None:
    """Whatever their spread; the bars follow one another without a gap, and there are few."""
    bars = histogram(sorted(values))

    assert sum(bar.count for bar in bars) == len(values)
    assert 1 <= len(bars) <= 25
    assert all(one.end == pytest.approx(other.start) for one, other in pairwise(bars))
    assert bars[0].start <= min(values) * (1 + 1e-9)


def test_one_hung_request_does_not_flatten_the_rest() -> None:
    """It is counted in the last bar, which is near the 99th percentile."""
    bars = histogram(sorted([1.0 + 0.01 * index for index in range(200)] + [600.0]))

    assert bars[-1].end < 10
    assert bars[-1].count >= 1


def test_no_request_has_no_latency() -> None:
    """Nothing was measured."""
    assert latency_of([]) is None


def test_latency_says_how_long_the_longest_took() -> None:
    """Values need not come in order."""
    latency = latency_of([3.0, 1.0, 2.0, 9.0])

    assert latency is not None
    assert (latency.requests, latency.p50, latency.p95, latency.longest) == (4, 2.0, 9.0, 9.0)


@pytest.mark.parametrize(("at_least", "width"), [(0.03, 0.05), (0.1, 0.1), (1.01, 2), (2, 2), (51, 100), (1e-4, 1e-4)])
def test_a_round_width_is_one_two_or_five(at_least: float, width: float) -> None:
    """Times a power of ten, and no smaller than asked."""
    assert round_width(at_least) == pytest.approx(width)


def test_pauses_between_runs_do_not_count() -> None:
    """Two runs of a minute, a day apart, with 30 pictures each: 30 a minute."""
    first = [float(second) for second in range(0, 60, 2)]
    second = [86_400.0 + at for at in first]
    throughput = throughput_of([*first, *second], [(0.0, 60.0), (86_400.0, 86_460.0)])

    assert throughput is not None
    assert (throughput.running_seconds, throughput.pictures, throughput.per_minute) == (120.0, 60, 30.0)
    assert throughput.run_starts == (0.0, 60.0)
    assert {rate for _, rate in throughput.points} == {30.0}


def test_pictures_that_came_outside_of_runs_are_left_out() -> None:
    """As when an answer was read again between two runs."""
    throughput = throughput_of([5.0, 30.0, 99.0], [(0.0, 10.0), (20.0, 40.0)])

    assert throughput is not None
    assert throughput.pictures == 2


def test_without_a_picture_or_a_run_there_is_no_throughput() -> None:
    """Nothing is divided by nothing."""
    assert throughput_of([], [(0.0, 10.0)]) is None
    assert throughput_of([5.0], []) is None
    assert throughput_of([5.0], [(5.0, 5.0)]) is None
