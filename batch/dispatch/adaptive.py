"""Limits nobody told us, found by trying: how many requests at once, and how many a minute.

Both go up while they are what holds the run back and nothing is refused, and down at a 429. `Slots` begins low and
doubles per round of answers until the first refusal, as TCP does. `Pace` knows nothing until the first refusal; then
it grows quickly until the next one, comes back to just below that, stays, and tries again later, the more rarely the
oftener that failed.

Limiters differ in what a refusal means. Some count over a minute: the requests of the last one that were not refused
are the quota, and how they are spaced does not matter. Others want them spaced (a leaky bucket, as nginx has): the
pace at which one was refused is the quota, and a short pause makes room again. Which it is shows in the delay that is
named, and in whether one request alone, after a pause, is refused as well. Pure.
"""

from __future__ import annotations

from collections import deque
from typing import Final

#: So many at once at first; published advice for this API is two to four.
_FIRST_SLOTS: Final = 4.0
#: A quota of a minute refuses for up to a minute after it was passed: that is one cause, and counts once.
_ONE_CAUSE_SECONDS: Final = 60.0
#: Above the number at which the last refusal came: one more per round, and one more for so long without a refusal.
_QUICKER_EVERY_SECONDS: Final = 10.0
#: Answers of a few seconds to a minute are usual: a quota that was named needs so many at once from the start.
_USUAL_ANSWER_SECONDS: Final = 15.0
#: After the provider could not serve, nothing grows for so long: that was no word about quotas.
_FROZEN_SECONDS: Final = 30.0

_MINUTE_SECONDS: Final = 60.0
_MEASURED_SECONDS: Final = 10.0
_MEASURED_REQUESTS: Final = 20
#: Just below what was refused or is known to be accepted.
_BELOW: Final = 0.95
_AFTER_FIRST_REFUSAL: Final = 0.5
_AFTER_REFUSAL: Final = 0.85
#: Nothing is known of where the ceiling is: then the pace grows by so much per second, from this if there is none.
_UNKNOWN: Final = float("inf")
_FIRST_TRIED_PER_MINUTE: Final = 60.0
_UNKNOWN_PER_SECOND: Final = 0.08
#: Share of the ceiling regained per second below it, and tried per second above it.
_BACK_PER_SECOND: Final = 0.02
_BEYOND_PER_SECOND: Final = 0.005
#: So far above the ceiling without a refusal, it is none any more.
_GROWN: Final = 1.15
_PATIENCE_SECONDS: Final = 60.0
_MOST_PATIENCE_SECONDS: Final = 600.0
_LONGEST_STEP_SECONDS: Final = 5.0
#: Of about so many requests this share must have waited for the pace, or it was something else that held the run back.
_LAST_REQUESTS: Final = 10
_HELD_BACK: Final = 0.7
#: Refused again so soon, or by who counts over a minute and so notices late: the pace was more than a little too high.
_SOON_SECONDS: Final = 20.0
_MUCH: Final = 0.9
#: Refused below the ceiling, where it was fine for a while: most likely one that came a moment too early.
_BY_CHANCE: Final = 0.98
#: Fewer in the first minute tell nothing of a quota: another run may have used it up.
_TELLING_REQUESTS: Final = 5
#: A longer delay is named by who counts over a minute: then what was accepted in the last one is the quota.
_OF_A_MINUTE_SECONDS: Final = 5.0
#: Who only wants requests spaced takes one that comes so long, and so many spacings, after the one before.
_LONG_AGO_SECONDS: Final = 1.0
_LONG_AGO_REQUESTS: Final = 2
#: The slowest pace: still a request now and then, or a better time would never be noticed.
_SLOWEST_PER_MINUTE: Final = 1.0


class Slots:
    """How many requests may be in flight: found between 1 and `most`; with `adaptive` False it is `most`.

    `per_minute`: what the user says the provider allows, if he does.
    """

    def __init__(self, most: int, per_minute: int | None, *, adaptive: bool) -> None:
        self._most = float(most)
        first = max(_FIRST_SLOTS, (per_minute or 0) / _MINUTE_SECONDS * _USUAL_ANSWER_SECONDS)
        self._found = min(first, self._most) if adaptive else self._most
        self._adaptive = adaptive
        #: Where the last refusal came; below it growth is quick.
        self._refused_at = self._most
        self._lowered_at = float("-inf")
        self._frozen_until = float("-inf")

    @property
    def now(self) -> int:
        return int(self._found)

    def answered(self, in_flight: int, now_seconds: float) -> None:
        """After an answer that was no refusal, with so many in flight, itself included: grows only if all were used."""
        if self._adaptive and in_flight >= self.now and now_seconds >= self._frozen_until:
            quicker = 1.0 + (now_seconds - self._lowered_at) / _QUICKER_EVERY_SECONDS
            step = 1.0 if self._found < self._refused_at else min(1.0, quicker / self._found)
            self._found = min(self._most, self._found + step)

    def refused(self, in_flight: int, now_seconds: float) -> None:
        """After a 429 to a request that went out since the last one counted: halve, once per cause. With most slots
        empty it was not their number that was too high."""
        if not self._adaptive or now_seconds - self._lowered_at < _ONE_CAUSE_SECONDS or 2 * in_flight < self._found:
            return
        self._lowered_at = now_seconds
        self._refused_at = max(1.0, min(self._found, float(in_flight)))
        self._found = max(1.0, self._refused_at / 2)

    def freeze(self, now_seconds: float) -> None:
        """After a 5xx."""
        self._frozen_until = now_seconds + _FROZEN_SECONDS


