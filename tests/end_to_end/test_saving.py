"""Pictures that are not bought again: renamed jobs, jobs that ask for the same, other folders, edits of white space."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import batch
from batch.core.errors import InputError, OutputError
from batch.core.settings import ChangedPolicy
from batch.runner.options import RunOptions
from batch.runner.run import plan_only
from tests.support.bench import KEY, Bench, balance, faults
from tests.support.fakes import QuickClock, Recorder

RERUN = RunOptions(on_changed=ChangedPolicy.RERUN)


def entry(job_id: str, prompt: str) -> dict[str, Any]:
    return {"id": job_id, "prompt": prompt}


def status(bench: Bench) -> dict[str, str]:
    return {line["id"]: line["status"] for line in bench.lines()}


async def test_a_renamed_job_keeps_its_picture(bench: Bench) -> None:
    """No request, the picture under the new name, the old file left; the books balance and the next run is quiet."""
    await bench.run([entry("old", "red"), entry("b", "green")])
    summary = await bench.run([entry("new", "red"), entry("b", "green")])
    assert (summary.exit, summary.requests, summary.adopted, summary.done) == (0, 0, 1, 2)
    assert bench.book.requests == 2
    names = {name.partition(".")[0] for name in bench.pictures()}
    assert names == {"old", "new", "b"}
    assert status(bench) == {"new": "done", "b": "done"}
    again = await bench.run([entry("new", "red"), entry("b", "green")])
    assert (again.exit, again.requests, again.adopted) == (0, 0, 0)
    balance(bench)


async def test_renamed_back_and_forth_buys_nothing(bench: Bench) -> None:
    """Whatever it is called, the picture is there."""
    for name in ("one", "two", "one", "three"):
        assert (await bench.run([entry(name, "red")])).exit == 0
    assert bench.book.requests == 1


async def test_a_picture_that_is_gone_cannot_be_taken_over(bench: Bench) -> None:
    """Its file was deleted: the renamed job is bought like any new one."""
    await bench.run([entry("old", "red")])
    for file in (bench.output / "images").iterdir():
        file.unlink()
    summary = await bench.run([entry("new", "red")])
    assert (summary.exit, summary.adopted, bench.book.requests) == (0, 0, 2)


async def test_a_run_killed_between_name_and_record_goes_on(bench: Bench) -> None:
    """The picture has its new name and the ledger does not say so yet: it is neither in the way nor taken twice."""
    await bench.run([entry("old", "red")])
    [picture] = (bench.output / "images").iterdir()
    os.link(picture, picture.with_stem("new"))
    summary = await bench.run([entry("new", "red")])
    assert (summary.exit, summary.requests, summary.adopted) == (0, 0, 1)
    assert len(bench.pictures()) == 2


async def test_a_file_of_somebody_else_is_not_touched(bench: Bench) -> None:
    """A picture taken over goes beside it."""
    await bench.run([entry("old", "red")])
    [picture] = (bench.output / "images").iterdir()
    picture.with_stem("new").write_bytes(b"mine")
    assert (await bench.run([entry("new", "red")])).adopted == 1
    assert picture.with_stem("new").read_bytes() == b"mine"
    assert bench.lines()[0]["images"][0]["path"] == f"images/new~x2{picture.suffix}"


async def test_equal_jobs_are_bought_once_with_dedupe(bench: Bench) -> None:
    """One request; every job has its own name for the picture and its own line."""
    jobs = [entry("a", "red"), entry("b", "red"), entry("c", "red"), entry("d", "blue")]
    summary = await bench.run(jobs, dedupe=True)
    assert (summary.exit, summary.requests, summary.adopted, summary.done) == (0, 2, 2, 4)
    lines = bench.lines()
    assert [line["id"] for line in lines] == ["a", "b", "c", "d"]
    assert len({line["images"][0]["sha256"] for line in lines[:3]}) == 1
    assert sum(line["cost_usd"] for line in lines) == pytest.approx(bench.book.usd)
    assert (await bench.run(jobs, dedupe=True)).requests == 0
    balance(bench)


async def test_equal_jobs_are_bought_twice_without(bench: Bench) -> None:
    """Two jobs may want two pictures of the same words; the plan says so."""
    jobs = [entry("a", "red"), entry("b", "red")]
    assert plan_only(bench.manifest(jobs), output=bench.output).plan.twins.count == 1
    assert (await bench.run(jobs)).requests == 2


@faults({"fault": "finish_image_safety", "prompt": "knife", "times": 1})
async def test_equal_jobs_fail_together_and_are_mended_together(bench: Bench) -> None:
    """One refusal is paid for, not three; asked for again by its cause, one request serves all."""
    jobs = [entry("a", "knife"), entry("b", "knife"), entry("c", "knife")]
    summary = await bench.run(jobs, dedupe=True)
    assert (summary.exit, summary.requests, summary.failed) == (1, 1, 3)
    assert summary.failures_by_cause == {"image_safety": 3}
    assert (await bench.run(jobs, dedupe=True)).requests == 0
    mended = await bench.run(jobs, dedupe=True, options=RunOptions(retry="image_safety"))
    assert (mended.exit, mended.requests, mended.done) == (0, 1, 3)
    balance(bench)


@faults({"fault": "close", "times": 2})
async def test_a_copy_waits_while_the_outcome_is_unknown(bench: Bench) -> None:
    """Nothing is known of the picture it asks for, so nothing is said of it and nothing sent."""
    jobs = [entry("a", "red"), entry("b", "red")]
    summary = await bench.run(jobs, dedupe=True, retry={"unknown": "hold"})
    assert (summary.exit, summary.requests, summary.unknown, summary.pending) == (3, 1, 1, 1)
    assert status(bench) == {"a": "unknown"}


async def test_pictures_of_another_folder_are_reused(bench: Bench, tmp_path: Path) -> None:
    """What was bought there is taken over, checked byte for byte; the rest is bought."""
    await bench.run([entry("x", "red"), entry("y", "green")])
    first, bench.options = bench.output, {}
    jobs = bench.manifest([entry("a", "red"), entry("b", "green"), entry("c", "blue")])
    options = RunOptions(reuse=(first,))
    summary = await batch.run(jobs, output=tmp_path / "two", options=options, environment=KEY, clock=QuickClock())
    assert (summary.exit, summary.requests, summary.adopted, summary.done) == (0, 1, 2, 3)
    assert plan_only(jobs, output=tmp_path / "two", options=options).plan.count("skip: done") == 3


async def test_a_damaged_picture_is_not_reused_and_not_bought_in_silence(bench: Bench, tmp_path: Path) -> None:
    """Same size, other bytes: it is said, and the job waits for a decision."""
    await bench.run([entry("x", "red")])
    [picture] = (bench.output / "images").iterdir()
    picture.write_bytes(bytes(picture.stat().st_size))
    heard = Recorder()
    summary = await batch.run(
        bench.manifest([entry("a", "red")]),
        output=tmp_path / "two",
        options=RunOptions(reuse=(bench.output,)),
        environment=KEY,
        clock=QuickClock(),
        listener=heard,
    )
    assert (summary.exit, summary.requests, summary.adopted) == (75, 0, 0)
    assert any("not what was bought" in str(said) for said in heard.events)


async def test_a_folder_without_a_ledger_cannot_be_reused(bench: Bench, tmp_path: Path) -> None:
    """A typing error is said before anything is sent."""
    with pytest.raises(OutputError, match=r"holds no ledger"):
        await bench.run([entry("a", "red")], options=RunOptions(reuse=(tmp_path / "nowhere",)))


# ---- edits that would buy everything again -----------------------------------------------------------------


def table(bench: Bench, count: int = 30) -> dict[str, Any]:
    rows = "".join(f"p{n},Tea set number {n}\n" for n in range(count))
    (bench.path / "rows.csv").write_text("Handle,Title\n" + rows)
    return {"rows": "rows.csv"}


@pytest.mark.parametrize("named", [True, False])
async def test_white_space_in_a_template_buys_nothing(bench: Bench, named: bool) -> None:
    """With ids or without, the jobs are the same ones, edited: refused, with a count and the price."""
    ids = {"id": "{{ Handle }}"} if named else {}
    top = table(bench)
    await bench.run([{**ids, "prompt": "{{ Title }}, plain"}], **top)
    with pytest.raises(InputError, match=r"30 jobs were edited .* rerun \(buy new ones beside them, \$1\.35\)"):
        await bench.run([{**ids, "prompt": "{{ Title }},  plain "}], **top)
    kept = await bench.run(
        [{**ids, "prompt": "{{ Title }},  plain "}], options=RunOptions(on_changed=ChangedPolicy.KEEP), **top
    )
    assert (kept.exit, kept.requests, bench.book.requests) == (0, 0, 30)


@pytest.mark.parametrize("policy", [ChangedPolicy.REFUSE, ChangedPolicy.KEEP])
async def test_an_edited_prompt_that_names_the_jobs_is_not_a_new_batch(bench: Bench, policy: ChangedPolicy) -> None:
    """Ids are made of the prompt: thirty new jobs in the place of thirty bought ones need a yes."""
    top = table(bench)
    await bench.run([{"prompt": "{{ Title }}, plain"}], **top)
    with pytest.raises(InputError, match=r"30 jobs are new, and 30 that were bought .*\$1\.35"):
        await bench.run([{"prompt": "{{ Title }}, bold"}], options=RunOptions(on_changed=policy), **top)
    assert bench.book.requests == 30
    assert (await bench.run([{"prompt": "{{ Title }}, bold"}], options=RERUN, **top)).requests == 30


async def test_growth_and_a_new_season_are_no_edit(bench: Bench) -> None:
    """More rows without ids are just bought; rows with ids may be replaced altogether."""
    await bench.run([{"prompt": "{{ Title }}"}], **table(bench, 25))
    assert (await bench.run([{"prompt": "{{ Title }}"}], **table(bench, 60))).requests == 35
    await bench.run([entry(f"old-{n}", f"old {n}") for n in range(25)])
    assert (await bench.run([entry(f"new-{n}", f"new {n}") for n in range(25)])).requests == 25
