"""When the requests of the last minute went out that were not refused: what a limit is measured by. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

from batch.limits.refusal_share import FEW_REQUESTS

MINUTE_SECONDS: Final = 60.0
#: The rate is measured over `FEW_REQUESTS`, and over so long at least.
_MEASURED_SECONDS: Final = 1.0
#: Fewer tell nothing of a quota: another run may have used it up.
TELLING_REQUESTS: Final = 5


class AcceptedRequests:
    """Those of the last minute, in the order in which they went out; monotonic seconds."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()
        self._began_at: float | None = None

    def went_out(self, at: float) -> None:
        """One more, taken for accepted until it is refused."""
        self._began_at = at if self._began_at is None else self._began_at
        while self._times and self._times[0] <= at - MINUTE_SECONDS:
            self._times.popleft()
        self._times.append(at)

    def was_refused(self, went_out_at: float) -> None:
        if went_out_at in self._times:
            self._times.remove(went_out_at)

    def in_the_minute_before(self, at: float) -> int | None:
        """How many that were; None if they are too few to say what the quota is, for another run may have used it."""
        accepted = sum(at - MINUTE_SECONDS < each <= at for each in self._times)
        began_at = self._began_at if self._began_at is not None else at
        is_telling = accepted >= TELLING_REQUESTS or (accepted > 0 and at - began_at >= MINUTE_SECONDS)
        return accepted if is_telling else None

    def minute_has_room_at(self, most: int) -> float:
        """When fewer than `most` of them are younger than a minute."""
        return float("-inf") if len(self._times) < most else self._times[-most] + MINUTE_SECONDS

    def per_minute(self, since: float, until: float) -> float | None:
        """The rate of the last of them that went out between two times; None if they are too few to tell."""
        times = [each for each in self._times if since < each <= until]
        if len(times) < TELLING_REQUESTS:
            return None
        last = times[-FEW_REQUESTS - 1 :]
        if len(last) <= FEW_REQUESTS and since > float("-inf"):
            last = [since, *last]
        return (len(last) - 1) * MINUTE_SECONDS / max(_MEASURED_SECONDS, last[-1] - last[0])
