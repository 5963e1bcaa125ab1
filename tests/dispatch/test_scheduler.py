"""Running jobs: slots, order, stopping. Time is virtual, buying is a stand-in that takes a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.errors import (
    AttemptError,
    InputError,
    NotSent,
    OutcomeUnknown,
    Problem,
    RateLimited,
    Refused,
    RunStopper,
    StorageError,
    Unavailable,
    Unusable,
)
from batch.model import Done, Failed, Job, Outcome, Pending, Terms, Unknown
from batch.plan import ToDo
from batch.settings import RetryPolicy, UnknownPolicy
from tests.support.fakes import FakeClock, Recorder, Seller, carry_out, job, kinds, scheduler, todo


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def failing(*errors: AttemptError | None) -> Any:
    """Every job's first answers are these, then pictures."""
    return lambda job, n: errors[n - 1] if n <= len(errors) else None


# ---- slots ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 3, 10])
async def test_never_more_in_flight_than_slots(clock: FakeClock, concurrency: int) -> None:
    """All slots are used, and no more."""
    seller = Seller(clock)
    outcomes = await carry_out(scheduler(seller, concurrency=concurrency), todo(40))
    assert kinds(outcomes) == {"Done": 40}
    assert seller.most_in_flight == concurrency


async def test_a_job_waiting_for_its_retry_holds_no_slot(clock: FakeClock) -> None:
    """With one slot, the others are bought while the first waits."""
    seller = Seller(clock, lambda job, n: Unavailable("u", "") if job.id == "job-0" and n == 1 else None)
    await carry_out(scheduler(seller, concurrency=1, policy=RetryPolicy(unavailable_base_seconds=1000)), todo(3))
    assert [job_id for _, job_id, _ in seller.calls] == ["job-0", "job-1", "job-2", "job-0"]


async def test_the_slot_is_given_back_when_the_attempt_is_recorded(clock: FakeClock) -> None:
    """A request goes out only after the one before it was recorded, not when its answer came."""
    seller = Seller(clock)
    recorded_at_start: list[int] = []

    class Starts(Recorder):
        def attempt_started(self, job: Job, in_flight: int) -> None:
            recorded_at_start.append(len(seller.recorded))

    await carry_out(scheduler(seller, concurrency=1, listener=Starts()), todo(4))
    assert recorded_at_start == [0, 1, 2, 3]


async def test_the_plan_is_read_only_as_room_appears(clock: FakeClock) -> None:
    """A plan of a million jobs is never in memory: it is read a few jobs per slot ahead."""
    seller, read, ahead = Seller(clock), 0, []

    def plan() -> Iterator[ToDo]:
        nonlocal read
        for entry in todo(100):
            read += 1
            yield entry

    await carry_out(scheduler(seller, concurrency=2), plan(), lambda outcome: ahead.append(read - len(ahead) - 1))
    assert max(ahead) <= 2 * 3 + 1
    assert read == 100


