"""A process that takes of a shared quota as fast as it may, until it is killed. Time goes `SPEED` times as fast.

`python one_of_two.py FOLDER LOG PER_MINUTE`: a line in LOG for each request let out, with its monotonic time.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from batch.core.events import Listener
from batch.core.settings import Limits
from batch.dispatch.turnstile import Turnstile
from batch.limits.admission import AdmissionController
from batch.limits.quota_store import FileQuotaStore
from batch.limits.quotas import Need

SPEED = 30.0


class FastClock:
    """The machine's clock, quicker, the same for all processes."""

    def monotonic(self) -> float:
        return time.monotonic() * SPEED

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / SPEED)


def _say(words: str) -> None:
    sys.stderr.write(words + "\n")


async def take_all(folder: Path, log: int, per_minute: int) -> None:
    clock = FastClock()
    quota_store = FileQuotaStore(folder, "key.quota", clock, _say)
    limits = Limits(concurrency=4, requests_per_minute=per_minute, adaptive=False)
    admission, line = AdmissionController(limits, clock, Listener(), quota_store), Turnstile(clock, Listener())

    async def requests() -> None:
        for place in range(1_000_000):
            out = await line.wait_for(place, lambda: admission.take(Need(), "m"))
            os.write(log, f"{out.at}\n".encode())
            await clock.sleep(0.3)
            admission.release(out)
            line.changed()

    await asyncio.gather(*(requests() for _ in range(4)))


if __name__ == "__main__":
    opened = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    asyncio.run(take_all(Path(sys.argv[1]), opened, int(sys.argv[3])))
