"""Two charts as inline SVG: bars for how long requests took, a line for pictures a minute.

Colours and fonts come from the page's stylesheet by class, so that a dark page has dark charts. Numbers alone go in: no
text from outside is ever part of the markup.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from markupsafe import Markup

from batch.analysis.figures import Latency, Throughput
from batch.analysis.statistics import round_width
from batch.report.formatting import duration

_WIDTH: Final = 640
_HEIGHT: Final = 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 20, 16, 34
_PLOT_WIDTH: Final = _WIDTH - _LEFT - _RIGHT
_PLOT_HEIGHT: Final = _HEIGHT - _TOP - _BOTTOM
_TICKS: Final = 4
_MOST_BOUNDARIES: Final = 50
_BASE: Final = _TOP + _PLOT_HEIGHT


def latency_chart(latency: Latency) -> Markup:
    """Bars over seconds, with the 50th and the 95th percentile marked."""
    bars = latency.histogram
    start, end = bars[0].start, bars[-1].end
    top = _round_up(max(bar.count for bar in bars))
    parts = [*_horizontal_lines(top), *_time_axis(start, end, lambda seconds: f"{seconds:.6g} s")]
    for bar in bars:
        left, right = _x(bar.start, start, end), _x(bar.end, start, end)
        height = _PLOT_HEIGHT * bar.count / top
        parts.append(
            f'<rect class="bar" x="{left + 0.5:.1f}" y="{_BASE - height:.1f}" width="{max(right - left - 1, 0.5):.1f}" '
            f'height="{height:.1f}"/>'
        )
    for name, value in (("half", latency.p50), ("95 %", latency.p95)):
        if value <= end:
            parts.append(_marker(_x(value, start, end), name))
    label = (
        f"How long {latency.requests:,} requests took: half up to {duration(latency.p50)}, "
        f"95 percent up to {duration(latency.p95)}, the longest {duration(latency.longest)}"
    )
    return _svg(parts, label)


def throughput_chart(throughput: Throughput) -> Markup:
    """A line over the time in which runs were on; the begin of each run after the first is marked."""
    end = throughput.running_seconds
    top = _round_up(max(rate for _, rate in throughput.points))
    parts = [*_horizontal_lines(top), *_time_axis(0.0, end, duration)]
    boundaries = throughput.run_starts[1:]
    if len(boundaries) <= _MOST_BOUNDARIES:
        for at in boundaries:
            x = _x(at, 0.0, end)
            parts.append(f'<line class="run" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_BASE}"/>')
    points = " ".join(f"{_x(at, 0.0, end):.1f},{_y(rate, top):.1f}" for at, rate in throughput.points)
    parts.append(f'<polyline class="line" points="{points}"/>')
    label = (
        f"Pictures a minute over {duration(end)} of running: {throughput.per_minute:,.1f} on average, "
        f"at most {max(rate for _, rate in throughput.points):,.1f}"
    )
    return _svg(parts, label)


def _svg(parts: Sequence[str], label: str) -> Markup:
    body = "".join(parts)
    return Markup(  # noqa: S704  (numbers and words of our own)
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{body}</svg>'
    )


def _horizontal_lines(top: float) -> Iterator[str]:
    for step in range(_TICKS + 1):
        value = top * step / _TICKS
        y = _y(value, top)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,.4g}</text>'


def _time_axis(start: float, end: float, words: Callable[[float], str]) -> Iterator[str]:
    step = round_width((end - start) / _TICKS)
    for index in range(math.ceil(start / step), math.floor(end / step + 1e-9) + 1):
        x = _x(index * step, start, end)
        yield f'<text class="tick" x="{x:.1f}" y="{_HEIGHT - 12}" text-anchor="middle">{words(index * step)}</text>'


def _marker(x: float, name: str) -> str:
    return (
        f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_BASE}"/>'
        f'<text class="mark-name" x="{x + 4:.1f}" y="{_TOP + 10}">{name}</text>'
    )


def _x(value: float, start: float, end: float) -> float:
    return _LEFT + _PLOT_WIDTH * (value - start) / (end - start)


def _y(value: float, top: float) -> float:
    return _BASE - _PLOT_HEIGHT * value / top


def _round_up(value: float) -> float:
    """The next number that four even steps lead up to in round figures."""
    if value <= 0:
        return float(_TICKS)
    scale = 10.0 ** math.floor(math.log10(value))
    return next(scale * step for step in (1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10) if scale * step >= value)
