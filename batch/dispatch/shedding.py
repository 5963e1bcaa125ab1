"""A cheap lane without room turns requests away, and that is no trouble of the provider's."""

from __future__ import annotations

from batch.core.errors import AttemptError, Kind, Unavailable
from batch.core.lane import Lane


def is_shed(error: BaseException | None, lane: Lane) -> bool:
    """Whether the cheap lane had no room, which says nothing of quotas and of the other lane."""
    if lane is Lane.STANDARD or not isinstance(error, AttemptError):
        return False
    return isinstance(error, Unavailable) or error.kind is Kind.SHED
