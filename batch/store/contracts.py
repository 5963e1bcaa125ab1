"""What an output consists of, as contracts: a log, a shelf and an ownership. Files keep them today.

| contract | what it is | the files |
|---|---|---|
| `Log` | lines about what was sent, bought and stored: the only truth | `ledger.LedgerFile`, `ledger.LedgerView` |
| `Shelf` | where pictures lie | `picture_folder.PictureFolder` |
| `Ownership` | one run at a time | `lock.OutputLock` |

The fourth, the book of money that outlives an output, is `money.book.Book`; what a provider's quotas allow is
`limits.quota_store.QuotaStore`. They stand in their own rooms, which do not know the store.

`places` says which implementation keeps an output. `tests/store/test_log_contract.py` and its neighbours hold each
implementation against its contract, with one in memory beside the files.

The order in which a purchase relies on them, from the first step to the last:

    Log.append(try)  →  request  →  Shelf.put  →  Shelf.sync  →  Log.append(done)

Each step is durable before the next begins. So a crash between two of them leaves at worst a request without an answer,
which the log knows, or a picture without a line, which has the same bytes when it is put there again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from batch.core.errors import ExitCode, StorageError
from batch.core.model import Image
from batch.store.job_state import FileState


@dataclass(frozen=True, slots=True)
class Tail:
    """Where the valid part of a log ends, and what follows it."""

    good_bytes: int
    torn: bytes


class FencedError(StorageError):
    """Another owner has taken the output while a run was on. Nothing more is sent; what arrives stays in the spool.

    The files' lock cannot be taken from a process that lives, so they never raise it.
    """

    exit_code = ExitCode.TEMPORARY


@dataclass(frozen=True, slots=True)
class DamagedLine:
    """Bytes of a log that are no line of it: where they begin, how many, and on which line (from 1) they stand."""

    offset: int
    size_bytes: int
    number: int


class LogReader(Protocol):
    """A log as anyone may read it, without a lock and while a run appends to it.

    A line has a fixed place, its offset in bytes. It never moves and never changes.
    """

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def size_bytes(self) -> int:
        """How long it is now; 0 if there is none."""
        ...

    def exists(self) -> bool:
        """Whether there is one. Raises `OutputError` if something else is in its place."""
        ...

    def lines(self, start: int = 0) -> Iterator[tuple[int, bytes] | Tail]:
        """Every whole line with its offset, in the order of `append`, then a `Tail`; from the line at `start` on.

        A torn end is what a crash leaves: it was never said to be durable, so nothing was sent or paid on the strength
        of it. Raises `LedgerError` for any other damage: what a lost line says may have been paid.
        """
        ...

    def salvage(self) -> Iterator[tuple[int, bytes] | DamagedLine]:
        """As `lines`, but damage is a value like any other and reading goes on behind it, to say what is left.

        Nothing may be sent on the strength of it.
        """
        ...

    def line_at(self, offset: int) -> bytes:
        """The whole line that starts at an offset. Raises `LedgerError` if there is none."""
        ...

    def close(self) -> None:
        """Once."""
        ...


class Log(Protocol):
    """The log open for one writer, in one thread at a time. Several groups are never under way at once.

    An implementation elsewhere makes a group durable there first, and may keep a copy here for `line_at` and the
    readers.
    """

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def size_bytes(self) -> int:
        """How long it is, which is the offset of the next line."""
        ...

    def mend(self, tail: Tail, keep_as: str) -> None:
        """Make it end with a whole line; a torn end is kept under the name `keep_as` and cut off.

        Called once, before anything is appended. Raises `StorageError`.
        """
        ...

    def append(self, lines: Sequence[bytes]) -> list[int]:
        """Make lines durable, all or a beginning of them, in this order; returns each one's offset.

        When it returns they outlive the process, the machine's power and whatever else the implementation promises. A
        request may be sent, and a picture called done, only after that.

        Raises `StorageError` if they cannot be written, and `FencedError`, which is one, if another owner writes this
        log now. In either case nothing is to be sent for them, and every later call raises as well: whether they are
        durable is not known, and a second try must not make it look so. A `try` line that stands there all the same
        counts as possibly paid.
        """
        ...

    def line_at(self, offset: int) -> bytes:
        """The whole line that starts at an offset. Raises `LedgerError` if there is none."""
        ...

    def close(self) -> None:
        """Once. What was appended is durable already."""
        ...


class Shelf(Protocol):
    """Where pictures lie. Each has a path relative to the output, `images/shirt.png`, and never changes.

    Called in several threads at once. A picture on the shelf was paid for; nothing is removed or overwritten here.
    """

    @property
    def name(self) -> str:
        """What messages call the output."""
        ...

    def put(self, file: str, picture: Image) -> Image:
        """Put a spooled file there under `picture.path`, its bytes durable; returns the picture with the path it got.

        The name appears at once and whole, and is durable after `sync`. A name that other bytes have is left alone and
        a free one beside it used (`images/shirt~x2.png`). One that the same bytes have is as good: an earlier run came
        this far and died, and what it paid for is not kept twice. The file stays where it is, for the spool to
        give back. Raises `StorageError`; the attempt stays paid, and its answer stays in the spool for the next start.
        """
        ...

    def adopt(self, file: str, picture: Image) -> Image | None:
        """Give a picture that lies on a shelf already, here as `file`, another name; None if the file is gone.

        Names as `put`. Nothing is paid for it. Raises `StorageError`.
        """
        ...

    def sync(self) -> None:
        """Make the names given so far durable, for all pictures of a group at once.

        Before the log's line that speaks of them. Raises `StorageError`.
        """
        ...

    def local(self, path: str) -> str:
        """A file of this machine with the bytes of a picture; it may be missing."""
        ...

    def look(self, picture: Image, *, content: bool) -> FileState:
        """Whether a picture is what was bought, by its size or also by its content. Raises `StorageError`."""
        ...

    def state(self, path: str, size_bytes: int) -> FileState:
        """Whether a picture is there with this size. Never raises: what cannot be looked at counts as missing.

        A start asks it for every picture of the log, so it must be quick. The content is not read.
        """
        ...

    def taken(self, path: str) -> bool:
        """Whether anything has this name, ours or not."""
        ...


class Ownership(Protocol):
    """One run at a time works on an output; two would pay for the same pictures.

    It ends with the process, however that ends. Who loses it while it runs is told by `Log.append`.
    """

    def acquire(self) -> bool:
        """Take it; False if it is ours already. Never waits.

        Raises `LockedError` if another run has it, `OutputError` if that cannot be told. Nothing was sent either way.
        """
        ...

    def write_owner(self, run_id: str) -> None:
        """Say who has it, for the message of the next one that asks. Raises `StorageError`."""
        ...

    def release(self) -> None:
        """Give it back; without effect if it is not ours."""
        ...
