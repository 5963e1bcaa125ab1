"""A first manifest for a table: which column is the id, which says what the picture shows, what goes along.

The guesses are simple and each is explained in a comment, for the user to correct. What is written has been
loaded and checked to the last row before, so a starter always works as it stands; what is wrong with the table
itself is told as for any manifest.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from batch.errors import InputError, MissingInputError, OutputError, Problem
from batch.manifest.files import FileProblem, open_regular, reason
from batch.manifest.ids import id_key, id_problem, name_problem, slug
from batch.manifest.manifest import load_manifest
from batch.manifest.problems import show, show_path, unfit_text
from batch.manifest.templates import Columns, Template, TemplateProblem, underscored

#: Column names people use, folded (letters and digits only), best first.
_ID_NAMES: Final = (
    "handle", "sku", "id", "productid", "itemid", "articleid", "artikelnummer", "artikelnr", "artnr", "artno",
    "articlenumber", "itemnumber", "itemno", "partnumber", "productnumber", "produktnummer", "bestellnummer",
    "variantsku", "asin", "ean", "gtin", "barcode", "slug", "key", "code", "nr", "number",
)  # fmt: skip
_PROMPT_NAMES: Final = ("prompt", "imageprompt", "prompttext")
_TITLE_NAMES: Final = (
    "title", "name", "product", "productname", "producttitle", "producttitel", "itemname", "produktname", "produkt",
    "artikelname", "artikel", "artikelbezeichnung", "bezeichnung", "titel", "titre", "nom", "titulo", "nombre",
)  # fmt: skip
_TEXT_NAMES: Final = (
    "bodyhtml", "body", "description", "productdescription", "shortdescription", "beschreibung",
    "produktbeschreibung", "artikelbeschreibung", "kurzbeschreibung", "text", "details", "descripcion",
)  # fmt: skip
_PICTURE_NAME: Final = re.compile(r"image|picture|photo|bild|foto|img")
_PICTURE_FILE: Final = re.compile(r"(?i)\.(png|jpe?g|webp|gif|bmp|tiff?|avif)$")
_PICTURE_FOLDERS: Final = ("", "photos", "images", "pictures", "bilder", "fotos", "img")
_PICTURE_ENDINGS: Final = (".jpg", ".png", ".webp", ".jpeg")
_MEASURE: Final = re.compile(r"price|preis|cost|qty|quantity|menge|stock|bestand|weight|gewicht|grams")
_DECIMAL: Final = re.compile(r"\d+[.,]\d+")
_TAG: Final = re.compile(r"</?[a-zA-Z][^>]*>|&[a-zA-Z#0-9]+;")

_USUAL_DELIMITER: Final = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": "\t"}
_DELIMITER_WORDS: Final = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "pipe"}
_SNIFFED_ROWS: Final = 50
_LONG_TEXT: Final = 600
_KEYS: Final = {"anyfast": "ANYFAST_API_KEY", "google": "GEMINI_API_KEY"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """What was written, and what to say about it. `next_commands` are whole lines to type."""

    path: Path
    jobs: int
    next_commands: tuple[str, ...]


def write_starter(table: Path | None, manifest: Path | None, *, provider: str) -> Starter:
    """Write a commented manifest for `table` (or three example jobs) to `manifest`, and never over a file.

    Raises InputError for a table that no manifest can use, OutputError if the manifest cannot be written.
    """
    if manifest is None:
        manifest = Path("jobs.yaml") if table is None else table.with_suffix(".yaml")
    if os.path.lexists(manifest):
        raise OutputError(f"{show_path(manifest)} exists already and is kept; name another file with -o")
    if not manifest.parent.is_dir():
        raise OutputError(f"{show_path(manifest.parent)} is not a folder; create it, or name another file with -o")
    if table is None:
        text = _example(manifest, provider)
        jobs = _checked(text, manifest)
    else:
        text, jobs = _for_table(_read(table), table, manifest, provider)
    try:
        with manifest.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise OutputError(f"{show_path(manifest)} cannot be written: {reason(error)}") from error
    return Starter(path=manifest, jobs=jobs, next_commands=_next_commands(manifest))


def _next_commands(manifest: Path) -> tuple[str, str]:
    return shlex.join(["imagebatch", "plan", str(manifest)]), shlex.join(["imagebatch", "run", str(manifest)])


# ---- reading the table --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """A table as far as it could be made out. Rows of a wrong width are left to the check, which names them."""

    text: str
    encoding: str
    delimiter: str
    usual_delimiter: str
    header: tuple[str, ...]

    def records(self) -> Iterator[list[str]]:
        records = _records(self.text, self.delimiter)
        next(records, None)
        return records

    def rows(self) -> Iterator[list[str]]:
        return (row for row in self.records() if len(row) == len(self.header))


def _read(table: Path) -> _Table:
    ending = table.suffix.lower()
    usual = _USUAL_DELIMITER.get(ending)
    if usual is None:
        raise _wrong(table, f"init reads .csv or .tsv; got {show(ending or table.name)}, save the table as .csv")
    try:
        with open_regular(table) as stream:
            data = stream.read()
    except (FileProblem, OSError) as error:
        message = reason(error) if isinstance(error, OSError) else str(error)
        raise MissingInputError([Problem(message=message, file=show_path(table))]) from error
    encoding, text = _decoded(data, table)
    if not text.strip():
        raise _wrong(table, "the file is empty; the first line names the columns, the others are the rows")
    if re.match(r'"?sep=.', text):
        raise _wrong(table, "the first line (sep=...) is meant for a spreadsheet only; remove it", 1)
    delimiter = _delimiter(text, usual)
    header = tuple(name.strip() for name in next(_records(text, delimiter), []))
    if not any(header):
        raise _wrong(table, "has no header line; the first line names the columns", 1)
    for name in header:
        if name and header.count(name) > 1:
            raise _wrong(table, f'the column "{show(name)}" is named twice; rename one', 1)
    if not any(_usable(name) for name in header):
        raise _wrong(table, "no column has a name that can be used; give the columns plain names", 1)
    found = _Table(text=text, encoding=encoding, delimiter=delimiter, usual_delimiter=usual, header=header)
    if next(found.records(), None) is None:
        message = "the rows cannot be read: a quoted cell is never closed, or something follows its closing quote"
        raise _wrong(table, message if '"' in text else "has a header but no rows; write at least one under it", 1)
    return found


def _wrong(table: Path, message: str, line: int | None = None) -> InputError:
    return InputError([Problem(message=message, file=show_path(table), line=line)])


def _decoded(data: bytes, table: Path) -> tuple[str, str]:
    """The name of the encoding and the text. Bytes that are not UTF-8 are what Windows writes in the West."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        tried: tuple[str, ...] = ("utf-16",)
    elif data[:4] == b"PK\x03\x04" or b"\0" in data:
        raise _wrong(table, "this is no text; in the spreadsheet choose Save as, CSV UTF-8")
    else:
        tried = ("utf-8-sig", "cp1252")
    for encoding in tried:
        try:
            return encoding, data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise _wrong(table, "the text is neither UTF-8 nor cp1252; in the spreadsheet choose Save as, CSV UTF-8")


