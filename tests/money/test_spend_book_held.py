"""Another process holds a spend book: nothing stands still, a stop is heard, and all money spent was set aside."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

import batch
from batch.core.errors import EndpointDown, ExitCode, OutputError
from batch.core.events import Listener
from batch.core.settings import Budget
from batch.money.spend_book import SpendBook
from batch.money.wallet import Wallet, micro
from batch.runner.control import RunControl
from tests.support.bench import KEY, Bench
from tests.support.fakes import FakeClock, job

MOST = 0.1
T = TypeVar("T")
DAILY = Budget(per_day=1.0)


@contextmanager
def held(path: Path) -> Iterator[Callable[[], None]]:
    """As by a process that was suspended with the lock; gives the function that lets it go on."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield lambda: fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def wallet(
    path: Path,
    say: Callable[[str], None] = lambda _: None,
    clock: FakeClock | None = None,
    waiting: Callable[[str], None] = lambda _: None,
) -> Wallet:
    return Wallet(
        DAILY,
        max_usd=lambda _: MOST,
        clock=clock or FakeClock(),
        run_id="r",
        output=str(path.parent / "out"),
        books=[SpendBook(path)],
        say=say,
        waiting=waiting,
    )


class Hears(Listener):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[str] = asyncio.Queue()

    def message(self, text: str) -> None:
        self.said.put_nowait(text)


async def test_a_request_waits_for_the_book_and_goes_when_it_is_free(tmp_path: Path) -> None:
    """It says once what it waits for; the loop goes on meanwhile."""
    said: asyncio.Queue[str] = asyncio.Queue()
    money = wallet(tmp_path / "book", said.put_nowait)
    with held(tmp_path / "book") as let_go:
        waiting = asyncio.ensure_future(money.reserve(job("a")).__aenter__())
        assert await said.get() == f"waiting: the spend book {tmp_path / 'book'} is locked by another process"
        assert not waiting.done()
        assert money.held == 0
        let_go()
        await waiting
    assert said.empty()
    assert money.held == micro(MOST)


class FreesAtTheFirstPause(FakeClock):
    """The other process is done as soon as we have waited once."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go: Callable[[], None] = lambda: None

    async def sleep(self, seconds: float) -> None:
        self.let_go()
        await super().sleep(seconds)


async def test_a_book_that_is_held_for_a_moment_is_not_worth_a_word(tmp_path: Path) -> None:
    """Runs with one key meet at it all the time."""
    said: list[str] = []
    clock = FreesAtTheFirstPause()
    with held(tmp_path / "book") as clock.let_go:
        await wallet(tmp_path / "book", said.append, clock).reserve(job("a")).__aenter__()
    assert said == []


async def test_a_book_that_stays_held_ends_the_run_for_a_later_one(tmp_path: Path) -> None:
    """After a minute, with exit 75, and nothing is set aside or sent. What it waited for was said once."""
    said: list[str] = []
    money = wallet(tmp_path / "book", said.append)
    with held(tmp_path / "book"), pytest.raises(EndpointDown, match="locked by another process") as stopped:
        await money.reserve(job("a")).__aenter__()
    assert (stopped.value.code, stopped.value.exit_code) == ("spend_book_held", ExitCode.TEMPORARY)
    assert (money.held, len(said)) == (0, 1)


async def test_a_start_ends_with_75_or_with_the_first_signal(tmp_path: Path) -> None:
    """The try that is on is the last once somebody asked for an end."""
    with held(tmp_path / "book"):
        with pytest.raises(EndpointDown, match="locked by another process"):
            await wallet(tmp_path / "book").settle_earlier_runs(lambda _: MOST)
        clock = FakeClock()
        assert await wallet(tmp_path / "book", clock=clock).settle_earlier_runs(lambda _: MOST, lambda: True) == ""
    assert clock.time == FakeClock().time


async def test_what_cannot_be_given_back_at_the_end_stays_spent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A run whose book is held at its end leaves its share whole: for the others all of it counts."""
    money = wallet(tmp_path / "book")
    async with money.reserve(job("a")):
        money.sending(job("a"))
        money.settle(job("a"), 0.01)
    taken = SpendBook(tmp_path / "book").look().total()
    with held(tmp_path / "book"):
        await money.close()
    locked = f"the spend book {tmp_path / 'book'} is locked by another process"
    assert caplog.messages == [f"{locked}; the next run in this folder settles what was spent"]
    assert SpendBook(tmp_path / "book").look().total() == taken > micro(MOST)
    await money.close()
    assert SpendBook(tmp_path / "book").look().total() == micro(0.01)


