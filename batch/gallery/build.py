"""Builds the pages of an output: rows and details as scripts, the page itself, then small copies of the pictures.

The pages are whole before the first thumbnail is made; those that are missing yet show as an empty frame. A second
build writes what has changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from batch.album import AlbumView, Entry, PictureState, open_album
from batch.core.errors import StorageError
from batch.gallery.chunks import DETAILS, PART, ROWS, batched, in_columns, script
from batch.gallery.files import GalleryFiles
from batch.gallery.originals import link_original
from batch.gallery.pages import REVIEW, SCRIPTS, STYLE, Page, asset, render_page
from batch.gallery.references import ReferencePlaces, places_of
from batch.gallery.rows import CELL, PARAMETER, details_of, row_of
from batch.gallery.thumbnails import REFERENCE_SIDE, SmallCopy, is_made, make_all, small_copy_name

NAME: Final = "gallery"
THUMBNAILS: Final = "thumbs"
REFERENCES: Final = "references"


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A finished build. `page` is what index.html was rendered from; `review_script` what review loads besides.

    `written` counts files of the pages, `thumbnails` small copies that were made, `unreadable` pictures that got none,
    and `left` has those that were not to be made.
    """

    folder: Path
    page: Page
    review_script: str
    entries: int
    written: int
    thumbnails: int
    unreadable: int
    left: tuple[SmallCopy, ...] = ()

    @property
    def index(self) -> Path:
        return self.folder / "index.html"


def gallery_folder(output: Path) -> Path:
    """Where an output's gallery is, unless another folder is named."""
    return output / NAME


def thumbnail_of(gallery: Path, output: Path, path: str, sha256: str) -> SmallCopy:
    """The thumbnail of a picture of an output; `path` is relative to that."""
    return _thumbnail(gallery, output / path, sha256)


def _thumbnail(gallery: Path, picture: Path, sha256: str) -> SmallCopy:
    target = gallery / THUMBNAILS / small_copy_name(sha256)
    return SmallCopy(source=str(picture), sha256=sha256, target=str(target))


def build_gallery(
    output: Path,
    to: Path | None = None,
    *,
    thumbnails: bool = True,
    workers: int | None = None,
    references: Sequence[Path] = (),
    told: Callable[[int, int], None] = lambda _made, _of: None,
    keep_old: bool = False,
) -> Built:
    """Build or renew the gallery of an output, in `to` or in its folder `gallery`.

    `references` are folders in which reference pictures are looked for first. `told` hears how many small copies of how
    many are made. In a folder elsewhere the originals get second names, so that it can be uploaded as a whole.
    `keep_old`: what earlier pages name stays, because some of them are open.

    Raises `OutputError` if the output holds no ledger or the folder cannot be used, `LedgerError` if the ledger is
    damaged, `StorageError` if something cannot be written.
    """
    folder = to or gallery_folder(output)
    is_inside = to is None or folder.resolve() == gallery_folder(output).resolve()
    return build_pages(
        open_album(output),
        folder,
        is_complete=not is_inside,
        thumbnails=thumbnails,
        workers=workers,
        references=references,
        told=told,
        keep_old=keep_old,
    )


def build_pages(
    album: AlbumView,
    folder: Path,
    *,
    is_complete: bool,
    thumbnails: bool = True,
    workers: int | None = None,
    references: Sequence[Path] = (),
    told: Callable[[int, int], None] = lambda _made, _of: None,
    keep_old: bool = False,
) -> Built:
    """Build or renew the pages of an album in a folder, as `build_gallery`.

    `is_complete`: the originals get second names in the folder; otherwise they are looked for in the folder above it.
    """
    files = GalleryFiles(folder)
    pass_over = _Pass(album, files, places_of(album.manifest, references))
    index = pass_over.write(base="" if is_complete else "../")
    page = Page(
        title=album.name,
        style=files.add("assets", STYLE.removesuffix(".css"), ".css", asset(STYLE)),
        scripts=tuple(files.add("assets", name.removesuffix(".js"), ".js", asset(name)) for name in SCRIPTS),
        index=index,
        simulated=album.simulated,
    )
    review_script = files.add("assets", REVIEW.removesuffix(".js"), ".js", asset(REVIEW))
    if is_complete:
        pass_over.link_originals()
    files.put_if_other("index.html", render_page(page))
    if not keep_old:
        files.sweep()
    copies = [copy for copy in dict.fromkeys(pass_over.small_copies()) if not is_made(copy)]
    left = [] if thumbnails else copies
    copies = copies if thumbnails else []
    unreadable = _make(copies, workers, told)
    return Built(
        folder=folder,
        page=page,
        review_script=review_script,
        entries=len(album),
        written=files.written,
        thumbnails=len(copies) - unreadable,
        unreadable=unreadable,
        left=tuple(left),
    )


