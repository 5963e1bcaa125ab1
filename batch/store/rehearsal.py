"""Rehearsals: what the simulator drew is never taken for something bought.

A ledger written by one kind of run holds one kind of picture. A run that pays and finds a rehearsal in its folder moves
it to `rehearsal/`, an output folder of its own with ledger and pictures, and begins anew; a rehearsal of a folder in
which something was bought takes place in `rehearsal/`. Older versions let both write one ledger: its lines are then
told apart and copied unchanged into two.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from batch.core.errors import LedgerError
from batch.core.own_files import in_the_way, make_folders, open_to_write, sync_folder
from batch.store.contracts import LogReader, Tail
from batch.store.durable import claim_name, create_anew, forget, storage_errors, write_all
from batch.store.ledger import NAME as _LEDGER
from batch.store.ledger import GivenBy, LedgerView, Line, decode_line, read_ledger, without_rest
from batch.store.ledger_reader import record_of
from batch.store.places import log_of
from batch.store.records import FailRecord, Pictured, UnknownRecord, read_record_line
from batch.store.spool import attempt_stem

#: The simulator's profiles.
SIMULATORS: Final = frozenset(("simulator", "simulator-openai"))
#: Kinds of lines after which a job has a picture.
PICTURED: Final = ("done", "adopt", "reread")
NAME: Final = "rehearsal"
_UNFINISHED: Final = ".unfinished"
_FOLDERS: Final = ("images", "rejected", "spool")
_BUFFER_BYTES: Final = 1 << 20


def is_rehearsal(endpoint: str) -> bool:
    """Whether a `run` line's endpoint (profiles, separated by commas) is the simulator and nothing else."""
    return bool(endpoint) and all(name in SIMULATORS for name in endpoint.split(", "))


class Rehearsals:
    """Tells a ledger's lines apart, from the first to the last: is this one of a rehearsal?

    A line about an attempt is of the kind of its `try`, whichever run wrote it; a picture taken over is of the kind of
    the picture it was.
    """

    def __init__(self, elsewhere: _Elsewhere | None = None) -> None:
        self._run = False
        #: Jobs whose last line is of a rehearsal, and those whose picture is.
        self._last: set[str] = set()
        self._drawn: set[str] = set()
        self._elsewhere = elsewhere or _Elsewhere()

    def __call__(self, line: Line) -> bool:
        if line.t == "run" and line.endpoint:
            self._run = is_rehearsal(line.endpoint)
        if not line.job:
            return self._run
        if not (self._run or self._last or self._drawn or _may_be_drawn_elsewhere(line)):
            return False  # every line of a folder without a rehearsal
        drawn = self._is_of_rehearsal(line)
        (self._last.add if drawn else self._last.discard)(line.job)
        if line.t in PICTURED:
            (self._drawn.add if drawn else self._drawn.discard)(line.job)
        return drawn

    def _is_of_rehearsal(self, line: Line) -> bool:
        if line.t == "try":
            return self._run
        if line.t == "adopt":
            giver = line.given_by
            if giver is None or self._run or _is_known_as_bought(giver):
                return self._run
            return self._elsewhere.drew(giver) if giver.output else giver.job in self._drawn
        return (line.of if line.t == "copy" else line.job) in self._last


def _is_known_as_bought(giver: GivenBy) -> bool:
    return bool(giver.output) and giver.bought


def _may_be_drawn_elsewhere(line: Line) -> bool:
    giver = line.given_by
    return giver is not None and bool(giver.output) and not giver.bought


class _Elsewhere:
    """What other folders gave to runs of older versions, which did not ask who had drawn it. Each is read once."""

    def __init__(self) -> None:
        self._drawn: dict[str, frozenset[tuple[str, str]]] = {}

    def drew(self, giver: GivenBy) -> bool:
        """Whether the picture was the simulator's; False if its folder cannot say any more."""
        if giver.output not in self._drawn:
            self._drawn[giver.output] = frozenset()  # of folders that took from each other, each is read once
            self._drawn[giver.output] = frozenset(self._drawn_in(Path(giver.output)))
        return (giver.job, giver.run) in self._drawn[giver.output]

    def _drawn_in(self, output: Path) -> Iterator[tuple[str, str]]:
        """Job and run of every picture the simulator drew there; a rehearsal may have been moved since."""
        for path in (output / _LEDGER, *output.glob(f"{NAME}*/{_LEDGER}")):
            is_of_rehearsal = Rehearsals(self)
            with suppress(OSError, LedgerError):
                for raw, line in _raw_lines(path):
                    if is_of_rehearsal(line) and line.t in PICTURED:
                        yield line.job, record_of(raw, str(path)).run


