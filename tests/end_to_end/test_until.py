"""`until`: a run makes rejected pictures again by itself, within attempts, money and budgets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from batch.album import open_album
from batch.core.clock import SystemClock
from batch.core.errors import InputError
from batch.core.events import Event, JobEnded, Listener, Listeners
from batch.core.model import Done
from batch.plan import Selection
from batch.report.progress import Counts
from batch.runner.control import RunControl
from batch.runner.options import RunOptions
from batch.runner.reviewing import accept, reject
from batch.runner.run import plan_only
from tests.support.bench import Bench, a_bench, balance, faults

PRICE = 0.045


@pytest.fixture
async def bench(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with a_bench(tmp_path, **{"pictures": "drawn", **getattr(request, "param", {})}) as bench:
        yield bench


class Reviewer(Listener):
    """Says of each picture as it comes what it is told to say, and accepts the others."""

    def __init__(self, output: Path, rejects: dict[str, int]) -> None:
        self._output = output
        self._rejects = rejects

    def on_event(self, event: Event) -> None:
        if isinstance(event, JobEnded) and isinstance(event.outcome, Done):
            job = event.outcome.job.id
            left = self._rejects.get(job, 0)
            self._rejects[job] = left - 1
            (reject if left > 0 else accept)(self._output, job)


class Counting(Counts):
    """What a progress line says: how many have ended, of how many."""

    @property
    def told(self) -> tuple[int, int]:
        return self._ended(), self._to_do


def versions(bench: Bench) -> dict[str, int]:
    return {entry.id: len(entry.versions) for entry in open_album(bench.output)}


async def test_a_run_goes_on_until_a_picture_is_accepted(bench: Bench) -> None:
    """In one run: each rejected picture is made again, until it is accepted or its attempts are used up."""
    progress = Counting(SystemClock())
    bench.options["listener"] = Listeners([Reviewer(bench.output, {"job-0": 1, "job-2": 99}), progress])
    summary = await bench.run(3, until={"attempts": 3})
    assert (summary.exit, summary.requests, summary.done, summary.remakes_left) == (0, 6, 3, 0)
    assert versions(bench) == {"job-0": 2, "job-1": 1, "job-2": 3}
    assert progress.told == (6, 6)
    assert summary.review is not None
    assert (summary.review.accepted, summary.review.rejected) == (2, 1)
    plan = plan_only(bench.manifest(3, until={"attempts": 3}), output=bench.output).plan
    assert (plan.count("skip: rejected"), plan.to_do) == (1, 0)
    del bench.options["listener"]
    assert (await bench.run(3, until={"attempts": 3})).requests == 0
    assert (await bench.run(3, until={"attempts": 4})).requests == 1
    assert (await bench.run(3)).requests == 0
    balance(bench)


async def test_what_was_rejected_between_runs_is_made_again_by_the_next(bench: Bench) -> None:
    """As cron does it: nobody is asked, for the manifest says so."""
    await bench.run(2)
    reject(bench.output, "job-1")
    assert (await bench.run(2)).requests == 0
    bench.options["listener"] = Reviewer(bench.output, {"job-1": 1})
    summary = await bench.run(2, until={"attempts": 2})
    assert (summary.exit, summary.requests, versions(bench)) == (0, 1, {"job-0": 1, "job-1": 2})
    assert summary.remakes_left == 0
    assert (await bench.run(2, until={"attempts": 9})).requests == 1
    assert (await bench.run(2, until={"attempts": 9})).requests == 0


@pytest.mark.parametrize(("max_cost", "made"), [(0.04, 1), (0.05, 1), (0.09, 2), (0.134, 2), (0.135, 3), (9.0, 5)])
async def test_no_job_costs_more_than_it_may(bench: Bench, max_cost: float, made: int) -> None:
    """`max_cost` counts the first picture, too, which is bought in any case."""
    bench.options["listener"] = Reviewer(bench.output, {"job-0": 99})
    await bench.run(2, until={"attempts": 5, "max_cost": max_cost})
    assert versions(bench) == {"job-0": made, "job-1": 1}
    assert bench.book.billed == made + 1
    assert open_album(bench.output).entry("job-0").cost_usd <= max(max_cost, PRICE) + 1e-9
    balance(bench)


@faults({"fault": "text_only", "prompt": "blue"})
async def test_charged_answers_without_a_picture_count(bench: Bench) -> None:
    """A remake that is charged in vain is not repeated beyond the job's money, in this run or a later one."""
    top: dict[str, Any] = {"on_reject": "{{ prompt }} {{ note }}", "until": {"attempts": 9, "max_cost": 0.1}}
    await bench.run(1, **top)
    reject(bench.output, "job-0", note="blue")
    summary = await bench.run(1, **top)
    assert (summary.requests, bench.book.billed) == (1, 2)
    again = await bench.run(1, **top)
    assert (again.requests, again.exit, bench.book.billed) == (0, 1, 2)
    balance(bench)


