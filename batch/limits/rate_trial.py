"""The question that tells causes apart: are fewer refused at a lower pace? Wald's test answers it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Final

from batch.limits.refusal_share import FEW_REQUESTS, RefusalShare

#: A pace that is too high refuses at least so many times as often as one that is not.
_RARER: Final = 4.0
#: A trial ends when one answer is so much likelier than the other (Wald's test): wrong in about 1 case of 12.
_LIKELIER: Final = 12.0


@dataclass(slots=True)
class RateTrial:
    """A lower pace, tried because the share of refusals `was` unusual.

    `evidence` is the logarithm of how much likelier it is that fewer are refused now than that nothing has changed.
    """

    was: float
    evidence: float = 0.0
    seen: int = 0
    refused: int = 0

    def saw(self, *, refused: bool) -> None:
        """One more outcome at the lower pace."""
        self.seen += 1
        self.refused += refused
        rarer = self.was / _RARER
        self.evidence += log(rarer / self.was) if refused else log((1 - rarer) / (1 - self.was))

    @property
    def pace_is_the_cause(self) -> bool | None:
        """None while that is open; few requests do not call it innocent."""
        if self.evidence >= log(_LIKELIER):
            return True
        return None if self.seen < FEW_REQUESTS or self.evidence > -log(_LIKELIER) else False

    @property
    def share(self) -> float:
        """Of the refusals since the trial began."""
        return RefusalShare().with_few(self.refused, self.seen)