def _records(text: str, delimiter: str) -> Iterator[list[str]]:
    """Rows up to the first that cannot be read; what is wrong with it is said by the check."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        yield from (row for row in reader if any(row))
    except csv.Error:
        return


def _delimiter(text: str, usual: str) -> str:
    """The character that cuts the first rows into most cells, all alike; the usual one if none does."""
    best, cells = usual, 1
    for delimiter in (usual, *(each for each in _DELIMITER_WORDS if each != usual)):
        widths = [len(row) for _, row in zip(range(_SNIFFED_ROWS), _records(text, delimiter), strict=False)]
        agreeing = sum(width == widths[0] for width in widths) if widths else 0
        if agreeing >= 0.9 * len(widths) and widths and widths[0] > cells:
            best, cells = delimiter, widths[0]
    return best


# ---- guessing what the columns are --------------------------------------------------------------------------


def _folded(name: str) -> str:
    """`Artikel-Nr.` and `artikelnr` are the same name."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[^a-z0-9]", "", plain.casefold())


class _Values:
    """What a column holds over all rows, as far as it matters for an id. Forgets what cannot be one any more."""

    def __init__(self, *, only_unique: bool) -> None:
        self._only_unique = only_unique
        self.complete = True
        self.repeats = False
        self.fits = True
        self.decimals = True
        self._seen: set[str] = set()
        self._ids: set[bytes] = set()
        self._slugs: set[bytes] = set()
        self._slugs_fit = True
        self._lost = False

    def add(self, value: str) -> None:
        if not value.strip():
            self.complete = False
            self._lost = True
        if self._lost:
            return
        if value in self._seen:
            self.repeats = True
            self._lost = self._only_unique
            return
        self._seen.add(value)
        self.decimals = self.decimals and _DECIMAL.fullmatch(value) is not None
        self.fits = self.fits and id_problem(value) is None
        short = slug(value)
        self._slugs_fit = self._slugs_fit and id_problem(short) is None
        if self._slugs_fit:
            self._slugs.add(id_key(short))
        if self.fits:
            self._ids.add(id_key(value))
        elif self._only_unique and not self._slugs_fit:
            self._lost = True

    @property
    def is_id(self) -> bool:
        """Whether its distinct values are distinct ids as they stand."""
        return self.complete and self.fits and len(self._ids) == len(self._seen)

    @property
    def is_id_as_slug(self) -> bool:
        return self.complete and self._slugs_fit and len(self._slugs) == len(self._seen)


