"""Whether and when a failed attempt is repeated."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest

from batch.core.errors import (
    AttemptError,
    BatchError,
    EndpointDown,
    Kind,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    Refused,
    StorageError,
    Unavailable,
    Unusable,
)
from batch.core.settings import RetryPolicy
from batch.dispatch.retry import REPEATABLE, RetryBudget, decide_retry, soon_again, with_retries, worth_another
from tests.support.fakes import FakeClock, job

POLICY = RetryPolicy()


def decide(error: AttemptError, times: int, *, rejected: int = 0, resend: bool = False, seed: int = 1) -> float | None:
    seen = Counter({type(error): times})
    return decide_retry(error, seen, POLICY, Random(seed), rejected_before=rejected, may_resend=lambda: resend)


def told(seconds: float | None) -> RateLimited:
    return RateLimited("rate_limited", "slow down", wait_seconds=seconds)


@pytest.mark.parametrize(
    ("error", "times", "more", "expected"),
    [
        (NotSent("no_connection", ""), 1, {}, (0, 1.0)),
        (NotSent("no_connection", ""), 4, {}, (0, 8.0)),
        (NotSent("no_connection", ""), 5, {}, None),
        (Unavailable("unavailable", ""), 1, {}, (0, 2.0)),
        (Unavailable("unavailable", ""), 2, {}, (0, 4.0)),
        (Unavailable("unavailable", ""), 3, {}, None),
        (Unavailable("no_channel", "", kind=Kind.NO_CHANNEL), 1, {}, (0, 10.0)),
        (told(30.0), 1, {}, (30.0, 33.0)),
        (told(200.0), 1, {}, (200.0, 205.0)),
        (told(300.0), 1, {}, (300.0, 305.0)),
        (told(301.0), 1, {}, None),
        (told(None), 1, {}, (5.0, 15.0)),
        (told(None), 10, {}, (5.0, 65.0)),
        (told(1.0), 30, {}, (1.0, 1.1)),
        (told(1.0), 600, {}, (1.0, 1.1)),
        (told(1.0), 601, {}, None),
        (Unusable("no_image", "", retries=1), 1, {"rejected": 1}, (0, 2.0)),
        (Unusable("no_image", "", retries=1), 1, {"rejected": 2}, None),
        (Unusable("image_other", "", retries=9), 1, {"rejected": 2}, (0, 4.0)),
        (Unusable("image_other", "", retries=9), 1, {"rejected": 3}, None),
        (Unusable("max_tokens", "", retries=0), 1, {"rejected": 1}, None),
        (OutcomeUnknown("timeout", ""), 1, {"resend": True}, (0, 2.0)),
        (OutcomeUnknown("timeout", ""), 1, {"resend": False}, None),
        (Refused("image_safety", "", kind=Kind.POLICY), 1, {"resend": True}, None),
        (EndpointDown("bad_key", ""), 1, {"resend": True}, None),
    ],
)
def test_decision(error: AttemptError, times: int, more: dict[str, Any], expected: tuple[float, float] | None) -> None:
    """Each class has its own number of attempts and its own wait; None is the end."""
    for seed in range(20):
        wait_seconds = decide(error, times, seed=seed, **more)
        if expected is None:
            assert wait_seconds is None
        else:
            assert wait_seconds is not None
            assert expected[0] <= wait_seconds <= expected[1]


@pytest.mark.parametrize(("times", "most_seconds"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0)])
def test_a_wait_is_anything_up_to_the_doubled_base(times: int, most_seconds: float) -> None:
    """Full jitter: from nothing to the base times two for each attempt, and it fills that range."""
    waits = [wait for seed in range(200) if (wait := decide(NotSent("n", ""), times, seed=seed)) is not None]
    assert min(waits) < 0.1 * most_seconds
    assert 0.9 * most_seconds < max(waits) <= most_seconds


def test_a_relay_without_a_channel_is_given_more_time() -> None:
    """It has tried all of its channels; they come back slowly."""
    assert (
        max(decide(Unavailable("no_channel", "", kind=Kind.NO_CHANNEL), 2, seed=seed) or 0 for seed in range(50)) > 15
    )


def test_waits_differ_between_jobs() -> None:
    """A crowd that failed together does not come back together."""
    waits = {decide(Unavailable("unavailable", ""), 2, seed=seed) for seed in range(50)}
    assert len(waits) == 50


@pytest.mark.parametrize(("seconds", "spread"), [(10.0, 1.0), (30.0, 3.0), (50.0, 5.0), (200.0, 5.0)])
def test_a_named_delay_is_never_cut_short_and_spread_by_a_tenth(seconds: float, spread: float) -> None:
    """At most five seconds above what the server named, all over that range, so a crowd comes back in a stream."""
    waits = [wait for seed in range(200) if (wait := decide(told(seconds), 1, seed=seed)) is not None]
    assert len(set(waits)) == 200
    assert seconds <= min(waits) < seconds + 0.1 * spread
    assert seconds + 0.9 * spread < max(waits) <= seconds + spread


def test_budget_is_asked_only_for_unknown_outcomes() -> None:
    """A place among the jobs that may be paid twice is not taken by an error that was not paid."""
    asked: list[bool] = []

    def may_resend() -> bool:
        asked.append(True)
        return True

    for error in (NotSent("a", ""), Unavailable("b", ""), told(1.0), Unusable("c", ""), Refused("d", "")):
        decide_retry(
            error,
            Counter({type(error): 1}),
            POLICY,
            Random(1),
            rejected_before=1,
            may_resend=may_resend,
        )
    assert asked == []


@pytest.mark.parametrize(
    ("error", "rejected", "expected"),
    [
        (Unusable("no_image", "", retries=1), 1, True),
        (Unusable("no_image", "", retries=1), 2, False),
        (Unavailable("unavailable", ""), 0, True),
        (NotSent("no_connection", ""), 0, True),
        (Refused("image_safety", "", kind=Kind.POLICY), 1, False),
        (Refused("reference_changed", "", may_work_later=True), 0, True),
    ],
)
def test_worth_another_run(error: AttemptError, rejected: int, expected: bool) -> None:
    """A later run sends a job again if that costs nothing, or costs no more than the policy allows over its life."""
    assert worth_another(error, rejected, POLICY) is expected


async def call(errors: list[BaseException | None], ask: Any = lambda error: 1.0) -> tuple[list[BaseException], int]:
    """Attempts that end with these errors in turn; what came out at the end, and how many calls were made."""
    clock, calls, out = FakeClock(), 0, []

    async def attempt() -> str:
        nonlocal calls
        calls += 1
        error = errors[min(calls, len(errors)) - 1]
        await clock.sleep(1)
        if error is not None:
            raise error
        return "picture"

    try:
        assert await with_retries(attempt, ask, clock) == "picture"
    except BaseException as error:  # noqa: BLE001
        out.append(error)
    return out, calls


async def test_goes_on_until_a_picture_comes() -> None:
    """Repeatable errors are repeated as long as the decision says so."""
    out, calls = await call([NotSent("a", ""), Unavailable("b", ""), told(3.0), None])
    assert (out, calls) == ([], 4)


async def test_waits_as_long_as_the_decision_says() -> None:
    """On the run's own clock, after each failure for that failure's seconds; the error decides."""
    clock = FakeClock()
    failures: list[AttemptError] = [NotSent("a", ""), Unavailable("b", ""), told(3.0)]
    waits = dict(zip(failures, (1.5, 0.0, 40.0), strict=True))
    sent_at: list[float] = []

    async def attempt() -> str:
        sent_at.append(clock.time - 1000)
        if len(sent_at) <= len(failures):
            raise failures[len(sent_at) - 1]
        return "picture"

    assert await with_retries(attempt, waits.__getitem__, clock) == "picture"
    assert sent_at == [0.0, 1.5, 1.5, 41.5]


async def test_gives_up_with_the_last_error_itself() -> None:
    """What comes out is the attempt's own error, not a wrapper of the retry library."""
    last = Unavailable("b", "")
    waits = iter([1.0, None])
    out, calls = await call([NotSent("a", ""), last], lambda error: next(waits))
    assert out == [last]
    assert calls == 2


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bug"),
        OSError(28, "disk full"),
        TimeoutError(),
        asyncio.CancelledError(),
        KeyError("x"),
        BatchError("other"),
        StorageError("disk"),
        AttemptError("new", "a class nobody has placed yet"),
    ],
)
async def test_anything_else_is_never_repeated(error: BaseException) -> None:
    """The list of what is repeated is positive: an exception that is not on it comes out after one call."""
    out, calls = await call([error])
    assert out == [error]
    assert calls == 1


