"""How a run ended: the numbers, the exit code and the words. Derived from the history; nothing is counted along."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from batch.core.errors import BatchError, CanaryFailed, EndpointDown, ExitCode
from batch.core.model import Job
from batch.core.picture_warnings import is_not_as_asked
from batch.core.results import Checked, Review, Summary
from batch.plan import LEFT_OUT, SET_ASIDE, USED_UP, Plan
from batch.report.money import spend_of
from batch.store.history import History
from batch.store.job_state import Standing, State
from batch.store.lost_files import NONE_LOST, LostFiles
from batch.store.records import EndRecord, RunRecord

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
        super().__init__(f"asked to by {name}")
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
    #: Of the failed, how many a new run sends again.
    worth_retrying: int = 0
    set_aside: int = 0
    left_out: int = 0
    altered: int = 0
    not_as_asked: int = 0
    warnings: Counter[str] = field(default_factory=Counter)
    #: Of the failed, how many a person has accepted.
    failed_accepted: int = 0


def count_jobs(plan: Plan, history: History) -> Totals:
    """Count the manifest's jobs by their standing. Those not selected count apart."""
    standings: Counter[Standing] = Counter()
    causes: Counter[str] = Counter()
    warnings: Counter[str] = Counter()
    missing = altered = worth_retrying = set_aside = left_out = not_as_asked = failed_accepted = 0
    for (facts, code), count in history.tally(plan.order, plan.decisions).items():
        standing = facts.standing
        if code == LEFT_OUT and standing is not Standing.DONE:
            left_out += count
            continue
        standings[standing] += count
        if standing is Standing.FAILED:
            causes[facts.code] += count
            failed_accepted += count * facts.accepted
            set_aside += count * (code == SET_ASIDE)
            worth_retrying += count * (facts.state is State.RETRYABLE and code not in (SET_ASIDE, USED_UP))
        elif standing is Standing.DONE:
            missing += count * facts.missing
            altered += count * facts.altered
            not_as_asked += count * is_not_as_asked(facts.warned)
            warnings.update(dict.fromkeys(facts.warned, count))
    return Totals(
        done=standings[Standing.DONE],
        failed=standings[Standing.FAILED],
        unknown=standings[Standing.UNKNOWN],
        pending=standings[Standing.PENDING],
        missing=missing,
        causes=causes,
        worth_retrying=worth_retrying,
        set_aside=set_aside,
        left_out=left_out,
        altered=altered,
        not_as_asked=not_as_asked,
        warnings=warnings,
        failed_accepted=failed_accepted,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """This run's own part: money before it, and what it sent."""

    usd_before: float
    maybe_usd_before: float
    requests: int
    resent: Sequence[Job]
    seconds: float
    adopted: int = 0
    endpoints_out: Mapping[str, str] = field(default_factory=dict)
    simulated: bool = False
    lost: LostFiles = NONE_LOST
    remakes_left: int = 0
    review: Review | None = None
    checked: Checked | None = None


def conclude(
    name: str,
    output: str,
    totals: Totals,
    history: History,
    spent: Spent,
    ended_by: Sequence[BaseException | None],
    price_usd: Callable[[Job], float],
) -> Summary:
    """The run's summary with its exit code. `ended_by` holds what stopped the run or went wrong beside the jobs,
    in the order it happened."""
    errors = [error for error in ended_by if error is not None]
    exit_code, reason = _verdict(totals, errors, spent.remakes_left)
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
        not_before=next((error.not_before for error in errors if isinstance(error, EndpointDown)), None),
        message=_words(errors[0]) if errors else None,
        failures_by_cause=dict(totals.causes.most_common()),
        worth_retrying=totals.worth_retrying,
        set_aside=totals.set_aside,
        left_out=totals.left_out,
        adopted=spent.adopted,
        spend=spend_of(history),
        endpoints_out=spent.endpoints_out,
        not_as_asked=totals.not_as_asked,
        warnings=dict(totals.warnings.most_common()),
        simulated=spent.simulated,
        altered=totals.altered,
        missing_files=spent.lost.missing,
        altered_files=spent.lost.altered,
        remakes_left=spent.remakes_left,
        review=spent.review,
        checked=spent.checked,
        failed_accepted=totals.failed_accepted,
    )


def is_nothing_new(summary: Summary, before: RunRecord | EndRecord | None) -> bool:
    """Whether a run sent nothing and ended for the same reason as the run before, by that run's last record."""
    return (
        isinstance(before, EndRecord)
        and not summary.requests
        and not summary.adopted
        and (summary.exit, summary.reason) == (before.exit, before.reason)
        and (summary.done, summary.failed, summary.unknown) == (before.done, before.failed, before.unknown)
    )


def _verdict(totals: Totals, errors: Sequence[BaseException], remakes_left: int) -> tuple[int, str]:
    """The exit code and a stable word for why."""
    left = totals.pending + totals.unknown + totals.worth_retrying + remakes_left
    for error in errors:
        if isinstance(error, Interrupted) and left:
            return 128 + error.signal_number, "interrupted"
        if isinstance(error, CanaryFailed):
            # What is left waits for a person, not for the next timer: that code would be passed over in silence.
            return int(error.exit_code), "canary"
    found: dict[ExitCode, str] = {ExitCode.OK: "done"}
    if totals.failed > totals.worth_retrying + totals.failed_accepted:
        found[ExitCode.FAILED_JOBS] = "failed_jobs"
    if totals.worth_retrying or totals.pending or remakes_left:
        found[ExitCode.TEMPORARY] = "pending_jobs" if totals.pending or remakes_left else "failed_for_now"
    if totals.unknown or totals.missing or totals.altered:
        files = "missing_files" if totals.missing else "altered_files"
        found[ExitCode.UNKNOWN_OUTCOME] = "unknown_outcome" if totals.unknown else files
    for error in errors:
        if not isinstance(error, Interrupted):
            code, reason = _verdict_of(error)
            found[code] = reason
    worst = next(code for code in _PRECEDENCE if code in found)
    return int(worst), found[worst]


def _verdict_of(error: BaseException) -> tuple[ExitCode, str]:
    if isinstance(error, EndpointDown):
        return error.exit_code, error.code
    if isinstance(error, BatchError):
        return error.exit_code, error.reason
    return ExitCode.SOFTWARE, "internal"


def _words(error: BaseException) -> str:
    return str(error) if isinstance(error, BatchError) else f"a bug in imagebatch: {type(error).__name__}: {error}"
