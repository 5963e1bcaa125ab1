"""Where an output folder stands, read from its ledger alone. Writes nothing, takes no lock."""

from __future__ import annotations

import json
import os
import shlex
import socket
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from batch.core.errors import ExitCode, LedgerError
from batch.core.results import CheckSpend, Review, Spend
from batch.core.settings import GIVEN_MANIFEST
from batch.report.advice import retry_causes
from batch.report.formatting import path
from batch.report.money import spend_of
from batch.report.warned import count_warnings
from batch.store.check_book import questions
from batch.store.check_book import spend_of as spend_of_checks
from batch.store.history import History, replay
from batch.store.job_state import Standing
from batch.store.ledger_reader import open_ledger, require_ledger, what_is_left
from batch.store.live_status import RunProgress, read_progress
from batch.store.lost_files import NONE_LOST, lost_files
from batch.store.records import EndRecord, RunRecord
from batch.store.rehearsal import NAME as REHEARSAL
from batch.store.rehearsal import holds_bought
from batch.store.rejected_pictures import RejectedPictures


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Counts over every job the ledger knows (jobs never sent are not in it), and money over all runs."""

    output: str
    done: int
    failed: int
    unknown: int
    pending: int
    missing: int
    requests: int
    cost_usd: float
    maybe_cost_usd: float
    open_attempts: int
    torn_bytes: int
    running: str | None
    limits_now: str | None
    last_end: str | None
    last_exit: int | None
    not_before: str | None
    next_command: str | None
    failures_by_cause: Mapping[str, int] = field(default_factory=dict)
    spend: Spend = field(default_factory=Spend)
    #: Of the done, how many pictures are not as asked; and how many have warnings, by kind.
    not_as_asked: int = 0
    warnings: Mapping[str, int] = field(default_factory=dict)
    #: What stopped the last run, if it was the budget: how much is spent, reserved and left.
    budget: str | None = None
    #: Of the done, how many have a file with another size than what was bought; `missing` are those without one.
    altered: int = 0
    #: Of the done, how many count although their file is gone or altered or a new picture failed: a person said so.
    accepted: int = 0
    #: The first of these files, relative to the output folder.
    missing_files: tuple[str, ...] = ()
    altered_files: tuple[str, ...] = ()
    #: All of it is the simulator's: the money is what it would have cost.
    simulated: bool = False
    #: The folder with what was rehearsed here and does not count.
    rehearsal: str | None = None
    #: Of the failed, how many a person has accepted.
    failed_accepted: int = 0
    #: Jobs of the manifest, as the run that is on or the last one counted them.
    jobs: int | None = None
    #: How far the run that is on has come, with its rate and the time left.
    progress: RunProgress | None = None
    #: What was said of the pictures; None: nothing yet.
    review: Review | None = None
    #: What a model that judges pictures was paid over all runs, which is in no other sum; None: it was never asked.
    checks: CheckSpend | None = None


def read_status(output: Path) -> Status:
    """Read the ledger of an output folder. Raises `OutputError` if there is none, `LedgerError` if it is damaged."""
    require_ledger(output)
    try:
        history, tail = replay(output, bought_only=holds_bought(output))
    except LedgerError as error:
        raise LedgerError(f"{error}. {what_is_left(output)}") from error
    counts, causes, missing, altered, accepted, failed_accepted = _count(history)
    lost = lost_files(output, history) if missing or altered else NONE_LOST
    not_as_asked, warnings = count_warnings(history)
    run, end = _last_run(output, history)
    running = _running(output)
    progress = read_progress(output) if running else None
    review = RejectedPictures(output).review(history)
    return Status(
        output=str(output),
        done=counts[Standing.DONE],
        failed=counts[Standing.FAILED],
        unknown=counts[Standing.UNKNOWN],
        pending=counts[Standing.PENDING],
        missing=missing,
        requests=history.requests,
        cost_usd=round(history.usd, 6),
        maybe_cost_usd=round(history.maybe_usd, 6),
        open_attempts=len(history.open),
        torn_bytes=len(tail.torn),
        running=running,
        limits_now=progress.limits_now if progress is not None else None,
        last_end=_last_end(run, end, is_running=running is not None),
        last_exit=end.exit if end is not None else None,
        not_before=end.not_before if end is not None else None,
        next_command=None if running else _next_command(output, run, end, counts, causes, failed_accepted, review),
        failures_by_cause=dict(causes.most_common()),
        spend=spend_of(history),
        not_as_asked=not_as_asked,
        warnings=dict(warnings.most_common()),
        budget=end.message if end is not None and end.reason == "budget" else None,
        altered=altered,
        accepted=accepted,
        missing_files=lost.missing,
        altered_files=lost.altered,
        simulated=history.simulated,
        rehearsal=str(output / REHEARSAL) if open_ledger(output / REHEARSAL).exists() else None,
        failed_accepted=failed_accepted,
        jobs=_jobs(progress, end),
        progress=progress,
        review=review,
        checks=spend_of_checks(asked) if (asked := questions(output)) else None,
    )


def _jobs(progress: RunProgress | None, end: EndRecord | None) -> int | None:
    if progress is not None and progress.jobs:
        return progress.jobs
    return None if end is None else end.done + end.failed + end.unknown + end.pending


def _count(history: History) -> tuple[Counter[Standing], Counter[str], int, int, int, int]:
    counts: Counter[Standing] = Counter()
    causes: Counter[str] = Counter()
    missing = altered = accepted = failed_accepted = 0
    for facts, count in history.tally_of_all().items():
        counts[facts.standing] += count
        if facts.standing is Standing.FAILED:
            causes[facts.code] += count
            failed_accepted += count * facts.accepted
        elif facts.standing is Standing.DONE:
            missing += count * facts.missing
            altered += count * facts.altered
            accepted += count * facts.accepted
    return counts, causes, missing, altered, accepted, failed_accepted


def _last_run(output: Path, history: History) -> tuple[RunRecord | None, EndRecord | None]:
    """How the last run began, and how it ended, if it did."""
    with open_ledger(output) as ledger:
        run = ledger.at(history.run_offset) if history.run_offset >= 0 else None
        end = ledger.at(history.end_offset) if history.end_offset > history.run_offset else None
    assert isinstance(run, RunRecord | None)
    assert isinstance(end, EndRecord | None)
    return run, end


def _running(output: Path) -> str | None:
    """The run that works on the folder: its process is alive and holds the lock. The lock itself is not touched."""
    try:
        owner = json.loads((output / ".lock-owner").read_text("ascii"))
        pid, host = int(owner["pid"]), owner["host"]
        if host != socket.gethostname() or not _is_locked(output / ".lock"):
            return None
        os.kill(pid, 0)
    except PermissionError:
        pass  # it lives, and is another user's
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return f"a run is on (process {pid})"


def _is_locked(lock: Path) -> bool:
    """Whether a process holds the lock, by the kernel's own list: taking it to see would turn a new run away."""
    inode = str(lock.stat().st_ino)
    try:
        held = Path("/proc/locks").read_text("ascii").splitlines()
    except OSError:
        return True  # no such list here; the living process must do
    return any(field.rpartition(":")[2] == inode for line in held if "FLOCK" in line for field in line.split())


