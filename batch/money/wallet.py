"""Caps on money, kept by setting the worst case aside before a request goes out.

`Wallet.reserve` is the gate every attempt passes: the most it can cost is set aside first, for this run in memory and
for the caps that runs share in the spend book, durably. When the attempt is recorded, what it really cost takes the
place of what was set aside. So at every instant spent + set aside stays within each cap, whatever fails or is killed.

Nothing here waits on the event loop for another process or for the disk: the books are opened and synced in threads,
and one that another process holds is asked for again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol, TypeAlias, TypeVar

from batch.core.clock import Clock
from batch.core.errors import EndpointDown, ExitCode, MoneyWithdrawn, OutputError, StorageError
from batch.core.model import Job
from batch.core.settings import Budget
from batch.money.book import Book, BookHeld, BookWriter, Share, Shares
from batch.money.spend_book import Spent, spent_by_run_and_day
from batch.store.records import TryRecord

#: The spend books of a run, locked: what stands in each, and how to write in it.
_OpenBooks: TypeAlias = list[tuple[Shares, BookWriter]]

log = logging.getLogger(__name__)

#: Requests whose money is taken from the spend book at once, as long as that is a small part of what is left.
_REQUESTS_AT_ONCE: Final = 32
_PART_AT_ONCE: Final = 4
#: A book is held for one sync, which even a busy disk does in seconds. Who holds it longer stands still.
_HELD_SECONDS: Final = 60.0
#: At the end of a run: what was taken and not spent can also be given back by the next one.
_HELD_AT_THE_END_SECONDS: Final = 5.0
#: What the cap of this run alone is called.
_PER_RUN: Final = "per run"
#: Pauses between two tries: doubled from the first to the longest.
_FIRST_PAUSE_SECONDS: Final = 0.01
_LONGEST_PAUSE_SECONDS: Final = 0.5

T = TypeVar("T")


@dataclass(slots=True)
class _Hold:
    """Money reserved for an attempt, in millionths of a dollar. `is_out`: its request may be out."""

    micro_usd: int
    day: str
    is_out: bool = False


class Purchase(Protocol):
    """What money is set aside for: a job's attempt, or a question about a picture."""

    @property
    def id(self) -> str:
        """No two that are on at the same time have the same."""
        ...


class InThread(Protocol):
    """Runs a function that may stand still away from the event loop; `asyncio.to_thread` is one."""

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]: ...


