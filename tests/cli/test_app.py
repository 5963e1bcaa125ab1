"""The command as a process: what people read, what programs read, exit codes and signals."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "batch"]
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


class Folder:
    """A current folder with a manifest in it, for the embedded simulator."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def output(self) -> Path:
        return self.path / "output" / "m"

    def manifest(self, jobs: int = 3, *, prompt: str = "cup", simulator: Any = None, **top: Any) -> Folder:
        text = {
            "provider": {"profile": "simulator", "simulator": {"pictures": "plain", **(simulator or {})}},
            "defaults": {"image_size": 512},
            **top,
            "jobs": [{"id": f"job-{n}", "prompt": f"{prompt} {n}"} for n in range(jobs)],
        }
        (self.path / "m.yaml").write_text(json.dumps(text, ensure_ascii=False), "utf-8")
        return self

    def call(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *words],
            cwd=self.path,
            timeout=60,
            text=True,
            encoding="utf-8",
            **{"capture_output": True, "env": ENVIRONMENT, **options},
        )

    @contextmanager
    def started(self, *words: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            [*COMMAND, *words],
            cwd=self.path,
            env=ENVIRONMENT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **{"preexec_fn": heed_signals, **options},
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def in_terminal(self, *words: str, answers: dict[str, str]) -> tuple[int, str]:
        """Run a command on a terminal and type each answer once its question is shown; exit code and what was shown."""
        ours, theirs = pty.openpty()
        left = dict(answers)
        with subprocess.Popen(
            [*COMMAND, *words], cwd=self.path, env=ENVIRONMENT, stdin=theirs, stdout=theirs, stderr=theirs
        ) as process:
            os.close(theirs)
            shown = ""
            try:
                while select.select([ours], [], [], 30)[0]:
                    shown += os.read(ours, 4096).decode()
                    for question in [question for question in left if question in shown]:
                        os.write(ours, left.pop(question).encode() + b"\n")
            except OSError:  # the terminal is closed when the command ends
                pass
            finally:
                os.close(ours)
                process.kill() if process.poll() is None and left else None
        return process.wait(), shown

    def ledger(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.output / "ledger.jsonl").read_bytes().split(b"\n")[:-1]]

    def wait_for(self, kind: str, number: int = 1) -> None:
        """Until the ledger has so many lines of a kind."""
        until = time.monotonic() + 30
        while time.monotonic() < until:
            if (self.output / "ledger.jsonl").exists():
                text = (self.output / "ledger.jsonl").read_text()
                if text.count(f'"t":"{kind}"') >= number:
                    return
            time.sleep(0.02)
        raise AssertionError(f"no {kind} in the ledger")


