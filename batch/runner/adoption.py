"""Pictures that jobs get without a request, because they were bought before: carries out what the plan found.

Before the first request: for renamed jobs and from other output folders. After the last one: for jobs that asked for
exactly what another one has got by now, or could not get.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from batch.core.events import Listener, Message
from batch.core.model import Job
from batch.plan import DECISIONS, Plan, Source, sources_of_copies
from batch.store.job_state import Standing
from batch.store.picture_check import BadPicture
from batch.store.source_folder import SourceFolder, StoredPicture
from batch.store.store import Store

#: So many are written at a time, with few syncs between them.
_AT_ONCE: Final = 64
_NAMED: Final = 3


class JobRows(Protocol):
    """Passes over the manifest's jobs, and what manifest.jsonl is to show of their rows."""

    def jobs(self) -> Iterator[Job]: ...

    def hold(self, job: Job) -> None:
        """Keep the row of the job that came out last."""

    def take(self, job: Job) -> Mapping[str, Any] | None: ...


class Adopter:
    """Takes pictures over for the jobs of one plan. `rows` starts passes over all jobs of the manifest."""

    def __init__(
        self,
        plan: Plan,
        rows: JobRows,
        store: Store,
        reuse: Sequence[SourceFolder],
        listener: Listener,
        price_usd: Callable[[Job], float],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._plan = plan
        self._rows = rows
        self._store = store
        self._reuse = reuse
        self._listener = listener
        self._price_usd = price_usd
        self._stopping = stopping
        self._damaged: list[str] = []
        #: How many jobs got a picture without a request.
        self.adopted = 0

    async def before_the_run(self) -> None:
        """Give the jobs their pictures that were bought before; a stop leaves the rest to the next run.

        Raises `StorageError`.
        """
        if not self._plan.to_adopt:
            return
        await _in_groups(self._adopt(job, self._picture(source), why) for job, why, source in self._adoptions())
        self._listener.on_event(
            Message(f"{self.adopted:,} jobs got pictures that were bought before, without a request")
        )
        if self._damaged:
            names = ", ".join(self._damaged[:_NAMED]) + (", ..." if len(self._damaged) > _NAMED else "")
            self._listener.on_event(
                Message(
                    f"{len(self._damaged):,} pictures are not what was bought any more and were not taken ({names}); "
                    "without --reuse they are bought"
                )
            )

    async def after_the_run(self) -> None:
        """Settle the jobs that waited for another one's picture. Raises `StorageError`."""
        if not self._plan.count("skip: copy"):
            return
        rows = sources_of_copies(self._plan.decisions, self._store.history)
        await _in_groups(
            self._adopt(job, self._store.bought(row), "same")
            if (row := rows.get(job.spec())) is not None
            else self._share_failure(job, original)
            for job, original in self._plan.copies(self._rows.jobs())
        )

    def _adoptions(self) -> Iterator[tuple[Job, str, Source]]:
        for job, code, source in self._plan.adoptions(self._rows.jobs()):
            if self._stopping():
                return
            self._rows.hold(job)
            yield job, DECISIONS[code].partition(": ")[2], source

    def _picture(self, source: Source) -> StoredPicture:
        folder = self._store if source.folder == 0 else self._reuse[source.folder - 1]
        return folder.bought(source.row)

    async def _adopt(self, job: Job, picture: StoredPicture, why: str) -> None:
        try:
            await self._store.adopt(job, picture, why=why, saved_usd=self._price_usd(job))
        except BadPicture:
            self._damaged.append(job.id)
            self._rows.take(job)
            return
        self.adopted += 1
        self._store.published.append(self._store.history.of(job.key()), self._rows.take(job))

    async def _share_failure(self, job: Job, original: bytes) -> None:
        history = self._store.history
        other, own = history.of(original), history.of(job.key())
        is_told = (own.state, own.code, own.spec) == (other.state, other.code, other.spec)
        if other.standing is Standing.FAILED and not is_told:
            await self._store.share_failure(job, other)


async def _in_groups(steps: Iterator[Awaitable[None]]) -> None:
    group: list[Awaitable[None]] = []
    for step in steps:
        group.append(step)
        if len(group) == _AT_ONCE:
            await asyncio.gather(*group)
            group.clear()
            await asyncio.sleep(0)  # a signal may have come
    await asyncio.gather(*group)
