"""Collecting everything that is wrong, and saying it without repeating what must not be repeated.

Nothing a user (or a table from somewhere else) wrote reaches a message raw: `show` escapes what a terminal
would act on, cuts long text and hides what looks like a key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, TypeAlias

from batch.core.errors import InputError, Problem

#: Where a stage hands its problems to, one by one.
Report: TypeAlias = Callable[[Problem], None]

#: More problems than a person reads; the rest is counted.
KEPT_PROBLEMS: Final = 1000

#: So many rows with one kind of problem show what it is; a table may have a million of them.
ROWS_OF_A_KIND: Final = 10

#: What differs between problems of one kind: the value, the name of a picture, numbers.
_PARTICULAR: Final = re.compile(r"; got .*|(?<=^reference ).*?(?= (?:does not exist|lies|is|has) )|\d+")
_GOT: Final = re.compile("; got .*")

#: Long enough to recognise one's own words, short enough for one line.
SHOWN_CHARACTERS: Final = 120

#: How many known names a message lists; an export of a shop has fifty columns.
_LISTED_NAMES: Final = 16

#: Keys of Google (two generations) and of relays. The last kind needs a digit, as ordinary hyphenated words
#: may begin with "sk-" too.
_KEY: Final = re.compile(
    r"(?<![A-Za-z0-9_-])(?:AIza[A-Za-z0-9_-]{30,}|AQ\.[A-Za-z0-9_-]{20,}|sk-(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{20,})"
)

LOOKS_LIKE_KEY: Final = "this looks like an API key; keys come from the environment, never from a manifest or a table"

#: Control characters a prompt or a path never needs (all but newline and tab), and halves of surrogate pairs,
#: which cannot be written as UTF-8.
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(slots=True)
class _Kind:
    """Problems of rows that have one cause. `first_unlisted` is the first that is only counted."""

    listed: int = 0
    first_unlisted: Problem | None = None
    unlisted_rows: int = 0
    last_line: int | None = None


class Problems:
    """A list of problems that stops growing at `KEPT_PROBLEMS` and goes on counting.

    Of those that a table's rows have in common some are listed and the others counted, so that a second cause is not
    lost among a thousand times the first.
    """

    def __init__(self, first_file: str) -> None:
        self._first_file = first_file
        self._kept: list[Problem] = []
        self._seen: set[Problem] = set()
        self._kinds: dict[tuple[str | None, str | None, str], _Kind] = {}
        self._places: set[tuple[int | None, int | None]] = set()
        self._more = 0

    def add(self, problem: Problem) -> None:
        """Note a problem; the same one twice (a default wrong for many jobs) counts once."""
        if problem in self._seen or self._is_counted_with_its_kind(problem):
            return
        if len(self._kept) >= KEPT_PROBLEMS:
            self._more += 1
        else:
            self._seen.add(problem)
            self._kept.append(problem)
            self._places.add((problem.line, problem.column))

    def add_once_at(self, message: str, line: int, column: int) -> None:
        """Note a problem of the manifest, unless something was said about this place already."""
        if not self.has_at(line, column):
            self.add(Problem(message=message, file=self._first_file, line=line, column=column))

    def _is_counted_with_its_kind(self, problem: Problem) -> bool:
        if problem.file == self._first_file or problem.line is None:
            return False
        key = problem.file, problem.field, _PARTICULAR.sub("#", problem.message)
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= KEPT_PROBLEMS:
                return False
            kind = self._kinds[key] = _Kind()
        if kind.listed < ROWS_OF_A_KIND:
            kind.listed += 1
            return False
        kind.first_unlisted = kind.first_unlisted or problem
        kind.unlisted_rows += problem.line != kind.last_line  # a row may have several jobs
        kind.last_line = problem.line
        return True

    def add_more(self, count: int) -> None:
        """Count `count` more problems, which are not listed."""
        self._more += count

    def has_at(self, line: int, column: int) -> bool:
        """Whether something was already said about this place."""
        return (line, column) in self._places

    def places(self) -> set[tuple[int | None, int | None]]:
        """The lines and columns about which something was said."""
        return set(self._places)

    def raise_if_any(self) -> None:
        """Raise them all in the order of the file, the manifest before its rows."""
        if not self._kept:
            return
        raise InputError(sorted([*self._kept, *self._counted()], key=self._position), more=self._more)

    def _counted(self) -> Iterator[Problem]:
        """One problem for all rows of a kind that are not listed, at the place of their first."""
        for kind in self._kinds.values():
            first = kind.first_unlisted
            if first is None:
                continue
            if kind.unlisted_rows == 1:
                yield first
                continue
            words = _GOT.sub("", first.message)
            message = f"and {kind.unlisted_rows:,} more rows, to line {kind.last_line}: {words}"
            yield Problem(message=message, file=first.file, line=first.line, field=first.field)

    def _position(self, problem: Problem) -> tuple[bool, int, int]:
        return problem.file != self._first_file, problem.line or 0, problem.column or 0


def show(value: object) -> str:
    """Foreign text, fit for one line of a terminal."""
    text = _KEY.sub("***", value if isinstance(value, str) else repr(value))
    shown = "".join(character if character.isprintable() else _escaped(character) for character in text)
    if len(shown) > SHOWN_CHARACTERS:
        shown = shown[: SHOWN_CHARACTERS - 3] + "..."
    return shown


def without_keys(text: str) -> str:
    """The text with everything that is shaped like an API key replaced by stars."""
    return _KEY.sub("***", text)


def show_path(path: object) -> str:
    """A path as the user typed it, whole, but for characters no terminal can print."""
    return "".join(character if character.isprintable() else _escaped(character) for character in str(path))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def key_positions(text: str) -> Iterator[int]:
    """Where something shaped like an API key begins."""
    if not any(start in text for start in ("AIza", "AQ.", "sk-")):
        return iter(())
    return (found.start() for found in _KEY.finditer(text))


def control_character(text: str) -> str | None:
    """The first character that may not be in a text, escaped; None if there is none."""
    found = None if text.isprintable() else _CONTROL.search(text)
    return None if found is None else _escaped(found.group())


def unfit_text(text: str) -> str | None:
    """What is wrong with a text whatever it is used for, as a sentence; None if nothing is."""
    found = control_character(text)
    if found is not None:
        if found.startswith("\\ud"):
            return f"{found} is half a character, not valid Unicode; write the whole character"
        return f"{found} is a control character; only newline and tab are allowed"
    return None if _KEY.search(text) is None else LOOKS_LIKE_KEY


def did_you_mean(word: str, known: Iterable[str], what: str) -> str:
    """`did you mean x?` if something is close, else the list of what is known."""
    names = list(known)
    by_folded = {name.casefold(): name for name in names}
    close = get_close_matches(word.casefold()[:200], by_folded, n=1, cutoff=0.6)
    if close:
        return f"did you mean {show(by_folded[close[0]])}?"
    more = len(names) - _LISTED_NAMES
    listed = ", ".join(show(name) for name in names[:_LISTED_NAMES]) + (f" and {more} more" if more > 0 else "")
    return f"known {what}: {listed}"