async def test_jobs_to_pass_over_let_others_move(clock: FakeClock) -> None:
    """A million jobs that are done do not hold up what is in flight."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        for turns in range(1, 51):  # noqa: B007
            await asyncio.sleep(0)

    seen: list[int] = []
    moving = asyncio.create_task(others())

    def answer(job: Job, n: int) -> None:
        seen.append(turns)

    seller = Seller(clock, answer)
    assert kinds(await carry_out(scheduler(seller), [None] * 10_000 + list(todo(1)))) == {"Done": 1}
    await moving
    assert seen == [50]


class WatchedSeller(Seller):
    """Notes the jobs whose request was cancelled."""

    def __init__(self, clock: FakeClock, answers: Callable[[Job, int], Any]) -> None:
        super().__init__(clock, answers)
        self.cut_off: list[str] = []

    async def buy(self, job: Job, why: str, terms: Terms) -> Done:
        try:
            return await super().buy(job, why, terms)
        except asyncio.CancelledError:
            self.cut_off.append(job.id)
            raise


@settings(deadline=None, max_examples=40)
@given(
    jobs=st.integers(1, 30),
    concurrency=st.integers(1, 5),
    per_minute=st.one_of(st.none(), st.integers(1, 20)),
    answers=st.lists(
        st.sampled_from(
            [
                None,
                0.0,
                30.0,
                NotSent("a", ""),
                Unavailable("b", ""),
                RateLimited("c", "", wait_seconds=9.0),
                OutcomeUnknown("d", ""),
                Unusable("e", ""),
                Refused("f", ""),
                StorageError("g"),
                RunStopper("h", ""),
                ValueError("i"),
            ]
        ),
        min_size=1,
        max_size=60,
    ),
    stop_at=st.one_of(st.none(), st.integers(0, 120)),
)
def test_whatever_happens(
    jobs: int, concurrency: int, per_minute: int | None, answers: list[Any], stop_at: int | None
) -> None:
    """Any mix of answers, limits and a stop: every started job has one outcome, nothing hangs, nothing leaks, what
    was bought is reported, and no cancellation reaches a request in flight."""
    clock = FakeClock()
    queue = iter(answers)
    any_planted = [answer for answer in answers if type(answer) is ValueError]
    seller = WatchedSeller(clock, lambda job, n: next(queue, None))

    async def scenario() -> dict[str, Outcome]:
        running = scheduler(seller, concurrency=concurrency, per_minute=per_minute, budget=3)

        async def stop() -> None:
            await clock.sleep(stop_at or 0)
            running.stop(KeyboardInterrupt(), "asked to")

        stopping = asyncio.create_task(stop()) if stop_at is not None else None
        outcomes = await asyncio.wait_for(carry_out(running, todo(jobs), bug=any_planted), 20)
        if stopping is not None:
            await stopping
        if running.stopped_by is None:
            assert len(outcomes) == jobs
            assert len(seller.calls) >= jobs
        return outcomes

    outcomes = asyncio.run(scenario())
    assert {job_id for job_id, outcome in outcomes.items() if isinstance(outcome, Done)} == set(seller.recorded)
    assert seller.most_in_flight <= concurrency
    assert seller.cut_off == []
    assert {called for _, called, _ in seller.calls} <= set(outcomes)


# ---- retries across jobs ----------------------------------------------------------------------------------


async def test_why_each_attempt_is_made(clock: FakeClock) -> None:
    """The ledger can tell a first request from a repeat, and a repeat from one that may be paid twice."""
    seller = Seller(clock, failing(NotSent("a", ""), OutcomeUnknown("b", ""), Unavailable("c", "")))
    outcomes = await carry_out(scheduler(seller), todo(1, because="changed"))
    assert kinds(outcomes) == {"Done": 1}
    assert [why for _, _, why in seller.calls] == ["changed", "again", "resend", "again"]


@pytest.mark.parametrize(
    ("policy", "budget", "calls", "unknown"),
    [
        (RetryPolicy(), 10, 10, 0),
        (RetryPolicy(), 2, 7, 3),
        (RetryPolicy(unknown=UnknownPolicy.HOLD), 10, 5, 5),
    ],
)
async def test_resending_is_bounded(
    clock: FakeClock, policy: RetryPolicy, budget: int, calls: int, unknown: int
) -> None:
    """A request without an answer is sent again once per job, within the run's budget, or not at all."""
    seller = Seller(clock, failing(OutcomeUnknown("timeout", "")))
    outcomes = await carry_out(scheduler(seller, policy=policy, budget=budget), todo(5))
    assert len(seller.calls) == calls
    assert kinds(outcomes)["Unknown"] == unknown


async def test_a_second_silence_is_the_last(clock: FakeClock) -> None:
    """A job whose resent request got no answer either is left unknown, budget or not."""
    seller = Seller(clock, failing(OutcomeUnknown("cut", ""), OutcomeUnknown("cut", "")))
    outcomes = await carry_out(scheduler(seller), todo(1))
    assert isinstance(outcomes["job-0"], Unknown)
    assert seller.times("job-0") == 2


