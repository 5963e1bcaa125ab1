"""What a failure means for its job and for its endpoint, asked of the recovery policy alone."""

from __future__ import annotations

from random import Random

import pytest

from batch.core.errors import AttemptError, EndpointDown, ExitCode, Kind, RateLimited, Unavailable
from batch.core.lane import Lane
from batch.core.model import Job
from batch.core.settings import Fallback, Limits, RetryPolicy
from batch.dispatch.base import DispatchConfig, Past, RouteSettings
from batch.dispatch.job_route import JobRoute
from batch.dispatch.recovery import RecoveryPolicy
from batch.dispatch.router import Router
from batch.dispatch.running_job import RunningJob
from batch.limits.quotas import need_of
from tests.support.fakes import FakeClock, IdleMachine, Recorder, job

POLICY = RetryPolicy()
SLOW_DOWN = RateLimited("rate_limited", "slow down")
NO_CHANNEL = Unavailable("no_channel", "no channel left", kind=Kind.NO_CHANNEL, http_status=503)


class Bench:
    """A job whose request is out, at the first of some endpoints. `stops` is why the run was told to stop."""

    def __init__(self, endpoints: int = 1) -> None:
        self.stops: list[BaseException] = []
        self.is_stopping = False
        settings = [RouteSettings(name=name, limits=Limits(concurrency=9)) for name in "ab"[:endpoints]]
        config = DispatchConfig(routes=settings, policy=POLICY)
        self.router = Router(config, FakeClock(), Recorder(), self, IdleMachine())
        self.recovery = RecoveryPolicy(config, self, Random(1), self.router)
        self.running = self.next_job()

    def next_job(self, job_id: str = "cup") -> RunningJob:
        """Another one is under way."""
        one = job(job_id)
        self.running = RunningJob(job=one, place=1, why="new", route=JobRoute(one, Lane.STANDARD, Fallback()))
        return self.running

    async def serve(self) -> None:
        """Some request is answered with a picture."""
        self.router.answered(await self.router.acquire(1, need_of(job()), self.next_job().route), None)

    def past(self, _: Job) -> Past:
        return Past(rejected=0, resends=0)

    def stop(self, reason: BaseException, _: str) -> None:
        self.stops.append(reason)

    async def fail(self, error: AttemptError, times: int = 1) -> float | None:
        """Its request fails. `times`: so often by now."""
        self.running.permit = await self.router.acquire(1, need_of(job()), self.running.route)
        self.running.failures[type(error)] = times - 1
        self.router.answered(self.running.permit, error)
        return self.recovery.wait_seconds(self.running, error)


async def test_a_provider_that_keeps_asking_for_fewer_requests_ends_the_run() -> None:
    """After as many pauses as the policy allows. A later run may go on."""
    bench = Bench()
    assert await bench.fail(SLOW_DOWN, times=POLICY.throttles + 1) is None
    [stop] = bench.stops
    assert isinstance(stop, EndpointDown)
    assert str(stop) == "the provider keeps asking for fewer requests: slow down"
    assert (stop.code, stop.exit_code) == ("rate_limited", ExitCode.TEMPORARY)


async def test_where_another_endpoint_is_left_the_job_goes_there_at_once() -> None:
    """One that keeps asking for fewer requests is left out, and the run goes on."""
    bench = Bench(endpoints=2)
    assert await bench.fail(SLOW_DOWN, times=POLICY.throttles + 1) == 0.0
    assert bench.stops == []
    assert not bench.router.others_than(bench.router.routes[1], job().model)


@pytest.mark.parametrize(("endpoints", "least", "most"), [(1, 60.0, 120.0), (2, 0.0, 0.0)])
async def test_a_named_delay_is_waited_for_unless_another_endpoint_is_free(
    endpoints: int, least: float, most: float
) -> None:
    """It is never shortened, not even for one refusal among many answers."""
    wait_seconds = await Bench(endpoints).fail(RateLimited("rate_limited", "slow down", wait_seconds=60.0))
    assert wait_seconds is not None
    assert least <= wait_seconds <= most


async def test_one_refusal_without_a_delay_is_soon_tried_again() -> None:
    """It concerns itself alone, as long as nothing says that all have to wait."""
    wait_seconds = await Bench().fail(SLOW_DOWN)
    assert wait_seconds is not None
    assert 0.5 <= wait_seconds <= 1.5


@pytest.mark.parametrize("endpoints", [1, 2])
async def test_a_model_without_a_channel_pauses_its_endpoint(endpoints: int) -> None:
    """For as long as the job waits there; with another endpoint the job does not."""
    bench = Bench(endpoints)
    wait_seconds = await bench.fail(NO_CHANNEL)
    paused_seconds = bench.router.routes[0].statistics().admission.gate_seconds
    assert paused_seconds > 0
    assert wait_seconds == (pytest.approx(paused_seconds) if endpoints == 1 else 0.0)


async def test_without_a_channel_a_job_is_given_up_and_its_endpoint_is_not() -> None:
    """After its last try; that is no request for fewer requests."""
    bench = Bench()
    assert await bench.fail(NO_CHANNEL, times=POLICY.unavailable_attempts) is None
    assert bench.stops == []


@pytest.mark.parametrize(("named_seconds", "heard"), [(None, 3), (1.0, 1)])
async def test_without_a_delay_pauses_grow_with_what_all_jobs_have_heard(
    named_seconds: float | None, heard: int
) -> None:
    """The third refusal in a row is each job's third. Where the provider names a delay, that one counts."""
    bench = Bench()
    await bench.serve()
    for _ in range(3):
        bench.next_job()
        await bench.fail(RateLimited("rate_limited", "slow down", wait_seconds=named_seconds))
    assert bench.running.failures[RateLimited] == heard
