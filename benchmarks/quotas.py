"""A quota of requests per minute: how fast the whole batch gets through it, and what is refused on the way.

The simulator stands in for the provider: it counts requests in any 60 seconds, refuses what is more as Google does,
with the delay, and takes a few seconds for a picture. Everybody is to bring all pictures home.
"""

from __future__ import annotations

import json
import shutil
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import measure, servers

_MODEL: Final = "gemini-3.1-flash-image"
_HERE: Final = Path(__file__).parent
_ANSWER_SECONDS: Final = (2.0, 6.0)
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """So many pictures through so many requests a minute, at most so many at a time."""

    jobs: int
    per_minute: int
    concurrency: int

    @property
    def at_best_seconds(self) -> float:
        """Full minutes, and then the last ones through the slots; or at least the slowest answer."""
        full, last = divmod(self.jobs - 1, self.per_minute)
        through_slots = (last + 1) / self.concurrency * sum(_ANSWER_SECONDS) / 2
        return 60.0 * full + max(_ANSWER_SECONDS[1], through_slots)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """`pictures` the provider made and `refused` by its own count; `kept` are files on the disk."""

    who: str
    pictures: int
    kept: int
    refused: int
    seconds: float
    at_best_seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Contestant:
    """`argv(case, base_url, folder)` brings the pictures into the folder; `pattern` finds them there."""

    who: str
    argv: Callable[[Case, str, Path], list[str]]
    pattern: str


def contestants(sdk_python: Path) -> list[Contestant]:
    """The runner, told and not told of the quota; the SDK with its own retries; a loop with tenacity around it."""

    def loop(*options: str) -> Callable[[Case, str, Path], list[str]]:
        def argv(case: Case, base_url: str, folder: Path) -> list[str]:
            numbers = [str(case.jobs), str(case.concurrency)]
            return [str(sdk_python), str(_HERE / "sdk_loop.py"), base_url, *numbers, "512", str(folder), *options]

        return argv

    return [
        Contestant("imagebatch, told", lambda *args: _runner(*args, told=True), "out/images/*"),
        Contestant("imagebatch, not told", lambda *args: _runner(*args, told=False), "out/images/*"),
        Contestant("SDK, its own retries (5)", loop("--retries"), "job-*"),
        Contestant("SDK in a tenacity loop", loop("--tenacity"), "job-*"),
    ]


def measure_quotas(case: Case, workdir: Path, sdk_python: Path, *, timeout: float) -> Iterator[Measured]:
    """All contestants one after the other, each against a provider whose minute is empty."""
    for number, contestant in enumerate(contestants(sdk_python)):
        folder = workdir / f"quota-{number}"
        shutil.rmtree(folder, ignore_errors=True)  # what an earlier benchmark bought is not to be bought by this one
        folder.mkdir(parents=True)
        with _provider(case, folder) as base_url:
            yield _one(contestant, case, base_url, folder, timeout)


def as_markdown(found: list[Measured]) -> str:
    """One table, with times as ratios to the shortest that the quota allows."""
    lines = [
        "| who | pictures on disk | made by the provider | refused (429) | time, by the least possible | |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    lines += [
        f"| {one.who} | {one.kept:,} | {one.pictures:,} | {one.refused:,} | {one.seconds / one.at_best_seconds:.2f} "
        f"| {one.note} |"
        for one in found
    ]
    return "\n".join(lines)


def tell(one: Measured) -> None:
    print(f"{one.who}: {one.kept} kept, {one.refused} refused, {one.seconds:.0f} s", file=sys.stderr)


def _one(contestant: Contestant, case: Case, base_url: str, folder: Path, timeout: float) -> Measured:
    note, seconds = "", timeout
    environment = {"GEMINI_API_KEY": "benchmark-key-0000", "XDG_STATE_HOME": str(folder / "state")}
    argv = contestant.argv(case, base_url, folder)
    try:
        usage = measure.run(argv, log=folder / "run.log", timeout=timeout, env=environment)
        seconds = usage.wall_seconds
    except measure.CommandFailed as failure:
        note = "gave up" if "exit code" in str(failure) else "not finished in time"
        seconds = _seconds_of(folder, timeout)
    with _DIRECT.open(f"{base_url}/__simulator__/book?entries=0", timeout=30) as response:
        book: dict[str, Any] = json.load(response)
    kept = sum(file.stat().st_size > 0 for file in folder.glob(contestant.pattern))
    return Measured(
        who=contestant.who,
        pictures=book["billed"],
        kept=kept,
        refused=book["requests"] - book["billed"],
        seconds=seconds,
        at_best_seconds=case.at_best_seconds,
        note=note,
    )


def _seconds_of(folder: Path, otherwise: float) -> float:
    """What `measure.run` wrote down before it raised."""
    usage = folder / "run.usage.json"
    return float(json.loads(usage.read_bytes())["wall_seconds"]) if usage.exists() else otherwise


def _runner(case: Case, base_url: str, folder: Path, *, told: bool) -> list[str]:
    limits: dict[str, Any] = {"concurrency": case.concurrency}
    if told:
        limits["requests_per_minute"] = case.per_minute
    manifest = {
        "name": "quota",
        "provider": {"profile": "google", "base_url": base_url},
        "model": _MODEL,
        "limits": limits,
        "rows": "rows.csv",
        "jobs": [{"id": "job-{{ n }}", "prompt": "picture {{ n }}", "image_size": "512", "aspect_ratio": "1:1"}],
    }
    (folder / "rows.csv").write_text("n\n" + "".join(f"{number}\n" for number in range(case.jobs)))
    file = folder / "jobs.yaml"
    file.write_text(json.dumps(manifest))
    return [sys.executable, "-m", "batch", "run", str(file), "-o", str(folder / "out"), "--json"]


@contextmanager
def _provider(case: Case, folder: Path) -> Iterator[str]:
    options = {
        "pictures": "plain",
        "requests_per_minute": case.per_minute,
        "latency_seconds": list(_ANSWER_SECONDS),
    }
    config = folder / "simulator.yaml"
    config.write_text(json.dumps(options))
    with servers.simulator(config) as base_url:
        yield base_url
