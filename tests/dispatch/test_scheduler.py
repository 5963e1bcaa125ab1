"""Running jobs: slots, order, stopping. Time is virtual, buying is a stand-in that takes a second."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.core.errors import (
    AttemptError,
    EndpointDown,
    InputError,
    Kind,
    NotSent,
    OutcomeUnknown,
    Problem,
    RateLimited,
    Refused,
    StorageError,
    Unavailable,
    Undelivered,
    Unusable,
)
from batch.core.events import Waiting
from batch.core.lane import Lane
from batch.core.model import Done, Failed, Job, Outcome, Pending, Terms, Unknown
from batch.core.settings import Limits, RetryPolicy, UnknownPolicy
from batch.core.usage import Usage
from batch.dispatch.base import RouteSettings
from batch.limits.quotas import need_of
from batch.plan import ToDo
from tests.support.fakes import FakeClock, Recorder, Seller, carry_out, done, job, kinds, one_route, scheduler, todo


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
                EndpointDown("h", ""),
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
    assert isinstance(running.stopped_by, EndpointDown)
    assert (running.stopped_by.code, running.stopped_by.exit_code) == ("rate_limited", 75)


async def test_a_job_keeps_its_place_in_the_line(clock: FakeClock) -> None:
    """The first to come is the first to be served, also with its second request."""
    seller = Seller(clock, lambda job, n: NotSent("a", "") if job.id == "job-0" and n == 1 else None)
    await carry_out(scheduler(seller, concurrency=1), todo(5))
    order = [job_id for _, job_id, _ in seller.calls]
    assert order == ["job-0", "job-1", "job-0", "job-2", "job-3", "job-4"]


async def test_what_a_job_took_to_repeat_is_given_back_with_its_picture(clock: FakeClock) -> None:
    """A provider that fails one time in five all night slows no repeat down, as long as each brings its picture."""
    told = Recorder()
    seller = Seller(clock, lambda job, n: Unavailable("u", "") if int(job.id[4:]) % 4 == 3 and n == 1 else None)
    await carry_out(scheduler(seller, concurrency=1, listener=told), todo(120))
    assert len(told.named("failed")) == 30
    assert max(event[3] for event in told.named("failed")) < RetryPolicy().cap_seconds / 2


@pytest.mark.parametrize(
    "error", [Unavailable("u", "busy"), OutcomeUnknown("cut", "no answer"), Refused("safety", "no", kind=Kind.POLICY)]
)
async def test_a_job_without_a_picture_has_the_last_error(clock: FakeClock, error: AttemptError) -> None:
    """The outcome says what was said last."""
    outcomes = await carry_out(scheduler(Seller(clock, lambda job, n: error)), todo(1))
    outcome = outcomes["job-0"]
    assert isinstance(outcome, Unknown if isinstance(error, OutcomeUnknown) else Failed)
    assert outcome.error is error


async def test_a_job_that_may_be_paid_twice_and_is_not_sent_says_so(clock: FakeClock) -> None:
    """Held by the run's own limit on such jobs, unless a person asked for it."""
    seller = Seller(clock)
    asked_for = ToDo(job=job("wanted"), because="resend", asked_for=True)
    outcomes = await carry_out(scheduler(seller, budget=0), [*todo(1, because="resend"), asked_for])
    held = outcomes["job-0"]
    assert isinstance(held, Unknown)
    assert (held.error.code, held.error.message) == (
        "held",
        "not sent again: enough jobs of this run may be paid twice already",
    )
    assert isinstance(outcomes["wanted"], Done)
    assert [called for _, called, _ in seller.calls] == ["wanted"]