@dataclass(frozen=True, slots=True)
class _Id:
    """The column that tells jobs apart; `filter` makes an id of it, `repeats` needs `unique`."""

    column: int
    filter: str
    repeats: bool


@dataclass(slots=True, kw_only=True)
class _Guess:
    """The choices for one table, ready to be written."""

    id: _Id | None
    prompt: str
    why_prompt: list[str]
    reference: str | None = None
    reference_folder: str = ""
    why_reference: list[str] = field(default_factory=list)


class _Guesser:
    """Goes through a table twice: for the id, then, over the rows that are left, for the rest."""

    def __init__(self, table: _Table, folder: Path) -> None:
        self._table = table
        self._folder = folder
        self._columns = Columns(table.header)
        self._usable = [index for index, name in enumerate(table.header) if _usable(name)]
        self._by_name = {_folded(table.header[index]): index for index in reversed(self._usable)}

    def guess(self) -> _Guess:
        found = self._find_id()
        prompt, why = self._prompt(found)
        guess = _Guess(id=found, prompt=prompt, why_prompt=why)
        self._add_reference(guess)
        return guess

    def name(self, index: int) -> str:
        return self._table.header[index]

    def expression(self, index: int) -> str:
        """How a template names a column: plain if it can be."""
        name = self.name(index)
        markers = [str(position) for position in range(len(self._table.header))]
        for form in (name, underscored(name)):
            try:
                if form.isidentifier() and Template(f"{{{{ {form} }}}}", self._columns).fill(markers) == str(index):
                    return form
            except TemplateProblem:
                continue
        return f"row[{_jinja_string(name)}]"

    def _named(self, names: Iterable[str]) -> list[int]:
        return [self._by_name[name] for name in names if name in self._by_name]

    def _values(self, indices: Sequence[int], *, only_unique: bool = False) -> dict[int, _Values]:
        columns = {index: _Values(only_unique=only_unique) for index in indices}
        for row in self._table.rows():
            for index, values in columns.items():
                values.add(row[index])
        return columns

    def _find_id(self) -> _Id | None:
        titles = self._named(_TITLE_NAMES)
        named = self._values([*self._named(_ID_NAMES), *titles])
        for index, values in named.items():
            found = _as_id(index, values)
            if found is not None:
                return found
        others = [index for index in self._usable if not _MEASURE.search(_folded(self.name(index)))]
        unique = {
            index: values
            for index, values in self._values(others, only_unique=True).items()
            if not (values.repeats or values.decimals)
        }
        for index, values in unique.items():
            if values.is_id:
                return _Id(index, "", repeats=False)
        for index, values in unique.items():
            if values.is_id_as_slug:
                return _Id(index, " | slug", repeats=False)
        # Titles in a script without an ASCII form name no file; the prompt does.
        for index in (*titles, *self._named(_PROMPT_NAMES), *others):
            values = self._values([index])[index]
            if values.complete and values.repeats and not values.decimals:
                return _as_id(index, values) or _Id(index, "-", repeats=True)
        return None

    def _rows(self, found: _Id | None) -> Iterator[list[str]]:
        """The rows that make jobs."""
        seen: set[str] = set()
        for row in self._table.rows():
            if found is None or not found.repeats:
                yield row
            elif row[found.column] not in seen:
                seen.add(row[found.column])
                yield row

    def _prompt(self, found: _Id | None) -> tuple[str, list[str]]:
        filled = dict.fromkeys(self._usable, 0)
        wordy = dict.fromkeys(self._usable, 0)
        longest = dict.fromkeys(self._usable, 0)
        marked_up: set[int] = set()
        count = 0
        for row in self._rows(found):
            count += 1
            for index in self._usable:
                value = row[index]
                filled[index] += bool(value.strip())
                wordy[index] += any(character.isalpha() for character in value) and "://" not in value
                if _TAG.search(value):
                    marked_up.add(index)
                longest[index] = max(longest[index], len(value))
        for index in self._named(_PROMPT_NAMES):
            if filled[index] == count:
                return f"{{{{ {self.expression(index)} }}}}", [f"The column {_quoted(self.name(index))} is the prompt."]
        title = self._title(found, filled, wordy, count)
        why = ["What the picture shows; {{ Column }} is filled from the row. Say what you want to see: the surface,"]
        why += ["the light, the angle."]
        words = self.expression(title)
        if title not in self._named(_TITLE_NAMES):
            why.append(f"No column is called Title or Name; {_quoted(self.name(title))} says most.")
        if filled[title] < count and found is not None and found.column != title:
            words = f"{words} or {self.expression(found.column)}"
            why.append(f"{_quoted(self.name(title))} is empty in some rows, so the id stands in for it there.")
        if title in marked_up:
            words = f"({words}) | strip_html" if " or " in words else f"{words} | strip_html"
        lines = [f"Product photo of {{{{ {words} }}}}."]
        for index in self._named(_TEXT_NAMES):
            if filled[index] and index != title:
                lines.append(self._description(index, html=index in marked_up, long=longest[index] > _LONG_TEXT))
                if index in marked_up:
                    why.append(f"strip_html leaves the words of {_quoted(self.name(index))} and drops its HTML.")
                break
        lines.append("Plain light background, soft daylight, nothing cut off, no text in the picture.")
        return "\n".join(lines), why

    def _title(self, found: _Id | None, filled: dict[int, int], wordy: dict[int, int], count: int) -> int:
        named = self._named(_TITLE_NAMES)
        whole = [index for index in named if filled[index] == count]
        if whole:
            return whole[0]
        if any(filled[index] for index in named):
            return max(named, key=lambda index: filled[index])
        texts = [index for index in self._named(_TEXT_NAMES) if filled[index] == count]
        others = [index for index in self._usable if found is None or index != found.column]
        best = max(others, key=lambda index: wordy[index], default=None)
        if texts:
            return texts[0]
        if best is not None and wordy[best] == count:
            return best
        if found is not None:
            return found.column
        return max(self._usable, key=lambda index: (wordy[index], filled[index]))

    def _description(self, index: int, *, html: bool, long: bool) -> str:
        filters = " | strip_html" if html else ""
        filters += f" | truncate({_LONG_TEXT})" if long else ""
        return f"{{{{ {self.expression(index)}{filters} }}}}"

    # ---- pictures that are there already ----

    def _add_reference(self, guess: _Guess) -> None:
        pictures = [
            index for index in self._usable
            if _PICTURE_NAME.search(_folded(self.name(index))) or self._holds_pictures(index)
        ]  # fmt: skip
        addresses = None
        for index in pictures:
            values = [row[index].strip() for row in self._rows(guess.id)]
            if any("://" in value for value in values):
                addresses = addresses or self.name(index)
            for folder in _PICTURE_FOLDERS:
                if self._all_there(values, folder, ""):
                    guess.reference = f"{{{{ {self.expression(index)} | trim }}}}"
                    guess.reference_folder = folder
                    guess.why_reference = [f"The files named in {_quoted(self.name(index))} go along with each prompt."]
                    return
        if guess.id is not None:
            ids = [row[guess.id.column] for row in self._rows(guess.id)]
            for folder in _PICTURE_FOLDERS:
                for ending in _PICTURE_ENDINGS:
                    if self._all_there(ids, folder, ending):
                        guess.reference = f"{{{{ {self.expression(guess.id.column)} }}}}{ending}"
                        guess.reference_folder = folder
                        guess.why_reference = [f"{folder or 'This folder'} has a picture for every row; it goes along."]
                        return
        if addresses is not None:
            guess.why_reference = [
                f"{_quoted(addresses)} holds addresses. They are not fetched: to send a product's own picture along,",
                "save the pictures beside this file and write, for example,",
                '  references: ["photos/{{ ... }}.jpg"]',
            ]

    def _holds_pictures(self, index: int) -> bool:
        first = next(self._table.rows(), None)
        return first is not None and _PICTURE_FILE.search(first[index].strip()) is not None

    def _all_there(self, values: Sequence[str], folder: str, ending: str) -> bool:
        """Whether every value names a file below the table's folder."""
        return bool(values) and all(
            value and "://" not in value and "\0" not in value and self._is_file(os.path.join(folder, value + ending))
            for value in values
        )

    def _is_file(self, name: str) -> bool:
        root = os.path.realpath(self._folder)
        try:
            file = os.path.realpath(os.path.join(root, name))
            return file.startswith(root.rstrip(os.sep) + os.sep) and os.path.isfile(file)
        except (OSError, ValueError):
            return False


