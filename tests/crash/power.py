"""The power-cut sweep: what was not synced may be gone, and nothing that was promised may go with it.

    python -m tests.crash.power                  every sync of a batch, judged, and a run that goes on from each
    python -m tests.crash.power --random 20      more of the states that a file system may choose

A real run against the simulator writes down every file operation (`tests/crash/record.py`). For a power cut after each
sync, folders are made as a file system may leave them: what was synced is there; of the rest, each name and each write
is there or not, or is there in part, or as zeros. A file's sync keeps its bytes and not its name; a folder's keeps its
names. What no state holds: a write with a hole in it and its end whole.
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
from tests.crash.sweep import (
    CONCURRENCY,
    ENVIRONMENT,
    EXIT,
    EXPECTED,
    ROOT,
    Provider,
    plain_run,
    provider,
    say,
    write_manifest,
)

Event = tuple[Any, ...]
#: What becomes of an operation that was not synced: it took place, it did not, half of its bytes, or zeros.
Fate = str
Choice = Callable[[Event], Fate]
_NAMING: Final = ("create", "rename", "unlink", "mkdir")
_OUT: Final = "work/out"


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
    return lambda event: random.choice(("keep", "drop") if event[0] in _NAMING else ("keep", "drop", "half", "zero"))


@dataclass
class Recording:
    """What a run did, and what the provider charged for it."""

    events: list[Event]
    billed: list[oracle.Record]

    def sync_points(self) -> list[int]:
        """How many events there are before and after each sync."""
        syncs = [number for number, event in enumerate(self.events) if event[0].startswith("sync")]
        return sorted({*syncs, *(number + 1 for number in syncs), len(self.events)})

    def until(self, count: int) -> tuple[list[str], list[oracle.Record]]:
        """The jobs that were said to be done, and the charged requests, when so many events had taken place."""
        past = self.events[:count]
        sent = {event[1] for event in past if event[0] == "sent"}
        billed = [entry for entry in self.billed if entry["client_request_id"] in sent]
        return [event[1] for event in past if event[0] == "said"], billed


def record(manifest: Path, folder: Path, simulator: Provider, root: Path = ROOT) -> Recording:
    """Run the batch once, with the package that lies in `root`."""
    (folder / "work").mkdir()
    before = len(simulator.entries())
    command = [sys.executable, "-m", "tests.crash.record", str(manifest), str(folder / _OUT), str(folder / "log")]
    environment = {**ENVIRONMENT, "PYTHONPATH": str(root)}
    ended = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == EXIT, ended.stderr
    events = pickle.loads((folder / "log").read_bytes())
    return Recording(events, simulator.entries()[before:])


def synced(events: Sequence[Event]) -> list[bool]:
    """For each event, whether a later one made it durable."""
    files: set[int] = set()
    folders: set[str] = set()
    found = []
    for event in reversed(events):
        if event[0] == "sync file":
            files.add(event[1])
        elif event[0] == "sync folder":
            folders.add(event[1])
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
    data = {"keep": data, "half": data[: len(data) // 2], "zero": bytes(len(data))}[fate]
    content.extend(bytes(max(0, at - len(content))))
    content[at : at + len(data)] = data


def after_cut(state: oracle.State, said: list[str]) -> list[str]:
    """What a power cut must not do. Promises P1, P2, P3, P5 and P7."""
    ledger = state.ledger
    wrong = [*oracle.whole_pictures(state), *oracle.done_files(state)]
    done = {entry["job"] for entry in ledger.of("done", "adopt")}
    wrong += [f"P3: {job} was said to be done and is not in the ledger" for job in said if job not in done]
    if ledger.broken_inside or (ledger.tail and not ledger.records):
        wrong.append("P7: the ledger is damaged by more than a torn end")
    attempts, ended = state.attempts(), state.ended()
    charged = [entry["client_request_id"] for entry in state.billed]
    wrong += [f"P5: {each} was charged and has no try line" for each in charged if each not in attempts]
    lost = sum(each in attempts and attempts[each] not in ended for each in charged)
    if lost > CONCURRENCY:
        wrong.append(f"P5: {lost} charged requests have no end, more than {CONCURRENCY} in flight")
    return wrong


@dataclass
class PowerBench:
    """A recording, and a folder in which its states are made and judged."""

    folder: Path
    manifest: Path
    simulator: Provider
    recording: Recording
    _made: int = field(default=0)

    def try_state(self, count: int, choose: Choice, *, resume: bool) -> list[str]:
        """What is wrong if the power is cut after so many events, at once and after a run that goes on."""
        self._made += 1
        root = self.folder / f"state-{self._made}"
        (root / "work").mkdir(parents=True)
        # Names are relative to work/, which was there before.
        leave(self.recording.events[:count], choose, root / "work")
        output = root / _OUT
        said, billed = self.recording.until(count)
        wrong = after_cut(oracle.State.read(output, billed), said)
        if resume and not wrong:
            wrong = self._resumed(output, billed)
        shutil.rmtree(root)
        return wrong

    def _resumed(self, output: Path, billed: list[oracle.Record]) -> list[str]:
        """P1, P2, P6, P10, P11: what was sealed is used as it came or not at all, and everything comes to its end."""
        before = len(self.simulator.entries())
        resumed = plain_run(self.manifest, output)
        if resumed.code != EXIT:
            return [f"the next run ended with {resumed.code}: {resumed.errors[-800:]}"]
        state = oracle.State.read(output, billed + self.simulator.entries()[before:])
        checks = (oracle.whole_pictures, oracle.done_files, oracle.resends, oracle.balance)
        wrong = [words for check in checks for words in check(state)]
        return wrong + oracle.final_set(state, EXPECTED)

    def sweep(self, number_of_random: int, *, resume: Sequence[str] = (), every: int = 1) -> Iterator[tuple[str, str]]:
        """Every wrong thing, with where it was. `resume` names the states from which a run goes on."""
        points = self.recording.sync_points()[::every]
        for count in points:
            for name, choose in choices(number_of_random):
                for words in self.try_state(count, choose(), resume=name in resume):
                    yield f"after {count} operations, {name} of the rest kept", words


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.power", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--random", type=int, default=5, metavar="N", help="random states at each sync")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="try only every N-th point")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="power-") as temporary:
        folder = Path(temporary)
        with provider(folder) as simulator:
            manifest = write_manifest(folder, simulator.base_url)
            bench = PowerBench(folder, manifest, simulator, record(manifest, folder, simulator))
            names = [name for name, _ in choices(options.random)]
            points = len(bench.recording.sync_points()[:: options.every])
            wrong = list(bench.sweep(options.random, resume=names, every=options.every))
    for where, words in wrong:
        say(f"  {where}: {words}")
    say(f"{points} points, {points * len(names)} states in {time.monotonic() - started:.0f} s: {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
