"""Pictures made again, pictures that are gone or altered, and what a killed run leaves to be sent once more."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import batch
from batch.core.clock import SystemClock
from batch.core.errors import Declined, InputError, OptionError
from batch.core.events import RunStart
from batch.core.model import Outcome
from batch.core.results import Summary
from batch.plan import Selection
from batch.report.status import read_status
from batch.report.why import explain
from batch.runner.control import RunControl
from batch.runner.options import RunOptions
from batch.runner.resolve import accept
from batch.runner.run import plan_only
from batch.store.ledger import encode_line
from tests.support.bench import KEY, Bench, balance, faults
from tests.support.fakes import QuickClock, Recorder


def again(*words: str, limit: int | None = None) -> RunOptions:
    return RunOptions(again=words, yes=True, selection=Selection(limit=limit))


def stems(bench: Bench) -> set[str]:
    return {name.rpartition(".")[0] for name in bench.pictures()}


async def accepted(bench: Bench, *words: str) -> list[str]:
    """The jobs whose loss is accepted now."""
    told: list[str] = []
    await accept(bench.output, words, note="not needed", clock=SystemClock(), told=told.append)
    return told


def reason(bench: Bench, jobs: Any, job_id: str) -> str:
    """Why a job will be sent or not, as `why` says it."""
    planned = plan_only(bench.manifest(jobs), output=bench.output)
    return explain(*planned.decision_on(job_id), planned.output).reason


def picture(bench: Bench, stem: str) -> Path:
    [file] = (bench.output / "images").glob(f"{stem}.*")
    return file


@pytest.mark.parametrize(
    ("words", "made"),
    [
        (("job-1",), ["job-1"]),
        (("job-[02]",), ["job-0", "job-2"]),
        (("*",), ["job-0", "job-1", "job-2"]),
        (("job-0", "job-?"), ["job-0", "job-1", "job-2"]),
        (("missing",), []),
    ],
    ids=str,
)
async def test_done_pictures_are_made_again(bench: Bench, words: tuple[str, ...], made: list[str]) -> None:
    """One request each, the new picture is the job's and the old one stays beside it; then all is quiet."""
    await bench.run(3)
    before = bench.pictures()
    plan = plan_only(bench.manifest(3), output=bench.output, options=again(*words)).plan
    assert (plan.to_do, plan.remade.count) == (len(made), len(made))
    summary = await bench.run(3, options=again(*words))
    assert (summary.exit, summary.requests, summary.done) == (0, len(made), 3)
    assert stems(bench) == {"job-0", "job-1", "job-2", *(f"{name}~v2" for name in made)}
    assert before.items() <= bench.pictures().items()
    shown = {line["id"]: line["images"][-1]["path"] for line in bench.lines()}
    assert {name for name, path in shown.items() if "~v2" in path} == set(made)
    assert (await bench.run(3)).requests == 0
    balance(bench)


async def test_a_file_of_ids_is_taken_literally(bench: Bench, tmp_path: Path) -> None:
    """With a byte-order mark, other line ends and blank lines."""
    await bench.run(3)
    names = tmp_path / "ids.txt"
    names.write_bytes(b"\xef\xbb\xbfjob-0\r\n\r\n  job-2  \r\n")
    assert (await bench.run(3, options=again(f"@{names}"))).requests == 2
    names.write_text("job-*\n")
    with pytest.raises(OptionError, match=r"no job is called job-\*"):
        await bench.run(3, options=again(f"@{names}"))


@pytest.mark.parametrize("words", [("jub-1",), ("job-1", "x-*"), ("@no-such-file",), ("",)], ids=str)
async def test_what_names_no_job_is_a_wrong_command_line(bench: Bench, words: tuple[str, ...]) -> None:
    """It is said before anything is sent, with exit code 2."""
    await bench.run(2)
    with pytest.raises(OptionError, match="--again") as raised:
        await bench.run(2, options=again(*words))
    assert (raised.value.exit_code, bench.book.requests) == (2, 2)


