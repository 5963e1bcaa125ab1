"""Caps on money: whatever is in flight, fails or is killed, what may be spent stays within every cap."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.core.errors import EndpointDown, LedgerError, OutputError, StorageError
from batch.core.settings import Budget
from batch.money.book import Share
from batch.money.spend_book import SpendBook
from batch.money.wallet import Cap, Wallet, micro
from batch.runner.accounts import one_spelling
from batch.store.ledger import encode_line
from tests.support.fakes import job

MOST = 0.1
T = TypeVar("T")


class Day:
    """A clock that stands, and can be put on by a day."""

    def __init__(self, hour: int = 12) -> None:
        self.day = datetime(2026, 1, 30, hour, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    def now(self) -> datetime:
        return self.day

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


async def at_once(function: Callable[[], T], /) -> T:
    """In the place of a thread."""
    return function()


def wallet(budget: Budget, *books: SpendBook, run: str = "run-1", **more: Any) -> Wallet:
    options: dict[str, Any] = {"max_usd": lambda _: MOST, "clock": Day(), "run_id": run, "output": "/o"}
    options.update({"in_thread": at_once, **more})
    return Wallet(budget, books=books, **options)


@dataclass
class Run:
    """One run with its wallet, its ledger's lines, and the attempts that are on their way."""

    wallet: Wallet
    run_id: str
    output: Path
    clock: Day
    places: dict[str, AbstractAsyncContextManager[None]] = field(default_factory=dict)
    waiting: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    attempts: int = 0

    def line(self, kind: str, job_id: str, **fields: Any) -> None:
        at = f"{self.clock.now():%Y-%m-%d}T"
        record = {"t": kind, "run": self.run_id, "at": at, "job": job_id, "att": 1, **fields}
        with open(self.output / "ledger.jsonl", "ab") as file:
            file.write(encode_line(record))


