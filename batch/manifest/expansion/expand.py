"""Entries and rows become jobs, one by one.

Without a table every entry makes its job once. With a table every row fills every entry. Nothing is kept of a
job but eight bytes to find out whether an id comes twice, so a million rows need megabytes, not gigabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from batch.core.errors import InputError, Problem
from batch.core.model import Job, Place
from batch.manifest.expansion.entries import Entry, Text
from batch.manifest.expansion.job_builder import JobBuilder
from batch.manifest.expansion.kept_columns import KeptColumns
from batch.manifest.expansion.matrix import Matrix
from batch.manifest.expansion.parameters import ModelCapabilities
from batch.manifest.expansion.products import RowGroups
from batch.manifest.expansion.repeated_keys import RepeatedKeys, beginning
from batch.manifest.expansion.row_job import RowJob, TableRow
from batch.manifest.expansion.row_selection import RowSelection, RowSelector
from batch.manifest.ids import id_key
from batch.manifest.problems import Problems, Report, show
from batch.manifest.references.references import NamedReferences, References
from batch.manifest.tables.table_reader import Row
from batch.manifest.tables.table_set import TableSet
from batch.manifest.templating.templates import Columns, Condition, RowProblem, TemplateProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """Everything needed to go through the jobs of one manifest, as often as wanted."""

    file: str
    entries: tuple[Entry, ...]
    capabilities: ModelCapabilities
    references: References
    tables: TableSet | None
    choice: RowSelection
    groups: RowGroups
    matrix: Matrix | None
    allow_empty: bool
    kept: KeptColumns
    starts: Starts

    @property
    def has_chains(self) -> bool:
        """Whether any entry goes on with another job's picture."""
        return any(entry.continue_from is not None for entry in self.entries)

    def check(self, mark: Mark | None = None) -> Iterator[RowJob]:
        """Every good job; when all are seen, InputError with everything that is wrong."""
        problems = Problems(self.file)
        seen, products, names = RepeatedKeys(), RepeatedKeys(), RepeatedKeys()
        chains: dict[str, Job] = {}
        for pair in self._expand(problems.add, mark, lambda key, _: products.add(key)):
            seen.add(id_key(pair.job.id))
            if pair.job.name:
                names.add(id_key(pair.job.name))
            if pair.job.continue_from:
                chains[pair.job.id] = pair.job
                pair = RowJob(pair.row, self.starts.known(pair.job))
            yield pair
        self._report_chains(chains, problems)
        scattered, more = products.repeated()
        if scattered:
            self._report_scattered(scattered, problems)
        else:
            doubled, more = seen.repeated()
            self._report_doubled(doubled, problems)
            if not doubled:
                doubled, more = names.repeated()
                self._report_named_alike(doubled, problems)
        problems.add_more(more)
        problems.raise_if_any()

    def jobs(self) -> Iterator[RowJob]:
        """The jobs again, in the same order. A problem (a file changed since the check) stops at once."""
        if not self.has_chains:
            return self._expand(_changed_meanwhile)
        return (RowJob(row, self.starts.known(job)) for row, job in self._expand(_changed_meanwhile))

    def by_name_alone(self) -> Expansion:
        """The same, for a pass that needs the jobs' names and prompts only: no reference is looked at.

        Unless jobs are named after their references, so that these must be found.
        """
        if any(entry.id is None for entry in self.entries):
            return self
        return replace(self, references=NamedReferences())

    def whatever_is_right(self, report: Report) -> Iterator[RowJob]:
        """Every good job; `report` hears of what is wrong with the others."""
        return self._expand(report)

    def wanted_addresses(self) -> Iterator[str]:
        """The web addresses of the pictures that jobs need, one after the other and some more than once.

        Only before anything is fetched; nothing that is wrong is told. Rows that are wrong count too, so that one
        report tells all that is wrong with them.
        """
        self.references.take_wanted()
        for _ in self._expand(_ignore):
            yield from self.references.take_wanted()
        yield from self.references.take_wanted()

    def _expand(
        self, report: Report, mark: Mark | None = None, on_product: Callable[[bytes, int], None] | None = None
    ) -> Iterator[RowJob]:
        if self.tables is None:
            return self._expand_entries(report, mark)
        return self._expand_rows(self.tables, report, mark, on_product)

    def _expand_entries(self, report: Report, mark: Mark | None) -> Iterator[RowJob]:
        for maker in self._makers(None, report, mark):
            place = Place(file=self.file, line=maker.entry.at.line)
            for job in maker.jobs((), place, report):
                yield RowJob(None, job)

    def _expand_rows(
        self, tables: TableSet, report: Report, mark: Mark | None, on_product: Callable[[bytes, int], None] | None
    ) -> Iterator[RowJob]:
        try:
            reader = tables.read()
        except InputError as error:
            report(error.problems[0])
            return
        with reader:
            reader.may_be_empty = self.allow_empty
            if not reader.read_header(report):
                return
            columns = Columns(reader.columns, gaps=reader.has_gaps)
            self._report_hidden(columns, report)
            self._report_not_kept(columns, report)
            names = Columns(reader.columns, gaps=reader.has_gaps, grouped=self.groups.group is not None)
            makers = list(self._makers(names, report, mark))
            picker = RowSelector(
                choice=self.choice,
                columns=columns,
                manifest=self.file,
                tables=tables,
                report=report,
                prompt_columns=frozenset().union(*(maker.prompt_columns for maker in makers)),
                other_columns=frozenset().union(*(maker.other_columns for maker in makers)),
                groups=self.groups,
                id_column=next((maker.first_id_column for maker in makers), None),
                on_product=on_product,
            )
            for position, row in picker.pick(reader.rows(report)):
                place = tables.place(position)
                source = TableRow(columns.names, row)
                for maker in makers:
                    for job in maker.jobs(row, place, report):
                        yield RowJob(source, job)

    def _makers(
        self, columns: Columns | None, report: Report, mark: Mark | None
    ) -> Iterator[JobBuilder | _FlaggingBuilder]:
        """The entries, ready to be filled; what is wrong with one is said once, not for every row."""
        for entry in self.entries:
            names = self._names(columns, entry)
            maker = JobBuilder(entry, names, self.capabilities, self.references)
            for text, message in maker.problems:
                report(self._at(text, message, entry))
            yield maker if mark is None else _FlaggingBuilder(maker, mark, names or Columns(()), self.file)

    def _names(self, columns: Columns | None, entry: Entry) -> Columns | None:
        """What the entry's templates can use."""
        if self.matrix is None:
            return columns
        names, gaps = ((), False) if columns is None else (columns.names, columns.gaps)
        return Columns(
            names,
            gaps=gaps,
            constants=entry.variant.values,
            fields=self.matrix.fields,
            grouped=self.groups.group is not None,
        )

    def _report_hidden(self, columns: Columns, report: Report) -> None:
        if self.matrix is not None:
            for name in columns.hidden(self.matrix.names):
                message = f'the table has a column "{show(name)}" too; rename it in the matrix'
                report(self._at(Text(name, self.matrix.places[name]), message))

    def _report_not_kept(self, columns: Columns, report: Report) -> None:
        for text in self.kept.wanted or ():
            wrong = self.kept.problem(text, columns.names)
            if wrong is not None:
                report(self._at(text, wrong))

    def _at(self, text: Text, message: str, entry: Entry | None = None) -> Problem:
        given = None if entry is None or entry.id is None or entry.id.varies else show(entry.id.text)
        return Problem(message=message, file=self.file, line=text.at.line, column=text.at.column, job=given)

    def _report_chains(self, chains: Mapping[str, Job], problems: Problems) -> None:
        """Chains that lead nowhere, or in a circle: their jobs could never be sent."""
        wanted = {job.continue_from for job in chains.values()} - chains.keys()
        missing = wanted - {job.id for _, job in (self._expand(_ignore) if wanted else ()) if job.id in wanted}
        for job in chains.values():
            wrong = _chain_problem(job, chains, missing)
            if wrong is not None and job.place is not None:
                problems.add(Problem(message=wrong, file=job.place.file, line=job.place.line, job=show(job.id)))

    def _report_doubled(self, doubled: set[bytes], problems: Problems) -> None:
        """Go through the jobs once more to name both places of every id that came twice."""
        if not doubled:
            return
        first: dict[bytes, Job] = {}
        said: set[tuple[Place | None, Place]] = set()
        for _, job in self._expand(_ignore):
            key = id_key(job.id)
            if beginning(key) not in doubled or job.place is None:
                continue
            other = first.setdefault(key, job)
            # The samples of two jobs with one id meet one by one; saying it once is enough.
            if other is not job and (other.place, job.place) not in said:
                said.add((other.place, job.place))
                problems.add(self._doubled(other, job, job.place))

    def _report_named_alike(self, doubled: set[bytes], problems: Problems) -> None:
        """Go through the jobs once more to name every picture that would get another one's name."""
        first: dict[bytes, Job] = {}
        for _, job in self._expand(_ignore) if doubled else ():
            key = id_key(job.name)
            other = first.setdefault(key, job) if job.name and beginning(key) in doubled else job
            if other is not job and job.place is not None:
                message = f"its picture would be called {show(job.name)}, as that of {show(other.id)} ({other.place}); "
                message += "use one more column in names, or {{ id }}"
                problems.add(Problem(message=message, file=job.place.file, line=job.place.line, job=job.id))

    def _report_scattered(self, scattered: set[bytes], problems: Problems) -> None:
        """Go through the rows once more to name both places of every product whose rows do not follow each other."""
        first: dict[bytes, int] = {}
        name = self.groups.words

        def began(key: bytes, position: int) -> None:
            other = first.setdefault(key, position) if beginning(key) in scattered else position
            if other != position and self.tables is not None:
                place, before = self.tables.place(position), self.tables.place(other)
                where = f"line {before.line}" if before.file == place.file else str(before)
                message = f"this row belongs with {where}, and rows of others stand between; {name} needs the "
                message += "rows of a product one after the other: sort the table by that column"
                problems.add(Problem(message=message, file=place.file, line=place.line))

        for _ in self._expand(_ignore, on_product=began):
            pass

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
        if self.tables is not None and where != "the same line":
            if self.choice.unique is None:
                message += ", or name a column in unique to take one row of each kind"
            else:
                message = message.replace("give different ids", "use one more column in the id")
        return Problem(message=message, file=place.file, line=place.line, job=second.id)


