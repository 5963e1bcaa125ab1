"""Charged answers without a picture end the use of an endpoint after a handful, and chance does not."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from batch.core.errors import AttemptError, EndpointDown, Kind, Paid, Refused, Undelivered, Unusable
from batch.core.settings import RetryPolicy
from batch.dispatch.waste_breaker import WasteBreaker
from tests.support.fakes import FakeClock, Seller, carry_out, kinds, scheduler, todo

WORDS = Unusable("text_only", "it said: I cannot draw")
BLOCKED = Refused("image_safety", "blocked", kind=Kind.POLICY, paid=Paid.YES)


def told(wasted: WasteBreaker, *ends: AttemptError | None) -> list[EndpointDown | None]:
    """One request after the other, each of another job."""
    found = []
    for number, error in enumerate(ends):
        wasted.went_out()
        found.append(wasted.came_back(f"job-{number}", error))
    return found


@pytest.mark.parametrize(
    "error",
    [
        WORDS,
        Unusable("bad_image", "damaged", retries=1),
        Unusable("download_gone", "HTTP 404", retries=0),
        Undelivered("download_failed", "no connection"),
        Refused("max_tokens", "finish reason", paid=Paid.YES),
    ],
)
@pytest.mark.parametrize("concurrency", [1, 2, 16])
async def test_a_batch_that_is_charged_for_nothing_costs_a_handful(error: AttemptError, concurrency: int) -> None:
    """Of 300 jobs, whatever the cause and however many go at once: exit 76 with the server's first words."""
    seller = Seller(FakeClock(), lambda job, time: error)
    running = scheduler(seller, concurrency=concurrency)
    outcomes = await carry_out(running, todo(300))
    assert len(seller.calls) <= 8
    assert isinstance(running.stopped_by, EndpointDown)
    assert (running.stopped_by.code, running.stopped_by.exit_code) == ("charged_for_nothing", 76)
    assert error.message in running.stopped_by.message
    assert "rejected/" in running.stopped_by.message
    assert kinds(outcomes)["Done"] == 0


async def test_slow_answers_cost_a_handful_too() -> None:
    """64 slots and answers of 20 s: no more than 8 requests were paid before the first was answered."""
    seller = Seller(FakeClock(), lambda job, time: WORDS, seconds=20)
    running = scheduler(seller, concurrency=64, adaptive=False)
    await carry_out(running, todo(300))
    assert len(seller.calls) == 8
    assert isinstance(running.stopped_by, EndpointDown)


@pytest.mark.parametrize(("jobs", "rounds"), [(8, 1), (72, 2), (136, 3)])
async def test_the_first_picture_lets_all_slots_be_used(jobs: int, rounds: int) -> None:
    """Eight jobs go out at once; of more, the others wait for one picture and then fill all 64 slots."""
    clock = FakeClock()
    seller = Seller(clock, seconds=20)
    began = clock.monotonic()
    # The breaker sends the first request of a run ahead; that is 2 s and not looked at here.
    outcomes = await carry_out(scheduler(seller, concurrency=64, adaptive=False), todo(jobs))
    assert kinds(outcomes) == {"Done": jobs}
    assert clock.monotonic() - began < rounds * 20 + 3


@pytest.mark.parametrize(("in_a_row", "at_once"), [(1, 8), (5, 8), (20, 20), (0, 64)])
async def test_how_many_may_be_lost_before_the_first_picture(in_a_row: int, at_once: int) -> None:
    """Eight, or as many as are needed to prove it; switched off, all of them."""
    seller = Seller(FakeClock(), lambda job, time: WORDS, seconds=20)
    policy = RetryPolicy(wasted_in_a_row=in_a_row, unusable_retries=0)
    await carry_out(scheduler(seller, concurrency=64, adaptive=False, policy=policy), todo(64))
    assert seller.most_in_flight == at_once


async def test_each_model_shows_for_itself_that_it_works() -> None:
    """A picture by one model tells nothing of another at the same endpoint."""
    proven, unproven = WasteBreaker(5), WasteBreaker(5)
    assert not any(told(proven, None))
    for _ in range(8):
        proven.went_out()
        unproven.went_out()
    assert (proven.is_full, unproven.is_full) == (False, True)


async def test_pictures_that_stop_coming_end_the_run_after_twice_as_many() -> None:
    """After 50 pictures nothing but words: ten jobs more, and what was in flight."""
    seller = Seller(FakeClock(), lambda job, time: WORDS if int(job.id[4:]) >= 50 else None)
    running = scheduler(seller, concurrency=4)
    outcomes = await carry_out(running, todo(300))
    assert kinds(outcomes)["Done"] == 50
    assert len({job_id for _, job_id, _ in seller.calls}) - 50 <= 10
    assert len(seller.calls) - 50 <= 16
    assert isinstance(running.stopped_by, EndpointDown)


@pytest.mark.parametrize(
    ("ends", "stops"),
    [
        ([WORDS] * 4, False),
        ([WORDS] * 5, True),
        ([WORDS, Unusable("no_image", "")] * 2 + [WORDS], True),
        ([*[WORDS] * 4, None, *[WORDS] * 9], False),
        ([*[WORDS] * 4, None, *[WORDS] * 10], True),
        ([None, *[WORDS, Unusable("no_image", "")] * 20], False),
        ([None, *[BLOCKED] * 100], False),
        ([None, *[BLOCKED, WORDS] * 9], False),
        ([None, *[BLOCKED, WORDS] * 10], True),
        ([BLOCKED] * 19, False),
        ([BLOCKED] * 20, True),
        ([Unusable("text_only", "", retries=0), BLOCKED] * 5, True),
        ([Refused("invalid_request", "", kind=Kind.MALFORMED)] * 50, False),
    ],
)
def test_where_the_line_is(ends: list[AttemptError | None], stops: bool) -> None:
    """Five of any kind before the first picture, ten of one kind after it; blocked prompts only at the start."""
    found = told(WasteBreaker(5), *ends)
    assert any(found[:-1]) is False or stops
    assert any(each is not None for each in found) is stops


