"""What is known about every job, derived from the ledger's lines and nothing else.

A batch of millions of jobs must fit in memory. A job is known by 16 bytes of its id; what is small and alike for
many jobs (`Facts`) is kept once for all of them; the rest is in columns (about 65 bytes a job in all). Details
(prompt, images, caption) stay in the ledger and are read from there by offset when needed.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from pathlib import Path
from struct import iter_unpack
from typing import Final, NamedTuple

from batch.model import job_key
from batch.store.key_rows import KEY_BYTES, KeyRows
from batch.store.ledger import Line, Published, StoredFile, Tail, read_ledger

_SPEC_BYTES: Final = 16
#: Kinds of lines that end an attempt.
_ENDS: Final = ("done", "fail", "unk")


class State(IntEnum):
    """Where a job stands. The arrows between them: docs/architecture.md, "The life of a job"."""

    NEW = 0
    SENT = 1
    DONE = 2
    FAILED = 3
    RETRYABLE = 4
    UNKNOWN = 5
    WAITING = 6


class Standing(StrEnum):
    """A job's state as people see it."""

    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    PENDING = "pending"


_STANDINGS = {
    State.DONE: Standing.DONE,
    State.FAILED: Standing.FAILED,
    State.RETRYABLE: Standing.FAILED,
    State.UNKNOWN: Standing.UNKNOWN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHistory:
    """One job's past. `spec` is the last one sent, `bought_spec` the one of the picture on disk (empty: none).

    `rejected` counts charged answers without a usable picture, `resends` how often the job was sent again after
    an unknown outcome, both since it was last edited; `versions` how many pictures were bought for it. `*_offset`
    point into the ledger.
    """

    state: State
    spec: str
    bought_spec: str
    attempts: int
    rejected: int
    resends: int
    versions: int
    missing: bool
    code: str
    usd: float
    try_offset: int
    last_offset: int
    bought_offset: int
    bought_try_offset: int

    @property
    def standing(self) -> Standing:
        return _standing(self.state, self.versions)


def _standing(state: State, versions: int) -> Standing:
    """A picture bought earlier still stands while a new one for the same job is not settled."""
    return _STANDINGS.get(state, Standing.DONE if versions else Standing.PENDING)


NOTHING = JobHistory(
    state=State.NEW, spec="", bought_spec="", attempts=0, rejected=0, resends=0, versions=0, missing=False, code="",
    usd=0.0, try_offset=-1, last_offset=-1, bought_offset=-1, bought_try_offset=-1,
)  # fmt: skip


class Facts(NamedTuple):
    """What is known of a job apart from its hashes and offsets. Among millions of jobs there are a few different ones.

    The fields are those of `JobHistory`.
    """

    state: State = State.NEW
    attempts: int = 0
    rejected: int = 0
    resends: int = 0
    versions: int = 0
    missing: bool = False
    code: str = ""
    usd: float = 0.0

    @property
    def standing(self) -> Standing:
        return _standing(self.state, self.versions)

    def after_try(self, attempt: int, why: str) -> Facts:
        return self._replace(state=State.SENT, attempts=attempt, resends=self.resends + (why == "resend"))

    def after_edited_try(self, attempt: int, why: str) -> Facts:
        """Another picture is asked for: what the earlier one cost in vain does not count against it."""
        return self._replace(rejected=0, resends=0).after_try(attempt, why)

    def after_done(self, usd: float, files_missing: int) -> Facts:
        missing = files_missing > 0
        return self._replace(
            state=State.DONE, versions=self.versions + 1, missing=missing, code="", usd=self.usd + usd
        )

    def after_unknown(self, code: str) -> Facts:
        return self._replace(state=State.UNKNOWN, code=code)

    def after_failure(self, state: State, usd: float, code: str, paid: str) -> Facts:
        return self._replace(state=state, rejected=self.rejected + (paid == "yes"), code=code, usd=self.usd + usd)


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """A `try` without a later line: sent or about to be, and nothing more is known from the ledger."""

    job_id: str
    number: int
    try_offset: int


@dataclass(frozen=True, slots=True)
class _Bought:
    """The picture on disk: the hash of what was asked (16 bytes), and where its `done` and `try` lines are."""

    spec: bytes
    offset: int
    try_offset: int


#: The number of the facts of a job that was never sent.
_NEW: Final = 0
_NO_PICTURE: Final = _Bought(b"", -1, -1)


class History:
    """The state of every job the ledger knows. `apply` is the only way anything changes.

    Every job has a row, counted from 0 in the order they were first sent.
    """

    def __init__(self, output: Path | None = None) -> None:
        self._folder = None if output is None else f"{output}/"
        self._rows = KeyRows()
        self._kinds = _Kinds()
        #: Per row: the number of its facts, the last spec sent (16 bytes), and where its last `try` and last line are.
        self._kind = array("I")
        self._spec = bytearray()
        self._try_offset = array("q")
        self._last_offset = array("q")
        #: The picture of a job whose last attempt is not the one that bought it. All others' is where their last
        #: line is, for that is the `done` line.
        self._bought_earlier: dict[int, _Bought] = {}
        #: Attempts without an end, by the job's id: number, offset of the `try` line, row, spec.
        self._open: dict[str, tuple[int, int, int, str]] = {}
        self.last_n = 0
        self.last_event_n = 0
        self.published: Published | None = None
        self.usd = 0.0
        self.maybe_usd = 0.0
        self.requests = 0
        #: Offsets of the newest `run` and `end` lines, -1 if there is none.
        self.run_offset = -1
        self.end_offset = -1

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: bytes) -> bool:
        return self._rows.row_of(key) is not None

    def __iter__(self) -> Iterator[bytes]:
        """The key of every job the ledger knows, in the order they were first sent."""
        return iter(self._rows)

    def row_of(self, key: bytes) -> int | None:
        """The row of a job; None if it was never sent."""
        return self._rows.row_of(key)

    def key_at(self, row: int) -> bytes:
        return self._rows.key_at(row)

    def of(self, key: bytes) -> JobHistory:
        """What is known of a job; `NOTHING` if it was never sent."""
        row = self._rows.row_of(key)
        return NOTHING if row is None else self.at(row)

    def at(self, row: int) -> JobHistory:
        """What is known of the job in a row."""
        facts = self.facts_at(row)
        bought = self._bought_at(row, facts)
        return JobHistory(
            state=facts.state,
            spec=self.spec_at(row).hex(),
            bought_spec=bought.spec.hex(),
            attempts=facts.attempts,
            rejected=facts.rejected,
            resends=facts.resends,
            versions=facts.versions,
            missing=facts.missing,
            code=facts.code,
            usd=facts.usd,
            try_offset=self._try_offset[row],
            last_offset=self._last_offset[row],
            bought_offset=bought.offset,
            bought_try_offset=bought.try_offset,
        )

    def facts_at(self, row: int) -> Facts:
        """Of what is known of the job in a row, that which costs nothing to look up."""
        return self._kinds.facts[self._kind[row]]

    def spec_at(self, row: int) -> bytes:
        """The last spec sent (16 bytes) of the job in a row."""
        return bytes(self._spec[row * _SPEC_BYTES : (row + 1) * _SPEC_BYTES])

    def tally(self, order: bytes | bytearray | None = None) -> Counter[Facts]:
        """How many jobs there are with the same facts: of all that are known, or of these (their keys in a row)."""
        if order is None:
            numbers = Counter(self._kind)
        else:
            numbers = Counter(self._kind_of(key) for (key,) in iter_unpack(f"{KEY_BYTES}s", order))
        return Counter({self._kinds.facts[number]: count for number, count in numbers.items()})

    def _kind_of(self, key: bytes) -> int:
        row = self._rows.row_of(key)
        return _NEW if row is None else self._kind[row]

    def _bought_at(self, row: int, facts: Facts) -> _Bought:
        if not facts.versions:
            return _NO_PICTURE
        earlier = self._bought_earlier.get(row)
        return earlier or _Bought(self.spec_at(row), self._last_offset[row], self._try_offset[row])

    @property
    def open(self) -> list[OpenAttempt]:
        """In the order in which they were sent."""
        return [OpenAttempt(job_id, number, offset) for job_id, (number, offset, *_) in self._open.items()]

    def apply(self, offset: int, line: Line) -> None:
        """Take in one line. The same code reads old lines at start and follows new ones while running."""
        self.last_n = line.n
        if line.job:
            self.last_event_n = line.n
            if line.t == "try":
                self._tried(offset, line)
            elif line.t in _ENDS:
                self._ended(offset, line)
        elif line.t == "run":
            self.run_offset = offset
        elif line.t == "end":
            self.published = line.published
            self.end_offset = offset

    def _tried(self, offset: int, line: Line) -> None:
        self.requests += 1
        spec = _spec_of(line)
        row = self._rows.row_or_new(job_key(line.job))
        change = Facts.after_try
        if row == len(self._kind):
            self._add_row(spec, offset)
        else:
            self._leave_picture_behind(row)
            if not self._spec.startswith(spec, row * _SPEC_BYTES):
                change = Facts.after_edited_try
                self._spec[row * _SPEC_BYTES : (row + 1) * _SPEC_BYTES] = spec
            self._try_offset[row] = self._last_offset[row] = offset
        self._kind[row] = self._kinds.after(self._kind[row], change, line.att, line.why)
        self._open[line.job] = line.att, offset, row, line.spec

    def _ended(self, offset: int, line: Line) -> None:
        opened = self._open.pop(line.job, None)
        if opened is not None:
            row = opened[2]
        else:
            row = self._rows.row_or_new(job_key(line.job))
            if row == len(self._kind):
                self._add_row(bytes(_SPEC_BYTES), -1)
        kind, after = self._kind[row], self._kinds.after
        if line.t == "done":
            self.usd += line.usd
            if opened is None or opened[3] != line.spec or row in self._bought_earlier:
                self._buy(row, offset, line)
            self._kind[row] = after(kind, Facts.after_done, line.usd, self._count_missing(line.images or ()))
        else:
            self._leave_picture_behind(row)
            if line.t == "unk":
                self.maybe_usd += line.usd
                self._kind[row] = after(kind, Facts.after_unknown, line.code)
            else:
                self.usd += line.usd
                state = _state_after_failure(line)
                self._kind[row] = after(kind, Facts.after_failure, state, line.usd, line.code, line.paid)
        self._last_offset[row] = offset

    def _add_row(self, spec: bytes, try_offset: int) -> None:
        self._kind.append(_NEW)
        self._spec += spec
        self._try_offset.append(try_offset)
        self._last_offset.append(try_offset)

    def _buy(self, row: int, offset: int, line: Line) -> None:
        """Write down the picture, unless it is what a row says by itself: what was tried last is what was bought."""
        spec = _spec_of(line)
        if self._spec.startswith(spec, row * _SPEC_BYTES):
            self._bought_earlier.pop(row, None)
        else:
            self._bought_earlier[row] = _Bought(spec, offset, self._try_offset[row])

    def _leave_picture_behind(self, row: int) -> None:
        """Before the job's last line becomes another: write down the picture that was bought with it."""
        facts = self.facts_at(row)
        if facts.versions and row not in self._bought_earlier:
            self._bought_earlier[row] = self._bought_at(row, facts)

    def _count_missing(self, files: Sequence[StoredFile]) -> int:
        """How many of the files are not there, or have another size."""
        if self._folder is None:
            return 0
        missing = 0
        for file in files:
            try:
                missing += os.lstat(self._folder + file.path).st_size != file.bytes
            except OSError:
                missing += 1
        return missing