async def test_the_price_is_asked_for(bench: Bench) -> None:
    """On a terminal a person decides; where nobody can be asked it needs `yes`."""
    await bench.run(2)
    options = replace(again("job-0"), yes=False)
    asked: list[str] = []

    async def refuse(question: str) -> bool:
        asked.append(question)
        return False

    async def agree(question: str) -> bool:
        return not await refuse(question)

    with pytest.raises(OptionError, match=r"1 picture is made again, for \$0\.0.*--yes"):
        await bench.run(2, options=options)
    bench.options["control"] = RunControl(ask=refuse)
    with pytest.raises(Declined):
        await bench.run(2, options=options)
    bench.options["control"] = RunControl(ask=agree)
    assert (await bench.run(2, options=options)).requests == 1
    assert len(asked) == 2
    assert "$0.0" in asked[0]


async def test_a_picture_that_is_gone_is_named_and_made_again(bench: Bench) -> None:
    """Run, plan and status name it; `missing` buys just that."""
    await bench.run(3)
    gone = picture(bench, "job-1")
    gone.unlink()
    path = f"images/{gone.name}"
    summary = await bench.run(3)
    assert (summary.exit, summary.reason, summary.missing, summary.altered) == (3, "missing_files", 1, 0)
    assert (summary.missing_files, summary.altered_files) == ((path,), ())
    assert read_status(bench.output).missing_files == (path,)
    assert plan_only(bench.manifest(3), output=bench.output).lost_files.missing == (path,)
    mended = await bench.run(3, options=again("missing"))
    assert (mended.exit, mended.requests, mended.missing) == (0, 1, 0)
    assert (await bench.run(3)).exit == 0
    balance(bench)


async def test_an_altered_file_is_not_called_missing(bench: Bench) -> None:
    """It is named as what it is, `missing` leaves it alone, and its id buys it again beside it."""
    await bench.run(2)
    file = picture(bench, "job-0")
    file.write_bytes(file.read_bytes() + b"mine")
    summary = await bench.run(2)
    assert (summary.exit, summary.reason, summary.missing, summary.altered) == (3, "altered_files", 0, 1)
    assert summary.altered_files == (f"images/{file.name}",)
    assert (await bench.run(2, options=again("missing"))).requests == 0
    assert (await bench.run(2, options=again("job-0"))).exit == 0
    assert file.read_bytes().endswith(b"mine")


@pytest.mark.parametrize("words", [("job-0", "job-1"), ("missing", "job-1")], ids=str)
async def test_a_loss_can_be_accepted(bench: Bench, words: tuple[str, ...]) -> None:
    """Then the batch is finished: exit 0, nothing sent; and it can still be made again by its id."""
    await bench.run(3)
    picture(bench, "job-0").unlink()
    picture(bench, "job-1").write_bytes(b"mine")
    assert sorted(await accepted(bench, *words)) == ["job-0", "job-1"]
    summary = await bench.run(3)
    assert (summary.exit, summary.requests, summary.done, summary.missing) == (0, 0, 3, 0)
    gone, altered, whole = bench.lines()
    assert [line["accepted"] for line in (gone, altered, whole)] == [True, True, False]
    assert gone["images"] == []
    assert [image["altered"] for image in altered["images"]] == [True]
    assert ["altered" in image for image in whole["images"]] == [False]
    assert read_status(bench.output).accepted == 2
    assert reason(bench, 3, "job-0") == "will not be sent: its file is gone, and that was accepted"
    assert reason(bench, 3, "job-1") == "will not be sent: its file is not what was bought, and that was accepted"
    assert reason(bench, 3, "job-2") == "will not be sent: it has its picture"
    assert (await bench.run(3, options=again("missing"))).requests == 0
    assert (await bench.run(3, options=again("job-0"))).requests == 1
    assert (await bench.run(3)).exit == 0


async def test_what_is_whole_cannot_be_accepted(bench: Bench) -> None:
    """A picture that is there, or a job that never had one."""
    await bench.run(1)
    with pytest.raises(InputError, match=r"job-0.*as it was bought\n.*other.*no picture"):
        await accepted(bench, "job-0", "other")


