"""The figures in the words and rows that both forms of the report show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from batch.analysis.figures import Figures, Run
from batch.report.formatting import count, duration, printable, usd

_NONE: Final = "–"


def headline(figures: Figures) -> str:
    """`1,892 of 2,000 jobs have their picture; $126.76 charged`."""
    jobs = figures.jobs
    total = jobs.done + jobs.failed + jobs.unknown + jobs.pending
    have = "has its picture" if jobs.done == 1 == total else "have their picture"
    charged = f"{usd(figures.money.charged)} {'would have been ' if figures.simulated else ''}charged"
    return f"{jobs.done:,} of {count(total, 'job')} {have}; {charged}"


def job_rows(figures: Figures) -> Iterator[tuple[str, str]]:
    """Jobs by where they stand, without the lines that are zero."""
    jobs = figures.jobs
    rows = (
        ("done", jobs.done),
        ("failed", jobs.failed),
        ("unknown (sent, no answer)", jobs.unknown),
        ("pending", jobs.pending),
        ("accepted in review", jobs.accepted),
        ("rejected in review", jobs.rejected),
        ("not judged", jobs.undecided if jobs.accepted or jobs.rejected else 0),
        ("not as asked (shape, size, ...)", jobs.not_as_asked),
        ("file missing or altered", jobs.missing),
    )
    return ((name, f"{number:,}") for name, number in rows if number)


def money_rows(figures: Figures) -> Iterator[tuple[str, str]]:
    """Where the money went, what a picture cost, without the lines that are zero."""
    money = figures.money
    rows = (
        ("pictures that count", money.delivered),
        ("pictures rejected in review", money.rejected),
        ("earlier versions, replaced", money.replaced),
        ("charged without a picture", money.no_picture),
        ("charged in all", money.charged),
        ("unknown, at most on top", money.unknown),
        ("saved by reusing pictures", money.saved),
        ("per picture", money.per_picture),
        ("per accepted picture", money.per_accepted),
    )
    return ((name, usd(amount)) for name, amount in rows if amount)


def latency_rows(figures: Figures) -> Iterator[tuple[str, str]]:
    """Percentiles of the time a picture took."""
    latency = figures.latency
    if latency is None:
        return
    yield "half of them up to", duration(latency.p50)
    yield "90 %", duration(latency.p90)
    yield "95 %", duration(latency.p95)
    yield "99 %", duration(latency.p99)
    yield "the longest", duration(latency.longest)


def rate_rows(figures: Figures) -> Iterator[tuple[str, str]]:
    """Pictures a minute while runs were on."""
    if figures.throughput is not None:
        yield "pictures a minute", f"{figures.throughput.per_minute:,.1f}"


def throughput_words(figures: Figures) -> str:
    """How fast pictures came while runs were on; empty if none did."""
    throughput = figures.throughput
    if throughput is None:
        return ""
    return (
        f"{count(throughput.pictures, 'picture')} in {duration(throughput.running_seconds)} of running: "
        f"{throughput.per_minute:,.1f} a minute"
    )


ROUTE_HEADS: Final = (
    "endpoint",
    "model",
    "requests",
    "pictures",
    "refused",
    "failed",
    "unknown",
    "charged",
    "half up to",
    "95 %",
)


def route_rows(figures: Figures) -> Iterator[tuple[str, ...]]:
    """What each endpoint did with each model's requests."""
    for route in figures.routes:
        yield (
            printable(route.endpoint or _NONE),
            printable(route.model),
            f"{route.requests:,}",
            f"{route.pictures:,}",
            f"{route.refused:,}",
            f"{route.failed:,}",
            f"{route.unknown:,}",
            usd(route.cost_usd),
            duration(route.p50) if route.p50 is not None else _NONE,
            duration(route.p95) if route.p95 is not None else _NONE,
        )


RUN_HEADS: Final = ("began", "ended", "how", "jobs done by then", "requests", "charged")


def run_rows(figures: Figures) -> Iterator[tuple[str, ...]]:
    """Every run, oldest first."""
    for run in figures.runs:
        yield (
            _moment(run.started_at),
            _moment(run.ended_at) or _NONE,
            _how(run),
            f"{run.done:,}" if run.exit is not None else _NONE,
            f"{run.requests:,}" if run.exit is not None else _NONE,
            usd(run.cost_usd) if run.exit is not None else _NONE,
        )


def _how(run: Run) -> str:
    return f"{run.reason} (exit {run.exit})" if run.exit is not None else "killed, or still on"


def _moment(at: str) -> str:
    """`2026-11-28 14:03 UTC`."""
    return f"{at[:10]} {at[11:16]} UTC" if at else ""
