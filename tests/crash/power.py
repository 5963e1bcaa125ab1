"""The power-cut sweep: what was not synced may be gone, and nothing that was promised may go with it.

    python -m tests.crash.power                  every sync, judged, and a command that goes on from each
    python -m tests.crash.power --random 20      more of the states that a file system may choose
    python -m tests.crash.power --faults         each sync, write and name fails, and then the power is cut
    python -m tests.crash.power --scenarios reread

A batch, a rehearsal that makes room for one, and `reread` are tried (`tests/crash/scenarios.py`). A real run at the
simulator writes down every file operation (`tests/crash/record.py`). For a power cut after each sync, folders are made
as a file system may leave them: what was synced is there; of the rest, each name and each write is there or not, or is
there in part, or as zeros. A file's sync keeps its bytes and not its name; a folder's keeps its names. What no state
holds: a write with a hole in it and its end whole.
"""

from __future__ import annotations

import argparse
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.crash import oracle
from tests.crash.forked import forked
from tests.crash.injector import Fault
from tests.crash.scenarios import SCENARIOS, Scenario, scenario
from tests.crash.sweep import ENVIRONMENT, EXIT, ROOT, Ran, error_ending, provider, say

Event = tuple[Any, ...]
#: What becomes of an operation that was not synced: it took place, it did not, half of its bytes, all but the last, or
#: zeros.
Fate = str
Choice = Callable[[Event], Fate]
_NAMING: Final = ("create", "rename", "unlink", "mkdir")
_OUT: Final = "work/out"
#: The kinds of calls that fail before the power does, and how.
FAILING: Final = {"fsync": "EIO", "fdatasync": "EIO", "write": "ENOSPC", "rename": "EIO", "link": "EIO"}


def choices(number_of_random: int) -> Iterator[tuple[str, Callable[[], Choice]]]:
    """The states to try at each point: the extremes, then seeded random ones."""
    yield "nothing", lambda: lambda event: "drop"
    yield "everything", lambda: lambda event: "keep"
    yield "names", lambda: lambda event: "keep" if event[0] in _NAMING else "drop"
    yield "names and lengths", lambda: lambda event: "keep" if event[0] in _NAMING else "zero"
    yield "bytes", lambda: lambda event: "drop" if event[0] in _NAMING else "keep"
    for seed in range(number_of_random):
        yield f"random {seed}", partial(_random, seed)


def _random(seed: int) -> Choice:
    random = Random(seed)
    return lambda event: random.choice(
        ("keep", "drop") if event[0] in _NAMING else ("keep", "drop", "half", "short", "zero")
    )


@dataclass
class Recording:
    """What a run did, and what the provider charged for it."""

    events: list[Event]
    billed: list[oracle.Record]
    ran: Ran

    def sync_points(self) -> list[int]:
        """How many events there are before and after each sync."""
        begin = self.events.index(("begin", ""))
        syncs = [number for number, event in enumerate(self.events) if event[0].startswith("sync") and number > begin]
        return sorted({*syncs, *(number + 1 for number in syncs), len(self.events)})

    def until(self, count: int) -> tuple[list[str], list[oracle.Record]]:
        """The jobs that were said to be done, and the charged requests, when so many events had taken place."""
        past = self.events[:count]
        sent = {event[1] for event in past if event[0] == "sent"}
        billed = [entry for entry in self.billed if entry["client_request_id"] in sent]
        return [event[1] for event in past if event[0] == "said"], billed


