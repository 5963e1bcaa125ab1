"""The kill sweep of what is no batch: a rehearsal that makes room for what is bought, and kept answers read again.

    python -m tests.crash.kills                     every call on a file, before and after it
    python -m tests.crash.kills --scenarios reread --kinds link,rename --every 3

Each point is a copy of a prepared folder: the command dies, a judgement, the same command again, a judgement. The
folders, the commands and what is right: `tests/crash/scenarios.py`. The batch itself: `tests/crash/sweep.py`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.forked import forked
from tests.crash.injector import KINDS, SOCKET_KINDS, Fault
from tests.crash.scenarios import SCENARIOS, Scenario, scenario
from tests.crash.sweep import Provider, own_points, provider, say


def counts(tried: Scenario, output: Path) -> dict[str, int]:
    """How many calls of each kind the command makes when it is left alone."""
    tried.prepare(output)
    ran = tried.start("tests.crash.child", tried.manifest, str(output))
    shutil.rmtree(output)
    return ran.counts


def try_kill(tried: Scenario, output: Path, fault: Fault) -> list[str]:
    """What is wrong after the command died at this call, and after it was typed again."""
    tried.prepare(output)
    before = len(tried.simulator.entries())
    ran = tried.start("tests.crash.child", tried.manifest, str(output), str(fault))
    if not ran.killed:
        return [f"not hit: {ran.lines[-1:]} {ran.errors[-300:]}"]
    billed = tried.simulator.entries()[before:]
    wrong = tried.interrupted(output, billed, ran.said_done, power=False) or tried.resumed(output, billed)
    shutil.rmtree(output)
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.kills", description=(__doc__ or "").split("\n\n")[0])
    files = [kind for kind in KINDS if kind not in SOCKET_KINDS]
    parser.add_argument("--scenarios", default=",".join(SCENARIOS[1:]), help="with commas between")
    parser.add_argument("--kinds", default=",".join(files), help="kinds of calls, with commas between")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="try only every N-th point")
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="kills-") as temporary, provider(Path(temporary)) as simulator:
        for name in options.scenarios.split(","):
            wrong += _swept(name, Path(temporary) / name, simulator, options)
    return 1 if wrong else 0


def _swept(name: str, folder: Path, simulator: Provider, options: argparse.Namespace) -> int:
    started = time.monotonic()
    tried = scenario(name, folder, simulator, start=forked)
    points = own_points(counts(tried, folder / "count"), options.kinds.split(","), ["KILL"])[:: options.every]
    wrong = 0
    for number, fault in enumerate(points):
        found = try_kill(tried, folder / f"out-{number}", fault)
        wrong += bool(found)
        for words in found:
            say(f"  {name}, {fault}: {words}")
    say(f"{name}: {len(points)} points in {time.monotonic() - started:.0f} s: {wrong} broke a promise")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