@dataclass(slots=True)
class _Pass:
    """One pass over an album: writes rows and details, and notes which pictures there are."""

    album: AlbumView
    files: GalleryFiles
    places: ReferencePlaces
    #: SHA-256 by path, of pictures whose file is there.
    pictures: dict[str, str] = field(default_factory=dict)
    #: Name by hash.
    references: dict[str, str] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)

    def write(self, *, base: str) -> str:
        """Write all rows; returns the path of the script that names the files. `base` leads to the output folder."""
        name = self.album.name
        rows, details = [], []
        for number, entries in enumerate(batched(self.album, ROWS)):
            made = [row_of(entry) for entry in entries]
            rows.append(self.files.add("data", f"{number:05}", ".js", script("rows", number, in_columns(made))))
            self._note(entries, made)
            first = number * (ROWS // DETAILS)
            for place, group in enumerate(batched(entries, DETAILS), first):
                told = [details_of(entry, name) for entry in group]
                details.append(self.files.add("data", f"details-{place:05}", ".js", script("details", place, told)))
        facts = {**self._facts(), "base": base, "chunks": rows, "details": details}
        return self.files.add("data", "index", ".js", script("index", 0, facts))

    def small_copies(self) -> Iterator[SmallCopy]:
        """Every thumbnail, and every reference whose file is found."""
        for path, sha256 in self.pictures.items():
            yield _thumbnail(self.files.folder, self.album.file_of(path), sha256)
        for sha256, name in self.references.items():
            target = str(self.files.folder / REFERENCES / small_copy_name(sha256))
            source = None if os.path.exists(target) else self.places.find(name, sha256)
            if source is not None:
                yield SmallCopy(
                    source=str(source), sha256=sha256, target=target, side=REFERENCE_SIDE, checked=True
                )  # fmt: skip

    def link_originals(self) -> None:
        """Give every picture a second name in the gallery's folder."""
        for path in self.pictures:
            link_original(self.album.file_of(path), self.files.folder / path)

    def _note(self, entries: Sequence[Entry], rows: Sequence[dict[str, Any]]) -> None:
        for row in rows:
            self.names.update(dict.fromkeys(row))
        for version in (version for entry in entries for version in entry.versions):
            if version.references:
                self.references.update(zip(version.reference_sha256s, version.references, strict=True))
            for picture in version.pictures:
                if picture.state is not PictureState.MISSING:
                    self.pictures[picture.path] = picture.sha256

    def _facts(self) -> dict[str, Any]:
        return {
            "name": self.album.name,
            "total": len(self.album),
            "rowsPerChunk": ROWS,
            "rowsPerDetails": DETAILS,
            "rowsPerPart": PART,
            "columns": [name for name in self.names if name.startswith((CELL, PARAMETER))],
            "simulated": self.album.simulated,
        }


def _make(copies: list[SmallCopy], workers: int | None, told: Callable[[int, int], None]) -> int:
    try:
        count = len(os.sched_getaffinity(0)) if workers is None else workers
        return make_all(copies, workers=count, made=lambda made: told(made, len(copies)))
    except OSError as error:
        raise StorageError(f"cannot write a thumbnail: {error.strerror or error}") from error
