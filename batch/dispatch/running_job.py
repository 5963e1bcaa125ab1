"""A job under way: what its attempts so far leave for the next one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from batch.core.errors import AttemptError
from batch.core.model import Job
from batch.dispatch.job_route import JobRoute
from batch.dispatch.route import Permit


@dataclass(slots=True, kw_only=True)
class RunningJob:
    """`place` is its number in the order of the plan, which it keeps at every attempt; `why` the reason for the next.

    `permit` belongs to the attempt under way, or to the last one; None if that did not get as far as an endpoint.
    `failures` counts its failed attempts by class.
    """

    job: Job
    place: int
    why: str
    route: JobRoute
    permit: Permit | None = None
    failures: Counter[type[AttemptError]] = field(default_factory=Counter)