class World:
    """Two output folders with one key, and a provider that knows what it really charged. The first folder's runs may
    have a second key."""

    def __init__(self, budget: Budget, folder: Path, *, second_key: bool = False) -> None:
        self.budget, self.folder, self.clock, self.second_key = budget, folder, Day(), second_key
        self.numbers: Iterator[int] = iter(range(10**6))
        #: What the provider charged or may have charged for every request that went out: by its name, day and run.
        self.charged: dict[str, tuple[int, str, str]] = {}
        self.runs: list[Run] = []

    @classmethod
    async def begun(cls, budget: Budget, folder: Path, *, second_key: bool = False) -> World:
        """With one run in each folder."""
        world = cls(budget, folder, second_key=second_key)
        world.runs = [await world.start(name) for name in ("a", "b")]
        return world

    async def start(self, name: str) -> Run:
        output = self.folder / name
        output.mkdir(exist_ok=True)
        run_id = f"{name}-{next(self.numbers)}"
        Run(wallet(self.budget), run_id, output, self.clock).line("run", "")
        names = ["book", "another"] if self.second_key and name == "a" else ["book"]
        books = [SpendBook(self.folder / f"{each}.jsonl") for each in names]
        made = wallet(self.budget, *books, run=run_id, clock=self.clock, output=str(output), tag="spring")
        for line in (output / "ledger.jsonl").read_text().splitlines():  # what was in flight is unknown now
            record = json.loads(line)
            if record["t"] == "try" and f'"unk","run":"{run_id}' not in line:
                self.settle_unknown(output, run_id, record)
        await made.settle_earlier_runs(lambda _: MOST)
        return Run(made, run_id, output, self.clock)

    def settle_unknown(self, output: Path, run_id: str, tried: dict[str, Any]) -> None:
        ledger = output / "ledger.jsonl"
        ended = {json.loads(line).get("job") for line in ledger.read_text().splitlines() if '"t":"try"' not in line}
        if tried["job"] not in ended:
            with open(ledger, "ab") as file:
                file.write(encode_line({**tried, "t": "unk", "run": run_id, "usd": MOST}))

    async def step(self, what: str, number: int, cost: int) -> None:
        run = self.runs[number]
        await getattr(self, what)(run, number, cost)
        for _ in range(30):
            await asyncio.sleep(0)
        for job_id, task in list(run.waiting.items()):
            if task.done():
                del run.waiting[job_id]
                if task.exception() is not None:
                    assert isinstance(task.exception(), EndpointDown)
                    del run.places[job_id]
                else:
                    self.send(run, job_id)

    async def ask(self, run: Run, number: int, cost: int) -> None:
        job_id = f"{run.run_id}-{run.attempts}"
        run.attempts += 1
        run.places[job_id] = place = run.wallet.reserve(job(job_id))
        run.waiting[job_id] = asyncio.ensure_future(place.__aenter__())

    def send(self, run: Run, job_id: str) -> None:
        """The intent is durable, and the request goes out: from now on it may be charged in full."""
        run.wallet.sending(job(job_id))
        run.line("try", job_id)
        self.charged[job_id] = micro(MOST), f"{self.clock.now():%Y-%m-%d}", run.run_id

    async def end(self, run: Run, number: int, cost: int) -> None:
        """The oldest request in flight is answered, and recorded."""
        for job_id in [each for each in run.places if each not in run.waiting][:1]:
            _, day, run_id = self.charged[job_id]
            self.charged[job_id] = cost, day, run_id
            run.line("done", job_id, usd=cost / 1e6)
            run.wallet.settle(job(job_id), cost / 1e6)
            await run.places.pop(job_id).__aexit__(None, None, None)

    async def lose(self, run: Run, number: int, cost: int) -> None:
        """Somebody is let go while he waits."""
        for job_id in list(run.waiting)[:1]:
            run.waiting.pop(job_id).cancel()
            del run.places[job_id]

    async def kill(self, run: Run, number: int, cost: int) -> None:
        """Nothing is told to anybody; the next run begins with what is on the disk."""
        for task in run.waiting.values():
            task.cancel()
        run.waiting = {}
        self.runs[number] = await self.start(run.output.name)

    async def kill_and_remove(self, run: Run, number: int, cost: int) -> None:
        """A killed run's folder is removed as well."""
        (run.output / "ledger.jsonl").unlink()
        await self.kill(run, number, cost)

    async def close(self, run: Run, number: int, cost: int) -> None:
        """The run ends by itself, with all it has sent answered."""
        for task in run.waiting.values():
            task.cancel()
        run.places = {each: place for each, place in run.places.items() if each not in run.waiting}
        run.waiting = {}
        while run.places:
            await self.end(run, number, cost)
        await run.wallet.close()
        self.runs[number] = await self.start(run.output.name)

    async def next_day(self, run: Run, number: int, cost: int) -> None:
        self.clock.day += timedelta(days=1)

    def check(self) -> None:
        """What was charged, with everything in flight at its most, passes no cap; nor does the book."""
        day = f"{self.clock.now():%Y-%m-%d}"
        budget = self.budget
        limits = {
            "per day": (budget.per_day, day),
            "per month": (budget.per_month, day[:7]),
            "of the tag spring": (budget.tags.get("spring"), ""),
        }
        known = {cap.name: cap for cap in self.runs[0].wallet.caps()}
        for name, (limit, days) in limits.items():
            total = sum(usd for usd, sent, _ in self.charged.values() if sent.startswith(days))
            if limit is not None:
                assert total <= min(micro(limit), known[name].taken), (name, total)
        for run in self.runs:
            total = sum(usd for usd, _, run_id in self.charged.values() if run_id == run.run_id)
            assert budget.per_run is None or total <= micro(budget.per_run)
            for cap in run.wallet.caps():
                assert cap.spent >= 0
                assert cap.spent + cap.held <= max(cap.limit, cap.taken) <= cap.limit, cap


STEPS = st.tuples(
    st.sampled_from(["ask"] * 6 + ["end"] * 4 + ["lose", "kill", "kill_and_remove", "close", "next_day"]),
    st.integers(0, 1),
    st.integers(0, micro(MOST)),
)
CAPS = st.none() | st.integers(0, 1_500_000).map(lambda amount: amount / 1e6)

TAGS = CAPS.map(lambda usd: {} if usd is None else {"spring": usd})


