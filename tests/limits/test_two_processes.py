"""Two processes with one key: real ones, with the real file and lock; a minute takes two seconds."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.limits.test_quotas_held import most_in_any_minute
from tests.support.one_of_two import SPEED

ROOT = Path(__file__).parents[2]
PER_MINUTE = 60


def started(tmp_path: Path, name: str) -> subprocess.Popen[bytes]:
    script = ROOT / "tests/support/one_of_two.py"
    words = [sys.executable, str(script), str(tmp_path / "quotas"), str(tmp_path / name), str(PER_MINUTE)]
    return subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE)


def taken(tmp_path: Path, name: str) -> list[float]:
    """Seconds of the quick clock at which requests went out."""
    log = tmp_path / name
    return [float(line) for line in log.read_text("ascii").splitlines()] if log.exists() else []


def wait_until_both_took(tmp_path: Path) -> None:
    while not (taken(tmp_path, "one") and taken(tmp_path, "other")):
        time.sleep(0.02)


def test_together_within_the_quota_and_a_killed_one_holds_up_nobody(tmp_path: Path) -> None:
    """No minute holds more than the quota, whoever took it; after a SIGKILL the other uses all of it."""
    one, other = started(tmp_path, "one"), started(tmp_path, "other")
    try:
        wait_until_both_took(tmp_path)
        time.sleep(1.0)
        one.kill()
        one.wait()
        killed_at = time.monotonic() * SPEED
        time.sleep(6.5)
        ended_at = time.monotonic() * SPEED
    finally:
        one.kill()
        other.kill()
    messages = [process.communicate()[1] for process in (one, other)]
    both = sorted(taken(tmp_path, "one") + taken(tmp_path, "other"))
    assert messages == [b"", b""]
    assert most_in_any_minute([(at, 1) for at in both]) <= PER_MINUTE
    # From then on minutes of the clock hold about the whole quota: what a killed one took is counted, not lost twice.
    left = [at for at in both if killed_at <= at < killed_at + 180]
    assert ended_at >= killed_at + 180
    assert len(left) >= 0.9 * 3 * PER_MINUTE
