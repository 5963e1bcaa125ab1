"""The first jobs of a run go alone, and how they ended decides whether the others follow."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from batch.core.errors import EndpointDown, Kind, Refused
from batch.core.model import Done, Failed, Outcome
from tests.support.fakes import FakeClock, Recorder, Seller, carry_out, kinds, scheduler, todo

NOT_GOOD_ENOUGH = EndpointDown("canary", "2 of 3 got no picture")


class Judge:
    """Says `verdict` when it is asked, and notes what it was told and how many requests had gone out by then."""

    def __init__(self, seller: Seller, verdict: BaseException | None = None) -> None:
        self._seller = seller
        self._verdict = verdict
        self.heard: list[tuple[dict[type[Outcome], int], int, int]] = []

    async def judge(self, ends: Counter[type[Outcome]]) -> BaseException | None:
        self.heard.append((dict(ends), len(self._seller.calls), self._seller.in_flight))
        return self._verdict


def seller_with(*refused: str) -> Seller:
    return Seller(
        FakeClock(),
        lambda job, n: Refused("invalid_request", job.id, kind=Kind.MALFORMED) if job.id in refused else None,
    )


@pytest.mark.parametrize("jobs", [1, 3, 5])
async def test_the_first_jobs_have_ended_before_another_goes_out(jobs: int) -> None:
    """However many slots are free; the judge is asked once, and told how they ended."""
    seller = seller_with("job-0")
    judge = Judge(seller)
    outcomes = await carry_out(scheduler(seller, concurrency=10, canary_jobs=jobs, canary=judge), todo(20))
    ends = {Failed: 1} if jobs == 1 else {Failed: 1, Done: jobs - 1}
    assert judge.heard == [(ends, jobs, 0)]
    assert kinds(outcomes) == {"Done": 19, "Failed": 1}


async def test_a_bad_beginning_stops_the_run() -> None:
    """With the judge's error and words, and nothing was sent but the first jobs."""
    seller, told = seller_with("job-0", "job-2"), Recorder()
    running = scheduler(seller, listener=told, canary_jobs=3, canary=Judge(seller, NOT_GOOD_ENOUGH))
    await carry_out(running, todo(20))
    assert running.stopped_by is NOT_GOOD_ENOUGH
    assert told.named("stopping") == [("stopping", "2 of 3 got no picture", 0)]
    assert len(seller.calls) == 3


async def test_a_stop_while_the_judge_waits_for_a_person_is_heard() -> None:
    """The question is given up, and nothing more goes out."""
    seller, asked = seller_with(), asyncio.Event()

    class Asks:
        async def judge(self, ends: Counter[type[Outcome]]) -> None:
            asked.set()
            await asyncio.Event().wait()

    running = scheduler(seller, canary_jobs=2, canary=Asks())
    ending = asyncio.create_task(carry_out(running, todo(20)))
    await asked.wait()
    reason = KeyboardInterrupt()
    running.stop(reason, "asked to")
    assert kinds(await asyncio.wait_for(ending, 10)) == {"Done": 2}
    assert (running.stopped_by, len(seller.calls)) == (reason, 2)


async def test_a_run_that_stops_meanwhile_asks_no_judge() -> None:
    """There is nothing left to decide."""
    seller = seller_with()
    judge = Judge(seller)
    running = scheduler(seller, canary_jobs=3, canary=judge)
    await carry_out(running, todo(20), lambda outcome: running.stop(KeyboardInterrupt(), "asked to"))
    assert judge.heard == []
