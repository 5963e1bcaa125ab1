"""Where the next request goes: to the endpoint whose turn it is by weight, of those that have room for it.

One endpoint is the usual case, and then this is only the line before it. Of several, one that is out of money, of its
day's quota or of service is left out and the others go on; the run ends when none is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from batch.core.clock import Clock
from batch.core.errors import EndpointDown
from batch.core.events import Listener, Message, Waiting
from batch.core.settings import FallbackOn, Limits
from batch.core.usage import Usage
from batch.dispatch.base import DispatchConfig, LoadProbe, RunEnd
from batch.dispatch.job_route import JobRoute
from batch.dispatch.route import Permit, Route, RouteStatistics
from batch.dispatch.turnstile import SEEN_AFTER_SECONDS, Turnstile
from batch.limits.quotas import Need
from batch.limits.wait import Wait


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterStatistics:
    """What limits a run now: what the first request in line waits for, and where each route stands."""

    in_flight: int
    waiting: Waiting
    routes: tuple[RouteStatistics, ...]


class Router:
    """The endpoints of a run. `run_end` is called when no endpoint is left for a request, not even with a fallback."""

    def __init__(
        self, config: DispatchConfig, clock: Clock, listener: Listener, run_end: RunEnd, load: LoadProbe
    ) -> None:
        self._fallback = config.fallback
        self._listener = listener
        self._run_end = run_end
        self._in_flight = 0
        shares = any(each.quota_store is not None for each in config.routes)
        self._turnstile = Turnstile(
            clock,
            listener,
            lambda: load.local_bottleneck(self._in_flight),
            SEEN_AFTER_SECONDS if shares else float("inf"),
        )
        self.routes = [
            Route(each, config.policy, clock, listener, f"{each.name}: " if len(config.routes) > 1 else "", config.jobs)
            for each in config.routes
        ]
        #: By weight, how much each has had; the smallest is next. What it could not take is not made up for.
        self._had = dict.fromkeys((route.name for route in self.routes), 0.0)
        self._now = 0.0

    async def acquire(self, place: int, need: Need, job_route: JobRoute) -> Permit:
        """Wait for the turn of a job's next request and let it out; `place` is its job's in the order.

        Raises `EndpointDown` when no endpoint is left for it. Nothing is awaited between taking and returning.
        """
        permit = await self._turnstile.wait_for(place, lambda: self._try_acquire(need, job_route))
        job_route.went(permit.terms)
        self._in_flight += 1
        return permit

    def answered(self, permit: Permit, error: BaseException | None) -> None:
        """A request is over: what it tells about its route."""
        for ending in permit.route.answered(permit, error):
            self.end(permit.route, ending, permit.terms.model)

    def release(self, permit: Permit, job_id: str, error: BaseException | None, usage: Usage | None) -> None:
        """After `answered`: a job's request is recorded, and what it held is free."""
        self._in_flight -= 1
        ending = permit.route.release(permit, job_id, error, usage)
        if ending is not None:
            self.end(permit.route, ending, permit.terms.model)
        self._turnstile.changed()

    def end(self, route: Route, error: EndpointDown, model: str) -> bool:
        """Ask no more of a route, for `model` or at all; whether something else can take its place. If not, the run is
        told to stop."""
        is_new = route.end(error, model)
        is_left = self._can_serve(model)
        if not is_left:
            ending = self.nothing_left(model)
            self._run_end.stop(ending, ending.message)
        elif is_new:
            self._listener.on_event(Message(f"{route.name} is left out from now on: {error.message}"))
        self._turnstile.changed()
        return is_left

    def _can_serve(self, model: str) -> bool:
        """Whether any endpoint is left for that model, or for one that may take its place."""
        if self._open(model):
            return True
        if FallbackOn.OVERLOAD not in self._fallback.on or not self._is_overloaded(model):
            return False
        return any(self._open(other) for other in self._fallback.models)

    def _is_overloaded(self, model: str) -> bool:
        """Whether no route that could be asked for that model can serve it for now."""
        serving = self._serving(model)
        asked = [route for route in serving if route.ended_by(model) is None or route.is_overloaded(model)]
        return bool(asked) and all(route.is_overloaded(model) for route in asked)

    def leave_out(self, name: str, model: str, error: EndpointDown) -> None:
        """Before the start: a route that is known to be of no use yet."""
        route = next(route for route in self.routes if route.name == name)
        if route.end(error, model):
            self._listener.on_event(Message(f"{name} is left out: {error.message}"))

    def others_than(self, route: Route, model: str) -> bool:
        """Whether anything else could serve that model."""
        return any(other is not route for other in self._open(model))

    def nothing_left(self, model: str) -> EndpointDown:
        """Why no endpoint is in use for that model."""
        ends = [(route.name, error) for route in self._serving(model) if (error := route.ended_by(model)) is not None]
        # What time mends comes first, and of that what is mended soonest.
        _, chosen = min(ends, key=lambda end: end[1].not_before or "~")
        if len(ends) == 1:
            return chosen
        words = "; ".join(f"{name}: {error.message}" for name, error in ends)
        return EndpointDown(
            chosen.code,
            f"no endpoint is left. {words}",
            exit_code=chosen.exit_code,
            not_before=chosen.not_before,
            kind=chosen.kind,
            of_model=chosen.of_model,
            http_status=chosen.http_status,
            request_id=chosen.request_id,
        )

    def statistics(self) -> RouterStatistics:
        """A snapshot, for those who show what limits a run."""
        return RouterStatistics(
            in_flight=self._in_flight,
            waiting=self._turnstile.waiting,
            routes=tuple(route.statistics() for route in self.routes),
        )

    @property
    def concurrency(self) -> int:
        """Requests in flight at most, at all endpoints together."""
        return sum(route.limits.concurrency for route in self.routes)

    def reconfigure(self, limits: Mapping[str, Limits]) -> None:
        """From now on these limits hold, by the endpoint's name; what is in flight stays out."""
        for route in self.routes:
            before, after = route.limits, limits.get(route.name, route.limits)
            if after != before:
                route.reconfigure(after)
                self._listener.on_event(Message(f"the limits of {route.name} are changed: {_changes(before, after)}"))
        self._turnstile.rules_changed()

    def close(self) -> None:
        for route in self.routes:
            route.close()

    def _try_acquire(self, need: Need, job_route: JobRoute) -> Permit | Wait:
        waits: list[Wait] = []
        for model in job_route.models:
            for route in self._open(model):
                found = self._look_at(route, need, model, job_route)
                if isinstance(found, Permit):
                    return found
                waits += [found] if found is not None else []
            if not self._is_overloaded(model):
                break  # it is only busy
        if not waits:
            raise self.nothing_left(job_route.models[0])
        soonest = min(waits, key=lambda wait: wait.seconds)
        return replace(soonest, is_fixed=all(wait.is_fixed for wait in waits))

    def _look_at(self, route: Route, need: Need, model: str, job_route: JobRoute) -> Permit | Wait | None:
        try:
            found = route.try_acquire(need, model, job_route.lane)
        except EndpointDown as error:
            self.end(route, error, model)
            return None
        if isinstance(found, Wait):
            return found
        self._now = max(self._now, self._had[route.name])
        self._had[route.name] = self._now + 1 / route.weight
        return found

    def _serving(self, model: str) -> list[Route]:
        """Those that a model is asked of: those that know it, or all if it is new to every one."""
        return [route for route in self.routes if route.knows(model)] or self.routes

    def _open(self, model: str) -> list[Route]:
        """Those in use for that model, the one whose turn it is first."""
        in_use = [route for route in self._serving(model) if route.ended_by(model) is None]
        return sorted(in_use, key=lambda route: self._had[route.name])


def _changes(before: Limits, after: Limits) -> str:
    """`concurrency 2 (was 8), requests_per_minute none (was 60)`."""
    pairs = [(each.name, getattr(before, each.name), getattr(after, each.name)) for each in fields(Limits)]
    none = {None: "none"}
    changed = [(name, none.get(old, old), none.get(new, new)) for name, old, new in pairs if old != new]
    return ", ".join(f"{name} {new} (was {old})" for name, old, new in changed)