@settings(max_examples=150, deadline=None)
@given(
    st.builds(Budget, per_run=CAPS, per_day=CAPS, per_month=CAPS, tags=TAGS),
    st.lists(STEPS, max_size=60),
    st.booleans(),
)
def test_no_interleaving_passes_a_cap(budget: Budget, steps: list[tuple[str, int, int]], second_key: bool) -> None:
    """Two runs with one key; requests asked for, sent, answered, given up; runs that end, are killed, meet midnight."""

    async def play() -> None:
        with tempfile.TemporaryDirectory() as folder:
            world = await World.begun(budget, Path(folder), second_key=second_key)
            for step in steps:
                await world.step(*step)
                world.check()
            for run in world.runs:
                for task in run.waiting.values():
                    task.cancel()

    asyncio.run(play())


async def test_a_job_waits_for_what_is_in_flight_and_goes_when_there_is_room() -> None:
    """A cap for one request at a time: the second goes when the first turned out to cost nothing."""
    said: list[str] = []
    money = wallet(Budget(per_run=0.15), waiting=said.append)
    first, second = money.reserve(job("a")), money.reserve(job("b"))
    await first.__aenter__()
    money.sending(job("a"))
    waiting = asyncio.ensure_future(second.__aenter__())
    await asyncio.sleep(0)
    assert not waiting.done()
    assert said == ["waiting for money: the budget per run is set aside for what is in flight"]
    money.settle(job("a"), 0.0)
    await first.__aexit__(None, None, None)
    await waiting
    assert (money.spent, money.held) == (0, 100_000)


async def test_without_room_it_says_what_is_spent_reserved_and_left() -> None:
    """And nothing is left standing of the attempt to get in."""
    money = wallet(Budget(per_run=0.25))
    for name in ("a", "b"):
        async with money.reserve(job(name)):
            money.sending(job(name))
            money.settle(job(name), 0.1)
    with pytest.raises(EndpointDown) as stopped:
        async with money.reserve(job("c")):
            raise AssertionError
    assert str(stopped.value) == (
        "the budget per run of $0.25 has no room for the next request, which may cost $0.10: $0.20 spent, $0.00 "
        "reserved, $0.05 left"
    )
    assert (stopped.value.code, stopped.value.exit_code, stopped.value.not_before) == ("budget", 75, None)


@pytest.mark.parametrize(
    ("budget", "until"),
    [
        (Budget(per_day=0.05), "2026-01-31T00:00:00Z"),
        (Budget(per_month=0.05), "2026-02-01T00:00:00Z"),
        (Budget(tags={"spring": 0.05}), None),
    ],
)
async def test_a_cap_that_time_lifts_says_when(budget: Budget, until: str | None, tmp_path: Path) -> None:
    """A day and a month end; a tag's money does not come back."""
    money = wallet(budget, SpendBook(tmp_path / "book"), tag="spring")
    with pytest.raises(EndpointDown) as stopped:
        await money.reserve(job("a")).__aenter__()
    assert stopped.value.not_before == until


async def test_what_a_killed_run_had_taken_counts_until_its_ledger_is_read(tmp_path: Path) -> None:
    """For a run in another folder all of it is spent; the next run in the same folder knows better."""
    world = await World.begun(Budget(per_day=1.0), tmp_path)
    killed = world.runs[0]
    async with killed.wallet.reserve(job("x")):
        world.send(killed, "x")
        taken = killed.wallet.caps()[0].taken
        assert taken > micro(MOST)
    other = wallet(world.budget, SpendBook(tmp_path / "book.jsonl"), run="other", clock=world.clock, output="/else")
    assert [(cap.spent, cap.held) for cap in other.caps()] == [(taken, 0)]
    await world.start("a")
    assert [(cap.spent, cap.held) for cap in other.caps()] == [(micro(MOST), 0)]