def micro(usd: float) -> int:
    """Dollars as whole millionths: sums of these have no dust."""
    return round(usd * 1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """One cap and where it stands: `spent`, and `held` for what this run has in flight. `taken` is what the runs that
    share it have taken in advance, spent or not."""

    name: str
    limit: int
    spent: int
    held: int
    taken: int
    not_before: str | None = None

    @property
    def left(self) -> int:
        return self.limit - self.spent - self.held

    @property
    def free(self) -> int:
        """What is not taken yet."""
        return self.limit - self.taken

    def words(self) -> str:
        """`the budget per day of $20.00 (12.31 spent)`."""
        return f"the budget {self.name} of {_usd(self.limit)}" + (f" ({_usd(self.spent)} spent)" if self.spent else "")

    def refusal(self, needed: int) -> EndpointDown:
        """Why the next request cannot be sent."""
        words = (
            f"the budget {self.name} of {_usd(self.limit)} has no room for the next request, which may cost "
            f"{_usd(needed)}: {_usd(self.spent)} spent, {_usd(self.held)} reserved, {_usd(max(0, self.left))} left"
        )
        return EndpointDown("budget", words, exit_code=ExitCode.TEMPORARY, not_before=self.not_before)


def _usd(micro_usd: int) -> str:
    """Dollars with as many places as there is something in them."""
    whole = f"{micro_usd / 1_000_000:,.6f}".rstrip("0")
    places = len(whole.partition(".")[2])
    return f"${whole}{'0' * max(0, 2 - places)}"


class Wallet:
    """The money of one run.

    `max_usd(job)`: what one attempt can cost. `books`, one per key, is empty if no cap is shared with other runs and
    the run has no tag; a run with several keys stands in all of them with all that it spends, so that a cap holds
    whichever key the money went through. `waiting` is told in words, when a request has to wait for money that is set
    aside for others, and `say` when another process holds a book. `in_thread` runs what may stand still. With
    `waits_at_cap` a request that the run's own cap has no room for waits for a higher one (`set_cap`).
    """

    def __init__(
        self,
        budget: Budget,
        *,
        max_usd: Callable[[Job], float],
        clock: Clock,
        run_id: str = "",
        output: str = "",
        tag: str = "",
        books: Sequence[Book] = (),
        waiting: Callable[[str], None] = lambda _: None,
        say: Callable[[str], None] = lambda _: None,
        in_thread: InThread = asyncio.to_thread,
        waits_at_cap: bool = False,
    ) -> None:
        self._budget = budget
        self._max_usd = max_usd
        self._clock = clock
        self._run = run_id
        self._output = output
        self._tag = tag
        self._books = sorted(books, key=lambda book: book.name)  # in one order, or two runs wait for each other
        self._waiting = waiting
        self._say = say
        self._in_thread = in_thread
        self._waits_at_cap = waits_at_cap
        #: One of our own at the books at a time.
        self._taking = asyncio.Lock()
        #: Tries at the books that are on; they end by themselves even if who asked for them is let go.
        self._tries: set[asyncio.Future[None]] = set()
        self._abandoned: list[ExitStack] = []
        self._said = ""
        #: By the job's id.
        self._holds: dict[str, _Hold] = {}
        self._spent: dict[str, int] = defaultdict(int)
        self._held: dict[str, int] = defaultdict(int)
        #: By day, what the spend book has for this run.
        self._share: dict[str, int] = defaultdict(int)
        self._freed = asyncio.Event()
        self._times_freed = 0
        self._passed = 0
        #: Whether what is set aside may be more than the run's cap.
        self._was_lowered = False

    @property
    def spent(self) -> int:
        """What this run's requests have cost, or may have cost."""
        return sum(self._spent.values())

    @property
    def held(self) -> int:
        """What is set aside for requests that have no end yet."""
        return sum(self._held.values())

    def reserve(self, job: Job) -> AbstractAsyncContextManager[None]:
        """Set the worst case aside for one attempt; waits while what is in flight may make room.

        Raises `EndpointDown` if there is no room, or if another process holds a book and does not go on. Leaving gives
        back what was not sent.
        """
        return self._reserved(job, micro(self._max_usd(job)), waits_at_cap=self._waits_at_cap)

    def reserve_beside(self, purchase: Purchase, usd: float) -> AbstractAsyncContextManager[None]:
        """The same for what is bought beside the pictures and costs `usd` at most. It waits for no higher cap."""
        return self._reserved(purchase, micro(usd), waits_at_cap=False)

    @asynccontextmanager
    async def _reserved(self, job: Purchase, needed: int, *, waits_at_cap: bool) -> AsyncIterator[None]:
        times_freed = self._times_freed
        while (cap := await self._set_aside(job, needed)) is not None:
            if times_freed == self._times_freed:  # else there may be room since the books were asked
                if self._passed:
                    self._waiting(f"waiting for money: the budget {cap.name} is set aside for what is in flight")
                elif waits_at_cap and cap.name == _PER_RUN:
                    self._waiting(f"waiting for a higher cap: {cap.refusal(needed)}")
                else:
                    raise cap.refusal(needed)
                self._freed.clear()
                await self._freed.wait()
            times_freed = self._times_freed
        self._passed += 1
        try:
            yield
        finally:
            self._passed -= 1
            hold = self._holds.get(job.id)
            if hold is not None and not hold.is_out:
                self._give_back(job.id)
            self._look_again()

    def sending(self, job: Purchase) -> None:
        """From now on the request may be out: what is set aside for it stays so until `settle`.

        Raises `MoneyWithdrawn` if it must not go: the cap was lowered since, and has no room for it any more.
        """
        hold = self._holds.get(job.id)
        if hold is None or hold.is_out:
            return
        if self._was_lowered and self._run_has_no_room(self._held_out + hold.micro_usd):
            raise MoneyWithdrawn("the cap was lowered before the request went out")
        hold.is_out = True

    def set_cap(self, usd: float | None) -> None:
        """From now on this run may spend so much (US dollars, None: no cap of its own); caps shared with others stay.

        A higher cap lets requests go on that wait for money. Below what is spent, the next request is refused, which
        ends the run; what is in flight is paid for.
        """
        before, self._budget = self._budget.per_run, replace(self._budget, per_run=usd)
        if usd != before:
            self._was_lowered |= usd is not None and (before is None or usd < before)
            self._say(f"this run may spend {'any amount' if usd is None else _usd(micro(usd))} from now on")
            self._look_again()

    def _look_again(self) -> None:
        """There may be room now."""
        self._times_freed += 1
        self._freed.set()

    @property
    def _held_out(self) -> int:
        return sum(hold.micro_usd for hold in self._holds.values() if hold.is_out)

    def _run_has_no_room(self, more: int) -> bool:
        limit = self._budget.per_run
        return limit is not None and self.spent + more > micro(limit)

    def settle(self, job: Purchase, usd: float) -> None:
        """The ledger has the attempt's end: it cost `usd`, or may have. Attempts of other runs are ignored."""
        hold = self._holds.get(job.id)
        if hold is not None:
            self._spent[hold.day] += micro(usd)
            self._give_back(job.id)

    async def settle_earlier_runs(
        self, open_usd: Callable[[TryRecord], float], is_stopping: Callable[[], bool] = lambda: False
    ) -> str:
        """What killed runs in this folder left open becomes what the ledger says they spent.

        Returns a sentence about those the ledger does not know, or nothing. `open_usd(try_record)`: what an attempt
        counts for that has no end yet. To be called while the folder is locked, before anything is sent. Raises
        `EndpointDown` if another process holds a book; a run that `is_stopping` leaves it to the next one.
        """
        unknown = 0
        try:
            for book in self._books:
                unknown = max(unknown, await self._settle_book(book, open_usd, is_stopping))
        except BookHeld as held:
            if is_stopping():
                return ""
            raise _stays_held(held) from None
        if not unknown:
            return ""
        return (
            "an earlier run in this folder was killed and its ledger is gone: "
            f"the {_usd(unknown)} set aside for it count as spent until that ledger is back"
        )

    async def close(self, is_stopping: Callable[[], bool] = lambda: False) -> None:
        """Give back what was taken in advance and not spent. What has no end yet stays set aside."""
        try:
            async with self._taking:
                await self._with_books(lambda _: self._ends(), self._books, _HELD_AT_THE_END_SECONDS, is_stopping)
        except (BookHeld, OutputError, StorageError) as error:
            log.warning("%s; the next run in this folder settles what was spent", error)

    def caps(self) -> list[Cap]:
        """Every cap that holds for this run, as it stands now; of one that stands in several books the tightest."""
        limit = self._budget.per_run
        found = [] if limit is None else [self._run_cap(micro(limit))]
        for shares in [book.look() for book in self._books]:
            found += self._shared_caps(shares, self._today())
        found.sort(key=lambda cap: cap.free, reverse=True)
        return list({cap.name: cap for cap in found}.values())

    def _give_back(self, job_id: str) -> None:
        hold = self._holds.pop(job_id)
        self._held[hold.day] -= hold.micro_usd

    async def _set_aside(self, job: Purchase, needed: int) -> Cap | None:
        """Set money aside; if there is no room, the cap in the way."""
        while True:
            limit = self._budget.per_run
            if limit is not None and self._run_has_no_room(self.held + needed):
                return self._run_cap(micro(limit))
            day = self._today()
            if not self._books or self._missing(day, needed) <= 0:
                self._holds[job.id] = _Hold(needed, day)
                self._held[day] += needed
                return None
            cap = await self._take_share(needed)
            if cap is not None:
                return cap

    def _missing(self, day: str, needed: int) -> int:
        """How much the run's share of a day is too small for one more request."""
        return self._spent[day] + self._held[day] + needed - self._share[day]

    async def _take_share(self, needed: int) -> Cap | None:
        """Enlarge what the spend books have for this run today; if that cannot be, the cap in the way."""
        in_the_way: list[Cap] = []

        def decide(opened: _OpenBooks) -> list[Share]:
            day = self._today()
            writes = self._earlier_days(day)
            amount = self._enlarged(opened, day, needed)
            if isinstance(amount, Cap):
                in_the_way.append(amount)
                return writes
            return [*writes, self._as_share(day, amount, is_open=True)]

        async with self._taking:
            try:
                await self._with_books(decide, self._books, _HELD_SECONDS)
            except BookHeld as held:
                raise _stays_held(held) from None
            except OutputError as error:
                raise StorageError(str(error)) from error
        return in_the_way[0] if in_the_way else None

    def _enlarged(self, opened: _OpenBooks, day: str, needed: int) -> int | Cap:
        """What the run's share should be for one more request; more, if that is little of what is left."""
        missing = max(0, self._missing(day, needed))
        more = (_REQUESTS_AT_ONCE - 1) * needed
        for cap in [cap for shares, _ in opened for cap in self._shared_caps(shares, day)]:
            spare = cap.limit - cap.taken
            if missing > spare:
                return cap
            more = min(more, (spare - missing) // _PART_AT_ONCE)
        return self._share[day] + (missing + more if missing else 0)

    def _earlier_days(self, day: str) -> list[Share]:
        """What was taken on other days and not used cannot be used any more, from this moment on."""
        found = []
        for each in list(self._share):
            used = self._spent[each] + self._held[each]
            if each != day and self._share[each] != used:
                self._share[each] = used
                found.append(self._as_share(each, used, is_open=self._held[each] > 0))
        return found

    def _ends(self) -> list[Share]:
        """Every day's share as it stands when the run is over."""
        self._earlier_days("")
        return [self._as_share(day, amount, is_open=self._held[day] > 0) for day, amount in self._share.items()]

    async def _settle_book(
        self, book: Book, open_usd: Callable[[TryRecord], float], is_stopping: Callable[[], bool]
    ) -> int:
        """As `settle_earlier_runs`; returns how much of it the ledger knows nothing of."""
        # Whether it can be written is to be known before anything is sent.
        await self._with_books(lambda _: [], [book], _HELD_SECONDS, is_stopping)
        seen = await self._in_thread(book.look)
        stale = seen.left_open(self._output, but=self._run)
        if not stale:
            return 0
        output, runs = Path(self._output), frozenset(share.run for share in stale)
        spent = await self._in_thread(lambda: spent_by_run_and_day(output, lambda tried: micro(open_usd(tried)), runs))
        writes = _corrected([share for share in stale if share.run in spent.known], spent)
        await self._with_books(lambda _: writes, [book], _HELD_SECONDS, is_stopping)
        return sum(share.micro_usd for share in stale if share.run not in spent.known)

    async def _with_books(
        self,
        decide: Callable[[_OpenBooks], Sequence[Share]],
        books: Sequence[Book],
        patience_seconds: float,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """Write down what `decide` returns, which is told what stands in the locked books.

        A book that is held is asked for again; raises `BookHeld` after `patience_seconds`, or when `is_stopping`.
        """
        if self._tries:  # of a caller that gave up; the try holds the books itself
            await asyncio.wait(self._tries, timeout=patience_seconds)
        until = self._clock.monotonic() + patience_seconds
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            # Who is let go meanwhile leaves no lock behind: a try that is on comes to its own end.
            one_try = asyncio.ensure_future(self._once(decide, books))
            self._tries.add(one_try)
            one_try.add_done_callback(self._tried)
            try:
                return await asyncio.shield(one_try)
            except BookHeld as held:
                if is_stopping() or self._clock.monotonic() >= until:
                    raise
                if pause_seconds == _LONGEST_PAUSE_SECONDS:
                    self._say_once(f"waiting: {held}")
            await self._clock.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    async def _once(self, decide: Callable[[_OpenBooks], Sequence[Share]], books: Sequence[Book]) -> None:
        with ExitStack() as locks:
            try:
                opened = await self._in_thread(lambda: _open(books, locks))
                writes = decide(opened)
                await self._in_thread(lambda: _write(opened, writes))
            except asyncio.CancelledError:
                self._abandoned.append(locks.pop_all())  # a thread may use them: they are closed with the process
                raise
            for share in writes:
                if share.run == self._run:
                    self._share[share.day] = share.micro_usd

    def _tried(self, one_try: asyncio.Future[None]) -> None:
        self._tries.discard(one_try)
        if not one_try.cancelled():
            one_try.exception()  # mark it as seen: its caller may have gone

    def _say_once(self, words: str) -> None:
        if words != self._said:
            self._said = words
            self._say(words)

    def _as_share(self, day: str, amount: int, *, is_open: bool) -> Share:
        return Share(run=self._run, day=day, tag=self._tag, output=self._output, micro_usd=amount, is_open=is_open)

    def _run_cap(self, limit: int) -> Cap:
        return Cap(name=_PER_RUN, limit=limit, spent=self.spent, held=self.held, taken=self.spent + self.held)

    def _shared_caps(self, shares: Shares, day: str) -> list[Cap]:
        budget = self._budget
        limits = (
            ("per day", budget.per_day, _next_day(day), day, None),
            ("per month", budget.per_month, _next_month(day), day[:7], None),
            (f"of the tag {self._tag}", budget.tags.get(self._tag), None, "", self._tag),
        )
        return [
            self._shared_cap(name, micro(usd), until, shares, days, tag)
            for name, usd, until, days, tag in limits
            if usd is not None
        ]

    def _shared_cap(self, name: str, limit: int, until: str | None, shares: Shares, days: str, tag: str | None) -> Cap:
        """`days`: which days it is about, by how they begin. What other runs hold counts as spent: it may be."""
        taken = shares.total(days=days, tag=tag)
        held = sum(amount for day, amount in self._held.items() if day.startswith(days))
        used = held + sum(amount for day, amount in self._spent.items() if day.startswith(days))
        own = sum(amount for day, amount in self._share.items() if day.startswith(days))
        spent = taken - own + used - held
        return Cap(name=name, limit=limit, spent=spent, held=held, taken=taken, not_before=until)

    def _today(self) -> str:
        return self._clock.now().astimezone(UTC).date().isoformat()


def _stays_held(held: BookHeld) -> EndpointDown:
    words = f"{held}, which does not go on; no request goes out without its money set aside"
    return EndpointDown("spend_book_held", words, exit_code=ExitCode.TEMPORARY)


def _open(books: Sequence[Book], locks: ExitStack) -> _OpenBooks:
    """Lock all of them, or none: in the latter case `locks` gives back what was had."""
    return [locks.enter_context(book.locked()) for book in books]


def _write(opened: _OpenBooks, writes: Sequence[Share]) -> None:
    for share in writes:
        for _, writer in opened:
            writer.put(share)


def _corrected(stale: Sequence[Share], spent: Spent) -> list[Share]:
    """Shares of killed runs, each with what the ledger says it spent; for days it has no share of, a new one.

    A share stays open, to be corrected again, as long as an answer of it waits for its pictures.
    """
    by_run = {share.run: share for share in stale}
    days = dict.fromkeys([*((share.run, share.day) for share in stale), *spent.micro_usd])
    like = {(share.run, share.day): share for share in stale}
    return [
        replace(
            like.get((run, day), by_run[run]),
            day=day,
            micro_usd=spent.micro_usd.get((run, day), 0),
            is_open=(run, day) in spent.still_open,
        )
        for run, day in days
        if run in by_run
    ]


def _next_day(day: str) -> str:
    return _at(datetime.fromisoformat(day) + timedelta(days=1))


def _next_month(day: str) -> str:
    return _at((datetime.fromisoformat(day).replace(day=1) + timedelta(days=32)).replace(day=1))


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}Z"