async def test_a_picture_that_cannot_be_fetched_yet_waits_for_the_next_run(clock: FakeClock) -> None:
    """It is bought: no other request is sent, and the listener hears why."""
    told = Recorder()
    seller = Seller(clock, lambda job, n: Undelivered("host_down", "") if job.id == "job-0" else None)
    outcomes = await carry_out(scheduler(seller, listener=told), todo(2))
    assert isinstance(outcomes["job-0"], Pending)
    assert seller.times("job-0") == 1
    assert ("failed", "job-0", "host_down", None) in told.events


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        (Unavailable("u", ""), [True, True, False]),
        (Unusable("no_image", "", retries=0), [False]),
        (Refused("safety", "", kind=Kind.POLICY), []),
        (EndpointDown("bad_key", ""), []),
    ],
)
async def test_which_failures_are_told_and_with_what_wait(
    clock: FakeClock, error: AttemptError, waits: list[bool]
) -> None:
    """Each attempt that may be repeated, the last one without a wait; what ends a job or a run is told by that."""
    told = Recorder()
    await carry_out(scheduler(Seller(clock, lambda job, n: error), listener=told), todo(1))
    assert [event[3] is not None for event in told.named("failed")] == waits


async def test_pictures_between_them_show_that_cut_requests_have_no_common_cause(clock: FakeClock) -> None:
    """Three requests are cut after 60 s, but one that took 90 s came through: no timer cuts them."""
    cut = OutcomeUnknown("cut", "", elapsed_seconds=60.0)

    class Slow(Seller):
        async def buy(self, job: Job, why: str, terms: Terms) -> Done:
            return done(job=(await super().buy(job, why, terms)).job, seconds=90.0)

    seller = Slow(clock, lambda job, n: cut if job.id in ("job-0", "job-1", "job-3") and n == 1 else None)
    running = scheduler(seller, concurrency=1, policy=RetryPolicy(unavailable_base_seconds=5000, cap_seconds=9000))
    outcomes = await carry_out(running, todo(5))
    assert running.stopped_by is None
    assert kinds(outcomes) == {"Done": 5}


# ---- what an attempt is given -----------------------------------------------------------------------------


async def test_money_is_set_aside_for_each_attempt_before_it_takes_a_slot(clock: FakeClock) -> None:
    """A job that waits for money holds up no other; what was set aside ends with the attempt."""
    steps: list[str] = []
    enough = asyncio.Event()

    class Money:
        @asynccontextmanager
        async def reserve(self, job: Job) -> AsyncIterator[None]:
            if job.id == "job-0":
                await enough.wait()
            steps.append(f"{job.id} has money")
            yield
            steps.append(f"{job.id} is over")

    def answer(job: Job, n: int) -> None:
        steps.append(f"{job.id} is sent")
        if job.id == "job-1":
            enough.set()

    await carry_out(scheduler(Seller(clock, answer), concurrency=1, money=Money()), todo(2))
    each = ["has money", "is sent", "is over"]
    assert [step for step in steps if "job-1" in step] == [f"job-1 {what}" for what in each]
    assert [step for step in steps if "job-0" in step] == [f"job-0 {what}" for what in each]
    assert steps.index("job-1 is sent") < steps.index("job-0 has money")


async def test_without_money_the_run_ends_and_the_job_stays_to_be_done(clock: FakeClock) -> None:
    """Also at a repeat, when an endpoint was asked before."""
    no_room, asked = EndpointDown("budget", "no room"), Counter[str]()

    class Money:
        @asynccontextmanager
        async def reserve(self, job: Job) -> AsyncIterator[None]:
            asked[job.id] += 1
            if asked[job.id] == 2:
                raise no_room
            yield

    seller = Seller(clock, lambda job, n: NotSent("a", ""))
    running = scheduler(seller, money=Money())
    outcomes = await carry_out(running, todo(1))
    assert isinstance(outcomes["job-0"], Pending)
    assert (running.stopped_by, len(seller.calls)) == (no_room, 1)


async def test_the_buyer_is_told_the_terms(clock: FakeClock) -> None:
    """The endpoint, the job's model, and the lane that is wished for where there is one."""
    seen: list[Terms] = []

    class Told(Seller):
        async def buy(self, job: Job, why: str, terms: Terms) -> Done:
            seen.append(terms)
            return await super().buy(job, why, terms)

    route = RouteSettings(name="somewhere", limits=Limits(concurrency=1), lanes=frozenset(Lane))
    await carry_out(scheduler(Told(clock), routes=[route], lane=Lane.FLEX), todo(1))
    late = clock.now()
    await carry_out(scheduler(Told(clock), routes=[route], lane=Lane.FLEX, finish_by=late, jobs=1), todo(1))
    model = job().model
    assert seen == [Terms(endpoint="somewhere", model=model, lane=lane) for lane in (Lane.FLEX, Lane.STANDARD)]


