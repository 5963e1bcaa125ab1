"""An output folder: made, locked, read and opened."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, Final

from batch.core.clock import Clock
from batch.core.errors import LockedError, OutputError
from batch.core.model import Job
from batch.core.own_files import in_the_way, sync_folder
from batch.store.abilities import Abilities, abilities_of
from batch.store.background_replay import BackgroundReplay
from batch.store.contracts import Ownership
from batch.store.disk_reserve import DiskReserve
from batch.store.history import History
from batch.store.ledger_reader import open_ledger
from batch.store.picture_check import EXTENSIONS
from batch.store.pictures import picture_path
from batch.store.places import log_of, open_log, ownership_of, shelf_of
from batch.store.records import (
    EndRecord,
    RunRecord,
)
from batch.store.rehearsal import NAME as REHEARSAL
from batch.store.rehearsal import is_unfinished, move_away
from batch.store.store import Store

_FOLDERS: Final = ("images", "spool", "rejected")
#: Files of ours, with the names they have while they are written.
_FILES: Final = (
    *("ledger.jsonl", ".ledger.part", "manifest.jsonl", "manifest.jsonl.part", ".lock", ".lock-owner"),
    *(".lock-owner.part", ".now", ".now.part", ".reserve", "simulator-book.jsonl"),
    *("decisions.jsonl", "decisions.torn", ".decisions.lock"),
)


class OutputFolder:
    """An output folder before anything is written: locked if it exists, its ledger read. See `output_folder`."""

    def __init__(
        self, path: Path, ownership: Ownership, reading: BackgroundReplay, *, bought_only: bool = False
    ) -> None:
        self.bought_only = bought_only
        #: Where opening it for writing moved a rehearsal to, if there was one.
        self.rehearsal_moved_to: Path | None = None
        #: What of the promises its file system cannot keep, found when it is opened for writing.
        self.weaker: str | None = None
        self._is_move_unfinished = is_unfinished(path)
        self.path = path
        self._ownership = ownership
        self._reading = reading

    @property
    def history(self) -> History:
        """What the ledger says. Raises `LedgerError` if it is damaged."""
        return self._reading.history()

    def name_in_the_way(self, job: Job) -> str | None:
        """A file under images/ that is not ours and has the name this job's picture would get."""
        if job.key() in self.history or job.key() in self.history.rehearsed or self._is_move_unfinished:
            return None  # ours, or told apart by its content when the time comes
        shelf = shelf_of(self.path)
        paths = (picture_path(job.picture_name, extension) for extension in EXTENSIONS.values())
        return self._folder_in_the_way(job) or next((path for path in paths if shelf.taken(path)), None)

    def _folder_in_the_way(self, job: Job) -> str | None:
        """What is no folder and has the name of one that the picture is to lie in."""
        folder = "images"
        for name in job.picture_name.split("/")[:-1]:
            folder = f"{folder}/{name}"
            if in_the_way(self.path / folder, folder=True):
                return folder
        return None

    def last_end(self) -> EndRecord | None:
        """The `end` record of the last run, if that came to its end."""
        offset = self.history.end_offset
        if offset < max(0, self.history.run_offset):
            return None
        with open_ledger(self.path) as ledger:
            end = ledger.at(offset)
        assert isinstance(end, EndRecord)
        return end

    def last_note(self) -> RunRecord | EndRecord | None:
        """The newest record about a run: its `end`, or of one that did not come to it its `run`."""
        return last_note(self.path, self.history)

    @property
    def torn_bytes(self) -> int:
        """How much of the ledger's end a crash tore; opening sets it aside."""
        return len(self._reading.tail().torn)

    @asynccontextmanager
    async def open(
        self, run_id: str, clock: Clock, *, decode: bool = False, check_content: bool = True
    ) -> AsyncIterator[Store]:
        """Open it for writing: folders made, a torn end of the ledger set aside.

        `decode`: every pixel of what comes is read. `check_content`: pictures that are blank or the same as others get
        a warning.
        Raises `OutputError` if the folder cannot be used and `LockedError` if another run was quicker.
        """
        syncs_folders = _make_folders(self.path)
        self.weaker = _abilities(self.path, syncs_folders=syncs_folders).weaker(str(self.path))
        if self._ownership.acquire() and log_of(self.path).exists():
            raise LockedError(f"another run has just worked on {self.path}; nothing was sent, run again")
        self._ownership.write_owner(run_id)
        self._move_rehearsal_away()
        with (
            DiskReserve(str(self.path)) as disk_reserve,
            closing(open_log(self.path)) as log,
        ):
            log.mend(self._reading.tail(), f"ledger.torn-{run_id}")
            store = Store(
                self.path,
                run_id,
                clock,
                log,
                shelf_of(self.path),
                self.history,
                disk_reserve,
                decode=decode,
                check_content=check_content,
            )
            try:
                yield store
            finally:
                await store.aclose()

    def _move_rehearsal_away(self) -> None:
        """What the simulator drew makes room, if this run buys and there is any."""
        if self.bought_only and (self.history.rehearsal_lines or self._is_move_unfinished):
            self.rehearsal_moved_to = move_away(self.path)
            self._reading = BackgroundReplay(self.path, bought_only=True)


