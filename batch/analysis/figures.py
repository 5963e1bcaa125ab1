"""The figures of one output folder over all its runs. Money in USD, durations in seconds, times ISO 8601 in UTC."""

from __future__ import annotations

from dataclasses import dataclass

from batch.core.results import Spend


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCounts:
    """Jobs by where they stand, and those with a picture by what was said of it. Jobs never sent are in none."""

    done: int
    failed: int
    unknown: int
    pending: int
    accepted: int
    rejected: int
    undecided: int
    missing: int
    not_as_asked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """Where the money went. `delivered`: pictures that count and were not rejected; `rejected`: those that were.

    `replaced`: pictures that a newer one of the same job took the place of; `no_picture`: charged answers without one;
    `unknown`: the most that requests without an answer cost. The first four add up to what was charged.
    """

    delivered: float
    rejected: float
    replaced: float
    no_picture: float
    unknown: float
    saved: float
    per_picture: float | None
    per_accepted: float | None

    @property
    def charged(self) -> float:
        return round(self.delivered + self.rejected + self.replaced + self.no_picture, 6)


def money_of(spend: Spend, *, rejected_usd: float, accepted: int) -> Money:
    """`rejected_usd`: what the rejected pictures that count cost; `accepted`: how many were accepted."""
    delivered = max(0.0, spend.done - rejected_usd)
    charged = spend.done + spend.superseded + spend.rejected + spend.failed
    return Money(
        delivered=round(delivered, 6),
        rejected=round(spend.done - delivered, 6),
        replaced=spend.superseded,
        no_picture=round(spend.rejected + spend.failed, 6),
        unknown=spend.unknown,
        saved=spend.saved,
        per_picture=spend.per_picture,
        per_accepted=round(charged / accepted, 6) if accepted else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long requests took that brought a picture. `histogram`: how many took up to so many seconds, by bar."""

    requests: int
    p50: float
    p90: float
    p95: float
    p99: float
    longest: float
    histogram: tuple[Bar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar: from, up to and not with, and how many."""

    start: float
    end: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Pictures over the time in which a run was on; pauses between runs are left out.

    `points`: seconds of running, and pictures a minute around then. `run_starts`: where a run begins, in those seconds.
    """

    running_seconds: float
    pictures: int
    per_minute: float
    points: tuple[tuple[float, float], ...]
    run_starts: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why jobs have no picture. `ids`: the first of them."""

    code: str
    jobs: int
    advice: str
    example: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What one endpoint did with requests for one model. `refused`: turned away without a charge, as for the rate."""

    endpoint: str
    model: str
    requests: int
    pictures: int
    refused: int
    failed: int
    unknown: int
    cost_usd: float
    p50: float | None
    p95: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run. `ended_at` is empty, and `reason` too, if it was killed or is on."""

    started_at: str
    ended_at: str
    exit: int | None
    reason: str
    done: int
    requests: int
    cost_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All of it."""

    output: str
    simulated: bool
    jobs: JobCounts
    money: Money
    latency: Latency | None
    throughput: Throughput | None
    refusals: tuple[tuple[str, int], ...]
    causes: tuple[Cause, ...]
    warnings: tuple[tuple[str, int], ...]
    routes: tuple[Route, ...]
    runs: tuple[Run, ...]
