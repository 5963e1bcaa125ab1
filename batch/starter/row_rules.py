"""Which rows of an export are products: those that no rule leaves out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from batch.starter.columns import TableColumns, in_quotes
from batch.starter.shops import COMMON_RULES, SHOPS, WORDS_COLUMN, RowRule, Shop
from batch.starter.sniff import SniffedTable

#: A table with more different words in one column has no column of a few known words.
_MOST_WORDS: Final = 500
#: The share of rows that must have a shop's words for a table to be its export.
_MOST: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedRule:
    """A rule as it holds for one table. `counts`: how many rows each word leaves out."""

    column: int
    rule: RowRule
    counts: Counter[str]

    def keeps(self, row: Sequence[str]) -> bool:
        """Whether a row is left in."""
        word = _word(row[self.column])
        if self.rule.is_part:
            return not any(part in word for part in self.rule.leave_out)
        return word in self.rule.keep if self.rule.keep else word not in self.rule.leave_out

    def condition(self, columns: TableColumns) -> str:
        """The rule as `where` writes it."""
        rule = self.rule
        words = [json.dumps(word, ensure_ascii=False) for word in rule.keep or rule.leave_out]
        value = f"{columns.value(self.column)} | trim | lower"
        if rule.is_part:
            return " and ".join(f"{word} not in ({value})" for word in words)
        if len(words) == 1:
            return f"{value} {'==' if rule.keep else '!='} {words[0]}"
        return f"{value} {'in' if rule.keep else 'not in'} [{', '.join(words)}]"

    def told(self, columns: TableColumns) -> str:
        """What it does to this table."""
        name = columns.quoted(self.column)
        if not self.counts:
            return f"left out: {self.rule.what}, by {name}; there are none today"
        words = [
            f"{in_quotes(word) if word else 'empty'} in {count:,} {'row' if count == 1 else 'rows'}"
            for word, count in self.counts.most_common(4)
        ]
        more = ", ..." if len(self.counts) > len(words) else ""
        return f"left out: {self.rule.what} ({name} is {', '.join(words)}{more})"


def shop_of(table: SniffedTable, columns: TableColumns) -> tuple[Shop | None, int | None]:
    """The kind of export a table is, if it is one that is known, and the column of the shop's words."""
    for shop in SHOPS:
        if not all(columns.named(names) for names in shop.signs):
            continue
        if not shop.words:
            return shop, None
        found = _column_of(table, columns, frozenset(shop.words))
        if found is not None:
            return shop, found
    return None, None


def applied_rules(
    table: SniffedTable, columns: TableColumns, shop: Shop | None, words_column: int | None, *, variants: bool
) -> list[AppliedRule]:
    """The rules that hold for a table. `variants`: a picture is made of each of them."""
    off = "product" if variants else "variant"
    wanted = [rule for rule in (*(shop.rules if shop else ()), *COMMON_RULES) if rule.per != off]
    placed = [
        AppliedRule(column=index, rule=rule, counts=Counter())
        for rule in wanted
        for index in ([words_column] if rule.columns == (WORDS_COLUMN,) else columns.named(rule.columns))[:1]
        if index is not None
    ]
    seen = _words(table.rows(), {each.column for each in placed})
    found: list[AppliedRule] = []
    for each in placed:
        known = {*each.rule.leave_out, *each.rule.keep, *each.rule.usual} - {""}
        if known.isdisjoint(seen[each.column]) and not _says_enough(each, seen):
            continue
        if any(other.column == each.column for other in found):
            continue
        found.append(each)
    return _counted(table, found)


def _says_enough(each: AppliedRule, seen: dict[int, Counter[str]]) -> bool:
    """An empty cell is what some rules keep; it says something only beside other words."""
    return "" in each.rule.keep and len(seen[each.column]) > 1


def _counted(table: SniffedTable, rules: list[AppliedRule]) -> list[AppliedRule]:
    """The rules with what they leave out. One that would leave no row of those before it is dropped."""
    found: list[AppliedRule] = []
    for each in rules:
        counts: Counter[str] = Counter()
        left = 0
        for row in table.rows():
            if all(before.keeps(row) for before in found):
                if each.keeps(row):
                    left += 1
                elif len(counts) < _MOST_WORDS:
                    counts[_word(row[each.column])] += 1
        if left:
            found.append(replace(each, counts=counts))
    return found


def product_rows(rows: Iterable[list[str]], rules: Sequence[AppliedRule]) -> Iterator[list[str]]:
    """The rows that no rule leaves out."""
    return (row for row in rows if all(rule.keeps(row) for rule in rules))


def _column_of(table: SniffedTable, columns: TableColumns, words: frozenset[str]) -> int | None:
    """The first column in which nearly every row has these words and no other, with commas between them.

    Not every row: plug-ins of a shop add words of their own.
    """
    filled: Counter[int] = Counter()
    known: Counter[int] = Counter()
    for row in table.rows():
        for index in columns.usable:
            cell = row[index].strip()
            if cell:
                filled[index] += 1
                known[index] += {word.strip() for word in cell.lower().split(",")} <= words
    return min((index for index in filled if known[index] >= _MOST * filled[index]), default=None)


def _words(rows: Iterable[list[str]], columns: set[int]) -> dict[int, Counter[str]]:
    seen: dict[int, Counter[str]] = {index: Counter() for index in columns}
    for row in rows:
        for index, words in seen.items():
            word = _word(row[index])
            if word in words or len(words) < _MOST_WORDS:
                words[word] += 1
    return seen


def _word(cell: str) -> str:
    return cell.strip().lower()
