"""Tells one request that was refused from a provider that serves none for now, and then holds all back.

A refusal comes at once and a picture takes long, so a request that was not refused in about twice the time that
refusals take counts as accepted. Refusals in a row, with nothing accepted among what was sent since the first of them,
are held against the share that is refused anyway: when that many by chance are unlikely, the gate closes. Until then
only as many requests are out as would prove it. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, log
from typing import Final

from batch.limits.accepted_requests import MINUTE_SECONDS
from batch.limits.quotas import Need
from batch.limits.refusal_share import MOST_SHARE, RefusalShare

#: So unlikely must a row of refusals be by chance. It takes three at first, two once some tens were accepted, and four
#: where one in ten is refused anyway.
_UNLIKELY: Final = 0.0005
#: A refusal takes some round trips, and a picture several seconds. This is taken for the line between them until a
#: refusal has shown how long refusals take, and then at least the second.
REFUSED_WITHIN_SECONDS: Final = 2.0
_LEAST_SECONDS: Final = 0.25
#: Refusals of one request after the other close the gate longer each time, whatever delay they name. These are a minute
#: in all, after which every quota of a minute is new; what is still refused waits for something slower.
_PAUSES_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0)


@dataclass(frozen=True, slots=True)
class Reservation:
    """One request that was let out, and what it took. `number` counts them, `at` is monotonic seconds, `part` its
    place in the counts."""

    number: int
    model: str
    need: Need
    at: float
    part: int


@dataclass(frozen=True, slots=True)
class Closing:
    """The gate was closed at a time, for so long; `told`: the provider named it. `alone`: how many requests in a row
    were refused that went ahead after a pause; `first_at` is when it was closed before any was refused that way."""

    at: float
    first_at: float
    seconds: float
    told: bool
    alone: int


class Gate:
    """`adaptive`: a refusal among requests that are served, and without a delay, closes it only for a moment."""

    def __init__(self, *, adaptive: bool) -> None:
        self.adaptive = adaptive
        self._undecided: dict[int, Reservation] = {}
        #: The refused ones with nothing accepted after them.
        self._row: list[Reservation] = []
        #: What was decided and not yet asked for.
        self._outcomes: list[tuple[Reservation, bool]] = []
        self._accepted_up_to = 0
        self._ever_accepted = False
        self._share = RefusalShare()
        self._takes_seconds: float | None = None
        self.opens_at = float("-inf")
        self._closings = 0
        self._paused_seconds = 0.0
        self._first_at = float("-inf")
        self._closing: Closing | None = None
        #: Closed by a row of refusals, which an acceptance among what was out then disproves.
        self._by_row = False
        #: Whether any request was served since the gate last closed, and before that.
        self._served = self._among_served = False
        #: After it opened again: whether a probe is still to be sent, and which one is out.
        self._probe_wanted = False
        self._probe: int | None = None

    @property
    def share(self) -> float:
        """What part of the requests is refused while others are accepted."""
        return self._share.now

    @property
    def decided_after_seconds(self) -> float:
        """Who was not refused within this time is taken for accepted."""
        takes = self._takes_seconds
        return REFUSED_WITHIN_SECONDS if takes is None else max(_LEAST_SECONDS, 2 * takes)

    @property
    def is_proven(self) -> bool:
        """Whether refusals in a row cannot be chance any more; the first ones of a run never are."""
        return len(self._row) >= self._needed

    def wait_seconds(self, now: float) -> float:
        """Until the next may go, as far as is known now."""
        if self.opens_at > now:
            return self.opens_at - now
        if self._probe is not None and self._probe in self._undecided:
            return self._undecided[self._probe].at + self.decided_after_seconds - now
        if self._row and not self.is_proven and len(self._row) + len(self._undecided) >= self._needed:
            return next(iter(self._undecided.values())).at + self.decided_after_seconds - now
        return 0.0

    def went_out(self, sent: Reservation) -> None:
        """One more is out."""
        self._undecided[sent.number] = sent
        if self._probe_wanted:
            self._probe_wanted, self._probe = False, sent.number

    def outcomes(self, now: float) -> list[tuple[Reservation, bool]]:
        """What has been decided since this was asked last, and whether it was a refusal. Those of a row that closes
        the gate are no outcomes of a pace, and not among them."""
        after = self.decided_after_seconds
        while self._undecided and (first := next(iter(self._undecided.values()))).at + after <= now:
            self.accepted(first, now)
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def accepted(self, sent: Reservation, now: float) -> None:
        """It was answered, or not refused in time."""
        self._served = True
        if self._undecided.pop(sent.number, None) is not None:
            self._accept(sent, now)

    def forget(self, sent: Reservation) -> None:
        """It ended in a way that tells nothing."""
        self._undecided.pop(sent.number, None)
        self._probe_wanted |= self._probe == sent.number
        self._probe = None if self._probe == sent.number else self._probe

    def refused(self, sent: Reservation, now: float) -> None:
        """It was refused."""
        seconds = now - sent.at
        self._takes_seconds = max(seconds, ((self._takes_seconds or seconds) + seconds) / 2)
        self._undecided.pop(sent.number, None)
        if sent.number > self._accepted_up_to:
            self._row.append(sent)
        else:
            self._count(sent, refused=True)

    def pause_for(self, seconds: float, now: float, *, told: bool, by_row: bool = False) -> float | None:
        """Close it for so long, unless it is closed longer already; returns for how long if that is new.

        `told`: the provider named the time. Where it did not, a refusal among requests that are served says "a little
        too fast": a short pause will do, and a longer one each time the probe after it is refused as well.
        """
        told_again = now < self.opens_at
        alone = self._closings if self._paused_seconds >= _PAUSES_SECONDS[0] else 0
        if not told_again and not self._probe_wanted and self._probe is None:
            self._closings = 0  # the one that went ahead was not refused
            alone = 0
        if not told_again and not self._closings:
            self._among_served, self._served = self._served, False
        if not told and self._among_served and self.adaptive:
            seconds = min(seconds, self._pause_seconds())
        if now + seconds <= self.opens_at:
            return None
        if not told_again:
            seconds = max(seconds, self._pause_seconds() if self._closings else 0.0)
            self._closings += 1
            self._paused_seconds = seconds
            self._first_at = self._first_at if self._closings > 1 else now
            self._closing = Closing(now, self._first_at, seconds, told, alone)
        elif self._closing is not None:
            self._closing = replace(self._closing, seconds=now + seconds - self._closing.at)
        self.opens_at = now + seconds
        self._probe_wanted, self._probe = True, None
        self._by_row = by_row
        return seconds

    def confirmed(self, now: float) -> Closing | None:
        """Once it is open again, and nothing spoke against it: how it was closed by refusals in a row."""
        if self._closing is None or now < self.opens_at:
            return None
        closing, self._closing = self._closing, None
        return closing if self._by_row else None

    @property
    def _needed(self) -> int:
        return ceil(log(_UNLIKELY) / log(min(self._share.now, MOST_SHARE))) if self._ever_accepted else 1

    def _accept(self, sent: Reservation, now: float) -> None:
        self._ever_accepted = self._served = True
        self._count(sent, refused=False)
        self._accepted_up_to = max(self._accepted_up_to, sent.number)
        before = [each for each in self._row if each.number < sent.number]
        self._row = [each for each in self._row if each.number > sent.number]
        if now < self.opens_at and self._by_row and not self.is_proven:
            self.opens_at, self._closing, self._probe_wanted = now, None, False
            self._closings -= 1
        if self._closing is None and not self._closings:
            for single in before:
                self._count(single, refused=True)
        if sent.number == self._probe:
            self._probe, self._closings = None, 0

    def _count(self, sent: Reservation, *, refused: bool) -> None:
        self._outcomes.append((sent, refused))
        self._share.saw(refused, 1)

    def _pause_seconds(self) -> float:
        """The least pause after so many refusals in a row."""
        known = self._closings <= len(_PAUSES_SECONDS)
        return _PAUSES_SECONDS[max(0, self._closings - 1)] if known else MINUTE_SECONDS
