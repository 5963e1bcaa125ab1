"""Entries and rows become jobs, one by one.

Without a table every entry makes its job once. With a table every row fills every entry. Nothing is kept of a
job but sixteen bytes to find out whether an id comes twice, so a million rows need megabytes, not gigabytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from batch.errors import InputError, Problem
from batch.manifest.entries import Entry, Text
from batch.manifest.ids import derived_id, id_key, id_problem, sample_id
from batch.manifest.parameters import Offer, prompt_problem
from batch.manifest.problems import Problems, did_you_mean, show
from batch.manifest.references import ReferenceProblem, References
from batch.manifest.rows import Table
from batch.manifest.templates import Columns, Row, Template, TemplateProblem
from batch.model import Job, Place, Reference

#: Six hex digits tell a manifest's few jobs apart. Rows come by the million with prompts that begin alike,
#: and two of them must not meet by chance.
_DIGITS: Final = 6
_DIGITS_WITH_ROWS: Final = 16

#: Ids whose double use is looked up and named; the rest is counted.
_NAMED_DUPLICATES: Final = 1000

Report = Callable[[Problem], None]
Fill = Callable[[Row], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """Everything needed to go through the jobs of one manifest, as often as wanted."""

    file: str
    entries: tuple[Entry, ...]
    offer: Offer
    references: References
    table: Table | None
    unique: Text | None

    def check(self) -> Iterator[Job]:
        """Every good job; when all are seen, InputError with everything that is wrong."""
        problems = Problems(self.file)
        seen = _Keys()
        for job in self._expand(problems.add):
            seen.add(id_key(job.id))
            yield job
        doubled = seen.doubled()
        if doubled:
            self._report_doubled(doubled, problems)
        problems.raise_if_any()

    def jobs(self) -> Iterator[Job]:
        """The jobs again, in the same order. A problem (a file changed since the check) stops at once."""
        return self._expand(_raise)

    def _expand(self, report: Report) -> Iterator[Job]:
        root_problem = self.references.root_problem()
        if root_problem is not None and any(entry.references for entry in self.entries):
            report(Problem(message=root_problem, file=self.file))
        elif self.table is None:
            yield from self._expand_entries(report)
        else:
            yield from self._expand_rows(self.table, report)

    def _expand_entries(self, report: Report) -> Iterator[Job]:
        for maker in self._makers(None, report):
            place = Place(file=self.file, line=maker.entry.at.line)
            yield from maker.jobs((), place, report)

    def _expand_rows(self, table: Table, report: Report) -> Iterator[Job]:
        count = 0
        try:
            reader = table.read()
        except InputError as error:
            report(error.problems[0])
            return
        with reader:
            if not reader.read_header(report):
                return
            columns = Columns(reader.columns)
            first_of_its_kind = self._first_rows(columns, report)
            makers = list(self._makers(columns, report))
            for line, row in reader.rows(report):
                count += 1
                place = Place(file=table.shown, line=line)
                if first_of_its_kind is None or first_of_its_kind(row, place):
                    for maker in makers:
                        yield from maker.jobs(row, place, report)
        if not count:
            report(
                Problem(message="has no rows; write at least one under the header", file=table.shown, line=1)
            )

    def _makers(self, columns: Columns | None, report: Report) -> Iterator[JobMaker]:
        """The entries, ready to be filled; what is wrong with one is said once, not for every row."""
        for entry in self.entries:
            try:
                yield JobMaker(entry, columns, self.offer, self.references)
            except _BadEntry as bad:
                for text, message in bad.problems:
                    report(self._at(text, message, entry))

    def _first_rows(self, columns: Columns, report: Report) -> Callable[[Row, Place], bool] | None:
        """A question to ask of every row: is it the first with its value in the `unique` column?"""
        if self.unique is None:
            return None
        if self.unique.text not in columns.names:
            hint = did_you_mean(self.unique.text, filter(None, columns.names), "columns")
            report(self._at(self.unique, f'no column "{show(self.unique.text)}"; {hint}'))
            return None
        column = self.unique.text
        index = columns.index_of(column)
        seen: set[bytes] = set()

        def is_first(row: Row, place: Place) -> bool:
            if not row[index].strip():
                message = "is empty; unique needs a value in every row"
                report(Problem(message=message, file=place.file, line=place.line, field=show(column)))
                return False
            key = hashlib.blake2b(row[index].encode("utf-8", "surrogatepass"), digest_size=16).digest()
            before = len(seen)
            seen.add(key)
            return len(seen) > before

        return is_first

    def _at(self, text: Text, message: str, entry: Entry | None = None) -> Problem:
        given = None if entry is None or entry.id is None or entry.id.varies else show(entry.id.text)
        return Problem(message=message, file=self.file, line=text.at.line, column=text.at.column, job=given)

    def _report_doubled(self, doubled: set[bytes], problems: Problems) -> None:
        """Go through the jobs once more to name both places of every id that came twice."""
        first: dict[bytes, Job] = {}
        said: set[tuple[Place | None, Place]] = set()
        for job in self._expand(_ignore):
            key = id_key(job.id)
            if key not in doubled or job.place is None:
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
        if self.table is not None and self.unique is None:
            message += ", or name a column in unique to take the first row of each kind"
        return Problem(message=message, file=place.file, line=place.line, job=second.id)


class _BadEntry(Exception):  # noqa: N818  # never leaves this file
    def __init__(self, problems: list[tuple[Text, str]]) -> None:
        super().__init__()
        self.problems = problems


class _Keys:
    """Which 16-byte keys came twice, for 16 bytes a key: kept unsorted in 256 heaps, compared at the end."""

    def __init__(self) -> None:
        self._heaps = [bytearray() for _ in range(256)]

    def add(self, key: bytes) -> None:
        self._heaps[key[0]] += key

    def doubled(self) -> set[bytes]:
        found: set[bytes] = set()
        for heap in self._heaps:
            seen: set[bytes] = set()
            for start in range(0, len(heap), 16):
                key = bytes(heap[start : start + 16])
                if key in seen and len(found) < _NAMED_DUPLICATES:
                    found.add(key)
                seen.add(key)
        return found


class JobMaker:
    """One entry, ready to be filled from row after row. What cannot vary was checked when it was read."""

    def __init__(self, entry: Entry, columns: Columns | None, offer: Offer, references: References) -> None:
        self.entry = entry
        self._offer = offer
        self._references = references
        self._columns = columns
        self._digits = _DIGITS if columns is None else _DIGITS_WITH_ROWS
        compiler = _Compiler(columns)
        self._id = None if entry.id is None else compiler.fill(entry.id)
        self._prompt = compiler.fill(entry.prompt)
        self._model = compiler.fill(entry.model)
        self._size = compiler.fill(entry.image_size)
        self._ratio = None if entry.aspect_ratio is None else compiler.fill(entry.aspect_ratio)
        self._reference_sources = [self._reference_source(text, compiler) for text in entry.references]
        self._parameters_vary = any(
            text is not None and text.varies for text in (entry.model, entry.image_size, entry.aspect_ratio)
        )
        compiler.raise_if_any()
        self._said: set[str] = set()
        self._prompt_column = compiler.only_column(entry.prompt)

    def jobs(self, row: Row, place: Place, report: Report) -> Sequence[Job]:
        """The jobs of one row (several if samples are asked for); none, and a problem, if it is no good."""
        job_id = ""
        try:
            if self._id is not None:
                job_id = self._checked_id(row)
            prompt = self._checked_prompt(row)
            model, size, ratio = self._checked_parameters(row)
            references = self._checked_references(row) if self._reference_sources else ()
        except _BadRow as bad:
            if not bad.once or bad.message not in self._said:
                if bad.once:
                    self._said.add(bad.message)
                report(
                    Problem(
                        message=bad.message,
                        file=place.file,
                        line=place.line,
                        field=bad.column,
                        job=show(job_id) or None,
                    )
                )
            return ()
        entry = self.entry
        if not job_id:
            names = [reference.name for reference in references]
            facts = (model, ratio, size, entry.modalities, names)
            job_id = derived_id(prompt, facts, digits=self._digits)
        ids = [job_id] if entry.samples == 1 else [sample_id(job_id, n + 1) for n in range(entry.samples)]
        return [
            Job(
                id=name,
                prompt=prompt,
                model=model,
                references=references,
                aspect_ratio=ratio,
                image_size=size,
                modalities=entry.modalities,
                sample=number,
                place=place,
            )
            for number, name in enumerate(ids, start=1)
        ]

    def _checked_id(self, row: Row) -> str:
        if self._id is None:
            return ""
        job_id = _filled("id", self._id, row)
        wrong = id_problem(job_id, samples=self.entry.samples)
        if wrong is not None:
            raise _BadRow(wrong)
        return job_id

    def _checked_prompt(self, row: Row) -> str:
        prompt = _filled("prompt", self._prompt, row)
        if not self.entry.prompt.varies:
            return prompt
        if "\r" in prompt:  # cells written on Windows; a prompt knows one kind of line end
            prompt = prompt.replace("\r\n", "\n").replace("\r", "\n")
        wrong = prompt_problem(prompt)
        if wrong is not None:
            raise _BadRow(wrong, self._prompt_column)
        return prompt

    def _checked_parameters(self, row: Row) -> tuple[str, str, str | None]:
        model = _filled("model", self._model, row)
        size = _filled("image_size", self._size, row)
        ratio = None if self._ratio is None else _filled("aspect_ratio", self._ratio, row)
        if self._parameters_vary:
            wrong = self._offer.model_problem(model) or self._offer.size_problem(model, size)
            if wrong is None and ratio is not None:
                wrong = self._offer.ratio_problem(model, ratio)
            if wrong is None:
                wrong = self._offer.references_problem(model, len(self._reference_sources))
            if wrong is not None:
                raise _BadRow(wrong)
        return model, size, ratio

    def _reference_source(self, text: Text, compiler: _Compiler) -> Reference | Fill:
        """A picture that is the same for every row is looked at once."""
        if self._columns is not None and text.varies:
            return compiler.fill(text)
        try:
            return self._references.get(text.text)
        except ReferenceProblem as problem:
            compiler.problems.append((text, str(problem)))
            return compiler.fill(text)

    def _checked_references(self, row: Row) -> tuple[Reference, ...]:
        try:
            return tuple(
                source
                if isinstance(source, Reference)
                else self._references.get(_filled("references", source, row))
                for source in self._reference_sources
            )
        except ReferenceProblem as problem:
            raise _BadRow(str(problem)) from problem


class _BadRow(Exception):  # noqa: N818  # never leaves this file
    """`once`: the template's fault rather than the row's, so the first row with it speaks for all."""

    def __init__(self, message: str, column: str | None = None, *, once: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.column = column
        self.once = once


class _Compiler:
    """Makes a function of every text of an entry and keeps what is wrong with any of them."""

    def __init__(self, columns: Columns | None) -> None:
        self._columns = columns
        self._templates: dict[int, Template] = {}
        self.problems: list[tuple[Text, str]] = []

    def fill(self, text: Text) -> Fill:
        literal = text.text
        if self._columns is None or not text.varies:
            return lambda _: literal
        try:
            template = self._templates[id(text)] = Template(text.text, self._columns)
        except TemplateProblem as problem:
            self.problems.append((text, str(problem)))
            return lambda _: literal
        return template.fill

    def raise_if_any(self) -> None:
        if self.problems:
            raise _BadEntry(self.problems)

    def only_column(self, text: Text) -> str | None:
        """The one column a text is made of, to be named when the result is no good."""
        template = self._templates.get(id(text))
        if template is None or self._columns is None or len(template.columns) != 1:
            return None
        return show(self._columns.names[template.columns[0]])


def _filled(field: str, fill: Fill, row: Row) -> str:
    try:
        return fill(row)
    except TemplateProblem as problem:
        raise _BadRow(f"{field}: {problem}", once=True) from problem


def _raise(problem: Problem) -> None:
    raise InputError([problem])


def _ignore(_: Problem) -> None:
    """For a pass whose problems are known already."""
