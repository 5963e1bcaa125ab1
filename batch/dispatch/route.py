"""One endpoint with its key: its limits, its trouble, and whether it is still in use.

A wrong key ends the whole route, a missing model only what is asked of that model. Trouble is told apart by model and
lane: the cheap lane turns requests away while the ordinary one serves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from batch.core.clock import Clock
from batch.core.errors import EndpointDown, Kind, RateLimited
from batch.core.events import GateClosed, Listener, Waiting
from batch.core.lane import Lane
from batch.core.model import Terms
from batch.core.settings import Limits, RetryPolicy
from batch.dispatch.breaker import Breaker
from batch.dispatch.failure_patterns import FailurePatterns
from batch.dispatch.job_route import is_shed
from batch.dispatch.waste_breaker import WasteBreaker
from batch.limits.admission import AdmissionController
from batch.limits.gate import Reservation
from batch.limits.quota_store import QuotaStore
from batch.limits.quotas import Need
from batch.limits.wait import Wait

#: Endings for which a fallback model is asked.
_OVERLOADED: Final = frozenset((Kind.NO_CHANNEL, Kind.OVERLOAD))


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSettings:
    """An endpoint as the manifest has it. `quota_store` keeps what was taken of its quotas; None: of this run alone.

    Of several, each gets requests by its `weight`.
    """

    name: str
    limits: Limits
    weight: float = 1.0
    lanes: frozenset[Lane] = frozenset((Lane.STANDARD,))
    quota_store: QuotaStore | None = None


@dataclass(frozen=True, slots=True)
class Permit:
    """What a request holds from leaving to its record: its route, the terms it goes out on, what it took of the quotas,
    and its breaker with its number there."""

    route: Route
    terms: Terms
    reservation: Reservation
    breaker: Breaker
    number: int

    def watch(self) -> AbstractContextManager[None]:
        """Around the request: its end tells about the route."""
        return self.breaker.watch(self.number)


class Route:
    """Lets requests out to one endpoint. `end(route, error, model)` is told what only waiting or a person would mend.

    `called` begins what is said of it, where there are several.
    """

    def __init__(
        self,
        settings: RouteSettings,
        clock: Clock,
        listener: Listener,
        policy: RetryPolicy,
        end: Callable[[Route, EndpointDown, str], object],
        called: str = "",
    ) -> None:
        self.name = settings.name
        self._called = called
        self.weight = settings.weight
        self.patterns = FailurePatterns()
        self._lanes = settings.lanes
        self._clock = clock
        self._listener = listener
        self._policy = policy
        self._tell_end = end
        self._admission = AdmissionController(settings.limits, clock, listener, settings.quota_store)
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

    def release(
        self, permit: Permit, job_id: str, error: BaseException | None, usage: Mapping[str, Any] | None
    ) -> None:
        """A job's request is over and recorded."""
        self._admission.release(permit.reservation, None if is_shed(error, permit.terms.lane) else error, usage)
        stopper = self.wasted(permit.terms.model).came_back(job_id, error)
        if stopper is not None:
            self._tell_end(self, stopper, permit.terms.model)

    def wasted(self, model: str) -> WasteBreaker:
        """What was charged for nothing here, for that model."""
        return self._wasted.setdefault(model, WasteBreaker(self._policy.wasted_in_a_row))

    def pause_for(self, seconds: float, reason: str, *, told: bool) -> None:
        """The provider wants nothing for so long; `told`: it named the time itself."""
        self._admission.pause_for(seconds, self._called + reason, told=told)

    def refused(self, error: RateLimited, seconds: float) -> bool:
        """A request was refused and is not to come back for so long; whether that holds for everybody."""
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

    @property
    def endings(self) -> Mapping[str, EndpointDown]:
        """All of them, by model; under "" what concerns every model."""
        return self._ended

    def is_overloaded(self, model: str) -> bool:
        """Whether it cannot serve that model for now, for no fault of the account."""
        ended = self.ended_by(model)
        if ended is not None:
            return ended.kind in _OVERLOADED
        return self._breaker(model, Lane.STANDARD).is_open

    def close(self) -> None:
        self._admission.close()

    def _lane(self, model: str, wished: Lane) -> Lane:
        """The lane to ask for: the ordinary one as well while the cheap one has no room for anybody."""
        if wished not in self._lanes:
            return Lane.STANDARD
        breaker = self._breaker(model, wished)
        return Lane.STANDARD if breaker.in_doubt and breaker.wait_seconds() > 0 else wished

    def _breaker(self, model: str, lane: Lane) -> Breaker:
        key = (model, lane)
        if key not in self._breakers:
            # A cheap lane without room holds nothing up: there is the standard lane.
            is_last = lane is Lane.STANDARD
            self._breakers[key] = Breaker(
                self._clock,
                self._policy.max_outage_seconds,
                self._paused if is_last else _say_nothing,
                lambda error: self._tell_end(self, error, model),
                gives_up=is_last,
                is_limit=lambda error: isinstance(error, RateLimited) and not is_shed(error, lane),
                known_key=self._admission.is_known_key(),
            )
        return self._breakers[key]

    def _paused(self, seconds: float, reason: str) -> None:
        self._listener.on_event(GateClosed(seconds, self._called + reason))

    def _trouble(self, seconds: float) -> Waiting:
        if seconds == float("inf"):
            return Waiting(by="probe")
        return Waiting(by="gate", until=round(self._clock.monotonic() + seconds, 1))


def _say_nothing(seconds: float, reason: str) -> None:
    """No request has to wait."""
