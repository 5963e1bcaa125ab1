"""A person's decision on requests whose outcome is unknown, after a look into the provider's own log.

Sends nothing. The decision is a line of the ledger like everything else: `paid` (charged, and the picture is lost: the
money is spent and the job stays held), `unpaid` (it never happened: the job may be sent as if it had not been), or
`failed` (the job is closed; whether it was charged stays open).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from batch.core.clock import Clock
from batch.core.errors import InputError, Problem
from batch.core.model import job_key
from batch.core.results import Decided, UnknownAttempt
from batch.store.folder import look_into, output_folder
from batch.store.history import History
from batch.store.job_state import State
from batch.store.ledger_reader import open_ledger, require_ledger
from batch.store.lost_files import lost_records
from batch.store.records import JobRecord, RereadRecord, ResolveRecord, TryRecord, UnknownRecord

_NOT_UNKNOWN = {
    State.NEW: "no request was ever sent for it",
    State.SENT: "the run that sent it did not come to its end; the next run settles it first",
    State.DONE: "it has its picture",
    State.FAILED: "it failed, and that is known",
    State.RETRYABLE: "it failed, and that is known",
    State.WAITING: "it is to be sent again anyway",
}
#: Instead of an id: all whose file is gone.
MISSING: Final = "missing"
_NOT_LOST = {
    State.DONE: "its picture is there, as it was bought",
    State.UNKNOWN: "its last request may have been charged; decide on that first",
}


def unknown_attempts(output: Path) -> list[UnknownAttempt]:
    """Every request with an unknown outcome, of jobs that wait for a decision, oldest first. Takes no lock.

    Raises `OutputError` if the folder holds no ledger and `LedgerError` if it is damaged.
    """
    require_ledger(output)
    with look_into(output) as reading:
        return _undecided(output, reading.history())


async def resolve(
    output: Path,
    job_ids: Sequence[str],
    decided: Decided,
    *,
    note: str,
    clock: Clock,
    told: Callable[[str, Sequence[UnknownAttempt]], None],
) -> None:
    """Write the decision down for each job; when that is durable, `told` hears of the job and the attempts concerned.

    All ids are looked at before anything is written. Raises `InputError` if a job waits for no decision, `LockedError`
    while a run is on, `StorageError` when a write fails.
    """
    require_ledger(output)
    with output_folder(output) as folder:
        found = _undecided(output, folder.history)
        wanted = dict.fromkeys(job_ids)
        _refuse_what_is_known(wanted, found, decided, folder.history)
        run_id = f"{clock.now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        async with folder.open(run_id, clock) as store:
            for job_id in wanted:
                attempts = [attempt for attempt in found if attempt.job == job_id]
                usd = sum(attempt.usd for attempt in attempts)
                await store.resolve(job_id, decided, maybe_usd=usd, note=note)
                told(job_id, attempts)


async def accept(output: Path, job_ids: Sequence[str], *, note: str, clock: Clock, told: Callable[[str], None]) -> None:
    """Take note, durably, that a job's picture is gone or altered, or that a new one could not be had and the one it
    had will do: it counts as done from now on. A job that failed and never had a picture stays failed, is not sent
    again by itself, and no longer decides the exit code. `missing` among the ids means all whose file is gone.

    `told` hears of each job when that is durable. Raises `InputError` if there is nothing to accept, `LockedError`
    while a run is on, `StorageError` when a write fails.
    """
    require_ledger(output)
    with output_folder(output) as folder:
        history = folder.history
        wanted = dict.fromkeys(each for each in job_ids if each != MISSING)
        if MISSING in job_ids:
            wanted.update(dict.fromkeys(_gone(output, history)))
        _refuse_what_is_whole(wanted, history)
        run_id = f"{clock.now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        async with folder.open(run_id, clock) as store:
            for job_id in wanted:
                await store.resolve(job_id, Decided.ACCEPTED, maybe_usd=0.0, note=note)
                told(job_id)


def _gone(output: Path, history: History) -> Iterator[str]:
    for record in lost_records(output, history):
        if history.of(job_key(record.job)).missing:
            yield record.job


def _refuse_what_is_whole(wanted: Mapping[str, None], history: History) -> None:
    problems = []
    for job_id in wanted:
        past = history.of(job_key(job_id))
        is_lost = past.state is State.DONE and (past.missing or past.altered)
        has_old = past.versions and past.spec == past.bought_spec and past.state in (State.FAILED, State.RETRYABLE)
        has_failed = not past.versions and not past.accepted and past.state in (State.FAILED, State.RETRYABLE)
        if not (is_lost or has_old or has_failed):
            why = _NOT_LOST.get(past.state, "it has no picture") if past.versions else "it has no picture"
            problems.append(Problem(message=f"nothing to accept: {why}", job=job_id))
    if problems:
        raise InputError(problems)


def _refuse_what_is_known(
    wanted: dict[str, None], found: Sequence[UnknownAttempt], decided: Decided, history: History
) -> None:
    undecided = {attempt.job for attempt in found}
    problems = []
    for job_id in wanted:
        past = history.of(job_key(job_id))
        if past.state is not State.UNKNOWN:
            problems.append(Problem(message=f"nothing to decide: {_NOT_UNKNOWN[past.state]}", job=job_id))
        elif job_id not in undecided and decided is not Decided.FAILED:
            problems.append(Problem(message="it was decided already (paid); --as failed closes it", job=job_id))
    if problems:
        raise InputError(problems)


def _undecided(output: Path, history: History) -> list[UnknownAttempt]:
    """From one pass over the ledger; only what concerns jobs in question is kept."""
    found: dict[str, dict[int, UnknownAttempt]] = {}
    client_ids: dict[tuple[str, int], str] = {}
    for record in open_ledger(output).records():
        if not isinstance(record, JobRecord) or history.of(job_key(record.job)).state is not State.UNKNOWN:
            continue
        if isinstance(record, TryRecord):
            client_ids[record.job, record.att] = record.rid
        elif isinstance(record, UnknownRecord):
            client_id = client_ids.get((record.job, record.att), "")
            found.setdefault(record.job, {})[record.att] = _attempt_of(record, client_id)
        elif isinstance(record, RereadRecord):
            found.get(record.job, {}).pop(record.att, None)
        elif isinstance(record, ResolveRecord):
            found.pop(record.job, None)
    return sorted((each for job in found.values() for each in job.values()), key=lambda attempt: attempt.at)


def _attempt_of(record: UnknownRecord, client_id: str) -> UnknownAttempt:
    return UnknownAttempt(
        job=record.job,
        attempt=record.att,
        at=record.at,
        seconds=record.seconds,
        usd=record.usd,
        code=record.code,
        message=record.message,
        request_id=record.request_id,
        client_request_id=client_id,
    )