async def test_a_stopped_run_tries_once_to_give_back(tmp_path: Path) -> None:
    """After a signal its end waits for no other process."""
    clock = FakeClock()
    money = wallet(tmp_path / "book", clock=clock)
    await money.reserve(job("a")).__aenter__()
    began = clock.time
    with held(tmp_path / "book"):
        await money.close(lambda: True)
    assert clock.time == began


async def test_a_run_that_ends_waits_a_moment_for_the_book(tmp_path: Path) -> None:
    """Freed within seconds, it takes back what was not spent."""
    freed: list[Callable[[], None]] = []
    money = wallet(tmp_path / "book", lambda _: freed[0]())
    async with money.reserve(job("a")):
        money.sending(job("a"))
        money.settle(job("a"), 0.01)
    with held(tmp_path / "book") as let_go:
        freed.append(let_go)
        await money.close()
    assert SpendBook(tmp_path / "book").look().total() == micro(0.01)


async def test_room_that_is_made_while_the_books_are_asked_is_seen(tmp_path: Path) -> None:
    """The only request in flight turns out to cost nothing, just after the book had no room for the next one."""
    steps: asyncio.Queue[asyncio.Event] = asyncio.Queue()

    async def when_told(function: Callable[[], T], /) -> T:
        found, told = function(), asyncio.Event()
        steps.put_nowait(told)
        await told.wait()
        return found

    async def step() -> asyncio.Event:
        return await asyncio.wait_for(steps.get(), 10)

    book = SpendBook(tmp_path / "book")
    money = Wallet(Budget(per_day=MOST), max_usd=lambda _: MOST, clock=FakeClock(), books=[book], in_thread=when_told)
    first = money.reserve(job("a"))
    entering = asyncio.ensure_future(first.__aenter__())
    for _ in range(2):  # the books are opened, and written
        (await step()).set()
    await entering
    money.sending(job("a"))
    waiting = asyncio.ensure_future(money.reserve(job("b")).__aenter__())
    (await step()).set()
    refused = await step()
    money.settle(job("a"), 0.0)
    await first.__aexit__(None, None, None)
    refused.set()
    await waiting
    assert (money.spent, money.held) == (0, micro(MOST))


async def test_whoever_is_let_go_leaves_no_lock_behind(tmp_path: Path) -> None:
    """Cancelled at every step of taking money: the next one gets the book, and the cap holds."""
    for steps in range(12):
        path = tmp_path / f"book-{steps}"
        money = wallet(path)
        waiting = asyncio.ensure_future(money.reserve(job("a")).__aenter__())
        for _ in range(steps):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        async with money.reserve(job("b")):
            money.sending(job("b"))
        assert money.held <= SpendBook(path).look().total() <= micro(1.0)


async def test_many_at_once_take_from_one_book(tmp_path: Path) -> None:
    """Threads change no figures: ten fit, the eleventh waits for them."""
    full = asyncio.Event()
    money = wallet(tmp_path / "book", waiting=lambda _: full.set())
    places = [money.reserve(job(f"j{n}")) for n in range(11)]
    waiting = [asyncio.ensure_future(place.__aenter__()) for place in places]
    await asyncio.wait_for(full.wait(), 10)
    while sum(each.done() for each in waiting) < 10:
        await asyncio.wait([each for each in waiting if not each.done()], return_when=asyncio.FIRST_COMPLETED)
    assert money.held == micro(1.0)
    [left] = [each for each in waiting if not each.done()]
    left.cancel()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
async def test_what_is_no_file_in_the_books_place_is_named(make: Callable[[Path], None], tmp_path: Path) -> None:
    """A FIFO hangs nothing."""
    make(tmp_path / "book")
    with pytest.raises(OutputError, match="spend book"):
        await wallet(tmp_path / "book").settle_earlier_runs(lambda _: MOST)
    with pytest.raises(OutputError, match="spend book"):
        wallet(tmp_path / "book").caps()


async def test_a_run_stops_while_it_waits_for_the_book(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first signal is heard while the start waits; nothing was sent, and no more is waited for."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    await bench.run(1, budget={"per_day": 50})
    (path,) = (tmp_path / "state").rglob("spend/*.jsonl")
    control, hears = RunControl(), Hears()
    with held(path):
        manifest = bench.manifest(4, budget={"per_day": 50})
        running = asyncio.ensure_future(
            batch.run(manifest, output=bench.output, environment=KEY, control=control, listener=hears)
        )
        assert "is locked by another process" in await hears.said.get()
        control.drain()
        summary = await asyncio.wait_for(running, 10)
    assert (summary.reason, summary.done, bench.book.requests) == ("interrupted", 1, 1)
