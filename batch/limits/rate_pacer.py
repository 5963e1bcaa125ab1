"""How many requests a minute a provider takes, found by trying.

Nothing is held back until the gate closes or refusals are more than usual. Then requests leave at a little less than
what was accepted, and a trial asks whether fewer are refused so. If so the pace was the cause: it is kept, and more is
tried now and then. If not, refusals have nothing to do with it, and all is as it was. The rate that was accepted is the
measure (BBR's idea), never a single refusal.

Limiters differ in what a closed gate means. Some count over a minute: the requests of the last one that were accepted
are the quota, and how they are spaced does not matter. Others want them spaced (a leaky bucket, as nginx has): the
rate that was accepted in the last seconds is the quota. Which it is shows in the delay that is named, and in whether
one request alone, after a pause, is refused as well. Pure.

Each number that decides stands at the top of its file with its reason. Those without a source were chosen among
simulated limiters (`python -m benchmarks pace`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from batch.limits.accepted_requests import MINUTE_SECONDS, TELLING_REQUESTS, AcceptedRequests
from batch.limits.concurrency_limit import FROZEN_SECONDS
from batch.limits.gate import Closing
from batch.limits.rate_spacing import RateSpacing
from batch.limits.rate_trial import RateTrial, chance_of

#: A longer delay is named by who counts over a minute: then what was accepted in the last one is the quota. Who spaces
#: requests names the time until the next one, 1 or 2 s where `Retry-After` has no fractions.
_OF_A_MINUTE_SECONDS: Final = 5.0
#: So unlikely must it be that requests sent alone, after a pause, were refused by chance: the usual level of a test.
_ALONE_BY_CHANCE: Final = 0.05
#: So close to the time at which the first request of the last minute is a minute old, a delay means that; delays are
#: named in whole seconds, and clocks differ.
_ABOUT: Final = 0.2
#: A pace is held just below what was accepted; one on trial further, so that a limiter that fills up gets room again.
_BELOW: Final = 0.95
_ON_TRIAL: Final = 0.9
#: Share by which a first guess grows per second, until that is refused: it doubles in 18 s.
_GUESS_PER_SECOND: Final = 0.04
#: Share regained per second below that: a tenth, as much as was taken off, in 5 s. And tried per second above it, so
#: slowly that a bucket that leaks is passed by one request or two before it refuses.
_BACK_PER_SECOND: Final = 0.02
_BEYOND_PER_SECOND: Final = 0.005
#: So far above it without more refusals, it has grown: then more is tried quickly.
_GROWN: Final = 1.15
#: After a failure more is tried a minute later, when every count is new; after repeated ones later, but a quota that
#: rose is not to be missed for long.
_MOST_PATIENCE_SECONDS: Final = 120.0
#: Nothing grows for a time in which nothing was sent, beyond this.
_LONGEST_STEP_SECONDS: Final = 5.0
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
#: So many outcomes are looked at together: enough to tell 3 % from 10 %. So unlikely must their refusals be to be more
#: than what is usual; a false alarm costs a trial of some tens of requests at a lower pace.
_WINDOW: Final = 50
_UNLIKELY: Final = 0.01
#: A pace that is tried although none was known: what was measured then is less sure.
_MUCH_BELOW: Final = 0.8
#: More than this share is never taken for usual before a trial has shown it.
_MOST_USUAL: Final = 0.25
#: Closed at hardly less than what is known: most likely a few that came a moment too early.
_BY_CHANCE: Final = 0.98
#: A refusal among some hundreds is never unusual.
_LEAST_SHARE: Final = 0.002
#: Where less than this is usually refused, one refusal says that what is tried beyond the known pace is too much.
_CLEAN: Final = 0.02


@dataclass(frozen=True, slots=True)
class Found:
    """What a run found of a model: a pace per minute, and the share that is refused at any pace."""

    per_minute: float
    share: float


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
        self._accepted = AcceptedRequests()
        self._spacing = RateSpacing()
        self._grown_at = float("-inf")
        self._hold_until = float("-inf")
        self._failed_at = float("-inf")
        self._frozen_until = float("-inf")
        self._patience_seconds = MINUTE_SECONDS
        #: Outcomes of what was sent since then, True for a refusal; and the share that is refused at any pace.
        self._since = self._set_at = float("-inf")
        self._window: list[bool] = []
        self._usual_share = _FIRST_SHARE if remembered is None else remembered.share
        self._known_requests = _FIRST_REQUESTS
        #: That share as a trial has shown it, or as it is taken for before.
        self._shown_share = _FIRST_SHARE
        self._trial: RateTrial | None = None

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
        room_at = self._accepted.minute_has_room_at(in_a_minute) if self._slides else float("-inf")
        return max(self._spacing.next_at, room_at)

    def waited(self, now_seconds: float) -> None:
        """A request waits for this and for nothing else: that is when it may grow."""
        self._spacing.waited(now_seconds)

    def go(self, now_seconds: float) -> None:
        """One goes out."""
        self._accepted.went_out(now_seconds)
        if self.per_minute is not None:
            self._spacing.went_out(MINUTE_SECONDS / self.per_minute, now_seconds)

    def is_tried(self, now_seconds: float) -> bool:
        """Whether this is what holds the run back, and so what a refusal speaks of."""
        return self.per_minute is not None and self._spacing.holds_back(now_seconds)

    def freeze(self, now_seconds: float) -> None:
        """After a 5xx."""
        self._frozen_until = now_seconds + FROZEN_SECONDS

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
        self._accepted.was_refused(went_out_at)

    def _mind(self, now_seconds: float, *, may_try: bool) -> str:
        """One more outcome, and no trial that would explain it."""
        refused, seen = sum(self._window), len(self._window)
        chance = chance_of(refused, seen, max(self._usual_share, _LEAST_SHARE)) if self._window[-1] else 1.0
        tried_beyond = self._beyond and self.is_tried(now_seconds)
        if tried_beyond and self._window[-1] and (self._usual_share < _CLEAN or chance < _UNLIKELY):
            return self._back(now_seconds)
        may_try |= self.per_minute is not None or refused > _MOST_USUAL * seen
        may_try &= not tried_beyond and not self._counted and seen >= TELLING_REQUESTS
        # A pace can be lowered only from one that is known.
        may_try &= self.per_minute is not None or self._accepted.per_minute(self._set_at, now_seconds) is not None
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

    # ---- the gate

    def closed(self, closing: Closing, now_seconds: float) -> str:
        """The gate was closed, and all that was sent then was refused. Returns what was decided, or ""."""
        if closing.alone and closing.at - closing.first_at > MINUTE_SECONDS:
            self.per_minute, self._ceiling = self._before_closing
            self._trial = None
            return "as before the gate closed: after a minute without requests it is not their number"
        accepted = self._accepted.of_the_minute_before(closing.first_at)
        if not self._accepted.tell_a_quota(len(accepted), closing.at):
            return ""
        was_counted = self._counted
        self._note_how_it_counts(closing, accepted[0] + MINUTE_SECONDS - closing.first_at)
        if closing.alone and was_counted is self._counted:
            return ""  # for the same cause
        if not closing.alone:
            self._before_closing = (self.per_minute, self._ceiling)
        self._trial = None
        self._hold(now_seconds)
        if not self._counted:
            return self._space(closing, now_seconds)
        return self._hold_to_count(
            len(accepted), now_seconds, "the gate closed, and no more than this went in a minute"
        )

    def _note_how_it_counts(self, closing: Closing, left_seconds: float) -> None:
        """Whether over a minute, and over which; `left_seconds` until the first request of the last one is a minute
        old."""
        named_seconds = closing.seconds if closing.told else 0.0
        slides = abs(named_seconds - left_seconds) <= _ABOUT * left_seconds
        alone = closing.alone > 0 and self._usual_share**closing.alone < _ALONE_BY_CHANCE
        self._counted |= slides or alone or named_seconds > _OF_A_MINUTE_SECONDS
        if slides or named_seconds <= _OF_A_MINUTE_SECONDS:
            self._slides = self._slides or slides or (alone and not closing.told)
        elif self._counted:
            self._slides = False

    def _space(self, closing: Closing, now_seconds: float) -> str:
        """It wants requests spaced, as far as is known: at the rate of the last that were accepted."""
        self._usual_share = min(self._usual_share, self._shown_share)
        self._is_guess = self._ceiling is None
        self._ceiling = self._measured(closing.at)
        return self._set(_ON_TRIAL * self._ceiling, now_seconds, "the gate closed")

    def _hold_to_count(self, accepted: float, now_seconds: float, why: str) -> str:
        """So many were accepted in the last minute: that is the quota."""
        self._is_guess = False
        rate, known = accepted / (1 - self._usual_share), self._ceiling
        if known is not None and _ON_TRIAL * known <= rate <= _GROWN * known:
            rate = min(known, max(rate, _BY_CHANCE * known))
        self._ceiling = rate
        return self._set(_BELOW * self._ceiling, now_seconds, why)

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
        if self._counted:
            self._remembered = None
            in_a_minute = len(self._accepted.of_the_minute_before(now_seconds))
            least = _ON_TRIAL * self._ceiling * (1 - self._usual_share)  # a pause leaves fewer than there may be
            return self._hold_to_count(max(in_a_minute, least), now_seconds, "more was tried and refused")
        tried = self.per_minute * (_BELOW if self._is_quick else 1.0)
        known = self._remembered is not None and tried < _FAR_BEYOND * self._ceiling
        self._ceiling = tried if self._is_quick and not known else min(self._ceiling, tried)
        self._is_guess, self._remembered = False, None
        return self._set(_ON_TRIAL * self._ceiling, now_seconds, "more was tried and refused")

    def _hold(self, now_seconds: float) -> None:
        """Try no more for a while, and for longer if trying has just failed again."""
        if self._beyond and now_seconds - self._failed_at > MINUTE_SECONDS:
            self._patience_seconds = min(_MOST_PATIENCE_SECONDS, 2 * self._patience_seconds)
        elif not self._beyond:
            self._patience_seconds = MINUTE_SECONDS
        self._failed_at = now_seconds
        self._hold_until = now_seconds + self._patience_seconds

    # ---- judging

    def _try(self, now_seconds: float) -> str:
        """More is refused than usual: lower the pace, and see whether that helps."""
        refused, seen = sum(self._window), len(self._window)
        share = (refused + self._usual_share * _FIRST_REQUESTS) / (seen + _FIRST_REQUESTS)  # few are not believed
        self._trial = RateTrial(share, self.per_minute, self._ceiling)
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
        self._spacing.begin(now_seconds)
        self._window.clear()
        return f"{before} -> {self.per_minute:.0f} a minute: {why} ({share:.0%} of the last were refused)"

    def _judge(self, now_seconds: float, *, refused: bool) -> str:
        assert self._trial is not None
        self._trial.saw(refused=refused)
        cause = self._trial.pace_is_the_cause
        if cause is None:
            return ""
        trial, self._trial = self._trial, None
        figures = f"{trial.was:.0%} were refused before, {trial.refused} of {trial.seen} since"
        if not cause and chance_of(trial.refused, trial.seen, trial.was) < _UNLIKELY:
            self._trial = replace(trial, was=(trial.was + _share(trial)) / 2, evidence=0.0, accepted=0, refused=0)
            self._ceiling = self._measured(now_seconds)
            return self._set(_MUCH_BELOW * self._ceiling, now_seconds, f"still too much; {figures}")
        if cause:
            self._shown_share = _share(trial)
            self._usual_share = min(self._usual_share, self._shown_share)
            return f"{self.per_minute:.0f} a minute is kept: {figures}"
        self._usual_share = self._shown_share = _share(trial)
        self._known_requests = _FIRST_REQUESTS + trial.seen
        self.per_minute, self._ceiling, self._remembered = trial.pace, trial.ceiling, None
        pace = "free" if self.per_minute is None else f"{self.per_minute:.0f} a minute again"
        return f"{pace}: the pace is not the cause; {figures}"

    @property
    def _recent_share(self) -> float:
        return sum(self._window) / len(self._window) if self._window else 0.0

    def _measured(self, at: float) -> float:
        """Requests per minute before then by which as many are accepted as the last ones were, since the pace was set
        last."""
        accepted = self._accepted.per_minute(self._set_at, at)
        if accepted is None:
            return (self.per_minute or _SLOWEST_PER_MINUTE) / 2
        return max(_SLOWEST_PER_MINUTE, accepted / (1 - self._usual_share))


def _share(trial: RateTrial) -> float:
    """Of the refusals since the trial began."""
    return (trial.refused + _FIRST_SHARE * _FIRST_REQUESTS) / (trial.seen + _FIRST_REQUESTS)