def _as_id(index: int, values: _Values) -> _Id | None:
    if values.is_id:
        return _Id(index, "", values.repeats)
    if values.is_id_as_slug:
        return _Id(index, " | slug", values.repeats)
    return None


def _usable(name: str) -> bool:
    """A column that can be named in a manifest."""
    return bool(name) and name.isprintable() and unfit_text(name) is None


def _jinja_string(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _quoted(text: str) -> str:
    return f'"{show(text)}"'


# ---- writing ------------------------------------------------------------------------------------------------


def _for_table(table: _Table, path: Path, manifest: Path, provider: str) -> tuple[str, int]:
    guess = _Guesser(table, path.parent).guess
    found = guess()
    try:
        text = _written(table, found, path, manifest, provider)
        return text, _checked(text, manifest)
    except InputError:
        if found.reference is None:
            raise
    # A picture that cannot be sent (damaged, too large) is no reason to have no manifest.
    found.reference = None
    found.why_reference = ["Some of the pictures beside the table cannot be sent along, so none is."]
    text = _written(table, found, path, manifest, provider)
    return text, _checked(text, manifest)


def _checked(text: str, manifest: Path) -> int:
    """How many jobs the text makes, were it the manifest; InputError if it would not do."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=".starter-", suffix=".yaml", dir=manifest.parent)
    except OSError as error:
        raise OutputError(f"{show_path(manifest.parent)} cannot be written: {reason(error)}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        # Named as the user names the folder: that is how the table's problems are to be shown.
        draft = manifest.parent / Path(name).name
        return sum(1 for _ in load_manifest(draft).check())
    except InputError as error:
        problems = [_without_place(problem, Path(name).name, manifest) for problem in error.problems]
        raise InputError(problems, more=error.more) from error
    finally:
        os.unlink(name)


def _without_place(problem: Problem, draft: str, manifest: Path) -> Problem:
    """A line of a file that was never written helps nobody."""
    if problem.file is None or not problem.file.endswith(draft):
        return problem
    return Problem(message=f"no starter fits this table: {problem.message}", file=show_path(manifest))


def _written(table: _Table, guess: _Guess, path: Path, manifest: Path, provider: str) -> str:
    here = os.path.relpath(str(path.parent), str(manifest.parent))
    lines = [*_top(manifest, provider, f"Made from {show(path.name)}; every guess is yours to change.")]
    lines += ["# The table. It is streamed, so it may have a million rows."]
    lines += _rows_lines(table, _joined(here, path.name))
    header = table.header
    if guess.id is not None and guess.id.repeats:
        lines += [
            "",
            f"# {_quoted(header[guess.id.column])} repeats: one row per variant? The first row of each value is taken;",
            "# the others are left out. For a picture of every row, remove this and give each an id of its own.",
            f"unique: {_text(header[guess.id.column])}",
        ]
    if guess.reference is not None and here != ".":
        lines += ["", "# References are uploaded, so they must lie in this folder.", f"reference_root: {_text(here)}"]
    lines += ["", "jobs:", *_job_lines(table, guess, here)]
    return "\n".join(lines) + "\n"


def _job_lines(table: _Table, guess: _Guess, here: str) -> Iterator[str]:
    names = _Guesser(table, Path())
    start = "  - "
    if guess.id is not None and guess.id.filter != "-":
        column = names.name(guess.id.column)
        yield f"  # The id names the picture's file and the job for ever. {_quoted(column)} tells the rows apart" + (
            "; slug makes it" if guess.id.filter else "."
        )
        if guess.id.filter:
            yield "  # fit for a file name."
        yield f"{start}id: {_text(f'{{{{ {names.expression(guess.id.column)}{guess.id.filter} }}}}')}"
        start = "    "
    else:
        yield "  # No column can name the pictures' files, so the prompt does: a job you edit is a new job."
    for why in guess.why_prompt:
        yield f"{start if start == '    ' else '  '}# {why}"
    yield f"{start}prompt: >-"
    yield from (f"      {line}" for line in guess.prompt.split("\n"))
    for why in guess.why_reference:
        yield f"    # {why}"
    if guess.reference is not None:
        yield f"    references: [{_text(_joined(here, guess.reference_folder, guess.reference))}]"


def _rows_lines(table: _Table, name: str) -> Iterator[str]:
    unusual = []
    if table.delimiter != table.usual_delimiter:
        word = _DELIMITER_WORDS[table.delimiter]
        yield f"# Its cells are separated by {'a tab' if word == 'tab' else f'a {word}'}, as some spreadsheets do."
        unusual.append(f"delimiter: {word}")
    if table.encoding == "utf-16":
        unusual.append("encoding: utf-16")
    elif table.encoding != "utf-8-sig":
        yield "# It is not UTF-8. cp1252 (Windows, western languages) is a guess: see in `plan` whether letters such as"
        yield "# ä and é are right; if not, save the table as UTF-8 or name its encoding."
        unusual.append(f"encoding: {table.encoding}")
    if unusual:
        yield f"rows: {{file: {_text(name)}, {', '.join(unusual)}}}"
    else:
        yield f"rows: {_text(name)}"


def _top(manifest: Path, provider: str, made_from: str) -> Iterator[str]:
    plan, run = _next_commands(Path(manifest.name))
    yield "# yaml-language-server: $schema=manifest.schema.json"
    yield "# (The line above lets an editor complete and check this file, once you have typed, in this folder,"
    yield "#  `imagebatch schema > manifest.schema.json`.)"
    yield "#"
    yield f"# {made_from} Next, in this folder:"
    yield "#"
    yield f"#     {plan}    what would be sent, and what it costs; sends nothing"
    yield f"#     {run}"
    yield "#"
    yield "# Every field is explained in docs/manifest.md."
    yield ""
    yield f"name: {_text(_run_name(manifest))}    # the pictures come to output/<name>"
    if provider in _KEYS:
        yield f"provider: {provider}    # every picture is paid; the key is read from {_KEYS[provider]}"
    else:
        yield "# The simulator draws the pictures on this machine, without a key and without a bill."
        yield f"# For real ones write anyfast (the key is read from {_KEYS['anyfast']}) or google ({_KEYS['google']})."
        yield "provider: simulator"
    yield ""
    yield "# Stay under what your account allows."
    yield "limits: {concurrency: 8, requests_per_minute: 120}"
    yield ""
    yield "defaults:"
    yield "  aspect_ratio: 1:1"
    yield "  image_size: 1K    # 512, 1K, 2K or 4K: the price follows the size"
    yield ""


def _example(manifest: Path, provider: str) -> str:
    lines = [
        *_top(manifest, provider, "Three jobs to begin with."),
        "jobs:",
        "  - id: lighthouse    # names the picture's file; leave it out and the prompt names it",
        "    prompt: A lighthouse on a rocky coast at dusk, warm light in its windows, soft watercolor style",
        "",
        "  - id: tea-set    # prompts may be in any language",
        "    prompt: Ein Teeservice aus blauer Keramik auf einem Holztisch, weiches Tageslicht",
        "",
        "  - id: valley",
        "    aspect_ratio: 16:9    # a job may say otherwise than the defaults",
        "    prompt: A wide green valley in the early morning, mist between the hills, one winding road",
        "",
        "# For a picture per row of a table:  imagebatch init TABLE.csv",
    ]
    return "\n".join(lines) + "\n"


def _run_name(manifest: Path) -> str:
    name = re.sub(r"\s+", "-", manifest.stem)
    return name if name_problem(name) is None else slug(name)[:60].strip("-") or "catalog"


def _joined(*parts: str) -> str:
    """Parts of a path, as a manifest writes it; nothing for this folder."""
    return "/".join(part for part in parts if part not in ("", "."))


_PLAIN: Final[Callable[[str], object]] = re.compile(r"[A-Za-z][A-Za-z0-9_./ ()-]*[A-Za-z0-9)]").fullmatch
_WORDS_OF_YAML: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def _text(text: str) -> str:
    """A text as YAML: plain where it cannot be taken for anything else, else quoted as JSON is."""
    plain = _PLAIN(text) is not None and text.lower() not in _WORDS_OF_YAML
    return text if plain else json.dumps(text, ensure_ascii=False)