async def test_tokens_are_counted_as_the_provider_counts_them(clock: FakeClock) -> None:
    """Estimated high, three jobs go in the first minute; counted low, all five do."""

    class Counting(Seller):
        async def buy(self, job: Job, why: str, terms: Terms) -> Done:
            bought = await super().buy(job, why, terms)
            return replace(bought, attempt=replace(bought.attempt, usage=Usage(total=10)))

    tokens = need_of(job("job-0")).tokens
    limits = Limits(concurrency=1, tokens_per_minute=tokens * 3, adaptive=False)
    for seller, in_the_first_minute in ((Seller(clock), 3), (Counting(clock), 5)):
        began = clock.time
        await carry_out(scheduler(seller, routes=[one_route(limits)]), todo(5))
        assert sum(at < began + 30 for at, _, _ in seller.calls) == in_the_first_minute


async def test_it_is_said_when_our_own_machine_gives_no_slots_back(clock: FakeClock) -> None:
    """In the place of the full slots; whoever judges it is told how many requests are in flight."""
    heard: list[int] = []

    class Waits(Recorder):
        def waiting(self, waiting: Waiting) -> None:
            self.events.append(("waiting", waiting.by))

    class Disk:
        def local_bottleneck(self, in_flight: int) -> str:
            heard.append(in_flight)
            return "disk"

    told = Waits()
    await carry_out(scheduler(Seller(clock), adaptive=False, listener=told, load=Disk()), todo(5))
    assert ("waiting", "disk") in told.events
    assert ("waiting", "concurrency") not in told.events
    assert set(heard) == {2}


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


@pytest.mark.parametrize("in_flight", [1, 3])
async def test_a_stop_says_why_and_how_many_are_waited_for(clock: FakeClock, in_flight: int) -> None:
    """A person who asked for an end sees how much is still on its way."""
    told = Recorder()
    running = scheduler(Seller(clock), concurrency=in_flight, listener=told, adaptive=False)
    async with running.outcomes(todo(9)):
        await clock.sleep(1.5)
        running.stop(KeyboardInterrupt(), "asked to")
    assert told.named("stopping") == [("stopping", "asked to", in_flight)]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (StorageError("the disk is full"), "the disk is full"),
        (EndpointDown("bad_key", "the key is wrong"), "the key is wrong"),
        (ValueError("bug"), "too many internal errors"),
    ],
    ids=["disk", "key", "bugs"],
)
async def test_what_stops_the_run_is_told_in_its_own_words(clock: FakeClock, answer: Exception, words: str) -> None:
    """At once, not only in the summary."""
    told = Recorder()
    running = scheduler(Seller(clock, lambda job, n: answer), concurrency=1, listener=told)
    await carry_out(running, todo(9), bug=[answer])
    assert [event[1] for event in told.named("stopping")] == [words]


