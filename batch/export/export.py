"""An export, read aloud: pick the pictures, find their rows, write pictures and table beside, put them in place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from batch.album import Album, open_album
from batch.core.errors import InputError, MissingInputError, OptionError, OutputError, Problem
from batch.core.settings import GIVEN_MANIFEST
from batch.export.conversion import checked, mime_after
from batch.export.copies import copy_table
from batch.export.edits import EditRules, Edits
from batch.export.facts import FACTS, Addresses, Cell, checked_base_url, compiled, filled, values, with_facts
from batch.export.handing import Task, hand_over
from batch.export.join import Join, join, rows_of_pictures
from batch.export.names import Names
from batch.export.picks import Pick, Picks, pick_pictures
from batch.export.place import Beside, beside
from batch.export.provenance import COMPOSITE, GENERATED, Provenance
from batch.export.settings import Column, ExportOptions, Layout, Status
from batch.export.summary import Export
from batch.export.tars import write_tars
from batch.export.writers import ENDINGS, format_problem, write_table
from batch.manifest import Manifest, load_manifest
from batch.manifest.ids import path_problem
from batch.manifest.tables.rows import Table
from batch.manifest.templating.templates import Template
from batch.store.places import shelf_of

_OWN_TABLE: Final = "pictures"
#: What a table of our own says of each picture.
_OWN_COLUMNS: Final = (
    *(Column(names=(name,), value=f"{{{{ {name} }}}}") for name in ("id", "link", "prompt", "caption", "model")),
    *(Column(names=(name,), value=f"{{{{ {name} }}}}") for name in ("width", "height", "sha256")),
)


def export(output: Path, options: ExportOptions) -> Export:
    """Hand an output's pictures over. Only reads the output folder, but for `export/` in it.

    Raises `OutputError`, `LedgerError`, `InputError` (the manifest, its tables, an option) or `StorageError`; then
    nothing was put in place.
    """
    _check(options)
    album = open_album(output)
    manifest = _manifest(album, options)
    picks = pick_pictures(album, options.include, has_manifest=manifest is not None)
    return _Exporter(output=output, options=options, album=album, manifest=manifest, picks=picks).export()


def _check(options: ExportOptions) -> None:
    checked_base_url(options.base_url)
    if options.conversion is not None:
        checked(options.conversion)
    if options.preset.needs_url and not options.base_url:
        words = f"--for {options.preset.name} needs --base-url: the shop fetches pictures from public addresses"
        raise OptionError([Problem(message=f"{words}; name where the folder images/ will be served")])
    wanted = options.table_format or options.preset.table_format or ""
    if wrong := format_problem(wanted):
        raise OptionError([Problem(message=wrong)])


def _manifest(album: Album, options: ExportOptions) -> Manifest | None:
    """The manifest of the option, or of the last run; None if a program handed it over as values."""
    if options.manifest is not None:
        return load_manifest(options.manifest, allow_empty=True)
    last = album.last_run()
    named = "" if last is None else last.manifest
    if named in ("", GIVEN_MANIFEST):
        return None
    try:
        return load_manifest(_place_of(named, album.output), allow_empty=True)
    except MissingInputError as error:
        words = f"the manifest of the last run is not there; name it with --manifest ({error.problems[0].message})"
        raise InputError([Problem(message=words, file=named)]) from None


def _place_of(named: str, output: Path) -> Path:
    """Where the manifest is that a run was given as `named`: below the current folder, or one that the output is in."""
    folders = (Path(), *output.resolve().parents)
    return next((folder / named for folder in folders if (folder / named).is_file()), Path(named))


@dataclass(slots=True, kw_only=True)
class _Exporter:
    output: Path
    options: ExportOptions
    album: Album
    manifest: Manifest | None
    picks: Picks
    not_converted: list[tuple[str, str]] = field(default_factory=list)
    unmarked: int = 0
    changed_rows: int = 0
    tables: list[str] = field(default_factory=list)
    added: dict[str, None] = field(default_factory=dict)
    _names: Names = field(default_factory=Names)
    _template: tuple[Sequence[str], Template] | None = None

    def export(self) -> Export:
        target = (self.options.to or self.output / "export" / self.options.preset.name).absolute()
        joined = self._joined()
        if not self.picks.by_job:
            return self._summary(target, joined)
        if target == self.output.absolute():
            raise OutputError(f"{target} is the output folder itself; name another one with --to")
        self._check_templates(joined)
        with beside(target) as writing:
            if not self.options.table_only:
                self._write_pictures(writing)
            self._write_tables(writing, joined)
        return self._summary(target, joined)

    def _joined(self) -> Join | None:
        if self.manifest is not None:
            return join(self.manifest, self.picks, self._give_names)
        for own in self.picks.by_job.values():
            self._give_names((), (), own)
        return None

    def _give_names(self, names: Sequence[str], cells: Sequence[Any], picks: list[Pick]) -> None:
        """Of a job's pictures: by the template of `--names`, or as they are called in the output."""
        for number, pick in enumerate(picks):
            mime = mime_after(pick.mime, self.options.conversion)
            wanted = "" if self.options.names is None else self._named(names, cells, picks, number)
            pick.name = self._names.give(pick, wanted, mime)

    def _named(self, names: Sequence[str], cells: Sequence[Any], picks: list[Pick], number: int) -> str:
        assert self.options.names is not None
        if self._template is None or self._template[0] != names:
            self._template = names, compiled(self.options.names, with_facts(names), "--names")
        facts = values(picks, number, self._addresses, Cell())
        name = filled(self._template[1], [*cells, *facts], "--names", picks[number].job)
        wrong = path_problem(name)
        if wrong is not None:
            raise InputError(
                [Problem(message=f"--names: {wrong}; write {{{{ Column | slug }}}}", job=picks[number].job)]
            )
        return name

    @property
    def _addresses(self) -> Addresses:
        return Addresses(folder=self.options.preset.folder, base_url=self.options.base_url)

    def _write_pictures(self, writing: Beside) -> None:
        shelf, addresses = shelf_of(self.output), self._addresses
        picks = list(self.picks.all())
        tasks = [self._task(pick, shelf.local(pick.path), writing.path(addresses.path(pick))) for pick in picks]
        failed: set[str] = set()
        for pick, handed in zip(picks, hand_over(tasks, converting=any(t.is_changed for t in tasks)), strict=True):
            if handed.problem:
                self.not_converted.append((pick.job, handed.problem))
                writing.drop(addresses.path(pick))
                failed.add(pick.job)
                pick.name = ""
                continue
            self.unmarked += bool(handed.unmarked)
            pick.mime = mime_after(pick.mime, self.options.conversion)
            pick.width, pick.height = handed.width or pick.width, handed.height or pick.height
            pick.size_bytes, pick.sha256 = handed.size_bytes, handed.sha256
        if len(self.not_converted) == len(picks):
            words = [Problem(message=f"the picture {problem}", job=job) for job, problem in self.not_converted]
            raise InputError(words)
        for job in failed:
            self.picks.by_job[job][:] = [pick for pick in self.picks.by_job[job] if pick.name]

    def _task(self, pick: Pick, source: str, target: str) -> Task:
        return Task(
            source=source,
            target=target,
            sha256=pick.sha256,
            mime=pick.mime,
            conversion=self.options.conversion,
            provenance=self._provenance(pick) if self.options.provenance else None,
        )

    def _provenance(self, pick: Pick) -> Provenance:
        kind = self.options.source_type or (COMPOSITE if pick.has_references else GENERATED)
        return Provenance(source_type=kind, prompt=pick.prompt, model=pick.model, job=pick.job)

    def _write_tables(self, writing: Beside, joined: Join | None) -> None:
        preset = self.options.preset
        if preset.layout is Layout.TARS:
            self.tables = write_tars(writing, self._samples(), self.options.per_tar)
        elif preset.layout is Layout.PICTURES or joined is None or not joined.tables:
            self._write_own_table(writing)
        else:
            for table, picks in zip(joined.tables, joined.picks, strict=True):
                self._write_source(writing, table, picks, joined)

    def _columns(self) -> list[Column]:
        """The preset's, in whose place those of `--set` come that have the same name."""
        set_names = {name for column in self.options.columns for name in column.names}
        kept = [column for column in self.options.preset.columns if not set_names & set(column.names)]
        return [*kept, *self.options.columns]

    def _check_templates(self, joined: Join | None) -> None:
        """What cannot be filled for any row is told before pictures are copied."""
        if joined is not None and self.options.preset.layout is Layout.TABLE:
            for table in joined.tables:
                Edits(table, {}, self._rules(joined)).close()

    def _rules(self, joined: Join) -> EditRules:
        return EditRules(
            columns=self._columns(),
            further_rows_by=self.options.preset.further_rows_by,
            addresses=self._addresses,
            exported_rows_only=self.options.exported_rows_only,
            most_pictures=joined.most_pictures,
            excel_safe=self.options.excel_safe,
        )

    def _write_source(self, writing: Beside, table: Table, picks: dict[int, list[Pick]], joined: Join) -> None:
        left = {line: [pick for pick in found if pick.name] for line, found in picks.items()}
        edits = Edits(table, {line: found for line, found in left.items() if found}, self._rules(joined))
        self.added |= dict.fromkeys(edits.added)
        wanted = self.options.table_format or self.options.preset.table_format
        if wanted in (None, table.kind):
            with writing.writing(self._table_name(_name_of(table))) as out:
                self.changed_rows += copy_table(table, edits, out)
        else:
            with writing.writing(self._table_name(_name_of(table).with_suffix(ENDINGS[wanted]))) as out:
                write_table(wanted, edits.columns, self._rows_of(edits), out)

    def _table_name(self, name: Path) -> str:
        """The name, or another one if a table of another folder has it."""
        free, number = str(name), 1
        while free in self.tables:
            number += 1
            free = f"{name.stem}-{number}{name.suffix}"
        self.tables.append(free)
        return free

    def _rows_of(self, edits: Edits) -> Iterator[list[Any]]:
        width = len(edits.columns)
        for row in edits.rows():
            if row.kept:
                self.changed_rows += bool(row.changes)
                cells = [*row.cells, *[""] * (width - len(row.cells))]
                yield [row.changes.get(index, cell) for index, cell in enumerate(cells)]
            for added in row.after:
                yield [added.get(index, "") for index in range(width)]

    def _write_own_table(self, writing: Beside) -> None:
        """A line for each picture: its row's columns, if it has one, and what the preset and `--set` say."""
        preset = self.options.preset
        columns = self._columns()
        if preset.layout is Layout.TABLE:
            columns = [*_OWN_COLUMNS, *self.options.columns]
        if not columns:
            return
        wanted = self.options.table_format or preset.table_format or "csv"
        name = preset.table_name or _OWN_TABLE + ENDINGS[wanted]
        source = self._source_columns()
        with writing.writing(self._table_name(Path(name))) as out:
            write_table(wanted, [*source, *(c.names[0] for c in columns)], self._own_rows(source, columns), out)

    def _source_columns(self) -> list[str]:
        """The columns of the manifest's rows; their names come once, and not where we fill one of that name."""
        own = {name for column in self._columns() for name in column.names}
        for pair, _ in rows_of_pictures(self.manifest, self.picks):
            if pair is not None and pair.row is not None:
                return [name for name in pair.row.names if name and name not in own]
            break
        return []

    def _own_rows(self, source: Sequence[str], columns: Sequence[Column]) -> Iterator[list[Any]]:
        templates: tuple[Sequence[str], list[Template]] | None = None
        for pair, picks in rows_of_pictures(self.manifest, self.picks):
            row = None if pair is None else pair.row
            names, cells = ((), ()) if row is None else (row.names, row.cells)
            if templates is None or templates[0] != names:
                found = with_facts(names)
                templates = names, [compiled(c.value, found, f"--set {c.names[0]}") for c in columns]
            known = dict(zip(names, cells, strict=False))
            for number in range(len(picks)):
                given = [*cells, *values(picks, number, self._addresses, Cell())]
                texts = [filled(template, given, "--set", picks[number].job) for template in templates[1]]
                self.changed_rows += 1
                yield [*(known.get(name) for name in source), *texts]

    def _samples(self) -> Iterator[tuple[Pick, dict[str, Any], str]]:
        """Each picture with what its .json says, and its file."""
        for pair, picks in rows_of_pictures(self.manifest, self.picks):
            row = None if pair is None or pair.row is None else dict(zip(pair.row.names, pair.row.cells, strict=False))
            for number, pick in enumerate(picks):
                facts = dict(zip(FACTS, values(picks, number, self._addresses, Cell()), strict=True))
                kept = ("id", "prompt", "caption", "model", "width", "height", "sha256")
                about = {name: facts[name] for name in kept}
                if row is not None:
                    about["row"] = {name: cell for name, cell in row.items() if name and not isinstance(cell, bytes)}
                yield pick, about, self._addresses.path(pick)

    def _summary(self, target: Path, joined: Join | None) -> Export:
        left_out = self.picks.left_out
        return Export(
            output=str(self.output),
            to=str(target),
            preset=self.options.preset.name,
            tables=[str(target / name) for name in self.tables],
            pictures=sum(len(picks) for picks in self.picks.by_job.values()),
            changed_rows=self.changed_rows,
            added_columns=[*self.added],
            left_out={why: left_out.counts[why] for why in Status if why in left_out.counts},
            left_out_ids={str(why): names for why, names in left_out.named.items()},
            not_converted=self.not_converted,
            unmarked=self.unmarked,
            edited=0 if joined is None else joined.edited.counts.get("edited", 0),
            edited_ids=[] if joined is None else joined.edited.named.get("edited", []),
            rows_not_read=0 if joined is None else len(joined.problems),
            reviewed=self.picks.reviewed,
            simulated=self.album.simulated,
            manifest="" if self.manifest is None else str(self.manifest.path),
            next_step=self.options.preset.next_step.replace("{folder}", str(target)),
        )


def _name_of(table: Table) -> Path:
    """What the copy of a table is called: as the table, unpacked, and what was piped in by its format."""
    if table.copy is not None:
        return Path("table").with_suffix(ENDINGS[table.kind])
    name = Path(table.file.name.removesuffix(".gz"))
    return name.with_suffix(".xlsx") if table.kind == "xlsx" else name
