"""Two outputs as one album: each job once, with the picture of either as its versions, to be seen side by side.

Paths of pictures begin with `a/` or `b/`, by their output. What is decided of a picture belongs to its output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from batch.album.entry import Entry, Picture, Version
from batch.album.reading import Album, open_album
from batch.core.decisions import Decisions
from batch.store.job_state import Standing

_MARKS: Final = ("a", "b")


class PairedAlbum:
    """The jobs of two output folders: in the order of the first, then those that only the second has."""

    def __init__(self, first: Path, second: Path) -> None:
        self._albums: tuple[Album, Album] = (open_album(first), open_album(second))
        self.names = names_of(first, second)
        self._order: list[str] = []
        self._positions: dict[str, int] = {}
        self._extend()

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._positions

    def __iter__(self) -> Iterator[Entry]:
        return (self.entry(job) for job in self._order)

    @property
    def name(self) -> str:
        return " and ".join(self.names)

    @property
    def simulated(self) -> bool:
        return all(album.simulated for album in self._albums)

    @property
    def manifest(self) -> str:
        return self._albums[0].manifest

    @property
    def decisions(self) -> Decisions:
        """Those on the pictures of both."""
        return Decisions(decision for album in self._albums for decision in album.decisions)

    @property
    def outputs(self) -> tuple[Path, Path]:
        first, second = self._albums
        return first.output, second.output

    def entry(self, job_id: str) -> Entry:
        """One job of both. Raises `KeyError` if neither has it."""
        if job_id not in self._positions:
            raise KeyError(job_id)
        sides = [album.entry(job_id) if job_id in album else None for album in self._albums]
        versions = tuple(self._versions(sides))
        base = next(side for side in sides if side is not None)
        standings = {side.standing for side in sides if side is not None}
        return replace(
            base,
            position=self._positions[job_id],
            standing=Standing.DONE if Standing.DONE in standings else base.standing,
            row=self._row(sides),
            versions=versions,
            attempts=tuple(attempt for side in sides if side is not None for attempt in side.attempts),
            failure=next((side.failure for side in sides if side is not None and side.failure is not None), None),
            cost_usd=round(sum(side.cost_usd for side in sides if side is not None), 6),
            maybe_cost_usd=round(sum(side.maybe_cost_usd for side in sides if side is not None), 6),
            listed=any(side.listed for side in sides if side is not None),
            current=versions[0] if versions else None,
        )

    def refresh(self) -> frozenset[str]:
        """As `Album.refresh`, of both."""
        changed = frozenset[str]().union(*(album.refresh() for album in self._albums))
        self._extend()
        return changed

    def picture_path(self, sha256: str) -> str | None:
        """The path of a picture by its hash, with the mark of its output; None if neither has it."""
        found = zip(_MARKS, (album.picture_path(sha256) for album in self._albums), strict=True)
        return next((f"{mark}/{path}" for mark, path in found if path is not None), None)

    def file_of(self, path: str) -> Path:
        """Where a picture lies, by its path in the entries."""
        mark, _, rest = path.partition("/")
        return self.outputs[_MARKS.index(mark)] / rest

    def keepers_of(self, job_id: str, sha256: str) -> tuple[Path, ...]:
        """The outputs whose job has this picture, and whose decisions it belongs to."""
        return tuple(path for album in self._albums for path in album.keepers_of(job_id, sha256))

    def _versions(self, sides: list[Entry | None]) -> Iterator[Version]:
        for number, (mark, name, side) in enumerate(zip(_MARKS, self.names, sides, strict=True), 1):
            chosen = side.chosen if side is not None else None
            if chosen is not None:
                pictures = tuple(_marked(picture, mark) for picture in chosen.pictures)
                yield replace(chosen, number=number, pictures=pictures, source=name)

    def _row(self, sides: list[Entry | None]) -> Mapping[str, Any]:
        """The columns of the table, and what came of the job on either side, to filter by."""
        kept = next((side.row for side in sides if side is not None and side.row is not None), None) or {}
        return {**{name: _came_of(side) for name, side in zip(self.names, sides, strict=True)}, **kept}

    def _extend(self) -> None:
        for album in self._albums:
            for job in album.ids:
                if job not in self._positions:
                    self._positions[job] = len(self._order)
                    self._order.append(job)


def names_of(first: Path, second: Path) -> tuple[str, str]:
    """What two outputs are called: the last parts of their paths that differ."""
    one, other = first.resolve().parts, second.resolve().parts
    same = next((count for count, (a, b) in enumerate(zip(one[::-1], other[::-1], strict=False)) if a != b), 0)
    return "/".join(one[-same - 1 :]), "/".join(other[-same - 1 :])


def _marked(picture: Picture, mark: str) -> Picture:
    return replace(picture, path=f"{mark}/{picture.path}")


def _came_of(side: Entry | None) -> str:
    if side is None:
        return "not in it"
    return side.failure.code if side.failure is not None else str(side.standing)
