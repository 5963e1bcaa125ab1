"""The album that open pages look at, and the decisions they send. Called in several threads, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from batch.album import AlbumView, Entry
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
    """What is under review: `opened` opens it. `by` names the reviewer in the decisions."""

    def __init__(self, opened: Callable[[], AlbumView], clock: Clock, by: str = "") -> None:
        self._open = opened
        self._by = by
        self._clock = clock
        self._lock = Lock()
        self._album = opened()
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
            at = timestamp(self._clock)
            belonging: dict[Path, list[Decision]] = {}
            for word in words:
                for output in self._keepers_of(word):
                    belonging.setdefault(output, []).append(self._decision(word, at))
            for output, decisions in belonging.items():
                DecisionFile(output).append(decisions)

    def look(self) -> News:
        """What a run or a reviewer has added since. Raises `LedgerError` if the ledger is damaged."""
        with self._lock:
            progress = self._progress()
            try:
                changed = self._album.refresh()
            except LedgerError:
                self._album = self._open()
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
        return None if path is None else self._album.file_of(path)

    def file_of(self, path: str) -> tuple[Path, Path] | None:
        """The output that a picture of this path would lie in, and where; None if there is no such output."""
        try:
            found = self._album.file_of(path)
        except ValueError:
            return None
        output = next((each for each in self._album.outputs if found.is_relative_to(each)), None)
        return None if output is None else (output, found)

    @property
    def name(self) -> str:
        """What is under review."""
        return self._album.name

    def _progress(self) -> RunProgress | None:
        """Of the first output in which a run is on."""
        found = (read_progress(output) for output in self._album.outputs)
        return next((progress for progress in found if progress is not None), None)

    def _entries(self, jobs: set[str]) -> tuple[Entry, ...]:
        entries = (self._album.entry(job) for job in jobs if job in self._album)
        return tuple(sorted(entries, key=lambda entry: entry.position))

    def _keepers_of(self, word: Word) -> tuple[Path, ...]:
        if word.job not in self._album:
            raise RefusedError(f"there is no job {word.job}; load the page anew")
        keepers = self._album.keepers_of(word.job, word.sha256)
        if not keepers:
            raise RefusedError(f"{word.job} has no such picture; load the page anew")
        return keepers

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