class Starts:
    """Which pictures jobs go on with, as far as they are there; `known` is set once an output folder is known."""

    def __init__(self) -> None:
        self.known: Callable[[Job], Job] = lambda job: job


def _chain_problem(job: Job, chains: Mapping[str, Job], missing: Set[str]) -> str | None:
    if job.continue_from == job.id:
        return "continue_from names the job itself; name another one"
    if job.continue_from in missing:
        return f"continue_from: no job is called {show(job.continue_from)}"
    passed, each = [job.id], chains.get(job.continue_from)
    while each is not None:
        if each.id == job.id:
            return f"continue_from goes in a circle: {' from '.join(map(show, [*passed, job.id]))}"
        if each.id in passed:
            return None  # a circle that this job only leads to is told of its own jobs
        passed.append(each.id)
        each = chains.get(each.continue_from)
    return None


@dataclass(frozen=True, slots=True)
class Mark:
    """A user's condition for this time, and where the answers go: a byte for each job, 1 if it holds."""

    where: str
    chosen: bytearray


class _FlaggingBuilder:
    """A maker of jobs that also says of each whether the user's condition holds for its row and variant."""

    def __init__(self, maker: JobBuilder, mark: Mark, names: Columns, file: str) -> None:
        try:
            self._condition = Condition(mark.where, names)
        except TemplateProblem as problem:
            raise InputError([Problem(message=f"--where: {problem}", file=file)]) from problem
        self.entry = maker.entry
        self.prompt_columns, self.other_columns = maker.prompt_columns, maker.other_columns
        self.first_id_column = maker.first_id_column
        self._maker = maker
        self._chosen = mark.chosen
        self._said: set[str] = set()

    def jobs(self, row: Row, place: Place, report: Report) -> Sequence[Job]:
        """The maker's jobs, marked."""
        jobs = self._maker.jobs(row, place, report)
        if jobs:
            self._chosen += bytes([self._holds(row, place, report)]) * len(jobs)
        return jobs

    def _holds(self, row: Row, place: Place, report: Report) -> bool:
        try:
            return self._condition.holds(row)
        except TemplateProblem as problem:
            if isinstance(problem, RowProblem) or str(problem) not in self._said:
                self._said.add(str(problem))
                report(Problem(message=f"--where: {problem}", file=place.file, line=place.line))
            return False


def _changed_meanwhile(problem: Problem) -> None:
    """Everything was right when it was checked."""
    words = f"{problem.message} (not so when it was checked: leave the file alone while a run is on, and run again)"
    raise InputError([replace(problem, message=words)])


def _ignore(_: Problem) -> None:
    """For a pass whose problems are known already."""
