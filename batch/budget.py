"""Caps on money, kept by setting the worst case aside before a request goes out.

`Wallet.place` is the gate every attempt passes: the most it can cost is set aside first, for this run in memory and for
the caps that runs share in the spend book, durably. When the attempt is recorded, what it really cost takes the place
of what was set aside. So at every instant spent + set aside stays within each cap, whatever fails or is killed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias

from batch.clock import Clock
from batch.errors import ExitCode, OutputError, RunStopper, StorageError
from batch.model import Job
from batch.settings import Budget
from batch.store.spend import Share, Shares, SpendBook, Writer, spent_by_run_and_day

#: The spend books of a run, locked: what stands in each, and how to write in it.
_OpenBooks: TypeAlias = list[tuple[Shares, Writer]]

log = logging.getLogger(__name__)

#: Requests whose money is taken from the spend book at once, as long as that is a small part of what is left.
_REQUESTS_AT_ONCE: Final = 32
_PART_AT_ONCE: Final = 4


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
        """What nobody has taken yet."""
        return self.limit - self.taken

    def words(self) -> str:
        """`the budget per day of $20.00 (12.31 spent)`."""
        return f"the budget {self.name} of {_usd(self.limit)}" + (f" ({_usd(self.spent)} spent)" if self.spent else "")

    def refusal(self, needed: int) -> RunStopper:
        """Why the next request cannot be sent."""
        words = (
            f"the budget {self.name} of {_usd(self.limit)} has no room for the next request, which may cost "
            f"{_usd(needed)}: {_usd(self.spent)} spent, {_usd(self.held)} reserved, {_usd(max(0, self.left))} left"
        )
        return RunStopper("budget", words, stop_code=ExitCode.TEMPORARY, not_before=self.not_before)


def _usd(micro_usd: int) -> str:
    """Dollars with as many places as there is something in them."""
    whole = f"{micro_usd / 1_000_000:,.6f}".rstrip("0")
    places = len(whole.partition(".")[2])
    return f"${whole}{'0' * max(0, 2 - places)}"


class Wallet:
    """The money of one run.

    `most_usd(job)`: what one attempt can cost. `books`, one per key, is empty if no cap is shared with other runs and
    the run has no tag; a run with several keys stands in all of them with all that it spends, so that a cap holds
    whichever key the money went through. `waiting` is told in words, when a request has to wait for money that is set
    aside for others.
    """

    def __init__(
        self,
        budget: Budget,
        *,
        most_usd: Callable[[Job], float],
        clock: Clock,
        run_id: str = "",
        output: str = "",
        tag: str = "",
        books: Sequence[SpendBook] = (),
        waiting: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._budget = budget
        self._most_usd = most_usd
        self._clock = clock
        self._run = run_id
        self._output = output
        self._tag = tag
        self._books = sorted(books, key=lambda book: book.path)  # in one order, or two runs wait for each other
        self._waiting = waiting
        #: Set aside, by the job's id: how much, on which day, and whether the request may be out.
        self._places: dict[str, tuple[int, str, bool]] = {}
        self._spent: dict[str, int] = defaultdict(int)
        self._held: dict[str, int] = defaultdict(int)
        #: By day, what the spend book has for this run.
        self._share: dict[str, int] = defaultdict(int)
        self._freed = asyncio.Event()
        self._passed = 0

    @property
    def spent(self) -> int:
        """What this run's requests have cost, or may have cost."""
        return sum(self._spent.values())

    @property
    def held(self) -> int:
        """What is set aside for requests that have no end yet."""
        return sum(self._held.values())

    @asynccontextmanager
    async def place(self, job: Job) -> AsyncIterator[None]:
        """Set the worst case aside for one attempt; waits while what is in flight may make room.

        Raises `RunStopper` if there is no room. Leaving gives back what was not sent.
        """
        needed = micro(self._most_usd(job))
        while (cap := self._set_aside(job, needed)) is not None:
            if not self._passed:
                raise cap.refusal(needed)
            self._waiting(f"waiting for money: the budget {cap.name} is set aside for what is in flight")
            self._freed.clear()
            await self._freed.wait()
        self._passed += 1
        try:
            yield
        finally:
            self._passed -= 1
            amount, day, is_out = self._places.get(job.id, (0, "", True))
            if not is_out:
                self._give_back(job.id, amount, day)
            self._freed.set()

    def sending(self, job: Job) -> None:
        """From now on the request may be out: what is set aside for it stays so until `settle`."""
        if job.id in self._places:
            amount, day, _ = self._places[job.id]
            self._places[job.id] = amount, day, True

    def settle(self, job: Job, usd: float) -> None:
        """The attempt has its end in the ledger, and cost so much, or may have. Attempts of other runs are not ours."""
        if job.id in self._places:
            amount, day, _ = self._places[job.id]
            self._spent[day] += micro(usd)
            self._give_back(job.id, amount, day)

    def settle_earlier_runs(self, open_usd: Callable[[Mapping[str, Any]], float]) -> str:
        """What killed runs in this folder left open becomes what the ledger says they spent.

        Returns a sentence about those the ledger does not know, or nothing.
        """
        most = 0
        for book in self._books:
            with book.locked():
                pass  # whether it can be written is to be known before anything is sent
            most = max(most, settle_earlier_runs(book, Path(self._output), self._run, open_usd))
        if not most:
            return ""
        return (
            f"an earlier run in this folder was killed and its ledger is gone: the {_usd(most)} set aside for it count "
            "as spent until that ledger is back"
        )

    def close(self) -> None:
        """Give back what was taken in advance and not spent. What has no end yet stays set aside."""
        try:
            with self._locked() as opened:
                self._shrink_earlier_days(opened, "")
                for day in self._share:
                    self._put(opened, day, is_open=self._held[day] > 0)
        except (OutputError, StorageError) as error:
            log.warning("%s; the next run in this folder settles what was spent", error)

    def caps(self) -> list[Cap]:
        """Every cap that holds for this run, as it stands now; of one that stands in several books the tightest."""
        limit = self._budget.per_run
        found = [] if limit is None else [self._run_cap(micro(limit))]
        for shares in [book.look() for book in self._books]:
            found += self._shared_caps(shares, self._today())
        found.sort(key=lambda cap: cap.free, reverse=True)
        return list({cap.name: cap for cap in found}.values())

    def _give_back(self, job_id: str, amount: int, day: str) -> None:
        del self._places[job_id]
        self._held[day] -= amount

    def _set_aside(self, job: Job, needed: int) -> Cap | None:
        """Set money aside; if there is no room, the cap in the way."""
        day = self._today()
        limit = self._budget.per_run
        if limit is not None and self.spent + self.held + needed > micro(limit):
            return self._run_cap(micro(limit))
        missing = self._spent[day] + self._held[day] + needed - self._share[day]
        if self._books and missing > 0:
            try:
                cap = self._take_share(day, missing, needed)
            except OutputError as error:
                raise StorageError(str(error)) from error
            if cap is not None:
                return cap
        self._places[job.id] = needed, day, False
        self._held[day] += needed
        return None

    def _take_share(self, day: str, missing: int, needed: int) -> Cap | None:
        """Enlarge what the spend books have for this run on this day; if that cannot be, the cap in the way."""
        with self._locked() as opened:
            self._shrink_earlier_days(opened, day)
            more = (_REQUESTS_AT_ONCE - 1) * needed
            for cap in [cap for shares, _ in opened for cap in self._shared_caps(shares, day)]:
                spare = cap.limit - cap.taken
                if missing > spare:
                    return cap
                more = min(more, (spare - missing) // _PART_AT_ONCE)
            self._share[day] += missing + more
            self._put(opened, day, is_open=True)
        return None

    def _shrink_earlier_days(self, opened: _OpenBooks, day: str) -> None:
        """What was taken yesterday and not used cannot be used any more."""
        for each in list(self._share):
            used = self._spent[each] + self._held[each]
            if each != day and self._share[each] != used:
                self._share[each] = used
                self._put(opened, each, is_open=self._held[each] > 0)

    @contextmanager
    def _locked(self) -> Iterator[_OpenBooks]:
        with ExitStack() as stack:
            yield [stack.enter_context(book.locked()) for book in self._books]

    def _put(self, opened: _OpenBooks, day: str, *, is_open: bool) -> None:
        share = Share(
            run=self._run, day=day, tag=self._tag, output=self._output, micro_usd=self._share[day], is_open=is_open
        )
        for _, writer in opened:
            writer.put(share)

    def _run_cap(self, limit: int) -> Cap:
        return Cap(name="per run", limit=limit, spent=self.spent, held=self.held, taken=self.spent + self.held)

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


def settle_earlier_runs(
    book: SpendBook, output: Path, run_id: str, open_usd: Callable[[Mapping[str, Any]], float]
) -> int:
    """Shares that killed runs in a folder left open become what its ledger says they spent.

    A share of a run that the ledger does not know stays as it is; returns the sum of these, in millionths.
    `open_usd(try_record)`: what an attempt counts for that has no end yet. To be called while the folder is locked.
    """
    stale = book.look().left_open(str(output), but=run_id)
    if not stale:
        return 0
    known, sums = spent_by_run_and_day(
        output / "ledger.jsonl", lambda tried: micro(open_usd(tried)), frozenset(share.run for share in stale)
    )
    with book.locked() as (_, writer):
        for share in stale:
            if share.run in known:
                amount = sums.pop((share.run, share.day), 0)
                writer.put(replace(share, micro_usd=amount, is_open=False))
        for (run, day), amount in sums.items():
            if run in known:
                like = next(share for share in stale if share.run == run)
                writer.put(replace(like, day=day, micro_usd=amount, is_open=False))
    return sum(share.micro_usd for share in stale if share.run not in known)


def _next_day(day: str) -> str:
    return _at(datetime.fromisoformat(day) + timedelta(days=1))


def _next_month(day: str) -> str:
    return _at((datetime.fromisoformat(day).replace(day=1) + timedelta(days=32)).replace(day=1))


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}Z"