@pytest.mark.parametrize(
    "error", [EndpointDown("bad_key", "the key is wrong"), StorageError("disk full")], ids=["key", "disk"]
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


async def test_a_listener_may_stop_the_run_over_a_failure_it_hears_of(clock: FakeClock) -> None:
    """While it is decided when the job is sent again: then it is not, and no repeat is announced."""

    class StopsAtTheGate(Recorder):
        def gate_closed(self, seconds: float, reason: str) -> None:
            running.stop(KeyboardInterrupt(), "asked to")

    told = StopsAtTheGate()
    seller = Seller(clock, lambda job, n: RateLimited("r", "", wait_seconds=5))
    running = scheduler(seller, listener=told)
    outcomes = await asyncio.wait_for(carry_out(running, todo(9)), 20)
    assert set(kinds(outcomes)) == {"Pending"}
    assert len(seller.calls) == 1
    assert told.named("failed") == [("failed", "job-0", "r", None)]


async def test_a_refusal_that_comes_after_a_stop_holds_nothing_back(clock: FakeClock) -> None:
    """There is nothing left to hold back, and no pause to be told of."""
    told = Recorder()
    seller = Seller(clock, lambda job, n: RateLimited("r", "", wait_seconds=30), seconds=5)
    running = scheduler(seller, listener=told)
    async with running.outcomes(todo(9)) as outcomes:
        await clock.sleep(2)
        running.stop(KeyboardInterrupt(), "asked to")
        found = [outcome async for outcome in outcomes]
    assert {type(outcome) for outcome in found} == {Pending}
    assert (told.named("gate"), told.named("failed")[0][3]) == ([], None)


async def test_only_the_first_reason_counts(clock: FakeClock) -> None:
    """Stopping twice is stopping once; the first reason decides how the run ends."""
    told = Recorder()
    running = scheduler(Seller(clock, lambda job, n: EndpointDown("bad_key", f"{job.id}")), listener=told)
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
    errors = [None, EndpointDown("bad_key", ""), Unavailable("u", ""), OutcomeUnknown("c", "")]
    seller = Seller(clock, lambda job, n: errors[int(job.id[-1])])
    outcomes = await carry_out(scheduler(seller, concurrency=3), todo(4))
    assert [type(outcomes[f"job-{n}"]) for n in range(4)] == [Done, Pending, Pending, Unknown]


async def test_a_refusal_after_the_stop_is_the_jobs_own(clock: FakeClock) -> None:
    """The next run would hear the same."""
    errors = [None, EndpointDown("bad_key", ""), Refused("safety", "", kind=Kind.POLICY)]
    seller = Seller(clock, lambda job, n: errors[int(job.id[-1])])
    outcomes = await carry_out(scheduler(seller, concurrency=2), todo(3))
    assert [type(outcomes[f"job-{n}"]) for n in range(3)] == [Done, Pending, Failed]


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


async def test_a_bug_in_one_job_does_not_end_the_others(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """That job fails with our own name for it, the log has its traceback, the rest is bought, and the run knows."""
    bug = ValueError("bug")
    seller = Seller(clock, lambda job, n: bug if job.id == "job-3" else None)
    running = scheduler(seller)
    outcomes = await carry_out(running, todo(9), bug=bug)
    assert kinds(outcomes) == {"Done": 8, "Failed": 1}
    failed = outcomes["job-3"]
    assert isinstance(failed, Failed)
    assert failed.error.code == "internal"
    assert "internal error (ValueError); its answer, if one came, is kept" in failed.error.message
    assert running.stopped_by is None
    assert [(record.getMessage(), record.exc_info and record.exc_info[1]) for record in caplog.records] == [
        ("internal error in job job-3", bug)
    ]


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

    seller, told = Seller(clock), Recorder()
    running = scheduler(seller, concurrency=2, listener=told)
    outcomes = await carry_out(running, plan())
    assert isinstance(running.stopped_by, InputError)
    assert "row 3 is gone" in told.named("stopping")[0][1]
    assert set(outcomes) == {"job-0", "job-1"}
    assert kinds(outcomes)["Done"] == len(seller.recorded)


@pytest.mark.parametrize(
    ("answer", "code", "most_calls"),
    [
        (OutcomeUnknown("cut", "", elapsed_seconds=60.0), "cut_at_constant_time", 3 + 2),
        (Unusable("not_json", "", kind=Kind.UNREADABLE), "unreadable_answers", 3 + 2),
        (Unavailable("no_channel", "", kind=Kind.NO_CHANNEL), "no_channel", 3),
        (Unavailable("unavailable", ""), "no_service", 12),
        (Refused("invalid_request", "HTTP 400", kind=Kind.MALFORMED), "all_refused", 5 + 2),
    ],
)
async def test_one_cause_stops_the_run_early(clock: FakeClock, answer: Any, code: str, most_calls: int) -> None:
    """A hundred jobs that would all fail alike cost a handful of requests."""
    seller = Seller(clock, lambda job, n: answer)
    running = scheduler(seller, concurrency=2)
    await carry_out(running, todo(100))
    assert isinstance(running.stopped_by, EndpointDown)
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
