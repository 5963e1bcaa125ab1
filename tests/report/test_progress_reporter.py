"""How far a run is and what limits it now, told to other processes."""

from __future__ import annotations

import json
import os
from pathlib import Path

from batch.core.events import AttemptStarted, JobEnded, MoneyWaits, RunStart, RunStarted, Stopping, WaitChanged, Waiting
from batch.core.model import AttemptFacts, Done, Pending
from batch.report.progress_reporter import ProgressReporter
from batch.store.live_status import LiveStatusFile, RunProgress, read_progress
from tests.support.fakes import FakeClock, job


def test_it_is_told_when_it_changes_and_not_at_every_step() -> None:
    """A gate with the time at which it opens, since the words are read later."""
    said: list[RunProgress] = []
    clock = FakeClock()
    now = ProgressReporter(clock, said.append)
    now.on_event(AttemptStarted(job(), 1))
    now.on_event(AttemptStarted(job(), 2))
    now.on_event(WaitChanged(Waiting(by="concurrency", most=2)))
    now.on_event(AttemptStarted(job(), 2))
    now.on_event(WaitChanged(Waiting(by="gate", until=clock.time + 34)))
    now.on_event(MoneyWaits("waiting for money: the budget per day is set aside for what is in flight"))
    now.on_event(Stopping("asked to", 2))
    assert [progress.limits_now for progress in said] == [
        "nothing but answers that are waited for",
        "limited by concurrency 2",
        "waits for the provider's gate until 12:17:14 UTC",
        "stopping, 2 in flight",
    ]


def test_the_rate_and_the_time_left_are_those_of_the_last_jobs() -> None:
    """Ten jobs in twenty seconds are thirty a minute, and the ninety left take three minutes."""
    said: list[RunProgress] = []
    clock = FakeClock()
    now = ProgressReporter(clock, said.append)
    start = RunStart(name="x", output="x", endpoint="x", jobs=120, done=20, to_do=100, concurrency=2, expected_usd=1.0)
    now.on_event(RunStarted(start))
    assert (said[-1].per_minute, said[-1].seconds_left) == (None, None)
    for _ in range(10):
        clock.time += 2.0
        now.on_event(JobEnded(Done(job=job(), attempt=AttemptFacts(number=1, seconds=1, cost_usd=0.067), images=()), 1))
    last = said[-1]
    assert (last.jobs, last.to_do, last.ended, last.cost_usd) == (120, 100, 10, 0.67)
    assert (last.per_minute, last.seconds_left) == (30.0, 180.0)


def test_jobs_that_were_not_started_are_no_progress() -> None:
    """A run that stops hands them back: they say nothing about the rate."""
    said: list[RunProgress] = []
    clock = FakeClock()
    now = ProgressReporter(clock, said.append)
    for _ in range(3):
        clock.time += 3.0
        now.on_event(JobEnded(Pending(job=job()), 0))
    assert (said[-1].ended, said[-1].per_minute) == (0, None)


def test_the_last_words_are_read_whole_or_not_at_all(tmp_path: Path) -> None:
    """A folder without the file, or with something else in its place, says nothing."""
    assert read_progress(tmp_path) is None
    file = LiveStatusFile(tmp_path)
    said = RunProgress(limits_now="limited by concurrency 2", jobs=20, per_minute=3.5)
    file.write(said)
    assert read_progress(tmp_path) == said
    assert os.listdir(tmp_path) == [".now"]
    for text in ("", "[]", json.dumps({"limits_now": 3})):
        (tmp_path / ".now").write_text(text)
        assert read_progress(tmp_path) is None
    file.remove()
    assert os.listdir(tmp_path) == []


def test_a_folder_that_takes_no_file_stops_nobody(tmp_path: Path) -> None:
    """It is a courtesy."""
    file = LiveStatusFile(tmp_path / "gone")
    file.write(RunProgress(limits_now="words"))
    file.remove()
    (tmp_path / ".now.part").symlink_to("elsewhere")
    LiveStatusFile(tmp_path).write(RunProgress())
    assert not (tmp_path / "elsewhere").exists()
