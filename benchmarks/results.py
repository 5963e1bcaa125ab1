"""Figures out of runs: medians over the rounds, ratios, goals; as JSON and as Markdown tables."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.compare import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One contestant in one case: medians over the rounds.

    `net_ms` is CPU per picture without the start of the process: what a run costs beyond one picture's run.
    """

    case: str
    contestant: str
    images: int
    concurrency: int
    rounds: int
    failed: int
    ideal_seconds: float
    wall_seconds: float
    wall_range: tuple[float, float]
    cpu_seconds: float
    start_cpu_seconds: float
    cpu_ms: float
    net_ms: float
    user_share: float
    peak_mb: float
    images_per_second: float
    megabytes_per_second: float
    requests: int
    peak_in_flight: int | None
    server_cpu_seconds: float
    other_cpu_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    what: str
    limit: float
    measured: float | None

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        return "met" if self.measured <= self.limit else "MISSED"


def summarize(runs: Iterable[Run]) -> list[Figures]:
    """Figures per case and contestant, in the order in which they first ran."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.case, run.contestant), []).append(run)
    found = map(_figures, groups.values())
    return [figures for figures in found if figures is not None]


def _figures(group: list[Run]) -> Figures | None:
    full_size = max(run.images for run in group)
    whole = [run for run in group if run.images == full_size]
    good = [run for run in whole if run.error is None]
    single = [run.cpu_seconds for run in group if run.images == 1 and run.error is None]
    if not good or not single:
        return None
    wall = statistics.median(run.wall_seconds for run in good)
    cpu = statistics.median(run.cpu_seconds for run in good)
    start = statistics.median(single)
    one = good[0]
    return Figures(
        case=one.case,
        contestant=one.contestant,
        images=full_size,
        concurrency=one.concurrency,
        rounds=len(good),
        failed=len(whole) - len(good),
        ideal_seconds=one.ideal_seconds,
        wall_seconds=wall,
        wall_range=(min(run.wall_seconds for run in good), max(run.wall_seconds for run in good)),
        cpu_seconds=cpu,
        start_cpu_seconds=start,
        cpu_ms=cpu / full_size * 1000,
        net_ms=(cpu - start) / (full_size - 1) * 1000,
        user_share=statistics.median(run.user_seconds / run.cpu_seconds for run in good),
        peak_mb=max(run.peak_mb for run in good),
        images_per_second=full_size / wall,
        megabytes_per_second=full_size * one.answer_bytes / wall / 1e6,
        requests=max(run.requests for run in good),
        peak_in_flight=max((run.peak_in_flight for run in good if run.peak_in_flight), default=None),
        server_cpu_seconds=statistics.median(run.server_cpu_seconds for run in good),
        other_cpu_seconds=max(run.other_cpu_seconds for run in good),
    )


def goals(figures: list[Figures]) -> list[Goal]:
    """What the runner set out to reach."""
    by_name = {(one.case, one.contestant): one for one in figures}

    def ours(case: str) -> Figures | None:
        return by_name.get((case, "imagebatch"))

    def peak(case: str) -> float | None:
        one = ours(case)
        return one.peak_mb if one else None

    def against_sdk(case: str) -> float | None:
        one, other = ours(case), by_name.get((case, "sdk"))
        return one.net_ms / other.net_ms if one and other else None

    latency = ours("latency-1000")
    return [
        Goal(what="peak MB, 24 MB answers, 8 in flight", limit=100, measured=peak("24MB-8")),
        Goal(what="peak MB, 24 MB answers, 64 in flight", limit=150, measured=peak("24MB-64")),
        *(
            Goal(
                what=f"CPU per picture against the SDK's loop, {size} answers, {flight} in flight",
                limit=limit,
                measured=against_sdk(f"{size.replace(' ', '')}-{flight}"),
            )
            for size, limit in (("2 MB", 0.75), ("24 MB", 0.6))
            for flight in (8, 64)
        ),
        Goal(
            what="CPU ms per request, 1,000 in flight, start included",
            limit=4,
            measured=latency.cpu_ms if latency else None,
        ),
        Goal(
            what="wall time against the ideal, 1,000 in flight",
            limit=2,
            measured=latency.wall_seconds / latency.ideal_seconds if latency else None,
        ),
    ]


def machine() -> dict[str, Any]:
    """Where and with what the figures were made."""
    names = ("httpx", "aiohttp", "msgspec", "pybase64", "google-genai")
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        models = {line.partition(":")[2].strip() for line in file if line.startswith("model name")}
    return {
        "cores": os.cpu_count(),
        "processor": ", ".join(sorted(models)) or platform.machine(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in names},
        "nginx": _first_line("nginx", "-v"),
        "curl": _first_line("curl", "--version"),
    }


def _first_line(*argv: str) -> str:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={"PATH": path})
    return next(iter((done.stdout + done.stderr).splitlines()), "?")


def as_json(runs: list[Run], extra: dict[str, Any]) -> dict[str, Any]:
    """Everything: each run as it was, and what follows from them."""
    figures = summarize(runs)
    return {
        "machine": machine(),
        **extra,
        "figures": [asdict(one) for one in figures],
        "goals": [{**asdict(goal), "verdict": goal.verdict} for goal in goals(figures)],
        "runs": [asdict(run) for run in runs],
    }


def as_markdown(runs: list[Run]) -> str:
    """Three tables: figures, ratios, goals; then what failed."""
    figures = summarize(runs)
    parts = [_figure_table(figures), _ratio_table(figures), _goal_table(goals(figures))]
    failed = [f"* {run.case}, {run.contestant}, round {run.round}: {run.error}" for run in runs if run.error]
    if failed:
        parts.append("\n".join(("Runs that failed and count for nothing:", "", *failed)))
    return "\n\n".join(parts) + "\n"


def _figure_table(figures: list[Figures]) -> str:
    head = (
        "case",
        "contestant",
        "pictures",
        "wall s (least to most)",
        "pictures/s",
        "MB/s",
        "CPU s",
        "CPU ms/picture",
        "without start",
        "user",
        "peak MB",
        "requests",
        "most in flight",
        "server CPU s",
        "others' CPU s",
    )
    return _table(
        head,
        (
            (
                one.case,
                one.contestant,
                f"{one.images:,}",
                f"{one.wall_seconds:.1f} ({one.wall_range[0]:.1f} to {one.wall_range[1]:.1f})",
                f"{one.images_per_second:,.1f}",
                f"{one.megabytes_per_second:,.0f}",
                f"{one.cpu_seconds:.2f}",
                f"{one.cpu_ms:.2f}",
                f"{one.net_ms:.2f}",
                f"{one.user_share:.0%}",
                f"{one.peak_mb:.0f}",
                f"{one.requests:,}",
                str(one.peak_in_flight or ""),
                f"{one.server_cpu_seconds:.1f}",
                f"{one.other_cpu_seconds:.1f}",
            )
            for one in figures
        ),
    )


def _ratio_table(figures: list[Figures]) -> str:
    ours = {one.case: one for one in figures if one.contestant == "imagebatch"}
    rows = (
        (
            one.case,
            f"imagebatch / {one.contestant}",
            f"{ours[one.case].wall_seconds / one.wall_seconds:.2f}",
            f"{ours[one.case].cpu_ms / one.cpu_ms:.2f}",
            f"{ours[one.case].net_ms / one.net_ms:.2f}" if one.net_ms > 0 else "",
            f"{ours[one.case].peak_mb / one.peak_mb:.2f}",
        )
        for one in figures
        if one.case in ours and one.contestant != "imagebatch"
    )
    return _table(("case", "ratio", "wall", "CPU", "CPU without start", "peak memory"), rows)


def _goal_table(found: list[Goal]) -> str:
    rows = (
        (goal.what, f"{goal.limit:g}", "" if goal.measured is None else f"{goal.measured:.2f}", goal.verdict)
        for goal in found
    )
    return _table(("goal", "at most", "measured", ""), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (head, tuple("---" for _ in head), *rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def put_into_page(page: Path, tables: str, name: str = "figures") -> None:
    """Replaces what stands between the page's two marks of this name."""
    first_mark, last_mark = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
    text = page.read_text(encoding="utf-8")
    before, start, rest = text.partition(first_mark)
    _, end, after = rest.partition(last_mark)
    if not start or not end:
        print(f"{page} has no {first_mark} ... {last_mark}; left as it is", file=sys.stderr)
        return
    made = machine()
    where = (
        f"{made['cores']} cores ({made['processor']}), {made['system']}, Python {made['python']}, "
        f"{made['nginx']}, {made['curl'].split(' (')[0]}, "
        + ", ".join(f"{name} {version}" for name, version in made["packages"].items())
    )
    page.write_text(f"{before}{start}\n{where}\n\n{tables}{end}{after}", encoding="utf-8")
