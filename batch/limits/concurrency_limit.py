"""How many requests may be in flight, found by trying.

It begins low and doubles per round of answers until a limit shows, as TCP does, and is halved when the gate closes
although the pace held nothing back. Pure.
"""

from __future__ import annotations

from typing import Final

from batch.limits.accepted_requests import MINUTE_SECONDS

#: So many at once at first; published advice for this API is two to four.
_FIRST_SLOTS: Final = 4.0
#: Above the number at which the last refusal came: one more per round, and one more for so long without a refusal.
_QUICKER_EVERY_SECONDS: Final = 10.0
#: Answers of a few seconds to a minute are usual: a quota that was named needs so many at once from the start.
_USUAL_ANSWER_SECONDS: Final = 15.0
#: After the provider could not serve, nothing grows for so long: that was no word about quotas.
FROZEN_SECONDS: Final = 30.0


class ConcurrencyLimit:
    """How many requests may be in flight: found between 1 and `most`; with `adaptive` False it is `most`.

    `told`: requests a second that the provider allows by the manifest's word, and those at once. `first_slots`: it
    begins with so many, if that is more than usual.
    """

    def __init__(self, most: int, told: tuple[float, int] | None, *, adaptive: bool, first_slots: int = 0) -> None:
        self._most = float(most)
        first = max(_FIRST_SLOTS, first_slots, told[0] * _USUAL_ANSWER_SECONDS if told is not None else 0.0)
        self._found = min(first, self._most) if adaptive else self._most
        self._adaptive = adaptive
        #: Where the last refusal came; below it growth is quick.
        self._refused_at = float("inf")
        self._lowered_at = float("-inf")
        self._frozen_until = float("-inf")

    @property
    def now(self) -> int:
        return int(self._found)

    def reconfigure(self, most: int, *, adaptive: bool) -> None:
        """From now on so many are allowed; what was found is kept, below that."""
        self._most, self._adaptive = float(most), adaptive
        self._found = min(self._found, self._most) if adaptive else self._most

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
        """After the gate closed over requests sent since this was lowered last: halve, once per cause; a quota
        of a minute refuses for up to a minute. With most slots empty it was not their number that was too high."""
        if not self._adaptive or now_seconds - self._lowered_at < MINUTE_SECONDS or 2 * in_flight < self._found:
            return
        self._lowered_at = now_seconds
        self._refused_at = max(1.0, min(self._found, float(in_flight)))
        self._found = max(1.0, self._refused_at / 2)

    def freeze(self, now_seconds: float) -> None:
        """After a 5xx."""
        self._frozen_until = now_seconds + FROZEN_SECONDS
