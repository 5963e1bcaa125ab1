"""Answers of an earlier run whose pictures are still to be fetched: beside the jobs, until a stop, at no cost."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import batch
from batch.core.events import Listener
from batch.core.model import Done, Outcome
from batch.core.results import Summary
from batch.core.settings import Budget
from batch.money.wallet import Wallet
from batch.runner.control import LiveRun, RunControl
from batch.runner.leftovers import Leftovers
from tests.support.fakes import FakeClock, QuickClock, Seller, scheduler
from tests.support.picture_host import http, png

LEFT = ["url-1", "url-2"]
USAGE = {
    "promptTokenCount": 5,
    "candidatesTokenCount": 600,
    "totalTokenCount": 605,
    "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 600}],
}
GONE, LATER = http(status="404 Not Found"), http(status="503 Service Unavailable")


@dataclass
class Host:
    """An endpoint whose pictures for `url-...` are links to itself; their downloads hang until `reply` is there."""

    folder: Path
    port: int = 0
    timeouts: dict[str, float] = field(default_factory=dict)
    bought: list[str] = field(default_factory=list)
    downloads: int = 0
    hanging: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    reply: asyncio.Future[bytes] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._reply_to(reader, writer)
            await writer.drain()
        except (OSError, asyncio.CancelledError):
            pass  # who asked is gone
        finally:
            writer.close()

    async def _reply_to(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        if head.startswith("post"):
            size = int(head.partition("content-length:")[2].split()[0])
            writer.write(http(self._answer(json.loads(await reader.readexactly(size)))))
        else:
            self.downloads += 1
            self.hanging.release()
            writer.write(await asyncio.shield(self.reply))

    def _answer(self, request: Any) -> bytes:
        prompt = request["contents"][0]["parts"][0]["text"]
        self.bought.append(prompt)
        part: dict[str, Any] = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(png(8)).decode()}}
        if prompt.startswith("url"):
            part = {"fileData": {"mimeType": "image/png", "fileUri": f"http://127.0.0.1:{self.port}/{prompt}.png"}}
        content = {"role": "model", "parts": [part]}
        return json.dumps(
            {"candidates": [{"content": content, "finishReason": "STOP"}], "usageMetadata": USAGE}
        ).encode()

    async def run(
        self, jobs: Sequence[str], control: RunControl | None = None, listener: Listener | None = None
    ) -> Summary:
        manifest = self.folder / "m.yaml"
        text = {
            "provider": {"profile": "google", "base_url": f"http://127.0.0.1:{self.port}"},
            "defaults": {"image_size": 512},
            "budget": {"per_day": 100},
            "timeouts": self.timeouts,
            "jobs": [{"id": job, "prompt": job} for job in jobs],
        }
        manifest.write_text(json.dumps(text))
        return await batch.run(
            manifest,
            output=self.folder / "out",
            environment={"GEMINI_API_KEY": "k-for-tests"},
            clock=QuickClock(),
            control=control,
            listener=listener,
        )

    async def hangs(self, times: int) -> None:
        for _ in range(times):
            await self.hanging.acquire()

    def waiting(self) -> int:
        return len(list((self.folder / "out/spool").glob("*.answer")))

    def ledger(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "out/ledger.jsonl").read_bytes().splitlines()]


class Ended(Listener):
    """Tells when a job has its picture."""

    def __init__(self) -> None:
        self.done: asyncio.Queue[str] = asyncio.Queue()

    def job_ended(self, outcome: Outcome, in_flight: int) -> None:
        if isinstance(outcome, Done):
            self.done.put_nowait(outcome.job.id)


@asynccontextmanager
async def _serving(folder: Path) -> AsyncIterator[Host]:
    host = Host(folder)
    tasks: set[asyncio.Task[None]] = set()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(host.serve(reader, writer)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host.port = server.sockets[0].getsockname()[1]
    try:
        yield host
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    """A host that hangs, after a run that was cut while it waited for two pictures."""
    async with _serving(tmp_path) as made:
        control = RunControl()
        running = asyncio.create_task(made.run(LEFT, control))
        await made.hangs(2)
        control.drain()
        control.abort()
        await running
        assert made.waiting() == 2
        made.downloads = 0
        yield made


async def begun(host: Host, control: RunControl, jobs: Sequence[str] = (*LEFT, "plain")) -> asyncio.Task[Summary]:
    """A second run that has bought its own job while the host hangs."""
    ended = Ended()
    running = asyncio.create_task(host.run(jobs, control, ended))
    await host.hangs(2)
    assert await ended.done.get() == "plain"
    return running


async def test_a_host_that_hangs_holds_up_no_job(host: Host) -> None:
    """The other job is bought meanwhile; when the pictures come, they are their jobs' without a request."""
    running = await begun(host, RunControl())
    assert not running.done()
    host.reply.set_result(http(png(16)))
    summary = await running
    assert (summary.exit, summary.done, summary.requests) == (0, 3, 1)
    assert sorted(host.bought) == ["plain", *LEFT]
    lines = [json.loads(line) for line in (host.folder / "out/manifest.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["done"] * 3
    assert host.waiting() == 0


class SeesTheManifest(Listener):
    """Reads manifest.jsonl whenever something is said."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.done: dict[str, list[str]] = {}

    def message(self, text: str) -> None:
        lines = [json.loads(line) for line in self._file.read_text().splitlines()] if self._file.exists() else []
        self.done[text] = [line["id"] for line in lines if line["status"] == "done"]


async def test_a_late_picture_is_in_the_manifest_as_soon_as_it_is_announced(host: Host) -> None:
    """Who reads the file while the run is on need not wait for its end."""
    host.reply.set_result(http(png(16)))
    (host.folder / "out/manifest.jsonl").unlink()
    sees = SeesTheManifest(host.folder / "out/manifest.jsonl")
    await host.run([*LEFT, "plain"], listener=sees)
    for job in LEFT:
        assert job in sees.done[f"the picture of {job}, bought by an earlier run, has arrived"]


async def test_the_first_signal_ends_the_wait_after_the_try_that_is_on(host: Host) -> None:
    """Each download is tried once and not again; the answers stay, and the next run needs no request."""
    control = RunControl()
    running = await begun(host, control)
    control.drain(15, "SIGTERM")
    host.reply.set_result(LATER)
    summary = await running
    assert summary.exit == 143
    assert (host.downloads, host.waiting()) == (2, 2)
    host.reply = asyncio.get_running_loop().create_future()
    host.reply.set_result(http(png(16)))
    again = await host.run([*LEFT, "plain"])
    assert (again.exit, again.done, again.requests) == (0, 3, 0)


async def test_a_second_signal_ends_the_wait_at_once(host: Host) -> None:
    """However long a download may take, and the host still hangs; the answers stay in the spool."""
    host.timeouts = dict.fromkeys(("connect_seconds", "read_seconds", "total_seconds"), 3600.0)
    control = RunControl()
    running = await begun(host, control)
    control.drain(15, "SIGTERM")
    control.abort()
    summary = await asyncio.wait_for(running, 10)
    assert (summary.exit, summary.done, host.waiting()) == (143, 1, 2)
    assert not host.reply.done()


class Watched(Leftovers):
    """Has nothing to fetch, and remembers whether that was to end at once."""

    def __init__(self) -> None:
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


async def test_only_a_second_wish_to_stop_cuts_downloads() -> None:
    """The first lets the try that is on come to its end."""
    control, leftovers = RunControl(), Watched()
    clock = FakeClock()
    wallet = Wallet(Budget(), max_usd=lambda job: 0.0, clock=clock)
    control.attach(LiveRun(budget=Budget(), scheduler=scheduler(Seller(clock)), leftovers=leftovers, wallet=wallet))
    control.drain(15, "SIGTERM")
    assert not leftovers.aborted
    control.abort()
    assert leftovers.aborted


def micro_in_the_book(state_home: Path) -> tuple[int, bool]:
    """What the spend book has, and whether any of it may still change; the last line on a run and day counts."""
    [book] = (state_home / "imagebatch/spend").iterdir()
    shares = [json.loads(line) for line in book.read_text().splitlines()]
    last = {(share["run"], share["day"]): share for share in shares if "run" in share}
    return sum(each["micro_usd"] for each in last.values()), any(each["is_open"] for each in last.values())


@pytest.mark.parametrize("reply", [http(png(16)), GONE], ids=["a picture", "a dead link"])
async def test_the_spend_book_has_what_late_pictures_cost(host: Host, state_home: Path, reply: bytes) -> None:
    """While the answers wait they count for the most they can cost, then for what the ledger says."""
    running = await begun(host, RunControl())
    host.reply.set_result(reply)
    await running
    spent = sum(line["usd"] for line in host.ledger() if line["t"] in ("done", "fail"))
    assert micro_in_the_book(state_home) == (round(spent * 1_000_000), False)


async def test_an_answer_that_still_waits_keeps_its_share_open(host: Host, state_home: Path) -> None:
    """Its price is not known yet, so the run after this one looks again."""
    control = RunControl()
    running = await begun(host, control)
    control.drain()
    control.abort()
    await running
    _, is_open = micro_in_the_book(state_home)
    assert is_open
    host.reply.set_result(http(png(16)))
    await host.run([*LEFT, "plain"])
    spent = sum(line["usd"] for line in host.ledger() if line["t"] == "done")
    assert micro_in_the_book(state_home) == (round(spent * 1_000_000), False)


class WithAddress:
    """Stands where an answer stands whose picture is to be fetched."""

    addresses = ("https://pictures.example/a.png",)


class BrokenBuyer:
    """Stands where the buyer stands, with a bug of ours in it."""

    def can_read(self, *_: Any) -> bool:
        return True

    def read(self, *_: Any) -> Any:
        return WithAddress()

    async def finish(self, *_: Any) -> None:
        raise ZeroDivisionError


class OneLeft:
    """Stands where the store stands: one answer waits for its picture."""

    def open_attempts(self) -> list[tuple[object, object]]:
        return [(object(), object())]

    def sweep_spool(self) -> int:
        return 0


async def test_a_bug_while_fetching_is_not_lost() -> None:
    """It ends the run as any other bug does, and sends nothing new meanwhile."""
    stopping = asyncio.Event()
    store: Any = OneLeft()
    attempts: Any = BrokenBuyer()
    leftovers = Leftovers(store, attempts, Listener(), stopping)
    await leftovers.settle()
    with pytest.raises(ZeroDivisionError):
        await leftovers.finish()
    assert stopping.is_set()


class Slow:
    """Stands where the buyer stands: every fetch waits until `go` is set."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = 0
        self.ended = 0

    def can_read(self, *_: Any) -> bool:
        return True

    def read(self, *_: Any) -> Any:
        return WithAddress()

    async def finish(self, *_: Any) -> None:
        self.begun += 1
        await self.go.wait()
        self.ended += 1


class ManyLeft(OneLeft):
    """More answers wait than are fetched at once."""

    def open_attempts(self) -> list[tuple[object, object]]:
        return super().open_attempts() * 50


async def test_after_a_stop_no_further_picture_is_begun() -> None:
    """Those under way end; the others are for the next run."""
    stopping = asyncio.Event()
    store: Any = ManyLeft()
    slow = Slow()
    attempts: Any = slow
    leftovers = Leftovers(store, attempts, Listener(), stopping)
    await leftovers.settle()
    await asyncio.sleep(0)
    begun = slow.begun
    stopping.set()
    slow.go.set()
    await leftovers.finish()
    assert 0 < begun == slow.begun < 50


async def test_an_abort_ends_the_fetches_that_are_under_way() -> None:
    """However long the host would hang; without it the run waits for them."""
    store: Any = ManyLeft()
    slow = Slow()
    attempts: Any = slow
    stopping = asyncio.Event()
    leftovers = Leftovers(store, attempts, Listener(), stopping)
    await leftovers.settle()
    await asyncio.sleep(0)
    stopping.set()
    waiting = asyncio.create_task(leftovers.finish())
    await asyncio.sleep(0)
    assert not waiting.done()
    leftovers.abort()
    await asyncio.wait_for(waiting, 10)
    assert not slow.go.is_set()
    assert 0 == slow.ended < slow.begun