async def test_an_accepted_loss_is_no_source(bench: Bench) -> None:
    """With `dedupe` an equal job is bought, for there is no file to share."""
    await bench.run([{"id": "a", "prompt": "red"}])
    picture(bench, "a").unlink()
    await accepted(bench, "a")
    jobs = [{"id": "a", "prompt": "red"}, {"id": "b", "prompt": "red"}]
    summary = await bench.run(jobs, dedupe=True)
    assert (summary.exit, summary.requests, summary.adopted) == (0, 1, 0)


async def test_with_dedupe_a_missing_picture_is_taken_from_its_copy(bench: Bench) -> None:
    """It costs nothing; one named by its id is bought, for another picture is wanted, and the copy keeps its own."""
    jobs = [{"id": "a", "prompt": "red"}, {"id": "b", "prompt": "red"}]
    await bench.run(jobs, dedupe=True)
    picture(bench, "a").unlink()
    mended = await bench.run(jobs, dedupe=True, options=again("missing"))
    assert (mended.exit, mended.requests, mended.adopted) == (0, 0, 1)
    b = picture(bench, "b").read_bytes()
    assert (await bench.run(jobs, dedupe=True, options=again("b"))).requests == 1
    assert picture(bench, "b").read_bytes() == b
    assert (await bench.run(jobs, dedupe=True)).requests == 0


@faults({"fault": "finish_image_safety", "prompt": "cup", "after": 1})
async def test_a_remake_that_fails_leaves_a_way_out(bench: Bench) -> None:
    """The old picture is there still; accepted, it counts again."""
    jobs = [{"id": "a", "prompt": "cup"}]
    await bench.run(jobs)
    failed = await bench.run(jobs, options=again("a"))
    assert (failed.exit, failed.failed) == (1, 1)
    assert (await bench.run(jobs)).requests == 0
    assert await accepted(bench, "a") == ["a"]
    summary = await bench.run(jobs)
    assert (summary.exit, summary.requests, summary.done) == (0, 0, 1)
    assert stems(bench) == {"a"}
    assert [image["path"] for image in bench.lines()[0]["images"]] == [f"images/{picture(bench, 'a').name}"]
    assert reason(bench, jobs, "a").endswith("its picture is there, and was accepted in place of a newer one")


@faults({"fault": "http_503", "prompt": "cup", "after": 1, "times": 50})
async def test_a_remake_that_was_put_off_goes_on(bench: Bench) -> None:
    """What was asked for again and not served is sent by the next run, without asking once more."""
    jobs = [{"id": "a", "prompt": "cup"}]
    await bench.run(jobs)
    off = await bench.run(jobs, options=again("a"), retry={"unavailable_attempts": 1})
    assert off.exit == 75
    plan = plan_only(bench.manifest(jobs), output=bench.output).plan
    assert plan.to_do == 1


class Started(Recorder):
    start: RunStart | None = None

    def run_started(self, start: RunStart) -> None:
        self.start = start


def killed(bench: Bench, jobs: int) -> None:
    """Leave these jobs as a run does that is killed in the middle: sent, and no end."""
    ledger = bench.ledger()
    keep = [
        record for record in ledger if not (record["t"] in ("done", "end") and record.get("job", "") < f"job-{jobs}")
    ]
    (bench.output / "ledger.jsonl").write_bytes(
        b"".join(encode_line({key: value for key, value in record.items() if key != "c"}) for record in keep)
    )
    for n in range(jobs):
        picture(bench, f"job-{n}").unlink()


