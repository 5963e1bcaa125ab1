"""Repeats of charged answers that wait for proof that they are worth it. The first to come is the first to go."""

from __future__ import annotations

import asyncio

from batch.dispatch.waste_breaker import WasteBreaker


class HeldRepeats:
    """Told of every job that begins and ends: when all that are left wait here, the first one goes as a trial."""

    def __init__(self) -> None:
        self._jobs = 0
        self._held: dict[asyncio.Event, WasteBreaker] = {}

    def job_began(self) -> None:
        self._jobs += 1

    def job_ended(self) -> None:
        self._jobs -= 1
        self.look()

    async def hold(self, wasted: WasteBreaker) -> None:
        """Wait while charged answers without a picture come in a row: the next one costs as much."""
        if not wasted.is_common:
            return
        worth_it = asyncio.Event()
        self._held[worth_it] = wasted
        self.look()
        try:
            await worth_it.wait()
        finally:
            self._held.pop(worth_it, None)

    def look(self) -> None:
        """Release those that nothing holds any more; the first one too if no other job is left to try."""
        for worth_it, wasted in list(self._held.items()):
            if not wasted.is_common or len(self._held) >= self._jobs:
                del self._held[worth_it]
                worth_it.set()
