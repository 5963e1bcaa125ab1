"""Which column is what."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from batch.manifest.ids import id_key, id_problem, slug
from batch.manifest.problems import show
from batch.manifest.templating.templates import Columns, Template, TemplateProblem, underscored
from batch.starter.names import (
    ADDRESS,
    DECIMAL,
    ID_NAMES,
    MEASURE,
    NAMED_HOSTS,
    PICTURE_ENDINGS,
    PICTURE_FILE,
    PICTURE_FOLDERS,
    PICTURE_NAME,
    PROMPT_NAMES,
    TAG,
    TEXT_NAMES,
    TITLE_NAMES,
    TOTALS,
    fold,
    usable,
)
from batch.starter.sniff import MISREAD, SniffedTable
from batch.starter.yaml_writer import yaml_scalar

_LONG_TEXT: Final = 600


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
        self.decimals = self.decimals and DECIMAL.fullmatch(value) is not None
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
class Guess:
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


class Guesser:
    """Goes through a table twice: for the id, then, over the rows that are left, for the rest."""

    def __init__(self, table: SniffedTable, folder: Path) -> None:
        self._table = table
        self._folder = folder
        self._columns = Columns(table.header)
        self._needed: int | None = None
        self._first = next(table.rows(), [""] * len(table.header))
        self._usable = [index for index, name in enumerate(table.header) if usable(name) and index not in table.no_text]
        self._by_name = {fold(table.header[index]): index for index in reversed(self._usable)}

    def guess(self) -> Guess:
        found, why_where = self._id_and_rows()
        prompt, why = self._prompt(found)
        guess = Guess(id=found, prompt=prompt, why_prompt=why, needed=self._needed, why_where=why_where)
        self._add_reference(guess)
        return guess

    def _id_and_rows(self) -> tuple[_Id | None, list[str]]:
        """The id, and whether only rows with a title are taken: variants, further pictures and totals have none."""
        found = self._find_id()
        title = self._best_title()
        if title is None:
            return found, []
        if found is None or found.column not in self._named(ID_NAMES):
            self._needed = title
            again = self._named_id() or self._find_id()
            if again is not None and again != found:
                return again, [f"Rows without {in_quotes(self.name(title))} (variants, totals, notes) are left out."]
            self._needed = None
            return found, []
        late, never, totals = self._without_title(found, title)
        if not late and not totals:
            return found, []
        self._needed = title
        why = [f"Rows without {in_quotes(self.name(title))} (variants, further pictures, totals) are left out."]
        if never:
            why.append(f"That leaves out {never:,} of {in_quotes(self.name(found.column))} for good: no row has it.")
        return found, why

    def _best_title(self) -> int | None:
        titles = [index for index in self._named(TITLE_NAMES) if index not in self._table.with_gaps]
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
        totals = sum(fold(value) in TOTALS for value in waiting)
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
        return [self._by_name[name] for name in map(fold, names) if name in self._by_name]

    def _values(self, indices: Sequence[int], *, only_unique: bool = False) -> dict[int, _Values]:
        columns = {index: _Values(only_unique=only_unique) for index in indices}
        for row in self._product_rows():
            for index, values in columns.items():
                values.add(row[index])
        return columns

    def _named_id(self, *more: int) -> _Id | None:
        """The first column with the name of an id, or of `more`, that can be one."""
        for index, values in self._values([*self._named(ID_NAMES), *more]).items():
            found = _as_id(index, values)
            if found is not None:
                return found
        return None

    def _find_id(self) -> _Id | None:
        titles = self._named(TITLE_NAMES)
        named = self._named_id(*titles)
        if named is not None:
            return named
        others = [index for index in self._usable if not MEASURE.search(fold(self.name(index)))]
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
        for index, values in self._values(self._named(ID_NAMES)).items():
            if values.complete and not values.decimals:
                return _Id(index, "-", values.repeats)
        for index in (*titles, *self._named(PROMPT_NAMES), *others):
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
                if TAG.search(value):
                    marked_up.add(index)
                if MISREAD.search(value):
                    misread.add(index)
                longest[index] = max(longest[index], len(value))
        for index in self._named(PROMPT_NAMES):
            if filled[index] == count:
                return f"{{{{ {self.expression(index)} }}}}", [
                    f"The column {in_quotes(self.name(index))} is the prompt."
                ]
        title = self._title(found, filled, wordy, count)
        why = ["What the picture shows; {{ Column }} is filled from the row. Say what you want to see: the surface,"]
        why += ["the light, the angle."]
        words = self.value(title)
        if title not in self._named(TITLE_NAMES):
            why.append(f"No column is called Title or Name; {in_quotes(self.name(title))} says most.")
        if filled[title] < count and found is not None and found.column != title:
            words = f"{words} or {self.expression(found.column)}"
            why.append(f"{in_quotes(self.name(title))} is empty in some rows, so the id stands in for it there.")
        if title in marked_up:
            words = f"({words}) | strip_html" if " or " in words else f"{words} | strip_html"
        lines = [f"Product photo of {{{{ {words} }}}}."]
        for index in self._named(TEXT_NAMES):
            if filled[index] and index != title:
                lines.append(self._description(index, html=index in marked_up, long=longest[index] > _LONG_TEXT))
                if index in marked_up:
                    why.append(f"strip_html leaves the words of {in_quotes(self.name(index))} and drops its HTML.")
                if longest[index] > _LONG_TEXT:
                    why.append(f"shorten({_LONG_TEXT}) ends a long one with a whole word.")
                break
        if misread:
            column = in_quotes(self.name(min(misread)))
            why.append(f"{column} has letters such as \u00c3\u00bc: read in a wrong encoding and saved so.")
            why.append("Export it again as UTF-8, or the prompts will have them too.")
        lines.append("Plain light background, soft daylight, nothing cut off, no text in the picture.")
        return "\n".join(lines), why

    def _title(self, found: _Id | None, filled: dict[int, int], wordy: dict[int, int], count: int) -> int:
        named = self._named(TITLE_NAMES)
        whole = [index for index in named if filled[index] == count]
        if whole:
            return whole[0]
        if any(filled[index] for index in named):
            return max(named, key=lambda index: filled[index])
        texts = [index for index in self._named(TEXT_NAMES) if filled[index] == count]
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

    def _add_reference(self, guess: Guess) -> None:
        pictures = [
            index
            for index in self._usable
            if PICTURE_NAME.search(fold(self.name(index))) or self._holds_pictures(index)
        ]
        addresses = None
        hosts: list[str] = []
        all_addresses = False
        for index in pictures:
            values = [row[index].strip() for row in self._rows(guess.id)]
            if addresses is None and any(map(ADDRESS.match, values)):
                addresses = index
                hosts = sorted({found[1].lower() for value in values if (found := ADDRESS.match(value))})
                all_addresses = all(map(ADDRESS.match, values))
            for folder in PICTURE_FOLDERS:
                if self._all_there(values, folder, ""):
                    guess.reference = f"{{{{ {self.expression(index)} | trim }}}}"
                    guess.reference_folder = folder
                    guess.why_reference = [
                        f"The files named in {in_quotes(self.name(index))} go along with each prompt."
                    ]
                    return
        if guess.id is not None:
            ids = [row[guess.id.column] for row in self._rows(guess.id)]
            for folder in PICTURE_FOLDERS:
                for ending in PICTURE_ENDINGS:
                    if self._all_there(ids, folder, ending):
                        guess.reference = f"{{{{ {self.expression(guess.id.column)} }}}}{ending}"
                        guess.reference_folder = folder
                        guess.why_reference = [f"{folder or 'This folder'} has a picture for every row; it goes along."]
                        return
        if addresses is not None:
            guess.hosts_later = ", ".join(hosts[:NAMED_HOSTS]) + (", ..." if len(hosts) > NAMED_HOSTS else "")
            guess.why_reference = [
                f"{in_quotes(self.name(addresses))} holds addresses of pictures. To send them along with the prompts,",
                "take the # from the line below and from reference_hosts above.",
            ]
            path = f"{{{{ {self.value(addresses)} }}}}"
            guess.reference_later = (
                yaml_scalar(path) if all_addresses else f"{{path: {yaml_scalar(path)}, optional: true}}"
            )

    def _holds_pictures(self, index: int) -> bool:
        return PICTURE_FILE.search(self._first[index].strip()) is not None

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


def _jinja_string(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def in_quotes(text: str) -> str:
    return f'"{show(text)}"'
