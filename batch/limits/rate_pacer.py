"""How many requests a minute a provider takes, found by trying.

The measure is the rate of the requests that were accepted while others were refused (BBR's idea), never a single
refusal. Nothing is held back until the gate closes or refusals are more than usual. From then on requests leave evenly:

* `ceiling` is the rate that was accepted when it was too much. The pace begins at nine tenths of it, comes back to it
  within some tens of seconds, stays near it, and then tries more, ever faster (the curve of TCP CUBIC, RFC 9438).
  When that is refused, what was accepted by then is the new ceiling.
* While nothing was spaced yet the measure is a guess: then the pace doubles every few seconds until that is refused.
* If more is refused than usual below the ceiling, a trial asks whether fewer are refused at a lower pace. If so, the
  pace was the cause, and the lower one is kept. If not, refusals have nothing to do with it, and all is as it was.

A gate that was closed for more than a few seconds speaks of a count over a minute. From then on the measure is what was
accepted in the last minute, and no more than that goes out in any minute. Otherwise it is the rate of the last twenty
that were accepted, for some limiters want requests spaced (a leaky bucket, as nginx has). Pure.

Runs with one key at once share one pace (`LivePace`): each request takes the next turn of all of them, and the newest
decision holds for all.

Each number that decides stands at the top of its file with its reason. Those without a source were chosen among
simulated limiters (`python -m benchmarks pace`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from batch.limits.accepted_requests import MINUTE_SECONDS, AcceptedRequests
from batch.limits.concurrency_limit import FROZEN_SECONDS
from batch.limits.gate import Closing
from batch.limits.live_pace import AllSent, LivePace
from batch.limits.rate_spacing import RateSpacing
from batch.limits.rate_trial import RateTrial
from batch.limits.refusal_share import FIRST_SHARE, MOST_SHARE, RefusalShare

#: A limiter that spaces requests serves the next in 1 or 2 s, where `Retry-After` has no fractions. A gate that stays
#: closed for longer, all probes refused, was closed by a count over a minute.
_OF_A_MINUTE_SECONDS: Final = 3.0
#: The pace after a refusal, as a part of the ceiling: a limiter that fills up gets room again.
_LOWERED: Final = 0.9
#: So long it takes back to the ceiling. After twice that, 10 % more is tried, after three times 80 %: a quota that
#: doubled is used within two minutes and a half.
_RECOVERY_SECONDS: Final = 40.0
#: A guess doubles in so long.
_DOUBLES_SECONDS: Final = 12.0
#: What an earlier run found is doubled for every six hours that it is old, and forgotten after a day.
_HALF_LIFE_SECONDS: Final = 6 * 3600.0
_FORGOTTEN_SECONDS: Final = 24 * 3600.0
#: The slowest pace: still a request now and then, or a better time would never be noticed.
_SLOWEST_PER_MINUTE: Final = 1.0
#: So many outcomes are looked at together: enough to tell 3 % from 10 %. So unlikely must their refusals be to be more
#: than what is usual; a false alarm costs a trial of some tens of requests at a lower pace.
_WINDOW: Final = 50
_UNLIKELY: Final = 0.01
#: Where less than this is usually refused, as after 40 requests without a refusal, one refusal says that what is tried
#: beyond the ceiling is too much.
_CLEAN: Final = 0.01


@dataclass(frozen=True, slots=True)
class Found:
    """What a run found of a model: a pace per minute, and the share that is refused at any pace."""

    per_minute: float
    share: float


@dataclass(frozen=True, slots=True)
class _Course:
    """How the pace goes on from `ceiling`; None: nothing is held back. `is_guess`: it was measured while nothing was
    spaced."""

    ceiling: float | None = None
    is_guess: bool = False

    def per_minute(self, tried_seconds: float) -> float | None:
        """After it has held the run back for so long."""
        if self.ceiling is None:
            return None
        if self.is_guess:
            return self.ceiling * _LOWERED * float(2 ** (tried_seconds / _DOUBLES_SECONDS))
        return self.ceiling * (1 + (1 - _LOWERED) * (tried_seconds / _RECOVERY_SECONDS - 1) ** 3)


class RatePacer:
    """How many requests of one model may go out per minute, evenly; None while nothing is held back.

    `remembered` is what an earlier run found so many seconds ago; the older it is, the less it holds back.
    """

    def __init__(self, remembered: Found | None = None, age_seconds: float = 0.0) -> None:
        self._remembered = remembered if age_seconds <= _FORGOTTEN_SECONDS else None
        self._course = _Course()
        #: For so long it has held the run back since it was set.
        self._tried_seconds = 0.0
        #: What is refused at any pace; `_shown_share` as a trial has shown it, or as it is taken for before.
        self._usual = RefusalShare()
        self._shown_share = FIRST_SHARE
        if self._remembered is not None:
            fades = 2.0 ** (age_seconds / _HALF_LIFE_SECONDS)
            self._course = _Course(self._remembered.per_minute * fades)
            self._tried_seconds = _RECOVERY_SECONDS  # all of it, and more is tried at once
            self._usual = RefusalShare(self._remembered.share)
        #: Whether the provider has shown that it counts over a minute; then spacing is no matter.
        self._counts = False
        #: As it was before the gate closed last.
        self._before_closing = self._course
        self._set_at = float("-inf")
        #: When a run decided how the course goes on; 0 for none.
        self._decided_at = 0.0
        self._frozen_until = float("-inf")
        self._accepted = AcceptedRequests()
        self._spacing = RateSpacing()
        #: Outcomes of what was sent since it was set, True for a refusal.
        self._window: list[bool] = []
        self._trial: RateTrial | None = None
        self._before_trial = self._course
        self._all_sent = AllSent()
        #: Whether another run tries a lower pace.
        self._is_tried_elsewhere = False

    @property
    def per_minute(self) -> float | None:
        """The pace now."""
        pace = self._course.per_minute(self._tried_seconds)
        return None if pace is None else max(_SLOWEST_PER_MINUTE, pace)

    @property
    def found(self) -> Found | None:
        """What is worth remembering."""
        if self._course.ceiling is None or self._course.is_guess or self._trial is not None:
            return self._remembered
        return Found(max(_SLOWEST_PER_MINUTE, self._course.ceiling), self._usual.now)

    # ---- other runs with the key

    @property
    def has_just_gone(self) -> bool:
        """Whether this run had the last turn, and others are on."""
        return self._all_sent.was_own and self._all_sent.for_one_of_last() > 1

    def live(self, now_seconds: float) -> LivePace:
        """What other runs have to know."""
        return LivePace(
            ceiling=self._course.ceiling,
            is_guess=self._course.is_guess,
            counts=self._counts,
            in_trial=self._trial is not None or self._is_tried_elsewhere,
            share=self._usual.now,
            tried_seconds=self._tried_seconds,
            decided_at=self._decided_at,
            next_at=max(self._spacing.next_at, now_seconds),
            sent=self._all_sent.number,
        )

    def join(self, live: LivePace | None, now_seconds: float) -> None:
        """Go on as the other runs do."""
        if live is None or not live.is_on(now_seconds):
            return
        if live.decided_at > self._decided_at:
            self._adopt(live)
        if live.decided_at == self._decided_at:
            self._tried_seconds = max(self._tried_seconds, live.tried_seconds)
        self._spacing.next_at = max(self._spacing.next_at, live.next_at)
        self._all_sent.join(live.sent)
        are_others = self._all_sent.for_one_of_last() > 1
        self._is_tried_elsewhere = live.in_trial and self._trial is None and are_others

    def _adopt(self, live: LivePace) -> None:
        self._course, self._trial = _Course(live.ceiling, live.is_guess), None
        self._set_at = self._decided_at = live.decided_at
        self._tried_seconds, self._counts = live.tried_seconds, live.counts
        self._usual = RefusalShare(live.share)
        self._shown_share = max(FIRST_SHARE, live.share)
        self._window.clear()

    # ---- requests

    def free_at(self) -> float:
        """When the next may go; monotonic seconds."""
        pace = self.per_minute
        if pace is None or self._course.ceiling is None:
            return float("-inf")
        if not self._counts:
            return self._spacing.next_at
        in_a_minute = max(pace, self._course.ceiling) * (1 - self._usual.now)
        # Turns are even, so a run that began after the others may have half of them whatever it had before.
        own = in_a_minute / min(2.0, self._all_sent.for_one_of_minute())
        return max(self._spacing.next_at, self._accepted.minute_has_room_at(max(1, int(own))))

    def go(self, now_seconds: float) -> None:
        """One goes out."""
        self._accepted.went_out(now_seconds)
        self._all_sent.went_out(now_seconds)
        pace = self.per_minute
        if pace is None:
            return
        has_waited = self._spacing.went_out(MINUTE_SECONDS / pace, now_seconds)
        is_in_trial = self._trial is not None or self._is_tried_elsewhere
        if has_waited and not is_in_trial and self.is_tried and now_seconds >= self._frozen_until:
            self._tried_seconds += MINUTE_SECONDS / pace

    @property
    def is_tried(self) -> bool:
        """Whether this is what holds the run back, and so what a refusal speaks of."""
        return self._course.ceiling is not None and self._spacing.holds_back

    def freeze(self, now_seconds: float) -> None:
        """After a 5xx."""
        self._frozen_until = now_seconds + FROZEN_SECONDS

    def refused(self, went_out_at: float) -> None:
        """One that went out then was refused; whether that tells anything is decided later."""
        self._accepted.was_refused(went_out_at)

    def saw(self, went_out_at: float, now_seconds: float, *, refused: bool, may_try: bool) -> str:
        """One that went out then was refused while others were accepted, or was accepted. `may_try`: a lower pace.
        Returns what was decided, or ""."""
        if went_out_at <= self._set_at:
            return ""
        self._window.append(refused)
        if self._trial is not None:
            return self._judge(self._trial, now_seconds, refused=refused)
        said = self._mind(now_seconds, may_try=may_try) if refused else ""
        if len(self._window) >= _WINDOW:
            self._learn()
        return said

    # ---- refusals among requests that are served

    def _mind(self, now_seconds: float, *, may_try: bool) -> str:
        """One more refusal, and no trial that would explain it."""
        refused, seen = sum(self._window), len(self._window)
        is_unusual = self._usual.chance_of(refused, seen) < (_UNLIKELY if seen >= _WINDOW else _UNLIKELY / _WINDOW)
        if self._is_beyond:
            return self._back(now_seconds) if is_unusual or self._usual.now < _CLEAN else ""
        may_try |= self._course.ceiling is not None or refused > MOST_SHARE * seen
        may_try &= is_unusual and not self._counts and not self._is_tried_elsewhere
        return self._try(now_seconds) if may_try else ""

    def _back(self, now_seconds: float) -> str:
        """What was tried beyond the ceiling is too much."""
        assert self.per_minute is not None
        assert self._course.ceiling is not None
        least = self._course.ceiling if self._counts else self.per_minute
        ceiling = max(_LOWERED * least, self._measured(now_seconds) or 0.0)
        return self._set(_Course(ceiling), now_seconds, "more was tried and refused")

    @property
    def _is_beyond(self) -> bool:
        """Whether more is tried than is known to be accepted."""
        if self._course.ceiling is None or not self.is_tried:
            return False
        return self._course.is_guess or self._tried_seconds > _RECOVERY_SECONDS

    def _learn(self) -> None:
        """What is refused at any pace: less at once; more if chance explains it. While there is a pace that it could
        be, no more than a trial has shown: else a pace that grows too high would explain itself."""
        refused, seen = sum(self._window), len(self._window)
        self._window.clear()
        is_rising = refused > self._usual.now * seen
        if is_rising and (self._is_beyond or self._usual.chance_of(refused, seen) < _UNLIKELY):
            return
        self._usual.saw(refused, seen)
        if self._course.ceiling is not None and not self._counts:
            self._usual.now = min(self._usual.now, self._shown_share)

    def _try(self, now_seconds: float) -> str:
        """More is refused than usual: lower the pace, and see whether that helps."""
        ceiling = self._measured(now_seconds)
        if ceiling is None:
            return ""  # a pace can be lowered only from one that is known
        share = self._usual.with_few(sum(self._window), len(self._window))
        self._before_trial = self._course
        is_guess = self._course.ceiling is None
        said = self._set(_Course(ceiling, is_guess), now_seconds, "refusals are more than usual")
        self._trial = RateTrial(share)
        return said

    def _judge(self, trial: RateTrial, now_seconds: float, *, refused: bool) -> str:
        trial.saw(refused=refused)
        if trial.pace_is_the_cause is None:
            return ""
        said = f"{trial.was:.0%} were refused before, {trial.refused} of {trial.seen} since"
        if not trial.pace_is_the_cause and trial.refused > MOST_SHARE * trial.seen:
            ceiling = self._measured(now_seconds) or self.per_minute
            said = self._set(replace(self._course, ceiling=ceiling), now_seconds, f"still too much; {said}")
            self._trial = RateTrial(trial.share)
            return said
        self._trial = None
        self._window.clear()
        self._decided_at = now_seconds
        return f"{self._conclude(trial)}; {said}"

    def _conclude(self, trial: RateTrial) -> str:
        if trial.pace_is_the_cause:
            self._shown_share = min(self._shown_share, trial.share)
            self._usual.now = min(self._usual.now, trial.share)
            return f"{self.per_minute:.0f} a minute is kept"
        self._shown_share = max(FIRST_SHARE, trial.share)
        self._usual = RefusalShare(trial.share)
        self._course, self._remembered = self._before_trial, None
        pace = "free" if self.per_minute is None else f"{self.per_minute:.0f} a minute again"
        return f"{pace}: the pace is not the cause"

    # ---- the gate

    def closed(self, closing: Closing, now_seconds: float) -> str:
        """The gate was closed, and all that was sent then was refused. Returns what was decided, or ""."""
        if closing.alone and closing.at - closing.first_at > MINUTE_SECONDS:
            self._course, self._trial, self._tried_seconds, self._counts = self._before_closing, None, 0.0, False
            self._decided_at = now_seconds
            return "as before the gate closed: after a minute without requests it is not their number"
        has_counted = self._counts
        self._counts |= closing.at + closing.seconds - closing.first_at > _OF_A_MINUTE_SECONDS
        ceiling = self._measured(closing.first_at)
        if closing.alone and has_counted is self._counts and self._course.ceiling is not None:
            self._set_at = now_seconds  # for the same cause; what comes now says what the pace is worth
            return ""
        if ceiling is None:
            return ""
        if not closing.alone:
            self._before_closing = self._course
        is_guess = self._course.ceiling is None and not self._counts
        return self._set(_Course(ceiling, is_guess), now_seconds, "the gate closed")

    def _measured(self, at: float) -> float | None:
        """Requests per minute by which as many are accepted as were before then; None if they were too few to tell."""
        of_a_minute = self._accepted.in_the_minute_before(at)
        accepted = of_a_minute if self._counts else self._accepted.per_minute(self._set_at, at)
        sent = self._all_sent.for_one_of_minute() if self._counts else self._all_sent.for_one_of_last()
        return None if accepted is None else accepted / (1 - self._usual.now) * sent

    def _set(self, course: _Course, now_seconds: float, why: str) -> str:
        before = "free" if self.per_minute is None else f"{self.per_minute:.0f}"
        share = sum(self._window) / len(self._window) if self._window else 0.0
        self._course, self._trial, self._tried_seconds = course, None, 0.0
        self._set_at = self._decided_at = now_seconds
        self._spacing.begin(now_seconds)
        self._window.clear()
        return f"{before} -> {self.per_minute:.0f} a minute: {why} ({share:.0%} of the last were refused)"
