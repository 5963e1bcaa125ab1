"""`photos/kite-*.jpg`: which files a name with wildcards means.

A wildcard counts only where the manifest's own text has it. So the text is marked before a row is filled in, and
what comes out of a cell stays what it is: a name.

Names that Unicode calls the same (an accent in one character or as a character of its own) are the same here: systems
differ in how they store them, and the difference is invisible.

A folder is listed once and kept sorted, and the part of a name before its first wildcard is looked up in it, so
that a million rows can look into a folder of a hundred thousand files.
"""

from __future__ import annotations

import fnmatch
import os
import re
import secrets
import unicodedata
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from glob import escape
from typing import Final

#: Stands before every wildcard of the manifest. No cell can hold it: it is another in every process.
MARK: Final = f"\0{secrets.randbelow(10**18):018d}"
_STAR: Final = f"{MARK}*"
_ANY_FOLDERS: Final = _STAR * 2

#: So many names of files are remembered, over all folders; those looked into longest ago are forgotten first.
KEPT_NAMES: Final = 2_000_000
#: So many names that are not there are compared with all others of their folder.
MOST_LOOKED_FOR: Final = 200
#: What a folder costs beside its names.
_NAMES_PER_FOLDER: Final = 8


def marked(text: str) -> str:
    """The manifest's text with its wildcards marked."""
    return re.sub(r"[*?\[]", lambda found: MARK + found[0], text)


def unmarked(text: str) -> str:
    """The text as it was written."""
    return text.replace(MARK, "")


def natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sorts as people count: `front-2` before `front-10`, and `front` before both, whatever their endings."""
    stem, ending = os.path.splitext(name)
    parts = [*re.split(r"([0-9]+)", stem.casefold()), "0", ending]
    return [(int(part), "") if index % 2 else (0, part) for index, part in enumerate(parts)], name


@dataclass(frozen=True, slots=True)
class _Listing:
    """What a folder held when it was looked into: sorted names; `walked` are the folders that are no links."""

    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    walked: tuple[str, ...] = ()


class Folders:
    """The folders below one folder, each listed when it is first asked for.

    `may_list` is asked with the real path of every folder; False leaves it unread.
    """

    def __init__(self, base: str, may_list: Callable[[str], bool], kept_names: int = KEPT_NAMES) -> None:
        self._base = base
        self._may_list = may_list
        self._kept_names = kept_names
        #: Names kept of all folders together.
        self.held_names = 0
        self._looked_for = 0
        self._listings: OrderedDict[str, _Listing] = OrderedDict()

    def matching(self, pattern: str) -> list[str]:
        """The files that a marked name means, in natural order, named as the pattern names its folders.

        A file that really has the name with its asterisks is meant itself. Raises OSError for a folder that is there
        and cannot be listed.
        """
        literal = unmarked(pattern)
        if os.path.lexists(os.path.join(self._base, literal)):
            return [literal]
        return sorted(dict.fromkeys(self._below("", pattern.split("/"), composed)), key=natural)

    def spelled(self, name: str) -> str:
        """A name as the disk spells it, if Unicode calls the two the same; else as it is. Raises OSError."""
        found = ""
        for part in name.split("/"):
            found += next(self._called(found, part, composed), part) + "/"
        return found[:-1]

    def looking_like(self, pattern: str) -> str | None:
        """A file whose name differs from a (marked) one in capitals, or in what can hardly be seen. Raises OSError.

        Only so many names are looked for, since each takes a look at all names of a folder.
        """
        self._looked_for += 1
        if self._looked_for > MOST_LOOKED_FOR:
            return None
        return next(self._below("", pattern.split("/"), look), None)

    def _called(self, above: str, part: str, form: Callable[[str], str]) -> Iterator[str]:
        """What is called so in a folder, in one of the ways that have the same form."""
        if part in ("", ".", "..") or os.path.lexists(os.path.join(self._base, above + part)):
            yield part
            return
        listing = self._listing(above)
        for names in (listing.files, listing.folders):
            yield from _matching(names, part, form)

    def _below(self, above: str, parts: list[str], form: Callable[[str], str]) -> Iterator[str]:
        first, rest = parts[0], parts[1:]
        if MARK not in first:
            for name in self._called(above, first, form):
                if rest:
                    yield from self._below(f"{above}{name}/", rest, form)
                else:
                    yield above + name
            return
        listing = self._listing(above)
        if first == _ANY_FOLDERS:
            yield from self._below(above, rest or [_STAR], form)
            for name in listing.walked:
                if not name.startswith("."):
                    yield from self._below(f"{above}{name}/", parts, form)
            return
        for name in _matching(listing.folders if rest else listing.files, first, form):
            if rest:
                yield from self._below(f"{above}{name}/", rest, form)
            else:
                yield above + name

    def _listing(self, folder: str) -> _Listing:
        known = self._listings.get(folder)
        if known is not None:
            self._listings.move_to_end(folder)
            return known
        real = os.path.realpath(os.path.join(self._base, folder))
        listing = self._listings[folder] = list_folder(real) if self._may_list(real) else _Listing()
        self.held_names += _weight(listing)
        while self.held_names > self._kept_names and len(self._listings) > 1:
            _, forgotten = self._listings.popitem(last=False)
            self.held_names -= _weight(forgotten)
        return listing


def _weight(listing: _Listing) -> int:
    return _NAMES_PER_FOLDER + len(listing.files) + len(listing.folders) + len(listing.walked)


def list_folder(folder: str) -> _Listing:
    files, folders, walked = [], [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_dir():
                    files.append(entry.name)
                    continue
                folders.append(entry.name)
                if not entry.is_symlink():
                    walked.append(entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return _Listing()
    return _Listing(*(tuple(sorted(names, key=composed)) for names in (files, folders, walked)))


def composed(name: str) -> str:
    """A name with each accent and its letter in one character: alike for what Unicode calls the same."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def look(name: str) -> str:
    """What a person sees of a name: without capitals, invisible characters and kinds of spaces."""
    if name.isascii():
        return name.lower()
    shown = "".join(each for each in unicodedata.normalize("NFKC", name) if unicodedata.category(each) != "Cf")
    return " ".join(shown.casefold().split())


