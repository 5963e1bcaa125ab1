"""What share of the requests is refused, as far as is known, and how likely refusals are by it. Pure."""

from __future__ import annotations

from math import comb
from typing import Final

#: Taken for the share before anything is known, as if seen among so many requests (BBR tolerates 2 % of loss): two
#: refusals in a row prove nothing then, and some tens of requests correct it.
FIRST_SHARE: Final = 0.03
FEW_REQUESTS: Final = 20
#: A larger share is no chance any more: five refusals in a row close the gate, and no trial explains it.
MOST_SHARE: Final = 0.2
#: So many of the last requests count.
_LAST_REQUESTS: Final = 300.0


class RefusalShare:
    """Begins with `first` and is corrected by what is seen."""

    def __init__(self, first: float = FIRST_SHARE) -> None:
        self.now = first
        self._known_requests = float(FEW_REQUESTS)

    def saw(self, refused: int, requests: int) -> None:
        """Of so many more, so many were refused."""
        self._known_requests = min(_LAST_REQUESTS, self._known_requests + requests)
        self.now += (refused - requests * self.now) / self._known_requests

    def with_few(self, refused: int, requests: int) -> float:
        """The share of so few that they are not believed by themselves."""
        return (refused + self.now * FEW_REQUESTS) / (requests + FEW_REQUESTS)

    def chance_of(self, least: int, requests: int) -> float:
        """How likely it is that at least so many of so many are refused."""
        return chance_of(least, requests, max(self.now, 1 / _LAST_REQUESTS))


def chance_of(least: int, requests: int, share: float) -> float:
    """The same for any share."""
    fewer = (comb(requests, number) * share**number * (1 - share) ** (requests - number) for number in range(least))
    return 1.0 - sum(fewer)
