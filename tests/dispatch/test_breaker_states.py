"""The breaker by itself: each of its thresholds from both sides. `test_breaker` runs it inside the scheduler."""

from __future__ import annotations

import asyncio

import pytest

from batch.core.errors import (
    AttemptError,
    EndpointDown,
    Kind,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    Refused,
    Unavailable,
    Unusable,
)
from batch.core.events import Listener
from batch.core.lane import Lane
from batch.dispatch.breaker import Breaker, BreakerSettings, State
from tests.support.fakes import FakeClock

BROKEN = Unavailable("unavailable", "HTTP 503")
NO_CHANNEL = Unavailable("no_channel", "no available channel", kind=Kind.NO_CHANNEL)
LIMIT = RateLimited("rate_limited", "slow down", wait_seconds=1.0)
SHED = RateLimited("rate_limited", "slow down")
DAY_IS_OVER = EndpointDown("daily_quota", "per day", of_model=True)
OUTAGE_SECONDS = 1800.0


class Bench(Listener):
    """A breaker on virtual time. `pauses` and `stops` hold what it reported."""

    def __init__(
        self,
        *,
        lane: Lane = Lane.STANDARD,
        max_outage_seconds: float = OUTAGE_SECONDS,
        known_key: bool = False,
        short_batch: bool = False,
    ) -> None:
        self.clock = FakeClock()
        self.pauses: list[float] = []
        self.reasons: list[str] = []
        self.stops: list[EndpointDown] = []
        settings = BreakerSettings(
            max_outage_seconds=max_outage_seconds, lane=lane, known_key=known_key, short_batch=short_batch
        )
        self.breaker = Breaker(settings, self.clock, self)

    def gate_closed(self, seconds: float, reason: str) -> None:
        self.pauses.append(seconds)
        self.reasons.append(reason)

    def answer(self, number: int, error: BaseException | None = None, *, seconds: float = 0.0) -> None:
        """Request `number` ends `seconds` after it was sent."""
        self.clock.time += seconds
        self.stops += self.breaker.ended(number, error)

    def ask(self, error: AttemptError | None = None) -> None:
        """One request, out and back."""
        self.answer(self.breaker.admit(), error)

    def sends_freely(self) -> bool:
        """Whether two requests may be out at once. Both are then answered as a refusal that says nothing."""
        if self.breaker.wait_seconds() > 0:
            return False
        first = self.breaker.admit()
        free = self.breaker.wait_seconds() == 0
        self.answer(first, asyncio.CancelledError())
        return free

    def open(self) -> None:
        """An outage after one good answer: six failures in a row."""
        self.ask()
        for _ in range(6):
            self.ask(BROKEN)
        assert self.breaker.is_open


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_first_request_of_a_run_goes_alone(bench: Bench) -> None:
    """The others wait for its answer, and no longer than two seconds."""
    bench.breaker.admit()
    assert bench.breaker.wait_seconds() == 2.0
    bench.clock.time += 1.5
    assert bench.breaker.wait_seconds() == 0.5
    bench.clock.time += 0.5
    assert bench.breaker.wait_seconds() == 0.0


def test_one_good_answer_lets_all_go_at_the_start(bench: Bench) -> None:
    """The first answer shows that key and address are right."""
    assert not bench.sends_freely()
    bench.ask()
    assert bench.sends_freely()


@pytest.mark.parametrize(
    ("failures", "alone", "is_open"),
    [(2, False, False), (3, True, False), (5, True, False), (6, True, True)],
)
@pytest.mark.parametrize(
    "error", [BROKEN, NotSent("no_connection", ""), OutcomeUnknown("timeout", "")], ids=["503", "no connection", "cut"]
)
def test_failures_in_a_row(bench: Bench, error: AttemptError, failures: int, alone: bool, is_open: bool) -> None:
    """After three the next requests go one by one; after six none goes for a minute."""
    bench.ask()
    for _ in range(failures):
        bench.ask(error)
    assert bench.breaker.is_open is is_open
    assert bench.sends_freely() is not alone
    assert bench.pauses == ([60.0] if is_open else [])
    assert bench.reasons == ([error.message] if is_open else [])


@pytest.mark.parametrize(("failures", "is_open"), [(5, False), (6, True)])
def test_a_run_that_begins_in_an_outage_opens_after_six_too(bench: Bench, failures: int, is_open: bool) -> None:
    """Nothing is counted before the first request."""
    assert not bench.breaker.in_doubt
    for _ in range(failures):
        bench.ask(BROKEN)
    assert bench.breaker.is_open is is_open


