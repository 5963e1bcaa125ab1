"""What holds requests to one endpoint back, in one step: the slots, the gate that closes when the provider says so,
every quota of the manifest, and what was found by trying. A request takes of all of them at once, or of none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from batch.core.clock import Clock, DayStart
from batch.core.errors import EndpointDown, ExitCode, RateLimited, Refused, Unavailable, Unusable
from batch.core.events import GateClosed, Listener, Waiting
from batch.core.settings import Limits
from batch.core.usage import Usage
from batch.limits.concurrency_limit import ConcurrencyLimit
from batch.limits.gate import Gate, Reservation
from batch.limits.quota_store import MemoryQuotaStore, QuotaState, QuotaStore
from batch.limits.quotas import Need, Room
from batch.limits.rate_pacer import Found, RatePacer
from batch.limits.wait import Wait

#: Another run looks into the shared counts; that takes less than this. If it stands still, pauses double.
_BUSY_SECONDS: Final = 0.001
_LONGEST_BUSY_SECONDS: Final = 0.5
#: So long a key that brought a picture is taken for good: a weekly run begins as one that is repeated.
_KNOWN_SECONDS: Final = 8 * 24 * 3600.0


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionStatistics:
    """What holds requests to one endpoint back: `in_flight` of `concurrency` (found by trying, `limits.concurrency` at
    most) are out, the gate is closed for `gate_seconds`, and of each model so many may go out `per_minute`, if a pace
    was found."""

    limits: Limits
    in_flight: int
    concurrency: int
    gate_seconds: float
    per_minute: Mapping[str, float]


class AdmissionController:
    """Lets requests out to one endpoint, each when everything has room for it.

    `quota_store` keeps the counts; the default is of this process alone. `listener` hears when the gate closes. The log
    calls the endpoint `name`. `first_slots`: so many may be in flight from the start, if that is more than usual.
    """

    def __init__(
        self,
        limits: Limits,
        clock: Clock,
        listener: Listener,
        quota_store: QuotaStore | None = None,
        *,
        name: str = "the endpoint",
        first_slots: int = 0,
    ) -> None:
        self._name = name
        self._limits = limits
        self._day = DayStart.read(limits.day_resets_at)
        self._clock = clock
        self._listener = listener
        self._quota_store = quota_store or MemoryQuotaStore()
        self._slots = ConcurrencyLimit(
            limits.concurrency, limits.spacing, adaptive=limits.adaptive, first_slots=first_slots
        )
        self._paces: dict[str, RatePacer] = {}
        self._in_flight = 0
        self._busy_seconds = _BUSY_SECONDS
        #: Changes to what is kept that have to wait until no other run looks into it.
        self._owed: list[Callable[[QuotaState], None]] = []
        self._key_is_good: bool | None = None
        self._newest = 0
        self._gate = Gate(adaptive=limits.adaptive)
        #: The models of the refusals that closed the gate.
        self._refused_models: set[str] = set()

    @property
    def limits(self) -> Limits:
        """Those in force."""
        return self._limits

    def reconfigure(self, limits: Limits) -> None:
        """From now on these limits hold. What is in flight stays out and stays counted, also if it is more."""
        self._limits = limits
        self._day = DayStart.read(limits.day_resets_at)
        self._slots.reconfigure(limits.concurrency, adaptive=limits.adaptive)
        self._gate.adaptive = limits.adaptive
        if not limits.adaptive:
            self._paces.clear()

    def statistics(self) -> AdmissionStatistics:
        """A snapshot, for those who show what limits a run."""
        paces = {model: pace.per_minute for model, pace in self._paces.items() if pace.per_minute is not None}
        return AdmissionStatistics(
            limits=self._limits,
            in_flight=self._in_flight,
            concurrency=self._slots.now,
            gate_seconds=max(0.0, self._gate.opens_at - self._clock.monotonic()),
            per_minute=paces,
        )

    @property
    def has_slot(self) -> bool:
        return self._in_flight < self._slots.now

    def no_slot(self) -> Wait:
        """For an answer."""
        now, most = self._slots.now, self._limits.concurrency
        full = Waiting(by="concurrency", most=most) if now >= most else Waiting(by="found_slots", most=now, of=most)
        return Wait(float("inf"), full)

    def is_known_key(self) -> bool:
        """Whether this key brought a picture in the last days, in whatever run."""
        with self._quota_store.transaction() as state:
            return state is not None and 0 <= self._clock.now().timestamp() - state.served_at < _KNOWN_SECONDS

    def take(self, need: Need, model: str) -> Reservation | Wait:
        """Take everything at once, or nothing: then how long, and for what.

        Raises `EndpointDown` when a day's quota is used up, or another run stands still with the shared counts.
        """
        if not self.has_slot:
            return self.no_slot()
        now = self._clock.monotonic()
        self._settle(now)
        if (seconds := self._gate.wait_seconds(now)) > 0:
            closed = self._gate.opens_at > now
            return Wait(seconds, Waiting(by="gate", until=self._gate.opens_at) if closed else None)
        with self._quota_store.transaction() as state:
            if state is None:
                return self._not_lent()
            self._busy_seconds = _BUSY_SECONDS
            self._pay(state)
            # Read the clock again: other runs may have counted until we had the lock, and what lies ahead of our time
            # would be taken for another clock's and dropped.
            now = self._clock.monotonic()
            room = state.counts.room(need, self._limits, self._day, now, self._clock.now())
            if room.next_day is not None:
                raise self._day_used_up(room)
            pace = self._pace(model, state)
            if self._limits.adaptive:
                pace.join(state.live.get(model), now)
            pace_seconds = pace.free_at() - now
            if max(room.seconds, pace_seconds) > 0:
                return self._held_back(room, pace, pace_seconds)
            part = state.counts.take(need, self._limits, self._day, now, self._clock.now())
            pace.go(now)
            if self._limits.adaptive:
                state.live[model] = pace.live(now)
            state.changed = True
        self._in_flight += 1
        self._newest += 1
        out = Reservation(self._newest, model, need, now, part)
        self._gate.went_out(out)
        return out

    def _not_lent(self) -> Wait:
        if self._quota_store.stuck:
            words = f"{self._quota_store.stuck}; no request goes out that its counts might not allow"
            raise EndpointDown("quotas_held", words, exit_code=ExitCode.TEMPORARY)
        wait = Wait(self._busy_seconds)
        self._busy_seconds = min(2 * self._busy_seconds, _LONGEST_BUSY_SECONDS)
        return wait

    def release(self, out: Reservation, error: BaseException | None = None, usage: Usage | None = None) -> None:
        """A request is over and recorded: its slot is free, and what it tells about the limits is taken in."""
        now = self._clock.monotonic()
        if isinstance(error, RateLimited):
            self._gate.refused(out, now)
            self._refused_models.add(out.model)
            self._pace(out.model, None).refused(out.at)
        elif error is None or isinstance(error, (Unusable, Refused)):
            self._slots.answered(self._in_flight, now)
            self._gate.accepted(out, now)
        else:
            self._gate.forget(out)
            if isinstance(error, Unavailable):
                self._slots.freeze(now)
                self._pace(out.model, None).freeze(now)
        self._settle(now)
        self._in_flight -= 1
        self._mind_the_key(error)
        self._correct(out, usage)

    def _mind_the_key(self, error: BaseException | None) -> None:
        """Remember that the key is good, once a run, and forget it when that is in doubt."""
        is_good = error is None
        if is_good is self._key_is_good or not (is_good or isinstance(error, EndpointDown)):
            return
        self._key_is_good = is_good
        at = self._clock.now().timestamp() if is_good else 0.0
        self._owed.append(lambda state: setattr(state, "served_at", at))  # written with the next request, or at the end

    def pause_for(self, seconds: float, reason: str, *, told: bool = True) -> None:
        """Close the gate for that long, unless it is closed longer already. `told`: the provider named the delay."""
        self._close(seconds, reason, told=told, by_row=False)

    def refused(self, seconds: float, reason: str, *, told: bool, certain: bool) -> bool:
        """After a refusal that asks for so long a pause: whether all requests must wait. One among requests that are
        served concerns itself alone; `certain`: its words say that it concerns all."""
        if self._gate.is_proven or certain:
            self._close(seconds, reason, told=told, by_row=not certain)
        return self._gate.opens_at > self._clock.monotonic()

    def _close(self, seconds: float, reason: str, *, told: bool, by_row: bool) -> None:
        now = self._clock.monotonic()
        closed = self._gate.pause_for(seconds, now, told=told, by_row=by_row)
        if closed is not None:
            log.info("gate of %s closed for %.1f s: %s", self._name, closed, reason)
            self._listener.on_event(GateClosed(closed, reason))

    def close(self) -> None:
        """At the end of the run: remember what was found, and let go of the shared counts."""
        for model, pace in self._paces.items():
            if pace.found is not None:
                self._remember(model, pace)
        if self._owed:
            self._change(lambda _: None)
        self._quota_store.close()

    def _settle(self, now: float) -> None:
        """Take in what time has told: who was not refused, and whether a closed gate was."""
        for out, refused in self._gate.outcomes(now):
            if self._limits.adaptive:
                decided = self._pace(out.model, None).saw(out.at, now, refused=refused, may_try=self._slots.are_found)
                self._say(out.model, decided)
        closing = self._gate.confirmed(now)
        if closing is not None:
            for model in self._refused_models:
                pace = self._pace(model, None)
                tried, had = pace.is_tried, pace.per_minute is not None
                if self._limits.adaptive:
                    self._say(model, pace.closed(closing, now))
                    if had and not tried:
                        self._halve(now)
            self._refused_models.clear()

    def _halve(self, now: float) -> None:
        """The gate closed although the pace held nothing back: so many at once were too many."""
        before = self._slots.now
        self._slots.refused(self._in_flight, now)
        if self._slots.now < before:
            log.info(
                "in flight at once at %s: %d, was %d: the gate closed, and the pace held nothing back",
                self._name,
                self._slots.now,
                before,
            )

    def _say(self, model: str, decided: str) -> None:
        if decided:
            log.info("pace of %s at %s: %s", model, self._name, decided)
            self._remember(model, self._paces[model])

    def _held_back(self, room: Room, pace: RatePacer, pace_seconds: float) -> Wait:
        if pace_seconds > room.seconds:
            pace_seconds += _BUSY_SECONDS if pace.has_just_gone else 0.0  # the others go first
            return Wait(pace_seconds, Waiting(by="found_rate", most=round(pace.per_minute or 0)), is_fixed=True)
        is_fixed = self._limits.tokens_per_minute is None  # else an answer may correct an estimate
        most = round(getattr(self._limits, room.quota))
        return Wait(room.seconds, Waiting(by=room.quota, most=most), is_fixed=is_fixed)

    def _day_used_up(self, room: Room) -> EndpointDown:
        assert room.next_day is not None
        not_before = room.next_day.isoformat(timespec="seconds").replace("+00:00", "Z")
        most = getattr(self._limits, room.quota)
        return EndpointDown(
            "day_used_up",
            f"{room.quota} is used up: {most:,} a day, counted over all runs of this machine with this key; the next "
            f"day begins at {not_before}",
            exit_code=ExitCode.TEMPORARY,
            not_before=not_before,
        )

    def _pace(self, model: str, state: QuotaState | None) -> RatePacer:
        if model not in self._paces:
            found = state.found.get(model) if state is not None and self._limits.adaptive else None
            age_seconds = max(0.0, self._clock.now().timestamp() - found[1]) if found is not None else 0.0
            self._paces[model] = RatePacer(found[0] if found is not None else None, age_seconds)
        return self._paces[model]

    def _remember(self, model: str, pace: RatePacer) -> None:
        at = self._clock.now().timestamp()
        found = None if pace.found is None else (pace.found, at)
        live = pace.live(self._clock.monotonic())

        def change(state: QuotaState) -> None:
            _put_last(state.found, model, found)
            if (other := state.live.get(model)) is not None and other.decided_at < live.decided_at:
                state.live[model] = replace(live, sent=other.sent, next_at=max(live.next_at, other.next_at))

        self._change(change)

    def _correct(self, out: Reservation, usage: Usage | None) -> None:
        tokens = None if usage is None else usage.total
        if tokens is None or tokens == out.need.tokens or self._limits.tokens_per_minute is None:
            return
        self._change(lambda state: state.counts.correct(out.part, tokens - out.need.tokens))

    def _change(self, change: Callable[[QuotaState], None]) -> None:
        """Change what is kept, now or as soon as it is lent out again."""
        self._owed.append(change)
        with self._quota_store.transaction() as state:
            if state is not None:
                self._pay(state)

    def _pay(self, state: QuotaState) -> None:
        owed, self._owed = self._owed, []
        for change in owed:
            change(state)
            state.changed = True


def _put_last(found: dict[str, tuple[Found, float]], model: str, new: tuple[Found, float] | None) -> None:
    found.pop(model, None)
    if new is not None:
        found[model] = new
