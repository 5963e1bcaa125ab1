"""What is known about every job, derived from the ledger's lines and nothing else.

Kept in columns rather than objects: a batch of a million jobs must fit in memory. A job is known by 16 bytes of
its id; details (prompt, images, caption) stay in the ledger and are read from there by offset when needed.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Final

from batch.model import job_key
from batch.store.ledger import Line, Published, Tail, read_ledger

_ROWS_AT_ONCE: Final = 1024


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
        """A picture bought earlier still stands while a new one for the same job is not settled."""
        return _STANDINGS.get(self.state, Standing.DONE if self.versions else Standing.PENDING)


NOTHING = JobHistory(
    state=State.NEW, spec="", bought_spec="", attempts=0, rejected=0, resends=0, versions=0, missing=False, code="",
    usd=0.0, try_offset=-1, last_offset=-1, bought_offset=-1, bought_try_offset=-1,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """A `try` without a later line: sent or about to be, and nothing more is known from the ledger."""

    job_id: str
    number: int
    try_offset: int


class History:
    """The state of every job the ledger knows. `apply` is the only way anything changes."""

    def __init__(self, output: Path | None = None) -> None:
        self._output = output
        self._rows: dict[bytes, int] = {}
        self._state = array("B")
        self._attempts = array("H")
        self._rejected = array("B")
        self._resends = array("B")
        self._versions = array("B")
        self._missing = array("B")
        self._code = array("H")
        self._usd = array("d")
        self._try_offset = array("q")
        self._last_offset = array("q")
        self._bought_offset = array("q")
        self._bought_try_offset = array("q")
        self._spec = bytearray()
        self._bought_spec = bytearray()
        self._codes: dict[str, int] = {"": 0}
        self._code_names = [""]
        self.open: dict[bytes, OpenAttempt] = {}
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
        return key in self._rows

    def of(self, key: bytes) -> JobHistory:
        """What is known of a job; `NOTHING` if it was never sent."""
        row = self._rows.get(key)
        if row is None:
            return NOTHING
        return JobHistory(
            state=State(self._state[row]),
            spec=self._spec[row * 16 : row * 16 + 16].hex(),
            bought_spec=self._bought_spec[row * 16 : row * 16 + 16].hex() if self._versions[row] else "",
            attempts=self._attempts[row],
            rejected=self._rejected[row],
            resends=self._resends[row],
            versions=self._versions[row],
            missing=bool(self._missing[row]),
            code=self._code_names[self._code[row]],
            usd=self._usd[row],
            try_offset=self._try_offset[row],
            last_offset=self._last_offset[row],
            bought_offset=self._bought_offset[row],
            bought_try_offset=self._bought_try_offset[row],
        )

    def __iter__(self) -> Iterator[bytes]:
        """The key of every job the ledger knows, in the order they were first sent."""
        return iter(self._rows)

    def apply(self, offset: int, line: Line) -> None:
        """Take in one line. The same code reads old lines at start and follows new ones while running."""
        self.last_n = line.n
        if line.t == "run":
            self.run_offset = offset
        elif line.t == "end":
            self.published = line.published
            self.end_offset = offset
        if not line.job:
            return
        self.last_event_n = line.n
        key = job_key(line.job)
        row = self._rows.get(key)
        if row is None:
            row = self._add(key)
        if line.t == "try":
            self._tried(key, row, offset, line)
        else:
            self._ended(key, row, offset, line)

    def _add(self, key: bytes) -> int:
        row = self._rows[key] = len(self._rows)
        if row == len(self._state):
            self._grow()
        return row

    def _grow(self) -> None:
        """Add rows to every column, many at once: a million calls for each of them would cost seconds."""
        for column in (self._state, self._attempts, self._rejected, self._resends, self._versions, self._missing,
                       self._code, self._usd):  # fmt: skip
            column.extend([0] * _ROWS_AT_ONCE)
        for offsets in (self._try_offset, self._last_offset, self._bought_offset, self._bought_try_offset):
            offsets.extend([-1] * _ROWS_AT_ONCE)
        self._spec += bytes(16 * _ROWS_AT_ONCE)
        self._bought_spec += bytes(16 * _ROWS_AT_ONCE)

    def _tried(self, key: bytes, row: int, offset: int, line: Line) -> None:
        self.requests += 1
        self._state[row] = State.SENT
        self._attempts[row] = min(line.att, 65535)
        spec = bytes.fromhex(line.spec)
        if self._spec[row * 16 : row * 16 + 16] != spec:
            # Another picture is asked for: what the earlier one cost in vain does not count against it.
            self._rejected[row] = self._resends[row] = 0
        self._spec[row * 16 : row * 16 + 16] = spec
        self._try_offset[row] = self._last_offset[row] = offset
        if line.why == "resend":
            self._resends[row] = min(self._resends[row] + 1, 255)
        self.open[key] = OpenAttempt(line.job, line.att, offset)

    def _ended(self, key: bytes, row: int, offset: int, line: Line) -> None:
        self.open.pop(key, None)
        self._last_offset[row] = offset
        self._code[row] = self._code_number(line.code)
        self._usd[row] += line.usd if line.t != "unk" else 0.0
        if line.t == "done":
            self.usd += line.usd
            self._bought(row, offset, line)
        elif line.t == "unk":
            self.maybe_usd += line.usd
            self._state[row] = State.UNKNOWN
        elif line.t == "fail":
            self.usd += line.usd
            if line.paid == "yes":
                self._rejected[row] = min(self._rejected[row] + 1, 255)
            self._state[row] = _state_after_failure(line)

    def _bought(self, row: int, offset: int, line: Line) -> None:
        self._state[row] = State.DONE
        self._versions[row] = min(self._versions[row] + 1, 255)
        self._bought_spec[row * 16 : row * 16 + 16] = bytes.fromhex(line.spec)
        self._bought_offset[row] = offset
        self._bought_try_offset[row] = self._try_offset[row]
        self._missing[row] = not all(self._is_there(file.path, file.bytes) for file in line.images or ())

    def _is_there(self, path: str, size_bytes: int) -> bool:
        if self._output is None:
            return True
        try:
            return os.stat(f"{self._output}/{path}", follow_symlinks=False).st_size == size_bytes
        except OSError:
            return False

    def _code_number(self, code: str) -> int:
        number = self._codes.get(code)
        if number is None:
            if len(self._code_names) > 65_000:
                return 0
            number = self._codes[code] = len(self._code_names)
            self._code_names.append(code)
        return number


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