def test_an_answer_in_between_ends_the_row(bench: Bench) -> None:
    """Five failures, an answer, five failures: fewer than half of twenty, so nothing opens."""
    for _ in range(9):
        bench.ask()
    for _ in range(2):
        for _ in range(4):
            bench.ask(BROKEN)
        bench.ask()
    assert not bench.breaker.is_open


@pytest.mark.parametrize(
    ("ends", "is_open"),
    [("x.x.x.x.x", False), (".x.x.x.x.x", True), ("..x.x.x.x.x", False), ("." * 20 + ".x" * 9 + "x", True)],
    ids=["nine ends", "five of ten", "five of eleven", "ten of the last twenty"],
)
def test_half_of_at_least_ten_answers(bench: Bench, ends: str, is_open: bool) -> None:
    """Scattered failures open the breaker at half of the last twenty answers, and not before there are ten."""
    for end in ends:
        bench.ask(BROKEN if end == "x" else None)
    assert bench.breaker.is_open is is_open


@pytest.mark.parametrize("error", [Unusable("no_image", "", retries=1), Refused("image_safety", "", kind=Kind.POLICY)])
def test_an_answer_without_a_picture_is_service(bench: Bench, error: AttemptError) -> None:
    """Whatever it says of the job, the provider answered."""
    for _ in range(30):
        bench.ask(error)
    assert not bench.breaker.is_open
    assert bench.sends_freely()


def test_a_pause_lets_nobody_out_to_its_last_instant(bench: Bench) -> None:
    """Sixty seconds after the sixth failure one request may go, and no second one."""
    bench.open()
    bench.clock.time += 59.75
    assert bench.breaker.wait_seconds() == 0.25
    bench.clock.time += 0.25
    assert bench.breaker.wait_seconds() == 0.0
    bench.breaker.admit()
    assert bench.breaker.wait_seconds() == float("inf")
    bench.clock.time += 100.0
    assert bench.breaker.wait_seconds() == float("inf")


def test_each_failed_probe_doubles_the_pause_up_to_ten_minutes() -> None:
    """60, 120, 240, 480, 600, 600 seconds."""
    bench = Bench(lane=Lane.FLEX)
    bench.open()
    for _ in range(5):
        bench.clock.time += bench.breaker.wait_seconds()
        bench.ask(BROKEN)
    assert bench.pauses == [60.0, 120.0, 240.0, 480.0, 600.0, 600.0]


@pytest.mark.parametrize(("good", "closed"), [(1, False), (2, False), (3, True), (4, True)])
def test_three_served_probes_close_it(bench: Bench, good: int, closed: bool) -> None:
    """One good answer in an outage is luck: the second still goes alone, and so does the third."""
    bench.open()
    bench.clock.time += 60
    for _ in range(good):
        assert bench.breaker.wait_seconds() == 0.0
        bench.ask()
    assert bench.breaker.is_open is not closed
    assert bench.sends_freely() is closed


def test_a_failed_probe_starts_the_count_again(bench: Bench) -> None:
    """Two served, one failed, two served: still open."""
    bench.open()
    for probes in ((None, None, BROKEN), (None, None)):
        bench.clock.time += bench.breaker.wait_seconds()
        for error in probes:
            bench.ask(error)
    assert bench.breaker.is_open
    bench.ask()
    assert not bench.breaker.is_open


def test_the_next_outage_begins_with_a_short_pause(bench: Bench) -> None:
    """A closed breaker has forgotten the pauses and the failures of the last outage."""
    bench.open()
    bench.clock.time += 60
    bench.ask(BROKEN)
    bench.clock.time += 120
    for _ in range(3):
        bench.ask()
    for _ in range(5):
        bench.ask(BROKEN)
    assert not bench.breaker.is_open
    bench.ask(BROKEN)
    assert bench.pauses == [60.0, 120.0, 60.0]


def test_a_slow_refusal_before_an_outage_does_not_slow_the_probes(bench: Bench) -> None:
    """Requests that go one by one after it wait two seconds for each other, not ten."""
    bench.ask()
    bench.answer(bench.breaker.admit(), LIMIT, seconds=5.0)
    bench.open()
    bench.clock.time += 60
    for error in (None, None, None, BROKEN, BROKEN, BROKEN):
        bench.ask(error)
    bench.breaker.admit()
    assert bench.breaker.wait_seconds() == 2.0


def test_answers_from_before_the_outage_change_nothing(bench: Bench) -> None:
    """What was in flight when it opened is older than the trouble: it neither closes it nor lengthens the pause."""
    bench.ask()
    early = [bench.breaker.admit() for _ in range(6)]
    for _ in range(6):
        bench.ask(BROKEN)
    for number in early[:3]:
        bench.answer(number)
    for number in early[3:]:
        bench.answer(number, BROKEN)
    assert bench.breaker.is_open
    assert bench.pauses == [60.0]
    assert bench.breaker.wait_seconds() == 60.0


