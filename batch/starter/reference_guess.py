"""The pictures that go along with the prompts: those that a column names, photos in a folder, web addresses."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from batch.core.errors import InputError, Problem
from batch.manifest.ids import slug
from batch.manifest.problems import show, show_path
from batch.starter.columns import TableColumns
from batch.starter.names import ADDRESS, NAMED_HOSTS, PICTURE_FILE, PICTURE_FOLDERS, PICTURE_NAME, fold
from batch.starter.photos import PhotoFolder, Photos, listed
from batch.starter.shops import Shop
from batch.starter.yaml_writer import yaml_scalar

_SEVERAL: Final = re.compile(r"\S\s*([,;|])\s*https?://")

#: Of a product with many pictures. Each is paid for as a part of the request.
_MOST_PICTURES: Final = 4

_Rows: TypeAlias = Callable[[], Iterator[list[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceGuess:
    """References as the manifest is to have them.

    `paths` are templates below `folder`, which is seen from the table's folder. `later` and `hosts_later` are lines to
    be commented out; `why` is for comments, `notes` for the terminal.
    """

    paths: tuple[str, ...] = ()
    folder: str = ""
    optional: bool = False
    later: str | None = None
    hosts_later: str | None = None
    why: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReferenceGuesser:
    """Looks at the rows that make jobs. `photos` is the folder the user named, None if none was named."""

    columns: TableColumns
    shop: Shop | None
    folder: Path
    photos: Path | None
    rows: _Rows
    per_variant: bool = False

    def references(self, ids: Sequence[int], *, grouped: bool = False) -> ReferenceGuess:
        """The best there is. `ids` are the columns that photos may be called by, the job's id first.

        `grouped`: a job has all rows of a product, with pictures in each.

        Raises InputError if the user named a folder and no photo in it is one of these products'.
        """
        pictures = self._picture_columns()
        if self.photos is None:
            named = next(filter(None, (self._named_by(index, whole=True) for index in pictures)), None)
            if named is not None:
                return named
        found = self._in_folders(ids)
        if found is None and self.photos is not None:
            names = listed([self.columns.name(index) for index in dict.fromkeys(ids)], most=4)
            message = f"no picture in it is called like a product; looked for the values of {show(names)}"
            raise InputError([Problem(message=message, file=show_path(self.photos))])
        found = found or next(filter(None, (self._named_by(index, whole=False) for index in pictures)), None)
        return found or next(
            filter(None, (self._addresses(index, grouped=grouped) for index in pictures)), ReferenceGuess()
        )

    def _picture_columns(self) -> list[int]:
        columns = self.columns
        first = next(self.rows(), [""] * len(columns.header))
        own = columns.named(self.shop.pictures) if self.shop else []
        if self.shop is not None and self.per_variant:
            own = [*columns.named(self.shop.variant_pictures), *own]
        others = [
            index
            for index in columns.usable
            if PICTURE_NAME.search(fold(columns.name(index))) or PICTURE_FILE.search(first[index].strip())
        ]
        return list(dict.fromkeys([*own, *others]))

    def _cells(self, index: int) -> list[str]:
        return [row[index].strip() for row in self.rows()]

    def _named_by(self, index: int, *, whole: bool) -> ReferenceGuess | None:
        """The column's cells are names of files."""
        names = self._cells(index)
        word, quoted = self.columns.value(index), self.columns.quoted(index)
        for folder in PICTURE_FOLDERS:
            there = sum(1 for name in names if self._is_picture(folder, name))
            if whole and names and there == len(names):
                why = (f"The files named in {quoted} go along with each prompt.",)
                return ReferenceGuess(paths=(f"{{{{ {word} | trim }}}}",), folder=folder, why=why)
            if there and not whole:
                missing = [name for name in names if name and not self._is_picture(folder, name)]
                note = f"{quoted}: {there:,} of {len(names):,} files are there"
                return ReferenceGuess(
                    paths=(f'{{{{ ({word} | trim) or "-" }}}}',),
                    folder=folder,
                    optional=True,
                    why=(f"The files named in {quoted} go along where they are there: {there:,} of {len(names):,}.",),
                    notes=(f"{note}; missing: {listed(missing)}" if missing else note,),
                )
        return None

    def _is_picture(self, folder: str, name: str) -> bool:
        if not name or "://" in name or "\0" in name:
            return False
        root = os.path.realpath(self.folder)
        try:
            file = os.path.realpath(os.path.join(root, folder, name))
            return file.startswith(root.rstrip(os.sep) + os.sep) and os.path.isfile(file)
        except (OSError, ValueError):
            return False

    def _in_folders(self, ids: Sequence[int]) -> ReferenceGuess | None:
        """Photos called by an id, a SKU or a title: of all folders and columns those that fit most products."""
        folders = [
            PhotoFolder(name, self.folder / name)
            for name in ([os.path.relpath(self.photos, self.folder)] if self.photos else PICTURE_FOLDERS)
        ]
        folders = [folder for folder in folders if folder]
        if not folders or not ids:
            return None
        labels = self._cells(ids[0])
        best: tuple[Photos, int, str] | None = None
        for index in dict.fromkeys(ids):
            cells = [row[index] for row in self.rows()]
            trim = " | trim" if any(cell != cell.strip() for cell in cells) else ""
            for filters, values in ((trim, cells), (" | slug", list(map(slug, cells)))):
                for folder in folders:
                    found = folder.photos_of(values, labels)
                    if found is not None and (best is None or found.found > best[0].found):
                        best = found, index, filters
        return None if best is None else self._by_name(*best)

    def _by_name(self, photos: Photos, index: int, filters: str) -> ReferenceGuess:
        where = "This folder" if photos.folder in ("", ".") else f"{photos.folder}/"
        what, goes = ("photos", "they go along") if photos.several else ("a photo", "it goes along")
        kind = "variants" if self.per_variant else "products"
        share = f"{photos.found:,} of {photos.total:,} {kind} have {what}"
        optional = photos.found < photos.total or len(photos.patterns) > 1
        why = [f"{where}: {share}, called like {self.columns.quoted(index)}; {goes} with the prompt."]
        if photos.found < photos.total:
            why.append(f"Without one: {listed(photos.missing)}.")
        if optional:
            why.append("optional: true takes what is there; without it, a product without a photo is a problem.")
        note = f"{where}: {share}"
        if photos.missing:
            note += f"; missing: {listed(photos.missing)}"
        notes = [note]
        if photos.strays:
            count = len(photos.strays)
            fits = "1 picture fits" if count == 1 else f"{count:,} pictures fit"
            notes.append(f"{where}: {fits} no product: {listed(photos.strays)}")
        word = f"{{{{ {self.columns.value(index)}{filters} }}}}"
        return ReferenceGuess(
            paths=tuple(f"{word}{pattern}" for pattern in photos.patterns),
            folder=photos.folder,
            optional=optional,
            why=tuple(why),
            notes=tuple(notes),
        )

    def _addresses(self, index: int, *, grouped: bool) -> ReferenceGuess | None:
        """The column's cells hold web addresses. They are fetched only if the user says so."""
        cells = self._cells(index)
        hosts = sorted({found[1].lower() for cell in cells for found in ADDRESS.finditer(cell)})
        if not hosts:
            return None
        quoted = self.columns.quoted(index)
        several = next((found[1] for cell in cells if (found := _SEVERAL.search(cell))), None)
        split = several or (self.shop.split if self.shop else None)
        optional = "" if all(map(ADDRESS.match, cells)) else ", optional: true"
        if grouped:
            column = yaml_scalar(self.columns.name(index))
            later = f"{{column: {column}, most: {_MOST_PICTURES}, optional: true}}"
        elif split is not None:
            later = f"{{column: {yaml_scalar(self.columns.name(index))}, split: {yaml_scalar(split)}{optional}}}"
        else:
            path = yaml_scalar(f"{{{{ {self.columns.value(index)} }}}}")
            later = f"{{path: {path}{optional}}}" if optional else path
        return ReferenceGuess(
            later=later,
            hosts_later=", ".join(hosts[:NAMED_HOSTS]) + (", ..." if len(hosts) > NAMED_HOSTS else ""),
            why=(
                f"{quoted} holds addresses of pictures. To send them along with the prompts,",
                "take the # from the line below and from reference_hosts above.",
            ),
        )


def without_pictures(guess: ReferenceGuess, why: Problem) -> ReferenceGuess:
    """What to write where the pictures that were found cannot be sent. `why` is the first problem."""
    return replace(
        guess,
        paths=(),
        optional=False,
        why=("Some of the pictures beside the table cannot be sent along, so none is.",),
        notes=(f"no picture goes along: {why}", "put that right and run init again, or add references to the manifest"),
    )
