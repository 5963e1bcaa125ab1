"""Group commit: who waits, in which order lines come, and what happens when writing fails."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import os
from pathlib import Path
from typing import Any

import pytest

from batch.core.errors import StorageError
from batch.core.model import Image
from batch.store.commit import Committer
from batch.store.history import History
from batch.store.ledger import GROUP_BYTES, LedgerFile, encode_line
from batch.store.places import shelf_of
from batch.store.records import EndRecord, RunRecord, line_fields


class Bench:
    """A committer on a real file that counts syncs."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.jsonl"
        self.ledger = LedgerFile(str(self.path))
        self.history = History()
        self.committer = Committer(self.ledger, self.history)

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_bytes().splitlines()]

    async def close(self) -> None:
        await self.committer.drain()
        self.committer.close()
        self.ledger.close()


@pytest.fixture
async def bench(tmp_path: Path) -> Any:
    bench = Bench(tmp_path)
    yield bench
    await bench.close()


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every fdatasync, counted."""
    seen: list[int] = []
    real = os.fdatasync

    def watched(descriptor: int) -> None:
        seen.append(descriptor)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", watched)
    return seen


async def test_records_handed_in_together_share_one_sync(bench: Bench, syncs: list[int]) -> None:
    """A thousand requests that start together cost one sync between them."""
    await asyncio.gather(*(bench.committer.commit(RunRecord(pid=number)) for number in range(1000)))

    assert [record["pid"] for record in bench.records()] == list(range(1000))
    assert [(record["v"], record["n"]) for record in bench.records()] == [(1, n) for n in range(1, 1001)]
    assert len(syncs) <= 2


async def test_a_record_is_applied_only_when_it_is_durable(bench: Bench, make: Any) -> None:
    """The history never knows more than the disk."""
    job = make.job()
    waiting = asyncio.create_task(bench.committer.commit(make.tried(job)))
    await asyncio.sleep(0)
    assert job.key() not in bench.history

    await waiting

    assert job.key() in bench.history
    assert bench.records()[0]["job"] == job.id


async def test_folders_are_synced_before_the_line_is_written(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that the ledger speaks of must be durable before it."""
    order: list[str] = []
    append = bench.ledger.append

    def watched(lines: list[bytes]) -> list[int]:
        order.append("append")
        return list(append(lines))

    monkeypatch.setattr(bench.ledger, "append", watched)

    await bench.committer.commit(RunRecord(), before=(lambda: order.append("names"),))

    assert order == ["names", "append"]


