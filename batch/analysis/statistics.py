"""Percentiles, bars and rates. Pure: numbers in, numbers out."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from batch.analysis.figures import Bar, Latency, Throughput

_MOST_BARS: Final = 24
_POINTS: Final = 60
#: Widths that are easily read, to be scaled by powers of ten.
_ROUND_WIDTHS: Final = (1.0, 2.0, 5.0, 10.0)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed (nearest rank). `ordered` is not empty."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def latency_of(seconds: Sequence[float]) -> Latency | None:
    """None if nothing was measured."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    return Latency(
        requests=len(ordered),
        p50=percentile(ordered, 0.5),
        p90=percentile(ordered, 0.9),
        p95=percentile(ordered, 0.95),
        p99=percentile(ordered, 0.99),
        longest=ordered[-1],
        histogram=histogram(ordered),
    )


def histogram(ordered: Sequence[float]) -> tuple[Bar, ...]:
    """Bars of a round width from zero or the lowest bar to the highest. The last one holds what is beyond 1.5 times the
    99th percentile as well: one hung request must not flatten the rest."""
    most = min(ordered[-1], 1.5 * percentile(ordered, 0.99))
    width = round_width((most - ordered[0]) / (_MOST_BARS - 2) or most / _MOST_BARS or 1.0)
    first = int(ordered[0] / width)
    last = int(most / width)
    counts = [0] * (last - first + 1)
    for value in ordered:
        counts[min(int(value / width), last) - first] += 1
    return tuple(
        Bar(start=round((first + index) * width, 6), end=round((first + index + 1) * width, 6), count=count)
        for index, count in enumerate(counts)
    )


def round_width(at_least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is no smaller."""
    scale = 10.0 ** math.floor(math.log10(at_least))
    return next(scale * width for width in _ROUND_WIDTHS if scale * width >= at_least * (1 - 1e-9))


def throughput_of(arrivals: Sequence[float], runs: Sequence[tuple[float, float]]) -> Throughput | None:
    """`arrivals` of pictures and begin and end of each run, as times in seconds. None without a picture in a run.

    Runs come in order and do not overlap: an output has one at a time.
    """
    starts, total = [], 0.0
    for begin, end in runs:
        starts.append(total)
        total += max(0.0, end - begin)
    begins = [begin for begin, _ in runs]
    running = [_running(arrival, begins, starts, runs) for arrival in arrivals]
    inside = [at for at in running if at is not None]
    if not inside or total <= 0:
        return None
    width = total / _POINTS
    counts = [0] * _POINTS
    for at in inside:
        counts[min(int(at / width), _POINTS - 1)] += 1
    return Throughput(
        running_seconds=round(total, 3),
        pictures=len(inside),
        per_minute=round(60 * len(inside) / total, 3),
        points=tuple((round((index + 0.5) * width, 3), round(60 * n / width, 3)) for index, n in enumerate(counts)),
        run_starts=tuple(round(start, 3) for start in starts),
    )


def _running(
    arrival: float, begins: Sequence[float], starts: Sequence[float], runs: Sequence[tuple[float, float]]
) -> float | None:
    """After how many seconds of running a picture came; None if no run was on."""
    index = bisect_right(begins, arrival) - 1
    if index < 0 or arrival > runs[index][1]:
        return None
    return starts[index] + arrival - begins[index]
