"""Rejected pictures made again: once for each rejection, with what was said of them, and after a person agreed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batch.album import open_album
from batch.core.decisions import Decision, Side, Verdict
from batch.core.errors import Declined, InputError, OptionError
from batch.core.events import AttemptStarted, Event, Listener
from batch.core.results import Review
from batch.core.settings import ChangedPolicy
from batch.plan import Selection
from batch.report.status import read_status
from batch.report.text import status_lines, summary_lines
from batch.report.why import explain
from batch.runner.control import RunControl
from batch.runner.options import RunOptions
from batch.runner.reviewing import accept, reject
from batch.runner.run import plan_only
from batch.store.decisions import DecisionFile
from tests.support.bench import KEY, Bench, a_bench, balance, faults
from tests.support.fakes import Recorder

ON_REJECT = "{{ prompt }}{% if reasons %} Avoid: {{ reasons | join(', ') }}.{% endif %} {{ note }}"
REJECTED = RunOptions(rejected=True, yes=True)
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def bench(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with a_bench(tmp_path, **{"pictures": "drawn", **getattr(request, "param", {})}) as bench:
        yield bench


def prompts(bench: Bench) -> list[str]:
    """What was asked, attempt by attempt."""
    return [line["ask"]["prompt"] for line in bench.ledger() if line["t"] == "try"]


def tries(bench: Bench, job: str) -> list[dict[str, Any]]:
    return [line for line in bench.ledger() if line["t"] == "try" and line["job"] == job]


def plan(bench: Bench, jobs: Any, options: RunOptions = REJECTED, **top: Any) -> Any:
    return plan_only(bench.manifest(jobs, **top), output=bench.output, options=options).plan


async def test_rejected_pictures_are_made_again(bench: Bench) -> None:
    """One request each; the old picture stays as a version, the new one is unseen, and then all is quiet."""
    await bench.run(3)
    before = bench.pictures()
    reject(bench.output, "job-0", "job-2")
    assert (plan(bench, 3).to_do, plan(bench, 3).rejected.count) == (2, 2)
    assert (plan(bench, 3, RunOptions()).to_do, plan(bench, 3, RunOptions()).rejected.count) == (0, 2)
    summary = await bench.run(3, options=REJECTED)
    assert (summary.exit, summary.requests, summary.done) == (0, 2, 3)
    assert before.items() <= bench.pictures().items()
    versions = {entry.id: [version.is_rejected for version in entry.versions] for entry in open_album(bench.output)}
    assert versions == {"job-0": [True, False], "job-1": [False], "job-2": [True, False]}
    assert [picture.decision for entry in open_album(bench.output) for picture in entry.versions[-1].pictures] == [
        None
    ] * 3
    shown = {line["id"]: line["images"][-1]["path"] for line in bench.lines()}
    assert [job for job, path in shown.items() if "~v2" in path] == ["job-0", "job-2"]
    assert (await bench.run(3, options=REJECTED)).requests == 0
    assert (await bench.run(3)).requests == 0
    balance(bench)


async def test_what_was_said_gets_into_the_prompt(bench: Bench) -> None:
    """As the manifest says; the ledger has the prompt that was sent, and the job stays done as the manifest has it."""
    await bench.run(2, on_reject=ON_REJECT)
    reject(bench.output, "job-0", note="Make the\nstone turquoise.", reasons=["hands", "text"])
    summary = await bench.run(2, options=REJECTED, on_reject=ON_REJECT)
    assert (summary.exit, summary.requests) == (0, 1)
    first, second = tries(bench, "job-0")
    sent = "cup number 0 Avoid: hands, text. Make the stone turquoise."
    assert (second["why"], second["spec"], second["ask"]["prompt"]) == ("rejected", first["spec"], sent)
    assert second["ask"]["manifest_prompt"] == "cup number 0"
    assert bench.lines()[0]["prompt"] == sent
    assert open_album(bench.output).entry("job-0").versions[1].prompt == sent
    assert (await bench.run(2)).exit == 0
    again = await bench.run(2, options=replace(REJECTED, on_changed=ChangedPolicy.RERUN))
    assert (again.exit, again.requests) == (0, 0)


async def test_a_later_edit_is_a_change_as_ever(bench: Bench) -> None:
    """The picture with the appended note is the unedited job's: the edit is told against the manifest's words."""
    await bench.run(1, on_reject=ON_REJECT)
    reject(bench.output, "job-0", note="more blue")
    await bench.run(1, options=REJECTED, on_reject=ON_REJECT)
    edited = [{"id": "job-0", "prompt": "cup number zero"}]
    with pytest.raises(InputError, match="1 jobs were edited"):
        await bench.run(edited)
    planned = plan_only(bench.manifest(edited), output=bench.output)
    [change] = explain(*planned.decision_on("job-0"), planned.output).changes
    assert (change.old, change.new) == ("cup number 0", "cup number zero")
    summary = await bench.run(edited, options=RunOptions(on_changed=ChangedPolicy.RERUN), on_reject=ON_REJECT)
    assert (summary.requests, prompts(bench)[-1]) == (1, "cup number zero")


async def test_an_edit_of_a_rejected_job_is_what_it_is_made_from(bench: Bench) -> None:
    """The person answered the rejection themselves: nothing is added, and only the rejected job is bought."""
    await bench.run(2)
    reject(bench.output, "job-0", note="more blue")
    jobs = [{"id": "job-0", "prompt": "a blue cup"}, {"id": "job-1", "prompt": "cup number 1"}]
    with pytest.raises(OptionError, match=r"--rejected: 1 picture is made again, for \$0\.0.*--yes"):
        await bench.run(jobs, options=RunOptions(rejected=True), on_reject=ON_REJECT)
    assert (await bench.run(jobs, options=REJECTED, on_reject=ON_REJECT)).requests == 1
    assert prompts(bench)[-1] == "a blue cup"


async def test_without_a_word_or_a_template_the_prompt_stays(bench: Bench) -> None:
    """Another picture of the same."""
    await bench.run(2)
    reject(bench.output, "job-0", note="more blue")
    reject(bench.output, "job-1")
    await bench.run(2, options=replace(REJECTED, selection=Selection(only=("job-0",))))
    await bench.run(2, options=REJECTED, on_reject=ON_REJECT)
    assert prompts(bench)[2:] == ["cup number 0", "cup number 1"]
    assert len({*bench.pictures().values()}) == 4


async def test_the_price_is_asked_for(bench: Bench) -> None:
    """On a terminal a person decides; where nobody can be asked it needs `yes`."""
    await bench.run(2)
    reject(bench.output, "*")
    asked: list[str] = []

    async def refuse(question: str) -> bool:
        asked.append(question)
        return False

    async def agree(question: str) -> bool:
        return not await refuse(question)

    options = RunOptions(rejected=True)
    with pytest.raises(OptionError, match=r"--rejected: 2 pictures are made again, for \$0\.\d+.*--yes"):
        await bench.run(2, options=options)
    bench.options["control"] = RunControl(ask=refuse)
    with pytest.raises(Declined):
        await bench.run(2, options=options)
    bench.options["control"] = RunControl(ask=agree)
    assert (await bench.run(2, options=options)).requests == 2
    assert len(asked) == 2
    assert (await bench.run(2, options=options)).requests == 0


async def test_a_person_overrules_a_machine(bench: Bench) -> None:
    """Whichever came later; and an older version that was accepted settles its job."""
    await bench.run(2)
    pictures = {entry.id: entry.versions[0].pictures[0].sha256 for entry in open_album(bench.output)}
    machine = Decision(at="9", job="job-0", sha256=pictures["job-0"], verdict=Verdict.REJECTED, side=Side.MACHINE)
    accept(bench.output, "job-0")
    DecisionFile(bench.output).append([machine])
    assert plan(bench, 2).to_do == 0
    reject(bench.output, "job-1")
    await bench.run(2, options=REJECTED)
    reject(bench.output, "job-1")
    assert plan(bench, 2).to_do == 1
    accept(bench.output, open_album(bench.output).entry("job-1").versions[0].pictures[0].path)
    assert plan(bench, 2).to_do == 0


class _Accepts(Listener):
    """Accepts every picture as soon as the first request is out."""

    def __init__(self, output: Path) -> None:
        self._output = output

    def on_event(self, event: Event) -> None:
        if isinstance(event, AttemptStarted):
            accept(self._output, "*")


async def test_an_acceptance_during_the_run_spares_what_was_not_sent(bench: Bench) -> None:
    """A reviewer changes their mind while pictures are made again."""
    await bench.run(30)
    reject(bench.output, "*")
    bench.options["listener"] = _Accepts(bench.output)
    summary = await bench.run(30, options=REJECTED, limits={"concurrency": 1})
    assert summary.exit == 0
    assert 1 <= summary.requests < 10
    assert plan(bench, 30).to_do == 0


@pytest.mark.parametrize("bench", [{"pictures": "plain"}], indirect=True)
async def test_the_very_same_picture_again_is_not_bought_for_ever(bench: Bench) -> None:
    """A provider that gives the same bytes has answered the rejection; rejected anew, it is asked once more."""
    await bench.run(1)
    reject(bench.output, "job-0")
    assert (await bench.run(1, options=REJECTED)).requests == 1
    assert (await bench.run(1, options=REJECTED)).requests == 0
    await asyncio.sleep(0.002)  # the next word is a later one: times have milliseconds
    reject(bench.output, "job-0")
    assert (await bench.run(1, options=REJECTED)).requests == 1


async def test_with_dedupe_a_rejected_picture_is_bought_and_not_taken_over(bench: Bench) -> None:
    """Its equal keeps its own."""
    jobs = [{"id": "a", "prompt": "red"}, {"id": "b", "prompt": "red"}]
    await bench.run(jobs, dedupe=True)
    reject(bench.output, "a")
    summary = await bench.run(jobs, options=REJECTED, dedupe=True)
    assert (summary.exit, summary.requests, summary.adopted) == (0, 1, 0)
    assert len(bench.pictures()) == 3


@pytest.mark.parametrize("gone", [False, True])
async def test_a_rejected_picture_may_be_deleted(bench: Bench, gone: bool) -> None:
    """The most natural way to say that it is bad."""
    await bench.run(1)
    reject(bench.output, "job-0")
    if gone:
        for file in (bench.output / "images").iterdir():
            file.unlink()
    summary = await bench.run(1, options=REJECTED)
    assert (summary.exit, summary.requests, summary.missing) == (0, 1, 0)


@faults({"fault": "finish_image_safety", "prompt": "knife"})
async def test_a_failed_remake_is_tried_again_on_request_alone(bench: Bench) -> None:
    """It keeps what was said, and is a failure like any other."""
    await bench.run([{"id": "a", "prompt": "a cup"}], on_reject=ON_REJECT)
    reject(bench.output, "a", note="as a knife")
    first = await bench.run([{"id": "a", "prompt": "a cup"}], options=REJECTED, on_reject=ON_REJECT)
    assert (first.exit, first.failures_by_cause) == (1, {"image_safety": 1})
    requests = bench.book.requests
    assert (await bench.run([{"id": "a", "prompt": "a cup"}], on_reject=ON_REJECT)).requests == 0
    again = await bench.run([{"id": "a", "prompt": "a cup"}], options=REJECTED, on_reject=ON_REJECT)
    assert (again.requests, bench.book.requests) == (1, requests + 1)
    balance(bench)


@faults({"fault": "http_500", "times": 1, "prompt": "more blue"})
async def test_a_plain_run_goes_on_with_what_was_said(bench: Bench) -> None:
    """A remake that was begun and failed for now still asks for what the rejection adds."""
    top: dict[str, Any] = {"on_reject": ON_REJECT, "retry": {"unavailable_attempts": 1}}
    await bench.run(1, **top)
    reject(bench.output, "job-0", note="more blue")
    assert (await bench.run(1, options=REJECTED, **top)).exit == 75
    assert (await bench.run(1, **top)).requests == 1
    assert prompts(bench)[1:] == ["cup number 0 more blue"] * 2
    assert (await bench.run(1, **top)).requests == 0


async def test_a_budget_holds_for_remakes(bench: Bench) -> None:
    """It ends the run; the same command goes on with the rest, and each rejection is bought once."""
    await bench.run(4)
    price = (bench.book.billed and (await bench.run(4)).spend.per_picture) or 0.0
    reject(bench.output, "*")
    options = replace(REJECTED, max_cost=2.5 * price)
    first = await bench.run(4, options=options)
    assert (first.exit, first.reason, first.requests, first.remakes_left) == (75, "budget", 2, 2)
    second = await bench.run(4, options=options)
    assert (second.exit, second.requests, bench.book.billed) == (0, 2, 8)
    assert (await bench.run(4, options=options)).requests == 0


async def test_notes_that_are_no_prompt_are_refused_before_anything_is_sent(bench: Bench) -> None:
    """With the job they were said of."""
    await bench.run(1)
    reject(bench.output, "job-0", note="AIza" + "Sy" * 20)
    with pytest.raises(InputError, match=r'job "job-0".*on_reject.*key'):
        await bench.run(1, options=REJECTED, on_reject=ON_REJECT)
    assert bench.book.requests == 1


HOSTILE = [
    "{{ prompt }}{% for x in range(9) %}{{ reasons }}{% endfor %}",
    "\u202e<script>\x07\x00",
    "x" * 3000,
    "\ud800",
]


@pytest.mark.parametrize("note", HOSTILE, ids=range(len(HOSTILE)))
async def test_notes_are_data(bench: Bench, note: str) -> None:
    """What somebody typed is never read as a template, and no control character reaches the provider."""
    await bench.run(1)
    reject(bench.output, "job-0", note=note)
    assert (await bench.run(1, options=REJECTED, on_reject=ON_REJECT)).requests == 1
    sent = prompts(bench)[-1]
    assert sent.startswith("cup number 0")
    assert sent.isprintable()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ prompt", "on_reject: the template cannot be read"),
        ("Avoid: {{ note }}", "on_reject: it leaves the job's prompt out"),
        ("{{ prompt }} {{ Title }}", "Title"),
        ("{{ prompt | nope }}", "nope"),
        (" ", "on_reject"),
        (5, "on_reject"),
    ],
)
def test_a_wrong_template_is_told_with_its_place(bench: Bench, text: Any, message: str) -> None:
    """Before anything is sent."""
    with pytest.raises(InputError, match=message) as raised:
        plan(bench, 1, on_reject=text)
    assert raised.value.problems[0].line == 1


KILLED = """
import asyncio, sys
from pathlib import Path
from batch.runner.options import RunOptions
from batch.runner.run import run
from tests.crash.injector import Fault, Injector
manifest, output, fault = sys.argv[1:]
Injector(output, Fault.parse(fault)).install()
asyncio.run(run(manifest, output=output, options=RunOptions(rejected=True, yes=True)))
"""


@pytest.mark.parametrize("point", ["fdatasync:2", "send:1", "recv:2", "link:1", "fdatasync:3", "fdatasync:4"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_kill_at_any_moment_buys_nothing_twice(bench: Bench, point: str, when: str) -> None:
    """The same command goes on: each rejection has one new picture in the end, and the books agree."""
    top: dict[str, Any] = {"on_reject": ON_REJECT, "limits": {"concurrency": 1}, "retry": {"unknown": "hold"}}
    await bench.run(2, **top)
    reject(bench.output, "*", note="more blue")
    manifest = bench.manifest(2, **top)
    command = [sys.executable, "-P", "-c", KILLED, str(manifest), str(bench.output), f"{point}:{when}:KILL"]
    environment = {**os.environ, **KEY, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=subprocess.PIPE)
    _, errors = await process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    summary = await bench.run(2, options=REJECTED, **top)
    assert summary.exit in (0, 3)
    assert summary.done + summary.unknown == 2
    await bench.run(2, options=REJECTED, **top)
    asked = [line for line in bench.ledger() if line["t"] == "try"][2:]
    assert {line["ask"]["prompt"] for line in asked} <= {"cup number 0 more blue", "cup number 1 more blue"}
    assert {line["spec"] for line in asked} <= {line["spec"] for line in bench.ledger()[:6] if line["t"] == "try"}
    assert bench.book.billed <= 4
    balance(bench)
    assert (await bench.run(2, **top)).requests == 0


async def test_the_ledger_of_a_remake_is_read_as_it_was_written(bench: Bench) -> None:
    """The job's spec hash is that of the manifest's words."""
    await bench.run(1, on_reject=ON_REJECT)
    reject(bench.output, "job-0", note="more blue")
    await bench.run(1, options=REJECTED, on_reject=ON_REJECT)
    done = [line for line in bench.ledger() if line["t"] == "done"]
    assert done[0]["spec"] == done[1]["spec"]
    assert tries(bench, "job-0")[1]["ask"]["instead_of"] == done[0]["images"][-1]["sha256"]


async def test_seen_accepted_and_rejected_are_counted(bench: Bench) -> None:
    """By job, in the run's summary and in `status`, with what an accepted picture cost and the next command."""
    first = await bench.run(4)
    assert (first.review, read_status(bench.output).review) == (None, None)
    accept(bench.output, "job-0", "job-1")
    reject(bench.output, "job-2")
    seen = open_album(bench.output).entry("job-3").versions[0].pictures[0].sha256
    DecisionFile(bench.output).append([Decision(at="now", job="job-3", sha256=seen, verdict=Verdict.SEEN)])
    status = read_status(bench.output)
    review = Review(seen=4, accepted=2, rejected=1, usd_per_accepted=round(first.cost_usd / 2, 6))
    assert (status.review, status.next_command) == (review, f"{run_command(bench)} --rejected")
    assert any("4 seen, 2 accepted, 1 rejected; $0.0" in line for line in status_lines(status))
    second = await bench.run(4)
    assert second.review == review
    words = [*summary_lines(second, "imagebatch run m.yaml", "imagebatch plan m.yaml")]
    assert words[-1] == "  next       imagebatch run m.yaml --rejected   (makes 1 picture again)"
    third = await bench.run(4, options=REJECTED)
    assert third.review == Review(
        seen=3, accepted=2, rejected=0, usd_per_accepted=round((first.cost_usd + third.cost_usd) / 2, 6)
    )
    assert read_status(bench.output).next_command is None


def run_command(bench: Bench) -> str:
    return f"imagebatch run {bench.path / 'm.yaml'} -o {bench.output}"


async def test_a_damaged_line_of_decisions_is_told(bench: Bench) -> None:
    """It may hold a person's word: a run and `status` name it, and go by the others."""
    await bench.run(2)
    reject(bench.output, "job-0")
    with (bench.output / "decisions.jsonl").open("ab") as stream:
        stream.write(b"damaged\n")
    reject(bench.output, "job-1")
    recorder = bench.options["listener"] = Recorder()
    summary = await bench.run(2, options=REJECTED)
    assert summary.requests == 2
    assert summary.review is not None
    assert summary.review.unreadable_lines == (2,)
    assert any("1 line of decisions.jsonl cannot be read (2)" in text for _, text in recorder.named("message"))
    assert any("cannot be read (2)" in line for line in status_lines(read_status(bench.output)))
