"""The spend book: what the runs with one key on this machine have spent, or may still spend, day by day.

Caps for a day, a month or a tag hold over several runs and output folders, so what is spent must be known to all of
them and outlive each. The book is an append-only JSONL file under a lock that goes with its process. A run does not
write every request down: it takes a *share* of what is left, in advance and durably, and spends within it. When it ends
the share shrinks to what was spent; a run that was killed leaves the whole share behind, and that counts as spent until
the next run in the same output folder has settled it from a ledger that knows the killed run.

Money is in whole millionths of a dollar.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from stat import S_ISREG

from batch.core.errors import OutputError, StorageError
from batch.core.own_files import make_folders, sync_folder
from batch.core.state_folders import state_home
from batch.money.book import BookHeld, Share, Shares
from batch.store.check_book import questions
from batch.store.durable import storage_errors, write_all
from batch.store.ledger_reader import open_ledger
from batch.store.records import DoneRecord, Ended, JobRecord, RereadRecord, RunRecord, TryRecord


def spend_folder(environment: Mapping[str, str]) -> Path:
    """Where spend books are kept. Raises `ConfigError` if there is no home."""
    return state_home(environment) / "spend"


class SpendBook:
    """The file of one account, as a `Book`."""

    def __init__(self, path: Path, former_path: Path | None = None) -> None:
        """`former_path`: where an earlier version kept this account; what stands there still counts."""
        self.path = path
        self._former = SpendBook(former_path) if former_path not in (None, path) else None
        self._shares = Shares()
        self._read_bytes = 0

    @property
    def name(self) -> str:
        return str(self.path)

    def look(self) -> Shares:
        """Makes nothing and takes no lock; a torn end is passed over."""
        try:
            self._take_in(_read(self.path), Shares())
        except FileNotFoundError:
            self._shares = Shares()
        except OSError as error:
            raise OutputError(f"cannot read the spend book {self.path}: {error.strerror or error}") from error
        seen = Shares()
        for share in (*self._only_in_former(), *self._shares):
            seen.put(share)
        return seen

    @contextmanager
    def locked(self) -> Iterator[tuple[Shares, Writer]]:
        descriptor = self._open()
        try:
            self._catch_up(descriptor)
            writer = Writer(descriptor, self)
            for share in self._only_in_former():
                writer.put(share)
            yield self._shares, writer
        finally:
            os.close(descriptor)  # the lock goes with it

    def _only_in_former(self) -> list[Share]:
        """What stands in the account's former book alone."""
        former = self._former.look() if self._former is not None else ()
        return [share for share in former if share not in self._shares]

    def _open(self) -> int:
        try:
            make_folders(self.path.parent)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            is_new = not self.path.exists()
            descriptor = os.open(self.path, flags, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError("it is no file")
            if is_new:
                sync_folder(str(self.path.parent))
        except BlockingIOError:
            os.close(descriptor)
            raise BookHeld(f"the spend book {self.path} is locked by another process") from None
        except OSError as error:
            os.close(descriptor)
            raise self._unusable(error) from error
        return descriptor

    def _unusable(self, error: OSError) -> OutputError:
        return OutputError(
            f"cannot use the spend book {self.path}: {error.strerror or error}; caps for a day, a month or a tag need "
            "it. Make it writable, or set XDG_STATE_HOME to a folder that is"
        )

    def _catch_up(self, descriptor: int) -> None:
        """Read what others have written since. Half a line is what a crash left: it was never relied on."""
        with storage_errors("read the spend book"):
            size = os.fstat(descriptor).st_size
            if size < self._read_bytes:  # the book was moved away
                self._read_bytes, self._shares = 0, Shares()
            data = os.pread(descriptor, size - self._read_bytes, self._read_bytes)
            whole = _whole_lines(data)
            if not data.startswith(whole):
                write_all(descriptor, b"\n")
                os.fdatasync(descriptor)
            elif len(whole) < len(data):
                os.ftruncate(descriptor, self._read_bytes + len(whole))
        self._take_in(whole, self._shares)
        self._read_bytes += len(whole)

    def _take_in(self, data: bytes, shares: Shares) -> None:
        for line in _whole_lines(data).splitlines():
            try:
                shares.put(_share(line))
            except (ValueError, TypeError):
                raise OutputError(
                    f"the spend book {self.path} is damaged; look at it, and move it away to begin a new one"
                ) from None
        self._shares = shares

    def _note(self, share: Share, size_bytes: int) -> None:
        self._shares.put(share)
        self._read_bytes += size_bytes


class Writer:
    """Appends to a book while it is locked."""

    def __init__(self, descriptor: int, book: SpendBook) -> None:
        self._descriptor = descriptor
        self._book = book

    def put(self, share: Share) -> None:
        """Write a share down, durably."""
        line = json.dumps(asdict(share), separators=(",", ":")).encode("ascii") + b"\n"
        try:
            write_all(self._descriptor, line)
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise StorageError(f"cannot write the spend book: {error.strerror or error}") from error
        self._book._note(share, len(line))  # noqa: SLF001  (one thing in two parts)


def _share(line: bytes) -> Share:
    """Raises `ValueError` or `TypeError` if it is none."""
    return Share(**json.loads(line))


def _whole_lines(data: bytes) -> bytes:
    """A book's lines without what a crash tore. A last one that lost only its newline is money, and has it here."""
    end = data.rfind(b"\n") + 1
    try:
        _share(data[end:])
    except (ValueError, TypeError):
        return data[:end]
    return data + b"\n"


def _read(path: Path) -> bytes:
    """A file's bytes. What is no file raises an `OSError` and hangs nothing."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        status = os.fstat(descriptor)
        if not S_ISREG(status.st_mode):
            raise OSError("it is no file")
        return os.pread(descriptor, status.st_size, 0)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a ledger says of some runs: which it knows, and by run and day (`2026-01-31`) what was sent then cost.

    `still_open`: the runs and days of which an attempt has no end yet, and counts for the most it can cost.
    """

    known: frozenset[str] = frozenset()
    micro_usd: Mapping[tuple[str, str], int] = field(default_factory=dict)
    still_open: frozenset[tuple[str, str]] = frozenset()


def spent_by_run_and_day(output: Path, open_micro_usd: Callable[[TryRecord], int], runs: frozenset[str]) -> Spent:
    """What the attempts of some runs have cost by the ledger of `output`, by the run and the day that sent them.

    A run is known by its `run` line; a ledger without it is another one, and its silence says nothing of the money.
    `open_micro_usd(try_record)` is what an attempt without an end counts for. Raises `LedgerError` for damage.
    """
    ledger = open_ledger(output)
    if not ledger.exists():
        return Spent()
    known: set[str] = set()
    sent: dict[tuple[str, int], TryRecord] = {}
    free: dict[tuple[str, int], TryRecord] = {}
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for record in ledger.records():
        if isinstance(record, RunRecord):
            known.add(record.run)
        if not isinstance(record, JobRecord):
            continue
        attempt = record.job, record.att
        if isinstance(record, TryRecord):
            if record.run in runs:
                sent[attempt] = record
        elif isinstance(record, Ended) and attempt in sent:
            tried = sent.pop(attempt)
            sums[_run_and_day(tried)] += round(record.usd * 1_000_000)
            if not isinstance(record, DoneRecord) and record.kept and not record.usd:
                free[attempt] = tried
        elif isinstance(record, RereadRecord) and attempt in free:  # it held a picture, so it was not free
            sums[_run_and_day(free.pop(attempt))] += round(record.usd * 1_000_000)
    for tried in sent.values():
        sums[_run_and_day(tried)] += open_micro_usd(tried)
    still_open = frozenset(_run_and_day(tried) for tried in sent.values())
    for question in questions(output):
        if question.run in runs:
            sums[question.run, question.at[:10]] += round(question.may_cost_usd * 1_000_000)
    return Spent(known=runs & known, micro_usd=sums, still_open=still_open)


def _run_and_day(tried: TryRecord) -> tuple[str, str]:
    return tried.run, tried.at[:10]
