"""Which column is what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from batch.manifest.expansion.products import Products
from batch.manifest.ids import id_key, id_problem, slug
from batch.manifest.templating.filters import as_id
from batch.starter.columns import TableColumns
from batch.starter.names import (
    DECIMAL,
    ESCAPED,
    ID_NAMES,
    MEASURE,
    PROMPT_NAMES,
    TAG,
    TEXT_NAMES,
    TITLE_NAMES,
    TOTALS,
    fold,
)
from batch.starter.reference_guess import ReferenceGuess, ReferenceGuesser
from batch.starter.row_rules import applied_rules, product_rows, shop_of
from batch.starter.sniff import MISREAD, SniffedTable

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
        self._any_script: set[bytes] = set()

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
        self._any_script.add(id_key(as_id(value)))
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

    @property
    def is_id_in_any_script(self) -> bool:
        return self.complete and len(self._any_script) == len(self._seen)


@dataclass(frozen=True, slots=True)
class _Id:
    """The column that tells jobs apart; `filter` makes an id of it, `repeats` needs `unique`; `more` follows it."""

    column: int
    filter: str
    repeats: bool
    more: str = ""


@dataclass(slots=True, kw_only=True)
class Guess:
    """The choices for one table, ready to be written. `notes` are for the terminal, the rest is for comments."""

    shop: str | None
    id: _Id | None
    prompt: str
    why_prompt: list[str]
    conditions: list[str]
    carried: list[int] = field(default_factory=list)
    per_variant: bool = False
    within: int | None = None
    why_where: list[str]
    references: ReferenceGuess = field(default_factory=lambda: ReferenceGuess())
    notes: list[str] = field(default_factory=list)

    @property
    def is_grouped(self) -> bool:
        """Whether one job is made of all rows of a product."""
        return self.id is not None and self.id.repeats and self.id.column == self.within and bool(self.carried)


class Guesser:
    """Goes through a table several times: for the rows that are products, for the id, then for the rest.

    `photos` is the folder to look for photos in, if the user named one; it is written as `photos_shown`.
    """

    def __init__(
        self,
        table: SniffedTable,
        folder: Path,
        *,
        photos: Path | None = None,
        variants: bool = False,
    ) -> None:
        self._table = table
        self._folder = folder
        self._photos = photos
        self.columns = TableColumns(table)
        self._needed: int | None = None
        self._shop, words = shop_of(table, self.columns)
        self._rules = applied_rules(table, self.columns, self._shop, words, variants=variants)
        self._options = self.columns.named(self._shop.options) if self._shop is not None and variants else []
        #: The column that the rows of a product share, where texts stand in the first of them only.
        self._within = self._key_of_products()

    def guess(self) -> Guess:
        found, why_where = self._id_of_variants() if self._options else self._id_and_rows()
        prompt, why = self._prompt(found)
        conditions = [] if self._needed is None else [f'{self.columns.value(self._needed)} | trim != ""']
        if self._options:
            conditions.append(f'{self.columns.value(self._options[0])} | trim != ""')
        guess = Guess(
            shop=self._shop.name if self._shop else None,
            id=found,
            prompt=prompt,
            why_prompt=why,
            conditions=conditions + [rule.condition(self.columns) for rule in self._rules],
            why_where=why_where + [f"{_capital(rule.told(self.columns))}." for rule in self._rules],
            notes=[rule.told(self.columns) for rule in self._rules if rule.counts],
            carried=self._carried() if self._needed is not None else [],
            within=self._within,
            per_variant=bool(self._options),
        )
        self.add_references(guess)
        return guess

    @property
    def knows_variants(self) -> bool:
        """Whether this table lets us separate variants from products."""
        shop = self._shop
        if shop is None or not shop.has_variants:
            return False
        return not shop.options or (bool(self._options) and self._within is not None)

    def _key_of_products(self) -> int | None:
        """The shop's column, if the rows of every product follow each other."""
        if self._shop is None or not self._shop.first_row:
            return None
        key = self.columns.named(self._shop.ids)[0]
        seen: set[str] = set()
        last = None
        for row in self._table.rows():
            value = row[key].strip()
            if value != last and value in seen:
                return None
            seen.add(value)
            last = value
        return key

    def _carried(self) -> list[int]:
        """The columns of a product's first row that its other rows need: texts, and what rules look at."""
        if self._within is None:
            return []
        texts = [*self.columns.named(TITLE_NAMES)[:1], *self.columns.named(TEXT_NAMES)[:1]]
        return list(dict.fromkeys([*texts, *(rule.column for rule in self._rules)]))

    def _all_rows(self) -> Iterator[list[str]]:
        """The table's rows; where a picture is made of each variant, with what their product's first row says."""
        if not self._options or self._within is None:
            return self._table.rows()
        products = Products(self._within, self._carried())
        return (list(row) for _, row in products.filled(enumerate(self._table.rows())))

    def _id_of_variants(self) -> tuple[_Id | None, list[str]]:
        """The variant's own number if each has one, else its product's and its options'."""
        self._needed = self.columns.named(TITLE_NAMES)[0]
        why = [f"Rows without {self.columns.quoted(self._options[0])} (further pictures, totals) are left out."]
        others = [index for index in self._named_ids() if index != self._within]
        for index, values in self._values(others).items():
            found = _as_id(index, values)
            if found is not None and not found.repeats:
                return found, why
        if self._within is None:
            return None, why
        more = self.options_text("-{{ value | as_id }}")
        return _Id(self._within, " | as_id", repeats=False, more=more), why

    def add_references(self, guess: Guess) -> None:
        """The photos that are there, or a commented line for those at web addresses."""
        finder = ReferenceGuesser(
            self.columns,
            self._shop,
            self._folder,
            self._photos,
            lambda: self._rows(guess.id),
            per_variant=guess.per_variant,
        )
        title = self.columns.named(TITLE_NAMES)[:1]
        id_column = [] if guess.id is None else [guess.id.column]
        guess.references = finder.references([*id_column, *self._named_ids(), *title], grouped=guess.is_grouped)

    def _id_and_rows(self) -> tuple[_Id | None, list[str]]:
        """The id, and whether only rows with a title are taken: variants, further pictures and totals have none."""
        found = self._find_id()
        title = self._best_title()
        if title is None:
            return found, []
        quoted = self.columns.quoted(title)
        if found is None or found.column not in self._named_ids():
            self._needed = title
            again = self._named_id() or self._find_id()
            if again is not None and again != found:
                return again, [f"Rows without {quoted} (variants, totals, notes) are left out."]
            self._needed = None
            return found, []
        late, never, totals, empty = self._without_title(found, title)
        first_only = empty and (self._rules or (self._shop is not None and self._shop.first_row))
        if not late and not totals and not first_only:
            return found, []
        self._needed = title
        why = [f"Rows without {quoted} (variants, further pictures, totals) are left out."]
        if never:
            why.append(f"That leaves out {never:,} of {self.columns.quoted(found.column)} for good: no row has it.")
        return found, why

    def _best_title(self) -> int | None:
        titles = [index for index in self.columns.named(TITLE_NAMES) if index not in self._table.with_gaps]
        filled = dict.fromkeys(titles, 0)
        for row in product_rows(self._table.rows(), self._rules):
            for index in titles:
                filled[index] += bool(row[index].strip())
        return max(titles, key=lambda index: filled[index], default=None)

    def _without_title(self, found: _Id, title: int) -> tuple[int, int, int, bool]:
        """Of the products whose first row has no title: how many have one later, never, and how many are totals.

        The last: whether any row has none. Of rows that a rule leaves out only the titles count.
        """
        late = 0
        empty = False
        waiting: set[str] = set()
        seen: set[str] = set()
        for row in self._table.rows():
            value = row[found.column]
            titled = bool(row[title].strip())
            kept = all(rule.keeps(row) for rule in self._rules)
            empty = empty or (kept and not titled)
            if value not in seen:
                if titled or kept:
                    seen.add(value)
                if kept and not titled:
                    waiting.add(value)
            elif titled and value in waiting:
                waiting.discard(value)
                late += 1
        totals = sum(fold(value) in TOTALS for value in waiting)
        return late, len(waiting) - totals, totals, empty

    def _product_rows(self) -> Iterator[list[str]]:
        """The rows that `where` leaves."""
        needed = self._needed
        rows = product_rows(self._all_rows(), self._rules)
        if self._options:
            rows = (row for row in rows if row[self._options[0]].strip())
        return rows if needed is None else (row for row in rows if row[needed].strip())

    def _named_ids(self) -> list[int]:
        """The columns that are called like ids, the shop's own first."""
        shop = self._shop.ids if self._shop else ()
        return self.columns.named((*shop, *ID_NAMES))

    def _values(self, indices: Sequence[int], *, only_unique: bool = False) -> dict[int, _Values]:
        columns = {index: _Values(only_unique=only_unique) for index in indices}
        for row in self._product_rows():
            for index, values in columns.items():
                values.add(row[index])
        return columns

    def _named_id(self, *more: int) -> _Id | None:
        """The first column with the name of an id, or of `more`, that can be one."""
        for index, values in self._values([*self._named_ids(), *more]).items():
            found = _as_id(index, values)
            if found is not None:
                return found
        return None

    def _find_id(self) -> _Id | None:
        titles = self.columns.named(TITLE_NAMES)
        named = self._named_id() or self._id_in_any_script(self._named_ids()) or self._named_id(*titles)
        named = named or self._id_in_any_script(titles)
        if named is not None:
            return named
        texts = set(self.columns.named(TEXT_NAMES))
        others = [
            index
            for index in self.columns.usable
            if index not in texts and not MEASURE.search(fold(self.columns.name(index)))
        ]
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
        for index in (*self.columns.named(PROMPT_NAMES), *others, *texts):
            values = self._values([index])[index]
            if values.complete and values.repeats and not values.decimals:
                return _as_id(index, values) or _Id(index, " | as_id", repeats=True)
        return None

    def _id_in_any_script(self, indices: Sequence[int]) -> _Id | None:
        """The first of these columns that can be an id by `as_id`."""
        for index, values in self._values(indices).items():
            if values.is_id_in_any_script and not values.decimals:
                return _Id(index, " | as_id", values.repeats)
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
        filled = dict.fromkeys(self.columns.usable, 0)
        wordy = dict.fromkeys(self.columns.usable, 0)
        longest = dict.fromkeys(self.columns.usable, 0)
        marked_up: set[int] = set()
        misread: set[int] = set()
        count = 0
        escaped: set[int] = set(self.columns.usable) if self._shop is not None and self._shop.escaped else set()
        for row in self._rows(found):
            count += 1
            for index in self.columns.usable:
                value = row[index]
                filled[index] += bool(value.strip())
                wordy[index] += any(character.isalpha() for character in value) and "://" not in value
                if TAG.search(value):
                    marked_up.add(index)
                if index not in escaped and ESCAPED.search(value):
                    escaped.add(index)
                if MISREAD.search(value):
                    misread.add(index)
                longest[index] = max(longest[index], len(value))
        for index in self.columns.named(PROMPT_NAMES):
            if filled[index] == count:
                return f"{{{{ {self.columns.expression(index)} }}}}", [
                    f"The column {self.columns.quoted(index)} is the prompt."
                ]
        title = self._title(found, filled, wordy, count)
        why = ["What the picture shows; {{ Column }} is filled from the row. Say what you want to see: the surface,"]
        why += ["the light, the angle."]
        words = self.columns.value(title)
        if title not in self.columns.named(TITLE_NAMES):
            why.append(f"No column is called Title or Name; {self.columns.quoted(title)} says most.")
        if filled[title] < count and found is not None and found.column != title:
            words = f"{words} or {self.columns.expression(found.column)}"
            why.append(f"{self.columns.quoted(title)} is empty in some rows, so the id stands in for it there.")
        clean = [name for name, places in (("unescape", escaped), ("strip_html", marked_up)) if title in places]
        lines = [f"Product photo of {{{{ {_piped(words, clean)} }}}}{self.options_text(', {{ value }}')}."]
        texts = [index for index in self.columns.named(TEXT_NAMES) if filled[index] and index != title]
        if texts:
            lines.append(self._description(texts, filled, escaped, marked_up, longest))
            html = [self.columns.quoted(index) for index in texts[:2] if index in marked_up]
            if html:
                why.append(f"strip_html leaves the words of {' and '.join(html)} and drops the HTML.")
            if longest[texts[0]] > _LONG_TEXT:
                why.append(f"shorten({_LONG_TEXT}) ends a long one with a whole word.")
        if any("unescape" in line for line in lines):
            why.append("unescape undoes what the export did to cells: \\n for a line end, ' before a leading = + - @.")
        if misread:
            column = self.columns.quoted(min(misread))
            why.append(f"{column} has letters such as \u00c3\u00bc: read in a wrong encoding and saved so.")
            why.append("Export it again as UTF-8, or the prompts will have them too.")
        lines.append("Plain light background, soft daylight, nothing cut off, no text in the picture.")
        return "\n".join(lines), why

    def options_text(self, each: str) -> str:
        """A template's loop over what tells a variant apart; nothing where variants have no pictures of their own."""
        if not self._options:
            return ""
        values = ", ".join(self.columns.value(index) for index in self._options)
        return f"{{% for value in [{values}] if value and value != 'Default Title' %}}{each}{{% endfor %}}"

    def _title(self, found: _Id | None, filled: dict[int, int], wordy: dict[int, int], count: int) -> int:
        named = self.columns.named(TITLE_NAMES)
        whole = [index for index in named if filled[index] == count]
        if whole:
            return whole[0]
        if any(filled[index] for index in named):
            return max(named, key=lambda index: filled[index])
        texts = [index for index in self.columns.named(TEXT_NAMES) if filled[index] == count]
        others = [index for index in self.columns.usable if found is None or index != found.column]
        best = max(others, key=lambda index: wordy[index], default=None)
        if texts:
            return texts[0]
        if best is not None and wordy[best] == count:
            return best
        if found is not None:
            return found.column
        return max(self.columns.usable, key=lambda index: (wordy[index], filled[index]))

    def _description(
        self,
        texts: list[int],
        filled: dict[int, int],
        escaped: set[int],
        marked_up: set[int],
        longest: dict[int, int],
    ) -> str:
        """The first text of a product; where rows lack it, the next one."""
        best = texts[0]
        used = [index for index in texts[:2] if index == best or filled[index] + filled[best] > filled[best]]
        used = used if filled[best] < max(filled.values()) else [best]
        words = " or ".join(self.columns.value(index) for index in used)
        clean = [name for name, places in (("unescape", escaped), ("strip_html", marked_up)) if places & set(used)]
        if max(longest[index] for index in used) > _LONG_TEXT:
            clean.append(f"shorten({_LONG_TEXT})")
        return f"{{{{ {_piped(words, clean)} }}}}"


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _piped(words: str, filters: Sequence[str]) -> str:
    """Words with filters after them."""
    start = f"({words})" if filters and " or " in words else words
    return " | ".join((start, *filters))


def _as_id(index: int, values: _Values) -> _Id | None:
    if values.is_id:
        return _Id(index, "", values.repeats)
    if values.is_id_as_slug:
        return _Id(index, " | slug", values.repeats)
    return None
