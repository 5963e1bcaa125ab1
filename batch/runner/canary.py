"""Judges the first jobs of a run by their pictures, or asks a person to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from batch.core.errors import CanaryFailed
from batch.core.model import Done, Outcome
from batch.core.picture_warnings import asked_words
from batch.core.settings import CanarySettings
from batch.report.formatting import count
from batch.report.warned import count_warnings
from batch.store.history import History


class PictureJudge:
    """A `CanaryJudge` of the first `jobs` of `to_do`. `ask` puts the question to a person; None: the manifest's
    `max_failed` decides."""

    def __init__(
        self,
        settings: CanarySettings,
        jobs: int,
        to_do: int,
        history: History,
        output: Path,
        ask: Callable[[str], Awaitable[bool]] | None,
    ) -> None:
        self._settings = settings
        self._jobs = jobs
        self._to_do = to_do
        self._history = history
        self._output = output
        self._ask = ask
        self._odd_before, self._warnings_before = count_warnings(history)

    async def judge(self, ends: Counter[type[Outcome]]) -> CanaryFailed | None:
        """Why the run is to stop, or None."""
        odd, warnings = count_warnings(self._history)
        odd, how_odd = max(0, odd - self._odd_before), asked_words(warnings - self._warnings_before)
        if self._ask is not None:
            return await self._asked(self._ask, ends[Done], odd, how_odd)
        failed = self._jobs - ends[Done] + odd
        if failed <= self._settings.max_failed * self._jobs:
            return None
        what = f"no picture, or not the one asked for ({how_odd})" if odd > 0 else "no picture"
        return CanaryFailed(
            f"{failed} of the first {self._jobs} jobs got {what}, and at most {self._settings.max_failed:.0%} may: the "
            "others were not sent"
        )

    async def _asked(
        self, ask: Callable[[str], Awaitable[bool]], done: int, odd: int, how_odd: str
    ) -> CanaryFailed | None:
        words = f"{done} of the first {self._jobs} jobs got a picture, see {self._output}/images. "
        words += f"{count(odd, 'picture')} not as asked: {how_odd}. " if odd > 0 else ""
        if await ask(f"{words}Send the other {self._to_do - self._jobs:,} jobs?"):
            return None
        return CanaryFailed(f"you stopped it after the first {self._jobs} jobs; the others were not sent")
