"""manifest.jsonl: one line per job, for people and pipelines. Derived from the ledger, never read back.

While a run is on, each settled job is appended; at the end the file is written anew, one line per job in the
manifest's order, and put in place with a rename. It can be deleted at any time: the next run makes it again.
Every field: docs/manifest.md.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from batch.core.own_files import open_to_write, set_mode
from batch.core.picture_warnings import warning_fields
from batch.store.durable import PUBLIC_MODE, create_file, forget, replace_file, storage_errors, write_all
from batch.store.history import History
from batch.store.job_state import FileState, JobHistory, Standing
from batch.store.ledger import Published
from batch.store.ledger_reader import open_ledger
from batch.store.places import shelf_of
from batch.store.records import ImageRecord, Pictured, Unsuccessful, terms_of

NAME = "manifest.jsonl"
#: Characters that some programs take for a line's end or that turn text around, written as escapes.
_UNRULY = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_BUFFER_BYTES = 256 << 10
_LONGEST_LINE_BYTES = 4 << 20


def published_line(record: dict[str, Any]) -> bytes:
    """One line as UTF-8: text in any language stays readable, unruly characters are escaped."""
    text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))
    return (_UNRULY.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n").encode("utf-8")


def order_digest(order: bytes | bytearray) -> str:
    """Names an order of jobs (their 16-byte keys in a row)."""
    return blake2b(order, digest_size=16).hexdigest()


class PublishedManifest:
    """Writes manifest.jsonl in an output folder. `simulated`: whether its pictures are the simulator's.

    With `keeps_rows` every line has a `row`: cells of the table, or null where they are not known.
    """

    def __init__(self, output: Path, simulated: Callable[[], bool] = lambda: False) -> None:
        self.keeps_rows = False
        self._simulated = simulated
        self._output = output
        self._path = str(output / NAME)
        self._live: int | None = None
        self._reading: _Ledger | None = None

    def append(self, history: JobHistory, row: Mapping[str, Any] | None = None) -> None:
        """Add a settled job's line while the run is on. Not synced: the ledger is what counts."""
        with storage_errors(f"write {NAME}"):
            if self._live is None:
                self._live = _open_to_append(self._path)
            if self._reading is None:
                self._reading = _Ledger(self._output, simulated=self._simulated())
            record = self._reading.record_of(history)
            if record is not None:
                write_all(self._live, published_line(self._with_row(record, row)))

    def close(self) -> None:
        live, self._live = self._live, None
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.close()
        if live is not None:
            os.close(live)

    def is_current(self, order: bytes | bytearray, history: History, rows_digest: str = "") -> bool:
        """Whether the file on disk is what `write` would make."""
        last = history.published
        if last is None or last.through != history.last_event_n or last.order != order_digest(order):
            return False
        if last.rows != rows_digest:
            return False
        try:
            return os.stat(self._path).st_size == last.bytes
        except OSError:
            return False

    def write(
        self,
        order: bytes | bytearray,
        history: History,
        rows: Iterable[tuple[bytes, Mapping[str, Any] | None]] = (),
    ) -> Published:
        """Write the file anew for jobs in this order (16-byte keys), and put it in place.

        `rows` are the jobs' keys and rows in the same order; where they end early, the rest has none.
        """
        self.close()
        hidden = self._path + ".part"
        with storage_errors(f"write {NAME}"), closing(_Ledger(self._output, simulated=self._simulated())) as ledger:
            forget(hidden)
            descriptor = create_file(hidden)
            try:
                size = _write_buffered(descriptor, self._lines(ledger.records(order, history), rows))
                set_mode(descriptor, PUBLIC_MODE)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            replace_file(self._path, hidden)
        return Published(order=order_digest(order), through=history.last_event_n, bytes=size)

    def _lines(
        self,
        records: Iterable[tuple[bytes, dict[str, Any] | None]],
        rows: Iterable[tuple[bytes, Mapping[str, Any] | None]],
    ) -> Iterator[bytes]:
        left = iter(rows)
        for key, record in records:
            of, row = next(left, (b"", None))
            if record is not None:
                yield published_line(self._with_row(record, row if of == key else None))
        next(left, None)  # so that the source of the rows sees that they were read to the end

    def _with_row(self, record: dict[str, Any], row: Mapping[str, Any] | None) -> dict[str, Any]:
        return {**record, "row": row} if self.keeps_rows else record


