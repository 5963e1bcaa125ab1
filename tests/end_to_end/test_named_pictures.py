"""Pictures with names and folders of their own: bought once, found again, made again, moved with a rehearsal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import batch
from batch.core.errors import OutputError
from batch.core.results import Summary
from batch.runner.options import RunOptions
from tests.support.bench import Bench, balance
from tests.support.fakes import QuickClock

JOBS = [{"id": f"job-{n}", "prompt": f"cup number {n}"} for n in range(3)]
NAMES = "{% if id == 'job-0' %}first{% else %}set/{{ id[4:] }}{% endif %}/{{ id }}"


def lying(output: Path) -> set[str]:
    images = output / "images"
    return {str(file.relative_to(images).with_suffix("")) for file in images.rglob("*") if file.is_file()}


async def test_they_lie_where_the_manifest_says_and_are_bought_once(bench: Bench) -> None:
    """The ledger and manifest.jsonl have their paths; another run sends nothing, also without `names`."""
    await bench.run(JOBS, names=NAMES)

    expected = {"first/job-0", "set/1/job-1", "set/2/job-2"}
    assert lying(bench.output) == expected
    assert {Path(line["images"][0]["path"]).with_suffix("") for line in bench.lines()} == {
        Path("images", name) for name in expected
    }
    again = [
        await bench.run(JOBS, names=NAMES),
        await bench.run(JOBS),
        await bench.run(JOBS, names="other/{{ id }}"),
    ]
    assert [summary.requests for summary in again] == [0, 0, 0]
    assert lying(bench.output) == expected
    balance(bench)


async def test_a_picture_made_again_lies_beside_the_old_one(bench: Bench) -> None:
    """In its folder, under a name of its own."""
    await bench.run(JOBS, names=NAMES)

    await bench.run(JOBS, names=NAMES, options=RunOptions(again=("job-0",), yes=True))

    assert {"first/job-0", "first/job-0~v2"} < lying(bench.output)
    balance(bench)


async def test_a_renamed_job_takes_its_picture_over_into_a_folder(bench: Bench) -> None:
    """No request, the same bytes under the new name."""
    await bench.run(JOBS)

    summary = await bench.run([{**JOBS[0], "id": "cup"}, *JOBS[1:]], names="cups/{{ id }}")

    assert (summary.requests, summary.adopted) == (0, 1)
    assert lying(bench.output) == {"job-0", "job-1", "job-2", "cups/cup"}


async def test_what_has_a_folders_name_is_told_before_anything_is_sent(bench: Bench) -> None:
    """A file of the user's in the place of a folder, or under a picture's name in it."""
    (bench.output / "images/set/1").mkdir(parents=True)
    (bench.output / "images/set/1/job-1.png").write_text("mine")
    with pytest.raises(OutputError, match=r"images/set/1/job-1\.png exists and is not in the ledger"):
        await bench.run(JOBS, names=NAMES)
    (bench.output / "images/set/1/job-1.png").unlink()
    (bench.output / "images/first").write_text("mine")
    with pytest.raises(OutputError, match="images/first exists and is not in the ledger"):
        await bench.run(JOBS, names=NAMES)

    assert bench.book.billed == 0


async def test_a_rehearsal_in_folders_makes_room(bench: Bench) -> None:
    """Its pictures move with their folders, and the bought ones lie under the same names."""

    async def rehearse() -> Summary:
        provider: dict[str, Any] = {"profile": "simulator", "simulator": {"pictures": "plain"}}
        file = bench.manifest(JOBS, provider=provider, names=NAMES)
        return await batch.run(file, output=bench.output, clock=QuickClock())

    await rehearse()
    drawn = lying(bench.output)

    await bench.run(JOBS, names=NAMES)

    assert lying(bench.output) == lying(bench.output / "rehearsal") == drawn
    lines = (bench.output / "rehearsal/manifest.jsonl").read_text("utf-8").splitlines()
    assert all((bench.output / "rehearsal" / json.loads(line)["images"][0]["path"]).is_file() for line in lines)
    balance(bench)
