"""Group commit: one writer puts the lines of all jobs into the ledger, many with one sync.

While one group is being synced the next one collects, so no timer is needed, and a thousand requests that start
together cost one sync between them. A line is reported written only after it is durable.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from batch.store.contracts import Log
from batch.store.history import History
from batch.store.ledger import GROUP_BYTES, decode_line, encode_line
from batch.store.records import Record, line_fields


@dataclass(frozen=True, slots=True)
class _Waiting:
    line: bytes
    before: tuple[Callable[[], None], ...]
    after: Callable[[], None] | None
    written: asyncio.Future[None]


class Committer:
    """Writes records in the order they are handed in, and applies each to the history once it is durable.

    After an error nothing more is written. A failed sync must not be followed by one that succeeds, for the
    kernel has forgotten what it could not write; and a history that is behind its ledger would decide wrongly.
    """

    def __init__(self, log: Log, history: History) -> None:
        self._log = log
        self._history = history
        self._waiting: deque[_Waiting] = deque()
        self._flushing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._next_n = history.last_n + 1
        self._error: Exception | None = None

    async def commit(
        self,
        record: Record,
        *,
        before: tuple[Callable[[], None], ...] = (),
        after: Callable[[], None] | None = None,
    ) -> None:
        """Return when the record is durable. Raises `StorageError`.

        `before` is called first, once for all records of a group that name the same, and makes durable what the record
        speaks of. `after` is called once the record is durable, and must not fail. Both in the writer's thread.
        Cancelling the caller does not take the record back.
        """
        line = encode_line(line_fields(record, self._next_n))
        self._next_n += 1
        written = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(line, before, after, written))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        await asyncio.shield(written)

    async def drain(self) -> None:
        """Return when everything handed in so far is written or has failed."""
        while self._flushing is not None:
            await asyncio.wait([self._flushing])

    def close(self) -> None:
        self._thread.shutdown(wait=True)

    async def _flush(self) -> None:
        try:
            while self._waiting:
                group = self._next_group()
                try:
                    await self._write_group(group)
                except Exception as error:  # noqa: BLE001  (the callers that wait for these lines must learn of any error)
                    self._error = error
                _settle(group, self._error)
        finally:
            self._flushing = None

    def _next_group(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        size = 0
        while self._waiting and size < GROUP_BYTES:
            waiting = self._waiting.popleft()
            size += len(waiting.line)
            group.append(waiting)
        return group

    async def _write_group(self, group: list[_Waiting]) -> None:
        if self._error is not None:
            return
        offsets = await asyncio.get_running_loop().run_in_executor(self._thread, self._write, group)
        for waiting, offset in zip(group, offsets, strict=True):
            self._history.apply(offset, decode_line(waiting.line))

    def _write(self, group: list[_Waiting]) -> list[int]:
        """In the writer's own thread: names first, then the lines that speak of them, then what is no longer needed."""
        for make_durable in {each for waiting in group for each in waiting.before}:
            make_durable()
        offsets = self._log.append([waiting.line for waiting in group])
        for waiting in group:
            if waiting.after is not None:
                waiting.after()
        return offsets


def _settle(group: list[_Waiting], error: Exception | None) -> None:
    for waiting in group:
        if waiting.written.done():
            continue
        if error is None:
            waiting.written.set_result(None)
        else:
            waiting.written.set_exception(error)
            waiting.written.exception()  # seen: a caller that was cancelled will not look