def holds_bought(output: Path) -> bool:
    """Whether anything in an output folder was asked for at a real endpoint."""
    log = log_of(output)
    if not log.exists():
        return False
    is_of_rehearsal = Rehearsals()
    return any(not is_of_rehearsal(line) and line.job for _, line in _lines(log))


def rehearsal_folder(output: Path) -> Path:
    """Where the rehearsal of a folder goes: the folder itself until something is bought there."""
    return output / NAME if holds_bought(output) else output


def is_unfinished(output: Path) -> bool:
    """Whether a run died while it moved a rehearsal away."""
    return any(output.glob(f"{NAME}*/{_UNFINISHED}"))


@dataclass(slots=True)
class _Found:
    """The files of a ledger's rehearsal, as paths relative to the output folder, and those that were bought."""

    #: Size and SHA-256 by path.
    pictures: dict[str, tuple[int, str]] = field(default_factory=dict)
    rejected: set[str] = field(default_factory=set)
    open_stems: dict[str, str] = field(default_factory=dict)
    bought: set[str] = field(default_factory=set)
    is_mixed: bool = False
    #: Whether the output folder's ledger is the new one already, of a move that died.
    is_parted: bool = True


def move_away(output: Path) -> Path:
    """Move what was rehearsed out of an output folder that is about to hold what is bought; returns where to.

    Killed at any moment it leaves both ledgers valid, or the old one untouched, and is finished by the next run: files
    get their second names first, then the ledgers are put in place, then the first names go. Raises `StorageError`.
    """
    with storage_errors("move the rehearsal away"):
        folder = _folder_for(output)
        _make(folder)
        found = _split(output, folder)
        files = [*_files(output, folder, found)]
        for parent in _folders_of(target for _, target in files):
            make_folders(Path(parent), 0o755)
        for source, target in files:
            claim_name(source, target)
        for parent in {*_folders_of(target for _, target in files), *(str(folder / name) for name in _FOLDERS)}:
            sync_folder(parent)
        if found.is_mixed and not found.is_parted:
            claim_name(str(output / _LEDGER), str(folder / "ledger.whole.jsonl"))
        os.replace(folder / f"{_LEDGER}.part", folder / _LEDGER)
        sync_folder(str(folder))
        os.replace(output / f"{_LEDGER}.part", output / _LEDGER)
        sync_folder(str(output))
        for source, _ in files:
            forget(source)
        _move_the_rest(output, folder, is_mixed=found.is_mixed)
        for parent in {*_folders_of(source for source, _ in files), *(str(output / name) for name in _FOLDERS)}:
            sync_folder(parent)
        forget(str(folder / _UNFINISHED))
        sync_folder(str(folder))
    return folder


def _folder_for(output: Path) -> Path:
    """The folder that a move was begun into, or one without a ledger."""
    number = 1
    while True:
        folder = output / (NAME if number == 1 else f"{NAME}-{number}")
        if (folder / _UNFINISHED).exists() or not os.path.lexists(folder / _LEDGER):
            return folder
        number += 1


def _make(folder: Path) -> None:
    for own in (folder, *(folder / name for name in _FOLDERS)):
        if words := in_the_way(own, folder=True):  # a link would lead out of the output folder
            raise FileExistsError(errno.EEXIST, words)
        own.mkdir(mode=0o700 if own.name in ("rejected", "spool") else 0o755, exist_ok=True)
    os.close(open_to_write(folder / _UNFINISHED, os.O_WRONLY | os.O_CREAT))
    sync_folder(str(folder))
    sync_folder(str(folder.parent))