async def test_unknowns_of_earlier_runs_share_the_budget(clock: FakeClock) -> None:
    """Jobs that come in as `resend` take a place each; without one they are not sent."""
    seller = Seller(clock)
    outcomes = await carry_out(scheduler(seller, budget=2), todo(5, because="resend"))
    assert kinds(outcomes) == {"Done": 2, "Unknown": 3}
    assert len(seller.calls) == 2


async def test_charged_answers_count_over_the_jobs_life(clock: FakeClock) -> None:
    """A job that was charged in vain in an earlier run has that many tries fewer."""
    seller = Seller(clock, lambda job, n: Unusable("image_other", "", retries=9))
    seller.rejected["job-1"] = 2
    outcomes = await carry_out(scheduler(seller), todo(2))
    assert kinds(outcomes) == {"Failed": 2}
    assert (seller.times("job-0"), seller.times("job-1")) == (3, 1)


async def test_one_word_from_the_server_holds_everybody(clock: FakeClock) -> None:
    """After a 429 with a delay nothing goes out before that time, whichever job it met; then all are bought."""
    seller = Seller(clock, lambda job, n: RateLimited("r", "", wait_seconds=40) if job.id == "job-0" and n == 1 else 3)
    outcomes = await carry_out(scheduler(seller, concurrency=4), todo(20))
    assert kinds(outcomes) == {"Done": 20}
    answered = 1000 + 1
    assert [at for at, _, _ in seller.calls if answered < at < answered + 40] == []


async def test_waiting_for_the_server_counts_no_attempt(clock: FakeClock) -> None:
    """A job throttled many times still has all its tries for other troubles."""
    limits = [RateLimited("r", "", wait_seconds=1)] * 20
    seller = Seller(clock, failing(*limits, Unavailable("u", ""), Unavailable("u", "")))
    assert kinds(await carry_out(scheduler(seller), todo(1))) == {"Done": 1}


async def test_endless_throttling_stops_the_run(clock: FakeClock) -> None:
    """A provider that keeps saying "later" ends the run as something for a later run."""
    seller = Seller(clock, lambda job, n: RateLimited("r", "", wait_seconds=10))
    running = scheduler(seller)
    outcomes = await carry_out(running, todo(4))
    assert set(kinds(outcomes)) == {"Pending"}
    assert isinstance(running.stopped_by, RunStopper)
    assert (running.stopped_by.code, running.stopped_by.stop_code) == ("rate_limited", 75)


# ---- stopping ---------------------------------------------------------------------------------------------


async def test_stop_finishes_what_is_in_flight(clock: FakeClock) -> None:
    """Nothing new goes out, what is out is waited for and kept, the rest is pending or never started."""
    seller, told = Seller(clock), Recorder()
    running = scheduler(seller, concurrency=3, listener=told)

    def after_first(outcome: Outcome) -> None:
        running.stop(KeyboardInterrupt(), "asked to")

    outcomes = await carry_out(running, todo(50), after_first)
    assert kinds(outcomes)["Done"] == len(seller.calls) == len(seller.recorded)
    assert len(seller.calls) <= 6
    assert set(kinds(outcomes)) == {"Done", "Pending"}
    assert told.named("stopping")[0][1] == "asked to"


@pytest.mark.parametrize(
    "error", [RunStopper("bad_key", "the key is wrong"), StorageError("disk full")], ids=["key", "disk"]
)
async def test_errors_that_stop_the_run(clock: FakeClock, error: Exception) -> None:
    """A wrong key or a full disk: what is in flight finishes, nothing else is sent, the job itself stays pending."""
    seller = Seller(clock, lambda job, n: error if job.id == "job-1" else 5.0)
    running = scheduler(seller, concurrency=3)
    outcomes = await carry_out(running, todo(50))
    assert running.stopped_by is error
    assert isinstance(outcomes["job-1"], Pending)
    assert kinds(outcomes)["Done"] == 2
    assert len(seller.calls) == 3


