"""What limits a run at this moment, in a small file beside its ledger, for whoever asks from another process."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from batch.core.own_files import open_to_read
from batch.store.durable import put_in_place

NAME: Final = ".now"


class LiveStatusFile:
    """Written while a run is on, and gone after it. It is a courtesy: a disk that is full stops no run over it."""

    def __init__(self, output: Path) -> None:
        self._path = str(output / NAME)

    def write(self, words: str) -> None:
        """Put the words in place of the last ones; a reader sees the old or the new, never half of one."""
        with suppress(OSError):
            put_in_place(self._path, json.dumps({"limits_now": words}).encode("ascii"))

    def remove(self) -> None:
        for name in (self._path, self._path + ".part"):
            with suppress(OSError):
                os.unlink(name)


def limits_now(output: Path) -> str | None:
    """What a run on this folder said last; None if it said nothing. Of a run that was killed it stays."""
    try:
        with open_to_read(output / NAME) as file:
            words = json.load(file)["limits_now"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return words if isinstance(words, str) else None