def _last_end(run: RunRecord | None, end: EndRecord | None, *, is_running: bool) -> str | None:
    if end is not None:
        reason = "all jobs done" if end.exit == ExitCode.OK else end.reason.replace("_", " ")
        words = f"ended {end.at}, exit code {end.exit}: {reason}"
        return words + (f", not before {end.not_before}" if end.not_before else "")
    if run is None or is_running:
        return None
    return f"started {run.at} and did not end by itself"


def _is_usual(output: Path, usual: Path) -> bool:
    try:
        return output.absolute() == usual.absolute()
    except OSError:  # the current folder is gone
        return False


def _next_command(
    output: Path,
    run: RunRecord | None,
    end: EndRecord | None,
    counts: Counter[Standing],
    causes: Counter[str],
    failed_accepted: int,
    review: Review | None,
) -> str | None:
    manifest = run.manifest if run is not None else "MANIFEST"
    if manifest == GIVEN_MANIFEST:
        return None
    words = [shlex.quote(path(manifest))]
    if not _is_usual(output, Path("output") / Path(manifest).stem):
        words += ["-o", shlex.quote(path(str(output)))]
    left = counts[Standing.UNKNOWN] + counts[Standing.PENDING]
    last = end or run
    wish = last.remake if last is not None else None
    if wish:
        words += [word for said in wish.said for word in ("--again", shlex.quote(said))]
    if end is None or wish or end.exit == ExitCode.TEMPORARY or end.pending or left:
        return f"imagebatch run {' '.join(words)}"
    if review is not None and review.rejected:
        return f"imagebatch run {' '.join(words)} --rejected"
    if counts[Standing.FAILED] <= failed_accepted:
        return None
    return f"imagebatch plan {' '.join(words)} --retry {retry_causes([code for code, _ in causes.most_common()])}"
