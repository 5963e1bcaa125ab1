"""How a run ended: the numbers, the exit code and the words. Derived from the history; nothing is counted along."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from batch.errors import BatchError, ExitCode, RunStopper
from batch.model import Job, Summary
from batch.store.history import History, Standing

#: If several things went wrong, the one that most needs a person decides the exit code.
_PRECEDENCE: Final = (
    ExitCode.SOFTWARE,
    ExitCode.IO_ERROR,
    ExitCode.CANNOT_CREATE,
    ExitCode.PROTOCOL,
    ExitCode.NO_PERMISSION,
    ExitCode.CONFIG,
    ExitCode.DATA,
    ExitCode.NO_INPUT,
    ExitCode.UNKNOWN_OUTCOME,
    ExitCode.TEMPORARY,
    ExitCode.FAILED_JOBS,
    ExitCode.OK,
)


class Interrupted(BatchError):
    """A signal asked the run to end. What was in flight was waited for."""

    def __init__(self, signal_number: int, name: str) -> None:
        super().__init__(f"stopped by {name}")
        self.signal_number = signal_number


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Jobs of the manifest by where they stand."""

    done: int
    failed: int
    unknown: int
    pending: int
    missing: int
    causes: Counter[str]


def count_jobs(order: bytes | bytearray, history: History) -> Totals:
    """Count the manifest's jobs (their 16-byte keys in a row) by their standing."""
    standings: Counter[Standing] = Counter()
    causes: Counter[str] = Counter()
    missing = 0
    for start in range(0, len(order), 16):
        past = history.of(bytes(order[start : start + 16]))
        standing = past.standing
        standings[standing] += 1
        if standing is Standing.FAILED:
            causes[past.code] += 1
        elif standing is Standing.DONE and past.missing:
            missing += 1
    return Totals(
        done=standings[Standing.DONE],
        failed=standings[Standing.FAILED],
        unknown=standings[Standing.UNKNOWN],
        pending=standings[Standing.PENDING],
        missing=missing,
        causes=causes,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """This run's own part: money before it, and what it sent."""

    usd_before: float
    maybe_usd_before: float
    requests: int
    resent: Sequence[Job]
    seconds: float


def conclude(
    name: str,
    output: str,
    totals: Totals,
    history: History,
    spent: Spent,
    stopped_by: BaseException | None,
    price_usd: Callable[[Job], float],
) -> Summary:
    """The run's summary with its exit code."""
    exit_code, reason = _verdict(totals, stopped_by)
    return Summary(
        name=name,
        output=output,
        done=totals.done,
        failed=totals.failed,
        unknown=totals.unknown,
        pending=totals.pending,
        missing=totals.missing,
        requests=spent.requests,
        cost_usd=round(history.usd - spent.usd_before, 6),
        maybe_cost_usd=round(history.maybe_usd - spent.maybe_usd_before, 6),
        possibly_paid_twice=len(spent.resent),
        possibly_paid_twice_usd=round(sum(price_usd(job) for job in spent.resent), 6),
        seconds=round(spent.seconds, 3),
        exit=exit_code,
        reason=reason,
        not_before=stopped_by.not_before if isinstance(stopped_by, RunStopper) else None,
        message=str(stopped_by) if stopped_by is not None else None,
        failures_by_cause=dict(totals.causes.most_common()),
    )


def _verdict(totals: Totals, stopped_by: BaseException | None) -> tuple[int, str]:
    """The exit code and a stable word for why."""
    if isinstance(stopped_by, Interrupted) and totals.pending + totals.unknown > 0:
        return 128 + stopped_by.signal_number, "interrupted"
    found: dict[ExitCode, str] = {ExitCode.OK: "done"}
    if totals.failed:
        found[ExitCode.FAILED_JOBS] = "failed_jobs"
    if totals.unknown or totals.missing:
        found[ExitCode.UNKNOWN_OUTCOME] = "unknown_outcome" if totals.unknown else "missing_files"
    if totals.pending:
        found[ExitCode.TEMPORARY] = "pending_jobs"
    if isinstance(stopped_by, RunStopper):
        found[stopped_by.stop_code] = stopped_by.code
    elif isinstance(stopped_by, BatchError) and not isinstance(stopped_by, Interrupted):
        found[stopped_by.exit_code] = type(stopped_by).__name__.removesuffix("Error").lower()
    elif stopped_by is not None and not isinstance(stopped_by, Interrupted):
        found[ExitCode.SOFTWARE] = "internal"
    worst = next(code for code in _PRECEDENCE if code in found)
    return int(worst), found[worst]
