"""The command in a root with nothing in it: it works, or one sentence says what to set and nothing was sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.machines.bare_root import run_in_bare_root, why_impossible

_REASON = why_impossible()
pytestmark = pytest.mark.skipif(_REASON is not None, reason=_REASON or "")

QUICK = "provider: {profile: simulator, simulator: {latency_seconds: 0}}\n"


def _write(tmp_path: Path, text: str) -> None:
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "data" / "m.yaml").write_text(QUICK + text)


def _pictures(tmp_path: Path) -> int:
    return len(list((tmp_path / "data" / "out" / "images").iterdir()))


def test_the_quick_start_works_in_a_bare_root(tmp_path: Path) -> None:
    """Without time zones, HOME, a user entry, /tmp, /dev and a locale, with 64 open files."""
    _write(tmp_path, "jobs:\n" + "".join(f"  - {{id: j{n}, prompt: 青い茶碗 {n}}}\n" for n in range(20)))
    ended = run_in_bare_root(tmp_path, ["run", "m.yaml", "-o", "out"])
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert _pictures(tmp_path) == 20


def test_init_plan_and_status_work_in_a_bare_root(tmp_path: Path) -> None:
    """The commands around a run need nothing that it does not need."""
    for words in (["init"], ["plan", "jobs.yaml"], ["run", "jobs.yaml", "-q"], ["status", "output/jobs"]):
        ended = run_in_bare_root(tmp_path, words)
        assert ended.returncode == 0, (words, ended.stderr)


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_cap_for_a_day_without_a_home_says_what_to_set(tmp_path: Path, command: str) -> None:
    """The spend book has no place: exit 78 names XDG_STATE_HOME, and no ledger is begun."""
    _write(tmp_path, "budget: {per_day: 5}\njobs: [{id: a, prompt: cup}]\n")
    ended = run_in_bare_root(tmp_path, [command, "m.yaml", "-o", "out"])
    assert ended.returncode == 78
    assert "set XDG_STATE_HOME to" in ended.stderr
    assert not (tmp_path / "data" / "out").exists()


def test_a_cap_for_a_day_is_kept_where_the_variable_says(tmp_path: Path) -> None:
    """The remedy that the message names works."""
    _write(tmp_path, "budget: {per_day: 5}\njobs: [{id: a, prompt: cup}]\n")
    ended = run_in_bare_root(tmp_path, ["run", "m.yaml", "-o", "out"], XDG_STATE_HOME="/data/state")
    assert ended.returncode == 0, ended.stderr
    assert list((tmp_path / "data" / "state" / "imagebatch" / "spend").glob("*.jsonl"))


def test_a_quota_for_a_day_needs_no_time_zones(tmp_path: Path) -> None:
    """The provider's day is known all the same."""
    _write(tmp_path, "limits: {requests_per_day: 5}\njobs: [{id: a, prompt: cup}]\n")
    ended = run_in_bare_root(tmp_path, ["run", "m.yaml", "-o", "out"])
    assert ended.returncode == 0, ended.stderr


def test_fewer_requests_at_once_are_made_where_few_files_may_be_open(tmp_path: Path) -> None:
    """They all succeed, and a line says what was lowered and how to raise it."""
    _write(
        tmp_path,
        "verify: decode\nlimits: {concurrency: 40, adaptive: false}\n"
        "jobs:\n" + "".join(f"  - {{id: j{n}, prompt: cup {n}}}\n" for n in range(30)),
    )
    ended = run_in_bare_root(tmp_path, ["run", "m.yaml", "-o", "out", "--json"], open_files=40)
    assert ended.returncode == 0, ended.stderr
    assert "allows 40 open files: limits.concurrency is 3 instead of 40; raise the limit (ulimit -n)" in ended.stderr
    assert json.loads(ended.stdout)["done"] == 30


def test_too_few_open_files_for_one_request_are_said(tmp_path: Path) -> None:
    """Exit 78 before anything is begun."""
    _write(tmp_path, "jobs: [{id: a, prompt: cup}]\n")
    ended = run_in_bare_root(tmp_path, ["run", "m.yaml", "-o", "out"], open_files=26)
    assert ended.returncode == 78
    assert "raise the limit (ulimit -n)" in ended.stderr
    assert not (tmp_path / "data" / "out").exists()


def test_an_output_on_a_read_only_disk_is_said(tmp_path: Path) -> None:
    """Exit 73 with the folder and the reason."""
    _write(tmp_path, "jobs: [{id: a, prompt: cup}]\n")
    ended = run_in_bare_root(tmp_path, ["run", "m.yaml", "-o", "/elsewhere/out"])
    assert ended.returncode == 73
    assert "cannot use /elsewhere/out as the output folder: Read-only file system" in ended.stderr
