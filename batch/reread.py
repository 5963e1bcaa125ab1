"""Reads what lies in rejected/ again with today's eyes. Nothing is bought.

An answer that an older program could not read may hold the picture that was paid for. What is found becomes the job's
picture; the attempt is counted once, as it was. A job that has a picture by now, or was edited since, keeps what it
has: then the answer stays in rejected/ and is only named.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batch.clock import Clock
from batch.delivery import delivered
from batch.errors import AttemptError, OutputError
from batch.model import job_key
from batch.prices import load_prices
from batch.providers.base import Answer, Provider
from batch.store.history import JobHistory, State
from batch.store.ledger import read_records
from batch.store.records import job_of
from batch.store.store import Store, Ticket, output_folder

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


async def reread(output: Path, provider: Provider, clock: Clock, *, dry_run: bool = False) -> list[Reread]:
    """Interpret every kept answer again, the newest of a job first; pictures at web addresses are fetched.

    `dry_run` opens no address and writes nothing about a job. Raises `OutputError` if the folder holds no ledger and
    `LockedError` while a run is on.
    """
    if not (output / "ledger.jsonl").is_file():
        raise OutputError(f"{output} holds no ledger.jsonl; name the output folder of a run")
    with output_folder(output) as folder:
        kept = _Kept(output)
        if folder.history.open or not kept.answers:
            reason = "a run did not come to its end; run again first"
            return [_row(failed, "aside", reason) for _, failed in kept.answers]
        run_id = f"{clock.now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        async with folder.open(run_id, clock) as store:
            return [each async for each in _looks(store, kept, provider, clock, dry_run=dry_run)]


class _Kept:
    """What the ledger says of kept answers that were not found to be a picture since, the newest first.

    `answers` are the `try` and `fail` records of each, `copies` the records of jobs that failed because another did, by
    that one's id.
    """

    def __init__(self, output: Path) -> None:
        failed: dict[tuple[str, int], dict[str, Any]] = {}
        self.copies: dict[str, list[dict[str, Any]]] = {}
        for record in _records(output):
            attempt = record["job"], record["att"]
            if record["t"] == "fail" and record["kept"]:
                failed[attempt] = record
            elif record["t"] == "reread":
                failed.pop(attempt, None)
            elif record["t"] == "copy":
                self.copies.setdefault(record["of"], []).append(record)
        tried = {
            (record["job"], record["att"]): record
            for record in _records(output)
            if record["t"] == "try" and (record["job"], record["att"]) in failed
        }
        self.answers = [(tried[attempt], failed[attempt]) for attempt in reversed(failed) if attempt in tried]


def _records(output: Path) -> Iterator[dict[str, Any]]:
    return (record for record in read_records(output / "ledger.jsonl") if "job" in record)


async def _looks(
    store: Store, kept: _Kept, provider: Provider, clock: Clock, *, dry_run: bool
) -> AsyncIterator[Reread]:
    for tried, failed in kept.answers:
        found = await _look(store, tried, failed, provider, clock, dry_run=dry_run)
        yield found
        if found.found == "done" and not dry_run:
            await _share(store, kept.copies.get(found.job, ()))


async def _share(store: Store, copies: Sequence[dict[str, Any]]) -> None:
    """Give the picture to the jobs that failed only because this one had none."""
    for copy in copies:
        job = job_of(copy)
        past = store.history.of(job_key(job.id))
        of = store.history.of(job_key(copy["of"]))
        if not past.versions and past.state in _MAY_BECOME_DONE and past.spec == of.bought_spec:
            picture = store.bought_by(job_key(copy["of"]))
            await store.adopt(job, picture, why="same", saved_usd=load_prices({}).attempt_usd(job))


async def _look(
    store: Store, tried: dict[str, Any], failed: dict[str, Any], provider: Provider, clock: Clock, *, dry_run: bool
) -> Reread:
    ticket, received = store.rejected_answer(tried)
    if received is None:
        return _row(failed, "unreadable", "its files in rejected/ are gone or damaged")
    try:
        answer = provider.interpret(received)
        against = _what_stands_against(store.history.of(job_key(ticket.job.id)), ticket)
        if against is not None:
            return _row(failed, "aside", against)
        if dry_run:
            return _row(failed, "done", "it holds a picture, or an address of one")
        return await _keep(store, ticket, answer, failed, provider, clock)
    except AttemptError as error:
        ticket.spool.discard()
        return _row(failed, "nothing", f"{error.code}: {error.message}")


async def _keep(
    store: Store, ticket: Ticket, answer: Answer, failed: dict[str, Any], provider: Provider, clock: Clock
) -> Reread:
    answer = await delivered(answer, provider, ticket.spool, clock)
    # What was taken for free, and holds a picture, was not.
    price = load_prices({}).attempt_usd(ticket.terms.of(ticket.job), ticket.terms.lane)
    usd = 0.0 if failed["paid"] == "yes" else price
    done = await store.keep_reread(ticket, answer, failed, usd=usd)
    return _row(failed, "done", "its picture is kept", tuple(image.path for image in done.images))


def _what_stands_against(past: JobHistory, ticket: Ticket) -> str | None:
    """Why the job does not get the picture, or None."""
    if past.versions:
        return "the job has a picture by now"
    if past.spec != ticket.job.spec_hash():
        return "the job asks for something else by now"
    return None if past.state in _MAY_BECOME_DONE else "the job is being sent"


def _row(failed: dict[str, Any], found: str, message: str, images: tuple[str, ...] = ()) -> Reread:
    return Reread(
        job=failed["job"], attempt=failed["att"], code=failed["code"], found=found, message=message, images=images
    )
