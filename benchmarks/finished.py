"""A batch that is already done, run again: seconds, memory, requests sent (none).

The first run buys every picture from the delay server without delay, through the runner itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks import measure
from benchmarks.answers import KINDS, write_answer
from benchmarks.compare import empty_folder
from benchmarks.contestants import RUNNER_ENV, Command, Task, contestants
from benchmarks.servers import Server, delay_server


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What the first run and the runs after it took. `requests` is the sum over all runs after the first."""

    jobs: int
    first: measure.Usage
    first_requests: int
    again: tuple[measure.Usage, ...]
    requests: int


def measure_finished(*, jobs: int, concurrency: int, rounds: int, workdir: Path, timeout: float) -> Finished:
    """Fills a folder once, then runs the same command `rounds` times more."""
    answer = write_answer(KINDS["6KB"], workdir)
    runner = contestants(Path())["imagebatch"]
    with empty_folder(workdir / "finished") as folder, delay_server(answer, 0) as server:
        task = Task(answer=answer, images=jobs, concurrency=concurrency, base_url=server.base_url, folder=folder)
        command = runner.command(task)
        log = workdir / "finished.log"
        first = measure.run(command.argv, log=log, env=RUNNER_ENV, timeout=timeout)
        missing = runner.missing(task)
        if missing:
            raise measure.CommandFailed(f"{missing}: {measure.tail(log)}")
        bought = server.stats().requests
        again = tuple(_again(command, log, timeout) for _ in range(rounds))
        sent = _requests(server) - bought
    return Finished(jobs=jobs, first=first, first_requests=bought, again=again, requests=sent)


def _again(command: Command, log: Path, timeout: float) -> measure.Usage:
    return measure.run(command.argv, log=log, env=RUNNER_ENV, timeout=timeout)


def _requests(server: Server) -> int:
    return server.stats().requests


def as_markdown(found: Finished) -> str:
    """One line per run."""
    lines = [
        f"A finished batch of {found.jobs:,} jobs, run again: {found.requests} requests sent.",
        "",
        "| run | wall s | CPU s | peak MB |",
        "| --- | --- | --- | --- |",
    ]
    named = [
        ("first (buys all)", found.first),
        *((f"again {n}", one) for n, one in enumerate(found.again, 1)),
    ]
    lines += [f"| {name} | {one.wall_seconds:.2f} | {one.cpu_seconds:.2f} | {one.peak_mb:.0f} |" for name, one in named]
    return "\n".join(lines) + "\n"