async def test_only_the_first_reason_counts(clock: FakeClock) -> None:
    """Stopping twice is stopping once; the first reason decides how the run ends."""
    told = Recorder()
    running = scheduler(Seller(clock, lambda job, n: RunStopper("bad_key", f"{job.id}")), listener=told)
    await carry_out(running, todo(9))
    assert str(running.stopped_by) == "job-0"
    running.stop(ValueError(), "again")
    assert len(told.named("stopping")) == 1


async def test_stopped_before_the_first_job(clock: FakeClock) -> None:
    """A stop that comes before anything was started means that nothing is sent."""
    seller = Seller(clock)
    running = scheduler(seller)
    running.stop(KeyboardInterrupt(), "asked to")
    assert await carry_out(running, todo(9)) == {}
    assert seller.calls == []


async def test_stopped_before_a_task_took_its_first_step(clock: FakeClock) -> None:
    """However early it comes, the run ends and every started job has an outcome."""
    for steps in range(8):
        seller = Seller(clock)
        running = scheduler(seller, concurrency=2)
        async with running.outcomes(todo(9)) as outcomes:
            for _ in range(steps):
                await asyncio.sleep(0)
            running.stop(KeyboardInterrupt(), "asked to")
            found = [outcome async for outcome in outcomes]
        assert sum(isinstance(outcome, Done) for outcome in found) == len(seller.calls)


@pytest.mark.parametrize(
    ("waiting_for", "options", "first"),
    [
        ("the gate", {}, RateLimited("r", "", wait_seconds=250)),
        ("the rate", {"per_minute": 1}, None),
        ("its retry", {"policy": RetryPolicy(unavailable_base_seconds=60, cap_seconds=120)}, Unavailable("u", "")),
    ],
)
async def test_stop_lets_go_who_waits(clock: FakeClock, waiting_for: str, options: Any, first: Any) -> None:
    """Jobs that wait for the gate, the rate or a retry are let go at once: the run does not wait with them."""
    seller = Seller(clock, failing(first) if first else lambda job, n: None)
    running = scheduler(seller, concurrency=1, **options)

    async def stop() -> None:
        await clock.sleep(2.5)
        running.stop(KeyboardInterrupt(), "asked to")

    stopping = asyncio.create_task(stop())
    outcomes = await carry_out(running, todo(1 if waiting_for == "its retry" else 5))
    await stopping
    assert "Pending" in kinds(outcomes)
    assert clock.time <= 1004


async def test_a_failure_after_the_stop_is_pending_if_it_would_have_been_tried_again(clock: FakeClock) -> None:
    """In flight when the run stopped, and not served: that is no failure of the job."""
    errors = [None, RunStopper("bad_key", ""), Unavailable("u", ""), OutcomeUnknown("c", "")]
    seller = Seller(clock, lambda job, n: errors[int(job.id[-1])])
    outcomes = await carry_out(scheduler(seller, concurrency=3), todo(4))
    assert [type(outcomes[f"job-{n}"]) for n in range(4)] == [Done, Pending, Pending, Unknown]


async def test_abort_cuts_what_is_in_flight(clock: FakeClock) -> None:
    """The second, impatient stop: attempts are cancelled and reported as not settled."""
    seller = Seller(clock, lambda job, n: 600.0)
    running = scheduler(seller, concurrency=2)

    async def stop() -> None:
        await clock.sleep(5)
        running.stop(KeyboardInterrupt(), "asked to")
        await clock.sleep(5)
        running.abort()

    stopping = asyncio.create_task(stop())
    outcomes = await carry_out(running, todo(9))
    await stopping
    assert set(kinds(outcomes)) == {"Pending"}
    assert seller.recorded == []
    assert clock.time < 1020


