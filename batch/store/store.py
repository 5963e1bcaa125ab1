"""The store: the only code that writes results.

An attempt's way through it is `begin` (intent durable, spool open) → the provider fills and seals the spool →
`keep` (pictures checked, synced, named; then the `done` line) or `reject` / `fail` / `unknown`. Only when one of
these returns is the attempt recorded, and only then may its slot be given to another request.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from batch.core.clock import Clock, timestamp
from batch.core.errors import AttemptError, StorageError
from batch.core.model import AttemptFacts, Done, Image, Job, Terms, job_key
from batch.core.own_files import open_to_read, sync_folder
from batch.core.picture_warnings import WarningKind, warning
from batch.core.results import Decided
from batch.providers.base import Answer, Blob, Picture, Received
from batch.store.commit import Committer
from batch.store.contracts import Log, Shelf
from batch.store.disk_reserve import DiskReserve
from batch.store.durable import claim_name, set_aside, storage_errors, sync_file
from batch.store.history import History
from batch.store.job_state import JobHistory, State, UnsettledTry
from batch.store.ledger_reader import record_of
from batch.store.pictures import adopt_picture, store_pictures
from batch.store.places import shelf_of
from batch.store.published import PublishedManifest
from batch.store.records import (
    DoneRecord,
    EndRecord,
    FailRecord,
    Giver,
    JobRecord,
    Record,
    RereadRecord,
    RunRecord,
    TryRecord,
    UnknownRecord,
    Unsuccessful,
    adopt_record,
    copy_record,
    done_record,
    fail_record,
    job_of,
    reread_record,
    resolve_record,
    terms_of,
    try_record,
    unknown_record,
)
from batch.store.signatures import keep_signature
from batch.store.source_folder import StoredPicture, bought_picture
from batch.store.spool import AttemptSpool, SpareFiles, attempt_stem, sweep

#: Checking and syncing a picture releases Python's lock, so a few threads use both cores of a small machine.
_PICTURE_THREADS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAttempt:
    """An attempt whose intent is durable: it may be sent. `started` is monotonic seconds."""

    job: Job
    number: int
    terms: Terms
    attempt_id: str
    spool: AttemptSpool
    started: float


class Store:
    """An output, owned and open for one run. Made by `OutputFolder.open`.

    What was sent and bought goes through `log`, pictures through `shelf`. On their way, answers lie in `spool/`, and
    those without a picture in `rejected/`: files of this machine, because they are received and read again in pieces.
    """

    def __init__(
        self,
        output: Path,
        run_id: str,
        clock: Clock,
        log: Log,
        shelf: Shelf,
        history: History,
        disk_reserve: DiskReserve,
        *,
        decode: bool,
        check_content: bool,
    ) -> None:
        self.output = output
        self.history = history
        self.published = PublishedManifest(output, lambda: history.simulated)
        self._decode = decode
        self._check_content = check_content
        #: Pictures that are stored and not yet recorded, by their SHA-256: whose they are.
        self._storing: dict[str, Job] = {}
        self._run = run_id
        self._clock = clock
        self._log = log
        self._shelf = shelf
        self._committer = Committer(log, history)
        self._disk_reserve = disk_reserve
        self._spare_files = SpareFiles(str(output / "spool"))
        #: The first line that could not be written to manifest.jsonl after a decision or a find was recorded.
        self._unpublished: StorageError | None = None
        self._threads = ThreadPoolExecutor(_PICTURE_THREADS, thread_name_prefix="pictures")

    async def begin(self, job: Job, *, why: str, terms: Terms | None = None) -> OpenAttempt:
        """Write down, durably, that this job is about to be sent; without `terms` to the only endpoint there is.

        Raises `StorageError` if the disk is full.
        """
        self._disk_reserve.check()
        terms = terms or Terms(endpoint="", model=job.model)
        number = self.history.of(job.key()).attempts + 1
        attempt_id = f"{self._run}.{job.id}.{number}"
        record = try_record(
            job, number, terms, why=why, attempt_id=attempt_id, run=self._run, at=timestamp(self._clock)
        )
        spool = self._spool(job.id, number)
        spool.reserve()
        await self._committer.commit(record)
        return OpenAttempt(
            job=job,
            terms=terms,
            number=number,
            attempt_id=attempt_id,
            spool=spool,
            started=self._clock.monotonic(),
        )

    async def keep(self, attempt: OpenAttempt, answer: Answer, facts: AttemptFacts) -> Done:
        """Store the pictures and record the job as done. Raises `Unusable` if there is no whole picture."""

        def record(images: tuple[Image, ...], warnings: tuple[str, ...], signature: str) -> DoneRecord:
            at = timestamp(self._clock)
            return done_record(
                attempt.job,
                facts,
                images,
                caption=answer.caption,
                warnings=warnings,
                grounding=answer.grounding,
                signature=signature,
                run=self._run,
                at=at,
            )

        return await self._keep(attempt, answer, facts, record)

    async def _keep(
        self,
        attempt: OpenAttempt,
        answer: Answer,
        facts: AttemptFacts,
        record: Callable[[tuple[Image, ...], tuple[str, ...], str], DoneRecord | RereadRecord],
    ) -> Done:
        """Store the pictures, then the record that is made of them and the warnings about them."""
        job = attempt.job
        version = self.history.of(job.key()).versions
        images, oddities = await asyncio.get_running_loop().run_in_executor(
            self._threads, self._store_pictures, attempt, answer, version
        )
        signature = ""
        if answer.signature is not None:
            signature = await asyncio.get_running_loop().run_in_executor(
                self._threads, keep_signature, self.output, images[-1], answer.signature
            )
        warnings = (*answer.warnings, *oddities, *self._same_as_another(job, images[-1]))
        with self._is_storing(job, images[-1]):
            await self._committer.commit(
                record(images, warnings, signature), before=(self._shelf.sync,), after=attempt.spool.discard
            )
        return Done(job=job, attempt=facts, images=images, caption=answer.caption, warnings=warnings)

    def _same_as_another(self, job: Job, image: Image) -> Iterator[str]:
        """A warning if a job that asked for something else got the same bytes."""
        if not self._suspects:
            return
        row = self.history.same_picture(image.sha256, job.key(), job.spec())
        if row is not None:
            other = self.bought(row).job_id
        elif (storing := self._storing.get(image.sha256)) is not None and storing.spec() != job.spec():
            other = storing.id
        else:
            return
        yield warning(WarningKind.SAME_AS_ANOTHER, f"the same bytes as the picture of {other}")

    @contextmanager
    def _is_storing(self, job: Job, image: Image) -> Iterator[None]:
        first = self._storing.setdefault(image.sha256, job)
        try:
            yield
        finally:
            if first is job:
                del self._storing[image.sha256]

    @property
    def _suspects(self) -> bool:
        """Whether pictures are checked for content. The simulator's may be flat and alike."""
        return self._check_content and not self.history.simulated

    async def reject(self, attempt: OpenAttempt, error: AttemptError, facts: AttemptFacts, *, again: bool) -> None:
        """Record an attempt that ended without a picture; what was received stays in rejected/."""
        kept = await asyncio.get_running_loop().run_in_executor(self._threads, self._set_aside, attempt)
        record = fail_record(
            attempt.job, facts, error, again=again, kept=kept, run=self._run, at=timestamp(self._clock)
        )
        before = (self._sync_rejected,) if kept else ()
        await self._committer.commit(record, before=before, after=attempt.spool.discard)

    async def unknown(self, attempt: OpenAttempt, error: AttemptError, facts: AttemptFacts) -> None:
        """Record an attempt that was sent and got no usable answer; what came of one stays in rejected/."""
        kept = await asyncio.get_running_loop().run_in_executor(self._threads, self._set_aside, attempt)
        record = unknown_record(attempt.job, facts, error, kept=kept, run=self._run, at=timestamp(self._clock))
        before = (self._sync_rejected,) if kept else ()
        await self._committer.commit(record, before=before, after=attempt.spool.discard)

    async def adopt(self, job: Job, picture: StoredPicture, *, why: str, saved_usd: float = 0.0) -> None:
        """Give the job a picture that was bought before; another would have cost `saved_usd`.

        Raises `BadPicture` if its file is not what was bought.
        """
        past = self.history.of(job.key())
        images = await asyncio.get_running_loop().run_in_executor(
            self._threads,
            lambda: adopt_picture(
                self._shelf,
                job,
                self._shelf if picture.folder == self.output else shelf_of(picture.folder),
                picture.images,
                version=past.versions,
                verify=picture.folder != self.output,
            ),
        )
        giver = Giver(picture.job_id, picture.run)
        if picture.folder != self.output:
            # a run that buys takes nothing else (`SourceFolder`)
            bought = msgspec.UNSET if self.history.simulated else True
            giver = Giver(picture.job_id, picture.run, str(picture.folder), bought)
        record = adopt_record(
            job,
            images,
            attempts=past.attempts,
            why=why,
            giver=giver,
            saved_usd=saved_usd,
            caption=picture.caption,
            warnings=picture.warnings,
            grounding=picture.grounding,
            signature=picture.signature if picture.folder == self.output else "",
            run=self._run,
            at=timestamp(self._clock),
        )
        await self._committer.commit(record, before=(self._shelf.sync,))

    async def share_failure(self, job: Job, other: JobHistory) -> None:
        """Record that the job fails because another one that asks for the same picture did."""
        failed = self._record_at(other.last_offset)
        assert isinstance(failed, Unsuccessful)
        attempts = self.history.of(job.key()).attempts
        record = copy_record(
            job,
            failed,
            attempts=attempts,
            again=other.state is not State.FAILED,
            run=self._run,
            at=timestamp(self._clock),
        )
        await self._committer.commit(record)

    async def resolve(self, job_id: str, decided: Decided, *, maybe_usd: float, note: str) -> None:
        """Record a person's decision on a job whose outcome is unknown; `maybe_usd` is what was open until now."""
        last = self._record_at(self.history.of(job_key(job_id)).last_offset)
        assert isinstance(last, JobRecord)
        record = resolve_record(
            last, decided, maybe_usd=round(maybe_usd, 6), note=note, run=self._run, at=timestamp(self._clock)
        )
        await self._committer.commit(record)
        self._publish(job_key(job_id))

    def rejected_answer(self, tried: TryRecord) -> tuple[OpenAttempt, Received | None]:
        """An attempt whose answer was kept in rejected/, by its `try` record, with that answer if it is whole."""
        job, number = job_of(tried), tried.att
        kept = AttemptSpool(str(self.output / "rejected"), attempt_stem(job.id, number), self._disk_reserve)
        received = kept.load()
        attempt = OpenAttempt(
            job=job,
            terms=terms_of(tried),
            number=number,
            attempt_id=tried.rid,
            spool=self._spool(f"{job.id}~reread", number),
            started=self._clock.monotonic(),
        )
        return attempt, received

    async def keep_reread(
        self, attempt: OpenAttempt, answer: Answer, failed: FailRecord | UnknownRecord, *, usd: float, maybe_usd: float
    ) -> Done:
        """Store the pictures of a kept answer and record its job as done; `failed` is the record it ended with.

        `usd` and `maybe_usd`: see `reread_record`. The answer stays in rejected/. Raises `Unusable` if there is no
        whole picture.
        """
        pictures = await asyncio.get_running_loop().run_in_executor(self._threads, _copies, answer, attempt.spool)
        facts = AttemptFacts(number=attempt.number, seconds=0.0, cost_usd=usd, request_id=None)

        def record(images: tuple[Image, ...], warnings: tuple[str, ...], signature: str) -> RereadRecord:
            return reread_record(
                failed,
                images,
                usd=usd,
                maybe_usd=maybe_usd,
                caption=answer.caption,
                warnings=warnings,
                grounding=answer.grounding,
                signature=signature,
                run=self._run,
                at=timestamp(self._clock),
            )

        done = await self._keep(attempt, replace(answer, pictures=pictures), facts, record)
        self._publish(attempt.job.key())
        return done

    def _publish(self, key: bytes) -> None:
        """What the ledger has stands, and the next run makes manifest.jsonl from it: a failure is told at the end."""
        try:
            self.published.append(self.history.of(key))
        except StorageError as error:
            self._unpublished = self._unpublished or error

    def bought(self, row: int) -> StoredPicture:
        """The picture of a row of this folder's own history."""
        return bought_picture(self.output, self._record_at(self.history.at(row).bought_offset))

    def bought_by(self, key: bytes) -> StoredPicture:
        """The picture of a job that has one."""
        return bought_picture(self.output, self._record_at(self.history.of(key).bought_offset))

    @property
    def ledger_bytes(self) -> int:
        """How long the ledger is; what is recorded from now on stands behind that."""
        return self._log.size_bytes

    async def note(self, record: RunRecord | EndRecord) -> None:
        """Record the run's start or end; its id and the time are put in here."""
        noted = msgspec.structs.replace(record, at=timestamp(self._clock), run=self._run)
        await self._committer.commit(noted)

    async def settle(self) -> None:
        """Wait for what is being written."""
        await self._committer.drain()

    def open_attempts(self) -> list[tuple[OpenAttempt, Received | None]]:
        """Attempts that an earlier run left without an end, with the answer if it had arrived whole."""
        return [self._reopen(attempt) for attempt in self.history.open]

    def sweep_spool(self) -> int:
        """Remove spool files that belong to no open attempt."""
        claimed = {attempt_stem(attempt.job_id, attempt.number) for attempt in self.history.open}
        with storage_errors("clean the spool"):
            return sweep(str(self.output / "spool"), claimed)

    def _reopen(self, unsettled: UnsettledTry) -> tuple[OpenAttempt, Received | None]:
        record = self._record_at(unsettled.try_offset)
        assert isinstance(record, TryRecord)
        spool = self._spool(unsettled.job_id, unsettled.number)
        attempt = OpenAttempt(
            job=job_of(record),
            terms=terms_of(record),
            number=unsettled.number,
            attempt_id=record.rid,
            spool=spool,
            started=self._clock.monotonic(),
        )
        return attempt, spool.load()

    def _record_at(self, offset: int) -> Record:
        return record_of(self._log.line_at(offset), self._log.name)

    def _spool(self, job_id: str, number: int) -> AttemptSpool:
        stem = attempt_stem(job_id, number)
        return AttemptSpool(str(self.output / "spool"), stem, self._disk_reserve, self._spare_files)

    def _store_pictures(
        self, attempt: OpenAttempt, answer: Answer, version: int
    ) -> tuple[tuple[Image, ...], tuple[str, ...]]:
        return store_pictures(
            self._shelf,
            attempt.job,
            answer.pictures,
            attempt.spool,
            version=version,
            decode=self._decode,
            suspect=self._suspects,
            provider=attempt.terms.provider,
        )

    def _set_aside(self, attempt: OpenAttempt) -> list[str]:
        kept = []
        with storage_errors("keep an unusable answer"):
            attempt.spool.trim()
            for file in attempt.spool.files if attempt.spool.sealed else []:
                name = os.path.basename(file)
                sync_file(file)
                _keep_rejected(file, str(self.output / "rejected" / name))
                kept.append(name)
        return kept

    def _sync_rejected(self) -> None:
        with storage_errors("keep an unusable answer"):
            sync_folder(str(self.output / "rejected"))

    async def aclose(self) -> None:
        """Raises `StorageError` for what could not be closed, or not be written to manifest.jsonl."""
        await self._committer.drain()
        self._committer.close()
        self._threads.shutdown(wait=True)
        self._spare_files.close()
        with storage_errors("close manifest.jsonl"):
            self.published.close()
        if self._unpublished is not None:
            raise self._unpublished


def _keep_rejected(file: str, target: str) -> None:
    """An answer kept by an earlier ledger may have the name, if the ledger was moved away: both were paid for."""
    try:
        claim_name(file, target)
    except FileExistsError:
        set_aside(target)
        claim_name(file, target)


def _copies(answer: Answer, spool: AttemptSpool) -> tuple[Picture, ...]:
    """The pictures as files of the spool: those of a kept answer stay where they are."""
    return tuple(
        picture if picture.blob is None else replace(picture, blob=_copy(picture.blob, spool))
        for picture in answer.pictures
    )


def _copy(blob: Blob, spool: AttemptSpool) -> Blob:
    writer = spool.new_blob()
    try:
        with storage_errors("read a kept answer"), open_to_read(blob.file) as source:
            while data := source.read(1 << 20):
                writer.write(data)
    finally:
        writer.close()
    return replace(blob, file=writer.file)
