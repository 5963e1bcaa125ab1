"""What a command prints comes whatever fails last, and is JSON in every locale."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ODD = os.fsdecode(b"out-\xff-\xe6\x97\xa5")
#: Every command with `--json`, in a folder where `cup` is done, `words` has a kept answer and `cut` got none.
COMMANDS: dict[str, list[str]] = {
    "run": ["run", "m.yaml", "-o", ODD, "--json"],
    "plan": ["plan", "m.yaml", "-o", ODD, "--json"],
    "status": ["status", ODD, "--json"],
    "why": ["why", "m.yaml", "cup", "-o", ODD, "--json"],
    "list": ["resolve", ODD, "--list", "--json"],
    "resolve": ["resolve", ODD, "cut", "--as", "failed", "--note", "é\udcff日", "--json"],
    "reread": ["reread", ODD, "--json"],
}
#: What each ends with there.
CODES = {"run": 3}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three jobs with unruly prompts, run once."""
    folder = tmp_path_factory.mktemp("made")
    faults = [{"fault": "text_only", "prompt": "words"}, {"fault": "close", "prompt": "cut", "times": 5}]
    manifest = {
        "provider": {"profile": "simulator", "simulator": {"pictures": "plain", "faults": faults}},
        "defaults": {"image_size": 512},
        "retry": {"unknown": "hold", "unusable_retries": 0},
        "jobs": [{"id": job_id, "prompt": f"{job_id} \u2028 雨后 ß"} for job_id in ("cup", "words", "cut")],
    }
    (folder / "m.yaml").write_text(json.dumps(manifest), "utf-8")
    ended = call(folder, *COMMANDS["run"])
    assert ended.returncode == 3, ended.stderr
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it to work on."""
    subprocess.run(["cp", "-a", f"{made}/.", str(tmp_path)], check=True)
    return tmp_path


def call(
    folder: Path, *words: str, shell: str = "", fault: str | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """A command in that folder, with its output redirected as in `shell`, or with a `fault` in the output folder."""
    program = ["-m", "batch"] if fault is None else ["-m", "tests.crash.typed", str(folder / ODD), fault]
    command = [sys.executable, *program, *words]
    if shell:
        command = ["bash", "-o", "pipefail", "-c", f'"$@" {shell}', "bash", *command]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder / "state"), **more}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=60,
        check=False,
    )


def kinds(folder: Path) -> list[str]:
    return [json.loads(line)["t"] for line in (folder / ODD / "ledger.jsonl").read_bytes().splitlines()]


@pytest.mark.parametrize(
    "locale",
    [
        {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "latin-1:strict"},
    ],
    ids=["C", "latin-1"],
)
@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_json_in_every_locale(folder: Path, name: str, locale: dict[str, str]) -> None:
    """Whatever stands in names, prompts and notes, half a surrogate pair included."""
    ended = call(folder, *COMMANDS[name], **locale)
    assert ended.returncode == CODES.get(name, 0), ended.stderr
    assert ended.stdout.isascii()
    assert os.fsencode(json.loads(ended.stdout)["output"]).endswith(os.fsencode(ODD))


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("shell", [">&-", "| head -c 0"])
def test_nobody_reads(folder: Path, name: str, shell: str) -> None:
    """A closed stdout, or a reader that is gone, is no mistake: the exit code is as ever."""
    ended = call(folder, *COMMANDS[name], shell=shell)
    assert ended.returncode == CODES.get(name, 0)
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_behind_stdout_is_said(folder: Path, name: str) -> None:
    """A command that only shows something has failed, with exit 74; one that did something keeps its exit code."""
    ended = call(folder, *COMMANDS[name], shell=">/dev/full")
    acted = {"run": 3, "resolve": 0, "reread": 0}
    assert ended.returncode == acted.get(name, 74)
    assert "error: cannot write to stdout: No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_why_tells_programs_what_it_tells_people(folder: Path) -> None:
    """The decision and its reason, and the ledger's lines about the job."""
    told: dict[str, Any] = json.loads(call(folder, *COMMANDS["why"]).stdout)
    assert (told["job"], told["decision"], told["reason"]) == (
        "cup",
        "skip: done",
        "will not be sent: it has its picture",
    )
    assert [record["t"] for record in told["records"]] == ["try", "done"]
    assert told["changes"] == []
    edited = (folder / "m.yaml").read_text("utf-8").replace('"cup ', '"blue cup ')
    (folder / "m.yaml").write_text(edited, "utf-8")
    changes = json.loads(call(folder, *COMMANDS["why"]).stdout)["changes"]
    assert [change["field"] for change in changes] == ["prompt"]


@pytest.mark.parametrize(("kind", "step"), [("write", 3), ("fsync", 3), ("fdatasync", 2), ("open", 4), ("close", 4)])
def test_the_summary_comes_whatever_fails(made: Path, tmp_path: Path, kind: str, step: int) -> None:
    """From the first request on every failing call leaves a summary that says with which code the run ended."""
    (tmp_path / "m.yaml").write_bytes((made / "m.yaml").read_bytes())
    number, told = 0, 0
    while True:
        number += step
        subprocess.run(["rm", "-rf", str(tmp_path / ODD)], check=True)
        ended = call(tmp_path, *COMMANDS["run"], fault=f"{kind}:{number}:before:EIO:lasting")
        if ended.stderr.endswith("missed\n"):
            break
        assert ended.stderr.endswith("hit\n"), ended.stderr
        assert "Traceback" not in ended.stderr, (number, ended.stderr)
        ledger = tmp_path / ODD / "ledger.jsonl"
        if ledger.is_file() and "try" in kinds(tmp_path):
            assert json.loads(ended.stdout)["exit"] == ended.returncode, number
            told += 1
    assert told > 0


@pytest.mark.parametrize("kind", ["write", "fdatasync", "open", "close"])
def test_a_decision_is_told_when_it_is_written(folder: Path, made: Path, kind: str) -> None:
    """Whichever call fails: what is in the ledger is in the JSON, and a failing write makes the exit code 74."""
    number = 0
    while True:
        number += 1
        subprocess.run(["rm", "-rf", str(folder / ODD)], check=True)
        subprocess.run(["cp", "-a", str(made / ODD), str(folder)], check=True)
        before = len(kinds(folder))
        ended = call(folder, *COMMANDS["resolve"], fault=f"{kind}:{number}:before:EIO:lasting")
        if ended.stderr.endswith("missed\n"):
            break
        assert ended.stderr.endswith("hit\n"), ended.stderr
        assert "Traceback" not in ended.stderr, (number, ended.stderr)
        assert ended.returncode in (0, 73, 74), (number, ended.stderr)
        written = [line for line in kinds(folder)[before:] if line == "resolve"]
        if written or ended.stdout:
            assert json.loads(ended.stdout).get("jobs", []) == ["cut"] * len(written), number
    assert number > 1
