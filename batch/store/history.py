"""What is known about every job, derived from the ledger's lines and nothing else.

A batch of millions of jobs must fit in memory. A job is known by 16 bytes of its id; what is small and alike for
many jobs (`JobFacts`) is kept once for all of them; the rest is in columns (about 65 bytes a job in all). Details
(prompt, images, caption) stay in the ledger and are read from there by offset when needed.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from struct import iter_unpack
from typing import IO, Final

from batch.core.key_index import KEY_BYTES, KeyIndex
from batch.core.model import job_key
from batch.core.picture_warnings import WarningKind, kinds_of
from batch.core.results import Decided
from batch.store.columns import Column, read_columns, write_columns
from batch.store.contracts import Shelf, Tail
from batch.store.job_state import (
    NOTHING,
    Bought,
    FactTable,
    FileState,
    JobFacts,
    JobHistory,
    State,
    UnsettledTry,
)
from batch.store.ledger import Line, Published, StoredFile, read_ledger
from batch.store.places import log_of, shelf_of
from batch.store.rehearsal import PICTURED, Rehearsals, is_rehearsal

_SPEC_BYTES: Final = 16
#: Attributes of a history that are plain numbers.
_NUMBERS: Final = (
    "last_n",
    "last_event_n",
    "usd",
    "maybe_usd",
    "superseded_usd",
    "saved_usd",
    "requests",
    "run_offset",
    "end_offset",
    "simulated",
    "rehearsal_lines",
)
#: And those that keep a number for some rows.
_ROW_NUMBERS: Final = ("_vain_usd", "_superseded_usd")
#: Kinds of lines that end an attempt.
_ENDS: Final = ("done", "fail", "unk")
#: The number of the facts of a job that was never sent.
_NEW: Final = 0
_NO_PICTURE: Final = Bought(b"", -1, -1)


class History:
    """The state of every job the ledger knows. `apply` is the only way anything changes.

    Every job has a row, counted from 0 in the order they were first sent.
    """

    def __init__(self, shelf: Shelf | None = None) -> None:
        """`shelf`: where its pictures are looked for; without one they count as whole."""
        self._shelf = shelf
        self._rows = KeyIndex()
        self._kinds = FactTable()
        #: Per row: the number of its facts, the last spec sent (16 bytes), what it cost, and where its last `try` and
        #: last line are.
        self._kind = array("I")
        self._spec = bytearray()
        self._usd = array("d")
        self._try_offset = array("q")
        self._last_offset = array("q")
        #: The picture of a job whose last attempt is not the one that bought it. All others' is where their last
        #: line is, for that is the `done` line.
        self._bought_earlier: dict[int, Bought] = {}
        #: Every bought picture by its content (half its SHA-256), and the row that had it first.
        self._pictures = KeyIndex()
        self._picture_rows = array("I")
        #: For every run, whether it came to its own end, stopped by nothing.
        self._runs_ended = bytearray()
        #: Rows that failed: the run that said so last, and how many runs in a row before it said the same.
        self._ends: dict[int, tuple[int, int]] = {}
        #: Attempts without an end, by the job's id: number, offset of the `try` line, row, spec.
        self._open: dict[str, tuple[int, int, int, str]] = {}
        self.last_n = 0
        self.last_event_n = 0
        self.published: Published | None = None
        self.usd = 0.0
        self.maybe_usd = 0.0
        #: Of `usd`, what pictures cost that newer ones replaced; and what pictures would have cost that were adopted.
        self.superseded_usd = 0.0
        self.saved_usd = 0.0
        #: Of what rows cost, what was charged without a picture, and what replaced pictures cost. Most rows have none.
        self._vain_usd: dict[int, float] = {}
        self._superseded_usd: dict[int, float] = {}
        self.requests = 0
        #: Offsets of the newest `run` and `end` lines, -1 if there is none.
        self.run_offset = -1
        self.end_offset = -1
        #: Whether the newest run was a rehearsal with the simulator.
        self.simulated = False
        #: Lines of rehearsals that were passed over, and the keys of jobs that got a picture there.
        self.rehearsal_lines = 0
        self.rehearsed: set[bytes] = set()

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
            usd=self._usd[row],
            try_offset=self._try_offset[row],
            last_offset=self._last_offset[row],
            bought_offset=bought.offset,
            bought_try_offset=bought.try_offset,
            same_ends=self._same_ends(row),
            altered=facts.altered,
            accepted=facts.accepted,
            made=facts.made,
        )

    def facts_at(self, row: int) -> JobFacts:
        """Of what is known of the job in a row, that which costs nothing to look up."""
        return self._kinds.facts[self._kind[row]]

    def spec_at(self, row: int) -> bytes:
        """The last spec sent (16 bytes) of the job in a row."""
        return bytes(self._spec[row * _SPEC_BYTES : (row + 1) * _SPEC_BYTES])

    def tally(self, order: bytes | bytearray, marks: Sequence[int]) -> Counter[tuple[JobFacts, int]]:
        """How many jobs (their keys in a row, and a mark for each) there are with the same facts and the same mark."""
        kinds = map(self._kind_of, (key for (key,) in iter_unpack(f"{KEY_BYTES}s", order)))
        numbers = Counter(zip(kinds, marks, strict=True))
        return Counter({(self._kinds.facts[number], mark): count for (number, mark), count in numbers.items()})

    def tally_of_all(self) -> Counter[JobFacts]:
        """How many of all jobs there are with the same facts."""
        return Counter({self._kinds.facts[number]: count for number, count in Counter(self._kind).items()})

    def _kind_of(self, key: bytes) -> int:
        row = self._rows.row_of(key)
        return _NEW if row is None else self._kind[row]

    def usd_at(self, row: int) -> float:
        """What the job in a row has cost so far."""
        return self._usd[row]

    def charged_in_vain(self) -> Iterator[tuple[int, float]]:
        """Every row whose job was charged for answers without a usable picture, with what they cost."""
        return iter(self._vain_usd.items())

    def is_done(self, row: int, spec: bytes) -> bool:
        """Whether the job in a row has just this picture, and its file is there."""
        facts = self.facts_at(row)
        # Right after a picture was bought, the last spec sent is the one it was bought for.
        is_there = not (facts.missing or facts.altered)
        is_settled = facts.state is State.DONE and is_there and row not in self._bought_earlier
        return is_settled and self._spec.startswith(spec, row * _SPEC_BYTES)

    def pictures(self) -> Iterator[tuple[int, bytes]]:
        """Every row whose job has a picture, with the spec (16 bytes) it was bought for."""
        for row in range(len(self)):
            facts = self.facts_at(row)
            if facts.versions and not (facts.missing or facts.altered or facts.accepted):
                yield row, self._bought_at(row, facts).spec

    def not_as_bought(self) -> Iterator[int]:
        """Every row whose job has a picture of which a file is gone, or has another size."""
        return (row for row in range(len(self)) if (facts := self.facts_at(row)).missing or facts.altered)

    def same_picture(self, sha256: str, key: bytes, spec: bytes) -> int | None:
        """The row of another job that bought just these bytes (SHA-256 in hex) for something else than `spec`."""
        found = self._pictures.row_of(bytes.fromhex(sha256)[:KEY_BYTES])
        row = None if found is None else self._picture_rows[found]
        if row is None or self.key_at(row) == key or self._bought_at(row, self.facts_at(row)).spec == spec:
            return None
        return row

    def _remember_pixels(self, row: int, files: Sequence[StoredFile]) -> None:
        if files and len(files[-1].sha256) == 64:
            number = self._pictures.row_or_new(bytes.fromhex(files[-1].sha256[: 2 * KEY_BYTES]))
            if number == len(self._picture_rows):
                self._picture_rows.append(row)

    def _bought_at(self, row: int, facts: JobFacts) -> Bought:
        if not facts.versions:
            return _NO_PICTURE
        earlier = self._bought_earlier.get(row)
        return earlier or Bought(self.spec_at(row), self._last_offset[row], self._try_offset[row])

    @property
    def open(self) -> list[UnsettledTry]:
        """In the order in which they were sent."""
        return [UnsettledTry(job_id, number, offset) for job_id, (number, offset, *_) in self._open.items()]

    def apply(self, offset: int, line: Line) -> None:
        """Take in one line. The same code reads old lines at start and follows new ones while running."""
        self.last_n = line.n
        if line.job:
            self.last_event_n = line.n
            if line.t == "try":
                self._tried(offset, line)
            elif line.t in _ENDS:
                self._ended(offset, line)
            elif line.t in ("adopt", "copy"):
                self._settled_without_request(offset, line)
            elif line.t == "resolve":
                self._decided(offset, line)
            elif line.t == "reread":
                self._read_again(offset, line)
        elif line.t == "run":
            if line.endpoint:
                self.simulated = is_rehearsal(line.endpoint)
            self.run_offset = offset
            self._runs_ended.append(0)
        elif line.t == "end":
            self.published = line.published
            self.end_offset = offset
            if self._runs_ended:
                self._runs_ended[-1] = not line.stopped

    def pass_over(self, line: Line) -> None:
        """Take note of a line of a rehearsal, which says nothing about what is bought."""
        self.rehearsal_lines += 1
        if line.t in PICTURED:
            self.rehearsed.add(job_key(line.job))

    def send(self, stream: IO[bytes]) -> None:
        """Write all that is known into a pipe, for `receive` in another process of this program."""
        head = {
            "facts": self._kinds.facts,
            "bought_earlier": [
                (row, bought.spec.hex(), bought.offset, bought.try_offset)
                for row, bought in self._bought_earlier.items()
            ],
            "ends": [(row, *end) for row, end in self._ends.items()],
            "open": [(job_id, *attempt) for job_id, attempt in self._open.items()],
            "published": None
            if (last := self.published) is None
            else (last.order, last.through, last.bytes, last.rows),
            "rehearsed": [key.hex() for key in self.rehearsed],
            "numbers": {name: getattr(self, name) for name in _NUMBERS},
            "row_numbers": {name: [*getattr(self, name).items()] for name in _ROW_NUMBERS},
        }
        stream.write(json.dumps(head).encode("ascii") + b"\n")
        write_columns(stream, [*self._rows.columns, *self._pictures.columns, *self._columns()])

    @classmethod
    def receive(cls, stream: IO[bytes], shelf: Shelf) -> History:
        """What `send` wrote. Raises `ValueError` or `EOFError` if it did not come to its end."""
        history = cls(shelf)
        head = json.loads(stream.readline())
        keys, slots, pictures, picture_slots = bytearray(), array("I"), bytearray(), array("I")
        read_columns(stream, [keys, slots, pictures, picture_slots, *history._columns()])
        history._rows, history._pictures = KeyIndex.of(keys, slots), KeyIndex.of(pictures, picture_slots)
        history._kinds = FactTable(
            JobFacts._make([State(state), *rest, tuple(map(WarningKind, warned))])
            for state, *rest, warned in head["facts"]
        )
        history._bought_earlier = {
            row: Bought(bytes.fromhex(spec), offset, try_offset)
            for row, spec, offset, try_offset in head["bought_earlier"]
        }
        history._ends = {row: (run, same) for row, run, same in head["ends"]}
        history._open = {job_id: (number, offset, row, spec) for job_id, number, offset, row, spec in head["open"]}
        history.published = None if head["published"] is None else Published(*head["published"])
        history.rehearsed = {bytes.fromhex(key) for key in head["rehearsed"]}
        for name, value in head["numbers"].items():
            setattr(history, name, value)
        for name, pairs in head["row_numbers"].items():
            setattr(history, name, dict(pairs))
        return history

    def _columns(self) -> list[Column]:
        return [
            self._kind,
            self._spec,
            self._usd,
            self._try_offset,
            self._last_offset,
            self._runs_ended,
            self._picture_rows,
        ]

    def _tried(self, offset: int, line: Line) -> None:
        self.requests += 1
        spec = _spec_of(line)
        row = self._rows.row_or_new(job_key(line.job))
        change = JobFacts.after_try
        if row == len(self._kind):
            self._add_row(spec, offset)
        else:
            self._leave_picture_behind(row)
            if not self._spec.startswith(spec, row * _SPEC_BYTES):
                change = JobFacts.after_edited_try
                self._ends.pop(row, None)
                self._spec[row * _SPEC_BYTES : (row + 1) * _SPEC_BYTES] = spec
            self._try_offset[row] = self._last_offset[row] = offset
        self._change(row, change, line.att, line.why)
        self._open[line.job] = line.att, offset, row, line.spec

    def _ended(self, offset: int, line: Line) -> None:
        opened = self._open.pop(line.job, None)
        row = self._row(line) if opened is None else opened[2]
        if line.t == "done":
            is_usual = opened is not None and opened[3] == line.spec and row not in self._bought_earlier
            self._got_picture(row, offset, line, is_usual=is_usual)
        else:
            self._leave_picture_behind(row)
            self._count_end(row, line.code)
            if line.t == "unk":
                self.maybe_usd += line.usd
                self._change(row, JobFacts.after_unknown, line.code)
            else:
                self._spend(row, line)
                if line.usd:
                    self._vain_usd[row] = self._vain_usd.get(row, 0.0) + line.usd
                self._change(row, JobFacts.after_failure, _state_after_failure(line), line.code, line.paid)
        self._last_offset[row] = offset

    def _settled_without_request(self, offset: int, line: Line) -> None:
        """It was given a picture bought before, or it shares the failure of the job that asks for the same."""
        row = self._row(line)
        self._leave_picture_behind(row)
        self._spec[row * _SPEC_BYTES : (row + 1) * _SPEC_BYTES] = _spec_of(line)
        self._try_offset[row] = offset
        if line.t == "adopt":
            self._got_picture(row, offset, line)
        else:
            self._change(row, JobFacts.after_failure, _state_after_failure(line), line.code, line.paid)
        self._last_offset[row] = offset

    def _decided(self, offset: int, line: Line) -> None:
        """A person has found out how a request without an answer ended."""
        row = self._row(line)
        self._leave_picture_behind(row)
        if line.decided != Decided.FAILED:
            self.maybe_usd -= line.maybe_usd
            self._spend(row, line)
        self._change(row, JobFacts.after_decision, line.decided, line.code)
        self._last_offset[row] = offset

    def _read_again(self, offset: int, line: Line) -> None:
        """A kept answer holds a picture after all: what it cost counted as rejected, or as unknown, until now."""
        row = self._row(line)
        self._leave_picture_behind(row)
        vain = self._vain_usd.pop(row, 0.0) - line.counted_usd
        if vain > 1e-9:
            self._vain_usd[row] = vain
        self.maybe_usd -= line.maybe_usd
        self._spend(row, line)
        self._ends.pop(row, None)
        self._buy(row, offset, line)
        files = line.images or ()
        self._change(row, JobFacts.after_reread, self._file_state(files), kinds_of(line.warnings or ()), line.paid)
        self._remember_pixels(row, files)
        self._last_offset[row] = offset

    def _got_picture(self, row: int, offset: int, line: Line, *, is_usual: bool = False) -> None:
        """`is_usual`: it is what the last attempt asked for, and no other picture is remembered."""
        self._supersede(row)
        self._spend(row, line)
        self.saved_usd += line.saved_usd
        self._ends.pop(row, None)
        if not is_usual:
            self._buy(row, offset, line)
        files = line.images or ()
        self._change(row, JobFacts.after_done, self._file_state(files), kinds_of(line.warnings or ()))
        if line.t == "done":
            self._remember_pixels(row, files)

    def _supersede(self, row: int) -> None:
        """The picture a row has is about to be replaced: what it cost is all that is not accounted for otherwise."""
        if self.facts_at(row).versions:
            before = self._superseded_usd.get(row, 0.0)
            cost = self._usd[row] - before - self._vain_usd.get(row, 0.0)
            self._superseded_usd[row] = before + cost
            self.superseded_usd += cost

    def _spend(self, row: int, line: Line) -> None:
        self.usd += line.usd
        self._usd[row] += line.usd

    def _change(self, row: int, change: Callable[..., JobFacts], *what: object) -> None:
        self._kind[row] = self._kinds.after(self._kind[row], change, *what)

    def _count_end(self, row: int, code: str) -> None:
        """Take note of how a run left a job. The last of several ends in one run is the run's."""
        run = len(self._runs_ended) - 1
        last, same = self._ends.get(row, (-1, 0))
        if last < 0 or self.facts_at(row).code != code:
            same = 0
        elif last != run:
            same += self._runs_ended[last]
        if run >= 0:
            self._ends[row] = run, same

    def _same_ends(self, row: int) -> int:
        last, same = self._ends.get(row, (-1, 0))
        return same + self._runs_ended[last] if last >= 0 else 0

    def _row(self, line: Line) -> int:
        """The row of a line's job, made if the job is met for the first time."""
        row = self._rows.row_or_new(job_key(line.job))
        if row == len(self._kind):
            self._add_row(bytes(_SPEC_BYTES), -1)
        return row

    def _add_row(self, spec: bytes, try_offset: int) -> None:
        self._kind.append(_NEW)
        self._spec += spec
        self._usd.append(0.0)
        self._try_offset.append(try_offset)
        self._last_offset.append(try_offset)

    def _buy(self, row: int, offset: int, line: Line) -> None:
        """Write down the picture, unless it is what a row says by itself: what was tried last is what was bought."""
        spec = _spec_of(line)
        if self._spec.startswith(spec, row * _SPEC_BYTES):
            self._bought_earlier.pop(row, None)
        else:
            self._bought_earlier[row] = Bought(spec, offset, self._try_offset[row])

    def _leave_picture_behind(self, row: int) -> None:
        """Before the job's last line becomes another: write down the picture that was bought with it."""
        facts = self.facts_at(row)
        if facts.versions and row not in self._bought_earlier:
            self._bought_earlier[row] = self._bought_at(row, facts)

    def _file_state(self, files: Sequence[StoredFile]) -> FileState:
        """The worst that happened to any of the files."""
        if self._shelf is None:
            return FileState.WHOLE
        state = self._shelf.state
        return max((state(file.path, file.bytes) for file in files), default=FileState.WHOLE)


def _spec_of(line: Line) -> bytes:
    spec = bytes.fromhex(line.spec)
    # A line of another length is not ours; it must not move those of all jobs after it.
    return spec if len(spec) == _SPEC_BYTES else spec[:_SPEC_BYTES].ljust(_SPEC_BYTES, b"\0")


def _state_after_failure(line: Line) -> State:
    if not line.settled:
        return State.WAITING
    return State.RETRYABLE if line.again else State.FAILED


def replay(output: Path, *, bought_only: bool = False) -> tuple[History, Tail]:
    """Read the ledger of an output; an absent one gives an empty history. Nothing is written.

    `bought_only`: what was rehearsed with the simulator is passed over.
    """
    history = History(shelf_of(output))
    log = log_of(output)
    tail = Tail(0, b"")
    if not log.exists():
        return history, tail
    is_of_rehearsal = Rehearsals()
    for entry in read_ledger(log):
        if isinstance(entry, Tail):
            tail = entry
        elif bought_only and is_of_rehearsal(entry[1]):
            history.pass_over(entry[1])
        else:
            history.apply(*entry)
    return history, tail