def test_a_probe_that_is_cut_off_leaves_room_for_another(bench: Bench) -> None:
    """A job that is cancelled says nothing about the provider."""
    bench.open()
    bench.clock.time += 60
    bench.answer(bench.breaker.admit(), asyncio.CancelledError())
    assert bench.breaker.wait_seconds() == 0.0
    assert bench.breaker.is_open
    assert bench.pauses == [60.0]


def test_a_limit_holds_nobody_back(bench: Bench) -> None:
    """Whether it concerns anybody but the request that met it is the gate's to decide."""
    bench.ask()
    bench.ask(LIMIT)
    bench.breaker.admit()
    assert bench.breaker.wait_seconds() == 0.0


@pytest.mark.parametrize("trouble", [[NO_CHANNEL], [BROKEN] * 3], ids=["no channel", "three 503"])
def test_an_answer_older_than_the_trouble_does_not_end_the_probing(bench: Bench, trouble: list[AttemptError]) -> None:
    """Requests sent before the last trouble and served after it tell nothing of now; a later one does."""
    bench.ask()
    early = bench.breaker.admit()
    numbers = [bench.breaker.admit() for _ in trouble]
    together = bench.breaker.admit()
    for number, error in zip(numbers, trouble, strict=True):
        bench.answer(number, error)
    for number in (early, together):
        bench.answer(number)
        assert not bench.sends_freely()
    bench.ask()
    assert bench.sends_freely()


@pytest.mark.parametrize(("failures", "is_open"), [(5, False), (6, True)])
def test_a_refusal_that_is_no_limit_is_trouble(failures: int, is_open: bool) -> None:
    """A lane that sheds answers 429 as well: it opens the breaker like any 503."""
    bench = Bench(lane=Lane.FLEX)
    bench.ask()
    for _ in range(failures):
        bench.ask(SHED)
    assert bench.breaker.is_open is is_open
    assert bench.breaker.limits_in_a_row == 0


def test_by_itself_a_breaker_gives_up() -> None:
    """Unless it is told that there is an alternative."""
    breaker = Breaker(BreakerSettings(max_outage_seconds=0.0), FakeClock(), Listener())
    for _ in range(6):
        breaker.ended(breaker.admit(), BROKEN)
    with pytest.raises(EndpointDown):
        breaker.wait_seconds()


def test_limits_heard_together_count_once(bench: Bench) -> None:
    """Eight refusals of requests that were out at once are one opinion; the refusal of a later one is another."""
    bench.ask()
    for number in [bench.breaker.admit() for _ in range(8)]:
        bench.answer(number, LIMIT)
    assert bench.breaker.limits_in_a_row == 1
    bench.ask(LIMIT)
    assert bench.breaker.limits_in_a_row == 2
    assert bench.breaker.in_doubt
    bench.ask()
    assert bench.breaker.limits_in_a_row == 0
    assert not bench.breaker.in_doubt


@pytest.mark.parametrize(("seconds", "stops"), [(OUTAGE_SECONDS - 1, 0), (OUTAGE_SECONDS, 1)])
def test_limits_that_last_stop_the_run(bench: Bench, seconds: float, stops: int) -> None:
    """Half an hour of limits and not one picture: as something for later."""
    bench.ask()
    bench.ask(LIMIT)
    bench.clock.time += seconds
    bench.ask(LIMIT)
    assert [(stop.code, stop.exit_code) for stop in bench.stops] == [("rate_limited", 75)] * stops
    words = "the provider has asked for fewer requests for 30 min, and served none; the last: slow down"
    assert [stop.message for stop in bench.stops] == [words] * stops


def test_a_picture_begins_the_half_hour_of_limits_again(bench: Bench) -> None:
    """Only limits with nothing served between them add up."""
    bench.ask(LIMIT)
    bench.clock.time += OUTAGE_SECONDS - 1
    bench.ask()
    bench.ask(LIMIT)
    bench.clock.time += OUTAGE_SECONDS - 1
    bench.ask(LIMIT)
    assert bench.stops == []


@pytest.mark.parametrize(("seconds", "ends"), [(OUTAGE_SECONDS - 1, False), (OUTAGE_SECONDS, True)])
def test_an_outage_that_lasts_is_raised(bench: Bench, seconds: float, ends: bool) -> None:
    """It is measured from the first failure, not from the pause."""
    bench.ask()
    began = bench.clock.time
    for _ in range(6):
        bench.clock.time += 10
        bench.ask(BROKEN)
    began += 10
    bench.clock.time = began + seconds
    if not ends:
        assert bench.breaker.wait_seconds() == 0.0
        return
    with pytest.raises(EndpointDown, match="no service for 30 min; the last: HTTP 503") as raised:
        bench.breaker.wait_seconds()
    assert (raised.value.code, raised.value.exit_code) == ("no_service", 75)


