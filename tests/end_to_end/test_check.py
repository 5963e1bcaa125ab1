"""`check`: a program judges each new picture, beside the run and under its rules."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from batch.album import open_album
from batch.core.decisions import Side, Verdict
from batch.core.errors import ConfigError, InputError
from batch.core.events import Event, JobEnded, Listener
from batch.core.results import Checked
from batch.runner.checks import CheckFailed, verdict_of
from batch.runner.control import RunControl
from batch.runner.reviewing import accept, decisions
from batch.runner.run import plan_only
from tests.support.bench import KEY, Bench, a_bench, balance
from tests.support.fakes import Recorder

#: Rejects a picture unless its prompt says that it is better; writes down what it was told.
JUDGE = """
import json, os, sys
asked = json.load(sys.stdin)
with open("asked.jsonl", "a") as file:
    file.write(json.dumps({**asked, "argv": sys.argv, "environment": dict(os.environ)}) + "\\n")
assert open(asked["picture"], "rb").read(4) in (b"\\x89PNG", b"\\xff\\xd8\\xff\\xe0")
if "better" in asked["prompt"] or asked["job"] == "job-1":
    print(json.dumps({"verdict": "accepted"}))
else:
    print(json.dumps({"verdict": "rejected", "reasons": ["dull"], "note": "make it better"}))
"""
ON_REJECT = "{{ prompt }} {{ note }}"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with a_bench(tmp_path, pictures="drawn") as bench:
        yield bench


def judging(bench: Bench, text: str = JUDGE, **more: Any) -> dict[str, Any]:
    """`check` with a program of this text, in the manifest's folder."""
    (bench.path / "judge.py").write_text(text)
    return {"run": [sys.executable, "-P", "judge.py"], **more}


def asked(bench: Bench) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (bench.path / "asked.jsonl").read_text().splitlines()]


async def test_each_new_picture_is_judged_once(bench: Bench) -> None:
    """By the prompt that was sent; the verdicts are the machine's, and are counted."""
    top: dict[str, Any] = {"check": judging(bench)}
    summary = await bench.run(3, **top)
    assert (summary.exit, summary.requests) == (0, 3)
    assert summary.checked == Checked(accepted=1, rejected=2)
    assert summary.review is not None
    assert (summary.review.seen, summary.review.accepted, summary.review.rejected) == (0, 1, 2)
    said = {each.job: each for each in decisions(bench.output)}
    assert {job: each.verdict for job, each in said.items()} == {
        "job-0": Verdict.REJECTED,
        "job-1": Verdict.ACCEPTED,
        "job-2": Verdict.REJECTED,
    }
    one = said["job-0"]
    assert (one.side, one.reasons, one.note) == (Side.MACHINE, ("dull",), "make it better")
    picture = open_album(bench.output).entry("job-0").versions[0].pictures[0]
    told = next(each for each in asked(bench) if each["job"] == "job-0")
    assert (told["prompt"], told["sha256"]) == ("cup number 0", picture.sha256)
    assert told["picture"] == str(bench.output / picture.path)
    again = await bench.run(3, **top)
    assert (again.requests, again.checked, len(asked(bench))) == (0, Checked(), 3)


async def test_with_until_the_run_makes_them_better(bench: Bench) -> None:
    """What the judge noted is part of the next prompt; the provider's book agrees with the ledger."""
    top: dict[str, Any] = {"check": judging(bench), "until": {"attempts": 3, "max_cost": 0.2}, "on_reject": ON_REJECT}
    summary = await bench.run(3, **top)
    assert (summary.exit, summary.requests) == (0, 5)
    assert summary.checked == Checked(accepted=3, rejected=2)
    assert {entry.id: len(entry.versions) for entry in open_album(bench.output)} == {"job-0": 2, "job-1": 1, "job-2": 2}
    assert bench.book.billed == 5
    balance(bench)


async def test_a_person_overrules_the_judge(bench: Bench) -> None:
    """What was accepted by a person is neither judged anew nor made again."""
    await bench.run(2)
    accept(bench.output, "job-0")
    summary = await bench.run(2, check=judging(bench), until={})
    assert (summary.requests, summary.checked) == (0, Checked(accepted=1))
    assert [each["job"] for each in asked(bench)] == ["job-1"]


