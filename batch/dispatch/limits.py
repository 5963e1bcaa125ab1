"""What holds requests to one endpoint back, in one step: the slots, the gate that closes when the provider says so,
every quota of the manifest, and what was found by trying. A request takes of all of them at once, or of none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from batch.clock import Clock, DayStart
from batch.dispatch.adaptive import Pace, Slots
from batch.dispatch.line import Wait
from batch.dispatch.quotas import Need, Room, counted_tokens
from batch.dispatch.tally import Kept, OwnTally, Tally
from batch.errors import ExitCode, RateLimited, Refused, RunStopper, Unavailable, Unusable
from batch.events import Listener, Waiting
from batch.settings import Limits

#: After a gate one goes ahead; the others follow so much later, or when it is answered.
_PROBE_SECONDS: Final = 1.0
#: Refusals of one request after the other close the gate longer each time, whatever delay they name. These are a minute
#: in all, after which every quota of a minute is new; whoever is refused still waits for something slower.
_PAUSES_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0)
_LATER_PAUSES_SECONDS: Final = 60.0
#: Another run looks into the shared counts; that takes less than this. If it stands still, pauses double.
_BUSY_SECONDS: Final = 0.001
_LONGEST_BUSY_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Pass:
    """One request that was let out, and what it took. `at` is monotonic seconds, `part` its place in the counts."""

    model: str
    need: Need
    at: float
    part: int


class Admission:
    """Lets requests out to one endpoint, each when everything has room for it.

    `tally` keeps the counts; the default is of this process alone. `listener` hears when the gate closes.
    """

    def __init__(self, limits: Limits, clock: Clock, listener: Listener, tally: Tally | None = None) -> None:
        self._limits = limits
        self._day = DayStart.read(limits.day_resets_at)
        self._clock = clock
        self._listener = listener
        self._tally = tally or OwnTally()
        self._slots = Slots(limits.concurrency, limits.requests_per_minute, adaptive=limits.adaptive)
        self._paces: dict[str, Pace] = {}
        self._in_flight = 0
        self._busy_seconds = _BUSY_SECONDS
        #: Changes to what is kept that have to wait until no other run looks into it.
        self._owed: list[Callable[[Kept], None]] = []
        self._opens_at = float("-inf")
        self._closings = 0
        #: Whether anybody was served since the gate last closed, and before that.
        self._served = self._among_served = False
        #: After a gate opened again: whether somebody still has to go ahead, and when the others may follow.
        self._probe_wanted = False
        self._others_at = float("-inf")

    @property
    def has_slot(self) -> bool:
        return self._in_flight < self._slots.now

    def no_slot(self) -> Wait:
        """For somebody's answer."""
        now, most = self._slots.now, self._limits.concurrency
        full = Waiting(by="concurrency", most=most) if now >= most else Waiting(by="found_slots", most=now, of=most)
        return Wait(float("inf"), full)

    def take(self, need: Need, model: str) -> Pass | Wait:
        """Take everything at once, or nothing: then how long, and for what.

        Raises `RunStopper` when a day's quota is used up, or another run stands still with the shared counts.
        """
        if not self.has_slot:
            return self.no_slot()
        now = self._clock.monotonic()
        opens_at = max(self._opens_at, self._others_at)
        if opens_at > now:
            return Wait(opens_at - now, Waiting(by="gate", until=opens_at))
        with self._tally.borrowed() as kept:
            if kept is None:
                return self._not_lent()
            self._busy_seconds = _BUSY_SECONDS
            self._pay(kept)
            room = kept.counts.room(need, self._limits, self._day, now, self._clock.now())
            if room.next_day is not None:
                raise self._day_used_up(room)
            pace = self._pace(model, kept)
            pace_seconds = pace.free_at() - now
            if max(room.seconds, pace_seconds) > 0:
                return self._held_back(room, pace, pace_seconds, now)
            part = kept.counts.take(need, self._day, now, self._clock.now())
            kept.changed = True
        pace.go(now)
        if self._probe_wanted:
            self._probe_wanted, self._others_at = False, now + _PROBE_SECONDS
        self._in_flight += 1
        return Pass(model, need, now, part)

    def _not_lent(self) -> Wait:
        if self._tally.stuck:
            words = f"{self._tally.stuck}; no request goes out that its counts might not allow"
            raise RunStopper("quotas_held", words, stop_code=ExitCode.TEMPORARY)
        wait = Wait(self._busy_seconds)
        self._busy_seconds = min(2 * self._busy_seconds, _LONGEST_BUSY_SECONDS)
        return wait

    def leave(self, out: Pass, error: BaseException | None = None, usage: Mapping[str, Any] | None = None) -> None:
        """A request is over and recorded: its slot is free, and what it tells about the limits is taken in."""
        now = self._clock.monotonic()
        pace = self._pace(out.model, None)
        if isinstance(error, RateLimited):
            if self._limits.adaptive:
                self._refused(out, pace, now, error.wait_seconds)
        elif isinstance(error, Unavailable):
            self._slots.freeze(now)
            pace.freeze(now)
        elif error is None or isinstance(error, (Unusable, Refused)):
            self._slots.answered(self._in_flight, now)
            pace.answered(now)
            self._accepted(out)
        self._in_flight -= 1
        self._correct(out, usage)

    def close_for(self, seconds: float, reason: str, *, told: bool = True) -> None:
        """Keep everybody back for so long, unless the gate is closed longer already.

        `told`: the provider named the time. Where it did not, a refusal among requests that are served says "a little
        too fast": a short pause will do, and a longer one each time whoever goes ahead after it is refused as well.
        """
        now = self._clock.monotonic()
        told_again = now < self._opens_at
        if not told_again and not self._probe_wanted and now >= self._others_at:
            self._closings = 0  # the one that went ahead was not refused
        if not told_again and not self._closings:
            self._among_served, self._served = self._served, False
        if not told and self._among_served and self._limits.adaptive:
            seconds = min(seconds, self._pause_seconds())
        if now + seconds <= self._opens_at:
            return
        if not told_again:
            seconds = max(seconds, self._pause_seconds() if self._closings else 0.0)
            self._closings += 1
        self._opens_at = now + seconds
        self._probe_wanted = True
        self._listener.gate_closed(seconds, reason)

    def _pause_seconds(self) -> float:
        """The least pause after so many refusals in a row."""
        known = self._closings <= len(_PAUSES_SECONDS)
        return _PAUSES_SECONDS[max(0, self._closings - 1)] if known else _LATER_PAUSES_SECONDS

    def close(self) -> None:
        """At the end of the run: remember what was found, and let go of the shared counts."""
        for model, pace in self._paces.items():
            self._remember(model, pace)
        self._tally.close()

    def _accepted(self, out: Pass) -> None:
        """An answer to what went out after the gate opened: the provider serves again."""
        self._served = True
        if out.at >= self._opens_at:
            self._others_at = float("-inf")
            self._closings = 0

    def _refused(self, out: Pass, pace: Pace, now: float, named_seconds: float | None) -> None:
        """A 429 speaks of the pace if that is what is being tried, or if there was none until now; else of either."""
        tried, first = pace.is_tried(now), pace.per_minute is None
        if pace.refused(out.at, now, named_seconds):
            self._remember(out.model, pace)
            if not tried and not (first and pace.per_minute is not None):
                self._slots.refused(self._in_flight, now)

    def _held_back(self, room: Room, pace: Pace, pace_seconds: float, now: float) -> Wait:
        if pace_seconds > room.seconds:
            pace.waited(now)
            return Wait(pace_seconds, Waiting(by="found_rate", most=round(pace.per_minute or 0)), is_fixed=True)
        is_fixed = self._limits.tokens_per_minute is None  # else an answer may correct an estimate
        return Wait(room.seconds, Waiting(by=room.quota, most=getattr(self._limits, room.quota)), is_fixed=is_fixed)

    def _day_used_up(self, room: Room) -> RunStopper:
        assert room.next_day is not None
        not_before = room.next_day.isoformat(timespec="seconds").replace("+00:00", "Z")
        most = getattr(self._limits, room.quota)
        return RunStopper(
            "day_used_up",
            f"{room.quota} is used up: {most:,} a day, counted over all runs of this machine with this key; the next "
            f"day begins at {not_before}",
            stop_code=ExitCode.TEMPORARY,
            not_before=not_before,
        )

    def _pace(self, model: str, kept: Kept | None) -> Pace:
        if model not in self._paces:
            remembered = kept.found.get(model) if kept is not None and self._limits.adaptive else None
            self._paces[model] = Pace(remembered)
        return self._paces[model]

    def _remember(self, model: str, pace: Pace) -> None:
        if (found := pace.found) is not None:
            self._change(lambda kept: _put_last(kept.found, model, round(found, 1)))

    def _correct(self, out: Pass, usage: Mapping[str, Any] | None) -> None:
        tokens = counted_tokens(usage)
        if tokens is None or tokens == out.need.tokens or self._limits.tokens_per_minute is None:
            return
        self._change(lambda kept: kept.counts.correct(out.part, tokens - out.need.tokens))

    def _change(self, change: Callable[[Kept], None]) -> None:
        """Change what is kept, now or as soon as it is lent out again."""
        self._owed.append(change)
        with self._tally.borrowed() as kept:
            if kept is not None:
                self._pay(kept)

    def _pay(self, kept: Kept) -> None:
        owed, self._owed = self._owed, []
        for change in owed:
            change(kept)
            kept.changed = True


def _put_last(found: dict[str, float], model: str, per_minute: float) -> None:
    found.pop(model, None)
    found[model] = per_minute
