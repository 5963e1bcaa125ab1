"""Where the counts of what was taken are kept: in this process, or in a file that all runs with one key share.

The file is held by an `flock` for as long as one look at it takes, so there is no server, and a run that is killed
loses nothing and blocks no other: the kernel gives the lock back, and what the run took stays counted. Each change is
written over the older of two copies, so that one is whole whenever a process ends. Minutes are told by the clock that
only goes forward and counts from the machine's start, so what was counted before a restart is passed over.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from batch.core.clock import Clock, DayStart, DayStartProblem, timestamp
from batch.core.own_files import make_folders, open_to_read, open_to_write, sync_folder
from batch.core.state_folders import state_home
from batch.limits.live_pace import LivePace
from batch.limits.quotas import Counts
from batch.limits.rate_pacer import Found

_COPY_BYTES: Final = 16_384
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
#: A lock is held for a fraction of a millisecond; so long it is held only by a process that stands still.
_HELD_SECONDS: Final = 60.0
#: After so long it is said what is waited for.
_SAY_AFTER_SECONDS: Final = 2.0
_MODELS_REMEMBERED: Final = 50


@dataclass(slots=True)
class QuotaState:
    """Everything that is kept: the counts, and by model what an earlier run found, with when that was (seconds since
    1970)."""

    counts: Counts = field(default_factory=Counts)
    found: dict[str, tuple[Found, float]] = field(default_factory=dict)
    #: By model the pace of the runs that are on.
    live: dict[str, LivePace] = field(default_factory=dict)
    #: When a request with this key last brought a picture; seconds since 1970, 0 for never.
    served_at: float = 0.0
    #: Set by every change.
    changed: bool = False


def quotas_folder(environment: Mapping[str, str]) -> Path:
    """Where this machine's runs keep what they share: `$XDG_STATE_HOME/imagebatch/quotas`."""
    return state_home(environment) / "quotas"


class QuotaStore(Protocol):
    """Lends out what is kept, to one at a time.

    `stuck` says, in words, that another process has had it for too long; it is empty until then.
    """

    stuck: str

    def transaction(self) -> Any:
        """A context that gives `QuotaState`, or None while another process has it; changes are kept when it ends."""
        ...

    def close(self) -> None: ...


class MemoryQuotaStore:
    """Of this process alone."""

    stuck = ""

    def __init__(self, state: QuotaState | None = None) -> None:
        self._state = state or QuotaState()

    @contextmanager
    def transaction(self) -> Iterator[QuotaState | None]:
        yield self._state

    def close(self) -> None:
        """Nothing is open."""


