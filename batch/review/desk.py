"""The album that open pages look at, and the decisions they send. Called in several threads, one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from batch.album import Entry, open_album
from batch.core.clock import Clock, timestamp
from batch.core.decisions import Decision
from batch.core.errors import LedgerError
from batch.review.wire import RefusedError, Word
from batch.store.decisions import DecisionFile
from batch.store.live_status import RunProgress, read_progress


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What is new since the last look. `replaced`: the output is another one now, and pages are to be loaded anew."""

    entries: tuple[Entry, ...] = ()
    progress: RunProgress | None = None
    replaced: bool = False


class Desk:
    """One output under review. `by` names the reviewer in the decisions."""

    def __init__(self, output: Path, clock: Clock, by: str = "") -> None:
        self.output = output
        self._by = by
        self._clock = clock
        self._lock = Lock()
        self._album = open_album(output)
        self._file = DecisionFile(output)
        #: What pages were told of so far: the decisions, and the jobs that the ledger has said more of since.
        self._told = self._album.decisions
        self._untold: set[str] = set()
        #: The jobs that are other than the pages' files say.
        self._since_built: set[str] = set()

    def decide(self, words: Sequence[Word]) -> None:
        """Write decisions; when this returns they are durable.

        Raises `RefusedError` if one is about a picture that the job has not, and writes none; `StorageError` if they
        cannot be written.
        """
        with self._lock:
            self._untold |= self._album.refresh()
            for word in words:
                self._refuse_stranger(word)
            at = timestamp(self._clock)
            self._file.append(self._decision(word, at) for word in words)

    def look(self) -> News:
        """What a run or a reviewer has added since. Raises `LedgerError` if the ledger is damaged."""
        with self._lock:
            progress = read_progress(self.output)
            try:
                changed = self._album.refresh()
            except LedgerError:
                self._album = open_album(self.output)
                self._told, self._untold, self._since_built = self._album.decisions, set(), set()
                return News(progress=progress, replaced=True)
            decisions = self._album.decisions
            jobs = {*self._untold, *changed, *decisions.jobs_with_others(self._told)}
            self._told, self._untold = decisions, set()
            self._since_built |= jobs
            return News(entries=self._entries(jobs), progress=progress)

    def changed_since_built(self) -> int:
        """How many jobs are other than when the pages' files were written."""
        with self._lock:
            return len(self._since_built)

    def catch_up(self) -> tuple[Entry, ...]:
        """The entries that a page just loaded does not know from its files."""
        with self._lock:
            return self._entries(self._since_built)

    def built(self) -> None:
        """The pages' files are about to be written anew."""
        with self._lock:
            self._since_built = set()

    def picture_path(self, sha256: str) -> Path | None:
        """Where a picture lies, by its hash; None if the output has no such picture."""
        with self._lock:
            path = self._album.picture_path(sha256)
        return None if path is None else self.output / path

    def _entries(self, jobs: set[str]) -> tuple[Entry, ...]:
        entries = (self._album.entry(job) for job in jobs if job in self._album)
        return tuple(sorted(entries, key=lambda entry: entry.position))

    def _refuse_stranger(self, word: Word) -> None:
        if word.job not in self._album:
            raise RefusedError(f"there is no job {word.job}; load the page anew")
        versions = self._album.entry(word.job).versions
        if not any(picture.sha256 == word.sha256 for version in versions for picture in version.pictures):
            raise RefusedError(f"{word.job} has no such picture; load the page anew")

    def _decision(self, word: Word, at: str) -> Decision:
        return Decision(
            at=at,
            job=word.job,
            sha256=word.sha256,
            verdict=word.verdict,
            by=self._by,
            reasons=word.reasons,
            note=word.note,
        )
