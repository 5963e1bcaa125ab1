"""Tables of up to millions of rows: what a plan costs, and a run when everything is bought already.

Nobody waits for two million requests, so what they would have left behind is written here: the ledger's lines by the
package's own functions, the pictures as hard links to a few files. Then the real commands run on it.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final

from PIL import Image as Pillow

from batch.core.model import AttemptFacts, Image, Job, Terms
from batch.manifest import load_manifest
from batch.store.ledger import encode_line
from batch.store.records import done_record, try_record
from benchmarks import measure
from benchmarks.compare import empty_folder
from benchmarks.contestants import RUNNER_ENV
from benchmarks.servers import busy_seconds

_SCENES: Final = ("studio", "beach")
_IN_FLIGHT: Final = 32
#: ext4 lets a file have 65,000 names.
_NAMES_OF_ONE_FILE: Final = 60_000
_RUN: Final = "20260101T000000Z-000000"
_AT: Final = "2026-01-01T00:00:00.000Z"

PLAN_NEW: Final = "plan, nothing bought"
RUN_FIRST: Final = "run, all bought; writes manifest.jsonl"
RUN_DONE: Final = "run, all bought and written"
PLAN_DONE: Final = "plan, all bought"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One command on a table. `other_cpu_seconds` is what anything else on the machine used meanwhile."""

    rows: int
    jobs: int
    command: str
    usage: measure.Usage
    other_cpu_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A table of so many rows, and so many jobs made of each by a matrix."""

    rows: int
    values: int
    timeout: float

    @property
    def jobs(self) -> int:
        return self.rows * self.values


def measure_rows(cases: Iterable[Case], workdir: Path) -> Iterator[Measured]:
    """Every command on every case, each as it ends. Raises `CommandFailed` if one sends a request or goes wrong."""
    for case in cases:
        with empty_folder(workdir / "rows") as folder:
            manifest = _write_manifest(case, folder)
            yield _measured(case, PLAN_NEW, ["plan"], manifest, expected={"jobs": case.jobs, "to_do": case.jobs})
            _write_results(manifest, folder / "out")
            os.sync()
            done = {"done": case.jobs, "requests": 0}
            yield _measured(case, RUN_FIRST, ["run"], manifest, expected=done)
            yield _measured(case, RUN_DONE, ["run"], manifest, expected=done)
            yield _measured(case, PLAN_DONE, ["plan"], manifest, expected={"jobs": case.jobs, "to_do": 0})


def _measured(case: Case, name: str, command: Sequence[str], manifest: Path, expected: dict[str, int]) -> Measured:
    log = manifest.with_suffix(".log")
    argv = [sys.executable, "-m", "batch", *command, str(manifest), "-o", str(manifest.parent / "out"), "--json"]
    busy = busy_seconds()
    usage = measure.run(argv, log=log, env=RUNNER_ENV, timeout=case.timeout)
    busy = busy_seconds() - busy
    said = _json_in(log)
    if {field: said.get(field) for field in expected} != expected:
        raise measure.CommandFailed(f"{name}: not {expected}, but {measure.tail(log)}")
    other = max(busy - usage.cpu_seconds, 0.0)
    return Measured(rows=case.rows, jobs=case.jobs, command=name, usage=usage, other_cpu_seconds=other)


def _json_in(log: Path) -> dict[str, Any]:
    text = log.read_text("utf-8", errors="replace")
    said: dict[str, Any]
    said, _ = json.JSONDecoder().raw_decode(text, text.index("{"))
    return said


def _write_manifest(case: Case, folder: Path) -> Path:
    """A shop's export in small: four columns, of which a job uses two."""
    with open(folder / "rows.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["Handle", "Title", "Body (HTML)", "Vendor"])
        for number in range(case.rows):
            body = f"<p>A fine product, number {number}, made of good cotton &amp; care.</p>"
            table.writerow([f"product-{number:07d}", f"Product number {number} in blue", body, "partners-demo"])
    manifest = {
        "name": "rows",
        "provider": {"profile": "google", "base_url": "http://127.0.0.1:9"},  # never asked
        "rows": "rows.csv",
        "matrix": {"scene": list(_SCENES[: case.values])},
        "jobs": [
            {
                "id": "{{ Handle }}-{{ scene }}",
                "prompt": "Product photo of {{ Title }}, {{ scene }} background",
            }
        ],
    }
    path = folder / "jobs.yaml"
    path.write_text(json.dumps(manifest, indent=2))  # JSON is YAML
    return path


def _write_results(manifest: Path, output: Path) -> None:
    """What a run would leave that bought everything and was killed just before its end."""
    (output / "images").mkdir(parents=True)
    (output / "ledger.jsonl").touch(mode=0o600)
    picture = _png()
    with open(output / "ledger.jsonl", "wb", buffering=1 << 20) as ledger:
        _write_lines(load_manifest(manifest).check(), ledger, picture)
    _name_pictures(load_manifest(manifest).jobs(), output / "images", picture)


def _write_lines(jobs: Iterator[Job], ledger: BinaryIO, picture: bytes) -> None:
    """Every job's two lines, in the order in which they come when some requests are always in flight."""
    numbers = itertools.count(1)
    digest = sha256(picture).hexdigest()

    def write(record: dict[str, Any]) -> None:
        ledger.write(encode_line({"v": 1, "n": next(numbers), **record}))

    def end(job: Job) -> None:
        image = Image(
            path=f"images/{job.id}.png",
            mime="image/png",
            width=1024,
            height=1024,
            size_bytes=len(picture),
            sha256=digest,
        )
        facts = AttemptFacts(number=1, seconds=12.345, cost_usd=0.067, request_id=f"request-{job.id}", usage=_USAGE)
        write(done_record(job, facts, [image], caption="A picture.", warnings=[], run=_RUN, at=_AT))

    in_flight: deque[Job] = deque()
    for job in jobs:
        terms = Terms(endpoint="simulator", model=job.model)
        write(try_record(job, 1, terms, why="new", attempt_id=f"{_RUN}.{job.id}.1", run=_RUN, at=_AT))
        in_flight.append(job)
        if len(in_flight) == _IN_FLIGHT:
            end(in_flight.popleft())
    for job in in_flight:
        end(job)


def _name_pictures(jobs: Iterator[Job], images: Path, picture: bytes) -> None:
    source = images.parent / "picture"
    for number, job in enumerate(jobs):
        if number % _NAMES_OF_ONE_FILE == 0:
            source.unlink(missing_ok=True)
            source.write_bytes(picture)
        os.link(source, f"{images}/{job.id}.png")
    source.unlink(missing_ok=True)


_USAGE: Final = {"promptTokenCount": 11, "candidatesTokenCount": 1120, "totalTokenCount": 1131}


def _png() -> bytes:
    written = io.BytesIO()
    Pillow.new("RGB", (1024, 1024), "navy").save(written, "PNG")
    return written.getvalue()


def tell(one: Measured) -> None:
    """One line per command, while it goes on."""
    usage = one.usage
    print(
        f"{one.rows:10,} rows {one.jobs:10,} jobs  {one.command:40} wall {usage.wall_seconds:7.2f} s"
        f"  cpu {usage.cpu_seconds:7.2f} s  peak {usage.peak_mb:7.1f} MB  others' cpu {one.other_cpu_seconds:6.2f} s",
        file=sys.stderr,
    )


def as_markdown(found: Sequence[Measured]) -> str:
    """One line per command and case. What a table of one row takes is the start, which is not counted per row."""
    head = (
        "command",
        "rows",
        "jobs",
        "wall s",
        "CPU s",
        "peak MB",
        "CPU ms per 1,000 rows",
        "KB per 1,000 rows",
        "others' CPU s",
    )
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    starts = {(one.command, one.jobs): one.usage for one in found if one.rows == 1}
    for one in sorted(found, key=lambda one: (_ORDER.index(one.command), one.jobs // one.rows, one.rows)):
        usage, start = one.usage, starts.get((one.command, one.jobs // one.rows))
        cells = [
            one.command,
            f"{one.rows:,}",
            f"{one.jobs:,}",
            f"{usage.wall_seconds:.1f}",
            f"{usage.cpu_seconds:.1f}",
            f"{usage.peak_mb:.0f}",
            *_per_thousand_rows(one, start),
            f"{one.other_cpu_seconds:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _per_thousand_rows(one: Measured, start: measure.Usage | None) -> tuple[str, str]:
    if start is None or one.rows == 1:
        return "", ""
    thousands = (one.rows - 1) / 1000
    milliseconds = (one.usage.cpu_seconds - start.cpu_seconds) * 1000 / thousands
    return f"{milliseconds:.0f}", f"{(one.usage.peak_mb - start.peak_mb) * 1000 / thousands:.0f}"


_ORDER: Final = (PLAN_NEW, PLAN_DONE, RUN_DONE, RUN_FIRST)
