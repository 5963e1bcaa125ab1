"""Where the next request goes: to the endpoint whose turn it is by weight, of those that have room for it.

One endpoint is the usual case, and then this is only the line before it. Of several, one that is out of money, of its
day's quota or of service is left out and the others go on; the run ends when none is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from batch.core.clock import Clock
from batch.core.errors import EndpointDown
from batch.core.events import Listener, Message
from batch.core.settings import Fallback, FallbackOn, RetryPolicy
from batch.dispatch.job_route import JobRoute
from batch.dispatch.route import Permit, Route, RouteSettings
from batch.dispatch.turnstile import SEEN_AFTER_SECONDS, Turnstile
from batch.limits.quotas import Need
from batch.limits.wait import Wait


class Router:
    """The endpoints of a run. `stop` is told why when none is left for what is asked, not even with a `fallback`."""

    def __init__(
        self,
        settings: Sequence[RouteSettings],
        clock: Clock,
        listener: Listener,
        policy: RetryPolicy,
        stop: Callable[[EndpointDown], None],
        fallback: Fallback,
        local_bottleneck: Callable[[], str],
    ) -> None:
        self._fallback = fallback
        self._listener = listener
        shares = any(each.quota_store is not None for each in settings)
        self._turnstile = Turnstile(clock, listener, local_bottleneck, SEEN_AFTER_SECONDS if shares else float("inf"))
        self._stop = stop
        called = [f"{each.name}: " if len(settings) > 1 else "" for each in settings]
        self.routes = [
            Route(each, clock, listener, policy, self.end, name) for each, name in zip(settings, called, strict=True)
        ]
        #: By weight, how much each has had; the smallest is next. What it could not take is not made up for.
        self._had = dict.fromkeys((route.name for route in self.routes), 0.0)
        self._now = 0.0

    async def acquire(self, place: int, need: Need, job_route: JobRoute) -> Permit:
        """Wait for the turn of a job's next request and let it out; `place` is its job's in the order.

        Raises `EndpointDown` when no endpoint is left for it. Nothing is awaited between taking and returning.
        """
        permit = await self._turnstile.wait_for(place, lambda: self._try_acquire(need, job_route))
        job_route.went(permit)
        return permit

    def release(
        self, permit: Permit, job_id: str, error: BaseException | None, usage: Mapping[str, Any] | None
    ) -> None:
        """A job's request is over and recorded."""
        permit.route.release(permit, job_id, error, usage)
        self._turnstile.changed()

    def end(self, route: Route, error: EndpointDown, model: str) -> bool:
        """Ask no more of a route, for `model` or at all; whether something else can take its place. If not, the run is
        told to stop."""
        is_new = route.end(error, model)
        is_left = self._can_serve(model)
        if not is_left:
            self._stop(self.nothing_left(model))
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
        asked = [route for route in self.routes if route.ended_by(model) is None or route.is_overloaded(model)]
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
        ends = [(route.name, error) for route in self.routes if (error := route.ended_by(model)) is not None]
        # What time mends comes first, and of that what is mended soonest.
        _, chosen = min(ends, key=lambda end: end[1].not_before or "~")
        if len(ends) == 1:
            return chosen
        words = "; ".join(f"{name}: {error.message}" for name, error in ends)
        return EndpointDown(
            chosen.code,
            f"no endpoint is left. {words}",
            stop_code=chosen.stop_code,
            not_before=chosen.not_before,
            kind=chosen.kind,
            of_model=chosen.of_model,
            http_status=chosen.http_status,
            request_id=chosen.request_id,
        )

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

    def _open(self, model: str) -> list[Route]:
        """Those in use for that model, the one whose turn it is first."""
        in_use = [route for route in self.routes if route.ended_by(model) is None]
        return sorted(in_use, key=lambda route: self._had[route.name])
