"""The question that tells causes apart: are fewer refused at a lower pace? Wald's test answers it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, log
from typing import Final

#: A pace that is too high refuses at least so many times as often as one that is not.
_RARER: Final = 4.0
#: A trial ends when one answer is so much likelier than the other (Wald's test): wrong in about 1 case of 12.
_LIKELIER: Final = 12.0
#: So many outcomes at least, before the pace is called innocent.
_LEAST_REQUESTS: Final = 20


@dataclass(slots=True)
class RateTrial:
    """A lower pace, tried because the share of refusals `was` unusual. `pace` and `ceiling` are as they were before it.

    `evidence` is the logarithm of how much likelier it is that fewer are refused now than that nothing has changed.
    """

    was: float
    pace: float | None
    ceiling: float | None
    evidence: float = 0.0
    accepted: int = 0
    refused: int = 0

    def saw(self, *, refused: bool) -> None:
        """One more outcome at the lower pace."""
        self.refused += refused
        self.accepted += not refused
        rarer = self.was / _RARER
        self.evidence += log(rarer / self.was) if refused else log((1 - rarer) / (1 - self.was))

    @property
    def pace_is_the_cause(self) -> bool | None:
        """None while that is open."""
        if self.evidence >= log(_LIKELIER):
            return True
        return None if self.seen < _LEAST_REQUESTS or self.evidence > -log(_LIKELIER) else False

    @property
    def seen(self) -> int:
        return self.accepted + self.refused


def chance_of(least: int, of: int, share: float) -> float:
    """How likely it is that at least so many of so many are refused, each by that share."""
    fewer = sum(comb(of, number) * share**number * (1 - share) ** (of - number) for number in range(least))
    return 1.0 - fewer
