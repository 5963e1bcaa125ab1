"""Where the runner's CPU goes: one run under the sampler, printed as tables."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, Final

from benchmarks import measure
from benchmarks.answers import KINDS, write_answer
from benchmarks.compare import Case, empty_folder
from benchmarks.contestants import Task, runner
from benchmarks.servers import delay_server, nginx

#: The sampler itself and the start before it are the rest.
_ENOUGH: Final = 0.75


def profile(case: Case, *, images: int, workdir: Path, timeout: float) -> str:
    """Runs the case once and returns the tables."""
    answer = write_answer(KINDS[case.answer], workdir)
    with contextlib.ExitStack() as stack:
        if case.delay_seconds:
            server = stack.enter_context(delay_server(answer, case.delay_seconds))
        else:
            prefix = workdir / "nginx"
            prefix.mkdir(exist_ok=True)
            server = stack.enter_context(nginx([answer], prefix))[answer.kind.name]
        folder = stack.enter_context(empty_folder(workdir / "profile"))
        task = Task(
            answer=answer,
            images=images,
            concurrency=case.concurrency,
            base_url=server.base_url,
            folder=folder,
        )
        command = runner(task)
        out = workdir / "profile.json"
        argv = [command.argv[0], "-m", "benchmarks.sampler", str(out), *command.argv[2:]]
        usage = measure.run(argv, log=workdir / "profile.log", env=command.env, timeout=timeout)
    return _tables(json.loads(out.read_bytes()), usage, images)


def _tables(found: dict[str, Any], usage: measure.Usage, images: int) -> str:
    share = found["put_down_seconds"] / usage.cpu_seconds
    lines = [
        f"{images} pictures: wall {usage.wall_seconds:.2f} s, user {usage.user_seconds:.2f} s, "
        f"system {usage.system_seconds:.2f} s, peak {usage.peak_mb:.0f} MB (sampler included)",
        f"put down below: {share:.0%} of the CPU; failed samples: {found['failed_samples'] or 'none'}",
    ]
    if share < _ENOUGH:
        lines.append("TOO LITTLE of the CPU was seen for the shares below to mean anything: run again.")
    for title, entries in found.items():
        if not isinstance(entries, list):
            continue
        total = sum(seconds for _, seconds in found["threads"])
        lines += ["", f"{title}:"]
        lines += [f"  {seconds:8.3f} s {seconds / total:5.1%}  {name}" for name, seconds in entries]
    return "\n".join(lines)