async def test_money_whose_ledger_is_gone_stays_spent_until_it_is_back(tmp_path: Path) -> None:
    """All that was set aside for the killed run counts; its own ledger, brought back, corrects it."""
    world = await World.begun(Budget(per_day=1.0), tmp_path)
    killed = world.runs[0]
    await killed.wallet.reserve(job("x")).__aenter__()
    world.send(killed, "x")
    taken = killed.wallet.caps()[0].taken
    (tmp_path / "a" / "ledger.jsonl").rename(tmp_path / "away")
    again = wallet(world.budget, SpendBook(tmp_path / "book.jsonl"), run="again", output=str(tmp_path / "a"))
    said = await again.settle_earlier_runs(lambda _: MOST)
    assert f"${taken / 1e6:.3f}".rstrip("0") in said
    assert "its ledger is gone" in said
    assert again.caps()[0].spent == taken
    lines = (tmp_path / "away").read_text().splitlines(keepends=True)
    (tmp_path / "a" / "ledger.jsonl").write_text("".join(line for line in lines if '"t":"run"' not in line))
    assert "its ledger is gone" in await again.settle_earlier_runs(lambda _: MOST)
    (tmp_path / "away").rename(tmp_path / "a" / "ledger.jsonl")
    assert await again.settle_earlier_runs(lambda _: MOST) == ""
    assert again.caps()[0].spent == micro(MOST)


@pytest.mark.parametrize("is_out", [False, True])
async def test_money_of_a_request_that_may_be_out_is_not_given_back(is_out: bool) -> None:
    """A job that is let go before its request gives the money back; after it nothing does but the ledger's word."""
    money = wallet(Budget(per_run=1.0))

    async def let_go() -> None:
        async with money.reserve(job("a")):
            if is_out:
                money.sending(job("a"))
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await let_go()
    assert money.held == (micro(MOST) if is_out else 0)


async def test_a_cap_may_be_used_to_its_last_part() -> None:
    """Ten requests of $0.10 fit into one dollar, and an eleventh does not."""
    money = wallet(Budget(per_run=1.0))
    for number in range(10):
        async with money.reserve(job(f"job-{number}")):
            money.sending(job(f"job-{number}"))
            money.settle(job(f"job-{number}"), MOST)
    assert [(cap.name, cap.spent, cap.left) for cap in money.caps()] == [("per run", micro(1.0), 0)]
    with pytest.raises(EndpointDown):
        await money.reserve(job("more")).__aenter__()


@pytest.mark.parametrize(
    ("budget", "day", "tag", "counts"),
    [
        (Budget(per_day=1.0), "2026-01-30", "", True),
        (Budget(per_day=1.0), "2026-01-29", "", False),
        (Budget(per_month=1.0), "2026-01-01", "", True),
        (Budget(per_month=1.0), "2025-12-31", "", False),
        (Budget(tags={"spring": 1.0}), "2025-12-31", "spring", True),
        (Budget(tags={"spring": 1.0}), "2026-01-30", "autumn", False),
    ],
)
async def test_what_counts_against_a_cap(budget: Budget, day: str, tag: str, counts: bool, tmp_path: Path) -> None:
    """Of other runs: their money of the day, of the month, or under the tag at any time."""
    book = SpendBook(tmp_path / "book")
    with book.locked() as (_, writer):
        writer.put(Share(run="r", day=day, tag=tag, output="/x", micro_usd=950_000, is_open=False))
    money = wallet(budget, book, tag="spring")
    assert [cap.spent for cap in money.caps()] == [950_000 if counts else 0]
    if counts:
        with pytest.raises(EndpointDown):
            await money.reserve(job("a")).__aenter__()
    else:
        await money.reserve(job("a")).__aenter__()


async def test_midnight_leaves_in_the_book_what_was_used_that_day(tmp_path: Path) -> None:
    """What was taken ahead goes back; what was spent and what is in flight stays, open until it has an end."""
    book, clock = SpendBook(tmp_path / "book"), Day()
    money = wallet(Budget(per_day=100.0), book, clock=clock)
    for name, cost in (("spent", 0.07), ("in flight", None)):
        await money.reserve(job(name)).__aenter__()
        money.sending(job(name))
        if cost is not None:
            money.settle(job(name), cost)
    clock.day += timedelta(days=1)
    await money.reserve(job("next")).__aenter__()
    money.sending(job("next"))
    assert [(share.micro_usd, share.is_open) for share in book.look()] == [(170_000, True), (3_200_000, True)]
    money.settle(job("in flight"), 0.05)
    await money.close()
    assert [(share.micro_usd, share.is_open) for share in book.look()] == [(120_000, False), (100_000, True)]
    money.settle(job("next"), 0.02)
    await money.close()
    assert [(share.micro_usd, share.is_open) for share in book.look()] == [(120_000, False), (20_000, False)]


