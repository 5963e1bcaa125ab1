"""What limits a run now, told to whoever asks from another process."""

from __future__ import annotations

import json
import os
from pathlib import Path

from batch.core.events import Waiting
from batch.report.limit_reporter import LimitReporter
from batch.store.live_status import LiveStatusFile, limits_now
from tests.support.fakes import FakeClock, job


def test_it_is_told_when_it_changes_and_not_at_every_step() -> None:
    """A gate with the time at which it opens, since nobody knows when the words are read."""
    said: list[str] = []
    clock = FakeClock()
    now = LimitReporter(clock, said.append)
    now.attempt_started(job(), 1)
    now.attempt_started(job(), 2)
    now.waiting(Waiting(by="concurrency", most=2))
    now.attempt_started(job(), 2)
    now.waiting(Waiting(by="gate", until=clock.time + 34))
    now.money_waits("waiting for money: the budget per day is set aside for what is in flight")
    now.stopping("asked to", 2)
    assert said == [
        "nothing but answers that are waited for",
        "limited by concurrency 2",
        "waits for the provider's gate until 12:17:14 UTC",
        "stopping, 2 in flight",
    ]


def test_the_last_words_are_read_whole_or_not_at_all(tmp_path: Path) -> None:
    """A folder without the file, or with something else in its place, says nothing."""
    assert limits_now(tmp_path) is None
    file = LiveStatusFile(tmp_path)
    file.write("limited by concurrency 2")
    assert limits_now(tmp_path) == "limited by concurrency 2"
    assert os.listdir(tmp_path) == [".now"]
    for text in ("", "[]", json.dumps({"limits_now": 3})):
        (tmp_path / ".now").write_text(text)
        assert limits_now(tmp_path) is None
    file.remove()
    assert os.listdir(tmp_path) == []


def test_a_folder_that_takes_no_file_stops_nobody(tmp_path: Path) -> None:
    """It is a courtesy."""
    file = LiveStatusFile(tmp_path / "gone")
    file.write("words")
    file.remove()
    (tmp_path / ".now.part").symlink_to("elsewhere")
    LiveStatusFile(tmp_path).write("words")
    assert not (tmp_path / "elsewhere").exists()
