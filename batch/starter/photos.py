"""Photos of the products in a folder: which files are whose, and how a manifest names them.

A product's photos have its id in their names: `mug.jpg`, `mug-1.jpg`, `mug_2.jpg`, `mug (3).jpg` or a folder `mug/`.
They are found for as many products as have some.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from batch.starter.names import PICTURE_FILE

#: A number after a product's name, as cameras, shops and file managers write it. Longer ones are dates.
_NUMBERED: Final = re.compile(r"(?P<name>.+?)(?P<before>[-_ .]| ?\()(?P<digits>\d{1,3})(?P<after>\)?)")
_IN_FOLDER: Final = "/*"
_MOST_FILES: Final = 500_000
#: Reading ends if a folder has more folders in it.
_MOST_FOLDERS: Final = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Photos:
    """The photos found for one column's values.

    `patterns` are the endings of their names in the manifest, after the value: `.jpg`, `-[0-9]*.png`, `/*`. `missing`
    are the products without one, in the table's order; `strays` the pictures that belong to none.
    """

    folder: str
    patterns: tuple[str, ...]
    found: int
    total: int
    several: bool
    missing: tuple[str, ...]
    strays: tuple[str, ...]


class PhotoFolder:
    """The pictures of one folder and of the folders in it, by their names without the ending."""

    def __init__(self, folder: str, real: Path) -> None:
        self.folder = folder
        self._files: dict[str, list[str]] = {}
        self._folders: dict[str, list[str]] = {}
        self._others: set[str] = set()
        self._read(real)

    def __bool__(self) -> bool:
        return bool(self._files or self._folders)

    def photos_of(self, values: Sequence[str], labels: Sequence[str]) -> Photos | None:
        """Whose photos they are, if products are called by these values; None if no file fits one.

        `labels` are what to call the products. An empty value is a product that has no name for a file.
        """
        owners = {_key(value) for value in values if value.strip()}
        doubtful = {form for stem in self._files if stem in owners for owner, form in _numbered(stem, owners)}
        endings: dict[str, set[str]] = {}
        counts: Counter[str] = Counter()
        strays: list[str] = []
        for stem, files in self._files.items():
            owner, form = (stem, "") if stem in owners else next(_numbered(stem, owners), ("", ""))
            if not owner or form in doubtful:
                strays += files
                continue
            endings.setdefault(form, set()).update(map(_ending, files))
            counts[owner] += len(files)
        inside = {name: files for name, files in self._folders.items() if name in owners}
        if len(owners) < len(values) and not all(value.strip() for value in values):
            inside = {}  # the pattern would mean all files for a product without a name
        counts.update({name: len(files) for name, files in inside.items()})
        if not counts:
            return None
        patterns = [f"{form}{ending}" for form in sorted(endings, key=len) for ending in _patterns(endings[form])]
        return Photos(
            folder=self.folder,
            patterns=(*patterns, _IN_FOLDER) if inside else tuple(patterns),
            found=sum(_key(value) in counts for value in values),
            total=len(values),
            several=any(count > 1 for count in counts.values()),
            missing=tuple(label for value, label in zip(values, labels, strict=True) if _key(value) not in counts),
            strays=tuple(sorted(strays)),
        )

    def _read(self, real: Path) -> None:
        folders = 0
        for entry in _entries(real):
            if entry.is_dir():
                folders += 1
                if folders <= _MOST_FOLDERS:
                    inside = [each.name for each in _entries(entry.path)]
                    if inside and all(map(PICTURE_FILE.search, inside)):
                        self._folders[_key(entry.name)] = inside
            elif PICTURE_FILE.search(entry.name):
                self._files.setdefault(_key(os.path.splitext(entry.name)[0]), []).append(entry.name)


def _numbered(stem: str, owners: Collection[str]) -> Iterator[tuple[str, str]]:
    """The product whose name is followed by a number here, and how a pattern writes the number."""
    found = _NUMBERED.fullmatch(stem)
    if found and found["name"] in owners and found["before"].endswith("(") == bool(found["after"]):
        yield found["name"], f"{found['before']}{'[0-9]' * len(found['digits'])}{found['after']}"


def _entries(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    """What is in a folder, hidden files left out; nothing if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            for _, entry in zip(range(_MOST_FILES), entries, strict=False):
                if not entry.name.startswith("."):
                    yield entry
    except OSError:
        return


def _key(name: str) -> str:
    """As files are looked up: the two Unicode forms of a letter are one."""
    return unicodedata.normalize("NFC", name.strip())


def _ending(file: str) -> str:
    return os.path.splitext(file)[1]


def _patterns(endings: set[str]) -> list[str]:
    """The endings as a manifest writes them: where small and capital letters both occur, one pattern means both."""
    spellings: dict[str, set[str]] = {}
    for ending in endings:
        spellings.setdefault(ending.lower(), set()).add(ending)
    return [
        found.pop() if len(found) == 1 else re.sub("[a-z]", lambda letter: f"[{letter[0]}{letter[0].upper()}]", ending)
        for ending, found in sorted(spellings.items())
    ]


def listed(names: Iterable[str], most: int = 5) -> str:
    """A few names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
