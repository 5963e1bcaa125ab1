"""From the manifest's shape to its meaning: defaults applied, names checked against model and provider.

An `Entry` is one item of `jobs` with everything settled that does not depend on a row. Its texts keep their
place, so that a later stage can still say where something was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from batch.core.errors import Problem
from batch.core.image_models import DEFAULT_SIZE
from batch.core.parameters import ASKED
from batch.manifest.expansion.matrix import Matrix, Variant
from batch.manifest.expansion.parameters import ModelCapabilities, prompt_problem
from batch.manifest.ids import id_problem, without_accents
from batch.manifest.problems import Problems
from batch.manifest.schema import asked
from batch.manifest.schema.schema import JobShape, ManifestShape, ReferenceShape, job_named
from batch.manifest.schema.yaml_text import At, Document
from batch.manifest.templating.templates import is_template, variables_of

_DEFAULT_MODALITIES: Final = ("IMAGE",)


@dataclass(frozen=True, slots=True)
class Text:
    """Something written in the manifest. `varies`: to be filled from rows; `shared`: used by several jobs."""

    text: str
    at: At
    varies: bool = False
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedText:
    """A parameter beside ratio, size and modalities. `value` is what is asked for, or, if it `varies`, what is to be
    filled from rows: a `Text`, or mappings and lists with such texts in them."""

    name: str
    value: object
    at: At
    shared: bool
    varies: bool = False

    def texts(self) -> list[Text]:
        """The texts that are filled from rows."""
        return list(_texts_in(self.value)) if self.varies else []


def _texts_in(value: object) -> Iterator[Text]:
    if isinstance(value, Text):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(item)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceText:
    """One item of `references`: a template, or the name of a column whose cells name the pictures.

    `split` is what stands between several names in one cell. `optional`: it may come to nothing. Of more pictures than
    `most` the first are taken.
    """

    text: Text
    is_column: bool = False
    split: str | None = None
    optional: bool = False
    most: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One item of `jobs`, defaults applied."""

    at: At
    id: Text | None
    prompt: Text
    references: tuple[ReferenceText, ...]
    model: Text
    aspect_ratio: Text | None
    image_size: Text
    modalities: tuple[str, ...]
    asked: tuple[AskedText, ...]
    continue_from: Text | None
    samples: int
    variant: Variant
    names: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryReader:
    """Settles the entries of one manifest and notes what is wrong with them."""

    shape: ManifestShape
    jobs: Sequence[JobShape | None]
    document: Document
    file: str
    capabilities: ModelCapabilities
    problems: Problems
    matrix: Matrix | None

    def entries(self) -> tuple[Entry, ...]:
        """All entries with the right shape, in the order written."""
        entries = []
        for index, job in enumerate(self.jobs):
            if job is not None:
                made = [self._entry(index, job, variant) for variant in self._variants()]
                for entry in made:
                    self._check(entry, index)
                # What is the same for all variants or rows is told once, not again as doubled ids of every row.
                differ = self._variants_differ(made[0], job, index)
                if self._rows_differ(made[0]):
                    entries.extend(made if differ else made[:1])
        return tuple(entries)

    def _variants(self) -> Sequence[Variant]:
        return (Variant(),) if self.matrix is None else self.matrix.variants

    def _entry(self, index: int, job: JobShape, variant: Variant) -> Entry:
        here: tuple[str | int, ...] = ("jobs", index)
        model = self._setting(index, job, "model", variant) or self._text(self.shape.model, "model")
        size = self._setting(index, job, "image_size", variant)
        modalities = variant.overrides.get("modalities")
        return Entry(
            at=self.document.at(*here),
            id=None if job.id is None else self._text(job.id, *here, "id"),
            prompt=self._text(job.prompt, *here, "prompt"),
            references=self._references(index, job),
            model=model or Text(self.capabilities.default_model, self.document.at(*here)),
            aspect_ratio=self._setting(index, job, "aspect_ratio", variant),
            image_size=size or Text(DEFAULT_SIZE, self.document.at(*here)),
            modalities=job.modalities
            or (modalities.value if modalities is not None else None)
            or self.shape.defaults.modalities
            or _DEFAULT_MODALITIES,
            asked=tuple(self._asked(index, job, variant)),
            continue_from=self._text(job.continue_from, *here, "continue_from"),
            samples=job.samples or self.shape.defaults.samples or 1,
            variant=variant,
            names=self._text(self.shape.names, "names"),
        )

    def _asked(self, index: int, job: JobShape, variant: Variant) -> Iterator[AskedText]:
        """What the job, the variant or the defaults ask for beside ratio, size and modalities."""
        path: tuple[str | int, ...]
        for name in sorted(ASKED):
            if name in job.model_fields_set:
                path, value = ("jobs", index, name), getattr(job, name)
            elif name in variant.overrides:
                override = variant.overrides[name]
                if override.value is not None:
                    yield AskedText(name=name, value=override.value, at=override.at, shared=True)
                continue
            else:
                path, value = ("defaults", name), getattr(self.shape.defaults, name)
            if value is not None:
                asked_text = self._asked_text(name, value, *path)
                if asked_text is not None:
                    yield asked_text

    def _asked_text(self, name: str, value: object, *path: str | int) -> AskedText | None:
        at, shared = self.document.at(*path), path[0] != "jobs"
        if self._has_templates and asked.is_filled_later(value):
            texts = self._with_texts(value, at, shared=shared)
            return AskedText(name=name, value=texts, at=at, shared=shared, varies=True)
        try:
            return AskedText(name=name, value=asked.read(name, value), at=at, shared=shared)
        except ValueError as problem:  # a template where there are no rows to fill it
            self._note(str(problem), Text("", at, shared=shared), int(path[1]) if path[0] == "jobs" else 0)
            return None

    def _with_texts(self, value: object, at: At, *, shared: bool) -> object:
        """The value with every template in it as a `Text`."""
        if isinstance(value, dict):
            return {key: self._with_texts(item, at, shared=shared) for key, item in value.items()}
        if isinstance(value, list):
            return [self._with_texts(item, at, shared=shared) for item in value]
        return Text(value, at, varies=True, shared=shared) if isinstance(value, str) and is_template(value) else value

    @property
    def _has_templates(self) -> bool:
        return self.shape.rows is not None or self.shape.matrix is not None

    def _setting(self, index: int, job: JobShape, field: str, variant: Variant) -> Any:
        """A parameter from the job, else from the variant, else from the defaults, with its place."""
        if field in job.model_fields_set:
            return self._text(getattr(job, field), "jobs", index, field)
        if field in variant.overrides:
            return Text(variant.overrides[field].value, variant.overrides[field].at, shared=True)
        return self._text(getattr(self.shape.defaults, field), "defaults", field)

    def _references(self, index: int, job: JobShape) -> tuple[ReferenceText, ...]:
        path: tuple[str | int, ...] = ("jobs", index, "references")
        items: Sequence[ReferenceShape] = job.references
        if "references" not in job.model_fields_set:
            path, items = ("defaults", "references"), self.shape.defaults.references
        return tuple(self._reference(item, *path, number) for number, item in enumerate(items))

    def _reference(self, item: ReferenceShape, *path: str | int) -> ReferenceText:
        if item.column is None:
            return ReferenceText(text=self._text(item.path, *path), optional=item.optional, most=item.most)
        name = Text(item.column, self.document.at(*path), shared=path[0] != "jobs")
        return ReferenceText(text=name, is_column=True, split=item.split, optional=item.optional, most=item.most)

    def _text(self, text: str | None, *path: str | int) -> Any:
        if text is None:
            return None
        varies = self._has_templates and is_template(text)
        return Text(text, self.document.at(*path), varies, shared=path[0] != "jobs")

    def _check(self, entry: Entry, index: int) -> None:
        self._check_id(entry, index)
        if not entry.prompt.varies:
            self._note(prompt_problem(entry.prompt.text), entry.prompt, index)
        if not self._rows_differ(entry, by_id=False):
            message = "no field uses a column, so all rows make one job; write {{ Column }} in the prompt"
            self._note(message, Text("", entry.at), index)
        for item in entry.references:
            if item.is_column and self.shape.rows is None:
                self._note("references: a column needs a table; name the table in rows", item.text, index)
        self._check_parameters(entry, index)

    def _check_id(self, entry: Entry, index: int) -> None:
        if entry.id is None or self._differs_by_row(entry.id):
            return
        if not self.document.reads_as_text_everywhere("jobs", index, "id"):
            message: str | None = "id must be a string; quote it"
        elif self.shape.rows is not None:
            message = "id is the same for every row; use a column in it or leave it out"
        else:
            message = None if entry.id.varies else id_problem(entry.id.text, samples=entry.samples)
            plain = without_accents(entry.id.text)
            if message is not None and plain is not None:
                message += f"; write {plain}"
        self._note(message, entry.id, index)

    def _rows_differ(self, entry: Entry, *, by_id: bool = True) -> bool:
        """Whether the entry makes another job of every row; `by_id`: and gives it another id."""
        if self.shape.rows is None:
            return True
        if by_id and entry.id is not None and not self._differs_by_row(entry.id):
            return False
        return any(item.is_column for item in entry.references) or any(map(self._differs_by_row, _texts(entry)))

    def _differs_by_row(self, text: Text) -> bool:
        if not text.varies or self.shape.rows is None:
            return False
        names = None if self.matrix is None else variables_of(text.text)
        return names is None or self.matrix is None or not names <= set(self.matrix.names)

    def _variants_differ(self, entry: Entry, job: JobShape, index: int) -> bool:
        """Whether the job uses what its variants differ in, in some field and in its id."""
        matrix = self.matrix
        if matrix is None:
            return True
        used = {
            override.name
            for variant in matrix.variants
            for parameter, override in variant.overrides.items()
            if parameter not in job.model_fields_set
        }
        for text in _texts(entry):
            used |= (variables_of(text.text) or set()) if text.varies else set()
        if unused := matrix.alike(used):
            message = f"no field uses {_listed(matrix, unused)}, so several variants make one job; use it in the prompt"
            self._note(message, Text("", entry.at), index)
        elif entry.id is not None:
            named = (variables_of(entry.id.text) or set()) if entry.id.varies else set()
            unused = matrix.alike(named)
            if unused:
                message = f"id is the same for several variants; use {_listed(matrix, unused)} in the id"
                self._note(message, entry.id, index)
        return not unused

    def _check_parameters(self, entry: Entry, index: int) -> None:
        model = entry.model.text
        wrong = None if entry.model.varies else self.capabilities.model_problem(model)
        self._note(wrong, entry.model, index)
        if entry.model.varies or wrong is not None:
            return
        if not entry.image_size.varies:
            self._note(self.capabilities.size_problem(model, entry.image_size.text), entry.image_size, index)
        if entry.aspect_ratio is not None and not entry.aspect_ratio.varies:
            self._note(self.capabilities.ratio_problem(model, entry.aspect_ratio.text), entry.aspect_ratio, index)
        if entry.continue_from is not None:
            wrong = self.capabilities.parameter_problem(model, "continue_from", entry.continue_from.text)
            self._note(wrong, entry.continue_from, index)
        self._check_shape(entry, model, index)
        self._note(self.capabilities.modalities_problem(model, entry.modalities), Text("", entry.at), index)
        if entry.references:
            # Each stands for one picture at least, or the row is wrong for another reason.
            least = sum(not item.optional for item in entry.references)
            self._note(self.capabilities.references_problem(model, least), entry.references[0].text, index)
        for each in entry.asked:
            if not each.varies:
                wrong = self.capabilities.parameter_problem(model, each.name, each.value)
                self._note(wrong, Text("", each.at, shared=each.shared), index)

    def _check_shape(self, entry: Entry, model: str, index: int) -> None:
        """Ratio and size together. What is wrong is told at the one that is written."""
        ratio, size = entry.aspect_ratio, entry.image_size
        if size.varies or (ratio is not None and ratio.varies):
            return
        wrong = self.capabilities.shape_problem(model, None if ratio is None else ratio.text, size.text)
        self._note(wrong, ratio or size, index)

    def _note(self, message: str | None, text: Text, index: int) -> None:
        """Note a problem once per place: what is written in `defaults` is wrong for many jobs."""
        if message is None or self.problems.has_at(*text.at):
            return
        job = None if text.shared else job_named(self.document, ("jobs", index))
        self.problems.add(Problem(message=message, file=self.file, line=text.at.line, column=text.at.column, job=job))


def _listed(matrix: Matrix, names: Sequence[str]) -> str:
    return " and ".join(map(matrix.written, names))


def _texts(entry: Entry) -> list[Text]:
    references = [item.text for item in entry.references]
    asked_texts = [text for each in entry.asked for text in each.texts()]
    texts = (
        entry.id,
        entry.prompt,
        *references,
        entry.model,
        entry.aspect_ratio,
        entry.image_size,
        *asked_texts,
        entry.continue_from,
    )
    return [text for text in texts if text is not None]
