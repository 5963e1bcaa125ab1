"""Requests that leave evenly, and whether that is what holds them back. Pure."""

from __future__ import annotations

from typing import Final

#: Of about so many requests this share must have waited for their turn, or it was something else that held them back.
_LAST_REQUESTS: Final = 10
_HELD_BACK: Final = 0.7


class RateSpacing:
    """When the next may leave; monotonic seconds."""

    def __init__(self) -> None:
        self.next_at = float("-inf")
        self._held_back = 0.0

    def begin(self, now_seconds: float) -> None:
        """At another pace from now on."""
        self.next_at = max(self.next_at, now_seconds)

    def went_out(self, spacing_seconds: float, now_seconds: float) -> bool:
        """One leaves; whether it went in its turn, and so may have waited for it."""
        held_back = now_seconds - self.next_at < spacing_seconds / 2
        self._held_back += (held_back - self._held_back) / _LAST_REQUESTS
        self.next_at = now_seconds + spacing_seconds
        return held_back

    @property
    def holds_back(self) -> bool:
        """Whether the last requests waited for their turn, and not for slots or quotas."""
        return self._held_back >= _HELD_BACK