@pytest.mark.parametrize(
    ("cap_usd", "taken_usd"),
    [(100.0, 3.2), (12.5, 3.2), (12.1, 3.1), (4.1, 1.1), (0.5, 0.2), (0.1, 0.1)],
)
async def test_a_run_takes_at_most_a_quarter_ahead(cap_usd: float, taken_usd: float, tmp_path: Path) -> None:
    """The first request at $0.10, and ahead of time 31 more or a quarter of what is left; other runs find the rest."""
    book = SpendBook(tmp_path / "book")
    await wallet(Budget(per_day=cap_usd), book).reserve(job("a")).__aenter__()
    assert book.look().total() == micro(taken_usd)


async def killed_run(world: World, *, sent: str | None = None) -> Run:
    """A run of the first folder with one request out; by the ledger it was sent on `sent`."""
    killed = world.runs[0]
    await killed.wallet.reserve(job("x")).__aenter__()
    killed.wallet.sending(job("x"))
    day = {} if sent is None else {"at": f"{sent}T00:00:01.000Z"}
    killed.line("try", "x", **day)
    return killed


def next_run(world: World, *books: str, run: str = "next", folder: str = "a") -> Wallet:
    names = books or ("book",)
    opened = [SpendBook(world.folder / f"{name}.jsonl") for name in names]
    return wallet(world.budget, *opened, run=run, clock=world.clock, output=str(world.folder / folder))


async def test_a_killed_runs_share_stays_open_until_its_attempts_have_an_end(tmp_path: Path) -> None:
    """While an answer waits for its picture it counts for its most; the run after that corrects it once more."""
    world = await World.begun(Budget(per_day=1.0), tmp_path)
    killed, book = await killed_run(world), SpendBook(tmp_path / "book.jsonl")
    await next_run(world).settle_earlier_runs(lambda tried: {"x": MOST}[tried.job])
    [share] = [each for each in book.look() if each.run == killed.run_id]
    assert (share.micro_usd, share.is_open) == (micro(MOST), True)
    killed.line("done", "x", usd=0.03)
    await next_run(world, run="the one after").settle_earlier_runs(lambda _: MOST)
    [share] = [each for each in book.look() if each.run == killed.run_id]
    assert (share.micro_usd, share.is_open) == (30_000, False)


async def test_a_request_that_left_after_midnight_counts_on_its_day(tmp_path: Path) -> None:
    """Its money was taken the day before; the ledger says when it was sent."""
    world = await World.begun(Budget(per_month=1.0), tmp_path)
    killed = await killed_run(world, sent="2026-01-31")
    killed.line("done", "x", usd=0.03)
    await next_run(world).settle_earlier_runs(lambda _: MOST)
    shares = {share.day: share.micro_usd for share in SpendBook(tmp_path / "book.jsonl").look()}
    assert shares == {"2026-01-30": 0, "2026-01-31": 30_000}


async def test_a_killed_run_with_several_keys_is_settled_in_every_book(tmp_path: Path) -> None:
    """All of them have all it spent, and the same sum."""
    world = await World.begun(Budget(per_day=1.0), tmp_path, second_key=True)
    killed = await killed_run(world)
    totals = [SpendBook(tmp_path / f"{name}.jsonl").look().total() for name in ("another", "book")]
    assert totals[0] == totals[1] > micro(MOST)
    killed.line("done", "x", usd=0.03)
    assert await next_run(world, "another", "book").settle_earlier_runs(lambda _: MOST) == ""
    assert [SpendBook(tmp_path / f"{name}.jsonl").look().total() for name in ("another", "book")] == [30_000] * 2


