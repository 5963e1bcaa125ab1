"""Reading a job manifest: bytes in, a `Manifest` out, or every problem at once."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

from batch.core.errors import InputError, MissingInputError, Problem
from batch.core.lane import Lane
from batch.core.model import Job
from batch.core.prices import PriceList
from batch.core.profiles import GEMINI_API, OPENAI_API
from batch.core.registry import find_profile
from batch.core.settings import (
    GIVEN_MANIFEST,
    AskSettings,
    Budget,
    CanarySettings,
    CheckSettings,
    Fallback,
    FallbackOn,
    Limits,
    ProviderSettings,
    RetryPolicy,
    Settings,
    Timeouts,
    UnknownPolicy,
    Until,
)
from batch.manifest.expansion.entries import EntryReader, Text
from batch.manifest.expansion.expand import Expansion, Mark, Starts
from batch.manifest.expansion.kept_columns import KeptColumns, RowsDigest
from batch.manifest.expansion.matrix import MatrixReader
from batch.manifest.expansion.parameters import ModelCapabilities
from batch.manifest.expansion.products import RowGroups
from batch.manifest.expansion.row_job import RowJob, TableRow
from batch.manifest.expansion.row_selection import RowSelection, Sort
from batch.manifest.files import FileProblem, open_regular, reason
from batch.manifest.given import GIVEN_ROWS, write_down
from batch.manifest.ids import name_problem
from batch.manifest.problems import Problems, Report, show, show_path
from batch.manifest.references.hosts import ListedHosts
from batch.manifest.references.references import References, RemotePictures
from batch.manifest.schema.endpoints import EndpointsReader
from batch.manifest.schema.model_table import ModelChanges, model_changes
from batch.manifest.schema.overrides import overridden
from batch.manifest.schema.price_table import load_price_table
from batch.manifest.schema.schema import AskShape, ManifestShape, SortShape, read_shapes
from batch.manifest.schema.yaml_text import At, Document, parse
from batch.manifest.tables.rows import Table, kind_of
from batch.manifest.tables.table_finder import PipedRows, TableFinder
from batch.manifest.tables.table_set import TableSet
from batch.manifest.templating.on_reject import OnReject
from batch.manifest.templating.question import Question
from batch.manifest.templating.templates import TemplateProblem

#: Larger batches belong in a table, which is streamed; YAML is not.
MAX_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest whose own text is right. Its rows, templates, ids and references are checked by `check`."""

    path: Path
    sha256: str
    settings: Settings
    output: Path | None
    #: How a rejection changes the prompt; None: not at all.
    on_reject: OnReject | None = None
    _expansion: Expansion = field(repr=False, compare=False)

    @property
    def derives_ids(self) -> bool:
        """Whether some of its jobs are named by their prompt, so that editing it makes other jobs."""
        return any(entry.id is None for entry in self._expansion.entries)

    def model_warnings(self, models: Iterable[str]) -> list[str]:
        """What is not known of these models, in sentences."""
        found = (self._expansion.capabilities.model_warning(model) for model in models)
        return [words for words in found if words is not None]

    @property
    def reference_hosts(self) -> ListedHosts:
        """The hosts from which reference pictures may be fetched."""
        return self._expansion.references.hosts

    def wanted_addresses(self) -> Iterator[str]:
        """The web addresses of the reference pictures that the jobs need; some may come more than once."""
        return self._expansion.wanted_addresses()

    @property
    def has_chains(self) -> bool:
        """Whether any job goes on with another's picture."""
        return self._expansion.has_chains

    def use_bought(self, known: Callable[[Job], Job]) -> None:
        """From now on jobs that go on with another's picture come with it, as far as `known` has it. It must say the
        same in every pass."""
        self._expansion.starts.known = known

    def use_fetched(self, pictures: RemotePictures) -> None:
        """Take reference pictures at web addresses from here. To be called before `check`, if there are any."""
        self._expansion.references.remote = pictures

    def check(self, where: str | None = None, chosen: bytearray | None = None) -> Iterator[Job]:
        """Go through every job for the first time.

        Good jobs are yielded as they are found; at the end InputError is raised with everything that is wrong
        in rows, templates, ids and references. `where` is an expression over the columns of a job's row and the names
        of its variant; before a job is yielded, `chosen` gets a byte: whether it holds for it.
        """
        return (job for _, job in self.check_with_rows(where, chosen))

    def jobs(self) -> Iterator[Job]:
        """The same jobs in the same order, for the passes after `check`; InputError if a file changed."""
        return (job for _, job in self.jobs_with_rows())

    def check_with_rows(self, where: str | None = None, chosen: bytearray | None = None) -> Iterator[RowJob]:
        """`check`, each job with the row it was made of."""
        mark = None if where is None or chosen is None else Mark(where, chosen)
        return self._expansion.check(mark)

    def jobs_with_rows(self) -> Iterator[RowJob]:
        """`jobs`, each with the row it was made of."""
        return self._expansion.jobs()

    @property
    def tables(self) -> Sequence[Table]:
        """The tables that its rows come from, in order; none in a manifest without any."""
        return self._expansion.tables.tables if self._expansion.tables is not None else ()

    def named_jobs(self, report: Report) -> Iterator[RowJob]:
        """The jobs with their rows, in order, for what needs neither references nor a run.

        `report` hears of what is wrong with rows that make none; nothing is raised for them.
        """
        return self._expansion.by_name_alone().whatever_is_right(report)

    @property
    def keeps_rows(self) -> bool:
        """Whether columns of a job's row are to be written into manifest.jsonl (`keep`)."""
        return bool(self._expansion.kept)

    def kept(self, row: TableRow | None) -> dict[str, Any] | None:
        """The columns of a row that `keep` names, as JSON can hold them; None if there is no row."""
        return self._expansion.kept.of(row)

    def digesting(self, pairs: Iterator[RowJob], digest: RowsDigest) -> Iterator[Job]:
        """The jobs, after what is kept of their rows went into `digest`."""
        for row, job in pairs:
            digest.add(self.kept(row))
            yield job