def _split(output: Path, folder: Path) -> _Found:
    """Write both ledgers beside their places, synced, and note the files of the rehearsal."""
    found = _Found()
    is_of_rehearsal = Rehearsals()
    # A move that died after the ledgers were put in place knows its files from the rehearsal's own.
    done = folder / _LEDGER
    with (
        closing(_Copy(output / f"{_LEDGER}.part")) as bought,
        closing(_Copy(folder / f"{_LEDGER}.part")) as drawn,
    ):
        if done.exists():
            for raw, line in _raw_lines(done):
                drawn.write(raw)
                _note(found, line, raw)
        known = drawn.last_n
        for raw, line in _raw_lines(output / _LEDGER):
            if is_of_rehearsal(line):
                found.is_parted = False
                if line.n > known:
                    drawn.write(raw, line.n)
                _note(found, line, raw)
            else:
                bought.write(raw)
                found.is_mixed |= bool(line.job)
                found.bought.update(file.path for file in line.images or ())
    return found


class _Copy:
    """A ledger being written beside its place."""

    def __init__(self, path: Path) -> None:
        self._descriptor = create_anew(str(path))
        self._buffer = bytearray()
        self.last_n = 0

    def write(self, raw: bytes, n: int = 0) -> None:
        self._buffer += raw
        self.last_n = max(self.last_n, n or decode_line(raw).n)
        if len(self._buffer) > _BUFFER_BYTES:
            self._flush()

    def close(self) -> None:
        try:
            self._flush()
            os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)

    def _flush(self) -> None:
        write_all(self._descriptor, self._buffer)
        self._buffer = bytearray()


def _note(found: _Found, line: Line, raw: bytes) -> None:
    if line.t == "try":
        found.open_stems[line.job] = attempt_stem(line.job, line.att)
    elif line.job:
        found.open_stems.pop(line.job, None)
    if line.t in (*PICTURED, "fail", "unk"):
        record = read_record_line(raw)
        if isinstance(record, Pictured):
            found.pictures.update({image.path: (image.bytes, image.sha256) for image in record.images})
        elif isinstance(record, FailRecord | UnknownRecord):
            found.rejected.update(record.kept)


def _files(output: Path, folder: Path, found: _Found) -> Iterator[tuple[str, str]]:
    """Every file to move, with where to. A file with other content than was drawn is the user's and stays."""
    for path, (size, digest) in found.pictures.items():
        if path not in found.bought and _is(output / path, size, digest):
            yield str(output / path), str(folder / path)
    for name in found.rejected:
        if (output / "rejected" / name).is_file():
            yield str(output / "rejected" / name), str(folder / "rejected" / name)
    stems = tuple(found.open_stems.values())
    for file in sorted((output / "spool").glob("*")) if stems else ():
        if file.name.startswith(stems) and file.is_file():
            yield str(file), str(folder / "spool" / file.name)


def _folders_of(files: Iterable[str]) -> set[str]:
    return {os.path.dirname(file) for file in files}


def _is(file: Path, size: int, digest: str) -> bool:
    if file.is_symlink() or not file.is_file() or file.stat().st_size != size:
        return False
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == digest


def _move_the_rest(output: Path, folder: Path, *, is_mixed: bool) -> None:
    """The simulator's books, what was said of its pictures, and manifest.jsonl, which is made again from either ledger.

    Decisions go by picture: where both kinds are told apart, they may stay.
    """
    for book in output.glob("simulator-book*.jsonl"):
        os.replace(book, folder / book.name)
    for decided in ("decisions.jsonl", "decisions.torn"):
        if not is_mixed and (output / decided).exists() and not (folder / decided).exists():
            os.replace(output / decided, folder / decided)
    published = output / "manifest.jsonl"
    if is_mixed:
        forget(str(published))
    elif published.exists() and not (folder / "manifest.jsonl").exists():
        os.replace(published, folder / "manifest.jsonl")


def _lines(log: LogReader) -> Iterator[tuple[int, Line]]:
    for entry in read_ledger(log):
        if not isinstance(entry, Tail):
            yield entry


def _raw_lines(path: Path) -> Iterator[tuple[bytes, Line]]:
    """Every whole line with its bytes; the last one's newline is put back, if it was lost."""
    with path.open("rb") as stream:
        for offset, line in _lines(LedgerView(path)):
            stream.seek(offset)
            raw = stream.readline()
            yield raw if raw.endswith(b"\n") else without_rest(raw) + b"\n", line