@contextmanager
def output_folder(path: Path, *, bought_only: bool = False) -> Iterator[OutputFolder]:
    """Lock an output folder, if it exists, and begin to read its ledger. Writes nothing.

    `bought_only`: what was rehearsed there with the simulator is passed over, and moved away when it is opened.
    Raises `LockedError` at once if another run has it.
    """
    _check_folder(path)
    ownership = ownership_of(path)
    try:
        if path.is_dir():
            ownership.acquire()
        with BackgroundReplay(path, bought_only=bought_only) as reading:
            yield OutputFolder(path, ownership, reading, bought_only=bought_only)
    finally:
        ownership.release()


def look_into(path: Path, *, bought_only: bool = False) -> BackgroundReplay:
    """Begin to read the ledger of an output folder, if there is one, without a lock.

    Raises `OutputError` if a run could not use the folder.
    """
    _check_folder(path)
    return BackgroundReplay(path, bought_only=bought_only)


def _check_folder(path: Path) -> None:
    """Refuse what is in the way of our own files: a link would lead writes elsewhere, a FIFO never ends.

    The folder itself may be a link.
    """
    try:
        if not path.is_dir() and os.path.lexists(path):
            what = "is a file" if os.path.isfile(path) else "is not a folder"
            raise OutputError(f"{path} {what}; name a folder, which is made if it is not there. Nothing was sent")
        found = [in_the_way(path / name, folder=True) for name in (*_FOLDERS, REHEARSAL)]
        found += [in_the_way(path / name) for name in _FILES]
        if words := next((each for each in found if each), None):
            raise OutputError(words)
    except OSError as error:
        raise OutputError(f"cannot use {path} as the output folder: {error.strerror or error}") from error


def _make_folders(output: Path) -> bool:
    """Create what is missing, durably: without the parents' sync a power cut could take the whole ledger.

    Returns whether the file system can sync folders.
    """
    try:
        missing = [folder for folder in (output, *output.parents) if not folder.exists()]
        output.mkdir(parents=True, exist_ok=True)
        for name in _FOLDERS:
            folder = output / name
            folder.mkdir(mode=0o755 if name == "images" else 0o700, exist_ok=True)
        synced = [sync_folder(str(folder)) for folder in (output, *(folder.parent for folder in missing))]
        if not os.access(output / "spool", os.W_OK | os.X_OK):
            raise OutputError(f"{output} cannot be written")
        return synced[0]
    except OSError as error:
        raise OutputError(f"cannot use {output} as the output folder: {error.strerror or error}") from error


def _abilities(output: Path, *, syncs_folders: bool) -> Abilities:
    try:
        return abilities_of(str(output / "spool"), str(output), syncs_folders=syncs_folders)
    except OSError as error:
        raise OutputError(f"cannot use {output} as the output folder: {error.strerror or error}") from error


def machine() -> dict[str, Any]:
    """Where a run takes place, for its record."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "python": platform.python_version()}


def last_note(output: Path, history: History) -> RunRecord | EndRecord | None:
    """The newest `run` or `end` record of an output folder."""
    offset = max(history.run_offset, history.end_offset)
    if offset < 0:
        return None
    with open_ledger(output) as ledger:
        note = ledger.at(offset)
    assert isinstance(note, RunRecord | EndRecord)
    return note