@pytest.mark.parametrize("error", [EndpointDown("bad_key", ""), Refused("blocked", "")])
def test_what_no_repeat_mends_is_not_decided_to_be_repeated(error: AttemptError) -> None:
    """These go to another endpoint or another model, or nowhere."""
    seen = Counter({type(error): 1})
    found = decide_retry(error, seen, RetryPolicy(), Random(1), rejected_before=0, may_resend=lambda: True)
    assert found is None


def test_the_positive_list() -> None:
    """A new class of error is not repeated until somebody puts it on the list."""
    assert {error.__name__ for error in REPEATABLE} == {
        "NotSent",
        "Unavailable",
        "RateLimited",
        "OutcomeUnknown",
        "Unusable",
        "Refused",
        "EndpointDown",
    }


async def test_attempts_end_even_if_the_decision_never_does() -> None:
    """There is a bound beyond every policy's own numbers."""
    out, calls = await call([told(1.0)], lambda error: 0.0)
    assert isinstance(out[0], RateLimited)
    assert calls == 1000


@pytest.mark.parametrize("steps", range(40))
async def test_cancelled_at_any_point(steps: int) -> None:
    """Wherever a retrying job is cancelled, the cancellation comes out and no call is made after it."""
    calls = 0
    calls_when_cancelled = -1

    async def attempt() -> str:
        nonlocal calls
        calls += 1
        for _ in range(3):
            await asyncio.sleep(0)
        raise NotSent("no_connection", job().id)

    class Clock(FakeClock):
        async def sleep(self, seconds: float) -> None:
            for _ in range(3):
                await asyncio.sleep(0)

    task = asyncio.create_task(with_retries(attempt, lambda error: 1.0, Clock()))
    for _ in range(steps):
        await asyncio.sleep(0)
    calls_when_cancelled = calls
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert calls == calls_when_cancelled


