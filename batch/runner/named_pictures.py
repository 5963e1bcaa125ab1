"""Which pictures a person means: ids, patterns, paths and file names, from a command line or from a file of them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import translate
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

from batch.album import Album, Picture
from batch.core.errors import InputError, OptionError, Problem

STDIN: Final = "-"
_MAGIC: Final = frozenset("*?[")
_ID_FIELDS: Final = ("id", "job", "job_id", "job id")
_FILE_FIELDS: Final = ("path", "file", "file_name", "file name", "image")
_TABLES: Final = (".csv", ".tsv")
#: Looking for a similar name among a million takes longer than a person waits.
_NAMES_COMPARED: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPicture:
    """One name as it was given: an id, a pattern, a path or a file name. `literal`: it is no pattern.

    A file may say for each what is wrong with it; None: it does not.
    """

    word: str
    literal: bool = False
    note: str | None = None
    reasons: tuple[str, ...] | None = None
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class FoundPicture:
    """A picture of an output, the job it belongs to, and the name that led to it."""

    job: str
    picture: Picture
    name: NamedPicture


def names_in(source: str, stdin: BinaryIO) -> list[NamedPicture]:
    """The names in a file, or with `-` on standard input: one a line, a CSV with a column `id`, or JSON lines.

    Columns or fields `note` and `reasons` go with their picture. Raises `OptionError` if it cannot be read.
    """
    name = "standard input" if source == STDIN else source
    text = _text_of(source, name, stdin)
    beginning = text.lstrip()[:1]
    found = _of_objects(text, name) if beginning in ("{", "[") else _of_table(text, name)
    if found is None:
        found = _of_lines(text, name)
    if not found:
        raise _problem(f"{name} names no picture", name)
    return found


def find_pictures(album: Album, names: Sequence[NamedPicture]) -> list[FoundPicture]:
    """What each name means in an output: of a job the pictures that are shown for it, of a file that one.

    Each picture comes once, by the last name for it. Raises `OptionError` with every name that means nothing.
    """
    finder = _Finder(album)
    found: dict[tuple[str, str], FoundPicture] = {}
    problems: list[Problem] = []
    for name in names:
        try:
            for job, picture in finder.find(name):
                found[job, picture.sha256] = FoundPicture(job, picture, name)
        except _NotFound as error:
            problems.append(Problem(message=str(error), file=name.file, line=name.line))
    if problems:
        raise OptionError(problems)
    return [*found.values()]


class _NotFound(Exception):
    """A name means no picture; the text says why."""


@dataclass(slots=True)
class _Finder:
    """Looks names up in an album; its files are listed only if a name is no id."""

    album: Album
    _ids: frozenset[str] = field(init=False)
    _files: dict[str, tuple[str, Picture]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._ids = frozenset(self.album.ids)

    def find(self, name: NamedPicture) -> Iterator[tuple[str, Picture]]:
        if name.word in self._ids:
            yield from self._of_job(name.word)
        elif not name.literal and _MAGIC & set(name.word):
            yield from self._by_pattern(name.word)
        else:
            yield self._by_file(name.word)

    def _of_job(self, job_id: str) -> Iterator[tuple[str, Picture]]:
        chosen = self.album.entry(job_id).chosen
        if chosen is None:
            raise _NotFound(f"{job_id} has no picture; `imagebatch resolve` accepts that it failed")
        return ((job_id, picture) for picture in chosen.pictures)

    def _by_pattern(self, word: str) -> Iterator[tuple[str, Picture]]:
        pattern = re.compile(translate(word))
        jobs = [job for job in self.album.ids if pattern.match(job)]
        entries = ((job, self.album.entry(job).chosen) for job in jobs)
        found = [(job, picture) for job, chosen in entries if chosen is not None for picture in chosen.pictures]
        found = found or [*self._files_like(pattern)]
        if not found:
            raise _NotFound(f"no job and no picture matches {word}")
        yield from found

    def _files_like(self, pattern: re.Pattern[str]) -> Iterator[tuple[str, Picture]]:
        files = self._all_files().items()
        return (found for path, found in files if pattern.match(path) or pattern.match(os.path.basename(path)))

    def _by_file(self, word: str) -> tuple[str, Picture]:
        files = self._all_files()
        inside = os.path.relpath(os.path.abspath(word), os.path.abspath(self.album.output))
        for path in (os.path.normpath(word), inside):
            if path in files:
                return files[path]
        same = [found for path, found in files.items() if os.path.basename(path) == word]
        if len(same) == 1:
            return same[0]
        if same:
            raise _NotFound(f"{len(same)} pictures are called {word}; write the path, such as {same[0][1].path}")
        raise _NotFound(f"no job and no picture is called {word}{self._hint(word)}")

    def _all_files(self) -> dict[str, tuple[str, Picture]]:
        if not self._files:
            for entry in self.album:
                for version in entry.versions:
                    self._files.update((picture.path, (entry.id, picture)) for picture in version.pictures)
        return self._files

    def _hint(self, word: str) -> str:
        names = [*islice(self.album.ids, _NAMES_COMPARED)]
        if "." in word or os.sep in word:
            names += [os.path.basename(path) for path in islice(self._files, _NAMES_COMPARED)]
        close = get_close_matches(os.path.basename(word), names, n=1)
        return f"; did you mean {close[0]}?" if close else ""


def _text_of(source: str, name: str, stdin: BinaryIO) -> str:
    try:
        data = stdin.read() if source == STDIN else Path(source).read_bytes()
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _problem(f"{name} is not UTF-8 text; save it as such", name) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "that is no file name"
        raise _problem(f"cannot read {name or 'a file without a name'}: {why}", name) from None


def _of_lines(text: str, file: str) -> list[NamedPicture]:
    lines = enumerate(text.splitlines(), 1)
    return [
        NamedPicture(word=line.strip(), literal=True, file=file, line=number) for number, line in lines if line.strip()
    ]


def _of_table(text: str, file: str) -> list[NamedPicture] | None:
    """The rows of a table; None if it is none, for it has no column that could name a picture."""
    head, _, rest = text.partition("\n")
    delimiter = max(",;\t", key=head.count)
    names = [cell.strip().casefold() for cell in next(csv.reader([head], delimiter=delimiter), [])]
    wanted = next((name for name in (*_ID_FIELDS, *_FILE_FIELDS) if name in names), None)
    if wanted is None:
        if file.lower().endswith(_TABLES):
            raise _problem(f"no column of {file} is called id; name the one with the jobs' ids so", file, 1)
        return None
    reader = csv.reader(io.StringIO(rest), delimiter=delimiter)
    rows = ((reader.line_num + 1, dict(zip(names, cells, strict=False))) for cells in reader)
    return [_named(row, row.get(wanted, ""), file, line) for line, row in rows if row.get(wanted, "").strip()]


def _of_objects(text: str, file: str) -> list[NamedPicture]:
    found = list[NamedPicture]()
    for line, value in _json_values(text, file):
        fields = {"id": value} if isinstance(value, str) else value
        names = (fields.get(name) for name in (*_ID_FIELDS, *_FILE_FIELDS)) if isinstance(fields, dict) else ()
        word = next((name for name in names if isinstance(name, str) and name), None)
        if word is None:
            raise _problem('this names no picture; write {"id": "..."}', file, line)
        found.append(_named(fields, word, file, line))
    return found


def _json_values(text: str, file: str) -> Iterator[tuple[int, Any]]:
    if text.lstrip().startswith("["):
        yield from ((1, value) for value in _json(text, file, 1))
        return
    for line, part in enumerate(text.split("\n"), 1):
        if part.strip():
            yield line, _json(part, file, line)


def _json(text: str, file: str, line: int) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise _problem("this is no JSON; write one object a line", file, line) from None


def _named(fields: Mapping[str, Any], word: str, file: str, line: int) -> NamedPicture:
    note = fields.get("note")
    return NamedPicture(
        word=word.strip(),
        literal=True,
        note=note.strip() if isinstance(note, str) and note.strip() else None,
        reasons=_reasons(fields.get("reasons") or fields.get("reason")),
        file=file,
        line=line,
    )


def _reasons(value: Any) -> tuple[str, ...] | None:
    """A list of words, or words with commas between them."""
    words = value.replace(";", ",").split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(word.strip() for word in words if isinstance(word, str) and word.strip()) or None


def _problem(message: str, file: str, line: int | None = None) -> InputError:
    return OptionError([Problem(message=message, file=file if line is not None else None, line=line)])
