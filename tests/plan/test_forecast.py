"""What a plan will cost and how long it will take."""

from __future__ import annotations

from typing import Any

import pytest

from batch.core.settings import Limits, ProviderSettings, RetryPolicy, Settings
from batch.plan import Policies, forecast, make_plan
from batch.store.history import History
from tests.support.fakes import job


def ahead(jobs: int, *, simulated: bool = False, limits: Any = None, **retry: Any) -> Any:
    plan = make_plan((job(f"job-{n}") for n in range(jobs)), History(), Policies(), lambda _: 0.1)
    settings = Settings(
        name="x",
        providers=(ProviderSettings(profile="anyfast"),),
        limits=limits or Limits(),
        retry=RetryPolicy(**retry),
    )
    return forecast(plan, settings, simulated=simulated)


def test_money_has_a_least_and_a_most() -> None:
    """Each once; and at most each as often as charged answers may be asked for again, and some resent."""
    found = ahead(1000, unusable_retries=2)
    assert found.usd == pytest.approx(100)
    assert found.highest_usd == pytest.approx(100 + 200 + 1)
    assert ahead(4, unusable_retries=0).highest_usd == pytest.approx(0.8)


def test_time_follows_from_the_limits() -> None:
    """The slower of concurrency and rate decides; of the simulator only the rate is known."""
    quick = ahead(100, limits=Limits(concurrency=10))
    assert (quick.least_seconds, quick.most_seconds) == (50, 600)
    slow = ahead(100, limits=Limits(concurrency=10, requests_per_minute=2))
    assert (slow.least_seconds, slow.most_seconds) == (3000, 3000)
    assert ahead(100, simulated=True).most_seconds == 0


def test_nothing_to_send_costs_nothing() -> None:
    """No division by the jobs that are not there."""
    found = ahead(0)
    assert (found.usd, found.highest_usd, found.most_seconds) == (0, 0, 0)