def test_the_budget_pays_by_cost_and_gets_it_back() -> None:
    """Seven repeats of overload from full; a picture gives back what its job took."""
    budget = RetryBudget(60)
    assert [budget.pays(f"job-{n}", Unavailable("unavailable", "")) for n in range(8)] == [True] * 7 + [False]
    assert budget.left == 2
    budget.succeeded("job-0")
    assert budget.left == 16
    budget.succeeded("another")
    assert budget.left == 17
    budget.gave_up("job-1")
    budget.succeeded("job-1")
    assert budget.left == 18


def test_the_budget_pays_down_to_its_last_part() -> None:
    """What costs as much as is left is paid for; what costs nothing always is, and gives nothing back."""
    budget = RetryBudget(60)
    assert [budget.pays(f"job-{n}", NotSent("no_connection", "")) for n in range(21)] == [True] * 20 + [False]
    assert budget.left == 0
    assert budget.pays("limited", RateLimited("r", ""))
    budget.succeeded("limited")
    assert budget.left == 1


def test_a_jobs_repeats_are_given_back_together() -> None:
    """Two repeats of one job come back with its picture, whichever way they were asked for."""
    budget = RetryBudget(60)
    assert budget.pays("cup", Unavailable("unavailable", ""))
    assert budget.wait_seconds("cup", NotSent("no_connection", ""), 1.0) == 1.0
    assert budget.left == 100 - 14 - 5
    budget.succeeded("cup")
    assert budget.left == 100


def test_a_repeat_that_was_not_paid_for_gives_nothing_back() -> None:
    """When there is room again its job pays as any other, and gets back what it paid and no more."""
    budget = RetryBudget(60)
    assert budget.pays("lost", Unavailable("unavailable", ""))
    while budget.pays("others", Unavailable("unavailable", "")):
        pass
    assert budget.wait_seconds("late", Unavailable("unavailable", ""), 1.5) == 60
    budget.succeeded("others")
    full = budget.left
    assert full == 100 - 14
    assert budget.wait_seconds("late", Unavailable("unavailable", ""), 1.5) == 1.5
    assert budget.left == full - 14
    budget.succeeded("late")
    assert budget.left == full


def test_the_budget_is_never_more_than_full() -> None:
    """A quiet night saves nothing up for the storm."""
    budget = RetryBudget(60)
    for number in range(1000):
        budget.succeeded(f"job-{number}")
    assert budget.left == RetryBudget.CAPACITY


def test_what_is_not_paid_for_goes_behind_all_others_once() -> None:
    """Then the job is left for the next run."""
    budget = RetryBudget(60)
    while budget.pays("others", Unavailable("unavailable", "")):
        pass
    assert budget.wait_seconds("late", Unavailable("unavailable", ""), 1.5) == 60
    assert budget.wait_seconds("late", Unavailable("unavailable", ""), 1.5) is None
    assert budget.wait_seconds("limited", RateLimited("r", ""), 30) == 30


@pytest.mark.parametrize(("times", "seconds"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 32), (60, 32)])
def test_a_single_refusal_is_repeated_soon_and_doubles_five_times(times: int, seconds: float) -> None:
    """Spread by half to both sides, so that jobs refused together do not come back together."""
    random = Random(1)
    waits = [soon_again(times, random) for _ in range(500)]
    assert 0.5 * seconds <= min(waits) < 0.52 * seconds
    assert 1.48 * seconds < max(waits) <= 1.5 * seconds