class Pace:
    """How many requests of one model may go out per minute, evenly; None until a refusal told of a quota.

    `remembered` is what an earlier run found.
    """

    def __init__(self, remembered: float | None = None) -> None:
        self.per_minute = remembered
        self._ceiling = remembered / _BELOW if remembered is not None else _UNKNOWN
        #: How many were in the minute before a refusal that may have been of the count or of the spacing.
        self._accepted = 0.0
        #: Whether the provider has shown that it counts, and does not mind the spacing.
        self._counted = False
        self._went_out: deque[float] = deque()
        self._next_at = float("-inf")
        self._waited_at = float("-inf")
        #: The share of the last requests that this held back, and not slots or quotas.
        self._held_back = 0.0
        self._began_at: float | None = None
        self._grown_at = float("-inf")
        self._lowered_at = float("-inf")
        self._hold_until = float("-inf")
        self._frozen_until = float("-inf")
        self._patience_seconds = _PATIENCE_SECONDS

    @property
    def found(self) -> float | None:
        """What is worth remembering."""
        return self.per_minute if self._ceiling < _UNKNOWN else None

    def free_at(self) -> float:
        """When the next may go; monotonic seconds."""
        return self._next_at if self.per_minute is not None else float("-inf")

    def waited(self, now_seconds: float) -> None:
        """Somebody waits for this and for nothing else: that is when it may grow."""
        self._waited_at = now_seconds

    def go(self, now_seconds: float) -> None:
        """One goes out."""
        self._began_at = now_seconds if self._began_at is None else self._began_at
        while self._went_out and self._went_out[0] <= now_seconds - _MINUTE_SECONDS:
            self._went_out.popleft()
        self._went_out.append(now_seconds)
        if self.per_minute is not None:
            spacing_seconds = _MINUTE_SECONDS / self.per_minute
            held_back = now_seconds - self._next_at < spacing_seconds / 2
            self._held_back += (held_back - self._held_back) / _LAST_REQUESTS
            self._next_at = now_seconds + spacing_seconds

    def answered(self, now_seconds: float) -> None:
        """After an answer that was no refusal: grows while it is what holds the run back."""
        since = min(_LONGEST_STEP_SECONDS, now_seconds - self._grown_at)
        self._grown_at = now_seconds
        if self.per_minute is None or not self.is_tried(now_seconds) or now_seconds < self._frozen_until or since <= 0:
            return
        near = self._ceiling * _BELOW
        if self._ceiling == _UNKNOWN:
            self.per_minute += self.per_minute * _UNKNOWN_PER_SECOND * since
        elif self.per_minute < near:
            self.per_minute = min(near, self.per_minute + self._ceiling * _BACK_PER_SECOND * since)
        elif now_seconds >= self._hold_until:
            self.per_minute += self.per_minute * _BEYOND_PER_SECOND * since
            if self.per_minute > self._ceiling * _GROWN:  # the quota has grown: no more holding back
                self._ceiling = self.per_minute * 2
                self._patience_seconds = _PATIENCE_SECONDS

    def refused(self, went_out_at: float, now_seconds: float, named_seconds: float | None) -> bool:
        """After a 429 to a request that went out then; whether it counted: those of before the last one do not."""
        if went_out_at in self._went_out:
            self._went_out.remove(went_out_at)
        if went_out_at <= self._lowered_at:
            return False
        accepted = float(sum(at > now_seconds - _MINUTE_SECONDS for at in self._went_out))
        if self._was_alone(went_out_at):
            self._count_is_the_limit(max(accepted, self._accepted), now_seconds)
        elif self._tells(accepted, now_seconds) and (named_seconds or 0.0) > _OF_A_MINUTE_SECONDS:
            self._accepted = accepted
            self._count_is_the_limit(accepted, now_seconds)
        elif self.per_minute is None:
            self._begin(accepted, now_seconds, named_seconds)
        elif self._tells(accepted, now_seconds):
            self._lower(accepted, now_seconds)
        self._lowered_at = self._grown_at = now_seconds
        self._next_at = max(self._next_at, now_seconds)
        return True

    def _was_alone(self, went_out_at: float) -> bool:
        """Whether it was refused although the one before went out long ago: then it is not spacing that is wanted."""
        gap_seconds = went_out_at - self._went_out[-1] if self._went_out else 0.0
        return (
            self._accepted > 0
            and self.per_minute is not None
            and gap_seconds > max(_LONG_AGO_SECONDS, _LONG_AGO_REQUESTS * _MINUTE_SECONDS / self.per_minute)
        )

    def _count_is_the_limit(self, accepted: float, now_seconds: float) -> None:
        """So many in a minute and no more, however they are spaced."""
        self._counted = True
        self._hold(now_seconds)
        if accepted < self._ceiling:
            self._ceiling = max(_SLOWEST_PER_MINUTE, accepted)
            self.per_minute = max(_SLOWEST_PER_MINUTE, _BELOW * accepted)

    def _begin(self, accepted: float, now_seconds: float, named_seconds: float | None) -> None:
        """The first refusal. Who wants requests evenly spaced has refused some that came at once, which says little."""
        if self._tells(accepted, now_seconds):
            self._accepted = accepted
            self.per_minute = max(_BELOW * accepted, _AFTER_FIRST_REFUSAL * self._measured(now_seconds))
        elif accepted and (named_seconds or 0.0) <= _OF_A_MINUTE_SECONDS:
            self.per_minute = _FIRST_TRIED_PER_MINUTE

    def _lower(self, accepted: float, now_seconds: float) -> None:
        """A refusal of the pace that was being tried, or of less if something else held the run back."""
        assert self.per_minute is not None
        self._accepted = accepted
        if not self.is_tried(now_seconds):
            really = max(accepted, self._measured(now_seconds), _AFTER_FIRST_REFUSAL * self.per_minute)
            self.per_minute = max(_SLOWEST_PER_MINUTE, _AFTER_REFUSAL * min(self.per_minute, really))
            return
        self._ceiling = max(_SLOWEST_PER_MINUTE, accepted, self._refused_at(now_seconds))
        self.per_minute = max(_SLOWEST_PER_MINUTE, _AFTER_REFUSAL * self._ceiling)

    def _refused_at(self, now_seconds: float) -> float:
        """What the ceiling is by a refusal of the pace that is being tried."""
        assert self.per_minute is not None
        soon = now_seconds - self._lowered_at < _SOON_SECONDS
        was_fine = not soon and self.per_minute <= self._ceiling * _BELOW < _UNKNOWN
        self._hold(now_seconds)
        if was_fine:
            return max(self.per_minute, self._ceiling * _BY_CHANCE)
        return self.per_minute * (_MUCH if soon or self._counted else 1.0)

    def _hold(self, now_seconds: float) -> None:
        """Try no more for a while, and for longer if trying has just failed again."""
        if self.per_minute is not None and self.per_minute >= self._ceiling * _BELOW:
            if now_seconds - self._lowered_at > _PATIENCE_SECONDS:
                self._patience_seconds = min(_MOST_PATIENCE_SECONDS, 2 * self._patience_seconds)
        else:
            self._patience_seconds = _PATIENCE_SECONDS
        self._hold_until = now_seconds + self._patience_seconds

    def freeze(self, now_seconds: float) -> None:
        """After a 5xx."""
        self._frozen_until = now_seconds + _FROZEN_SECONDS

    def is_tried(self, now_seconds: float) -> bool:
        """Whether this is what holds the run back, and so what a refusal speaks of."""
        waited = now_seconds - self._waited_at <= _LONGEST_STEP_SECONDS
        return self.per_minute is not None and waited and self._held_back >= _HELD_BACK

    def _tells(self, accepted: float, now_seconds: float) -> bool:
        """Whether what was accepted in the last minute says what the quota is; nothing at all never does."""
        began_at = self._began_at if self._began_at is not None else now_seconds
        return accepted >= _TELLING_REQUESTS or (accepted > 0 and now_seconds - began_at >= _MINUTE_SECONDS)

    def _measured(self, now_seconds: float) -> float:
        """Requests per minute over the last seconds, refused ones not counted; over longer if there were few."""
        if not self._went_out:
            return _SLOWEST_PER_MINUTE
        first = max(0, len(self._went_out) - _MEASURED_REQUESTS)
        while first and self._went_out[first - 1] > now_seconds - _MEASURED_SECONDS:
            first -= 1
        seconds = max(1.0, self._went_out[-1] - self._went_out[first])
        return (len(self._went_out) - first) * _MINUTE_SECONDS / seconds
