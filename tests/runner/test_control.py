"""Changing a run that is on, as a caller does: over real sockets, against the simulator and its billing book."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from batch.core.errors import OptionError
from batch.core.model import Outcome
from batch.core.settings import Limits
from batch.runner.control import RunControl
from batch.runner.options import RunOptions
from tests.support.bench import Bench
from tests.support.fakes import Recorder


class Changes(Recorder):
    """Calls `control.change` after the first picture, and remembers what it answered."""

    def __init__(self, control: RunControl, **change: Any) -> None:
        super().__init__()
        self._control = control
        self._change = change
        self.refused = ""
        self.limits: dict[str, Limits] = {}
        self.most_since = 0

    def attempt_started(self, job: Any, in_flight: int) -> None:
        super().attempt_started(job, in_flight)
        if self.limits:
            self.most_since = max(self.most_since, in_flight)

    def job_ended(self, outcome: Outcome, in_flight: int) -> None:
        super().job_ended(outcome, in_flight)
        if len(self.named("ended")) == 1:
            try:
                self._control.change(**self._change)
            except OptionError as error:
                self.refused = str(error)
            self.limits = dict(self._control.limits)


async def test_limits_of_a_run_that_is_on_can_be_changed(bench: Bench) -> None:
    """The new ones hold from the next request on; those of the manifest stay for the next run."""
    control = RunControl()
    told = Changes(control, limits={"anyfast": Limits(concurrency=1, adaptive=False)})
    bench.options = {"control": control, "listener": told}
    summary = await bench.run(20, limits={"concurrency": 4, "adaptive": False})
    assert (summary.exit, summary.done) == (0, 20)
    assert (told.refused, told.limits["anyfast"].concurrency, told.most_since) == ("", 1, 1)


@pytest.mark.parametrize(("max_cost_usd", "reason"), [(0.0, "budget"), (math.inf, "done")])
async def test_a_cap_can_be_lowered_and_lifted(bench: Bench, max_cost_usd: float, reason: str) -> None:
    """At 0 what is in flight is finished and paid for, and the run ends as a used-up budget ends it."""
    control = RunControl()
    bench.options = {"control": control, "listener": Changes(control, max_cost_usd=max_cost_usd)}
    summary = await bench.run(20, limits={"concurrency": 2}, options=RunOptions(max_cost=0.5))
    assert (summary.reason, summary.exit) == (reason, 0 if reason == "done" else 75)
    assert summary.done == bench.book.billed
    assert summary.cost_usd == pytest.approx(bench.book.usd)


async def test_the_manifests_own_cap_stays(bench: Bench) -> None:
    """Whatever a caller asks for, what the manifest's owner wrote is not passed."""
    control = RunControl()
    bench.options = {"control": control, "listener": Changes(control, max_cost_usd=math.inf)}
    summary = await bench.run(20, budget={"per_run": 0.5})
    assert (summary.reason, summary.cost_usd <= 0.5) == ("budget", True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"limits": {"nowhere": Limits()}}, "no endpoint is called 'nowhere'; there are anyfast"),
        ({"limits": {"anyfast": Limits(concurrency=0)}}, "concurrency must be a whole number from 1"),
        ({"limits": {"anyfast": Limits(burst=3)}}, "burst needs a rate"),
        ({"limits": {"anyfast": Limits(day_resets_at="noon")}}, "day_resets_at must be"),
        ({"max_cost_usd": -1.0}, "max_cost_usd must be a number of US dollars, 0 or more; got -1.0"),
        ({"max_cost_usd": math.nan, "limits": {"anyfast": Limits(concurrency=1)}}, "got nan"),
    ],
)
async def test_what_cannot_be_changes_nothing(bench: Bench, change: dict[str, Any], words: str) -> None:
    """It is said in the manifest's own words, and the run goes on as it was."""
    control = RunControl()
    told = Changes(control, **change)
    bench.options = {"control": control, "listener": told}
    summary = await bench.run(6, limits={"concurrency": 3, "adaptive": False})
    assert (summary.exit, summary.done) == (0, 6)
    assert words in told.refused
    assert told.limits["anyfast"] == Limits(concurrency=3, adaptive=False)


async def test_without_a_run_there_is_nothing_to_change(bench: Bench) -> None:
    """Neither before it nor after it."""
    control = RunControl()
    bench.options = {"control": control}
    for _ in range(2):
        assert (control.limits, control.statistics()) == ({}, None)
        with pytest.raises(OptionError):
            control.change(limits={"anyfast": replace(Limits(), concurrency=2)})
        await bench.run(1)
