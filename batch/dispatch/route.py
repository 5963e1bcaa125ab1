"""One endpoint with its key: its limits, its trouble, and whether it is still in use.

A wrong key ends the whole route, a missing model only what is asked of that model. Trouble is told apart by model and
lane: the cheap lane turns requests away while the ordinary one serves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from batch.core.clock import Clock
from batch.core.errors import EndpointDown, Kind, RateLimited
from batch.core.events import Listener, Waiting
from batch.core.lane import Lane
from batch.core.model import Terms
from batch.core.settings import Limits, RetryPolicy
from batch.core.usage import Usage
from batch.dispatch.base import RouteSettings
from batch.dispatch.breaker import Breaker, BreakerSettings, BreakerStatistics
from batch.dispatch.failure_patterns import FailurePatterns
from batch.dispatch.shedding import is_shed
from batch.dispatch.waste_breaker import UNPROVEN_IN_FLIGHT, WasteBreaker
from batch.limits.admission import AdmissionController, AdmissionStatistics
from batch.limits.gate import Reservation
from batch.limits.quotas import Need
from batch.limits.wait import Wait

#: Endings for which a fallback model is asked.
_OVERLOADED: Final = frozenset((Kind.NO_CHANNEL, Kind.OVERLOAD))


@dataclass(frozen=True, slots=True)
class Permit:
    """What a request holds from leaving to its record: its route, the terms it goes out on, what it took of the quotas,
    and its breaker with its number there."""

    route: Route
    terms: Terms
    reservation: Reservation
    breaker: Breaker
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteStatistics:
    """Where a route stands. `breakers` by model and lane; `endings`: why it is out of use, by model, "" for all."""

    name: str
    admission: AdmissionStatistics
    breakers: Mapping[tuple[str, Lane], BreakerStatistics]
    endings: Mapping[str, EndpointDown]


class Route:
    """Lets requests out to one endpoint. What only waiting or a person would mend is returned, for the router to judge.

    `called` begins what is said of it, where there are several. `jobs` is how many the run has, 0 if that is not known.
    """

    def __init__(
        self,
        settings: RouteSettings,
        policy: RetryPolicy,
        clock: Clock,
        listener: Listener,
        called: str = "",
        jobs: int = 0,
    ) -> None:
        self.name = settings.name
        self._called = called
        self.weight = settings.weight
        self.patterns = FailurePatterns()
        self._lanes = settings.lanes
        self._models = settings.models
        self._clock = clock
        self._listener = listener
        self._policy = policy
        self._is_short = 0 < jobs <= UNPROVEN_IN_FLIGHT
        self._admission = AdmissionController(
            settings.limits,
            clock,
            listener,
            settings.quota_store,
            name=settings.name,
            first_slots=jobs if self._is_short else 0,
        )
        self._breakers: dict[tuple[str, Lane], Breaker] = {}
        self._wasted: dict[str, WasteBreaker] = {}
        #: Why it is out of use, by model; under "" for all of them.
        self._ended: dict[str, EndpointDown] = {}

    def try_acquire(self, need: Need, model: str, lane: Lane) -> Permit | Wait:
        """Let a request out, or say what it has to wait for. Raises `EndpointDown` if waiting has no end."""
        if not self._admission.has_slot:
            return self._admission.no_slot()
        if self.wasted(model).is_full:
            return Wait(float("inf"), Waiting(by="picture"))
        lane = self._lane(model, lane)
        breaker = self._breaker(model, lane)
        pause_seconds = breaker.wait_seconds()
        if pause_seconds > 0:
            return Wait(pause_seconds, self._trouble(pause_seconds))
        taken = self._admission.take(need, model)
        if isinstance(taken, Wait):
            return taken
        self.wasted(model).went_out()
        terms = Terms(endpoint=self.name, model=model, lane=lane)
        return Permit(self, terms, taken, breaker, breaker.admit())

    def knows(self, model: str) -> bool:
        """Whether it is known to serve that model, or nothing is known of it."""
        return not self._models or model in self._models

    def answered(self, permit: Permit, error: BaseException | None) -> list[EndpointDown]:
        """A request is over. Returns why the route is of no more use for its model, if that has become clear."""
        return permit.breaker.ended(permit.number, error)

    def release(
        self, permit: Permit, job_id: str, error: BaseException | None, usage: Usage | None
    ) -> EndpointDown | None:
        """After `answered`: a job's request is recorded. Returns the same."""
        self._admission.release(permit.reservation, None if is_shed(error, permit.terms.lane) else error, usage)
        return self.wasted(permit.terms.model).came_back(job_id, error)

    def wasted(self, model: str) -> WasteBreaker:
        """What was charged for nothing here, for that model."""
        return self._wasted.setdefault(model, WasteBreaker(self._policy.wasted_in_a_row))

    def pause_for(self, seconds: float, reason: str, *, told: bool) -> None:
        """Pause the route for that many seconds; `told`: the provider named the delay itself."""
        self._admission.pause_for(seconds, self._called + reason, told=told)

    def refused(self, error: RateLimited, seconds: float) -> bool:
        """Record a refused request and its delay (seconds); returns whether all requests must wait."""
        words, told = self._called + error.message, error.wait_seconds is not None
        return self._admission.refused(seconds, words, told=told, certain=error.if_repeated is not None)

    def end(self, error: EndpointDown, model: str) -> bool:
        """Use it no more, for that model or at all; whether that is new."""
        scope = model if error.of_model else ""
        if scope in self._ended or "" in self._ended:
            return False
        self._ended[scope] = error
        return True

    def ended_by(self, model: str) -> EndpointDown | None:
        """Why nothing is asked of it for that model; None if it is in use."""
        return self._ended.get("") or self._ended.get(model)

    def statistics(self) -> RouteStatistics:
        """A snapshot, for those who show what limits a run."""
        breakers = {key: breaker.statistics() for key, breaker in self._breakers.items()}
        return RouteStatistics(
            name=self.name, admission=self._admission.statistics(), breakers=breakers, endings=dict(self._ended)
        )

    @property
    def limits(self) -> Limits:
        """Those in force."""
        return self._admission.limits

    def reconfigure(self, limits: Limits) -> None:
        """From now on these limits hold; what is in flight stays out."""
        self._admission.reconfigure(limits)

    def is_overloaded(self, model: str) -> bool:
        """Whether it cannot serve that model for now, for no fault of the account."""
        ended = self.ended_by(model)
        if ended is not None:
            return ended.kind in _OVERLOADED
        return self._breaker(model, Lane.STANDARD).is_open

    def close(self) -> None:
        self._admission.close()

    def _lane(self, model: str, wished: Lane) -> Lane:
        """The lane to ask for: the ordinary one as well while the cheap one has no capacity."""
        if wished not in self._lanes:
            return Lane.STANDARD
        breaker = self._breaker(model, wished)
        return Lane.STANDARD if breaker.in_doubt and breaker.wait_seconds() > 0 else wished

    def _breaker(self, model: str, lane: Lane) -> Breaker:
        key = (model, lane)
        if key not in self._breakers:
            settings = BreakerSettings(
                max_outage_seconds=self._policy.max_outage_seconds,
                lane=lane,
                known_key=self._admission.is_known_key(),
                short_batch=self._is_short,
                called=self._called,
            )
            # A cheap lane without room holds nothing up: there is the standard lane.
            heard_by = self._listener if lane is Lane.STANDARD else Listener()
            self._breakers[key] = Breaker(settings, self._clock, heard_by)
        return self._breakers[key]

    def _trouble(self, seconds: float) -> Waiting:
        if seconds == float("inf"):
            return Waiting(by="probe")
        return Waiting(by="gate", until=round(self._clock.monotonic() + seconds, 1))
