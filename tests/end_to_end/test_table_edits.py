"""A table that is edited while a run is on: what was not planned is not sent, and the next run goes on."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final, TypeAlias

import pytest

from batch.core.model import Outcome
from batch.core.results import Summary
from batch.plan import Selection
from batch.runner.control import RunControl
from batch.runner.options import RunOptions
from tests.support.bench import Bench
from tests.support.fakes import Recorder

_EDITED_AFTER: Final = 2

Row: TypeAlias = tuple[str, str]
Edit: TypeAlias = Callable[[Path, bytes, bytes], None]


def rows_called(name: str, number: int) -> list[Row]:
    """Rows that do not compress, so that a packed table is no smaller than a reader's buffer."""
    return [(f"{name}{n}", f"cup {n} {Random(f'{name}{n}').randbytes(20).hex()}") for n in range(number)]


#: The jobs to send are at both ends. What is between them is more than any reader holds, and costs no request.
FIRST, BETWEEN, LAST = rows_called("first-", 24), rows_called("between-", 3000), rows_called("last-", 6)
ROWS: Final = [*FIRST, *BETWEEN, *LAST]
WANTED: Final = RunOptions(selection=Selection(only=("first-*", "last-*", "new-*")))
NEW: Final = rows_called("new-", 4)
OTHER: Final[dict[str, list[Row]]] = {
    "other prompts of the same length": [(job, prompt.replace("cup", "mug")) for job, prompt in ROWS],
    "rows put in at the top": [*NEW, *ROWS],
    "another order": ROWS[::-1],
    "other ids": [(f"x{job}", prompt) for job, prompt in ROWS],
    "the end cut off": ROWS[:1500],
    "nothing left": [],
}


def as_csv(rows: Sequence[Row]) -> bytes:
    return "".join(f"{job},{prompt}\n" for job, prompt in [("id", "t"), *rows]).encode()


def as_jsonl(rows: Sequence[Row]) -> bytes:
    return b"".join(json.dumps({"id": job, "t": prompt}).encode() + b"\n" for job, prompt in rows)


def as_gz(rows: Sequence[Row]) -> bytes:
    return gzip.compress(as_csv(rows), mtime=0)


def as_parquet(rows: Sequence[Row]) -> bytes:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    out = io.BytesIO()
    columns = {"id": [job for job, _ in rows], "t": [prompt for _, prompt in rows]}
    schema = pyarrow.schema([("id", pyarrow.string()), ("t", pyarrow.string())])
    parquet.write_table(pyarrow.table(columns, schema=schema), out, row_group_size=100, compression="none")
    return out.getvalue()


FORMATS: Final[dict[str, Callable[[Sequence[Row]], bytes]]] = {
    "t.csv": as_csv,
    "t.jsonl": as_jsonl,
    "t.csv.gz": as_gz,
    "t.parquet": as_parquet,
}


def in_place(file: Path, _old: bytes, new: bytes) -> None:
    with file.open("r+b") as stream:
        stream.write(new)
        stream.truncate()


def in_place_at_the_same_time(file: Path, old: bytes, new: bytes) -> None:
    """As a copying tool does that keeps times."""
    before = file.stat()
    in_place(file, old, new)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def renamed(file: Path, _old: bytes, new: bytes) -> None:
    beside = file.with_name("new")
    beside.write_bytes(new)
    beside.replace(file)


class Editor(Recorder):
    """Edits the table when some jobs have ended."""

    def __init__(self, edit: Callable[[], None]) -> None:
        super().__init__()
        self._edit = edit

    def job_ended(self, outcome: Outcome, in_flight: int) -> None:
        super().job_ended(outcome, in_flight)
        if len(self.named("ended")) == _EDITED_AFTER:
            self._edit()


async def run(bench: Bench, table: str, **options: Any) -> Summary:
    bench.options = options
    row = {"id": "{{ id }}", "prompt": "{{ t }}"}
    return await bench.run([row], options=WANTED, rows=table, limits={"concurrency": 2})


async def edited(bench: Bench, name: str, old: bytes, new: bytes, edit: Edit, *, early: bool = False) -> Summary:
    """A run whose table is edited after some jobs; `early`: when everything is planned and nothing sent."""
    table = bench.path / name
    table.write_bytes(old)

    def act() -> None:
        edit(table, old, new)

    if early:
        return await run(bench, name, control=RunControl(opening=act))
    return await run(bench, name, listener=Editor(act))


def sent(bench: Bench) -> Counter[str]:
    return Counter(entry.prompt for entry in bench.book.entries)