@pytest.mark.parametrize("in_which", ["another", "book"])
async def test_money_without_a_ledger_is_named_whichever_book_has_it(in_which: str, tmp_path: Path) -> None:
    """Of several books the largest sum is told."""
    world = await World.begun(Budget(per_day=1.0), tmp_path)
    share = Share(run="k", day="2026-01-30", tag="", output=str(tmp_path / "gone"), micro_usd=70_000, is_open=True)
    with SpendBook(tmp_path / f"{in_which}.jsonl").locked() as (_, writer):
        writer.put(share)
    said = await next_run(world, "another", "book", folder="gone").settle_earlier_runs(lambda _: MOST)
    assert "the $0.07 set aside for it count as spent" in said


@pytest.mark.parametrize("full", ["another", "book"])
async def test_a_cap_holds_whichever_key_the_money_went_through(full: str, tmp_path: Path) -> None:
    """With several keys the book that is nearest to the cap decides, and is the one that is shown."""
    spent = Share(run="r", day="2026-01-30", tag="", output="/x", micro_usd=950_000, is_open=False)
    with SpendBook(tmp_path / full).locked() as (_, writer):
        writer.put(spent)
    money = wallet(Budget(per_day=1.0), *(SpendBook(tmp_path / name) for name in ("another", "book")))
    assert [cap.spent for cap in money.caps()] == [950_000]
    with pytest.raises(EndpointDown, match=r"0\.95 spent"):
        await money.reserve(job("a")).__aenter__()


async def test_attempts_of_earlier_runs_cost_this_run_nothing() -> None:
    """An answer they left is settled here, but their money is in their own share."""
    money = wallet(Budget(per_run=0.15))
    money.sending(job("left over"))
    money.settle(job("left over"), 0.1)
    assert (money.spent, money.held) == (0, 0)
    await money.reserve(job("a")).__aenter__()


async def test_a_cap_shows_what_is_spent_reserved_and_taken(tmp_path: Path) -> None:
    """For the run's own cap and for one that other runs share."""
    money = wallet(Budget(per_run=1.0, per_day=1.0), SpendBook(tmp_path / "book"))
    for name in ("spent", "in flight"):
        await money.reserve(job(name)).__aenter__()
        money.sending(job(name))
    money.settle(job("spent"), 0.07)
    caps = {cap.name: cap for cap in money.caps()}
    assert {name: (cap.spent, cap.held) for name, cap in caps.items()} == dict.fromkeys(caps, (70_000, 100_000))
    assert caps["per run"].taken == 170_000
    assert caps["per day"].taken == SpendBook(tmp_path / "book").look().total()


@pytest.mark.parametrize(
    ("spent", "words"),
    [(0, "the budget per day of $20.00"), (12_310_000, "the budget per day of $20.00 ($12.31 spent)")],
)
def test_a_cap_in_words(spent: int, words: str) -> None:
    """What is spent is left out where it is nothing."""
    assert Cap(name="per day", limit=20_000_000, spent=spent, held=0, taken=0).words() == words


async def test_a_day_is_that_of_utc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines in other time zones count on the same day."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        book = SpendBook(tmp_path / "book")
        await wallet(Budget(per_day=1.0), book, clock=Day(hour=20)).reserve(job("a")).__aenter__()
        assert [share.day for share in book.look()] == ["2026-01-30"]
    finally:
        monkeypatch.undo()
        time.tzset()


async def test_a_share_is_enlarged_for_the_last_millionth(tmp_path: Path) -> None:
    """What is set aside never passes what the book has for the run, by however little."""
    book = SpendBook(tmp_path / "book")
    money = wallet(Budget(per_day=0.199999), book)
    async with money.reserve(job("a")):
        money.sending(job("a"))
        money.settle(job("a"), 0.025)
    assert book.look().total() == 124_999
    async with money.reserve(job("b")):
        assert money.spent + money.held == 125_000 <= book.look().total()