def _matching(names: tuple[str, ...], part: str, form: Callable[[str], str]) -> Iterator[str]:
    """Those of the sorted names that one part of a marked name means, in one of the ways that have the same form."""
    part = form(part)
    start = part.partition(MARK)[0]
    fits = fitting(part)
    is_sorted = form is composed
    for index in range(bisect_left(names, start, key=composed) if is_sorted else 0, len(names)):
        name = form(names[index])
        if not name.startswith(start):
            if is_sorted:
                return
            continue
        # As in a shell: hidden files are meant only by a name that begins with a dot.
        if fits(name) and (start or not name.startswith(".")):
            yield names[index]


def fitting(part: str) -> Callable[[str], object]:
    """A question to ask of names. Asterisks alone need no expression compiled for every row."""
    if MARK not in part:
        return part.__eq__
    first, *middle = part.split(_STAR)
    if MARK in first or any(MARK in piece for piece in middle):
        return expression(part).match
    last = middle.pop()

    def fits(name: str) -> bool:
        at, end = len(first), len(name) - len(last)
        if at > end or not name.endswith(last):
            return False
        for piece in middle:
            found = name.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return True

    return fits


@lru_cache(maxsize=1024)
def expression(part: str) -> re.Pattern[str]:
    first, *others = part.split(MARK)
    pattern = escape(first)
    for piece in others:
        end = piece.find("]", 2) if piece.startswith("[") else 0
        # A bracket that is never closed is a bracket.
        pattern += escape(piece) if end < 0 else piece[: end + 1] + escape(piece[end + 1 :])
    return re.compile(fnmatch.translate(pattern))