async def test_what_is_no_longer_needed_goes_after_the_line_is_durable(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spool of an answer is let go once the ledger says what became of it, and not if it cannot say so."""
    order: list[str] = []
    real = os.fdatasync

    def watched(descriptor: int) -> None:
        real(descriptor)
        order.append("durable")

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", watched)
    await bench.committer.commit(RunRecord(), after=lambda: order.append("let go"))
    assert order == ["durable", "let go"]

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(StorageError):
        await bench.committer.commit(RunRecord(), after=lambda: order.append("let go"))
    assert order == ["durable", "let go"]


async def test_cancelling_who_waits_does_not_take_the_record_back(bench: Bench) -> None:
    """The picture is on disk; whoever lost interest does not change that."""
    waiting = asyncio.create_task(bench.committer.commit(RunRecord()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    await bench.committer.drain()

    assert [record["t"] for record in bench.records()] == ["run"]


async def test_an_error_reaches_everybody_who_waits_and_everybody_after(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P22: nobody is told that a line is durable which is not; the first cause is named every time."""

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        ends = await asyncio.gather(*(bench.committer.commit(RunRecord()) for _ in range(3)), return_exceptions=True)
    later = await asyncio.gather(bench.committer.commit(RunRecord()), return_exceptions=True)

    assert [type(end) for end in (*ends, *later)] == [StorageError] * 4
    assert all("Input/output error" in str(end) for end in (*ends, *later))
    assert bench.records() == []


async def test_after_a_failed_sync_of_a_folder_nothing_is_called_durable(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next sync of the folder would succeed, and prove nothing."""
    calls = iter([OSError(errno.EIO, "Input/output error")])

    def sync_once_badly(path: str) -> None:
        for error in calls:
            raise error

    monkeypatch.setattr("batch.store.picture_folder.sync_folder", sync_once_badly)
    (tmp_path / "images").mkdir()
    (tmp_path / "picture").write_bytes(b"picture")
    shelf = shelf_of(tmp_path)
    picture = Image(path="images/a.png", mime="image/png", width=1, height=1, size_bytes=7, sha256="")
    assert shelf.adopt(str(tmp_path / "picture"), picture) is not None
    for _ in range(2):
        with pytest.raises(StorageError, match=r"^cannot make the pictures durable"):
            await bench.committer.commit(RunRecord(), before=(shelf.sync,))

    assert bench.records() == []


async def test_nobody_hears_of_an_error_that_no_caller_waits_for_any_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was let go does not look, and the others have been told: the event loop has nothing to complain about."""
    heard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: heard.append(context))

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    gone = asyncio.create_task(bench.committer.commit(RunRecord()))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    await bench.committer.drain()
    del gone
    gc.collect()
    assert heard == []


@pytest.mark.parametrize(("short_by", "groups"), [(0, [2, 1]), (1, [3])])
async def test_a_group_takes_no_more_lines_than_a_crash_may_tear(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, short_by: int, groups: list[int]
) -> None:
    """The line that reaches the bound is the last of its group; what follows is written with the next sync."""
    sizes: list[int] = []
    append = bench.ledger.append

    def watched(lines: list[bytes]) -> list[int]:
        sizes.append(len(lines))
        return list(append(lines))

    monkeypatch.setattr(bench.ledger, "append", watched)
    half = GROUP_BYTES // 2 - len(encode_line(line_fields(RunRecord(), 1)))
    texts = ["x" * half, "x" * (half - short_by), ""]
    await asyncio.gather(*(bench.committer.commit(RunRecord(manifest=text)) for text in texts))
    assert sizes == groups


async def test_a_record_that_cannot_be_written_as_json_fails_alone(bench: Bench) -> None:
    """Its neighbours are written, and numbering goes on without a gap."""
    good, bad = bench.committer.commit(RunRecord()), bench.committer.commit(EndRecord(cost_usd=float("nan")))
    ends = await asyncio.gather(good, bad, bench.committer.commit(RunRecord()), return_exceptions=True)

    assert isinstance(ends[1], ValueError)
    assert [record["n"] for record in bench.records()] == [1, 2]


async def test_half_a_surrogate_pair_in_a_caption_stops_nobody(bench: Bench, make: Any) -> None:
    """Legal JSON that a fast decoder refuses; the picture is paid for all the same."""
    job = make.job()
    await bench.committer.commit(make.tried(job))

    await bench.committer.commit(make.done(job, caption="cut \ud83d"))

    assert bench.history.of(job.key()).versions == 1
    assert bench.records()[1]["caption"] == "cut \ud83d"


async def test_a_bug_in_the_history_is_heard_by_who_waits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """F10: never silently not committing."""

    def bug(offset: int, line: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(bench.history, "apply", bug)

    for _ in range(2):
        with pytest.raises(RuntimeError, match="a bug"):
            await bench.committer.commit(RunRecord())


async def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    """`n` orders all lines of a ledger, over all runs."""
    for _ in range(2):
        from batch.store.history import replay

        bench = Bench(tmp_path)
        bench.history, _ = replay(tmp_path)
        bench.committer.close()
        bench.committer = Committer(bench.ledger, bench.history)
        await bench.committer.commit(RunRecord())
        await bench.close()

    assert [record["n"] for record in bench.records()] == [1, 2]