def planned(rows: Sequence[Row] = ROWS) -> Counter[str]:
    return Counter(prompt for job, prompt in rows if not job.startswith("between-"))


async def goes_on(bench: Bench, name: str, rows: Sequence[Row] = ROWS) -> None:
    """With the table as it was, the next run buys the rest: every picture once."""
    (bench.path / name).write_bytes(FORMATS[name](rows))
    summary = await run(bench, name)
    assert summary.message is None
    assert sent(bench) == planned(rows)


def stopped(summary: Summary, bench: Bench, name: str) -> None:
    """Exit 65 naming the table; what was sent was planned, and its pictures are kept."""
    assert summary.exit == 65
    assert name in str(summary.message)
    assert sent(bench) <= planned(FIRST)
    assert _EDITED_AFTER <= summary.done == bench.book.billed == len(bench.pictures())


@pytest.mark.parametrize("what", OTHER)
async def test_a_csv_written_over_in_place(bench: Bench, what: str) -> None:
    """The run stops at the first row that was not planned, though the file's time says that nothing happened."""
    edit = in_place_at_the_same_time
    stopped(await edited(bench, "t.csv", as_csv(ROWS), as_csv(OTHER[what]), edit), bench, "t.csv")
    await goes_on(bench, "t.csv")


@pytest.mark.parametrize("what", ["other prompts of the same length", "rows put in at the top", "the end cut off"])
@pytest.mark.parametrize("name", ["t.jsonl", "t.csv.gz"])
async def test_other_formats_written_over_in_place(bench: Bench, name: str, what: str) -> None:
    """The same holds for every format, and for blocks that cannot be unpacked any more."""
    write = FORMATS[name]
    stopped(await edited(bench, name, write(ROWS), write(OTHER[what]), in_place), bench, name)
    await goes_on(bench, name)


@pytest.mark.parametrize("what", ["rows put in at the top", "the end cut off"])
async def test_a_parquet_table_written_over_in_place(bench: Bench, what: str) -> None:
    """The library may have read it whole by then, so the run may end well; what was not planned is not sent."""
    summary = await edited(bench, "t.parquet", as_parquet(ROWS), as_parquet(OTHER[what]), in_place)
    assert summary.exit in (0, 65)
    assert sent(bench) <= planned()
    await goes_on(bench, "t.parquet")


@pytest.mark.parametrize(
    ("name", "edit"),
    [("t.csv", in_place), *((name, renamed) for name in FORMATS)],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
async def test_an_edit_between_the_plan_and_the_first_request(bench: Bench, name: str, edit: Edit) -> None:
    """The table is not the one that was checked: nothing is sent at all."""
    write = FORMATS[name]
    new = write(OTHER["other prompts of the same length"])
    summary = await edited(bench, name, write(ROWS), new, edit, early=True)
    assert (summary.exit, summary.requests, bench.book.requests) == (65, 0, 0)
    assert name in str(summary.message)
    await goes_on(bench, name)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
async def test_a_table_replaced_by_a_rename(bench: Bench, name: str) -> None:
    """The run has the old file open and buys exactly what was planned."""
    write = FORMATS[name]
    summary = await edited(bench, name, write(ROWS), write(OTHER["rows put in at the top"]), renamed)
    assert (summary.message, summary.done) == (None, len(FIRST + LAST))
    assert sent(bench) == planned()


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
async def test_rows_appended_are_for_the_next_run(bench: Bench, name: str) -> None:
    """They were not planned, so this run does not send them; the next one does."""
    write = FORMATS[name]
    summary = await edited(bench, name, write(ROWS), write([*ROWS, *NEW]), in_place)
    assert (summary.message, summary.done) == (None, len(FIRST + LAST))
    assert sent(bench) == planned()
    await goes_on(bench, name, [*ROWS, *NEW])


async def test_an_edited_manifest_is_for_the_next_run(bench: Bench) -> None:
    """The manifest was read once; what it says now does not matter to the run that is on."""
    manifest = bench.path / "m.yaml"
    jobs = [{"id": f"j{n}", "prompt": f"cup {n}"} for n in range(12)]

    def edit() -> None:
        manifest.write_text(manifest.read_text().replace("cup", "mug"))

    bench.options = {"listener": Editor(edit)}
    summary = await bench.run(jobs, limits={"concurrency": 2})
    assert (summary.exit, summary.done) == (0, 12)
    assert sent(bench) == Counter(str(job["prompt"]) for job in jobs)
