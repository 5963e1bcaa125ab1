"""What an earlier run left open is settled here: answers that arrived become pictures, the rest is unknown.

Sends no request to buy anything. Answers that only name their pictures' addresses are fetched beside the jobs: a host
that hangs must hold up nothing else. What cannot be fetched stays in the spool for the next run.
"""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import urlsplit

from batch.core.events import Listener, Message
from batch.runner.attempt import Arrived, AttemptRunner
from batch.store.store import Store

_FETCHED_AT_ONCE: Final = 8
_HOSTS_NAMED: Final = 3


class Leftovers:
    """The open attempts of one output folder. `stopping` is set when the run is to end soon."""

    def __init__(self, store: Store, attempts: AttemptRunner, listener: Listener, stopping: asyncio.Event) -> None:
        self._store = store
        self._attempts = attempts
        self._listener = listener
        self._stopping = stopping
        self._fetching: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(_FETCHED_AT_ONCE)
        self._hosts: dict[str, None] = {}
        self._failure: Exception | None = None
        #: Attempts that ended beside the jobs, after the spend books were settled.
        self.ended_late = 0

    async def settle(self) -> None:
        """Settle all that needs no network, then begin to fetch. Raises `StorageError`."""
        settled = finished = 0
        unread: set[str] = set()
        to_fetch: list[Arrived] = []
        for attempt, received in self._store.open_attempts():
            if self._stopping.is_set():
                break  # the rest is found again by the next run
            if received is not None and not self._attempts.can_read(attempt):
                unread.add(attempt.terms.provider or "a provider that speaks Gemini")
                continue
            arrived = None if received is None else self._attempts.read(attempt, received)
            if arrived is not None and arrived.addresses:
                to_fetch.append(arrived)
                self._hosts.update(dict.fromkeys(_host(address) for address in arrived.addresses))
                continue
            settled += 1
            if arrived is None:
                await self._attempts.lost(attempt)
            else:
                finished += await self._attempts.finish(arrived) is not None
        self._store.sweep_spool()
        if settled:
            self._listener.on_event(
                Message(
                    f"the last run ended in the middle: of {settled} requests in flight, {finished} pictures had "
                    f"arrived and are kept, {settled - finished} got no usable answer"
                )
            )
        if unread:
            words = "wait in the spool; only a run with that provider in its manifest can read them"
            self._listener.on_event(Message(f"answers of {', '.join(sorted(unread))} {words}"))
        self._begin(to_fetch)

    async def finish(self) -> None:
        """Wait for what is still being fetched. Raises what kept one from being kept, such as `StorageError`."""
        waiting = len(self._fetching)
        if waiting and not self._stopping.is_set():
            self._listener.on_event(
                Message(f"waiting for {_pictures(waiting)} {self._from()} (a stop leaves them to the next run)")
            )
        while self._fetching:
            await asyncio.wait(self._fetching)
        if self._failure is not None:
            raise self._failure

    def abort(self) -> None:
        """Wait no longer. The answers stay in the spool."""
        for task in self._fetching:
            task.cancel()

    def _begin(self, to_fetch: list[Arrived]) -> None:
        if not to_fetch or self._stopping.is_set():
            return
        self._listener.on_event(
            Message(f"fetching {_pictures(len(to_fetch))} {self._from()}; the jobs do not wait for it")
        )
        for arrived in to_fetch:
            task = asyncio.create_task(self._fetch(arrived))
            self._fetching.add(task)
            task.add_done_callback(self._fetching.discard)

    async def _fetch(self, arrived: Arrived) -> None:
        async with self._slots:
            if self._stopping.is_set():
                return
            try:
                done = await self._attempts.finish(arrived)
                self.ended_late += 1
                if done is not None:
                    job = arrived.attempt.job
                    self._store.published.append(self._store.history.of(job.key()))
                    self._listener.on_event(Message(f"the picture of {job.id}, bought by an earlier run, has arrived"))
            except Exception as error:  # noqa: BLE001  (`finish` raises it: a task's own error would be lost)
                self._failure = self._failure or error
                self._stopping.set()

    def _from(self) -> str:
        names = list(self._hosts)
        return f"from {', '.join(names[:_HOSTS_NAMED])}{', ...' if len(names) > _HOSTS_NAMED else ''}"


def _pictures(number: int) -> str:
    return f"{number:,} {'picture' if number == 1 else 'pictures'} that an earlier run bought"


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or "an address without a host"
    except ValueError:
        return "an address that is none"
