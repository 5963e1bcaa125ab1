"""`imagebatch reread`: pictures in answers that an older program could not read, without a request."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import brotli
import pytest
from click.testing import CliRunner

from batch.cli.app import cli
from batch.core.errors import LockedError
from batch.core.results import Decided
from batch.money.spend_book import spent_by_run_and_day
from batch.providers.base import Blob, Received
from batch.report.money import spend_of
from batch.runner.connections import read_again
from batch.runner.reread import Reread
from batch.runner.resolve import resolve
from batch.store.disk_reserve import DiskReserve
from batch.store.folder import output_folder
from batch.store.history import replay
from batch.store.job_state import State
from batch.store.spool import AttemptSpool, attempt_stem
from tests.support.bench import Bench, a_bench, faults
from tests.support.fakes import QuickClock
from tests.support.picture_host import png

PICTURE = png(32)
HOLDING = {"unheard_of": [{"x": base64.b64encode(PICTURE).decode()}]}
ONCE = {"unusable_retries": 0}
LOST: pytest.MarkDecorator = faults({"fault": "text_only", "prompt": "lost"})
LOST_ONCE: pytest.MarkDecorator = faults({"fault": "text_only", "prompt": "lost", "times": 1})
CUT: pytest.MarkDecorator = faults({"fault": "cut", "prompt": "lost"})
PAGE: pytest.MarkDecorator = faults({"fault": "html_200", "prompt": "lost"})
JOBS = [{"id": "lost", "prompt": "a lost cup"}, {"id": "cup", "prompt": "a cup"}]


@pytest.fixture
async def bench(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with a_bench(tmp_path, **getattr(request, "param", {})) as made:
        yield made


def hold(output: Path, tree: Any, job: str = "lost", attempt: int = 1) -> None:
    """Put another answer in the place of a kept one."""
    spool = AttemptSpool(str(output / "rejected"), attempt_stem(job, attempt), DiskReserve(str(output)))
    spool.seal(Received(status=200, headers={}, body=json.dumps(tree).encode(), blobs=(), seconds=1.0))


async def again(bench: Bench, *, dry_run: bool = False) -> list[tuple[str, str]]:
    found: list[Reread] = []
    await read_again(bench.output, base_url=bench.simulator.base_url, dry_run=dry_run, told=found.append)
    return [(each.job, each.found) for each in found]


@LOST
async def test_a_picture_in_a_kept_answer_becomes_the_jobs(bench: Bench) -> None:
    """Done, with the money moved from wasted to pictures, nothing sent, and nothing to do for the next run."""
    await bench.run(JOBS, retry=ONCE)
    before, _ = replay(bench.output)
    hold(bench.output, HOLDING)
    assert await again(bench) == [("lost", "done")]
    assert (bench.output / "images/lost.png").read_bytes() == PICTURE
    after, _ = replay(bench.output)
    spent = spend_of(after)
    assert (spent.done, spent.rejected, spent.failed, spent.pictures) == (0.09, 0.0, 0.0, 2)
    assert after.usd == before.usd == pytest.approx(bench.book.usd)
    summary = await bench.run(JOBS, retry=ONCE)
    assert (int(summary.exit), bench.book.requests) == (0, 2)
    assert {line["id"]: line["status"] for line in bench.lines()} == {"lost": "done", "cup": "done"}


@LOST
async def test_a_second_reread_finds_nothing_new(bench: Bench) -> None:
    """An answer that became a picture is not read a third time."""
    await bench.run(JOBS, retry=ONCE)
    hold(bench.output, HOLDING)
    await again(bench)
    ledger = bench.ledger()
    assert await again(bench) == []
    assert bench.ledger() == ledger


@LOST
async def test_a_dry_run_writes_nothing(bench: Bench) -> None:
    """It only says what would be found."""
    await bench.run(JOBS, retry=ONCE)
    hold(bench.output, HOLDING)
    ledger = bench.ledger()
    assert await again(bench, dry_run=True) == [("lost", "done")]
    assert (bench.ledger(), sorted(bench.pictures())) == (ledger, ["cup.jpg"])


@LOST
async def test_a_picture_at_an_address_is_fetched_without_the_key(bench: Bench) -> None:
    """The address in a kept answer is opened as it would have been then; one that is gone changes nothing."""
    await bench.run(JOBS, retry=ONCE)
    hold(bench.output, {"url": f"{bench.simulator.base_url}/files/none.png"})
    assert await again(bench) == [("lost", "nothing")]
    assert (bench.book.downloads, bench.book.downloads_with_key) == (1, 0)
    assert sorted(bench.pictures()) == ["cup.jpg"]


@LOST_ONCE
async def test_a_job_that_was_bought_again_keeps_its_picture(bench: Bench) -> None:
    """The picture found stays aside; nothing is replaced."""
    await bench.run(JOBS)
    pictures = bench.pictures()
    hold(bench.output, HOLDING)
    found: list[Reread] = []
    await read_again(bench.output, base_url=None, dry_run=False, told=found.append)
    (answer,) = found
    assert (answer.found, answer.message) == ("aside", "the job has a picture by now")
    assert bench.pictures() == pictures


@LOST
async def test_a_job_that_was_edited_since_stays_as_it_is(bench: Bench) -> None:
    """The old answer is no picture of what is asked for now."""
    await bench.run(JOBS, retry=ONCE)
    await bench.run([{"id": "lost", "prompt": "another lost cup"}, JOBS[1]], retry=ONCE)
    hold(bench.output, HOLDING)
    assert await again(bench) == [("lost", "nothing"), ("lost", "aside")]


@LOST
async def test_of_two_kept_answers_the_newest_becomes_the_picture(bench: Bench) -> None:
    """Both were paid for; the other one is counted as rejected and stays aside."""
    await bench.run(JOBS, retry={"unusable_retries": 1})
    for attempt in (1, 2):
        hold(bench.output, HOLDING, attempt=attempt)
    assert await again(bench) == [("lost", "done"), ("lost", "aside")]
    spent = spend_of(replay(bench.output)[0])
    assert (spent.done, spent.rejected) == (0.09, 0.045)


@LOST
async def test_jobs_that_failed_with_it_share_the_picture(bench: Bench) -> None:
    """With `dedupe` a job that asks for the same failed without a request of its own, and is done without one."""
    twins = [*JOBS, {"id": "twin", "prompt": "a lost cup"}]
    await bench.run(twins, retry=ONCE, dedupe=True)
    hold(bench.output, HOLDING)
    assert await again(bench) == [("lost", "done")]
    assert (bench.output / "images/twin.png").read_bytes() == PICTURE
    summary = await bench.run(twins, retry=ONCE, dedupe=True)
    assert (int(summary.exit), bench.book.requests) == (0, 2)


@LOST
@pytest.mark.parametrize("is_deleted", [False, True])
async def test_a_picture_is_shared_although_an_earlier_command_died_before_it(bench: Bench, is_deleted: bool) -> None:
    """The next one gives it to the copies that have none, as long as it is there."""
    twins = [*JOBS, {"id": "twin", "prompt": "a lost cup"}]
    await bench.run(twins, retry=ONCE, dedupe=True)
    hold(bench.output, HOLDING)
    await again(bench)
    ledger = bench.output / "ledger.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:-1]))  # the twin's adoption
    (bench.output / "images/twin.png").unlink()
    if is_deleted:
        (bench.output / "images/lost.png").unlink()
    assert await again(bench) == []
    assert (bench.output / "images/twin.png").exists() is not is_deleted


@LOST
async def test_an_answer_that_is_gone_or_damaged_is_said_so(bench: Bench) -> None:
    """It may be deleted by hand; what is left must not be taken for an answer."""
    await bench.run(JOBS, retry=ONCE)
    file = bench.output / "rejected/lost~1.answer"
    file.write_bytes(file.read_bytes()[:-1])
    assert await again(bench) == [("lost", "unreadable")]
    file.unlink()
    assert await again(bench) == [("lost", "unreadable")]


@PAGE
async def test_a_picture_in_an_answer_taken_for_free_is_counted(bench: Bench) -> None:
    """What holds a picture was charged, so its price is added when it is found."""
    await bench.run(JOBS, limits={"concurrency": 1})
    before, _ = replay(bench.output)
    hold(bench.output, HOLDING)
    assert await again(bench) == [("lost", "done")]
    after, _ = replay(bench.output)
    assert after.usd == pytest.approx(before.usd + 0.045)
    runs = frozenset(line["run"] for line in bench.ledger() if line["t"] == "run")
    spent = spent_by_run_and_day(bench.output, lambda _: 0, runs)
    assert sum(spent.micro_usd.values()) == round(after.usd * 1_000_000)


@CUT
@pytest.mark.parametrize("decided", [None, Decided.PAID, Decided.UNPAID])
async def test_a_picture_in_an_answer_of_unknown_charge_is_paid_once(bench: Bench, decided: Decided | None) -> None:
    """Whatever a person decided on it before: it was charged, and nothing of it is open any more."""
    await bench.run(JOBS, retry={"unknown": "hold"}, limits={"concurrency": 1})
    if decided is not None:
        clock = QuickClock()
        await resolve(bench.output, ["lost"], decided, note="", clock=clock, told=lambda job_id, attempts: None)
    hold(bench.output, HOLDING)
    assert await again(bench) == [("lost", "done")]
    after, _ = replay(bench.output)
    assert (after.usd, after.maybe_usd) == pytest.approx((0.09, 0.0))


@LOST_ONCE
async def test_what_is_no_file_in_rejected_is_named_and_the_others_are_read(bench: Bench) -> None:
    """A FIFO hangs nothing, and costs nothing but its own answer."""
    await bench.run(JOBS, retry=ONCE)
    hold(bench.output, HOLDING)
    file = bench.output / "rejected/lost~1.answer"
    file.unlink()
    os.mkfifo(file)
    told: list[Reread] = []
    await read_again(bench.output, base_url=bench.simulator.base_url, dry_run=False, told=told.append)
    assert [each.found for each in told] == ["unreadable"]
    assert "lost~1.answer is a F" in told[0].message


@LOST
async def test_a_folder_in_use_is_left_alone(bench: Bench) -> None:
    """Exit code 75, as for a second run."""
    await bench.run(JOBS, retry=ONCE)
    with output_folder(bench.output), pytest.raises(LockedError):
        await again(bench)


@LOST
async def test_a_crash_between_picture_and_line_is_harmless(bench: Bench) -> None:
    """The same bytes under the name that is wanted are taken for the picture."""
    await bench.run(JOBS, retry=ONCE)
    hold(bench.output, HOLDING)
    (bench.output / "images/lost.png").write_bytes(PICTURE)
    assert await again(bench) == [("lost", "done")]
    assert sorted(bench.pictures()) == ["cup.jpg", "lost.png"]
    assert replay(bench.output)[0].tally_of_all().total() == 2


def test_the_command_prints_what_it_found(tmp_path: Path) -> None:
    """Lines for people, one JSON object for programs, and words for a folder without a ledger."""

    async def prepare() -> Path:
        async with a_bench(tmp_path, faults=[{"fault": "text_only", "prompt": "lost"}]) as bench:
            await bench.run(JOBS, retry=ONCE)
            return bench.output

    output = asyncio.run(prepare())
    hold(output, HOLDING)
    shown = CliRunner().invoke(cli, ["reread", str(output), "--dry-run"])
    assert (shown.exit_code, "1 would become pictures" in shown.output) == (0, True)
    printed = CliRunner().invoke(cli, ["reread", str(output), "--json"])
    (answer,) = json.loads(printed.stdout)["answers"]
    assert (answer["job"], answer["found"], answer["images"]) == ("lost", "done", ["images/lost.png"])
    assert replay(output)[0].tally_of_all().total() == 2
    assert {facts.state for facts in replay(output)[0].tally_of_all()} == {State.DONE}


@LOST
async def test_a_body_that_could_not_be_unpacked_is_unpacked_now(bench: Bench) -> None:
    """It lies there as it came, and this version knows its compression."""
    await bench.run(JOBS, retry=ONCE)
    spool = AttemptSpool(str(bench.output / "rejected"), attempt_stem("lost", 1), DiskReserve(str(bench.output)))
    writer = spool.new_blob()
    packed = brotli.compress(json.dumps(HOLDING).encode())
    writer.write(packed)
    writer.close()
    blob = Blob(file=writer.file, size_bytes=len(packed), is_base64=False)
    headers = {"content-encoding": "br"}
    flaw = "what cannot be read: it is compressed with br"
    spool.seal(Received(status=200, headers=headers, body=b'"spool://0"', blobs=(blob,), seconds=1.0, flaw=flaw))
    assert await again(bench, dry_run=True) == [("lost", "done")]
    assert await again(bench) == [("lost", "done")]
    assert (bench.output / "images/lost.png").read_bytes() == PICTURE
    assert [*(bench.output / "spool").iterdir()] == []
