"""What there is to wait for while nothing may be sent."""

from __future__ import annotations

from dataclasses import dataclass

from batch.core.events import Waiting


@dataclass(frozen=True, slots=True)
class Wait:
    """No room: `seconds` until it is worth looking again, infinite if something must change first (`Line.changed`).

    `is_fixed`: nothing but time makes room, so changes need not be looked at.
    """

    seconds: float
    waiting: Waiting | None = None
    is_fixed: bool = False
