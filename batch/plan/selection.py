"""Which of the jobs that would be sent are sent this time: by id, by row, the first so many, or a random sample."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate
from random import Random
from typing import Final

from batch.plan.decide import DECISIONS

LEFT_OUT: Final = DECISIONS.index("skip: left out")
OPEN: Final = DECISIONS.index("skip: open")
REMAKE: Final = DECISIONS.index("to do: remake")
REJECTED: Final = DECISIONS.index("to do: rejected")
USED_UP: Final = DECISIONS.index("skip: rejected")
SET_ASIDE: Final = DECISIONS.index("skip: set aside")
#: The decisions that send a request come first, then the one that may have to, then those that get a picture
#: without a request: codes below these.
SENDING: Final = sum(name.startswith("to do") for name in DECISIONS)
MAY_SEND: Final = DECISIONS.index("skip: open") + 1
GETTING: Final = MAY_SEND + sum(name.startswith("adopt") for name in DECISIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a user narrowed a run to. Everything is checked and counted all the same.

    `only`: ids, or patterns with * and ?. `where`: an expression over the columns of a job's row, which the
    manifest evaluates. `limit` jobs at most are sent, the first ones; or `sample` of them, drawn by `seed`.
    """

    only: tuple[str, ...] = ()
    where: str | None = None
    limit: int | None = None
    sample: int | None = None
    seed: int = 0

    def id_pattern(self) -> re.Pattern[str] | None:
        """What an id must match, if `only` is given."""
        return re.compile("|".join(map(translate, self.only))) if self.only else None


def leave_out(decisions: bytearray, chosen: Sequence[int]) -> None:
    """Mark what would get a picture but was not chosen (0 in `chosen`, a byte for every job)."""
    for index, code in enumerate(decisions):
        if code < GETTING and not chosen[index]:
            decisions[index] = LEFT_OUT


def narrow(decisions: bytearray, selection: Selection) -> None:
    """Leave so many to send as the selection allows, by number or by chance."""
    most = selection.sample if selection.sample is not None else selection.limit
    if most is None:
        return
    sending = sum(decisions.count(code) for code in range(MAY_SEND))
    if most >= sending:
        return
    drawn = None if selection.sample is None else set(Random(selection.seed).sample(range(sending), most))  # noqa: S311
    number = 0
    for index, code in enumerate(decisions):
        if code < MAY_SEND:
            if number not in drawn if drawn is not None else number >= most:
                decisions[index] = LEFT_OUT
            number += 1
