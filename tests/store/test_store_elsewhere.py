"""The store over a log and a shelf that are no files: a purchase relies on the contracts alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from batch.core.clock import SystemClock
from batch.core.errors import ExitCode, StorageError
from batch.store.disk_reserve import DiskReserve
from batch.store.history import History
from batch.store.job_state import Standing
from batch.store.ledger_reader import LedgerReader
from batch.store.records import AdoptRecord, DoneRecord, TryRecord
from batch.store.store import Store
from tests.support.in_memory import MemoryLog, MemoryShelf


class Elsewhere:
    """A store whose log and shelf are in memory; on the disk are the spool and what was rejected."""

    def __init__(self, folder: Path) -> None:
        self.output = folder / "out"
        for name in ("spool", "rejected"):
            (self.output / name).mkdir(parents=True)
        self.log, self.shelf = MemoryLog(), MemoryShelf(folder / "fetched")
        self.history = History(self.shelf)
        self.reserve = DiskReserve(str(self.output))
        self.store = Store(
            self.output,
            "run-1",
            SystemClock(),
            self.log,
            self.shelf,
            self.history,
            self.reserve,
            decode=False,
            check_content=True,
        )


@pytest.fixture
async def elsewhere(tmp_path: Path) -> AsyncIterator[Elsewhere]:
    elsewhere = Elsewhere(tmp_path)
    with elsewhere.reserve:
        yield elsewhere
        await elsewhere.store.aclose()


async def test_a_picture_is_bought_and_given_to_another_job(elsewhere: Elsewhere, make: Any) -> None:
    """The log has the purchase, the shelf the picture, synced; the output folder has neither."""
    store, job = elsewhere.store, make.job()
    attempt = await store.begin(job, why="new")
    data = make.picture()
    _, answer = make.receive(attempt.spool, data)

    await store.keep(attempt, answer, make.facts())
    assert elsewhere.shelf.synced == {"images/shirt.png"}
    await store.adopt(make.job("cap"), store.bought_by(job.key()), why="same")

    assert elsewhere.shelf.pictures == {"images/shirt.png": data, "images/cap.png": data}
    assert elsewhere.shelf.synced == {"images/shirt.png", "images/cap.png"}
    kinds = [type(record) for record in LedgerReader(elsewhere.log).records()]
    assert kinds == [TryRecord, DoneRecord, AdoptRecord]
    assert {elsewhere.history.of(each.key()).standing for each in (job, make.job("cap"))} == {Standing.DONE}
    assert sorted(path.name for path in elsewhere.output.iterdir() if path.name != ".reserve") == ["rejected", "spool"]


async def test_a_run_that_was_fenced_sends_nothing_more_and_keeps_what_arrived(elsewhere: Elsewhere, make: Any) -> None:
    """Its next intent is refused with exit 75; an answer that came meanwhile stays in the spool."""
    store, job = elsewhere.store, make.job()
    attempt = await store.begin(job, why="new")
    _, answer = make.receive(attempt.spool, make.picture())
    elsewhere.log.fence()

    with pytest.raises(StorageError) as refused:
        await store.begin(make.job("cap"), why="new")
    with pytest.raises(StorageError):
        await store.keep(attempt, answer, make.facts())

    assert refused.value.exit_code is ExitCode.TEMPORARY
    assert refused.value.reason == "fenced"
    assert [each[0].job.id for each in store.open_attempts()] == ["shirt"]
    assert attempt.spool.load() is not None