async def test_a_changed_sum_in_the_ledger_is_damage_and_corrects_nothing(tmp_path: Path) -> None:
    """Only lines whose checksum is right say what was spent."""
    world = await World.begun(Budget(per_day=1.0), tmp_path)
    killed = world.runs[0]
    await killed.wallet.reserve(job("x")).__aenter__()
    world.send(killed, "x")
    killed.line("done", "x", usd=0.09)
    killed.line("end", "")
    taken = killed.wallet.caps()[0].taken
    ledger = tmp_path / "a" / "ledger.jsonl"
    ledger.write_text(ledger.read_text().replace('"usd":0.09', '"usd":0.00'))
    again = wallet(world.budget, SpendBook(tmp_path / "book.jsonl"), run="again", output=str(tmp_path / "a"))
    with pytest.raises(LedgerError):
        await again.settle_earlier_runs(lambda _: MOST)
    assert again.caps()[0].spent == taken


@pytest.mark.parametrize(
    "spelling",
    ["HTTP://host", "http://HOST/", "http://host:80", "http://host.", "http://host.:80//", "Http://Host"],
)
def test_an_account_has_one_book_however_its_address_is_spelt(spelling: str) -> None:
    """Case, the scheme's own port and an end in a slash or dot change nothing; another port or path is another."""
    assert one_spelling(spelling) == one_spelling("http://host")
    assert len({one_spelling(f"http://host{more}") for more in ("", ":81", "/v2", ":443")}) == 4


def test_a_book_under_an_earlier_name_still_counts(tmp_path: Path) -> None:
    """What was spent before the address got one spelling is in both views, and once only."""
    spent = Share(run="r", day="2026-01-30", tag="", output="/x", micro_usd=700_000, is_open=False)
    with SpendBook(tmp_path / "former").locked() as (_, writer):
        writer.put(spent)
    book = SpendBook(tmp_path / "book", tmp_path / "former")
    assert book.look().total() == 700_000
    with book.locked() as (shares, _):
        assert shares.total() == 700_000
    assert SpendBook(tmp_path / "book").look().total() == 700_000
    assert book.look().total() == 700_000


async def test_half_a_line_is_passed_over_and_damage_is_not(tmp_path: Path) -> None:
    """A crash leaves half a line at the end, which nobody relied on; anything else is for a person to see."""
    path = tmp_path / "book"
    await wallet(Budget(per_day=1.0), SpendBook(path)).settle_earlier_runs(lambda _: 0.0)
    whole = '{"run":"r","day":"2026-01-30","tag":"","output":"/x","micro_usd":300000,"is_open":false}\n'
    path.write_text(whole + '{"run":"s","d')
    with SpendBook(path).locked() as (shares, _):
        assert shares.total(days="2026-01") == 300_000
    assert path.read_text() == whole
    path.write_text("nonsense\n" + whole)
    with pytest.raises(OutputError, match="is damaged"):
        SpendBook(path).look()


def test_money_in_a_last_line_that_lost_its_newline_counts(tmp_path: Path) -> None:
    """An editor may take it; the newline comes back before anything follows it."""
    path = tmp_path / "book"
    share = Share(run="r", day="2026-01-30", tag="", output="/x", micro_usd=300_000, is_open=True)
    with SpendBook(path).locked() as (_, writer):
        writer.put(share)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    book = SpendBook(path)
    assert book.look().total() == 300_000
    for run in ("s", "t"):
        with book.locked() as (shares, writer):
            assert shares.total() >= 300_000
            writer.put(replace(share, run=run))
    assert path.read_bytes().startswith(whole)
    assert SpendBook(path).look().total() == 900_000


async def test_a_book_that_cannot_be_written_stops_before_anything_is_sent(tmp_path: Path) -> None:
    """At the start it is the folder's fault; later it is like a full disk. Without shared caps all is well."""
    (tmp_path / "file").write_text("")
    book = SpendBook(tmp_path / "file" / "book")
    with pytest.raises(OutputError, match="Make it writable, or set XDG_STATE_HOME"):
        await wallet(Budget(per_day=1.0), book).settle_earlier_runs(lambda _: 0.0)
    with pytest.raises(StorageError, match="spend book"):
        await wallet(Budget(per_day=1.0), book).reserve(job("a")).__aenter__()
    await wallet(Budget(per_run=1.0)).reserve(job("a")).__aenter__()
