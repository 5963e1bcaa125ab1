"""Limits and caps that change while a run is on. Time is virtual; the scheduler and the wallet are real."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.core.errors import EndpointDown, RateLimited
from batch.core.events import Waiting
from batch.core.model import Done, Job, Outcome, Terms
from batch.core.settings import Budget, Limits
from batch.dispatch.breaker import State
from batch.dispatch.scheduler import Scheduler
from batch.money.wallet import Wallet
from tests.support.fakes import FakeClock, Recorder, Seller, carry_out, job, kinds, one_route, scheduler, todo

PRICE_USD = 0.1


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def change(running: Scheduler, **limits: Any) -> None:
    running.reconfigure({name: replace(now, **limits) for name, now in running.limits.items()})


async def later(clock: FakeClock, seconds: float, running: Scheduler, **limits: Any) -> None:
    """Change the limits of `running` after a while."""
    await clock.sleep(seconds)
    change(running, **limits)


class Watched(Seller):
    """Notes how many requests are in flight when another one goes out, itself included."""

    def __init__(self, clock: FakeClock, seconds: float = 10.0) -> None:
        super().__init__(clock, seconds=seconds)
        self.out: list[tuple[float, int]] = []

    async def buy(self, job: Job, why: str, terms: Terms) -> Done:
        self.out.append((self.clock.time - 1000, self.in_flight + 1))
        return await super().buy(job, why, terms)

    def most(self, since: float, until: float = float("inf")) -> int:
        return max(in_flight for at, in_flight in self.out if since <= at < until)


# ---- concurrency ------------------------------------------------------------------------------------------


async def test_more_go_out_at_once_when_more_are_allowed(clock: FakeClock) -> None:
    """In the middle of an answer, without waiting for it; and the plan is read further ahead."""
    seller = Watched(clock)
    running = scheduler(seller, concurrency=2, adaptive=False)
    outcomes, _ = await asyncio.gather(carry_out(running, todo(60)), later(clock, 15, running, concurrency=20))
    assert kinds(outcomes) == {"Done": 60}
    assert seller.most(0, 15) == 2
    assert (seller.most(15), min(at for at, out in seller.out if out == 20)) == (20, 15)


async def test_fewer_go_out_when_fewer_are_allowed(clock: FakeClock) -> None:
    """What is in flight is not cut; nothing goes out until it is fewer."""
    seller = Watched(clock)
    running = scheduler(seller, concurrency=6, adaptive=False)
    outcomes, _ = await asyncio.gather(carry_out(running, todo(30)), later(clock, 15, running, concurrency=2))
    assert kinds(outcomes) == {"Done": 30}
    assert seller.most(0, 15) == 6
    assert seller.most(15) == 2


async def test_what_was_found_by_trying_keeps_below_the_new_number(clock: FakeClock) -> None:
    """Grown to twelve, lowered to three, allowed twelve again: it grows from three."""
    seller = Watched(clock, seconds=1.0)
    running = scheduler(seller, concurrency=12)

    async def changes() -> None:
        await later(clock, 20, running, concurrency=3)
        await later(clock, 20, running, concurrency=12)
        assert running.statistics().routes[0].admission.concurrency == 3
        await clock.sleep(20)
        assert running.statistics().routes[0].admission.concurrency == 12

    await asyncio.gather(carry_out(running, todo(600)), changes())
    assert (seller.most(0, 20), seller.most(20, 40), seller.most(40)) == (12, 3, 12)


# ---- quotas -----------------------------------------------------------------------------------------------


def in_a_minute(seller: Seller, at: float) -> int:
    return sum(at - 60 < sent <= at for sent, _, _ in seller.calls)


@pytest.mark.parametrize("adaptive", [True, False])
async def test_fewer_a_minute_hold_at_once(clock: FakeClock, adaptive: bool) -> None:
    """What went out in the last minute counts against the new number."""
    seller = Seller(clock, seconds=0.1)
    running = scheduler(seller, concurrency=8, per_minute=100, adaptive=adaptive)
    outcomes, _ = await asyncio.gather(carry_out(running, todo(400)), later(clock, 30, running, requests_per_minute=20))
    assert kinds(outcomes) == {"Done": 400}
    after = [at for at, _, _ in seller.calls if at > 1030]
    assert after
    assert all(in_a_minute(seller, at) <= 20 for at in after)


async def test_more_a_minute_end_a_wait(clock: FakeClock) -> None:
    """A request that had to wait a minute goes at once."""
    seller = Seller(clock)
    running = scheduler(seller, per_minute=1, adaptive=False)
    await asyncio.gather(carry_out(running, todo(3)), later(clock, 5, running, requests_per_minute=600))
    assert [at - 1000 for at, _, _ in seller.calls] == [0, 5, 5]


async def test_a_day_that_is_allowed_more_goes_on_and_one_that_is_allowed_less_ends_the_run(clock: FakeClock) -> None:
    """The requests of the day so far count."""
    seller = Seller(clock)
    running = scheduler(seller, routes=[one_route(Limits(concurrency=1, requests_per_day=5))])
    await asyncio.gather(carry_out(running, todo(9)), later(clock, 2.5, running, requests_per_day=7))
    assert (len(seller.calls), getattr(running.stopped_by, "code", "")) == (7, "day_used_up")
    seller = Seller(clock)
    running = scheduler(seller, routes=[one_route(Limits(concurrency=1))])
    await asyncio.gather(carry_out(running, todo(9)), later(clock, 2.5, running, requests_per_day=2))
    assert (len(seller.calls), getattr(running.stopped_by, "code", "")) == (3, "day_used_up")


async def test_a_change_is_said_and_no_change_is_not(clock: FakeClock) -> None:
    """The message names each limit that changed, with its value before."""
    told = Recorder()
    running = scheduler(Seller(clock), listener=told, per_minute=60)
    change(running)
    change(running, concurrency=7, requests_per_minute=None)
    words = "the limits of somewhere are changed: concurrency 7 (was 2), requests_per_minute none (was 60)"
    assert told.named("message") == [("message", words)]


async def test_statistics_say_what_limits_now(clock: FakeClock) -> None:
    """What the first request waits for, how many are out, the gate and the breakers."""
    seller = Seller(clock, lambda job, n: RateLimited("r", "", wait_seconds=30) if clock.time < 1005 else 10.0)
    running = scheduler(seller, concurrency=2, adaptive=False)

    async def look() -> None:
        await clock.sleep(10)
        [route] = running.statistics().routes
        assert (running.statistics().in_flight, running.statistics().waiting.by) == (0, "gate")
        assert route.admission.gate_seconds > 0
        await clock.sleep(30)
        found = running.statistics()
        [breaker] = found.routes[0].breakers.values()
        assert (found.in_flight, found.waiting) == (2, Waiting(by="concurrency", most=2))
        assert (found.routes[0].admission.gate_seconds, breaker.state) == (0, State.CLOSED)

    await asyncio.gather(carry_out(running, todo(9)), look())


# ---- money ------------------------------------------------------------------------------------------------


class Paying(Seller):
    """Tells the wallet as the runner does. Each answer costs `PRICE_USD`; preparing a request takes half a second."""

    def __init__(self, clock: FakeClock, wallet: Wallet, *, seconds: float = 10.0) -> None:
        super().__init__(clock, seconds=seconds)
        self.wallet = wallet
        self.cap_usd = float("inf")
        self.overstepped: list[float] = []

    async def buy(self, job: Job, why: str, terms: Terms) -> Done:
        await self.clock.sleep(0.5)
        self.wallet.sending(job)
        committed = (self.in_flight + len(self.recorded) + 1) * PRICE_USD
        if committed > self.cap_usd + 1e-9:
            self.overstepped.append(committed)
        done = await super().buy(job, why, terms)
        self.wallet.settle(job, PRICE_USD)
        return done

    def set_cap(self, usd: float) -> None:
        self.cap_usd = usd
        self.wallet.set_cap(usd)


def paying(clock: FakeClock, cap_usd: float | None, *, waits_at_cap: bool = False, seconds: float = 10.0) -> Paying:
    wallet = Wallet(Budget(per_run=cap_usd), max_usd=lambda job: PRICE_USD, clock=clock, waits_at_cap=waits_at_cap)
    seller = Paying(clock, wallet, seconds=seconds)
    seller.cap_usd = cap_usd if cap_usd is not None else float("inf")
    return seller


def code_of(running: Scheduler) -> str:
    assert running.stopped_by is None or isinstance(running.stopped_by, EndpointDown)
    return running.stopped_by.code if running.stopped_by is not None else ""


async def test_a_higher_cap_lets_requests_go_on_that_wait_for_money(clock: FakeClock) -> None:
    """Two fit while one is out; raised meanwhile, the others go at once."""
    seller = paying(clock, 0.25)
    running = scheduler(seller, concurrency=9, adaptive=False, money=seller.wallet)

    async def raise_cap() -> None:
        await clock.sleep(12)
        seller.set_cap(0.9)

    outcomes, _ = await asyncio.gather(carry_out(running, todo(9)), raise_cap())
    assert (kinds(outcomes), code_of(running)) == ({"Done": 9}, "")
    assert seller.overstepped == []


@pytest.mark.parametrize(("waits_at_cap", "done"), [(False, 2), (True, 5)])
async def test_at_its_cap_a_run_ends_or_waits_for_a_higher_one(clock: FakeClock, waits_at_cap: bool, done: int) -> None:
    """With `waits_at_cap` it stands still with nothing in flight, and goes on when the cap is raised."""
    seller = paying(clock, 0.25, waits_at_cap=waits_at_cap)
    running = scheduler(seller, concurrency=2, adaptive=False, money=seller.wallet)

    async def raise_cap() -> None:
        await clock.sleep(500)
        assert (len(seller.recorded), running.in_flight) == (2, 0)
        seller.set_cap(0.5)

    outcomes, _ = await asyncio.gather(carry_out(running, todo(5)), raise_cap())
    assert kinds(outcomes)["Done"] == done
    assert code_of(running) == ("" if waits_at_cap else "budget")
    assert seller.overstepped == []


async def test_a_run_that_waits_at_its_cap_can_be_stopped(clock: FakeClock) -> None:
    """What is left stays to be done."""
    seller = paying(clock, 0.25, waits_at_cap=True)
    running = scheduler(seller, concurrency=2, adaptive=False, money=seller.wallet)

    async def stop() -> None:
        await clock.sleep(500)
        running.stop(KeyboardInterrupt(), "asked to")

    outcomes, _ = await asyncio.gather(carry_out(running, todo(5)), stop())
    assert kinds(outcomes) == {"Done": 2, "Pending": 3}


async def test_a_cap_below_what_is_spent_ends_the_run_in_order(clock: FakeClock) -> None:
    """What is in flight is finished and paid for, nothing goes out after it, and the reason is the budget."""
    seller = paying(clock, None)
    running = scheduler(seller, concurrency=3, adaptive=False, money=seller.wallet)

    async def lower() -> None:
        await clock.sleep(15)
        seller.set_cap(0.05)

    outcomes, _ = await asyncio.gather(carry_out(running, todo(30)), lower())
    assert code_of(running) == "budget"
    assert set(kinds(outcomes)) == {"Done", "Pending"}
    assert all(at <= 1015 for at, _, _ in seller.calls)
    assert len(seller.recorded) == len(seller.calls) == kinds(outcomes)["Done"]
    assert seller.overstepped == []


async def test_money_reserved_before_a_cap_was_lowered_is_not_spent(clock: FakeClock) -> None:
    """Nine requests have their money and wait for their turn; of the lowered cap only two more go out."""
    seller = paying(clock, None)
    running = scheduler(seller, concurrency=3, adaptive=False, money=seller.wallet)

    async def lower() -> None:
        await clock.sleep(15)
        assert seller.wallet.held > 3 * 100_000
        seller.set_cap((len(seller.calls) + 2) * PRICE_USD)

    outcomes, _ = await asyncio.gather(carry_out(running, todo(30)), lower())
    sent_before = sum(at < 1015 for at, _, _ in seller.calls)
    assert (len(seller.calls), code_of(running)) == (sent_before + 2, "budget")
    assert kinds(outcomes)["Done"] == len(seller.calls)
    assert seller.overstepped == []


async def test_a_withdrawn_attempt_leaves_nothing_behind(clock: FakeClock) -> None:
    """Its slot, its money and its place are free: a cap raised again later is used up to the last request."""
    seller = paying(clock, None, waits_at_cap=True)
    running = scheduler(seller, concurrency=3, adaptive=False, money=seller.wallet)

    async def changes() -> None:
        await clock.sleep(15)
        seller.set_cap(0.0)
        await clock.sleep(100)
        assert running.in_flight == running.statistics().in_flight == 0
        assert running.statistics().routes[0].admission.in_flight == 0
        assert seller.wallet.held == 0
        seller.set_cap(3.0)

    outcomes, _ = await asyncio.gather(carry_out(running, todo(30)), changes())
    assert kinds(outcomes) == {"Done": 30}
    assert (seller.wallet.spent, seller.wallet.held) == (3_000_000, 0)


@settings(deadline=None, max_examples=60)
@given(
    changes=st.lists(
        st.tuples(st.floats(0.1, 30), st.integers(1, 6), st.integers(1, 120), st.integers(0, 40)), max_size=8
    ),
    seconds=st.floats(0.1, 20),
    seed=st.integers(0, 99),
)
def test_whatever_is_changed_nothing_oversteps(
    changes: list[tuple[float, int, int, int]], seconds: float, seed: int
) -> None:
    """Each request that goes out is within the limits and the cap of that instant, and every job has an outcome."""
    clock, order = FakeClock(), Random(seed)
    seller = paying(clock, 2.0, seconds=seconds)
    allowed = Limits(concurrency=4, requests_per_minute=60, adaptive=False)
    faults: list[str] = []

    class Watch(Recorder):
        def attempt_started(self, job: Job, in_flight: int) -> None:
            if in_flight > allowed.concurrency:
                faults.append(f"{in_flight} in flight of {allowed.concurrency}")
            started.append(clock.time)
            last_minute = sum(at > clock.time - 60 for at in started)
            if allowed.requests_per_minute is not None and last_minute > allowed.requests_per_minute:
                faults.append(f"{last_minute} in a minute of {allowed.requests_per_minute}")

    started: list[float] = []

    async def scenario() -> dict[str, Outcome]:
        nonlocal allowed
        running = scheduler(seller, routes=[one_route(allowed)], listener=Watch(), money=seller.wallet)
        carried = asyncio.ensure_future(carry_out(running, todo(30)))
        for pause, concurrency, per_minute, pictures in changes:
            await clock.sleep(pause)
            if order.random() < 0.5:
                allowed = replace(allowed, concurrency=concurrency, requests_per_minute=per_minute)
                running.reconfigure({"somewhere": allowed})
            else:
                seller.set_cap(pictures * PRICE_USD)
        outcomes = await asyncio.wait_for(carried, 20)
        assert code_of(running) in ("", "budget")
        return outcomes

    outcomes = asyncio.run(scenario())
    assert (faults, seller.overstepped) == ([], [])
    assert kinds(outcomes)["Done"] == len(seller.recorded)
    assert (seller.wallet.held, seller.wallet.spent) == (0, len(seller.recorded) * 100_000)
    assert job().id not in outcomes
