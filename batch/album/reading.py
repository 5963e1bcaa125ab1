"""An output folder, read into entries: one pass over its ledger, then each job's lines by their offsets.

A million jobs cost a few hundred bytes each; entries are made one at a time. A run may be on: what it has written by
the time of reading is what is seen.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from batch.album.building import EntryBuilder, Place
from batch.album.entry import Entry
from batch.core.decisions import Decisions
from batch.core.errors import LedgerError
from batch.core.model import job_key
from batch.store.contracts import Tail
from batch.store.decisions import DecisionFile
from batch.store.history import History
from batch.store.ledger import Line, read_ledger
from batch.store.ledger_reader import LedgerReader, open_ledger, require_ledger
from batch.store.listing import Listing
from batch.store.places import log_of, shelf_of
from batch.store.records import JobRecord, RunRecord
from batch.store.rehearsal import Rehearsals, holds_bought

_NONE: Final = -1


class Album:
    """The jobs of one output folder, in the manifest's order. Made by `open_album`; `refresh` reads on."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.decisions = Decisions()
        self._history = History(shelf_of(output))
        self._lines = _JobLines()
        self._last_run = _NONE
        self._listing = Listing(output)
        self._order: list[str] = []
        self._positions: dict[str, int] = {}
        self._is_of_rehearsal = Rehearsals()
        self._bought_only = holds_bought(output)
        self._read_bytes = 0
        self._paths: dict[str, str] | None = None
        self.refresh()

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._positions

    def __iter__(self) -> Iterator[Entry]:
        """Every job's entry, in order. Raises `LedgerError` if the ledger is damaged."""
        return self.entries(0, len(self._order))

    @property
    def name(self) -> str:
        """What people call the output: its folder's name."""
        return self.output.resolve().name

    @property
    def simulated(self) -> bool:
        """Whether its pictures are the simulator's, and its money what they would have cost."""
        return self._history.simulated

    def last_run(self) -> RunRecord | None:
        """What the newest run said when it began; None in a ledger without one."""
        if self._history.run_offset < 0:
            return None
        with closing(open_ledger(self.output)) as ledger:
            record = ledger.at(self._history.run_offset)
        return record if isinstance(record, RunRecord) else None

    @property
    def history(self) -> History:
        """What the ledger says of every job, in numbers."""
        return self._history

    @property
    def manifest(self) -> str:
        """The manifest of the last run, as its path was given; empty if the ledger names none."""
        if self._last_run == _NONE:
            return ""
        with closing(open_ledger(self.output)) as ledger:
            record = ledger.at(self._last_run)
        return record.manifest if isinstance(record, RunRecord) else ""

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The output folder, as the only one."""
        return (self.output,)

    @property
    def ids(self) -> tuple[str, ...]:
        """Every job's id, in order."""
        return tuple(self._order)

    def entries(self, first: int, last: int) -> Iterator[Entry]:
        """The entries from one position up to, not with, another. Raises `LedgerError` if the ledger is damaged."""
        with closing(open_ledger(self.output)) as ledger:
            builder = self._builder()
            for position in range(first, min(last, len(self._order))):
                yield self._entry(builder, ledger, self._order[position])

    def entry(self, job_id: str) -> Entry:
        """One job's entry. Raises `KeyError` if the ledger has no such job."""
        if job_id not in self._positions:
            raise KeyError(job_id)
        with closing(open_ledger(self.output)) as ledger:
            return self._entry(self._builder(), ledger, job_id)

    def picture_path(self, sha256: str) -> str | None:
        """The path of a picture by its hash, relative to the output; None if there is none.

        The first call reads the ledger once more.
        """
        if self._paths is None:
            self._paths = {}
            with closing(log_of(self.output)) as log:
                for found in read_ledger(log):
                    if not isinstance(found, Tail):
                        self._note_pictures(found[1])
        return self._paths.get(sha256)

    def file_of(self, path: str) -> Path:
        """Where a picture lies, by its path in the entries."""
        return self.output / path

    def keepers_of(self, job_id: str, sha256: str) -> tuple[Path, ...]:
        """The outputs whose job has this picture, and whose decisions it belongs to: this one, or none."""
        if job_id not in self:
            return ()
        versions = self.entry(job_id).versions
        has_it = any(picture.sha256 == sha256 for version in versions for picture in version.pictures)
        return (self.output,) if has_it else ()

    def refresh(self) -> frozenset[str]:
        """Read what was written since, and the decisions; the ids of jobs the ledger says something new of.

        New jobs come last. A ledger that got shorter is another one, of which `LedgerError` is raised: open it anew.
        """
        self.decisions = DecisionFile(self.output).read()
        changed = self._read_ledger()
        self._listing.update()
        known = (job for job in self._listing if job in self._lines)
        for job in (*known, *changed) if changed else ():
            if job not in self._positions:
                self._positions[job] = len(self._order)
                self._order.append(job)
        return frozenset(changed)

    def _note_pictures(self, line: Line) -> None:
        if self._paths is not None:
            self._paths.update((image.sha256, image.path) for image in line.images or ())

    def _builder(self) -> EntryBuilder:
        return EntryBuilder(
            output=str(self.output),
            simulated=self.simulated,
            decisions=self.decisions,
            state_of=shelf_of(self.output).state,
        )

    def _entry(self, builder: EntryBuilder, ledger: LedgerReader, job: str) -> Entry:
        place = Place(
            position=self._positions[job],
            row=self._listing.row(job),
            listed=not self._listing or job in self._listing,
        )
        return builder.build(_records(ledger, self._lines.of(job)), self._history.of(job_key(job)), place)

    def _read_ledger(self) -> dict[str, None]:
        """Reads on; the jobs of the lines, in the order they come."""
        changed: dict[str, None] = {}
        with closing(log_of(self.output)) as log:
            if log.size_bytes < self._read_bytes:
                raise LedgerError(f"{log.name} was replaced by a shorter one")
            for found in read_ledger(log, self._read_bytes):
                if isinstance(found, Tail):
                    self._read_bytes = found.good_bytes
                elif self._bought_only and self._is_of_rehearsal(found[1]):
                    self._history.pass_over(found[1])
                else:
                    if found[1].t == "run":
                        self._last_run = found[0]
                    self._history.apply(*found)
                    self._lines.add(*found)
                    self._note_pictures(found[1])
                    if found[1].job:
                        changed[found[1].job] = None
        return changed


class _JobLines:
    """Where the lines about each job stand in the ledger: a chain per job, from its last line backwards."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._offsets = array("Q")
        self._before = array("q")

    def __contains__(self, job: str) -> bool:
        return job in self._last

    def __iter__(self) -> Iterator[str]:
        return iter(self._last)

    def add(self, offset: int, line: Line) -> None:
        if not line.job:
            return
        self._before.append(self._last.get(line.job, _NONE))
        self._last[line.job] = len(self._offsets)
        self._offsets.append(offset)

    def of(self, job: str) -> list[int]:
        """The offsets of a job's lines, oldest first."""
        offsets = []
        index = self._last[job]
        while index != _NONE:
            offsets.append(self._offsets[index])
            index = self._before[index]
        return offsets[::-1]


def open_album(output: Path) -> Album:
    """Read an output folder. Raises `OutputError` if it holds no ledger, `LedgerError` if that is damaged."""
    require_ledger(output)
    return Album(output)


def _records(ledger: LedgerReader, offsets: list[int]) -> Iterator[tuple[int, JobRecord]]:
    for offset in offsets:
        record = ledger.at(offset)
        if isinstance(record, JobRecord):
            yield offset, record
