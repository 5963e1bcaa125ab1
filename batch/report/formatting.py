"""Numbers, paths and foreign text in words for people. No layout here."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

from batch.core.events import Waiting

#: Control characters, line ends of every kind, and what turns text around. Joiners stay: emoji and Persian need them.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_LONGEST: Final = 200


def printable(text: str, limit: int = _LONGEST) -> str:
    """Text from a manifest or a server on one line of a terminal: control and bidi characters shown as escapes."""
    shown = _UNPRINTABLE.sub(_escape, text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def differing(old: str, new: str, limit: int = 90) -> tuple[str, str]:
    """Two texts from a little before the place where they begin to differ, each on one line. Blanks at the end of
    either, which differ too, are marked."""
    pairs = enumerate(zip(old, new, strict=False))
    same = next((index for index, (one, other) in pairs if one != other), min(len(old), len(new)))
    start = max(0, same - limit // 3)
    start = old.find(" ", start, same) + 1 or start if start else 0  # from a word's beginning
    before = "…" if start else ""
    return before + printable(_marked(old[start:]), limit), before + printable(_marked(new[start:]), limit)


def _marked(text: str) -> str:
    """With what cannot be seen at its end."""
    seen = text.rstrip(" ")
    return seen + "␠" * (len(text) - len(seen))


def _escape(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def usd(amount: float) -> str:
    """Dollars and cents; below a dollar also tenths of a cent, unless they are zero."""
    if 0 < amount < 0.0005:
        return "less than $0.001"
    shown = f"${amount:,.2f}" if amount >= 1 else f"${amount:.3f}"
    return shown[:-1] if amount < 1 and shown.endswith("0") else shown


def at_list_price(amount: float, *, simulated: bool) -> str:
    """What something costs, and that it does not if only the simulator is asked."""
    return f"{usd(amount)} at list price{' (simulated: nothing is charged)' if simulated else ''}"


def duration(seconds: float) -> str:
    """`4.2 s`, `45 s`, `12 min 04 s`, `3 h 05 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def count(number: int, noun: str) -> str:
    """`1 picture`, `2,000 pictures`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def waiting_words(waiting: Waiting) -> str:
    """What the next request waits for; "" for nothing, and for a gate, of which only its own clock knows how long."""
    match waiting.by:
        case "" | "gate":
            return ""
        case "concurrency":
            return f"limited by concurrency {waiting.most}"
        case "found_slots":
            return f"at {waiting.most} of {waiting.of} in flight, found by trying"
        case "found_rate":
            return f"at {waiting.most:,} requests per minute, found by trying"
        case "probe":
            return "waits for the answer to one request sent ahead"
        case "picture":
            return "waits for a picture before more is sent"
        case "cpu":
            return "limited by this machine's processor"
        case "disk":
            return "limited by this machine's disk"
    return f"waits for {waiting.by}, {waiting.most:,}"


def causes(counts: Mapping[str, int]) -> str:
    """`12 image_safety, 3 no_image`, the most frequent first."""
    return ", ".join(f"{number:,} {code}" for code, number in sorted(counts.items(), key=lambda item: -item[1]))


def path(name: str) -> str:
    """A path as one would type it: relative if it lies below the current folder."""
    try:
        below = os.path.relpath(name)
    except OSError:  # the current folder is gone
        return name
    return name if below.startswith("..") else below