async def test_a_budget_ends_the_remakes(bench: Bench) -> None:
    """It holds as ever, and the next run goes on."""
    bench.options["listener"] = Reviewer(bench.output, {f"job-{n}": 1 for n in range(3)})
    options = RunOptions(max_cost=4.5 * PRICE)
    first = await bench.run(3, options=options, until={"attempts": 3})
    assert (first.exit, first.reason, first.requests) == (75, "budget", 4)
    second = await bench.run(3, options=options, until={"attempts": 3})
    assert (second.exit, second.requests, versions(bench)) == (0, 2, {f"job-{n}": 2 for n in range(3)})


async def test_enough_accepted_samples_end_it(bench: Bench) -> None:
    """Of four samples one accepted is enough: the others stay rejected."""
    jobs = [{"id": "cup", "prompt": "a cup", "samples": 4}, {"id": "pot", "prompt": "a pot", "samples": 2}]
    await bench.run(jobs)
    accept(bench.output, "cup.2")
    reject(bench.output, "cup.1", "cup.3", "cup.4", "pot.*")
    plan = plan_only(bench.manifest(jobs, until={"accepted": 1}), output=bench.output).plan
    assert plan.to_do == 2
    plan = plan_only(bench.manifest(jobs, until={"accepted": 2}), output=bench.output).plan
    assert plan.to_do == 5


async def test_jobs_that_were_left_out_stay_so(bench: Bench) -> None:
    """A selection narrows what is made again as well."""
    await bench.run(2)
    reject(bench.output, "*")
    options = RunOptions(selection=Selection(only=("job-0",)))
    assert (await bench.run(2, options=options, until={})).requests == 1
    assert versions(bench) == {"job-0": 2, "job-1": 1}


class _Stops(Listener):
    """Rejects the first picture and asks the run to end."""

    def __init__(self, output: Path, control: RunControl) -> None:
        self._output = output
        self._control = control

    def on_event(self, event: Event) -> None:
        if isinstance(event, JobEnded) and isinstance(event.outcome, Done):
            reject(self._output, event.outcome.job.id)
            self._control.drain()


async def test_a_stop_is_not_followed_by_remakes(bench: Bench) -> None:
    """The run ends as ever, and the next one makes them."""
    control = RunControl()
    bench.options |= {"control": control, "listener": _Stops(bench.output, control)}
    summary = await bench.run(1, until={})
    assert (summary.requests, summary.done) == (1, 1)
    bench.options.clear()
    assert (await bench.run(1, until={})).requests == 1


@pytest.mark.parametrize(
    ("until", "message"),
    [
        (3, "until must be a mapping"),
        ({"attempts": 0}, "attempts must be a whole number from 1"),
        ({"max_cost": -1}, "max_cost must be a number from 0"),
        ({"accepted": "all"}, "accepted must be a whole number"),
        ({"tries": 3}, 'unknown field "tries"'),
    ],
)
def test_a_wrong_until_is_told(bench: Bench, until: Any, message: str) -> None:
    """With its place in the manifest."""
    with pytest.raises(InputError, match=message):
        plan_only(bench.manifest(1, until=until), output=bench.output)
