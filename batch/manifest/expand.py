"""Entries and rows become jobs, one by one.

Without a table every entry makes its job once. With a table every row fills every entry. Nothing is kept of a
job but eight bytes to find out whether an id comes twice, so a million rows need megabytes, not gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import iter_unpack
from typing import Final

from batch.errors import InputError, Problem
from batch.manifest.entries import Entry, Text
from batch.manifest.ids import id_key
from batch.manifest.making import JobMaker
from batch.manifest.matrix import Matrix
from batch.manifest.parameters import Offer
from batch.manifest.picking import Choice, Picker
from batch.manifest.problems import Problems, Report, show
from batch.manifest.references import References
from batch.manifest.rows import Table
from batch.manifest.templates import Columns
from batch.model import Job, Place

#: Ids whose double use is looked up and named; the rest is counted.
_NAMED_DUPLICATES: Final = 1000
#: So much of a key is kept to find out whether it comes twice.
_BEGINNING_BYTES: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """Everything needed to go through the jobs of one manifest, as often as wanted."""

    file: str
    entries: tuple[Entry, ...]
    offer: Offer
    references: References
    table: Table | None
    choice: Choice
    matrix: Matrix | None

    def check(self) -> Iterator[Job]:
        """Every good job; when all are seen, InputError with everything that is wrong."""
        problems = Problems(self.file)
        seen = _Keys()
        for job in self._expand(problems.add):
            seen.add(id_key(job.id))
            yield job
        doubled, more = seen.doubled()
        if doubled:
            self._report_doubled(doubled, problems)
            problems.add_more(more)
        problems.raise_if_any()

    def jobs(self) -> Iterator[Job]:
        """The jobs again, in the same order. A problem (a file changed since the check) stops at once."""
        return self._expand(_raise)

    def _expand(self, report: Report) -> Iterator[Job]:
        return self._expand_entries(report) if self.table is None else self._expand_rows(self.table, report)

    def _expand_entries(self, report: Report) -> Iterator[Job]:
        for maker in self._makers(None, report):
            place = Place(file=self.file, line=maker.entry.at.line)
            yield from maker.jobs((), place, report)

    def _expand_rows(self, table: Table, report: Report) -> Iterator[Job]:
        try:
            reader = table.read()
        except InputError as error:
            report(error.problems[0])
            return
        with reader:
            if not reader.read_header(report):
                return
            columns = Columns(reader.columns, gaps=reader.has_gaps)
            self._report_hidden(columns, report)
            makers = list(self._makers(columns, report))
            picker = Picker(self.choice, columns, self.file, table.shown, report)
            for line, row in picker.pick(reader.rows(report)):
                place = Place(file=table.shown, line=line)
                for maker in makers:
                    yield from maker.jobs(row, place, report)

    def _makers(self, columns: Columns | None, report: Report) -> Iterator[JobMaker]:
        """The entries, ready to be filled; what is wrong with one is said once, not for every row."""
        for entry in self.entries:
            maker = JobMaker(entry, self._names(columns, entry), self.offer, self.references)
            for text, message in maker.problems:
                report(self._at(text, message, entry))
            yield maker

    def _names(self, columns: Columns | None, entry: Entry) -> Columns | None:
        """What the entry's templates can use."""
        if self.matrix is None:
            return columns
        names, gaps = ((), False) if columns is None else (columns.names, columns.gaps)
        return Columns(names, gaps=gaps, constants=entry.variant.values, fields=self.matrix.fields)

    def _report_hidden(self, columns: Columns, report: Report) -> None:
        if self.matrix is not None:
            for name in columns.hidden(self.matrix.names):
                message = f'the table has a column "{show(name)}" too; rename it in the matrix'
                report(self._at(Text(name, self.matrix.places[name]), message))

    def _at(self, text: Text, message: str, entry: Entry | None = None) -> Problem:
        given = None if entry is None or entry.id is None or entry.id.varies else show(entry.id.text)
        return Problem(message=message, file=self.file, line=text.at.line, column=text.at.column, job=given)

    def _report_doubled(self, doubled: set[bytes], problems: Problems) -> None:
        """Go through the jobs once more to name both places of every id that came twice."""
        first: dict[bytes, Job] = {}
        said: set[tuple[Place | None, Place]] = set()
        for job in self._expand(_ignore):
            key = id_key(job.id)
            if key[:_BEGINNING_BYTES] not in doubled or job.place is None:
                continue
            other = first.setdefault(key, job)
            # The samples of two jobs with one id meet one by one; saying it once is enough.
            if other is not job and (other.place, job.place) not in said:
                said.add((other.place, job.place))
                problems.add(self._doubled(other, job, job.place))

    def _doubled(self, first: Job, second: Job, place: Place) -> Problem:
        where = str(first.place)
        if first.place is not None and first.place.file == place.file:
            where = "the same line" if first.place.line == place.line else f"line {first.place.line}"
        if first.spec_hash() == second.spec_hash():
            message = f"same prompt and parameters as {where}; give different ids, or use samples"
        elif first.id == second.id:
            message = f"this id is also used on {where}; give different ids"
        else:
            message = f"this id and {show(first.id)} on {where} differ in case only; give different ids"
        if self.table is not None and self.choice.unique is None:
            message += ", or name a column in unique to take the first row of each kind"
        return Problem(message=message, file=place.file, line=place.line, job=second.id)


class _Keys:
    """Which keys came twice, for 8 bytes a key: their beginnings, kept unsorted in 256 heaps, compared at the end.

    Should two different keys begin alike, which will not happen in a lifetime, then no id is found to come twice later.
    """

    def __init__(self) -> None:
        self._heaps = [bytearray() for _ in range(256)]

    def add(self, key: bytes) -> None:
        self._heaps[key[0]] += key[1:_BEGINNING_BYTES]

    def doubled(self) -> tuple[set[bytes], int]:
        """The beginnings of some of the keys that came twice, and how many more there are."""
        more = 0
        found: set[bytes] = set()
        for first, heap in enumerate(self._heaps):
            for beginning in _repeated(heap):
                key = bytes([first]) + beginning
                if len(found) < _NAMED_DUPLICATES:
                    found.add(key)
                else:
                    more += key not in found
        return found, more


def _repeated(heap: bytearray) -> Iterator[bytes]:
    """Every 8 bytes that were there before."""
    with memoryview(heap) as whole, whole.cast("Q") as numbers:
        if len(set(numbers)) == len(numbers):  # as nearly always, and quickly found out
            return
    seen: set[bytes] = set()
    for (beginning,) in iter_unpack("8s", heap):
        if beginning in seen:
            yield beginning
        seen.add(beginning)


def _raise(problem: Problem) -> None:
    raise InputError([problem])


def _ignore(_: Problem) -> None:
    """For a pass whose problems are known already."""