def test_nothing_ends_it_if_it_is_switched_off() -> None:
    """`wasted_in_a_row: 0`."""
    wasted = WasteBreaker(0)
    assert not any(told(wasted, *[WORDS] * 100))
    wasted.went_out()
    assert not wasted.is_full
    assert not wasted.is_common


def test_a_slow_picture_does_not_lose_to_quick_refusals() -> None:
    """While a request is out that may bring one, nothing is concluded, and nothing more goes out."""
    wasted = WasteBreaker(5)
    wasted.went_out()
    assert not any(told(wasted, *[WORDS] * 5))
    assert wasted.is_full
    assert wasted.came_back("slow", None) is None
    assert not wasted.is_common


@pytest.mark.parametrize(("each_usd", "cost"), [(250.25, " for $1,251.25"), (0.0, "")])
def test_what_it_cost_and_what_was_said_first_are_told(each_usd: float, cost: str) -> None:
    """The sum of all of them, the first answer's words and names, and where the bodies lie."""
    errors = [Unusable("text_only", f"I cannot draw {n}.", http_status=200 + n, request_id=f"r-{n}") for n in range(5)]
    for error in errors:
        error.cost_usd = each_usd
    *_, found = told(WasteBreaker(5), *errors)
    assert found is not None
    assert found.message == (
        f"5 jobs in a row were charged{cost} and brought no usable picture; nothing more is sent there. "
        "The first answer (text_only): I cannot draw 0. "
        "What came back lies in rejected/ of the output folder; `imagebatch reread` looks for pictures in "
        "it again, without a request"
    )
    assert (found.code, found.http_status, found.request_id) == ("charged_for_nothing", 200, "r-0")


def test_of_blocked_prompts_all_are_counted() -> None:
    """Those that end a run without a picture, with the words of the first one."""
    *_, found = told(WasteBreaker(5), *[BLOCKED] * 20)
    assert found is not None
    assert found.message.startswith("20 jobs in a row were charged and brought no usable picture")
    assert "The first answer (image_safety): blocked. " in found.message


def test_after_a_picture_the_count_and_the_cost_begin_anew() -> None:
    """So do they where an answer of another code comes, for that is another cause."""
    dear, cheap = Unusable("no_image", "none"), Unusable("text_only", "words")
    dear.cost_usd, cheap.cost_usd = 7.0, 0.5
    for first in ([dear] * 4 + [None], [None] + [dear] * 9 + [None], [None] + [dear] * 9):
        *_, found = told(WasteBreaker(5), *first, *[cheap] * 10)
        assert found is not None
        assert "10 jobs in a row were charged for $5.00 " in found.message
        assert "The first answer (text_only): words. " in found.message


def test_repeats_wait_from_the_second_job_on() -> None:
    """One job may have bad luck, and two have a cause in common; a picture lets the repeats go again."""
    wasted = WasteBreaker(5)
    told(wasted, WORDS)
    assert not wasted.is_common
    told(wasted, WORDS)
    assert not wasted.is_common  # the same job once more
    told(wasted, WORDS, WORDS)
    assert wasted.is_common
    told(wasted, None)
    assert not wasted.is_common


def test_one_job_alone_ends_nothing() -> None:
    """However often it is asked again."""
    wasted = WasteBreaker(5)
    for _ in range(50):
        wasted.went_out()
        assert wasted.came_back("the one", WORDS) is None


async def test_a_few_jobs_get_their_repeats_when_nobody_else_is_left() -> None:
    """Repeats that were held for proof: one is sent to find out, and its picture lets the others go."""
    seller = Seller(FakeClock(), lambda job, time: WORDS if time == 1 else None)
    running = scheduler(seller, concurrency=4, policy=RetryPolicy(wasted_in_a_row=10, unavailable_base_seconds=60))
    outcomes = await asyncio.wait_for(carry_out(running, todo(4)), 10)
    assert kinds(outcomes) == {"Done": 4}
    assert [why for _, _, why in seller.calls] == ["new"] * 4 + ["again"] * 4
    first, others = seller.calls[4], seller.calls[5:]
    assert all(at > first[0] for at, _, _ in others)


async def test_chance_ends_no_batch() -> None:
    """Every seventh answer without a picture: all jobs get theirs at the repeat."""
    seller = Seller(FakeClock(), lambda job, time: WORDS if int(job.id[4:]) % 7 == 0 and time == 1 else None)
    running = scheduler(seller, concurrency=16)
    outcomes = await carry_out(running, todo(300))
    assert kinds(outcomes) == {"Done": 300}
    assert Counter(why for _, _, why in seller.calls)["again"] == 43


async def test_no_policy_of_ours_buys_repeats_of_a_common_failure() -> None:
    """With ten repeats allowed each, the first five jobs are still not all repeated."""
    seller = Seller(FakeClock(), lambda job, time: Unusable("no_image", "none", retries=10))
    running = scheduler(seller, concurrency=16, policy=RetryPolicy(unusable_retries=10))
    await carry_out(running, todo(300))
    assert len(seller.calls) <= 6
