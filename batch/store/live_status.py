"""How far a run is at this moment, in a small file beside its ledger, for other processes to read."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import msgspec

from batch.core.own_files import open_to_read
from batch.store.durable import put_in_place

NAME: Final = ".now"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """How far a run is.

    `limits_now` says in words what holds it back. Of `jobs` in the manifest, `to_do` were to be sent when it began,
    and `ended` of these are settled. `per_minute` is the rate of the last jobs, `seconds_left` what the rest takes at
    this rate; both None while nothing can be said.
    """

    limits_now: str = ""
    jobs: int = 0
    to_do: int = 0
    ended: int = 0
    in_flight: int = 0
    cost_usd: float = 0.0
    per_minute: float | None = None
    seconds_left: float | None = None


class LiveStatusFile:
    """Written while a run is on, and gone after it. It is a courtesy: a disk that is full stops no run over it."""

    def __init__(self, output: Path) -> None:
        self._path = str(output / NAME)

    def write(self, progress: RunProgress) -> None:
        """Put it in place of the last one; a reader sees the old or the new, never half of one."""
        with suppress(OSError):
            put_in_place(self._path, json.dumps(asdict(progress)).encode("ascii"))

    def remove(self) -> None:
        for name in (self._path, self._path + ".part"):
            with suppress(OSError):
                os.unlink(name)


def read_progress(output: Path) -> RunProgress | None:
    """What a run on this folder said last; None if it said nothing. Of a run that was killed it stays."""
    try:
        with open_to_read(output / NAME) as file:
            return msgspec.json.decode(file.read(), type=RunProgress)
    except (OSError, msgspec.DecodeError, ValueError):
        return None
