"""The figures of an output folder, gathered from its album and the ledger's lines about runs."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from batch.album import Album, Attempt, Entry, Failure, PictureState, open_album
from batch.analysis.figures import Cause, Figures, JobCounts, Route, Run, money_of
from batch.analysis.statistics import latency_of, percentile, throughput_of
from batch.core.picture_warnings import is_not_as_asked
from batch.report.money import spend_of
from batch.store.job_state import Standing
from batch.store.ledger_reader import open_ledger
from batch.store.records import EndRecord, RunRecord

#: Refusals that say nothing of the job: too fast, no room, a key that may not.
_REFUSED: Final = "no"
_MOST_IDS: Final = 5


def read_figures(output: Path) -> Figures:
    """Read an output folder. Raises `OutputError` if it holds no ledger, `LedgerError` if that is damaged."""
    album = open_album(output)
    gathered = _Gathered()
    for entry in album:
        gathered.add(entry)
    return gathered.figures(album)


@dataclass(slots=True)
class _RouteCounts:
    """What was counted of one endpoint and model."""

    requests: int = 0
    pictures: int = 0
    refused: int = 0
    failed: int = 0
    unknown: int = 0
    cost_usd: float = 0.0
    seconds: array[float] = field(default_factory=lambda: array("f"))

    def add(self, attempt: Attempt) -> None:
        self.requests += 1
        self.cost_usd += attempt.cost_usd if attempt.paid == "yes" else 0.0
        match attempt.outcome:
            case "done":
                self.pictures += 1
                self.seconds.append(attempt.seconds)
            case "failed" if attempt.paid == _REFUSED:
                self.refused += 1
            case "failed":
                self.failed += 1
            case "unknown":
                self.unknown += 1

    def route(self, endpoint: str, model: str) -> Route:
        ordered = sorted(self.seconds)
        return Route(
            endpoint=endpoint,
            model=model,
            requests=self.requests,
            pictures=self.pictures,
            refused=self.refused,
            failed=self.failed,
            unknown=self.unknown,
            cost_usd=round(self.cost_usd, 6),
            p50=percentile(ordered, 0.5) if ordered else None,
            p95=percentile(ordered, 0.95) if ordered else None,
        )


@dataclass(slots=True)
class _Gathered:
    """What is counted of each entry; nothing of an entry is held."""

    standings: Counter[Standing] = field(default_factory=Counter)
    judged: Counter[str] = field(default_factory=Counter)
    rejected_usd: float = 0.0
    missing: int = 0
    not_as_asked: int = 0
    seconds: array[float] = field(default_factory=lambda: array("f"))
    arrivals: array[float] = field(default_factory=lambda: array("d"))
    refusals: Counter[str] = field(default_factory=Counter)
    causes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    cause_jobs: Counter[str] = field(default_factory=Counter)
    failures: dict[str, Failure] = field(default_factory=dict)
    warnings: Counter[str] = field(default_factory=Counter)
    routes: dict[tuple[str, str], _RouteCounts] = field(default_factory=lambda: defaultdict(_RouteCounts))

    def add(self, entry: Entry) -> None:
        self.standings[entry.standing] += 1
        self._judge(entry)
        if entry.failure is not None:
            self._fail(entry.id, entry.failure)
        for attempt in entry.attempts:
            self._attempt(attempt)

    def _judge(self, entry: Entry) -> None:
        chosen = entry.chosen
        if chosen is None:
            return
        self.judged["accepted" if chosen.is_accepted else "rejected" if chosen.is_rejected else "undecided"] += 1
        if chosen.is_rejected:
            self.rejected_usd += chosen.cost_usd
        kinds = {str(warned.kind) for warned in chosen.warnings}
        self.warnings.update(kinds)
        self.not_as_asked += is_not_as_asked(kinds)
        self.missing += any(picture.state is not PictureState.WHOLE for picture in chosen.pictures)

    def _fail(self, job: str, failure: Failure) -> None:
        self.cause_jobs[failure.code] += 1
        self.failures.setdefault(failure.code, failure)
        if len(self.causes[failure.code]) < _MOST_IDS:
            self.causes[failure.code].append(job)

    def _attempt(self, attempt: Attempt) -> None:
        if attempt.outcome not in ("done", "failed", "unknown", "open"):
            return
        self.routes[attempt.endpoint, attempt.model].add(attempt)
        if attempt.outcome == "done":
            self.seconds.append(attempt.seconds)
            self.arrivals.append(_seconds(attempt.ended_at))
        elif attempt.outcome == "failed" and attempt.paid == _REFUSED:
            self.refusals[attempt.code] += 1

    def figures(self, album: Album) -> Figures:
        runs = tuple(_runs(album.output))
        return Figures(
            output=str(album.output),
            simulated=album.simulated,
            jobs=JobCounts(
                done=self.standings[Standing.DONE],
                failed=self.standings[Standing.FAILED],
                unknown=self.standings[Standing.UNKNOWN],
                pending=self.standings[Standing.PENDING],
                accepted=self.judged["accepted"],
                rejected=self.judged["rejected"],
                undecided=self.judged["undecided"],
                missing=self.missing,
                not_as_asked=self.not_as_asked,
            ),
            money=money_of(spend_of(album.history), rejected_usd=self.rejected_usd, accepted=self.judged["accepted"]),
            latency=latency_of(self.seconds),
            throughput=throughput_of(self.arrivals, [_span(run) for run in runs if run.ended_at]),
            refusals=tuple(self.refusals.most_common()),
            causes=tuple(self._cause(code, jobs) for code, jobs in self.cause_jobs.most_common()),
            warnings=tuple(self.warnings.most_common()),
            routes=tuple(counts.route(*key) for key, counts in self.routes.items()),
            runs=runs,
        )

    def _cause(self, code: str, jobs: int) -> Cause:
        failure = self.failures[code]
        return Cause(code=code, jobs=jobs, advice=failure.advice, example=failure.message, ids=tuple(self.causes[code]))


def _runs(output: Path) -> Iterator[Run]:
    """Every run of the ledger. One that was killed has the time of its last line as its end, and no reason."""
    with closing(open_ledger(output)) as ledger:
        begun: RunRecord | None = None
        last = ""
        for record in ledger.records():
            if isinstance(record, RunRecord):
                if begun is not None:
                    yield _cut_off(begun, last)
                begun = record
            elif isinstance(record, EndRecord) and begun is not None:
                yield _ended(begun, record)
                begun = None
            last = record.at or last
        if begun is not None:
            yield _cut_off(begun, last)


def _ended(run: RunRecord, end: EndRecord) -> Run:
    return Run(
        started_at=run.at,
        ended_at=end.at,
        exit=end.exit,
        reason=end.reason,
        done=end.done,
        requests=end.requests,
        cost_usd=end.cost_usd,
    )


def _cut_off(run: RunRecord, last: str) -> Run:
    return Run(started_at=run.at, ended_at=last, exit=None, reason="", done=0, requests=0, cost_usd=0.0)


def _span(run: Run) -> tuple[float, float]:
    return _seconds(run.started_at), _seconds(run.ended_at)


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()