def heed_signals() -> None:
    """In a new process: whoever started the tests in the background, or with nohup, may have had them ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


# ---- help and wrong command lines ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--help"], ["run", "plan", "status", "simulate", "Exit codes", "75"]),
        (["-h"], ["Exit codes"]),
        (
            ["run", "--help"],
            [
                "MANIFEST",
                "--output",
                "--on-changed",
                "--json",
                "--quiet",
                "--log-file",
                "Ctrl-C",
                "--canary",
                "--only",
                "--where",
                "--limit",
                "--sample",
                "--retry",
                "--reuse",
            ],
        ),
        (
            ["plan", "--help"],
            ["MANIFEST", "--output", "--json", "Sends nothing", "--only", "--reuse", "--on-changed", "--allow-empty"],
        ),
        (["why", "--help"], ["MANIFEST", "ID", "what was changed"]),
        (["status", "--help"], ["DIRECTORY", "--json"]),
        (["simulate", "--help"], ["--port", "--fault"]),
        (["init", "--help"], ["TABLE", "MANIFEST", "--provider", "three example jobs"]),
        (["schema", "--help"], ["JSON Schema", "yaml-language-server"]),
        (["models", "--help"], ["[NAME]", "--json", "when it ends"]),
        (["--version"], ["imagebatch"]),
    ],
)
def test_help(folder: Folder, words: list[str], says: list[str]) -> None:
    """Every command explains itself, on stdout, with exit code 0."""
    result = folder.call(*words)
    assert (result.returncode, result.stderr) == (0, "")
    assert [word for word in says if word not in result.stdout] == []


@pytest.mark.parametrize(
    ("words", "exit_code", "says"),
    [
        ([], 2, "Usage"),
        (["run"], 2, "MANIFEST"),
        (["run", "m.yaml", "--frobnicate"], 2, "--frobnicate"),
        (["frobnicate"], 2, "frobnicate"),
        (["run", "m.yaml", "--on-changed", "maybe"], 2, "refuse"),
        (["run", "m.yaml", "--limit", "0"], 2, "--limit"),
        (["run", "m.yaml", "--limit", "1", "--sample", "1"], 2, "--limit and --sample exclude each other"),
        (["run", "m.yaml", "--retry", "cause is x"], 65, "`is` is no comparison here; write =="),
        (["run", "m.yaml", "--only", "nobody"], 65, "--only: no job is called nobody"),
        (["run", "m.yaml", "--reuse", "absent"], 73, "absent holds no ledger"),
        (["why", "m.yaml", "job-9"], 65, "no job 'job-9'; did you mean job-"),
        (["run", "absent.yaml"], 66, "absent.yaml"),
        (["run", "."], 66, "error"),
        (["plan", "absent.yaml"], 66, "absent.yaml"),
        (["status", "absent"], 73, "absent holds no ledger"),
    ],
)
def test_mistakes_on_the_command_line(folder: Folder, words: list[str], exit_code: int, says: str) -> None:
    """A sentence on stderr and the right exit code, without a traceback."""
    result = folder.manifest().call(*words)
    assert result.returncode == exit_code
    assert says in result.stderr + result.stdout
    assert "Traceback" not in result.stderr
    assert not folder.output.exists()


# ---- what is printed ----------------------------------------------------------------------------------------


def test_a_run_says_where_things_are(folder: Folder) -> None:
    """A first run: the numbers, the money, and paths one can type. The same again says that nothing was left."""
    first, second = folder.manifest().call("run", "m.yaml"), folder.call("run", "m.yaml")
    assert (first.returncode, first.stdout) == (0, "")
    assert "m: 3 of 3 jobs done" in first.stderr
    assert ", $0.135 at list price (simulated: nothing is charged)\n  pictures" in first.stderr
    assert "  pictures   output/m/images/\n" in first.stderr
    assert second.returncode == 0
    assert "nothing was left to send" in second.stderr


def test_json(folder: Folder) -> None:
    """--json prints one object on stdout with the numbers a script needs."""
    result = folder.manifest().call("run", "m.yaml", "--json", "-q")
    found = json.loads(result.stdout)
    assert result.stderr == ""
    assert {"done": 3, "failed": 0, "unknown": 0, "pending": 0, "requests": 3, "exit": 0, "reason": "done"}.items() <= (
        found.items()
    )
    assert {"cost_usd", "maybe_cost_usd", "possibly_paid_twice", "not_before", "output", "seconds"} <= set(found)
    assert found["cost_usd"] == pytest.approx(0.135)


def test_quiet_is_silent_until_something_is_wrong(folder: Folder) -> None:
    """Cron mails what is printed: nothing on success, on failure the summary and one last line with the cause."""
    assert folder.manifest().call("run", "-q", "m.yaml").stderr == ""
    folder.manifest(5, simulator={"faults": [{"fault": "finish_image_safety", "prompt": "4"}]})
    result = folder.call("run", "-q", "m.yaml")
    assert (result.returncode, result.stdout) == (1, "")
    last = result.stderr.strip().splitlines()[-1]
    assert last == f"imagebatch: 1 failed_jobs: 1 of 5 left; out={folder.output}"


def test_problems_are_all_told(folder: Folder) -> None:
    """Every mistake with its place, and that nothing was sent; after twenty the rest is counted."""
    (folder.path / "m.yaml").write_text("jobs:\n" + "".join(f"- {{id: a {n}, prompt: x}}\n" for n in range(30)))
    result = folder.call("run", "m.yaml")
    assert result.returncode == 65
    assert len(re.findall(r"^error: m\.yaml:\d+", result.stderr, re.MULTILINE)) == 20
    assert "... and " in result.stderr
    assert result.stderr.endswith("nothing was sent\n")


def test_plan_writes_nothing(folder: Folder) -> None:
    """What would be sent, why and for how much; the folder stays as it was."""
    result = folder.manifest(8, limits={"requests_per_minute": 2}).call("plan", "m.yaml")
    assert result.returncode == 0
    assert result.stdout.splitlines()[:4] == [
        "8 jobs, 8 to send; results in output/m",
        "          8  new, $0.36",
        "would send 8 requests for $0.36 at list price; with all retries the manifest allows at most $1.44",
        "takes at least 4 min 00 s under the manifest's limits",
    ]
    assert sorted(file.name for file in folder.path.iterdir()) == ["m.yaml"]
    found = json.loads(folder.call("plan", "m.yaml", "--json").stdout)
    assert (found["to_do"], found["groups"]["to do: new"]["count"], found["cost_usd"]) == (8, 8, 0.36)


def test_a_selection_on_the_command_line(folder: Folder) -> None:
    """What is left out is said and counted apart, and the plan shows the same before."""
    folder.manifest(5)
    assert (
        "3  would be sent, but not selected this time, $0.135 if sent"
        in folder.call("plan", "m.yaml", "--limit", "2").stdout
    )
    result = folder.call("run", "m.yaml", "--limit", "2")
    assert (result.returncode, "left out   3 jobs" in result.stderr) == (0, True)
    assert "left out" not in folder.call("run", "m.yaml").stderr


def test_a_terminal_is_asked_after_the_canary(folder: Folder) -> None:
    """Yes goes on, no ends with 1 and the jobs left; without a terminal nobody is asked."""
    folder.manifest(4)
    code, shown = folder.in_terminal("run", "m.yaml", "--canary", "1", answers={"[y/N]": "n"})
    assert (code, "1 of the first 1 jobs got a picture" in shown) == (1, True)
    assert "imagebatch: 1 canary: 3 of 4 left" in shown
    code, shown = folder.in_terminal("run", "m.yaml", "--canary", "1", answers={"[y/N]": "y"})
    assert code == 0
    assert sum(line["t"] == "try" for line in folder.ledger()) == 4


def test_a_terminal_is_asked_about_edited_jobs(folder: Folder) -> None:
    """What was asked before and now, the price of buying again, and three answers."""
    folder.manifest(2).call("run", "m.yaml")
    text = (folder.path / "m.yaml").read_text()
    (folder.path / "m.yaml").write_text(text.replace("cup 1", "cup one"))
    assert folder.call("run", "m.yaml").returncode == 65
    for answer, exit_code, tries in (("s", 65, 2), ("k", 0, 2), ("b", 0, 3)):
        code, shown = folder.in_terminal("run", "m.yaml", answers={"stop here (s)?": answer})
        assert (code, sum(line["t"] == "try" for line in folder.ledger())) == (exit_code, tries)
        assert "cup 1  ->  cup one" in shown
        assert "for $0.045 (b)" in shown


def test_retry_sends_what_failed_for_good_once_more(folder: Folder) -> None:
    """Only the causes named, and only when asked: each is charged again."""
    faults = {"faults": [{"fault": "finish_image_safety", "prompt": "3", "times": 1}]}
    assert folder.manifest(4, simulator=faults).call("run", "m.yaml").returncode == 1
    assert "1  failed for good" in folder.call("plan", "m.yaml", "--retry", "no_image").stdout
    assert "1 to send" in folder.call("plan", "m.yaml", "--retry", "no_image,image_safety").stdout
    folder.manifest(4)
    assert folder.call("run", "m.yaml").returncode == 1
    result = folder.call("run", "m.yaml", "--retry", "image_safety", "--json")
    assert (result.returncode, json.loads(result.stdout)["requests"]) == (0, 1)


def test_status(folder: Folder) -> None:
    """Where a folder stands, in words and as JSON."""
    folder.manifest(4, simulator={"faults": [{"fault": "finish_image_safety", "prompt": "3"}]}).call("run", "m.yaml")
    words = folder.call("status", "output/m").stdout
    assert words.startswith("output/m: 3 of 4 jobs done, 1 failed, 0 unknown\n")
    assert "  next       imagebatch plan m.yaml --retry image_safety\n" in words
    found = json.loads(folder.call("status", "output/m", "--json").stdout)
    assert (found["done"], found["failed"], found["last_exit"], found["running"]) == (3, 1, 1, None)


def test_log_file(folder: Folder) -> None:
    """--log-file appends to a file; a folder that is not there is a sentence, not a traceback."""
    assert folder.manifest().call("run", "m.yaml", "--log-file", "run.log").returncode == 0
    assert (folder.path / "run.log").exists()
    result = folder.call("run", "m.yaml", "--log-file", "absent/run.log")
    assert result.returncode in (2, 73, 78)
    assert "Traceback" not in result.stderr


# ---- broken and odd outputs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "redirection",
    [">&-", "2>&-", ">&- 2>&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>&1", "2>&1 | head -c 1 >/dev/null", "<&-"],
)
@pytest.mark.parametrize("fault", [None, "finish_image_safety"])
def test_outputs_that_cannot_be_written(folder: Folder, redirection: str, fault: str | None) -> None:
    """Nobody reading, a closed stream or a full disk behind it: the batch and its exit code are as ever."""
    faults = [{"fault": fault, "prompt": "2"}] if fault else []
    folder.manifest(simulator={"faults": faults})
    script = f'"$0" -m batch run m.yaml --json {redirection}'
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script, sys.executable],
        cwd=folder.path,
        env=ENVIRONMENT,
        timeout=60,
        capture_output=True,
    )
    assert result.returncode == (1 if fault else 0)
    assert sum(line["t"] == "done" for line in folder.ledger()) == (2 if fault else 3)


@pytest.mark.parametrize("command", ["run", "plan"])
def test_prompts_in_a_plain_locale(folder: Folder, command: str) -> None:
    """LC_ALL=C and Chinese prompts: escapes on the screen, the prompt unchanged in the file."""
    plain = {**ENVIRONMENT, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    folder.manifest(prompt="雨后江南小镇的茶馆", simulator={"faults": ["finish_image_safety"]})
    result = folder.call(command, "m.yaml", env=plain)
    assert result.returncode == (1 if command == "run" else 0)
    assert "Traceback" not in result.stderr
    if command == "run":
        line = (folder.output / "manifest.jsonl").read_text("utf-8").splitlines()[0]
        assert json.loads(line)["prompt"] == "雨后江南小镇的茶馆 0"


def on_a_terminal(folder: Folder, *words: str) -> str:
    """What the command writes to a terminal of 100 columns."""
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    process = subprocess.Popen(
        [*COMMAND, *words], cwd=folder.path, env=ENVIRONMENT, stdin=other, stdout=other, stderr=other
    )
    os.close(other)
    written = bytearray()
    try:
        while block := os.read(main, 1 << 16):
            written += block
    except OSError:  # Linux says so when the other end is closed
        pass
    finally:
        process.wait(30)
        os.close(main)
    return written.decode()


def test_on_a_terminal(folder: Folder) -> None:
    """A bar while it runs, trouble above it, and the summary below, each on lines of its own."""
    faults = [{"fault": "finish_image_safety", "prompt": "3"}]
    written = on_a_terminal(folder.manifest(6, simulator={"faults": faults}), "run", "m.yaml")
    left = [[part for part in line.split("\r") if part.strip()] for line in written.replace("\r\n", "\n").split("\n")]
    lines = [parts[-1] for parts in left if parts]
    bar = next(number for number, line in enumerate(lines) if line.startswith("m: 100%"))
    assert "6/6" in lines[bar]
    assert "1 failed" in lines[bar]
    assert lines[bar + 1] == "m: 5 of 6 jobs done, 1 failed"
    assert sum("job-3: failed: image_safety" in line for line in lines) == 1
    assert written.count("m: 5 of 6 jobs done") == 1


# ---- signals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_one_signal_finishes_what_is_in_flight(folder: Folder, number: signal.Signals) -> None:
    """Requests in flight are waited for and recorded, nothing new is sent, and the process dies by the signal."""
    folder.manifest(40, simulator={"latency_seconds": 0.7}, limits={"concurrency": 2})
    with folder.started("run", "m.yaml") as process:
        folder.wait_for("try", 2)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=30)
    kinds = [line["t"] for line in folder.ledger()]
    assert process.returncode == -number
    assert kinds.count("try") == kinds.count("done") <= 4
    assert kinds[-1] == "end"
    assert f"stopping: asked to by {number.name} (" in stderr
    assert f"  stopped    asked to by {number.name}\n" in stderr
    assert f"imagebatch: {128 + number} interrupted" in stderr.splitlines()[-1]
    assert folder.manifest(40).call("run", "-q", "m.yaml").returncode == 0


def test_a_signal_when_all_is_in_flight_ends_with_zero(folder: Folder) -> None:
    """If what was in flight was all there was, the batch is done, and the exit code says so."""
    folder.manifest(2, simulator={"latency_seconds": 1.0})
    with folder.started("run", "m.yaml") as process:
        folder.wait_for("try", 2)
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_second_signal_cuts_what_is_in_flight(folder: Folder) -> None:
    """Within seconds the process is gone, the ledger is valid and names what may have been paid."""
    folder.manifest(9, simulator={"faults": ["hang"]}, limits={"concurrency": 3})
    with folder.started("run", "m.yaml") as process:
        folder.wait_for("try", 3)
        process.terminate()
        time.sleep(0.7)
        assert process.poll() is None
        process.terminate()
        process.communicate(timeout=10)
    assert process.returncode == -signal.SIGTERM
    kinds = [line["t"] for line in folder.ledger()]
    assert (kinds.count("try"), kinds.count("unk"), kinds[-1]) == (3, 3, "end")


def test_two_signals_at_once_are_one(folder: Folder) -> None:
    """A supervisor that signals the group and the process does not cut paid requests."""
    folder.manifest(2, simulator={"latency_seconds": 1.0})
    with folder.started("run", "m.yaml") as process:
        folder.wait_for("try", 2)
        process.terminate()
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0


def test_nohup_is_respected(folder: Folder) -> None:
    """A signal that was ignored when we started stays ignored."""
    folder.manifest(6, simulator={"latency_seconds": 0.5}, limits={"concurrency": 2})
    with folder.started("run", "m.yaml", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as process:
        folder.wait_for("try", 2)
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=30)
    assert process.returncode == 0


def test_killed_and_run_again(folder: Folder) -> None:
    """kill -9: status tells what was left open, and the next run goes on."""
    folder.manifest(6, simulator={"latency_seconds": 0.4}, limits={"concurrency": 2})
    with folder.started("run", "m.yaml") as process:
        folder.wait_for("try", 3)
        process.kill()
        process.communicate(timeout=30)
    found = json.loads(folder.call("status", "output/m", "--json").stdout)
    assert found["running"] is None
    assert 1 <= found["open_attempts"] <= 2
    assert "did not end by itself" in found["last_end"]
    result = folder.manifest(6).call("run", "m.yaml")
    assert result.returncode == 0
    assert "the last run ended in the middle" in result.stderr


# ---- two at once ----------------------------------------------------------------------------------------------


def test_a_second_run_in_the_same_folder(folder: Folder) -> None:
    """It ends at once with 75, names process and host of the first, and sends nothing; status shows the first."""
    folder.manifest(4, simulator={"latency_seconds": 600}, limits={"concurrency": 2})
    with folder.started("run", "m.yaml") as process:
        folder.wait_for("try", 2)
        second = folder.call("run", "m.yaml")
        found = json.loads(folder.call("status", "output/m", "--json").stdout)
        process.kill()
        process.communicate(timeout=30)
    assert second.returncode == 75
    assert f"process {process.pid} on {socket.gethostname()}" in second.stderr
    assert found["running"] == f"a run is on (process {process.pid})"
    assert sum(line["t"] == "try" for line in folder.ledger()) == 2


def test_without_home_and_with_a_strict_mask(folder: Folder) -> None:
    """No HOME, umask 077: it works."""
    script = 'umask 077; unset HOME; exec "$0" -m batch run -q m.yaml'
    folder.manifest()
    result = subprocess.run(["bash", "-c", script, sys.executable], cwd=folder.path, env=ENVIRONMENT, timeout=60)
    assert result.returncode == 0