async def test_no_key_reaches_the_judge(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by its variable nor by another one that holds it, nor by a key of another provider; the rest does."""
    monkeypatch.setenv("ANYFAST_API_KEY", "another")
    monkeypatch.setenv("GEMINI_API_KEY", "sk-google")
    monkeypatch.setenv("COPIED", f"Bearer {KEY['ANYFAST_API_KEY']}")
    monkeypatch.setenv("MINE", "yes")
    await bench.run(1, check=judging(bench))
    [told] = asked(bench)
    assert not {"ANYFAST_API_KEY", "GEMINI_API_KEY", "COPIED"} & set(told["environment"])
    assert told["environment"]["MINE"] == "yes"
    assert KEY["ANYFAST_API_KEY"] not in json.dumps(told)


FAILING = {
    "no JSON": ("print('good')", "gave no JSON"),
    "another word": ('print(\'{"verdict": "fine"}\')', "gave no verdict"),
    "an end with 1": ("import sys; sys.exit('no model')", "ended with code 1: no model"),
    "nothing": ("", "gave no JSON"),
    "a flood": ("print('x' * 3_000_000)", "said more than 1,048,576 bytes"),
    "too long": ("import time; time.sleep(600)", "gave no verdict within 1 s"),
    "a child that holds on": (
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])",
        "gave no verdict within 1 s",
    ),
}


@pytest.mark.parametrize(("text", "message"), FAILING.values(), ids=FAILING)
async def test_a_judge_that_fails_gives_no_verdict(bench: Bench, text: str, message: str) -> None:
    """It is told, the pictures are there and paid once, and the next run asks again."""
    recorder = bench.options["listener"] = Recorder()
    summary = await bench.run(2, check=judging(bench, text, timeout_seconds=1), until={})
    assert (summary.exit, summary.done, summary.checked) == (0, 2, Checked(failed=2))
    assert any(message in words for _, words in recorder.named("message"))
    assert not (bench.output / "decisions.jsonl").exists()
    again = await bench.run(2, check=judging(bench), until={"attempts": 1})
    assert (again.requests, again.checked) == (0, Checked(accepted=1, rejected=1))


class _Stops(Listener):
    """Asks the run to end once the first picture is there."""

    def __init__(self, control: RunControl) -> None:
        self._control = control

    def on_event(self, event: Event) -> None:
        if isinstance(event, JobEnded):
            self._control.drain()


async def test_a_stop_does_not_wait_for_a_judge(bench: Bench) -> None:
    """It is ended with the run; the picture is kept, and judged by the next run."""
    control = RunControl()
    bench.options |= {"control": control, "listener": _Stops(control)}
    text = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"
    started = time.monotonic()
    summary = await bench.run(1, check=judging(bench, text, timeout_seconds=300))
    assert time.monotonic() - started < 60
    assert summary.done == 1
    if (bench.path / "pid").exists():
        with pytest.raises(ProcessLookupError):
            os.kill(int((bench.path / "pid").read_text()), 0)
    bench.options.clear()
    assert (await bench.run(1, check=judging(bench))).checked == Checked(rejected=1)


async def test_a_program_that_is_not_there_is_told_before_anything_is_sent(bench: Bench) -> None:
    """Neither on the path nor in the manifest's folder."""
    for program in ("no-such-judge", "./judge", "../judge"):
        with pytest.raises(ConfigError, match="check: there is no program"):
            await bench.run(1, check=program)
    assert bench.book.requests == 0


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (5, "check must be a program"),
        ([], "check must not be an empty list"),
        ({"run": ["a"], "timeout_seconds": 0}, "timeout_seconds must be a number from 1"),
        ({"run": ["a"], "at_once": 1000}, "at_once must be a whole number from 1 to 64"),
        ({"timeout_seconds": 5}, "run is missing"),
    ],
)
def test_a_wrong_check_is_told(bench: Bench, check: Any, message: str) -> None:
    """With its place in the manifest."""
    with pytest.raises(InputError, match=message):
        plan_only(bench.manifest(1, check=check), output=bench.output)


@pytest.mark.parametrize(
    "answer",
    [
        b'{"verdict": "undone"}',
        b'{"verdict": "seen"}',
        b'["accepted"]',
        b'{"verdict": ["accepted"]}',
        b'{"verdict": "rejected", "reasons": "hands"}',
        b'{"verdict": "rejected", "reasons": [5]}',
        b'{"verdict": "rejected", "note": {}}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_what_is_no_verdict_is_none(answer: bytes) -> None:
    """A judge's words are checked one by one."""
    with pytest.raises(CheckFailed, match="gave"):
        verdict_of(answer)


KILLED = """
import asyncio, sys
from batch.runner.run import run
from tests.crash.injector import Fault, Injector
manifest, output, fault = sys.argv[1:]
Injector(output, Fault.parse(fault)).install()
asyncio.run(run(manifest, output=output))
"""


@pytest.mark.parametrize("point", ["before the verdict", "in its line", "after the verdict"])
async def test_a_kill_between_picture_and_remake_buys_nothing_twice(bench: Bench, point: str) -> None:
    """Before the verdict is written, in the midst of it, or after it and before the remake: the next run goes on there,
    within what the job may cost, and the provider's book is the ledger's."""
    top: dict[str, Any] = {
        "check": judging(bench, JUDGE + ("" if point == "after the verdict" else KILLS_ITS_PARENT)),
        "until": {"attempts": 3, "max_cost": 0.1},
        "on_reject": ON_REJECT,
        "limits": {"concurrency": 1},
    }
    manifest = bench.manifest(1, **top)
    fault = "fdatasync:3" if point == "after the verdict" else "fdatasync:999"
    command = [sys.executable, "-P", "-c", KILLED, str(manifest), str(bench.output), f"{fault}:before:KILL"]
    environment = {**os.environ, **KEY, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    if point == "in its line":
        (bench.output / "decisions.jsonl").write_bytes(b'{"at":"2026-11-28T15:00:00.000Z","job":"job-0","sha2')
    top["check"] = judging(bench)
    summary = await bench.run(1, **top)
    assert (summary.exit, summary.done) == (0, 1)
    entry = open_album(bench.output).entry("job-0")
    assert len(entry.versions) == 2
    assert entry.cost_usd <= 0.1
    assert bench.book.billed == 2
    balance(bench)
    assert (await bench.run(1, **top)).requests == 0


KILLS_ITS_PARENT = """
sys.stdout.flush()
import signal
os.kill(os.getppid(), signal.SIGKILL)
"""