def _searched(done: Pictured) -> dict[str, Any]:
    """`queries` and `sources` of a picture that rests on a search; no other line has them."""
    return {} if done.search is msgspec.UNSET else msgspec.to_builtins(done.search)


def _open_to_append(path: str) -> int:
    """The live file, without the half line that a run which was killed may have left at its end."""
    descriptor = open_to_write(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, PUBLIC_MODE)
    size = os.fstat(descriptor).st_size
    start = max(0, size - _LONGEST_LINE_BYTES)
    end = os.pread(descriptor, size - start, start)
    if not end.endswith(b"\n"):
        os.ftruncate(descriptor, start + end.rfind(b"\n") + 1)
    return descriptor


def _write_buffered(descriptor: int, lines: Iterable[bytes]) -> int:
    buffer = bytearray()
    size = 0
    for line in lines:
        buffer += line
        size += len(line)
        if len(buffer) > _BUFFER_BYTES:
            write_all(descriptor, buffer)
            buffer = bytearray()
    write_all(descriptor, buffer)
    return size


class _Ledger:
    """The ledger of an output folder, open for reading lines by their offset."""

    def __init__(self, output: Path, *, simulated: bool) -> None:
        self._shelf = shelf_of(output)
        self._simulated = simulated
        self._reader = open_ledger(output)

    def close(self) -> None:
        self._reader.close()

    def records(self, order: bytes | bytearray, history: History) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
        for start in range(0, len(order), 16):
            key = bytes(order[start : start + 16])
            yield key, self.record_of(history.of(key))

    def record_of(self, job: JobHistory) -> dict[str, Any] | None:
        """What the line of a job says, or None if nothing about it is settled yet."""
        standing = job.standing
        if standing is Standing.DONE:
            return self._done(job)
        return None if standing is Standing.PENDING else self._not_done(job)

    def _done(self, job: JobHistory) -> dict[str, Any]:
        done = self._reader.at(job.bought_offset)
        assert isinstance(done, Pictured)
        return {
            **self._asked(job.bought_try_offset, "done"),
            "images": self._still_there(done.images) if job.accepted else msgspec.to_builtins(done.images),
            "accepted": job.accepted,
            "warnings": [warning_fields(text) for text in done.warnings],
            "caption": done.caption,
            "error": None,
            "attempts": job.attempts,
            "cost_usd": round(job.usd, 6),
            "finished_at": done.at,
            **_searched(done),
        }

    def _not_done(self, job: JobHistory) -> dict[str, Any]:
        end = self._reader.at(job.last_offset)
        assert isinstance(end, Unsuccessful)
        return {
            **self._asked(job.try_offset, str(job.standing)),
            "images": [],
            "accepted": False,
            "warnings": [],
            "caption": None,
            "error": {"code": end.code, "message": end.message, "http_status": end.http_status},
            "attempts": job.attempts,
            "cost_usd": round(job.usd, 6),
            "finished_at": end.at,
        }

    def _still_there(self, images: Sequence[ImageRecord]) -> list[dict[str, Any]]:
        """Of a job whose loss was accepted: without the files that are gone, and those that were altered marked."""
        states = [(image, self._shelf.state(image.path, image.bytes)) for image in images]
        return [
            {**msgspec.to_builtins(image), **({"altered": True} if state is FileState.ALTERED else {})}
            for image, state in states
            if state is not FileState.MISSING
        ]

    def _asked(self, try_offset: int, status: str) -> dict[str, Any]:
        asked = self._reader.asked_at(try_offset)
        ask = asked.ask
        return {
            "id": asked.job,
            "status": status,
            "prompt": ask.prompt,
            "references": [reference.name for reference in ask.references],
            "model": terms_of(asked).model,
            "aspect_ratio": ask.aspect_ratio,
            "image_size": ask.image_size,
            "simulated": self._simulated,
        }
