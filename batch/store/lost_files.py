"""Files of bought pictures that are gone, or are not what was bought, by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import iter_unpack
from typing import Final

from batch.core.key_index import KEY_BYTES
from batch.store.history import History
from batch.store.job_state import FileState
from batch.store.ledger_reader import open_ledger
from batch.store.places import shelf_of
from batch.store.records import ImageRecord, Pictured

#: So many are named of each kind; the counts say how many there are.
MOST_NAMED: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LostFiles:
    """The first of them, relative to the output folder. `altered`: another size than what was bought."""

    missing: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()


NONE_LOST: Final = LostFiles()


def lost_files(
    output: Path, history: History, order: bytes | bytearray | None = None, most: int = MOST_NAMED
) -> LostFiles:
    """Look at the files of the jobs of `order` (16-byte keys in a row), or of all that the ledger knows."""
    found: dict[FileState, list[str]] = {FileState.MISSING: [], FileState.ALTERED: []}
    shelf = shelf_of(output)
    for record in lost_records(output, history, order):
        for image in record.images:
            state = shelf.state(image.path, image.bytes)
            if state is not FileState.WHOLE and len(found[state]) < most:
                found[state].append(image.path)
        if all(len(names) == most for names in found.values()):
            break
    return LostFiles(missing=tuple(found[FileState.MISSING]), altered=tuple(found[FileState.ALTERED]))


def lost_records(output: Path, history: History, order: bytes | bytearray | None = None) -> Iterator[Pictured]:
    """The record of every picture of which a file was gone or altered when the ledger was read."""
    rows = history.not_as_bought() if order is None else _rows(history, order)
    with open_ledger(output) as ledger:
        for row in rows:
            record = ledger.at(history.at(row).bought_offset)
            assert isinstance(record, Pictured)
            yield record


def worst_state(output: Path, images: Sequence[ImageRecord]) -> FileState:
    """The worst that happened to any of these pictures, as they are now."""
    shelf = shelf_of(output)
    return max(shelf.state(image.path, image.bytes) for image in images)


def _rows(history: History, order: bytes | bytearray) -> Iterator[int]:
    for (key,) in iter_unpack(f"{KEY_BYTES}s", order):
        row = history.row_of(key)
        if row is not None and ((facts := history.facts_at(row)).missing or facts.altered):
            yield row