@pytest.mark.parametrize(("seconds", "words"), [(89.0, "89 s"), (90.0, "2 min"), (7200.0, "120 min")])
def test_an_outage_is_told_in_seconds_or_minutes(seconds: float, words: str) -> None:
    """Seconds below a minute and a half, whole minutes from there on."""
    bench = Bench(max_outage_seconds=seconds)
    bench.open()
    bench.clock.time += seconds
    with pytest.raises(EndpointDown, match=f"no service for {words};"):
        bench.breaker.wait_seconds()


def test_a_lane_with_an_alternative_never_gives_up() -> None:
    """However long it is out of service."""
    bench = Bench(lane=Lane.FLEX)
    bench.open()
    bench.clock.time += 10 * OUTAGE_SECONDS
    assert bench.breaker.wait_seconds() == 0.0


def test_the_last_pause_ends_with_the_outages_time(bench: Bench) -> None:
    """It is not waited longer than the run has before it gives up."""
    bench.open()
    bench.clock.time += OUTAGE_SECONDS - 10
    bench.ask(BROKEN)
    assert bench.breaker.wait_seconds() == 10.0


@pytest.mark.parametrize(
    ("answers", "stops"),
    [
        ([NO_CHANNEL] * 2, []),
        ([NO_CHANNEL] * 3, ["no_channel"]),
        ([NO_CHANNEL, NO_CHANNEL, None, NO_CHANNEL, NO_CHANNEL], []),
    ],
    ids=["twice", "three times", "a picture in between"],
)
def test_no_channel_said_three_times(bench: Bench, answers: list[AttemptError | None], stops: list[str]) -> None:
    """The relay has none for this model when it says so three times in a row."""
    bench.ask()
    for error in answers:
        bench.ask(error)
    assert [stop.code for stop in bench.stops] == stops
    assert all("no available channel" in stop.message for stop in bench.stops)


def test_no_channel_heard_together_counts_once(bench: Bench) -> None:
    """Only a request sent after the answer to the one before is another opinion."""
    bench.ask()
    for number in [bench.breaker.admit() for _ in range(5)]:
        bench.answer(number, NO_CHANNEL)
    assert bench.stops == []


def test_a_day_quota_is_believed_when_it_is_said_again(bench: Bench) -> None:
    """Once with a delay, and once more after it."""
    limit = RateLimited("daily_quota", "per day", wait_seconds=22, if_repeated=DAY_IS_OVER)
    bench.ask()
    for number in [bench.breaker.admit() for _ in range(4)]:
        bench.answer(number, limit)
    assert bench.stops == []
    bench.ask(limit)
    assert bench.stops == [DAY_IS_OVER]


def test_what_ends_the_run_is_no_opinion_about_service(bench: Bench) -> None:
    """A wrong key neither opens the breaker nor lets the others follow."""
    for _ in range(30):
        bench.ask(EndpointDown("bad_key", ""))
    assert not bench.breaker.is_open
    assert not bench.sends_freely()


@pytest.mark.parametrize(
    ("known_key", "short_batch", "alone_seconds"),
    [(False, False, 2.0), (False, True, 0.75), (True, False, 0.25), (True, True, 0.25)],
)
def test_the_first_request_goes_alone_as_long_as_a_refusal_takes(
    known_key: bool, short_batch: bool, alone_seconds: float
) -> None:
    """Not refused by then, it lets all others go; a short batch waits less, and a key that was good lately hardly."""
    bench = Bench(known_key=known_key, short_batch=short_batch)
    bench.breaker.admit()
    assert bench.breaker.wait_seconds() == alone_seconds
    bench.clock.time += alone_seconds
    assert bench.breaker.wait_seconds() == 0
    for _ in range(3):
        bench.breaker.admit()
        assert bench.breaker.wait_seconds() == 0


def test_trouble_opens_it_a_pause_half_opens_it_and_three_answers_close_it(bench: Bench) -> None:
    """The three states of a circuit breaker, in their order, and back to open when a probe fails."""
    seen = [bench.breaker.state]
    bench.open()
    seen.append(bench.breaker.state)
    bench.clock.time += 60
    seen.append(bench.breaker.state)
    bench.ask(BROKEN)
    seen.append(bench.breaker.state)
    bench.clock.time += 120
    for _ in range(3):
        assert bench.breaker.state is State.HALF_OPEN
        bench.ask()
    seen.append(bench.breaker.state)
    assert seen == [State.CLOSED, State.OPEN, State.HALF_OPEN, State.OPEN, State.CLOSED]
