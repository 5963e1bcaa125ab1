"""The comparison: every case, round after round, every contestant in turn.

The order rotates from round to round. Each round also runs every contestant on one picture, so that the
cost of starting can be taken off. A run counts only if every picture is there in full.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import measure
from benchmarks.answers import KINDS, Answer, write_answer
from benchmarks.contestants import Contestant, Task
from benchmarks.servers import Server, ServerStats, busy_seconds, delay_server, nginx


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`delay_seconds` 0 is nginx, else the delay server. `images` runs in 20 to 60 s at most on two cores."""

    name: str
    answer: str
    concurrency: int
    images: int
    delay_seconds: float = 0.0


CASES: Final = {
    case.name: case
    for case in (
        Case(name="6KB-8", answer="6KB", concurrency=8, images=1500),
        Case(name="6KB-64", answer="6KB", concurrency=64, images=1500),
        Case(name="2MB-8", answer="2MB", concurrency=8, images=300),
        Case(name="2MB-64", answer="2MB", concurrency=64, images=300),
        Case(name="24MB-8", answer="24MB", concurrency=8, images=64),
        Case(name="24MB-64", answer="24MB", concurrency=64, images=128),
        Case(name="latency-1000", answer="6KB", concurrency=1000, images=3000, delay_seconds=2.0),
    )
}

#: The pool is widened only where its bound of 100 is felt.
_ONLY_LATENCY: Final = frozenset({"sdk-wide"})

_KEPT: Final = "kept-to-the-end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One measured run. With an `error` the figures are zero and count for nothing.

    `other_cpu_seconds` is what anything but client and server used meanwhile: high, and the wall time is doubtful.
    """

    case: str
    contestant: str
    round: int
    images: int
    concurrency: int
    ideal_seconds: float
    answer_bytes: int
    wall_seconds: float = 0.0
    user_seconds: float = 0.0
    system_seconds: float = 0.0
    peak_mb: float = 0.0
    requests: int = 0
    peak_in_flight: int | None = None
    server_cpu_seconds: float = 0.0
    other_cpu_seconds: float = 0.0
    error: str | None = None

    @property
    def cpu_seconds(self) -> float:
        return self.user_seconds + self.system_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every run needs: the contestants, the servers' answers, a folder on a real disk, limits."""

    contestants: dict[str, Contestant]
    answers: dict[str, Answer]
    workdir: Path
    rounds: int
    timeout: float
    shrink: int = 1

    def log(self, contestant: str) -> Path:
        return self.workdir / f"{contestant}.log"

    def http_stack(self, contestant: str) -> dict[str, str] | None:
        """What the SDK's loop printed about itself in its last run; None for the others."""
        if not contestant.startswith("sdk") or not self.log(contestant).exists():
            return None
        first_line = self.log(contestant).read_text().partition("\n")[0]
        return json.loads(first_line) if first_line.startswith("{") else None


def prepare_answers(folder: Path) -> dict[str, Answer]:
    """All canned answers, written into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return {name: write_answer(kind, folder) for name, kind in KINDS.items()}


def compare(bench: Bench, cases: list[Case]) -> Iterator[Run]:
    """Runs everything, yielding each run as it ends."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_swept(bench.workdir / _KEPT))
        servers: dict[str, Server] = {}
        if any(not case.delay_seconds for case in cases):
            prefix = bench.workdir / "nginx"
            prefix.mkdir(exist_ok=True)
            servers = stack.enter_context(nginx(list(bench.answers.values()), prefix))
        for case in cases:
            yield from _rounds(bench, case, servers.get(case.answer))