class _Kinds:
    """All different facts, numbered, and which follow from which: worked out once, then looked up."""

    def __init__(self) -> None:
        self.facts = [Facts()]
        self._numbers = {self.facts[0]: 0}
        self._after: dict[tuple[int, Callable[..., Facts], tuple[object, ...]], int] = {}

    def after(self, kind: int, change: Callable[..., Facts], *what: object) -> int:
        """The number of the facts that a change (a method of `Facts` and its arguments) makes of those of a number."""
        step = (kind, change, what)
        number = self._after.get(step)
        if number is None:
            facts = change(self.facts[kind], *what)
            number = self._after[step] = self._numbers.setdefault(facts, len(self.facts))
            if number == len(self.facts):
                self.facts.append(facts)
        return number


def _spec_of(line: Line) -> bytes:
    spec = bytes.fromhex(line.spec)
    # A line of another length is not ours; it must not move those of all jobs after it.
    return spec if len(spec) == _SPEC_BYTES else spec[:_SPEC_BYTES].ljust(_SPEC_BYTES, b"\0")


def _state_after_failure(line: Line) -> State:
    if not line.settled:
        return State.WAITING
    return State.RETRYABLE if line.again else State.FAILED


def replay(output: Path) -> tuple[History, Tail]:
    """Read the ledger of an output folder; an absent one gives an empty history. Nothing is written."""
    history = History(output)
    path = output / "ledger.jsonl"
    tail = Tail(0, b"")
    if not path.exists():
        return history, tail
    for entry in read_ledger(str(path)):
        if isinstance(entry, Tail):
            tail = entry
        else:
            history.apply(*entry)
    return history, tail
