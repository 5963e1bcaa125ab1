"""One entry filled from one row: the texts, the checks of what can vary, the jobs.

Whatever is the same for every row (templates, parameters, fixed pictures) is prepared and checked once, so
that a row costs microseconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

from batch.core.errors import Problem
from batch.core.model import Job, Place, Reference
from batch.core.parameters import COMMON, CONTINUES, Parameters, canonical_json, common_parameters
from batch.manifest.expansion.entries import AskedText, Entry, ReferenceText, Text
from batch.manifest.expansion.parameters import ModelCapabilities, prompt_problem
from batch.manifest.expansion.picture_names import PictureNames
from batch.manifest.ids import MAX_ID_BYTES, derived_id, id_problem, sample_id, slug
from batch.manifest.problems import Report, show, unfit_text
from batch.manifest.references.references import ReferenceProblem, References
from batch.manifest.references.sources import NamedByColumn, NamedByText, ReferenceSource, SamePictures, named
from batch.manifest.references.wildcards import marked
from batch.manifest.schema.asked import read
from batch.manifest.tables.grouped_row import stripped
from batch.manifest.tables.table_reader import Row
from batch.manifest.templating.templates import Columns, RowProblem, Template, TemplateProblem, with_literals

#: Six hex digits tell a manifest's few jobs apart. Rows come by the million with prompts that begin alike,
#: and two of them must not meet by chance.
_DIGITS: Final = 6
_DIGITS_WITH_ROWS: Final = 16

Fill: TypeAlias = Callable[[Row], str]


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Ask:
    """Which model is asked, and for what beside prompt and references."""

    model: str
    parameters: Parameters


class JobBuilder:
    """One entry, ready to be filled from row after row. What cannot vary was checked when it was read.

    `problems` are texts that are wrong for every row, each with what is wrong. Such an entry makes no job, but its
    rows are still looked at for everything else. `prompt_columns` and `other_columns` are the positions it uses.
    """

    def __init__(
        self, entry: Entry, columns: Columns | None, capabilities: ModelCapabilities, references: References
    ) -> None:
        self.entry = entry
        self._capabilities = capabilities
        self._references = references
        self._columns = columns
        self._digits = _DIGITS if columns is None or not columns.names else _DIGITS_WITH_ROWS
        compiler = self._compiler = _Compiler(columns)
        self._id = None if entry.id is None else compiler.fill(entry.id)
        self._prompt = compiler.fill(entry.prompt)
        self._model = compiler.fill(entry.model)
        self._size = compiler.fill(entry.image_size)
        self._ratio = None if entry.aspect_ratio is None else compiler.fill(entry.aspect_ratio)
        self._names = None if entry.names is None else compiler.names(entry.names)
        self._continue_from = None if entry.continue_from is None else compiler.fill(entry.continue_from)
        self._reference_sources = [self._reference_source(item, compiler) for item in entry.references]
        self._most = [*(item.most for item in entry.references), None]
        self._check_fixed_references(compiler)
        self._asked = {each.name: each.value for each in entry.asked if not each.varies}
        self._asked_fills = [(each, _filler(each.value, compiler)) for each in entry.asked if each.varies]
        self._parameters_vary = bool(self._asked_fills) or any(
            text is not None and text.varies for text in (entry.model, entry.image_size, entry.aspect_ratio)
        )
        self._fixed_ask = None if self._parameters_vary else self._fixed(entry)
        self.problems = compiler.problems
        self._said: set[str] = set()
        self.prompt_columns = compiler.columns_of(entry.prompt)
        of_references = {source.index for source in self._reference_sources if isinstance(source, NamedByColumn)}
        self.other_columns = (compiler.all_columns() | of_references) - set(self.prompt_columns)
        #: Columns of which one must have something to say. A prompt with conditions says itself what happens without.
        self._must_say = compiler.columns_of(entry.prompt, only_plain=True)
        self._needed = compiler.needed(entry.prompt)
        self._id_column = None if entry.id is None else compiler.only_column(entry.id)
        self._id_columns = () if entry.id is None else compiler.columns_of(entry.id)
        self.first_id_column = self._id_columns[0] if self._id_columns else None

    def jobs(self, row: Row, place: Place, report: Report) -> Sequence[Job]:
        """The jobs of one row (several if samples are asked for); none, and a problem, if the row is wrong."""
        wrong: list[_BadRow] = []
        job_id = _tried(self._checked_id, row, wrong) or ""
        prompt = _tried(self._checked_prompt, row, wrong)
        ask = _tried(self._checked_ask, row, wrong)
        references = self._checked_references(row, ask, wrong) if self._reference_sources else ()
        if wrong or prompt is None or ask is None:
            for bad in wrong:
                self._report(bad, job_id, place, report)
            return ()
        entry = self.entry
        begun = _tried(self._checked_start, row, wrong) if self._continue_from is not None else ""
        if begun is None:
            self._report(wrong[-1], job_id, place, report)
            return ()
        if begun:
            ask = _Ask(ask.model, ask.parameters.changed(**{CONTINUES: True}))
        if not job_id:
            content = (*_content_of(ask, entry, references), *([begun] if begun else []))
            job_id = derived_id(prompt, content, digits=self._digits, variant=entry.variant.label)
        ids = [job_id] if entry.samples == 1 else [sample_id(job_id, n + 1) for n in range(entry.samples)]
        pictures: Sequence[str] | None = [""] * len(ids)
        if self._names is not None:
            pictures = _tried(lambda row: self._picture_names(row, ids), row, wrong)
        if pictures is None:
            self._report(wrong[0], job_id, place, report)
            return ()
        return [
            Job(
                id=name,
                name=picture,
                prompt=prompt,
                model=ask.model,
                references=references,
                parameters=ask.parameters,
                sample=number,
                place=place,
                continue_from=begun,
            )
            for number, (name, picture) in enumerate(zip(ids, pictures, strict=True), start=1)
        ]

    def _picture_names(self, row: Row, ids: list[str]) -> list[str]:
        assert self._names is not None
        try:
            return self._names.of(row, ids)
        except TemplateProblem as problem:
            raise _BadRow(f"names: {problem}", once=not isinstance(problem, RowProblem)) from problem

    def _checked_start(self, row: Row) -> str:
        """The id of the job to go on with; an empty cell names none."""
        assert self._continue_from is not None
        begun = _filled("continue_from", self._continue_from, row).strip()
        wrong = id_problem(begun) if begun else None
        if wrong is not None:
            raise _BadRow(f"continue_from must be the id of another job: {wrong}")
        return begun

    def _report(self, bad: _BadRow, job_id: str, place: Place, report: Report) -> None:
        if not bad.message or (bad.once and bad.message in self._said):
            return
        if bad.once:
            self._said.add(bad.message)
        job = show(job_id) or None
        report(Problem(message=bad.message, file=place.file, line=place.line, field=bad.column, job=job))

    def _checked_id(self, row: Row) -> str:
        if self._id is None:
            return ""
        job_id = _filled("id", self._id, row)
        wrong = id_problem(job_id, samples=self.entry.samples)
        if wrong is None:
            return job_id
        # Spaces around a name are never intended, also where the id adds something to it.
        bare = _filled("id", self._id, stripped(row)).strip()
        if bare != job_id and id_problem(bare, samples=self.entry.samples) is None:
            return bare
        raise self._bad_id(wrong, job_id, row)

    def _bad_id(self, wrong: str, job_id: str, row: Row) -> _BadRow:
        """The problem with what to write instead, where the id comes from a column."""
        entry_id = self.entry.id
        if self._columns is None or entry_id is None or not self._id_columns:
            return _BadRow(wrong)
        index = self._id_columns[0]
        name = self._columns.written(index)
        cell = show(row[index])
        if not str(row[index]).strip():
            wrong, advice = "id is empty", f'; fill the cell, or leave such rows out with where: {name} != ""'
        elif "slug" in entry_id.text and not slug(cell):
            wrong, advice = (
                f"id is empty: slug finds no letter or digit of ASCII in {cell}",
                f"; write {{{{ {name} | as_id }}}} in the id",
            )
        elif "/" in re.sub(r"{{.*?}}", "", entry_id.text):
            advice = "; the / stands in the id itself: write - there, an id names a file in one folder"
        elif "slug" not in entry_id.text:
            advice = f"; write {{{{ {name} | slug }}}} in the id"
        elif len(job_id) > MAX_ID_BYTES:
            advice = f"; write {{{{ ({name} | slug)[:60] }}}} in the id"
        else:
            advice = ""
        return _BadRow(f"{wrong}{advice}", self._id_column)

    def _checked_prompt(self, row: Row) -> str:
        prompt = _filled("prompt", self._prompt, row)
        if not self.entry.prompt.varies:
            return prompt
        if "\r" in prompt:  # cells written on Windows; a prompt knows one kind of line end
            prompt = prompt.replace("\r\n", "\n").replace("\r", "\n")
        wrong = prompt_problem(prompt)
        if wrong is not None:
            raise self._bad_prompt(wrong, row)
        if self._must_say:
            self._refuse_to_say_nothing(row)
        for index in self._needed:
            cell = row[index]
            if cell.__class__ is str and (cell == "" or cell.isspace()):
                raise self._empty_cell(index)
        return prompt

    def _empty_cell(self, index: int) -> _BadRow:
        """The problem of a prompt that would read "Product photo of  in Black"."""
        columns = self._columns
        if columns is None:
            return _BadRow("a column of the prompt is empty")
        name = columns.written(index)
        advice = f'fill it in, leave such rows out with where: {name} != "", or write {{{{ {name} | default("") }}}} '
        message = f"is empty, and the prompt needs it; {advice}if it may be empty. carry takes it from other rows"
        return _BadRow(f"{message} of the product", show(columns.names[index]))

    def _bad_prompt(self, wrong: str, row: Row) -> _BadRow:
        """The problem with the column it comes from, if it comes from one."""
        columns = self._columns
        if columns is None or not self.prompt_columns:
            return _BadRow(wrong)
        guilty = [index for index in self.prompt_columns if unfit_text(str(row[index])) is not None]
        if not guilty and len(self.prompt_columns) == 1:
            guilty = list(self.prompt_columns)
        elif re.search(r"\\x[89][0-9a-f] is a control", wrong):
            wrong += "; the table may be cp1252, name its encoding in rows"
        return _BadRow(wrong, show(columns.names[guilty[0]]) if guilty else None)

    def _refuse_to_say_nothing(self, row: Row) -> None:
        """A picture of a row whose words are all missing is a picture of nothing, paid like any other.

        Rows of variants, rows of further pictures and the totals under a table are such rows.
        """
        for index in self._must_say:
            cell = row[index]
            if cell.__class__ is not str or not (cell == "" or cell.isspace()):
                return
        columns = self._columns
        if columns is not None:
            names = [columns.written(index) for index in self._must_say]
            verb = "is" if len(names) == 1 else "are"
            message = f"{' and '.join(names)} {verb} empty, so the prompt says nothing of this row"
            advice = (
                f'fill it in, or leave such rows out with where: {names[0]} != "". If this is a further row of the '
                "product above, unique keeps the first row of each, and carry fills in what stands there"
            )
            raise _BadRow(f"{message}; {advice}", show(columns.names[self._must_say[0]]))

    def _checked_ask(self, row: Row) -> _Ask:
        if self._fixed_ask is not None:
            return self._fixed_ask
        model = _filled("model", self._model, row)
        size = _filled("image_size", self._size, row)
        ratio = None if self._ratio is None else _filled("aspect_ratio", self._ratio, row)
        wrong = self._capabilities.model_problem(model) or self._capabilities.size_problem(model, size)
        if wrong is None and ratio is not None:
            wrong = self._capabilities.ratio_problem(model, ratio)
        wrong = wrong or self._capabilities.shape_problem(model, ratio, size)
        wrong = wrong or self._capabilities.modalities_problem(model, self.entry.modalities)
        if wrong is not None:
            raise _BadRow(wrong)
        return _Ask(model, self._with_asked(model, common_parameters(ratio, size, self.entry.modalities), row))

    def _with_asked(self, model: str, common: Parameters, row: Row) -> Parameters:
        """The parameters with those beside them, of which some come from the row."""
        if not self._asked_fills and not self._asked:
            return common
        found = dict(self._asked)
        for each, fill in self._asked_fills:
            value = self._read(each, fill, row)
            if value is not None:
                found[each.name] = value
        for name, value in found.items():
            wrong = self._capabilities.parameter_problem(model, name, value)
            if wrong is not None:
                raise _BadRow(wrong)
        return common.changed(**found) if found else common

    def _read(self, each: AskedText, fill: Callable[[Row], object], row: Row) -> Any:
        try:
            return read(each.name, _filled(each.name, fill, row))
        except ValueError as problem:
            column = self._columns
            names = {index for text in each.texts() for index in self._compiler.columns_of(text)}
            only = show(column.names[names.pop()]) if column is not None and len(names) == 1 else None
            raise _BadRow(str(problem), only) from None

    def _fixed(self, entry: Entry) -> _Ask:
        ratio = None if entry.aspect_ratio is None else entry.aspect_ratio.text
        common = common_parameters(ratio, entry.image_size.text, entry.modalities)
        return _Ask(entry.model.text, common.changed(**self._asked) if self._asked else common)

    def _reference_source(self, item: ReferenceText, compiler: _Compiler) -> ReferenceSource:
        """A picture that is the same for every row is looked at once."""
        if item.is_column:
            return self._column_source(item, compiler)
        text = item.text
        if self._columns is not None and text.varies:
            fill = compiler.fill(text, with_literals(text.text, marked))
            return NamedByText(
                fill=lambda row: _filled("references", fill, row),
                references=self._references,
                optional=item.optional,
                column=compiler.only_column(text),
            )
        try:
            pictures = named(marked(text.text), self._references, optional=item.optional)
            return SamePictures(tuple(pictures[: item.most]))
        except ReferenceProblem as problem:
            compiler.problems.append((text, str(problem)))
            return _NoPictures()

    def _column_source(self, item: ReferenceText, compiler: _Compiler) -> ReferenceSource:
        name = item.text.text
        try:
            if self._columns is None or not self._columns.names:
                return _NoPictures()  # was said when the entry was read
            index = self._columns.index_of(name)
        except TemplateProblem as problem:
            compiler.problems.append((item.text, f"references: {problem}"))
            return _NoPictures()
        return NamedByColumn(
            index=index, column=show(name), split=item.split, references=self._references, optional=item.optional
        )

    def _check_fixed_references(self, compiler: _Compiler) -> None:
        """Too many pictures for every row are told once, where the manifest names them."""
        sources = self._reference_sources
        fixed = [source.pictures for source in sources if isinstance(source, SamePictures)]
        if self.entry.model.varies or len(fixed) < len(sources) or not sources:
            return
        wrong = self._capabilities.references_problem(self.entry.model.text, sum(map(len, fixed)))
        if wrong is not None:
            compiler.problems.append((self.entry.references[0].text, wrong))
            sources.append(_NoPictures())

    def _checked_references(self, row: Row, ask: _Ask | None, wrong: list[_BadRow]) -> tuple[Reference, ...]:
        found: list[Reference] = []
        problems: list[ReferenceProblem] = []
        before = len(wrong)
        for source, most in zip(self._reference_sources, self._most, strict=False):
            try:
                found += source.find(row, problems)[:most]
            except _BadRow as bad:
                wrong.append(bad)
        wrong.extend(_BadRow(str(problem), problem.column, once=problem.once) for problem in problems)
        if ask is not None and len(wrong) == before:
            with_start = len(found) + (self._continue_from is not None)
            too_many = self._capabilities.references_problem(ask.model, with_start)
            if too_many is not None:
                columns = {getattr(source, "column", None) for source in self._reference_sources} - {None}
                wrong.append(_BadRow(too_many, columns.pop() if len(columns) == 1 else None))
        return tuple(found)


def _content_of(ask: _Ask, entry: Entry, references: Sequence[Reference]) -> tuple[object, ...]:
    """What tells jobs apart whose prompts are the same, for an id that is made of it."""
    ratio, size = ask.parameters.get("aspect_ratio"), ask.parameters["image_size"]
    content = (ask.model, ratio, size, entry.modalities, [reference.name for reference in references])
    if ask.parameters.is_common:
        return content
    return (*content, canonical_json({name: ask.parameters[name] for name in ask.parameters if name not in COMMON}))


def _filler(value: object, compiler: _Compiler) -> Callable[[Row], Any]:
    """A function that fills every text in a value from a row."""
    if isinstance(value, Text):
        return compiler.fill(value)
    if isinstance(value, dict):
        items = {key: _filler(item, compiler) for key, item in value.items()}
        return lambda row: {key: fill(row) for key, fill in items.items()}
    if isinstance(value, list):
        fills = [_filler(item, compiler) for item in value]
        return lambda row: [fill(row) for fill in fills]
    return lambda _: value


def _tried(check: Callable[[Row], T], row: Row, wrong: list[_BadRow]) -> T | None:
    """What a check of the row returns; None if it fails, with the reason added to `wrong`."""
    try:
        return check(row)
    except _BadRow as bad:
        wrong.append(bad)
        return None


class _BadRow(Exception):  # never leaves this file
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

    def fill(self, text: Text, source: str | None = None) -> Fill:
        """`source` is the text to fill, if not the text as it was written."""
        literal = text.text
        if self._columns is None or not text.varies:
            return lambda _: literal
        try:
            template = self._templates[id(text)] = Template(source or literal, self._columns)
        except TemplateProblem as problem:
            self.problems.append((text, str(problem)))
            return _already_said
        return template.fill

    def names(self, text: Text) -> PictureNames | None:
        """What names the pictures; None if its text is wrong, which is noted."""
        try:
            return PictureNames(text, self._columns)
        except TemplateProblem as problem:
            self.problems.append((text, f"names: {problem}"))
            return None

    def all_columns(self) -> set[int]:
        """The columns that any text of the entry uses."""
        return {index for template in self._templates.values() for index in template.columns}

    def only_column(self, text: Text) -> str | None:
        """The one column a text is made of, to be named when the result is no good."""
        template = self._templates.get(id(text))
        if template is None or self._columns is None or len(template.columns) != 1:
            return None
        return show(self._columns.names[template.columns[0]])

    def needed(self, text: Text) -> tuple[int, ...]:
        """The columns that a text cannot do without."""
        template = self._templates.get(id(text))
        return () if template is None else template.needed

    def columns_of(self, text: Text, *, only_plain: bool = False) -> tuple[int, ...]:
        """The columns a text is made of, as they come in it; `only_plain`: none if it computes anything with them."""
        template = self._templates.get(id(text))
        names = self._columns
        if template is None or names is None or (only_plain and not template.is_plain):
            return ()
        return tuple(sorted(template.columns, key=lambda index: text.text.find(names.written(index))))


def _already_said(_: Row) -> str:
    """Stands for a text that is wrong for every row: said once, at its place in the manifest."""
    raise _BadRow("")


class _NoPictures:
    """Stands for references that are wrong for every row."""

    def find(self, _row: Row, _problems: list[ReferenceProblem]) -> Sequence[Reference]:
        raise _BadRow("")


def _filled(field: str, fill: Callable[[Row], T], row: Row) -> T:
    try:
        return fill(row)
    except TemplateProblem as problem:
        raise _BadRow(f"{field}: {problem}", once=not isinstance(problem, RowProblem)) from problem