def load_manifest(
    path: Path, *, allow_empty: bool = False, stdin: BinaryIO | None = None, overrides: Sequence[str] = ()
) -> Manifest:
    """Read the manifest at `path`. With `allow_empty`, no jobs or a table without rows are no problem.
    `stdin` is what `rows: '-'` reads; by default the process's standard input. `overrides` are put into the manifest
    before it is checked: `limits.concurrency=4`.

    Raises MissingInputError if the file cannot be read and InputError with all problems of its text.
    """
    _refuse_a_table(path, show_path(path))
    return _manifest(path, _read(path), allow_empty=allow_empty, rows=PipedRows(stdin), overrides=overrides)


def given_manifest(given: Mapping[str, Any], *, allow_empty: bool = False, overrides: Sequence[str] = ()) -> Manifest:
    """The manifest that a program hands over as values; paths in it are relative to the current folder.

    `jobs` may be an iterable of mappings or of `JobSpec`, `rows` an iterable of mappings: both are read once, here.
    Raises InputError with all problems of its text.
    """
    written = write_down(given)
    try:
        rows = PipedRows(written.rows, GIVEN_ROWS)
        return _manifest(Path(GIVEN_MANIFEST), written.text, allow_empty=allow_empty, rows=rows, overrides=overrides)
    finally:
        if written.rows is not None:
            written.rows.close()  # the table's reader has its own copy


def _manifest(path: Path, data: bytes, *, allow_empty: bool, rows: PipedRows, overrides: Sequence[str]) -> Manifest:
    file = show_path(path)
    if len(data) > MAX_BYTES:
        message = f"larger than {MAX_BYTES // 1024 // 1024} MiB; put the jobs into a table and name it in rows"
        raise InputError([Problem(message=message, file=file)])
    problems = Problems(file)
    document = parse(data, file, problems)
    if document.value is None:
        if not allow_empty:
            raise InputError([Problem(message="no jobs; the file is empty", file=file, line=1, column=1)])
        document = Document({"jobs": []}, None)
    document = overridden(document, overrides, file)
    shapes = read_shapes(document, file, problems)
    shape = shapes.manifest
    endpoints = EndpointsReader(shape, shapes.providers, document, problems).endpoints()
    reader = _TopReader(path, shape, endpoints, document, problems)
    models = model_changes(document, path.parent, shape.model_table, file, problems)
    fallback = reader.fallback(models)
    capabilities = ModelCapabilities.of(endpoints, fallback.models, models.facts)
    matrix_reader = MatrixReader(document, file, problems)
    matrix = None if shape.matrix is None else matrix_reader.read(shape.matrix)
    entries = EntryReader(
        shape=shape,
        jobs=shapes.jobs,
        document=document,
        file=file,
        capabilities=capabilities,
        problems=problems,
        matrix=matrix,
    ).entries()
    manifest = Manifest(
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        settings=reader.settings(fallback, models),
        output=None if shape.output is None else path.parent / shape.output,
        on_reject=reader.on_reject(),
        _expansion=Expansion(
            file=file,
            entries=entries,
            capabilities=capabilities,
            references=References(
                path.parent, path.parent / (shape.reference_root or "."), ListedHosts(shape.reference_hosts)
            ),
            tables=reader.tables(rows),
            choice=reader.choice(),
            groups=reader.groups(),
            matrix=matrix,
            allow_empty=allow_empty,
            kept=reader.kept(),
            starts=Starts(),
        ),
    )
    if shape.reference_root is not None:
        reader.check_folder(shape.reference_root)
    if not shape.jobs and not allow_empty:
        reader.add("no jobs; write at least one entry with a prompt", document.at("jobs"))
    files = range(len(shape.rows.file)) if shape.rows is not None else ()
    has_tables = not any(problems.has_at(*document.at("rows", "file", number)) for number in files)
    if problems.places() and not matrix_reader.broken and has_tables:
        _add_what_the_jobs_show(manifest, problems)
    problems.raise_if_any()
    return manifest


