"""Time zones on machines that have no data of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import batch

#: What a program sees on a machine without time zone data and without the package that brings it.
_NO_ZONES = """
import sys, zoneinfo
from datetime import UTC, datetime
zoneinfo.reset_tzpath(())
sys.modules["tzdata"] = None
from batch.core.clock import DayStart, DayStartProblem
from batch.providers.answers.classify import next_quota_day
"""


def _without_zones(code: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", _NO_ZONES + code],
        env={"PYTHONPATH": f"{Path(batch.__file__).parents[1]}:{':'.join(sys.path)}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_the_quota_day_is_known_without_time_zone_data() -> None:
    """In winter exactly, in summer an hour late, never early."""
    day = _without_zones(
        "day = DayStart.read('00:00 America/Los_Angeles')\n"
        "for now in (datetime(2026, 11, 22, 20, tzinfo=UTC), datetime(2026, 7, 1, 6, tzinfo=UTC)):\n"
        "    print(day.next(now).isoformat(), next_quota_day(now).isoformat())"
    )
    assert day.split() == [
        *("2026-11-23T08:00:00+00:00", "2026-11-23T08:00:00+00:00"),
        *("2026-07-01T08:00:00+00:00", "2026-07-01T08:00:00+00:00"),
    ]


def test_another_zone_is_a_problem_that_names_the_remedy() -> None:
    """It is told when the manifest is checked."""
    words = _without_zones(
        "try:\n    DayStart.read('00:00 Europe/Berlin')\nexcept DayStartProblem as problem:\n    print(problem)"
    )
    assert words.endswith("(Europe/Berlin); if it is spelled rightly, install tzdata")
