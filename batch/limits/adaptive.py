"""Limits that were not told, found by trying: how many requests at once, and how many a minute.

`ConcurrencyLimit` begins low and doubles per round of answers until a limit shows, as TCP does. `RatePacer` holds
nothing back until the gate closes or refusals are more than usual. Then it sends a little less than what was
accepted, and asks the one question that tells the causes apart: are fewer refused than before? If so the pace was the
cause: it is kept, and more is tried now and then. If not, refusals have nothing to do with it, and all is as it was.
The rate that was accepted is the measure (BBR's idea), never a single refusal.

Limiters differ in what a closed gate means. Some count over a minute: the requests of the last one that were accepted
are the quota, and how they are spaced does not matter. Others want them spaced (a leaky bucket, as nginx has): the
rate that was accepted in the last seconds is the quota. Which it is shows in the delay that is named, and in whether
one request alone, after a pause, is refused as well. Pure.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from math import comb, log
from typing import Final

from batch.limits.gate import Closing

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
#: The rate that is accepted is measured over so many requests, and over so long at least.
_MEASURED_REQUESTS: Final = 20
_MEASURED_SECONDS: Final = 1.0
#: Fewer tell nothing of a quota: another run may have used it up.
_TELLING_REQUESTS: Final = 5
#: A longer delay is named by who counts over a minute: then what was accepted in the last one is the quota.
_OF_A_MINUTE_SECONDS: Final = 5.0
#: So close to the time at which the first request of the last minute is a minute old, a delay means that.
_ABOUT: Final = 0.2
#: A pace is held just below what was accepted; one on trial further, so that a limiter that fills up gets room again.
_BELOW: Final = 0.95
_ON_TRIAL: Final = 0.9
#: Share by which a first guess grows per second, until that is refused.
_GUESS_PER_SECOND: Final = 0.04
#: Share regained per second below that, and tried per second above it.
_BACK_PER_SECOND: Final = 0.02
_BEYOND_PER_SECOND: Final = 0.005
#: So far above it without more refusals, it has grown: then more is tried quickly.
_GROWN: Final = 1.15
_PATIENCE_SECONDS: Final = 60.0
_MOST_PATIENCE_SECONDS: Final = 600.0
_LONGEST_STEP_SECONDS: Final = 5.0
#: Of about so many requests this share must have waited for the pace, or it was something else that held the run back.
_LAST_REQUESTS: Final = 10
_HELD_BACK: Final = 0.7
#: What an earlier run found is doubled for every six hours that it is old, and forgotten after a day.
_HALF_LIFE_SECONDS: Final = 6 * 3600.0
_FADED: Final = 16.0
#: When it is tried again and refused below so many times of it, it is still true.
_FAR_BEYOND: Final = 1.5
#: The slowest pace: still a request now and then, or a better time would never be noticed.
_SLOWEST_PER_MINUTE: Final = 1.0

#: What share is refused at any pace is not known at first. This is taken for it, as if seen among so many requests
#: (BBR tolerates 2 % of loss); so many of the last count.
_FIRST_SHARE: Final = 0.03
_FIRST_REQUESTS: Final = 20.0
_REMEMBERED_REQUESTS: Final = 300.0
#: So many outcomes are looked at together; so unlikely must their refusals be to be more than what is usual.
_WINDOW: Final = 50
_UNLIKELY: Final = 0.01
_MUCH_BELOW: Final = 0.8
#: More than this share is never taken for usual before a trial has shown it.
_MOST_USUAL: Final = 0.25
#: A trial asks whether refusals have become so much rarer, and ends when one answer is so much likelier (Wald's test).
_RARER: Final = 4.0
_LIKELIER: Final = 12.0
#: Closed at hardly less than what is known: most likely a few that came a moment too early.
_BY_CHANCE: Final = 0.98
#: A refusal among some hundreds is never unusual.
_LEAST_SHARE: Final = 0.002
#: Where less than this is usually refused, one refusal says that what is tried beyond the known pace is too much.
_CLEAN: Final = 0.02


class ConcurrencyLimit:
    """How many requests may be in flight: found between 1 and `most`; with `adaptive` False it is `most`.

    `told`: requests a second that the provider allows by the manifest's word, and those at once.
    """

    def __init__(self, most: int, told: tuple[float, int] | None, *, adaptive: bool) -> None:
        self._most = float(most)
        first = max(_FIRST_SLOTS, told[0] * _USUAL_ANSWER_SECONDS if told is not None else 0.0)
        self._found = min(first, self._most) if adaptive else self._most
        self._adaptive = adaptive
        #: Where the last refusal came; below it growth is quick.
        self._refused_at = self._most
        self._lowered_at = float("-inf")
        self._frozen_until = float("-inf")

    @property
    def now(self) -> int:
        return int(self._found)

    @property
    def are_found(self) -> bool:
        """Whether they no longer double."""
        return self._found >= min(self._refused_at, self._most)

    def answered(self, in_flight: int, now_seconds: float) -> None:
        """After an answer that was no refusal, with so many in flight, itself included: grows only if all were used."""
        if self._adaptive and in_flight >= self.now and now_seconds >= self._frozen_until:
            quicker = 1.0 + (now_seconds - self._lowered_at) / _QUICKER_EVERY_SECONDS
            step = 1.0 if self._found < self._refused_at else min(1.0, quicker / self._found)
            self._found = min(self._most, self._found + step)

    def refused(self, in_flight: int, now_seconds: float) -> None:
        """After the gate closed over requests sent since this was lowered last: halve, once per cause. With most slots
        empty it was not their number that was too high."""
        if not self._adaptive or now_seconds - self._lowered_at < _ONE_CAUSE_SECONDS or 2 * in_flight < self._found:
            return
        self._lowered_at = now_seconds
        self._refused_at = max(1.0, min(self._found, float(in_flight)))
        self._found = max(1.0, self._refused_at / 2)

    def freeze(self, now_seconds: float) -> None:
        """After a 5xx."""
        self._frozen_until = now_seconds + _FROZEN_SECONDS


@dataclass(frozen=True, slots=True)
class Found:
    """What a run found of a model: a pace per minute, and the share that is refused at any pace."""

    per_minute: float
    share: float


@dataclass(slots=True)
class _Trial:
    """Whether fewer are refused at a lower pace than the share that `was`. `evidence` is the logarithm of how much
    likelier that is than that nothing has changed; it begins at 0."""

    was: float
    pace: float | None
    ceiling: float | None
    evidence: float = 0.0
    accepted: int = 0
    refused: int = 0

    def saw(self, *, refused: bool) -> None:
        self.refused += refused
        self.accepted += not refused
        rarer = self.was / _RARER
        self.evidence += log(rarer / self.was) if refused else log((1 - rarer) / (1 - self.was))

    @property
    def pace_is_the_cause(self) -> bool | None:
        """None while that is open."""
        if self.evidence >= log(_LIKELIER):
            return True
        few = self.accepted + self.refused < _MEASURED_REQUESTS
        return None if few or self.evidence > -log(_LIKELIER) else False

    @property
    def share(self) -> float:
        """Of the refusals since it began."""
        return (self.refused + _FIRST_SHARE * _FIRST_REQUESTS) / (self.accepted + self.refused + _FIRST_REQUESTS)


class RatePacer:
    """How many requests of one model may go out per minute, evenly; None while nothing is held back.

    `remembered` is what an earlier run found so many seconds ago; the older it is, the less it holds back.
    """

    def __init__(self, remembered: Found | None = None, age_seconds: float = 0.0) -> None:
        fades = 2.0 ** (age_seconds / _HALF_LIFE_SECONDS)
        remembered = remembered if fades <= _FADED else None
        self.per_minute = remembered.per_minute * fades if remembered is not None else None
        #: What was accepted when it was too much; None: nothing is known of that.
        self._ceiling = self.per_minute / _BELOW if self.per_minute is not None else None
        #: Whether that was measured while nothing was spaced: then it says little of who wants requests spaced.
        self._is_guess = remembered is not None
        self._remembered = remembered
        #: Pace and ceiling before the gate closed last.
        self._before_closing = (self.per_minute, self._ceiling)
        #: Whether the provider has shown that it counts, and does not mind the spacing.
        self._counted = False
        #: Whether it counts over any 60 seconds: each one that was accepted makes room a minute later.
        self._slides = False
        #: When the last minute's requests went out, without the refused ones.
        self._went_out: deque[float] = deque()
        self._next_at = float("-inf")
        self._waited_at = float("-inf")
        #: The share of the last requests that this held back, and not slots or quotas.
        self._held_back = 0.0
        self._began_at: float | None = None
        self._grown_at = float("-inf")
        self._hold_until = float("-inf")
        self._failed_at = float("-inf")
        self._frozen_until = float("-inf")
        self._patience_seconds = _PATIENCE_SECONDS
        #: Outcomes of what was sent since then, True for a refusal; and the share that is refused at any pace.
        self._since = self._set_at = float("-inf")
        self._window: list[bool] = []
        self._usual_share = _FIRST_SHARE if remembered is None else remembered.share
        self._known_requests = _FIRST_REQUESTS
        #: That share as a trial has shown it, or as it is taken for before.
        self._shown_share = _FIRST_SHARE
        self._trial: _Trial | None = None

    @property
    def found(self) -> Found | None:
        """What is worth remembering."""
        if self.per_minute is None or self._trial is not None or self._is_guess:
            return self._remembered
        return Found(self.per_minute, self._usual_share)

    def free_at(self) -> float:
        """When the next may go; monotonic seconds."""
        if self.per_minute is None:
            return float("-inf")
        in_a_minute = int(max(self.per_minute, self._ceiling or 0.0) * (1 - self._usual_share))
        if self._slides and len(self._went_out) >= in_a_minute:
            return max(self._next_at, self._went_out[-in_a_minute] + _MINUTE_SECONDS)
        return self._next_at

    def waited(self, now_seconds: float) -> None:
        """A request waits for this and for nothing else: that is when it may grow."""
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

    def is_tried(self, now_seconds: float) -> bool:
        """Whether this is what holds the run back, and so what a refusal speaks of."""
        waited = now_seconds - self._waited_at <= _LONGEST_STEP_SECONDS
        return self.per_minute is not None and waited and self._held_back >= _HELD_BACK

    def freeze(self, now_seconds: float) -> None:
        """After a 5xx."""
        self._frozen_until = now_seconds + _FROZEN_SECONDS

    def saw(self, went_out_at: float, now_seconds: float, *, refused: bool, may_try: bool) -> str:
        """One that went out then was refused while others were accepted, or was accepted; that lets it grow while it is
        what holds the run back. `may_try`: a lower pace. Returns what was decided, or ""."""
        said = ""
        if went_out_at > self._since:
            self._window.append(refused)
            said = (
                self._judge(now_seconds, refused=refused) if self._trial else self._mind(now_seconds, may_try=may_try)
            )
        if not refused:
            since = min(_LONGEST_STEP_SECONDS, now_seconds - self._grown_at)
            self._grown_at = now_seconds
            if self._trial is None and self.is_tried(now_seconds) and now_seconds >= self._frozen_until and since > 0:
                self._grow(since, now_seconds)
        return said

    def refused(self, went_out_at: float) -> None:
        """One that went out then was refused; whether that tells anything is decided later."""
        if went_out_at in self._went_out:
            self._went_out.remove(went_out_at)

    def _mind(self, now_seconds: float, *, may_try: bool) -> str:
        """One more outcome, and no trial that would explain it."""
        refused, seen = sum(self._window), len(self._window)
        chance = _chance(refused, seen, max(self._usual_share, _LEAST_SHARE)) if self._window[-1] else 1.0
        tried_beyond = self._beyond and self.is_tried(now_seconds)
        if tried_beyond and self._window[-1] and (self._usual_share < _CLEAN or chance < _UNLIKELY):
            return self._back(now_seconds)
        may_try |= self.per_minute is not None or refused > _MOST_USUAL * seen
        may_try &= not tried_beyond and not self._counted and seen >= _TELLING_REQUESTS
        if may_try and chance < (_UNLIKELY if seen >= _WINDOW else _UNLIKELY / 20):
            return self._try(now_seconds)
        if seen >= _WINDOW:
            self._learn(refused, seen, may_rise=not tried_beyond and chance >= _UNLIKELY)
            self._window.clear()
        return ""

    def _learn(self, refused: int, seen: int, *, may_rise: bool) -> None:
        """What is refused at any pace: less at once; more if chance explains it, and much more only if a trial has
        shown it, or if there is nothing else that it could be."""
        is_shown = self._ceiling is None or self._counted or self._shown_share > _FIRST_SHARE
        if refused > self._usual_share * seen and not may_rise:
            return
        self._known_requests = min(_REMEMBERED_REQUESTS, self._known_requests + seen)
        self._usual_share += (refused - seen * self._usual_share) / self._known_requests
        if not is_shown:
            self._usual_share = min(self._usual_share, _FIRST_SHARE)

    def closed(self, closing: Closing, now_seconds: float) -> str:
        """The gate was closed, and all that was sent then was refused. Returns what was decided, or ""."""
        if closing.alone and closing.at - closing.first_at > _ONE_CAUSE_SECONDS:
            self.per_minute, self._ceiling = self._before_closing
            self._trial = None
            return "as before the gate closed: after a minute without requests it is not their number"
        accepted = [each for each in self._went_out if closing.first_at - _MINUTE_SECONDS < each <= closing.first_at]
        if not self._tells(len(accepted), closing.at):
            return ""
        named_seconds = closing.seconds if closing.told else 0.0
        left_seconds = accepted[0] + _MINUTE_SECONDS - closing.first_at
        slides = abs(named_seconds - left_seconds) <= _ABOUT * left_seconds
        was_counted = self._counted
        self._counted |= slides or closing.alone or named_seconds > _OF_A_MINUTE_SECONDS
        if was_counted and closing.alone:
            return ""  # for the same cause
        if not closing.alone:
            self._before_closing = (self.per_minute, self._ceiling)
        self._trial = None
        self._hold(now_seconds)
        if not self._counted:
            self._usual_share = min(self._usual_share, self._shown_share)
            self._is_guess = self._ceiling is None
            self._ceiling = self._measured(closing.at)
            return self._set(_ON_TRIAL * self._ceiling, now_seconds, "the gate closed")
        self._is_guess = False
        if slides or named_seconds <= _OF_A_MINUTE_SECONDS:
            self._slides = self._slides or slides or (closing.alone and not closing.told)
        else:
            self._slides = False
        rate = len(accepted) / (1 - self._usual_share)
        known = self._ceiling
        if known is not None and _ON_TRIAL * known <= rate <= _GROWN * known:
            rate = min(known, max(rate, _BY_CHANCE * known))
        self._ceiling = rate
        words = "the gate closed, and no more than this went in a minute"
        return self._set(_BELOW * self._ceiling, now_seconds, words)

    # ---- growing

    @property
    def _beyond(self) -> bool:
        """Whether more is tried than is known to be accepted."""
        if self.per_minute is None or self._ceiling is None:
            return False
        return self._is_guess or self.per_minute > self._ceiling * _BELOW

    @property
    def _is_quick(self) -> bool:
        """Whether so much more was accepted that it is no matter of a few per cent any more."""
        assert self.per_minute is not None
        assert self._ceiling is not None
        return self._is_guess or self.per_minute > self._ceiling * _GROWN

    def _grow(self, seconds: float, now_seconds: float) -> None:
        assert self.per_minute is not None
        assert self._ceiling is not None
        near = self._ceiling * _BELOW
        if self._is_guess:
            self.per_minute += self.per_minute * _GUESS_PER_SECOND * seconds
        elif self.per_minute < near:
            self.per_minute = min(near, self.per_minute + self._ceiling * _BACK_PER_SECOND * seconds)
        elif now_seconds >= self._hold_until:
            share = _BACK_PER_SECOND if self._is_quick else _BEYOND_PER_SECOND / (2 if self._counted else 1)
            self.per_minute += self.per_minute * share * seconds

    def _back(self, now_seconds: float) -> str:
        """What was tried beyond the ceiling is too much."""
        self._hold(now_seconds)
        assert self.per_minute is not None
        assert self._ceiling is not None
        tried = self.per_minute * (_BELOW if self._counted or self._is_quick else 1.0)
        known = self._remembered is not None and tried < _FAR_BEYOND * self._ceiling
        self._ceiling = tried if self._is_quick and not known else min(self._ceiling, tried)
        self._is_guess, self._remembered = False, None
        return self._set(_ON_TRIAL * self._ceiling, now_seconds, "more was tried and refused")

    def _hold(self, now_seconds: float) -> None:
        """Try no more for a while, and for longer if trying has just failed again."""
        if self._beyond and now_seconds - self._failed_at > _PATIENCE_SECONDS:
            self._patience_seconds = min(_MOST_PATIENCE_SECONDS, 2 * self._patience_seconds)
        elif not self._beyond:
            self._patience_seconds = _PATIENCE_SECONDS
        self._failed_at = now_seconds
        self._hold_until = now_seconds + self._patience_seconds

    # ---- judging

    def _try(self, now_seconds: float) -> str:
        """More is refused than usual: lower the pace, and see whether that helps."""
        refused, seen = sum(self._window), len(self._window)
        share = (refused + self._usual_share * _FIRST_REQUESTS) / (seen + _FIRST_REQUESTS)  # few are not believed
        self._trial = _Trial(share, self.per_minute, self._ceiling)
        self._hold(now_seconds)
        self._is_guess = self._ceiling is None
        self._ceiling = self._measured(now_seconds)
        below = _MUCH_BELOW if self._trial.pace is None or self._is_guess else _ON_TRIAL
        return self._set(below * self._ceiling, now_seconds, "refusals are more than usual")

    def _set(self, per_minute: float, now_seconds: float, why: str) -> str:
        before = "free" if self.per_minute is None else f"{self.per_minute:.0f}"
        share = self._recent_share
        self.per_minute = max(_SLOWEST_PER_MINUTE, per_minute)
        self._since = self._set_at = self._grown_at = now_seconds
        self._next_at = max(self._next_at, now_seconds)
        self._window.clear()
        return f"{before} -> {self.per_minute:.0f} a minute: {why} ({share:.0%} of the last were refused)"

    def _judge(self, now_seconds: float, *, refused: bool) -> str:
        assert self._trial is not None
        self._trial.saw(refused=refused)
        cause = self._trial.pace_is_the_cause
        if cause is None:
            return ""
        trial, self._trial = self._trial, None
        figures = f"{trial.was:.0%} were refused before, {trial.refused} of {trial.accepted + trial.refused} since"
        if not cause and _chance(trial.refused, trial.accepted + trial.refused, trial.was) < _UNLIKELY:
            self._trial = replace(trial, was=(trial.was + trial.share) / 2, evidence=0.0, accepted=0, refused=0)
            self._ceiling = self._measured(now_seconds)
            return self._set(_MUCH_BELOW * self._ceiling, now_seconds, f"still too much; {figures}")
        if cause:
            self._shown_share = trial.share
            self._usual_share = min(self._usual_share, trial.share)
            return f"{self.per_minute:.0f} a minute is kept: {figures}"
        self._usual_share = self._shown_share = trial.share
        self._known_requests = _FIRST_REQUESTS + trial.refused + trial.accepted
        self.per_minute, self._ceiling, self._remembered = trial.pace, trial.ceiling, None
        pace = "free" if self.per_minute is None else f"{self.per_minute:.0f} a minute again"
        return f"{pace}: the pace is not the cause; {figures}"

    @property
    def _recent_share(self) -> float:
        return sum(self._window) / len(self._window) if self._window else 0.0

    def _tells(self, accepted: float, now_seconds: float) -> bool:
        """Whether what was accepted in the last minute says what the quota is; nothing at all never does."""
        began_at = self._began_at if self._began_at is not None else now_seconds
        return accepted >= _TELLING_REQUESTS or (accepted > 0 and now_seconds - began_at >= _MINUTE_SECONDS)

    def _measured(self, at: float) -> float:
        """Requests per minute before then by which as many are accepted as the last ones were, since the pace was set
        last."""
        times = [each for each in self._went_out if self._set_at < each <= at]
        if len(times) < _TELLING_REQUESTS:
            return (self.per_minute or _SLOWEST_PER_MINUTE) / 2
        last = times[-_MEASURED_REQUESTS - 1 :]
        if len(last) <= _MEASURED_REQUESTS and self._set_at > float("-inf"):
            last = [self._set_at, *last]
        accepted = (len(last) - 1) * _MINUTE_SECONDS / max(_MEASURED_SECONDS, last[-1] - last[0])
        return max(_SLOWEST_PER_MINUTE, accepted / (1 - self._usual_share))


def _chance(least: int, of: int, share: float) -> float:
    """How likely at least so many of so many are, each by that share."""
    below = sum(comb(of, number) * share**number * (1 - share) ** (of - number) for number in range(least))
    return 1.0 - below