def _add_what_the_jobs_show(manifest: Manifest, problems: Problems) -> None:
    """What is wrong in rows, ids and references belongs in the same report, not in one after the next try."""
    said = problems.places() | {(line, None) for line, _ in problems.places()}
    try:
        for _ in manifest.check():
            pass
    except InputError as error:
        for problem in error.problems:
            if problem.file != str(manifest.path) or (problem.line, problem.column) not in said:
                problems.add(problem)
        problems.add_more(error.more)


def _refuse_a_table(path: Path, file: str) -> None:
    if path.suffix.lower() != ".json" and kind_of(path.name, None, delimiter_given=False) is not None:
        advice = f"`imagebatch init {file}` writes a manifest for it"
        raise InputError([Problem(message=f"this is a table, and a run needs a manifest; {advice}", file=file)])


def _read(path: Path) -> bytes:
    try:
        with open_regular(path) as stream:
            data = stream.read(MAX_BYTES + 1)
    except (FileProblem, OSError) as error:
        message = reason(error) if isinstance(error, OSError) else str(error)
        raise MissingInputError([Problem(message=message, file=show_path(path))]) from error
    return data


@dataclass(frozen=True, slots=True)
class _TopReader:
    """What stands at the top of the manifest, as the values the program works with."""

    path: Path
    shape: ManifestShape
    endpoints: tuple[ProviderSettings, ...]
    document: Document
    problems: Problems

    def settings(self, fallback: Fallback, models: ModelChanges) -> Settings:
        shape = self.shape
        retry = shape.retry.model_dump(exclude_none=True)
        if "unknown" in retry:
            retry["unknown"] = UnknownPolicy(retry["unknown"])
        if "max_outage_minutes" in retry:
            retry["max_outage_seconds"] = 60 * retry.pop("max_outage_minutes")
        return Settings(
            name=self._name(),
            providers=self.endpoints,
            limits=Limits(**shape.limits.model_dump()),
            timeouts=Timeouts(**shape.timeouts.model_dump(exclude_none=True)),
            retry=RetryPolicy(**retry),
            prices=shape.prices,
            price_table=self._price_table(models),
            models=models.facts,
            budget=Budget(**shape.budget.model_dump()),
            tag=shape.tag or "",
            verify=shape.verify,
            check_content=shape.check_content,
            canary=CanarySettings() if shape.canary is None else CanarySettings(**shape.canary.model_dump()),
            dedupe=shape.dedupe,
            gallery=shape.gallery,
            lane=Lane(shape.lane),
            fallback=fallback,
            check=self._check_settings(),
            until=None if shape.until is None else Until(**shape.until.model_dump()),
        )

    def fallback(self, changes: ModelChanges) -> Fallback:
        """The models that may be asked instead, without those that cannot be."""
        given = self.shape.fallback
        if given is None:
            return Fallback()
        capabilities = ModelCapabilities.of(self.endpoints, changes=changes.facts)
        models: list[str] = []
        for number, model in enumerate(given.models):
            wrong = capabilities.model_problem(model)
            if wrong is None and model in models:
                wrong = f"fallback names {show(model)} twice; keep one"
            if wrong is None:
                models.append(model)
            else:
                self.add(wrong, self.document.at("fallback", "models", number))
        return Fallback(models=tuple(models), on=tuple(map(FallbackOn, dict.fromkeys(given.on))))

    def _check_settings(self) -> CheckSettings | None:
        check = self.shape.check
        if check is None:
            return None
        if bool(check.run) is (check.ask is not None):
            words = "both run and ask are named; keep one" if check.run else "run is missing; name a program, or ask"
            self.add(f"check: {words}", self.document.at("check"))
            return None
        ask = None if check.ask is None else self._ask_settings(check.ask, check.at_once)
        return CheckSettings(
            run=tuple(check.run), ask=ask, timeout_seconds=check.timeout_seconds, at_once=check.at_once
        )

    def _ask_settings(self, ask: AskShape, at_once: int) -> AskSettings:
        profile = find_profile(ask.provider)
        if profile.is_simulator or profile.provider not in (OPENAI_API, GEMINI_API):
            words = "check.ask: provider must be openai, google or one of that kind"
            self.add(words, self.document.at("check", "ask", "provider"))
        try:
            Question(ask.prompt)
        except TemplateProblem as problem:
            self.add(f"check.ask.prompt: {problem}", self.document.at("check", "ask", "prompt"))
        limits = Limits(concurrency=at_once, requests_per_minute=ask.requests_per_minute, adaptive=False)
        provider = ProviderSettings(
            profile=ask.provider, name="check", base_url=ask.base_url, key_env=ask.key_env, limits=limits
        )
        return AskSettings(provider=provider, model=ask.model, prompt=ask.prompt, usd_per_request=ask.usd_per_request)

    def on_reject(self) -> OnReject | None:
        """How what is said of a rejected picture gets into the prompt."""
        text = self.shape.on_reject
        if text is None:
            return None
        try:
            return OnReject(text)
        except TemplateProblem as problem:
            self.add(f"on_reject: {problem}", self.document.at("on_reject"))
            return None

    def tables(self, piped: PipedRows) -> TableSet | None:
        if self.shape.rows is None:
            return None
        finder = TableFinder(
            rows=self.shape.rows,
            folder=self.path.parent,
            document=self.document,
            problems=self.problems,
            piped=piped,
        )
        return finder.tables()

    def choice(self) -> RowSelection:
        shape = self.shape
        for name in ("where", "unique", "sort", "limit"):
            if getattr(shape, name) is not None and "rows" not in self.document.value:
                self.add(f"{name} picks rows; name a table in rows, or remove it", self.document.at(name))
        return RowSelection(
            where=None if shape.where is None else Text(shape.where, self.document.at("where")),
            unique=None if shape.unique is None else Text(shape.unique, self.document.at("unique")),
            sort=tuple(self._sort(number, sort) for number, sort in enumerate(shape.sort or ())),
            limit=shape.limit,
        )

    def groups(self) -> RowGroups:
        shape, at = self.shape, self.document.at
        for name in ("carry", "group"):
            if getattr(shape, name) is not None and "rows" not in self.document.value:
                self.add(f"{name} works on rows; name a table in rows, or remove it", at(name))
        if shape.group is not None and shape.group == shape.unique:
            self.add("unique leaves one row of each value, so a group would have one; remove unique", at("group"))
        group = None if shape.group is None else Text(shape.group, at("group"))
        carry = shape.carry
        if carry is None:
            return RowGroups(group=group)
        if group is not None and carry.within not in (None, shape.group):
            self.add("carry goes by the column of group; remove within", at("carry", "within"))
        return RowGroups(
            carry=tuple(Text(name, at("carry", "columns", number)) for number, name in enumerate(carry.columns)),
            within=None if carry.within is None else Text(carry.within, at("carry", "within")),
            group=group,
        )

    def kept(self) -> KeptColumns:
        keep = self.shape.keep
        if keep and "rows" not in self.document.value:
            self.add("keep names columns; name a table in rows, or remove it", self.document.at("keep"))
        if isinstance(keep, str):
            return KeptColumns(wanted=None)
        return KeptColumns(wanted=tuple(Text(name, self.document.at("keep", n)) for n, name in enumerate(keep)))

    def _sort(self, number: int, sort: SortShape) -> Sort:
        words = () if isinstance(sort.order, str) else sort.order
        if words and sort.numeric:
            self.add("numeric and a list of words exclude each other", self.document.at("sort", number, "numeric"))
        return Sort(
            by=Text(sort.by, self.document.at("sort", number, "by")),
            descending=sort.order == "desc",
            numeric=sort.numeric,
            words=words,
        )

    def _price_table(self, models: ModelChanges) -> PriceList | None:
        found: PriceList | None = None
        if self.shape.price_table is not None:
            at = self.document.at("price_table")
            table = self.path.parent / self.shape.price_table
            found = load_price_table(table, show_path(self.path), at, self.problems)
        changes = {name: prices for name, prices in models.prices.items() if prices}
        return replace(found or PriceList(), changes=changes) if changes else found

    def check_folder(self, reference_root: str) -> None:
        """References are looked up later; a missing folder is one problem, not one per picture."""
        if not os.path.isdir(self.path.parent / reference_root):  # False as well for a name that cannot be one
            message = "reference_root is not a folder; name one that exists"
            self.add(message, self.document.at("reference_root"))

    def add(self, message: str, at: At) -> None:
        """Note a problem, unless something was said about this place already."""
        self.problems.add_once_at(message, at.line, at.column)

    def _name(self) -> str:
        name = self.shape.name
        if name is None:
            name = re.sub(r"\s+", "-", self.path.stem)
            if name_problem(name) is not None:
                self.add("the file's name cannot name the output; add name: with a plain word", At(1, 1))
        return name
