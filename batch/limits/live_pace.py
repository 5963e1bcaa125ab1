"""What the runs that are on with one key share of a model's pace, so that together they are one sender. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import astuple, dataclass, replace
from typing import Any, Final

from batch.limits.accepted_requests import MINUTE_SECONDS
from batch.limits.refusal_share import FEW_REQUESTS


@dataclass(frozen=True, slots=True)
class LivePace:
    """The pace of one model as all runs have it; per minute, monotonic seconds.

    It was decided at `decided_at` to go on from `ceiling` (None: nothing is held back), which is a guess or not, and it
    has held them back for `tried_seconds` since. `share` is usually refused. `counts`: the provider counts over a
    minute. `in_trial`: one run finds out whether a lower pace helps. `next_at` is the next turn, and `sent` counts the
    requests of all.
    """

    ceiling: float | None
    is_guess: bool
    counts: bool
    in_trial: bool
    share: float
    tried_seconds: float
    decided_at: float
    next_at: float
    sent: int

    def is_on(self, now_seconds: float) -> bool:
        """Whether a run had a turn within the last minute; what lies ahead is of another clock."""
        return abs(now_seconds - self.next_at) < MINUTE_SECONDS

    def row(self) -> list[Any]:
        """As it is kept."""
        return list(astuple(self))

    @classmethod
    def from_row(cls, row: Any) -> LivePace | None:
        """What was kept; None if it makes no sense."""
        if not isinstance(row, list) or len(row) != len(_KINDS):
            return None
        if not all(isinstance(each, kind) for each, kind in zip(row, _KINDS, strict=True)):
            return None
        live = cls(*row)
        numbers = (live.ceiling or 0.0, live.tried_seconds, live.decided_at, live.next_at, live.sent)
        is_sound = 0 < live.share < 1 and all(0 <= each < 1e12 for each in numbers)
        return replace(live, tried_seconds=min(live.tried_seconds, _LONGEST_SECONDS)) if is_sound else None


#: After so long no pace holds anything back.
_LONGEST_SECONDS: Final = 3600.0
_NUMBER = int | float
#: Of the fields of `LivePace`.
_KINDS = (_NUMBER | None, bool, bool, bool, _NUMBER, _NUMBER, _NUMBER, _NUMBER, int)


class AllSent:
    """Counts the requests of all runs, and tells how many those are for one of this run.

    A run sees only its own refusals, so it takes the others for as lucky as itself.
    """

    def __init__(self) -> None:
        self.number = 0
        #: When this run sent one in the last minute, and its number among those of all.
        self._own: deque[tuple[float, int]] = deque()

    def join(self, number: int) -> None:
        """All runs have sent so many; fewer than before means that the count began anew."""
        if number < self.number:
            self._own.clear()
        self.number = number

    def went_out(self, now_seconds: float) -> None:
        """This run sends one."""
        self.number += 1
        self._own.append((now_seconds, self.number))
        while self._own[0][0] <= now_seconds - MINUTE_SECONDS:
            self._own.popleft()

    @property
    def was_own(self) -> bool:
        """Whether this run sent the last one."""
        return bool(self._own) and self._own[-1][1] == self.number

    def for_one_of_last(self) -> float:
        """Requests of all runs for one of this run, since the last few of this run."""
        return self._for_one(min(len(self._own), FEW_REQUESTS))

    def for_one_of_minute(self) -> float:
        """The same, since the first of this run within the last minute."""
        return self._for_one(len(self._own))

    def _for_one(self, own: int) -> float:
        return (self.number - self._own[-own][1] + 1) / own if own else 1.0
