"""A first manifest for a table: which column is the id, which says what the picture shows, what goes along.

The guesses are simple and each is explained in a comment, for the user to correct. What is written has been
loaded and checked to the last row before, so a starter always works as it stands; what is wrong with the table
itself is told as for any manifest.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
import shlex
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Final

from batch.core.errors import InputError, MissingInputError, OutputError, Problem
from batch.manifest.files import FileProblem, open_regular, reason
from batch.manifest.ids import id_key, id_problem, name_problem, slug
from batch.manifest.manifest import load_manifest
from batch.manifest.problems import show, show_path, unfit_text
from batch.manifest.tables.encoding import encoding_of, foreign, wrong_encoding
from batch.manifest.tables.rows import USUAL_DELIMITERS, Table, kind_of, rows_problem
from batch.manifest.tables.table_reader import READ_ERRORS, Row
from batch.manifest.templating.templates import Columns, Template, TemplateProblem, underscored

#: Column names people use in several languages, best first; compared folded (letters and digits only).
_ID_NAMES: Final = (
    "handle",
    "sku",
    "id",
    "product id",
    "item id",
    "article id",
    "Artikelnummer",
    "Artikel-Nr",
    "Art-Nr",
    "art no",
    "article number",
    "article no",
    "item number",
    "item no",
    "part number",
    "product number",
    "product code",
    "Produktnummer",
    "Bestellnummer",
    "variant sku",
    "asin",
    "ean",
    "gtin",
    "barcode",
    "slug",
    "url key",
    "key",
    "code",
    "nr",
    "number",
    "référence",
    "ref",
    "código",
    "referencia",
    "codice",
    "codice articolo",
    "artikelkode",
    "varenummer",
    "tuotenumero",
    "kod produktu",
    "indeks",
    "артикул",
    "код",
    "货号",
    "商品编号",
    "编号",
    "编码",
    "商品コード",
    "商品番号",
    "品番",
    "상품코드",
    "상품번호",
)
_PROMPT_NAMES: Final = ("prompt", "image prompt", "prompt text")
_TITLE_NAMES: Final = (
    "title",
    "name",
    "product",
    "product name",
    "product title",
    "Produkttitel",
    "item name",
    "article name",
    "Produktname",
    "Produkt",
    "Artikelname",
    "Artikel",
    "Artikelbezeichnung",
    "Bezeichnung",
    "Titel",
    "titre",
    "nom",
    "nom du produit",
    "título",
    "nombre",
    "titolo",
    "nome",
    "nome prodotto",
    "naam",
    "productnaam",
    "omschrijving kort",
    "namn",
    "navn",
    "nimi",
    "nazwa",
    "nazwa produktu",
    "tytuł",
    "název",
    "название",
    "наименование",
    "товар",
    "标题",
    "名称",
    "商品名称",
    "品名",
    "商品名",
    "タイトル",
    "상품명",
    "제품명",
)
_TEXT_NAMES: Final = (
    "body html",
    "body",
    "description",
    "product description",
    "short description",
    "long description",
    "Beschreibung",
    "Produktbeschreibung",
    "Artikelbeschreibung",
    "Kurzbeschreibung",
    "text",
    "details",
    "descripción",
    "descrição",
    "descrizione",
    "omschrijving",
    "beskrivning",
    "beskrivelse",
    "kuvaus",
    "opis",
    "popis",
    "описание",
    "描述",
    "商品描述",
    "说明",
    "商品説明",
    "説明",
    "설명",
    "상품설명",
)
#: What stands in place of a product in the last row of a spreadsheet.
_TOTALS: Final = frozenset(
    {"total", "totals", "grandtotal", "subtotal", "sum", "summe", "gesamt", "gesamtsumme", "somme", "totale", "totaal"}
    | {"suma", "итого", "合计", "总计", "合計", "합계"}
)
_PICTURE_NAME: Final = re.compile(
    "image|picture|photo|bild|foto|img|imagem|immagine|afbeelding|zdjecie|изображение|фото|图|画像|이미지"
)
_PICTURE_FILE: Final = re.compile(r"(?i)\.(png|jpe?g|webp|gif|bmp|tiff?|avif)$")
_PICTURE_FOLDERS: Final = ("", "photos", "images", "pictures", "bilder", "fotos", "img")
_PICTURE_ENDINGS: Final = (".jpg", ".png", ".webp", ".jpeg")
_MEASURE: Final = re.compile(r"price|preis|cost|qty|quantity|menge|stock|bestand|weight|gewicht|grams")
_DECIMAL: Final = re.compile(r"\d+[.,]\d+")
_TAG: Final = re.compile(r"</?[a-zA-Z][^>]*>|&[a-zA-Z#0-9]+;")
_ADDRESS: Final = re.compile(r"https://([A-Za-z0-9.-]+\.[A-Za-z][A-Za-z0-9-]*)/")

#: UTF-8 that was once read as cp1252 and saved so: "\u00c3\u00bc" was "\u00fc".
_MISREAD: Final = re.compile("\u00c3[\u0080-\u00bf\u0152-\u017e\u2018-\u2122]|\u00e2\u20ac|\u00c2[\u00a0-\u00bf]")

_DELIMITER_WORDS: Final = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "pipe"}
_SNIFFED_ROWS: Final = 50
_SNIFFED_BYTES: Final = 256 * 1024
_NAMED_HOSTS: Final = 4
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
    """A table as far as it could be made out. Rows that cannot be read are left to the check, which names them.

    `with_gaps` are the columns that some rows lack altogether, `no_text` those that hold more than texts somewhere.
    """

    source: Table
    header: tuple[str, ...]
    with_gaps: frozenset[int] = frozenset()
    no_text: frozenset[int] = frozenset()

    def rows(self) -> Iterator[list[str]]:
        return ([cell if isinstance(cell, str) else "" for cell in row] for row in _raw_rows(self.source))


def _raw_rows(source: Table) -> Iterator[Row]:
    with source.read() as reader:
        if reader.read_header(_ignore):
            for _, row in reader.rows(_ignore):
                yield row


def _read(table: Path) -> _Table:
    kind = kind_of(table.name, None, delimiter_given=False)
    if kind is None:
        ending = show(table.suffix.lower() or table.name)
        raise _wrong(table, f"init reads .csv, .tsv, .jsonl and .parquet; got {ending}, save the table as .csv")
    wrong = rows_problem(table.name, kind, delimiter_given=False)
    if wrong is not None:
        raise _wrong(table, wrong[1])
    try:
        with open_regular(table):
            pass
    except (FileProblem, OSError) as error:
        message = reason(error) if isinstance(error, OSError) else str(error)
        raise MissingInputError([Problem(message=message, file=show_path(table))]) from error
    source = Table(file=table, shown=show_path(table), kind=kind, encoding="utf-8-sig", delimiter=None)
    if kind != "parquet":
        _find_out_how_it_is_written(source, table)
    problems: list[Problem] = []
    with source.read() as reader:
        if not reader.read_header(problems.append):
            raise InputError(problems)
        header, has_gaps = reader.columns, reader.has_gaps
    if not any(_usable(name) for name in header):
        raise _wrong(table, "no column has a name that can be used; give the columns plain names", 1)
    found = _Table(source=source, header=header)
    if next(found.rows(), None) is None:
        with source.read() as reader:
            if reader.read_header(problems.append):
                for _ in reader.rows(problems.append):
                    pass
        raise InputError(problems)
    return _with_odd_cells(found) if has_gaps else found


def _with_odd_cells(table: _Table) -> _Table:
    """Formats with types of their own may lack cells, or hold objects and lists, in any row."""
    with_gaps: set[int] = set()
    no_text: set[int] = set()
    for row in _raw_rows(table.source):
        with_gaps.update(index for index, cell in enumerate(row) if cell is None)
        no_text.update(index for index, cell in enumerate(row) if not (cell is None or isinstance(cell, str)))
    return replace(table, with_gaps=frozenset(with_gaps), no_text=frozenset(no_text))


def _wrong(table: Path, message: str, line: int | None = None) -> InputError:
    return InputError([Problem(message=message, file=show_path(table), line=line)])


def _find_out_how_it_is_written(source: Table, table: Path) -> None:
    """Set the encoding and the delimiter, where the file's name does not say them."""
    try:
        with source.content() as stream:
            head = stream.read(_SNIFFED_BYTES)
            if foreign(head, source.kind) is not None:
                return  # said by the reader
            if not head.strip():
                raise _wrong(table, "the file is empty; the first line names the columns, the others are the rows")
            source.encoding = encoding_of(head, "utf-8-sig")
            if wrong_encoding(head, source.encoding) is not None:
                return
            if source.encoding == "utf-8-sig" and not _decodes(stream, head, "utf-8"):
                stream.seek(0)
                if not _decodes(stream, stream.read(_SNIFFED_BYTES), "cp1252"):
                    message = "the text is neither UTF-8 nor cp1252; in the spreadsheet choose Save as, CSV UTF-8"
                    raise _wrong(table, message)
                source.encoding = "cp1252"
    except READ_ERRORS:
        return  # a damaged .gz file; the reader says so
    usual = USUAL_DELIMITERS.get(source.kind)
    text = head.decode(source.encoding, "ignore")
    if usual is not None and not re.match(r'"?sep=.', text):
        found = _delimiter(text, usual)
        source.delimiter = None if found == usual else found


