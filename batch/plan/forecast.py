"""What the jobs to send will cost and how long they will take, as far as that can be said beforehand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from batch.core.settings import Settings
from batch.plan.make import Plan

#: A share of the jobs may be sent again in one run although their first request may have been paid.
_RESEND_SHARE: Final = 0.01
#: What one answer takes: measured from 4 s at 1K to a minute at 4K, 38 s on average through one relay.
_ANSWER_SECONDS: Final = (5.0, 60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """`usd`: every job's picture at list price, asked for once; `highest_usd`: with every charged repeat that the
    manifest allows. The seconds follow from the limits and from answers of 5 to 60 s; both are 0 if nothing is known.
    """

    usd: float
    highest_usd: float
    least_seconds: float
    most_seconds: float


def forecast(plan: Plan, settings: Settings, *, simulated: bool) -> Forecast:
    """Estimate the time of what a plan sends. Left out for the simulator, whose answers take as long as configured."""
    repeats = plan.usd * settings.retry.unusable_retries
    resends = min(1.0, resend_places(settings, plan) / plan.to_do) * plan.usd if plan.to_do else 0.0
    rates = [limits.per_second for limits in settings.limits_in_all]
    per_second = sum(rate or 0.0 for rate in rates) if all(rates) else 0.0
    by_rate = plan.to_do / per_second if per_second else 0.0
    rounds = math.ceil(plan.to_do / settings.concurrency)
    quick, slow = (0.0, 0.0) if simulated else _ANSWER_SECONDS
    return Forecast(
        usd=plan.usd,
        highest_usd=plan.usd + repeats + resends + plan.reopened.price_usd * (1 + settings.retry.unusable_retries),
        least_seconds=max(by_rate, rounds * quick),
        most_seconds=max(by_rate, rounds * slow),
    )


def resend_places(settings: Settings, plan: Plan) -> int:
    """How many jobs of a run may be sent again although their first request may have been paid."""
    return max(settings.concurrency, math.ceil(plan.jobs * _RESEND_SHARE))
