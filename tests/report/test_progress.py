"""What is shown while a run is on."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_args

import pytest
from tqdm.utils import disp_len

from batch.core.errors import NotSent, OutcomeUnknown, RateLimited, Refused
from batch.core.events import Event, Listener, Listeners, Message, RunStart, Waiting
from batch.core.model import Failed, Outcome, Pending, Unknown
from batch.report.progress import Bar, Lines, without_bar
from tests.support.fakes import FakeClock, done, job

START = RunStart(
    name="m",
    output="/out/m",
    endpoint="https://relay.example",
    jobs=50,
    done=10,
    to_do=40,
    concurrency=3,
    expected_usd=2.68,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def failed(name: str = "cup", message: str = "blocked") -> Failed:
    return Failed(job=job(name), error=Refused("image_safety", message))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def said() -> list[str]:
    """Lines as they were said, without their time."""
    return []


def without_time(said: list[str]) -> Callable[[str], None]:
    return lambda line: said.append(re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", "", line))


@pytest.fixture
def plain(clock: FakeClock, said: list[str]) -> Lines:
    lines = Lines(clock, without_time(said))
    lines.run_started(START)
    return lines


def test_the_start_is_one_line(plain: Lines, said: list[str]) -> None:
    """How many, where, for how much; a run with nothing to do says nothing."""
    assert said == ["m: 40 of 50 jobs to do at https://relay.example, $2.68 at list price"]


def test_nothing_to_do_is_nothing_to_say(clock: FakeClock, said: list[str]) -> None:
    """A finished batch is silent until its summary."""
    Lines(clock, said.append).run_started(RunStart(**{**vars_of(START), "to_do": 0}))
    assert said == []


def vars_of(start: RunStart) -> dict[str, Any]:
    return {name: getattr(start, name) for name in RunStart.__slots__}


def test_a_line_every_half_minute(plain: Lines, said: list[str], clock: FakeClock) -> None:
    """Not one per picture."""
    plain.waiting(Waiting(by="concurrency", most=3))
    for _ in range(30):
        clock.time += 4
        plain.job_ended(done(job()), 3)
    assert len(said) == 1 + 3
    assert said[-1] == "24 of 40, $1.61; limited by concurrency 3"


def test_money_limits_until_a_request_goes_out_again(plain: Lines) -> None:
    """Said in the words of the budget that is in the way."""
    plain.money_waits("waiting for money: the budget per run is set aside for what is in flight")
    assert plain.limited_by() == "waiting for money: the budget per run is set aside for what is in flight"
    plain.attempt_started(job(), 1)
    assert "money" not in plain.limited_by()


@pytest.mark.parametrize("kind", [Bar, Lines])
def test_failures_are_shown_but_not_all(kind: type[Any], clock: FakeClock) -> None:
    """The first twenty with their cause, then a word that the rest is counted; the same sentence only once."""
    stream = Terminal()
    shows = kind(clock, stream) if kind is Bar else kind(clock, lambda text: stream.write(text + "\n"))
    shows.run_started(START)
    for number in range(30):
        shows.job_ended(failed(f"job-{number}", f"blocked\x1b[31m\nby policy (request id: 2026{number})"), 1)
    text = stream.getvalue()
    assert len(re.findall(r"job-\d+: failed: image_safety", text)) == 20
    assert text.count(r"blocked\x1b[31m\x0aby policy") == 1
    assert "job-19: failed: image_safety (20 alike)" in text
    assert text.count("more like these are counted") == 1


def test_another_sentence_is_shown_as_well(plain: Lines, said: list[str]) -> None:
    """One code may stand for several things."""
    for name, message in (("a", "too dark"), ("b", "too small"), ("c", "too dark")):
        plain.job_ended(failed(name, message), 1)
    assert said[1:] == [
        "a: failed: image_safety: too dark",
        "b: failed: image_safety: too small",
        "c: failed: image_safety (2 alike)",
    ]


@pytest.mark.parametrize("columns", [60, 100])
@pytest.mark.parametrize("word", ["blocked ", "禁止"])
def test_a_failure_is_one_line_of_the_terminal(clock: FakeClock, columns: int, word: str) -> None:
    """Cut at its width, counted in cells; what it begins with are the job and the code."""
    stream = Terminal()
    bar = Bar(clock, stream, columns=lambda: columns)
    bar.run_started(START)
    bar.job_ended(failed("cup", word * 50), 1)
    (line,) = [line for line in re.split(r"[\r\n]", stream.getvalue()) if line.startswith("cup")]
    assert line.startswith("cup: failed: image_safety: ")
    assert line.endswith("…")
    assert columns - 2 <= disp_len(line) <= columns


def test_a_message_is_folded_at_words(clock: FakeClock) -> None:
    """Nothing of it is lost, and no word is broken."""
    stream = Terminal()
    words = " ".join(f"word-{number}" for number in range(30))
    Bar(clock, stream, columns=lambda: 60).message(words)
    lines = stream.getvalue().splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 60
    assert " ".join(stream.getvalue().split()) == words


def test_lines_above_the_bar_are_painted(clock: FakeClock) -> None:
    """By what the caller hands in: the colours of a terminal are no matter of what is counted."""
    stream = Terminal()
    bar = Bar(clock, stream, paint=lambda line: f"<{line}>")
    bar.job_ended(failed("cup"), 1)
    bar.message("something")
    assert stream.getvalue() == "<cup: failed: image_safety: blocked>\n<something>\n"


def test_the_bar_leaves_the_screen_for_a_question(clock: FakeClock) -> None:
    """Its line is empty while the question stands there, and it comes back afterwards."""
    stream = Terminal()
    bar = Bar(clock, stream)
    bar.run_started(START)
    with without_bar(stream):
        assert stream.getvalue().split("\r")[-1].strip() == ""
        stream.write("really? [y/N]\n")
    assert "\rreally? [y/N]\n" in stream.getvalue()
    assert "0/40" in stream.getvalue().split("really?")[1]
    bar.close()


def test_lines_without_a_terminal_carry_the_time(clock: FakeClock) -> None:
    """In UTC, as everywhere in a log."""
    said: list[str] = []
    Lines(clock, said.append).message("something")
    assert said == [f"{clock.now():%Y-%m-%dT%H:%M:%SZ} something"]


def test_an_unknown_outcome_is_shown(plain: Lines, said: list[str]) -> None:
    """It may have cost money, so it is named."""
    plain.job_ended(Unknown(job=job(), error=OutcomeUnknown("cut", "the connection was cut")), 1)
    assert said[-1] == "cup: unknown, maybe paid: cut: the connection was cut"


def test_waiting_is_said_once(plain: Lines, said: list[str]) -> None:
    """A closed gate is told for everybody, not once per job; other repeats name their job."""
    plain.gate_closed(30.0, "HTTP 429: slow down")
    plain.attempt_failed(job(), RateLimited("r", "HTTP 429: slow down", wait_seconds=30), 30.0)
    plain.attempt_failed(job(), NotSent("no_connection", "connection refused"), 2.0)
    plain.attempt_failed(job(), NotSent("no_connection", "connection refused"), None)
    assert said[1:] == [
        "the provider asks to wait 30 s: HTTP 429: slow down",
        "cup: connection refused; again in 2.0 s",
    ]


@pytest.mark.parametrize(
    ("waiting", "stopping", "words"),
    [
        (Waiting(), False, "2 in flight"),
        (Waiting(by="concurrency", most=3), False, "limited by concurrency 3"),
        (Waiting(by="requests_per_minute", most=1200), False, "waits for requests_per_minute, 1,200"),
        (Waiting(by="tokens_per_minute", most=90), False, "waits for tokens_per_minute, 90"),
        (Waiting(by="images_per_minute", most=9), False, "waits for images_per_minute, 9"),
        (Waiting(by="found_slots", most=12, of=32), False, "at 12 of 32 in flight, found by trying"),
        (Waiting(by="found_rate", most=285), False, "at 285 requests per minute, found by trying"),
        (Waiting(by="gate", until=1034), False, "waits for the provider's gate, 34 s more"),
        (Waiting(by="gate", until=900), False, "2 in flight"),
        (Waiting(by="picture"), False, "waits for a picture before more is sent"),
        (Waiting(by="probe"), False, "waits for the answer to one request sent ahead"),
        (Waiting(by="cpu"), False, "limited by this machine's processor"),
        (Waiting(by="disk"), False, "limited by this machine's disk"),
        (Waiting(by="gate", until=1034), True, "stopping, 2 in flight"),
    ],
)
def test_what_limits_now(plain: Lines, waiting: Waiting, stopping: bool, words: str) -> None:
    """The one thing that holds the run back at this moment."""
    plain.attempt_started(job(), 2)
    plain.waiting(waiting)
    if stopping:
        plain.stopping("asked to", 2)
    assert plain.limited_by() == words


def test_the_bar(clock: FakeClock) -> None:
    """Name, number, money and trouble on one line; messages stand above it; closing leaves it on the screen."""
    stream = Terminal()
    bar = Bar(clock, stream)
    bar.run_started(START)
    outcomes: list[Outcome] = [*[done(job())] * 20, failed(), Pending(job=job())]
    for outcome in outcomes:
        bar.job_ended(outcome, 2)
    bar.stopping("stopped by SIGINT", 2)
    bar.close()
    last = stream.getvalue().rstrip("\n").split("\r")[-1]
    assert last.startswith("m:  52%")
    assert "21/40" in last
    assert "$1.34, 1 failed, stopping, 2 in flight" in last
    assert "stopping: stopped by SIGINT; 2 requests in flight, waiting for the answer\n" in stream.getvalue()
    assert stream.getvalue().endswith("\n")


def test_no_bar_without_work(clock: FakeClock) -> None:
    """A finished batch shows no empty bar; messages still come."""
    stream = Terminal()
    bar = Bar(clock, stream)
    bar.run_started(RunStart(**{**vars_of(START), "to_do": 0}))
    bar.message("something")
    bar.close()
    assert stream.getvalue() == "something\n"


def test_a_broken_listener_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The others hear everything, and the log has the error."""

    class Broken(Listener):
        def message(self, text: str) -> None:
            raise OSError("terminal gone")

    heard: list[str] = []

    class Hears(Listener):
        def message(self, text: str) -> None:
            heard.append(text)

    Listeners([Broken(), Hears()]).on_event(Message("something"))
    assert heard == ["something"]
    assert "a listener failed at Message" in caplog.text


def test_every_event_reaches_the_method_named_after_it() -> None:
    """An event without one would be heard by no listener that overrides methods alone."""
    told: list[str] = []

    class Hears(Listener):
        def __getattribute__(self, name: str) -> Any:
            if name != "on_event":
                told.append(name)
            return super().__getattribute__(name)

    listener = Hears()
    for kind in get_args(Event):
        listener.on_event(kind(*[None for _ in fields(kind)]))

    methods = {name for name in vars(Listener) if not name.startswith("_") and name != "on_event"}
    assert set(told) == methods
    assert len(told) == len(get_args(Event))