class FileQuotaStore:
    """Of all runs on this machine with the same endpoint and key, in the file `folder/name`.

    If the file cannot be used, `say` hears of it and this process goes on with counts of its own. A file that is
    locked can be used later: what it holds counts until then, so nothing is lent out.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        clock: Clock,
        say: Callable[[str], None],
        *,
        former_name: str = "",
        boot_id: str | None = None,
    ) -> None:
        """`former_name`: the file's name in an earlier version; a new file begins with what stands there.

        `boot_id` (default: the kernel's) tells one start of the machine from the next.
        """
        self._path = folder / name
        self._former = folder / former_name if former_name not in ("", name) else None
        self._clock = clock
        self._say = say
        self._own: MemoryQuotaStore | None = None
        self._boot = boot_id or _boot_id()
        self._descriptor = -1
        self.stuck = ""
        self._held_since: float | None = None
        self._has_said = False
        #: What the file held when we wrote it last, so that it is read again only if another process wrote.
        self._head = b""
        self._number = 0
        self._state = QuotaState()

    @contextmanager
    def transaction(self) -> Iterator[QuotaState | None]:
        """`QuotaState`, or None for a moment while another process has it."""
        if self._own is None and not self._lock():
            yield None
        elif self._own is not None:
            with self._own.transaction() as state:
                yield state
        else:
            with self._own_or_read():
                yield self._state
                if self._state.changed and self._own is None:
                    self._state.changed = False
                    self._write()

    @contextmanager
    def _own_or_read(self) -> Iterator[None]:
        """What is kept is read, and the lock given back at the end; an error of the file is no error of the run."""
        try:
            self._read()
        except OSError as error:
            self._alone(error)
        try:
            yield
        except OSError as error:
            self._alone(error)
        finally:
            if self._descriptor >= 0:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _lock(self) -> bool:
        """Never waits: a suspended process may hold the lock, and this is the event loop's own thread."""
        try:
            self._open()
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._is_held(self._clock.monotonic())
            return False
        except OSError as error:
            self._alone(error)
        self._held_since, self._has_said, self.stuck = None, False, ""
        return True

    def _is_held(self, now: float) -> None:
        self._held_since = now if self._held_since is None else self._held_since
        words = f"the quotas' file {self._path} is locked by another process"
        if now - self._held_since > _HELD_SECONDS:
            self.stuck = f"{words}, which does not go on"
        elif now - self._held_since > _SAY_AFTER_SECONDS and not self._has_said:
            self._has_said = True
            self._say(f"waiting: {words}")

    def _open(self) -> None:
        if self._descriptor < 0:
            make_folders(self._path.parent)
            is_new = not self._path.exists()
            self._descriptor = open_to_write(self._path, os.O_RDWR | os.O_CREAT)
            if is_new:
                sync_folder(str(self._path.parent))

    def _alone(self, error: OSError) -> None:
        self._own = MemoryQuotaStore(self._state)
        self.close()
        self._say(
            f"the quotas' file {self._path} cannot be used ({error.strerror or error}): this run counts by itself, "
            "so two runs with this key at once may take more than the limits together"
        )

    def _read(self) -> None:
        copies = [os.pread(self._descriptor, _COPY_BYTES, at * _COPY_BYTES) for at in range(2)]
        if self._former is not None and not any(copies):
            copies = self._former_copies(self._former)
        number, head, text = max((_checked(copy) for copy in copies), key=lambda found: found[0])
        if (number, head) != (self._number, self._head):
            self._number, self._head = number, head
            self._state = _state(text, self._boot)

    def _former_copies(self, path: Path) -> list[bytes]:
        try:
            with open_to_read(path) as file:
                data = file.read(2 * _COPY_BYTES)
        except OSError:
            data = b""
        return [data[:_COPY_BYTES], data[_COPY_BYTES:]]

    def _write(self) -> None:
        self._number += 1
        held = {
            "boot": self._boot,
            "parts": [[part, *taken] for part, taken in self._state.counts.parts.items()],
            "spaced_at": self._state.counts.spaced_at,
            "served_at": round(self._state.served_at),
            "days": self._state.counts.days,
            "paces": {
                model: [round(found.per_minute, 1), round(found.share, 4), round(at)]
                for model, (found, at) in self._state.found.items()
            },
            "live": {model: live.row() for model, live in self._live()},
            "at": timestamp(self._clock),
        }
        text = json.dumps(held, separators=(",", ":")).encode("ascii")
        self._head = b"%08x %d" % (zlib.crc32(text), self._number)
        data = self._head + b" %d " % len(text) + text + b"\n"
        if len(data) > _COPY_BYTES:
            raise OSError("it has grown too large; remove it")
        os.pwrite(self._descriptor, data, self._number % 2 * _COPY_BYTES)

    def _live(self) -> list[tuple[str, LivePace]]:
        """Those of runs that are on; the file has room for no others."""
        now = self._clock.monotonic()
        return [(model, live) for model, live in self._state.live.items() if live.is_on(now)][-_MODELS_REMEMBERED:]


def _checked(copy: bytes) -> tuple[int, bytes, bytes]:
    """The number, the head and the text of a copy; a torn or foreign one counts as the oldest."""
    try:
        checksum, number, length, text = copy.split(b" ", 3)
        text = text[: int(length)]
        if zlib.crc32(text) == int(checksum, 16) and len(text) == int(length):
            return int(number), checksum + b" " + number, text
    except ValueError:
        pass
    return -1, b"", b"{}"


def _state(text: bytes, boot: str) -> QuotaState:
    """What a file holds, without what makes no sense; of before a restart only days and what was found."""
    state = QuotaState()
    try:
        held = json.loads(text)
    except ValueError:
        return state
    if not isinstance(held, dict):
        return state
    if held.get("boot") == boot:
        rows = _all(held.get("parts"), list)
        for row in sorted(row for row in rows if len(row) == 4 and all(isinstance(each, int) for each in row)):
            if min(row) >= 0:
                state.counts.parts[row[0]] = row[1:]
        spaced_at = held.get("spaced_at")
        state.counts.spaced_at = float(spaced_at) if isinstance(spaced_at, int | float) else 0.0
        rows_by_model = ((model, LivePace.from_row(row)) for model, row in _items(held.get("live")))
        state.live = {model: live for model, live in rows_by_model if live is not None}
    served_at = held.get("served_at")
    state.served_at = float(served_at) if isinstance(served_at, int | float) else 0.0
    for start, day in _items(held.get("days")):
        whole = isinstance(day, list) and len(day) == 4 and isinstance(day[0], str)
        if whole and _is_day_start(start) and all(isinstance(number, int) for number in day[1:]):
            state.counts.days[start] = day
    for model, row in list(_items(held.get("paces")))[-_MODELS_REMEMBERED:]:
        if isinstance(row, list) and len(row) == 3 and all(isinstance(each, int | float) for each in row):
            per_minute, share, at = (float(each) for each in row)
            if per_minute >= 1 and 0 < share < 1:
                state.found[model] = Found(per_minute, share), at
    return state


def _all(value: Any, kind: type) -> list[Any]:
    return [each for each in value if isinstance(each, kind)] if isinstance(value, list) else []


def _items(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else []


def _is_day_start(text: str) -> bool:
    try:
        DayStart.read(text)
    except DayStartProblem:
        return False
    return True


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""  # no such file here; counts of before a restart lie in the clock's future and are dropped there
