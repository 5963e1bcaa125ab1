"""Numbers and foreign text as people read them. No layout here, only words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LONGEST: Final = 200


def printable(text: str, limit: int = _LONGEST) -> str:
    """Text from a manifest or a server on one line of a terminal: control and bidi characters shown as escapes."""
    shown = _UNPRINTABLE.sub(lambda match: f"\\x{ord(match[0]):02x}" if ord(match[0]) < 256 else "\ufffd", text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def usd(amount: float) -> str:
    """Dollars, with cents' fractions where they are all there is."""
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:.3f}"


def duration(seconds: float) -> str:
    """`45 s`, `12 min 04 s`, `3 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def count(number: int, noun: str) -> str:
    """`1 picture`, `2,000 pictures`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def causes(counts: Mapping[str, int]) -> str:
    """`12 image_safety, 3 no_image`, the most frequent first."""
    return ", ".join(f"{number:,} {code}" for code, number in sorted(counts.items(), key=lambda item: -item[1]))