async def test_leaving_early_finishes_what_is_in_flight(clock: FakeClock) -> None:
    """A reader that fails does not cost the pictures on their way, and does not start new ones."""
    seller = Seller(clock, lambda job, n: 1.0 if job.id == "job-0" else Unavailable("u", ""))
    running = scheduler(seller, concurrency=2)
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with running.outcomes(todo(50)):
            await clock.sleep(1.5)
            raise ZeroDivisionError
    assert len(seller.calls) == 3
    assert seller.in_flight == 0


async def test_a_caller_cancelled_twice_does_not_wait(clock: FakeClock) -> None:
    """Cancelled once, the run finishes what is in flight; cancelled again, it cuts it; either way nothing is left."""
    seller = Seller(clock, lambda job, n: 600.0)

    async def run() -> None:
        await carry_out(scheduler(seller, concurrency=2), todo(9))

    before = asyncio.all_tasks()
    task = asyncio.create_task(run())
    await clock.sleep(5)
    task.cancel()
    await clock.sleep(5)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before
    assert clock.time < 1020


# ---- what must not take the others along ------------------------------------------------------------------


async def test_a_bug_in_one_job_does_not_end_the_others(clock: FakeClock) -> None:
    """That job fails with our own name for it, the rest is bought, and the run knows it had a bug."""
    bug = ValueError("bug")
    seller = Seller(clock, lambda job, n: bug if job.id == "job-3" else None)
    running = scheduler(seller)
    outcomes = await carry_out(running, todo(9), bug=bug)
    assert kinds(outcomes) == {"Done": 8, "Failed": 1}
    failed = outcomes["job-3"]
    assert isinstance(failed, Failed)
    assert failed.error.code == "internal"
    assert running.stopped_by is None


async def test_three_bugs_stop_the_run(clock: FakeClock) -> None:
    """Then it is not the jobs."""
    bug = ValueError("bug")
    seller = Seller(clock, lambda job, n: bug)
    running = scheduler(seller, concurrency=1)
    await carry_out(running, todo(50), bug=bug)
    assert running.stopped_by is bug
    assert len(seller.calls) == 3


async def test_an_error_in_the_plan_itself(clock: FakeClock) -> None:
    """A table that changed while it was read stops the run; what is in flight is still reported."""

    def plan() -> Iterator[ToDo]:
        yield from todo(2)
        raise InputError([Problem(message="row 3 is gone")])

    seller = Seller(clock)
    running = scheduler(seller, concurrency=2)
    outcomes = await carry_out(running, plan())
    assert isinstance(running.stopped_by, InputError)
    assert set(outcomes) == {"job-0", "job-1"}
    assert kinds(outcomes)["Done"] == len(seller.recorded)


@pytest.mark.parametrize(
    ("answer", "code", "most_calls"),
    [
        (OutcomeUnknown("cut", "", elapsed_seconds=60.0), "cut_at_constant_time", 3 + 2),
        (Unusable("not_json", ""), "unreadable_answers", 3 + 2),
        (Unavailable("no_channel", ""), "no_channel", 3),
        (Unavailable("unavailable", ""), "no_service", 12),
        (Refused("invalid_request", "HTTP 400"), "all_refused", 5 + 2),
    ],
)
async def test_one_cause_stops_the_run_early(clock: FakeClock, answer: Any, code: str, most_calls: int) -> None:
    """A hundred jobs that would all fail alike cost a handful of requests."""
    seller = Seller(clock, lambda job, n: answer)
    running = scheduler(seller, concurrency=2)
    await carry_out(running, todo(100))
    assert isinstance(running.stopped_by, RunStopper)
    assert running.stopped_by.code == code
    assert len(seller.calls) <= most_calls


async def test_events_tell_the_story(clock: FakeClock) -> None:
    """A listener hears each request go out, each repeatable failure with its wait, and the gate."""
    told = Recorder()
    seller = Seller(clock, failing(RateLimited("limit", "", wait_seconds=10), None))
    await carry_out(scheduler(seller, listener=told), todo(1))
    names = [event[0] for event in told.events]
    assert names == ["started", "gate", "failed", "started"]
    assert told.events[0] == ("started", job("job-0").id, 1)
    assert told.events[2][3] >= 10