def record(tried: Scenario, folder: Path, root: Path = ROOT, fault: Fault | None = None) -> Recording:
    """Let the command run once, with the package that lies in `root`."""
    (folder / "work").mkdir()
    tried.prepare(folder / _OUT)
    before = len(tried.simulator.entries())
    words = [tried.manifest, str(folder / _OUT), str(folder / "log"), *([] if fault is None else [str(fault)])]
    ended = subprocess.run(
        [sys.executable, "-m", "tests.crash.record", *words],
        cwd=root,
        env={**ENVIRONMENT, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (folder / "log").exists(), ended.stderr
    assert fault is not None or ended.returncode in (0, EXIT), ended.stderr
    events = pickle.loads((folder / "log").read_bytes())
    ran = Ran(ended.returncode, ended.stdout.splitlines(), ended.stderr)
    return Recording(events, tried.simulator.entries()[before:], ran)


def synced(events: Sequence[Event]) -> list[bool]:
    """For each event, whether a later one made it durable. A sync that failed takes what it was for out of reach."""
    files: set[int] = set()
    folders: set[str] = set()
    found = []
    for event in reversed(events):
        if event[0] == "sync file":
            files.add(event[1])
        elif event[0] == "sync folder":
            folders.add(event[1])
        elif event[0] == "failed file":
            files.discard(event[1])
        elif event[0] == "failed folder":
            folders.discard(event[1])
        is_name = event[0] in _NAMING
        found.append(os.path.dirname(event[1]) in folders if is_name else event[1] in files)
    return found[::-1]


def leave(events: Sequence[Event], choose: Choice, folder: Path) -> None:
    """Make a folder as it may be when the power is cut after these events."""
    names: dict[str, int] = {}
    contents: dict[int, bytearray] = {}
    for event, durable in zip(events, synced(events), strict=True):
        fate = "keep" if durable else choose(event)
        if event[0] in _NAMING:
            if fate == "keep":
                _name(names, event)
        elif event[0] == "data":
            _write(contents.setdefault(event[1], bytearray()), event[2], event[3], fate)
        elif event[0] == "cut" and fate == "keep":
            del contents.setdefault(event[1], bytearray())[event[2] :]
    for name in sorted(names):
        path = folder / name
        if not path.parent.is_dir():
            continue  # the folder's own name is lost
        if names[name]:
            path.write_bytes(contents.get(names[name], b""))
        else:
            path.mkdir()


def _name(names: dict[str, int], event: Event) -> None:
    if event[0] == "create":
        names[event[1]] = event[2]
    elif event[0] == "mkdir":
        names[event[1]] = 0
    elif event[0] == "rename":
        names.pop(event[1], None)
        names[event[2]] = event[3]
    else:
        names.pop(event[1], None)


def _write(content: bytearray, at: int, data: bytes, fate: Fate) -> None:
    if fate == "drop":
        return
    data = {"keep": data, "half": data[: len(data) // 2], "short": data[:-1], "zero": bytes(len(data))}[fate]
    content.extend(bytes(max(0, at - len(content))))
    content[at : at + len(data)] = data


@dataclass
class PowerBench:
    """A scenario's recording, and a folder in which its states are made and judged."""

    folder: Path
    scenario: Scenario
    recording: Recording
    _made: int = field(default=0)

    def try_state(self, count: int, choose: Choice, *, resume: bool) -> list[str]:
        """What is wrong if the power is cut after so many events, at once and after the command was typed again."""
        self._made += 1
        root = self.folder / f"state-{self._made}"
        (root / "work").mkdir(parents=True)
        # Names are relative to work/, which was there before.
        leave(self.recording.events[:count], choose, root / "work")
        output = root / _OUT
        said, billed = self.recording.until(count)
        wrong = self.scenario.interrupted(output, billed, said, power=True)
        if resume and not wrong:
            wrong = self.scenario.resumed(output, billed)
        shutil.rmtree(root)
        return wrong

    def sweep(self, number_of_random: int, *, resume: Sequence[str] = (), every: int = 1) -> Iterator[tuple[str, str]]:
        """Every wrong thing, with where it was. `resume` names the states from which the command goes on."""
        for count in self.recording.sync_points()[::every]:
            for name, choose in choices(number_of_random):
                for words in self.try_state(count, choose(), resume=name in resume):
                    yield f"after {count} operations, {name} of the rest kept", words


def try_fault(
    scenario: Scenario, folder: Path, fault: Fault, number_of_random: int, *, resume: Sequence[str] = ()
) -> Iterator[tuple[str, str]]:
    """P22: a call fails, and the power is cut when the command has ended. What failed to be synced is gone for good."""
    folder.mkdir()
    recording = record(scenario, folder, fault=fault)
    ended = len(oracle.read_ledger(folder / _OUT).of("try")) == len(oracle.State.read(folder / _OUT, []).ended())
    for words in error_ending(fault, recording.ran, all_ended=ended):
        yield str(fault), words
    bench = PowerBench(folder, scenario, recording)
    for name, choose in choices(number_of_random):
        for words in bench.try_state(len(recording.events), choose(), resume=name in resume):
            yield f"{fault}, {name} of the rest kept", words
    shutil.rmtree(folder)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.power", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--scenarios", default=",".join(SCENARIOS), help="what is interrupted, with commas between")
    parser.add_argument("--random", type=int, default=5, metavar="N", help="random states at each sync")
    parser.add_argument("--resumed", type=int, metavar="N", help="go on from so many of the states at each sync")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="try only every N-th point")
    parser.add_argument("--faults", action="store_true", help="fail each sync, write and name, and cut the power then")
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="power-") as temporary, provider(Path(temporary)) as simulator:
        for name in options.scenarios.split(","):
            folder = Path(temporary) / name
            tried = scenario(name, folder, simulator, forked)
            wrong += (_all_faults if options.faults else _all_points)(tried, folder, options)
    return 1 if wrong else 0


def _all_points(tried: Scenario, folder: Path, options: argparse.Namespace) -> int:
    started = time.monotonic()
    bench = PowerBench(folder, tried, record(tried, folder))
    names = [name for name, _ in choices(options.random)]
    points = len(bench.recording.sync_points()[:: options.every])
    wrong = _told(bench.sweep(options.random, resume=names[: options.resumed], every=options.every))
    seconds = time.monotonic() - started
    say(f"{tried.name}: {points} points, {points * len(names)} states in {seconds:.0f} s: {wrong} wrong")
    return wrong


def _all_faults(tried: Scenario, folder: Path, options: argparse.Namespace) -> int:
    started = time.monotonic()
    counts = record(tried, folder).ran.counts
    faults = [
        Fault(kind, number, "before", action, lasting)
        for kind, action in FAILING.items()
        for number in range(1, counts.get(kind, 0) + 1, options.every)
        for lasting in (False, True)
    ]
    names = [name for name, _ in choices(options.random)]
    wrong = sum(
        _told(try_fault(tried, folder / f"fault-{number}", fault, options.random, resume=names[: options.resumed]))
        for number, fault in enumerate(faults)
    )
    seconds = time.monotonic() - started
    say(f"{tried.name}: {len(faults)} faults, {len(faults) * len(names)} states in {seconds:.0f} s: {wrong} wrong")
    return wrong


def _told(found: Iterator[tuple[str, str]]) -> int:
    number = 0
    for where, words in found:
        number += 1
        say(f"  {where}: {words}")
    return number


if __name__ == "__main__":
    sys.exit(main())