@pytest.mark.parametrize(("unknown", "sent"), [("resend", 3), ("hold", 0)])
async def test_what_a_killed_run_left_is_announced(bench: Bench, unknown: str, sent: int) -> None:
    """The run's first line counts and prices what is sent once more; the plan says how many that can be."""
    await bench.run(5)
    killed(bench, 3)
    manifest = bench.manifest(7, retry={"unknown": unknown})
    plan = plan_only(manifest, output=bench.output).plan
    assert (plan.to_do, plan.count("skip: open"), plan.reopened.count) == (2, 3, sent)
    listener = Started()
    summary = await batch.run(manifest, output=bench.output, environment=KEY, clock=QuickClock(), listener=listener)
    assert listener.start is not None
    assert (listener.start.to_do, listener.start.done) == (2 + sent, 5 - sent)
    assert summary.requests == 2 + sent
    assert listener.start.expected_usd == pytest.approx(plan.usd + plan.reopened.price_usd)


async def test_json_names_only_so_many(bench: Bench) -> None:
    """The counts say how many; twenty files are named."""
    await bench.run(25)
    for file in (bench.output / "images").iterdir():
        file.unlink()
    summary = await bench.run(25)
    assert (summary.missing, len(summary.missing_files)) == (25, 20)
    assert json.loads(json.dumps(summary.missing_files))


class StopsAt(Recorder):
    """Stops the run when so many jobs have ended."""

    def __init__(self, jobs: int, control: RunControl) -> None:
        super().__init__()
        self._jobs = jobs
        self._control = control

    def job_ended(self, outcome: Outcome, in_flight: int) -> None:
        super().job_ended(outcome, in_flight)
        if len(self.named("ended")) == self._jobs:
            self._control.drain(15, "SIGTERM")


async def stopped(bench: Bench, jobs: int, after: int, *words: str) -> Summary:
    """A run with `--again` that a signal stops in the middle."""
    control = RunControl()
    bench.options = {"control": control, "listener": StopsAt(after, control)}
    try:
        return await bench.run(jobs, options=again(*words), limits={"concurrency": 1})
    finally:
        bench.options = {}


async def test_again_typed_twice_after_a_stop_goes_on(bench: Bench) -> None:
    """What the stopped run had made is left as it is; then all is made, and typed once more it is a new wish."""
    await bench.run(5)
    first = await stopped(bench, 5, 2, "job-?")
    left = 5 - first.requests
    assert 0 < left < 5
    assert (first.exit, first.reason, first.remakes_left) == (143, "interrupted", left)
    assert "--again 'job-?'" in (read_status(bench.output).next_command or "")
    assert (await bench.run(5)).requests == 0
    planned = plan_only(bench.manifest(5), output=bench.output, options=again("job-?")).plan
    assert planned.to_do == left
    second = await bench.run(5, options=again("job-?"))
    assert (second.exit, second.requests, second.remakes_left) == (0, left, 0)
    assert read_status(bench.output).next_command is None
    assert (await bench.run(5, options=again("job-?"))).requests == 5
    balance(bench)


async def test_again_with_a_limit_goes_through_all(bench: Bench) -> None:
    """Two at a time: nothing is made twice before everything was made once."""
    await bench.run(5)
    for made in (2, 2, 1):
        assert (await bench.run(5, options=again("*", limit=2))).requests == made
    assert stems(bench) == {*(f"job-{n}" for n in range(5)), *(f"job-{n}~v2" for n in range(5))}
    assert (await bench.run(5, options=again("*", limit=2))).requests == 2


async def test_a_killed_remake_goes_on(bench: Bench) -> None:
    """Without a record of its end, too: the wish stands in the run's first line."""
    await bench.run(4)
    made = (await stopped(bench, 4, 1, "*")).requests
    ledger = bench.output / "ledger.jsonl"
    kept = [line for line in ledger.read_bytes().splitlines(keepends=True) if json.loads(line)["t"] != "end"]
    ledger.write_bytes(b"".join(kept))
    assert (await bench.run(4, options=again("*"))).requests == 4 - made


async def test_another_again_begins_anew(bench: Bench) -> None:
    """A wish in other words takes the place of one that was stopped."""
    await bench.run(3)
    assert 0 < (await stopped(bench, 3, 1, "*")).requests < 3
    assert (await bench.run(3, options=again("job-0"))).requests == 1
    assert (await bench.run(3, options=again("*"))).requests == 3
