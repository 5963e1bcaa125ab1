"""What limits a run at this moment, in a small file beside its ledger, for whoever asks from another process."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

NAME: Final = ".now"


class NowFile:
    """Written while a run is on, and gone after it. It is a courtesy: a disk that is full stops no run over it."""

    def __init__(self, output: Path) -> None:
        self._path = str(output / NAME)

    def write(self, words: str) -> None:
        """Put the words in place of the last ones; a reader sees the old or the new, never half of one."""
        hidden = self._path + ".part"
        with suppress(OSError):
            descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "w", encoding="ascii") as file:
                json.dump({"limits_now": words}, file)
            os.replace(hidden, self._path)

    def remove(self) -> None:
        for name in (self._path, self._path + ".part"):
            with suppress(OSError):
                os.unlink(name)


def limits_now(output: Path) -> str | None:
    """What a run on this folder said last; None if it said nothing. Of a run that was killed it stays."""
    try:
        words = json.loads((output / NAME).read_text("ascii"))["limits_now"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return words if isinstance(words, str) else None
