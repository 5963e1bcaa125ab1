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
from batch.core.model import job_key
from batch.store.contracts import Tail
from batch.store.decisions import DecisionFile
from batch.store.history import History
from batch.store.ledger import Line, read_ledger
from batch.store.ledger_reader import LedgerReader, open_ledger, require_ledger
from batch.store.listing import listed_jobs
from batch.store.places import log_of, shelf_of
from batch.store.records import JobRecord
from batch.store.rehearsal import Rehearsals, holds_bought

_NONE: Final = -1


class Album:
    """The jobs of one output folder, in the manifest's order. Made by `open_album`."""

    def __init__(self, output: Path, decisions: Decisions) -> None:
        self.output = output
        self.decisions = decisions
        self._history = History(shelf_of(output))
        self._lines = _JobLines()
        self._read_ledger()
        self._listed = {listed.id: listed.row for listed in listed_jobs(output)}
        known = (job for job in self._listed if job in self._lines)
        unlisted = (job for job in self._lines if job not in self._listed)
        self._order = [*known, *unlisted]
        self._lists = bool(self._listed)

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Entry]:
        """Every job's entry, in order. Raises `LedgerError` if the ledger is damaged."""
        with closing(open_ledger(self.output)) as ledger:
            builder = self._builder()
            for position, job in enumerate(self._order):
                yield self._entry(builder, ledger, position, job)

    @property
    def simulated(self) -> bool:
        """Whether its pictures are the simulator's, and its money what they would have cost."""
        return self._history.simulated

    @property
    def history(self) -> History:
        """What the ledger says of every job, in numbers."""
        return self._history

    @property
    def ids(self) -> tuple[str, ...]:
        """Every job's id, in order."""
        return tuple(self._order)

    def entries(self, first: int, last: int) -> Iterator[Entry]:
        """The entries from one position up to, not with, another."""
        with closing(open_ledger(self.output)) as ledger:
            builder = self._builder()
            for position in range(first, min(last, len(self._order))):
                yield self._entry(builder, ledger, position, self._order[position])

    def entry(self, job_id: str) -> Entry:
        """One job's entry. Raises `KeyError` if the ledger has no such job."""
        if job_id not in self._lines:
            raise KeyError(job_id)
        with closing(open_ledger(self.output)) as ledger:
            return self._entry(self._builder(), ledger, self._order.index(job_id), job_id)

    def _builder(self) -> EntryBuilder:
        return EntryBuilder(
            output=str(self.output),
            simulated=self.simulated,
            decisions=self.decisions,
            state_of=shelf_of(self.output).state,
        )

    def _entry(self, builder: EntryBuilder, ledger: LedgerReader, position: int, job: str) -> Entry:
        place = Place(position=position, row=self._listed.get(job), listed=not self._lists or job in self._listed)
        return builder.build(_records(ledger, self._lines.of(job)), self._history.of(job_key(job)), place)

    def _read_ledger(self) -> None:
        is_of_rehearsal = Rehearsals()
        bought_only = holds_bought(self.output)
        with closing(log_of(self.output)) as log:
            for found in read_ledger(log):
                if isinstance(found, Tail):
                    continue
                offset, line = found
                if bought_only and is_of_rehearsal(line):
                    self._history.pass_over(line)
                    continue
                self._history.apply(offset, line)
                self._lines.add(offset, line)


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
    return Album(output, DecisionFile(output).read())


def _records(ledger: LedgerReader, offsets: list[int]) -> Iterator[tuple[int, JobRecord]]:
    for offset in offsets:
        record = ledger.at(offset)
        if isinstance(record, JobRecord):
            yield offset, record