def _decodes(stream: BinaryIO, head: bytes, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while head:
            decoder.decode(head)
            head = stream.read(_SNIFFED_BYTES)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


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
        # The header has no empty cells to drop, so it is the widest, and most rows are as wide.
        agreeing = sum(1 < width <= widths[0] for width in widths) if widths else 0
        if agreeing >= 0.9 * len(widths) and widths and widths[0] > cells:
            best, cells = delimiter, widths[0]
    return best


def _ignore(_: Problem) -> None:
    """For a pass that only looks; the check tells what is wrong."""


# ---- guessing what the columns are --------------------------------------------------------------------------


def _folded(name: str) -> str:
    """`Artikel-Nr.` and `artikelnr` are the same name."""
    letters = (character for character in unicodedata.normalize("NFKD", name) if not unicodedata.combining(character))
    return re.sub(r"[\W_]", "", "".join(letters).casefold())


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
        value = value.strip()  # as ids and `unique` read it
        if not value:
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
    needed: int | None = None
    why_where: list[str] = field(default_factory=list)
    reference: str | None = None
    reference_folder: str = ""
    reference_later: str | None = None
    hosts_later: str | None = None
    why_reference: list[str] = field(default_factory=list)


class _Guesser:
    """Goes through a table twice: for the id, then, over the rows that are left, for the rest."""

    def __init__(self, table: _Table, folder: Path) -> None:
        self._table = table
        self._folder = folder
        self._columns = Columns(table.header)
        self._needed: int | None = None
        self._first = next(table.rows(), [""] * len(table.header))
        self._usable = [
            index for index, name in enumerate(table.header) if _usable(name) and index not in table.no_text
        ]
        self._by_name = {_folded(table.header[index]): index for index in reversed(self._usable)}

    def guess(self) -> _Guess:
        found, why_where = self._id_and_rows()
        prompt, why = self._prompt(found)
        guess = _Guess(id=found, prompt=prompt, why_prompt=why, needed=self._needed, why_where=why_where)
        self._add_reference(guess)
        return guess

    def _id_and_rows(self) -> tuple[_Id | None, list[str]]:
        """The id, and whether only rows with a title are taken: variants, further pictures and totals have none."""
        found = self._find_id()
        title = self._best_title()
        if title is None:
            return found, []
        if found is None or found.column not in self._named(_ID_NAMES):
            self._needed = title
            again = self._named_id() or self._find_id()
            if again is not None and again != found:
                return again, [f"Rows without {_quoted(self.name(title))} (variants, totals, notes) are left out."]
            self._needed = None
            return found, []
        late, never, totals = self._without_title(found, title)
        if not late and not totals:
            return found, []
        self._needed = title
        why = [f"Rows without {_quoted(self.name(title))} (variants, further pictures, totals) are left out."]
        if never:
            why.append(f"That leaves out {never:,} of {_quoted(self.name(found.column))} for good: no row has it.")
        return found, why

    def _best_title(self) -> int | None:
        titles = [index for index in self._named(_TITLE_NAMES) if index not in self._table.with_gaps]
        filled = dict.fromkeys(titles, 0)
        for row in self._table.rows():
            for index in titles:
                filled[index] += bool(row[index].strip())
        return max(titles, key=lambda index: filled[index], default=None)

    def _without_title(self, found: _Id, title: int) -> tuple[int, int, int]:
        """Of the products whose first row has no title: how many have one later, never, and how many are totals."""
        late = 0
        waiting: set[str] = set()
        seen: set[str] = set()
        for row in self._table.rows():
            value = row[found.column]
            titled = bool(row[title].strip())
            if value not in seen:
                seen.add(value)
                if not titled:
                    waiting.add(value)
            elif titled and value in waiting:
                waiting.discard(value)
                late += 1
        totals = sum(_folded(value) in _TOTALS for value in waiting)
        return late, len(waiting) - totals, totals

    def _product_rows(self) -> Iterator[list[str]]:
        """The rows that `where` leaves."""
        needed = self._needed
        rows = self._table.rows()
        return rows if needed is None else (row for row in rows if row[needed].strip())

    def value(self, index: int) -> str:
        """The column as a text in a template, also where a row lacks it."""
        words = self.expression(index)
        return f'{words} | default("")' if index in self._table.with_gaps else words

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
        return [self._by_name[name] for name in map(_folded, names) if name in self._by_name]

    def _values(self, indices: Sequence[int], *, only_unique: bool = False) -> dict[int, _Values]:
        columns = {index: _Values(only_unique=only_unique) for index in indices}
        for row in self._product_rows():
            for index, values in columns.items():
                values.add(row[index])
        return columns

    def _named_id(self, *more: int) -> _Id | None:
        """The first column with the name of an id, or of `more`, that can be one."""
        for index, values in self._values([*self._named(_ID_NAMES), *more]).items():
            found = _as_id(index, values)
            if found is not None:
                return found
        return None

    def _find_id(self) -> _Id | None:
        titles = self._named(_TITLE_NAMES)
        named = self._named_id(*titles)
        if named is not None:
            return named
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
        # Where numbers or titles cannot name a file (in a script without an ASCII form, too long), the prompt does.
        for index, values in self._values(self._named(_ID_NAMES)).items():
            if values.complete and not values.decimals:
                return _Id(index, "-", values.repeats)
        for index in (*titles, *self._named(_PROMPT_NAMES), *others):
            values = self._values([index])[index]
            if values.complete and values.repeats and not values.decimals:
                return _as_id(index, values) or _Id(index, "-", repeats=True)
        return None

    def _rows(self, found: _Id | None) -> Iterator[list[str]]:
        """The rows that make jobs."""
        seen: set[str] = set()
        for row in self._product_rows():
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
        misread: set[int] = set()
        count = 0
        for row in self._rows(found):
            count += 1
            for index in self._usable:
                value = row[index]
                filled[index] += bool(value.strip())
                wordy[index] += any(character.isalpha() for character in value) and "://" not in value
                if _TAG.search(value):
                    marked_up.add(index)
                if _MISREAD.search(value):
                    misread.add(index)
                longest[index] = max(longest[index], len(value))
        for index in self._named(_PROMPT_NAMES):
            if filled[index] == count:
                return f"{{{{ {self.expression(index)} }}}}", [f"The column {_quoted(self.name(index))} is the prompt."]
        title = self._title(found, filled, wordy, count)
        why = ["What the picture shows; {{ Column }} is filled from the row. Say what you want to see: the surface,"]
        why += ["the light, the angle."]
        words = self.value(title)
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
                if longest[index] > _LONG_TEXT:
                    why.append(f"shorten({_LONG_TEXT}) ends a long one with a whole word.")
                break
        if misread:
            column = _quoted(self.name(min(misread)))
            why.append(f"{column} has letters such as \u00c3\u00bc: read in a wrong encoding and saved so.")
            why.append("Export it again as UTF-8, or the prompts will have them too.")
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
        filters += f" | shorten({_LONG_TEXT})" if long else ""
        return f"{{{{ {self.value(index)}{filters} }}}}"

    # ---- pictures that are there already ----

    def _add_reference(self, guess: _Guess) -> None:
        pictures = [
            index
            for index in self._usable
            if _PICTURE_NAME.search(_folded(self.name(index))) or self._holds_pictures(index)
        ]
        addresses = None
        hosts: list[str] = []
        all_addresses = False
        for index in pictures:
            values = [row[index].strip() for row in self._rows(guess.id)]
            if addresses is None and any(map(_ADDRESS.match, values)):
                addresses = index
                hosts = sorted({found[1].lower() for value in values if (found := _ADDRESS.match(value))})
                all_addresses = all(map(_ADDRESS.match, values))
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
            guess.hosts_later = ", ".join(hosts[:_NAMED_HOSTS]) + (", ..." if len(hosts) > _NAMED_HOSTS else "")
            guess.why_reference = [
                f"{_quoted(self.name(addresses))} holds addresses of pictures. To send them along with the prompts,",
                "take the # from the line below and from reference_hosts above.",
            ]
            path = f"{{{{ {self.value(addresses)} }}}}"
            guess.reference_later = _text(path) if all_addresses else f"{{path: {_text(path)}, optional: true}}"

    def _holds_pictures(self, index: int) -> bool:
        return _PICTURE_FILE.search(self._first[index].strip()) is not None

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
    if guess.needed is not None:
        expression = _Guesser(table, Path()).expression(guess.needed)
        lines += ["", *(f"# {why}" for why in guess.why_where), f'where: {expression} | trim != ""']
    if guess.id is not None and guess.id.repeats:
        lines += [
            "",
            f"# {_quoted(header[guess.id.column])} repeats: one row per variant? Of each value the row that says",
            "# most is taken. For a picture of every row, remove this and give each an id of its own.",
            f"unique: {_text(header[guess.id.column])}",
        ]
    if guess.reference is not None and here != ".":
        lines += ["", "# References are uploaded, so they must lie in this folder.", f"reference_root: {_text(here)}"]
    if guess.hosts_later is not None:
        lines += ["", "# Pictures are fetched from nowhere but here:", f"# reference_hosts: [{guess.hosts_later}]"]
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
    if guess.reference_later is not None:
        yield f"    # references: [{guess.reference_later}]"
    if guess.reference is not None:
        yield f"    references: [{_text(_joined(here, guess.reference_folder, guess.reference))}]"


def _rows_lines(table: _Table, name: str) -> Iterator[str]:
    unusual = []
    source = table.source
    if source.delimiter is not None:
        word = _DELIMITER_WORDS[source.delimiter]
        yield f"# Its cells are separated by {'a tab' if word == 'tab' else f'a {word}'}, as some spreadsheets do."
        unusual.append(f"delimiter: {word}")
    if source.encoding == "cp1252":
        yield "# It is not UTF-8. cp1252 (Windows, western languages) is a guess: see in `plan` whether letters such as"
        yield "# \u00e4 and \u00e9 are right; if not, save the table as UTF-8 or name its encoding."
        unusual.append("encoding: cp1252")
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
