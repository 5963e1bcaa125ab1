"""What programs and cron meet: JSON at every end, silence while nothing is new, a log that tells the story."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_app import Folder

ERRORS: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no-such-option": (("run", "m.yaml", "--onnly", "x"), 2, "usage"),
    "no-manifest": (("run", "absent.yaml"), 66, "missinginput"),
    "bad-manifest": (("plan", "bad.yaml"), 65, "input"),
    "bad-option": (("run", "m.yaml", "--again", "nothing-like-it"), 2, "option"),
    "no-output": (("status", "absent"), 73, "output"),
    "no-key": (("run", "paid.yaml"), 78, "config"),
    "no-job": (("why", "m.yaml", "absent"), 65, "input"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path)
    (tmp_path / "bad.yaml").write_text("jobs:\n  - prompt: mug\n    modle: x\n")
    (tmp_path / "paid.yaml").write_text("provider: anyfast\njobs:\n  - prompt: mug\n")
    return folder.manifest()


@pytest.mark.parametrize(("words", "code", "reason"), ERRORS.values(), ids=ERRORS)
def test_every_error_is_json_too(words: tuple[str, ...], code: int, reason: str, folder: Folder) -> None:
    """One object on stdout with the exit code, a stable word and the sentence; people still read stderr."""
    result = folder.call(*words, "--json")
    told = json.loads(result.stdout)
    assert (result.returncode, told["exit"], told["reason"]) == (code, code, reason)
    assert told["message"]
    assert result.stderr
    assert folder.call(*words).stdout == ""


def test_problems_are_data(folder: Folder) -> None:
    """Each has its place apart from its message."""
    [problem] = json.loads(folder.call("plan", "bad.yaml", "--json").stdout)["problems"]
    assert (problem["file"], problem["line"], problem["column"]) == ("bad.yaml", 3, 5)
    assert "did you mean model?" in problem["message"]


def test_a_held_lock_is_silent_when_quiet_and_json_all_the_same(folder: Folder) -> None:
    """The run that holds it does the work: cron has nothing to tell anyone."""
    folder.call("run", "m.yaml")
    with open(folder.path / "output/m/.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        quiet = folder.call("run", "-q", "m.yaml")
        loud = folder.call("run", "m.yaml")
        told = json.loads(folder.call("run", "-q", "--json", "m.yaml").stdout)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (75, "", "")
    assert loud.returncode == 75
    assert "another run" in loud.stderr
    assert (told["exit"], told["reason"]) == (75, "locked")


def test_a_used_up_budget_is_told_once(folder: Folder) -> None:
    """The tick that uses it up says so; those after it, which send nothing, are silent until that changes."""
    folder.manifest(budget={"per_day": 0.1}, limits={"concurrency": 1})
    first = folder.call("run", "-q", "m.yaml")
    second = folder.call("run", "-q", "m.yaml")
    loud = folder.call("run", "m.yaml")
    assert first.returncode == second.returncode == loud.returncode == 75
    assert "budget" in first.stderr
    assert (second.stdout, second.stderr) == ("", "")
    assert "budget" in loud.stderr


def test_an_accepted_failure_is_over(folder: Folder) -> None:
    """It decides no exit code and no tick speaks of it, until the job is sent again and fails anew."""
    folder.manifest(simulator={"faults": [{"fault": "finish_image_safety", "prompt": "cup 1"}]})
    assert folder.call("run", "-q", "m.yaml").returncode == 1
    assert folder.call("run", "-q", "m.yaml").stderr != ""

    accepted = folder.call("resolve", "output/m", "job-1", "--as", "accepted", "--note", "never mind")
    assert accepted.returncode == 0, accepted.stderr
    quiet = folder.call("run", "-q", "m.yaml")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    told = json.loads(folder.call("run", "--json", "m.yaml").stdout)
    assert (told["done"], told["failed"], told["failed_accepted"], told["requests"]) == (2, 1, 1, 0)
    status = folder.call("status", "output/m")
    assert "1 failure by your decision" in status.stdout

    again = folder.call("run", "-q", "m.yaml", "--retry", "image_safety")
    assert again.returncode == 1
    assert "image_safety" in again.stderr


def test_nothing_is_accepted_twice(folder: Folder) -> None:
    """What is accepted already, and what never failed, is named; nothing is written."""
    folder.manifest(simulator={"faults": [{"fault": "finish_image_safety", "prompt": "cup 1"}]})
    folder.call("run", "m.yaml")
    folder.call("resolve", "output/m", "job-1", "--as", "accepted")
    before = (folder.path / "output/m/ledger.jsonl").read_bytes()
    for job in ("job-1", "job-0"):
        result = folder.call("resolve", "output/m", job, "--as", "accepted")
        assert result.returncode == 65
        assert "nothing to accept" in result.stderr
    assert (folder.path / "output/m/ledger.jsonl").read_bytes() == before


def lines_of(folder: Folder, *words: str) -> list[dict[str, Any]]:
    folder.call("run", "m.yaml", "--log-file", "run.log", "--log-format", "json", *words)
    return [json.loads(line) for line in (folder.path / "run.log").read_text("ascii").splitlines()]


def test_the_log_tells_every_end_and_on_demand_every_attempt(folder: Folder) -> None:
    """JSON lines with the facts apart: who, how it ended, how long it took, what it cost."""
    folder.manifest(simulator={"faults": [{"fault": "finish_image_safety", "prompt": "cup 1"}]})
    told = lines_of(folder, "--log-level", "debug")
    ends = {line["job"]: line["outcome"] for line in told if "outcome" in line}
    assert ends == {"job-0": "done", "job-1": "failed", "job-2": "done"}
    assert {line["job"] for line in told if line["message"].endswith("in flight") and "job" in line} == set(ends)
    [failed] = [line for line in told if line.get("code") == "image_safety" and line.get("outcome") == "failed"]
    assert failed["level"] == "warning"
    assert all(line["at"].endswith("+00:00") and line["logger"] for line in told)


def test_the_usual_log_leaves_single_requests_out(folder: Folder) -> None:
    """At level info there is a line per end, none per request."""
    told = lines_of(folder)
    assert not [line for line in told if "sent," in line["message"]]
    assert len([line for line in told if line.get("outcome") == "done"]) == 3


def test_many_rows_with_one_mistake_are_one_line(folder: Folder) -> None:
    """The sentence once, with the lines it is about."""
    rows = "".join(f"mug-{n},\n" for n in range(8))
    (folder.path / "t.csv").write_text("Handle,Ratio\n" + rows)
    (folder.path / "t.yaml").write_text(
        'rows: t.csv\njobs:\n  - id: "{{ Handle }}"\n    prompt: "{{ Handle }}"\n    aspect_ratio: "{{ Ratio }}x"\n'
    )
    result = folder.call("plan", "t.yaml")
    said = [line for line in result.stderr.splitlines() if line.startswith("error")]
    assert len(said) == 1, result.stderr
    assert "8 places: lines 2, 3, 4, 5, 6 and 3 more" in said[0]


def test_pictures_are_judged_on_the_command_line(folder: Folder) -> None:
    """What was decided is printed, for people or as JSON; the manifest may stand for its folder."""
    folder.call("run", "m.yaml")
    rejected = folder.call("reject", "output/m", "job-1", "--reason", "hands", "--note", "six fingers")
    assert (rejected.returncode, rejected.stderr) == (0, "")
    assert "1 picture rejected" in rejected.stdout
    assert "(hands; six fingers)" in rejected.stdout
    told = json.loads(folder.call("accept", "m.yaml", "job-*", "--json").stdout)
    assert (told["verdict"], [each["job"] for each in told["pictures"]]) == ("accepted", ["job-0", "job-1", "job-2"])
    names = folder.call("reject", "output/m", "--from", "-", "--undo", input="job-0\njob-1\n")
    assert "2 pictures undecided again" in names.stdout
    wrong = folder.call("reject", "output/m", "jub-1", "--json")
    assert (wrong.returncode, json.loads(wrong.stdout)["reason"]) == (2, "option")
    assert "did you mean job-1?" in wrong.stderr
    assert folder.call("reject", "output/m").returncode == 2
