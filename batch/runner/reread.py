"""Reads what lies in rejected/ again with today's eyes. Nothing is bought.

An answer that an older program could not read may hold the picture that was paid for. What is found becomes the job's
picture; the attempt is counted once, as it was. A job that has a picture by now, or was edited since, keeps what it
has: then the answer stays in rejected/ and is only named.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from batch.core.clock import Clock
from batch.core.errors import AttemptError, ConfigError, StorageError
from batch.core.model import job_key
from batch.core.prices import load_prices
from batch.core.results import Decided
from batch.providers.base import Answer, Provider
from batch.runner.delivery import delivered
from batch.store.folder import output_folder
from batch.store.job_state import JobHistory, State
from batch.store.ledger_reader import open_ledger, require_ledger
from batch.store.picture_check import BadPicture
from batch.store.records import (
    CopyRecord,
    FailRecord,
    JobRecord,
    RereadRecord,
    ResolveRecord,
    TryRecord,
    UnknownRecord,
    job_of,
    terms_of,
)
from batch.store.store import OpenAttempt, Store

#: Who reads an answer, by the provider's name in the ledger. Raises `ConfigError` if it is not there.
Readers = Callable[[str], Provider]
#: Records of attempts whose answer may be kept.
Kept = FailRecord | UnknownRecord
_MAY_BECOME_DONE = (State.FAILED, State.RETRYABLE, State.WAITING, State.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reread:
    """What a kept answer turned out to be.

    `found`: `done` (its picture is the job's now, in `images`; with a dry run: it would be), `aside` (it holds a
    picture that the job does not get), `nothing` or `unreadable` (its files are gone or damaged). `message` says why.
    """

    job: str
    attempt: int
    code: str
    found: str
    message: str
    images: tuple[str, ...] = ()


async def reread(
    output: Path, reader: Readers, clock: Clock, *, dry_run: bool = False, told: Callable[[Reread], None]
) -> None:
    """Interpret every kept answer again, the newest of a job first; pictures at web addresses are fetched.

    `reader` gives the provider that reads an answer.

    `told` hears of each when what it became is recorded. `dry_run` opens no address and writes nothing about a job.
    Raises `OutputError` if the folder holds no ledger, `LockedError` while a run is on, and `StorageError` when a
    write fails.
    """
    require_ledger(output)
    with output_folder(output) as folder:
        kept = _Kept(output)
        if folder.history.open or not (kept.answers or kept.found_before):
            reason = "a run did not come to its end; run again first"
            for _, failed in kept.answers:
                told(_row(failed, "aside", reason))
            return
        run_id = f"{clock.now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        async with folder.open(run_id, clock) as store:
            async for each in _looks(store, kept, reader, clock, dry_run=dry_run):
                told(each)


class _Kept:
    """What the ledger says of kept answers that were not found to be a picture since, the newest first.

    `answers` are the `try` record of each and the `fail` or `unk` record, `copies` the records of jobs that failed
    because another did, by that one's id. `decided` says what a person decided on an unknown outcome, by attempt.
    `found_before` are jobs with copies whose pictures an earlier command found; it may have died before it gave them to
    all.
    """

    def __init__(self, output: Path) -> None:
        failed: dict[tuple[str, int], Kept] = {}
        self.copies: dict[str, list[CopyRecord]] = {}
        self.decided: dict[tuple[str, int], str] = {}
        read_again = set()
        for record in _records(output):
            attempt = record.job, record.att
            if isinstance(record, Kept) and record.kept:
                failed[attempt] = record
            elif isinstance(record, RereadRecord):
                failed.pop(attempt, None)
                read_again.add(record.job)
            elif isinstance(record, CopyRecord):
                self.copies.setdefault(record.of, []).append(record)
            elif isinstance(record, ResolveRecord) and record.decided in (Decided.PAID, Decided.UNPAID):
                ends = failed.items()
                settled = (each for each, end in ends if each[0] == record.job and isinstance(end, UnknownRecord))
                self.decided.update(dict.fromkeys(settled, record.decided))
        tried = {
            (record.job, record.att): record
            for record in _records(output)
            if isinstance(record, TryRecord) and (record.job, record.att) in failed
        }
        self.found_before = [job for job in self.copies if job in read_again]
        self.answers = [(tried[attempt], failed[attempt]) for attempt in reversed(failed) if attempt in tried]


def _records(output: Path) -> Iterator[JobRecord]:
    return (record for record in open_ledger(output).records() if isinstance(record, JobRecord))


async def _looks(store: Store, kept: _Kept, reader: Readers, clock: Clock, *, dry_run: bool) -> AsyncIterator[Reread]:
    for job in kept.found_before if not dry_run else ():
        await _share(store, kept.copies[job])
    for tried, failed in kept.answers:
        money = _money(tried, failed, kept.decided.get((failed.job, failed.att)))
        try:
            provider = reader(terms_of(tried).provider)
        except ConfigError as error:  # its package is not installed here: the others are looked at all the same
            yield _row(failed, "unreadable", f"provider {terms_of(tried).provider} {error}")
            continue
        found = await _look(store, tried, failed, money, provider, clock, dry_run=dry_run)
        yield found
        if found.found == "done" and not dry_run:
            await _share(store, kept.copies.get(found.job, ()))


async def _share(store: Store, copies: Sequence[CopyRecord]) -> None:
    """Give the picture to the jobs that failed only because this one had none."""
    for copy in copies:
        job = job_of(copy)
        past = store.history.of(job_key(job.id))
        of = store.history.of(job_key(copy.of))
        if not past.versions and past.state in _MAY_BECOME_DONE and past.spec == of.bought_spec:
            picture = store.bought_by(job_key(copy.of))
            with suppress(BadPicture):  # its file may be gone since: the copy stays as it was
                await store.adopt(job, picture, why="same", saved_usd=load_prices({}).attempt_usd(job))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Money:
    """What changes if an attempt bought a picture after all: what is spent on top, and what is no longer open."""

    usd: float
    maybe_usd: float = 0.0


def _money(tried: TryRecord, failed: Kept, decided: str | None) -> _Money:
    """What was counted stays counted, once. What was taken for free, and holds a picture, was not."""
    if failed.paid == "yes" or decided == Decided.PAID:
        return _Money(usd=0.0)
    if failed.paid == "maybe":
        return _Money(usd=failed.usd, maybe_usd=failed.usd if decided is None else 0.0)
    terms = terms_of(tried)
    return _Money(usd=load_prices({}).attempt_usd(terms.of(job_of(tried)), terms.lane))


async def _look(
    store: Store,
    tried: TryRecord,
    failed: Kept,
    money: _Money,
    provider: Provider,
    clock: Clock,
    *,
    dry_run: bool,
) -> Reread:
    try:
        attempt, received = store.rejected_answer(tried)
    except StorageError as error:  # no file, or one that may not be read: the others are looked at all the same
        return _row(failed, "unreadable", str(error))
    if received is None:
        return _row(failed, "unreadable", "its files in rejected/ are gone or damaged")
    try:
        received = await asyncio.to_thread(provider.unpacked, received, attempt.spool)
        answer = provider.interpret(received)
        against = _what_stands_against(store.history.of(job_key(attempt.job.id)), attempt)
        if against is not None or dry_run:
            attempt.spool.discard()
            found = _row(failed, "done", "it holds a picture, or an address of one")
            return found if against is None else _row(failed, "aside", against)
        return await _keep(store, attempt, answer, failed, money, provider, clock)
    except AttemptError as error:
        attempt.spool.discard()
        return _row(failed, "nothing", f"{error.code}: {error.message}")


async def _keep(
    store: Store,
    attempt: OpenAttempt,
    answer: Answer,
    failed: Kept,
    money: _Money,
    provider: Provider,
    clock: Clock,
) -> Reread:
    answer = await delivered(answer, provider, attempt.spool, clock)
    done = await store.keep_reread(attempt, answer, failed, usd=money.usd, maybe_usd=money.maybe_usd)
    return _row(failed, "done", "its picture is kept", tuple(image.path for image in done.images))


def _what_stands_against(past: JobHistory, attempt: OpenAttempt) -> str | None:
    """Why the job does not get the picture, or None."""
    if past.versions:
        return "the job has a picture by now"
    if past.spec != attempt.job.spec_hash():
        return "the job asks for something else by now"
    return None if past.state in _MAY_BECOME_DONE else "the job is being sent"


def _row(failed: Kept, found: str, message: str, images: tuple[str, ...] = ()) -> Reread:
    return Reread(job=failed.job, attempt=failed.att, code=failed.code, found=found, message=message, images=images)
