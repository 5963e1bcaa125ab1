"""Moments as people type them, on a clock and in a zone of our own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from batch.cli import app as cli
from batch.cli.moments import WhenProblem, moment
from batch.runner.options import RunOptions

BERLIN = ZoneInfo("Europe/Berlin")
#: 23:30 in Berlin.
NOW = datetime(2026, 11, 25, 22, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("06:00", "2026-11-26T05:00"),
        ("6:00", "2026-11-26T05:00"),
        ("23:31", "2026-11-25T22:31"),
        ("23:30", "2026-11-26T22:30"),
        ("00:00", "2026-11-25T23:00"),
        ("2026-11-26T06:00", "2026-11-26T05:00"),
        ("2026-11-26 06:00", "2026-11-26T05:00"),
        ("2026-11-26T06:00:30", "2026-11-26T05:00:30"),
        ("2026-11-26T06:00Z", "2026-11-26T06:00"),
        ("2026-11-26T06:00-08:00", "2026-11-26T14:00"),
        ("2026-11-25T23:30+00:30", "2026-11-25T23:00"),
        ("8h", "2026-11-26T06:30"),
        ("90m", "2026-11-26T00:00"),
        ("1h30m", "2026-11-26T00:00"),
        ("0h1m", "2026-11-25T22:31"),
        ("1000h", "2027-01-06T14:30"),
    ],
)
def test_a_moment_is_understood(text: str, expected: str) -> None:
    """A time of day is the next one, a date is local unless it says otherwise, a duration counts from now."""
    at = moment(text, NOW, BERLIN)

    assert at == datetime.fromisoformat(expected).replace(tzinfo=UTC)
    assert at.tzinfo is UTC


HOW = "must be a time such as 06:00, a date and time such as 2026-11-26T06:00, or 8h, 90m or 1h30m"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        *[
            (text, HOW)
            for text in (
                "",
                " ",
                "soon",
                "24:00",
                "06:60",
                "6",
                "8",
                "h",
                "8 h",
                "30m1h",
                "1.5h",
                "-1h",
                "٨h",
                "123456h",
                "2026-11-26",
                "26.11.2026 06:00",
                "06:00\n",
            )
        ],
        *[(text, f"{text} is no time from now") for text in ("0h", "0m", "0h0m")],
        *[
            (text, f"{text} is no date and time that exists")
            for text in ("2026-02-30T06:00", "2026-11-26T24:30", "0000-01-01T00:00", "9999-12-31T23:59-10:00")
        ],
        *[
            (text, f"{text} is past")
            for text in ("2026-11-25T23:30", "2026-11-25T22:30Z", "2025-11-26T06:00", "0001-01-02T00:00")
        ],
    ],
)
def test_what_names_no_moment_to_come_is_refused(text: str, says: str) -> None:
    """With what would be right, or with what is wrong about it."""
    with pytest.raises(WhenProblem) as caught:
        moment(text, NOW, BERLIN)
    assert str(caught.value) == says


@pytest.mark.parametrize(
    ("now", "text", "expected"),
    [
        # The night of 29 March 2026 has no 02:30; the next one is a day later, in summer time.
        ("2026-03-28T23:00", "02:30", "2026-03-30T00:30"),
        ("2026-03-28T23:00", "03:30", "2026-03-29T01:30"),
        # That of 25 October has two, an hour apart.
        ("2026-10-24T23:00", "02:30", "2026-10-25T00:30"),
        ("2026-10-25T00:30", "02:30", "2026-10-25T01:30"),
        ("2026-10-25T01:30", "02:30", "2026-10-26T01:30"),
    ],
)
def test_the_next_time_the_clock_shows_it(now: str, text: str, expected: str) -> None:
    """Also in the nights in which the clocks are changed."""
    at = moment(text, datetime.fromisoformat(now).replace(tzinfo=UTC), BERLIN)
    assert at == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_without_a_zone_it_is_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the clock on the wall shows it."""
    local = NOW.astimezone()
    assert moment(f"{local.hour:02}:{(local.minute + 1) % 60:02}", NOW) > NOW
    shown = moment("06:00", NOW).astimezone()
    assert (shown.hour, shown.minute) == (6, 0)
    assert moment("2099-01-01T12:00", NOW) == datetime(2099, 1, 1, 12).astimezone()


class _Seen(Exception):
    """Stands for all that a command does with the wishes."""


@pytest.mark.parametrize(
    ("command", "called"), [("run", "batch.cli.run.run_until_signal"), ("plan", "batch.runner.run.plan_only")]
)
@pytest.mark.parametrize("words", [[], ["--finish-by", "90m"]])
def test_a_run_and_its_plan_are_told(
    monkeypatch: pytest.MonkeyPatch, command: str, called: str, words: list[str]
) -> None:
    """`--finish-by` becomes a moment among the wishes, or none."""

    def see(*_: Any, options: RunOptions, **__: Any) -> None:
        raise _Seen(options.finish_by)

    monkeypatch.setattr(called, see)
    with pytest.raises(_Seen) as caught:
        cli.cli.main([command, "m.yaml", *words], standalone_mode=False)
    [at] = caught.value.args
    if not words:
        assert at is None
    else:
        assert timedelta(minutes=89) < at - datetime.now(UTC) <= timedelta(minutes=90)