def _rounds(bench: Bench, case: Case, server: Server | None) -> Iterator[Run]:
    entered = [one for one in bench.contestants.values() if case.delay_seconds or one.name not in _ONLY_LATENCY]
    answer = bench.answers[case.answer]
    with contextlib.ExitStack() as stack:
        if case.delay_seconds:
            server = stack.enter_context(delay_server(answer, case.delay_seconds))
        assert server is not None
        for round_number in range(1, bench.rounds + 1):
            first = (round_number - 1) % len(entered)
            for contestant in entered[first:] + entered[:first]:
                for images in (1, max(case.images // bench.shrink, 2)):
                    yield _run(bench, case, server, contestant, round_number, images)


def _run(bench: Bench, case: Case, server: Server, contestant: Contestant, round_number: int, images: int) -> Run:
    answer = bench.answers[case.answer]
    facts = Run(
        case=case.name,
        contestant=contestant.name,
        round=round_number,
        images=images,
        concurrency=case.concurrency,
        ideal_seconds=images / case.concurrency * case.delay_seconds,
        answer_bytes=answer.json_bytes,
    )
    kept = bench.workdir / _KEPT / f"{case.name}-{contestant.name}-{round_number}-{images}"
    with empty_folder(bench.workdir / "run", keep_as=kept) as folder:
        task = Task(
            answer=answer,
            images=images,
            concurrency=case.concurrency,
            base_url=server.base_url,
            folder=folder,
        )
        try:
            return _measured(facts, task, contestant, server, bench)
        except measure.CommandFailed as failure:
            return dataclasses.replace(facts, error=str(failure))


def _measured(facts: Run, task: Task, contestant: Contestant, server: Server, bench: Bench) -> Run:
    command = contestant.command(task)
    log = bench.log(contestant.name)
    before, busy = server.stats(), busy_seconds()
    usage = measure.run(command.argv, log=log, env=command.env, timeout=bench.timeout)
    after, busy = server.stats(), busy_seconds() - busy
    missing = contestant.missing(task)
    if missing:
        raise measure.CommandFailed(f"{missing}: {measure.tail(log)}")
    return dataclasses.replace(
        facts,
        wall_seconds=usage.wall_seconds,
        user_seconds=usage.user_seconds,
        system_seconds=usage.system_seconds,
        peak_mb=usage.peak_mb,
        requests=after.requests - before.requests - _own_requests(after),
        peak_in_flight=after.peak_in_flight,
        server_cpu_seconds=after.cpu_seconds - before.cpu_seconds,
        other_cpu_seconds=max(busy - usage.cpu_seconds - (after.cpu_seconds - before.cpu_seconds), 0.0),
    )


def _own_requests(stats: ServerStats) -> int:
    """nginx counts our own question for its statistics, the delay server does not."""
    return 1 if stats.peak_in_flight is None else 0


@contextlib.contextmanager
def empty_folder(folder: Path, *, keep_as: Path | None = None) -> Iterator[Path]:
    """A folder for one run, gone afterwards, with no write-back left over for the next run to wait for.

    `keep_as` moves it away, its files emptied, instead of removing it.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder.resolve()
    finally:
        if keep_as is None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            for file in folder.rglob("*"):
                if file.is_file() and not file.is_symlink():
                    os.truncate(file, 0)
            folder.rename(keep_as)
        os.sync()


@contextlib.contextmanager
def _swept(folder: Path) -> Iterator[None]:
    """The emptied files of earlier runs stay in this folder to the end of the comparison.

    For a minute after many files were removed ext4 is slow to make new ones: it passes over every inode just freed.
    The next run would pay for that, and the dearer the more files the run before it had left.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tell(run: Run) -> None:
    """One line per run, while it goes on."""
    if run.error:
        print(f"{run.case} {run.contestant} round {run.round}: FAILED {run.error}", file=sys.stderr)
        return
    print(
        f"{run.case:13} {run.contestant:12} round {run.round} images {run.images:5}"
        f" wall {run.wall_seconds:7.2f} s  cpu {run.cpu_seconds:7.2f} s  peak {run.peak_mb:7.1f} MB"
        f" server cpu {run.server_cpu_seconds:6.2f} s  others' cpu {run.other_cpu_seconds:6.2f} s",
        file=sys.stderr,
    )
