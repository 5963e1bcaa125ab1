"""What is odd about a picture that is kept all the same: its kinds, as the ledger's `warnings` spell them.

A warning is a text `kind: words`. Ledgers of earlier versions hold words alone; their kind is told by them. Some kinds
say that the picture is not what was asked for, which a person wants to know before it goes anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class WarningKind(StrEnum):
    """A kind of warning. The words are stable: programs may look for them."""

    ANOTHER_SHAPE = "another_shape"
    SMALLER = "smaller"
    LARGER = "larger"
    BLANK = "blank"
    SAME_AS_REFERENCE = "same_as_reference"
    SAME_AS_ANOTHER = "same_as_another"
    DAMAGED_BESIDE = "damaged_beside"
    FINISH_REASON = "finish_reason"
    SEVERAL_CANDIDATES = "several_candidates"
    CAPTION_CUT = "caption_cut"
    UNUSUAL_FORMAT = "unusual_format"
    DAMAGED_FILE = "damaged_file"
    TRAILING_BYTES = "trailing_bytes"
    DECLARED_TYPE = "declared_type"
    ADDRESS_PASSED_OVER = "address_passed_over"
    OTHER = "other"


#: The kinds of which a picture is not as asked, and how a number of them is put in words.
NOT_AS_ASKED: Final[Mapping[WarningKind, str]] = {
    WarningKind.ANOTHER_SHAPE: "of another shape",
    WarningKind.SMALLER: "smaller",
    WarningKind.LARGER: "larger",
    WarningKind.BLANK: "blank",
    WarningKind.SAME_AS_REFERENCE: "the same as a reference",
    WarningKind.SAME_AS_ANOTHER: "the same as another job's",
}
#: The kinds that leave the picture as it was asked for.
_ODD: Final[Mapping[WarningKind, str]] = {
    WarningKind.DAMAGED_BESIDE: "with something damaged beside it",
    WarningKind.FINISH_REASON: "with an odd finish reason",
    WarningKind.SEVERAL_CANDIDATES: "of several candidates",
    WarningKind.CAPTION_CUT: "with a caption cut short",
    WarningKind.UNUSUAL_FORMAT: "in an unusual format",
    WarningKind.DAMAGED_FILE: "in a damaged file, with all pixels there",
    WarningKind.TRAILING_BYTES: "followed by other bytes",
    WarningKind.DECLARED_TYPE: "declared as another type",
    WarningKind.ADDRESS_PASSED_OVER: "beside addresses that led to none",
    WarningKind.OTHER: "odd in another way",
}

_KINDS: Final = {str(kind): kind for kind in WarningKind}
_WITH_KIND: Final = re.compile(r"([a-z_]+): ")
#: What earlier versions wrote, by how it begins or reads.
_EARLIER: Final = (
    (re.compile(r"finish_"), WarningKind.FINISH_REASON),
    (re.compile(r"declared "), WarningKind.DECLARED_TYPE),
    (re.compile(r"picture \d+ of \d+ is damaged"), WarningKind.DAMAGED_BESIDE),
    (re.compile(r"\d+ bytes follow"), WarningKind.TRAILING_BYTES),
    (re.compile(r"an address at .* is passed over"), WarningKind.DAMAGED_BESIDE),
)
_EARLIER_SIZE: Final = re.compile(r"asked for (?:(\d+)x(\d+)|(512|[124]K)), got (\d+)x(\d+)")
_SIDES: Final = {"512": 512, "1K": 1024, "2K": 2048, "4K": 4096}
#: How far a ratio of sides may be from another and still count as the same shape.
SHAPE_TOLERANCE: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """A warning, taken apart: its kind, and what it says."""

    kind: WarningKind
    message: str


def warning(kind: WarningKind, message: str) -> str:
    """A warning as the ledger has it."""
    return f"{kind}: {message}"


def read_warning(text: str) -> Warned:
    """Take a warning of a ledger apart, whichever version wrote it."""
    match = _WITH_KIND.match(text)
    if match is not None and match[1] in _KINDS:
        return Warned(kind=_KINDS[match[1]], message=text[match.end() :])
    return Warned(kind=_earlier_kind(text), message=text)


def kinds_of(warnings: Iterable[str]) -> tuple[WarningKind, ...]:
    """The kinds of a picture's warnings, each once, in a fixed order: alike for many pictures."""
    found = {read_warning(text).kind for text in warnings}
    if not found:
        return ()  # nearly always, and asked for every picture of a ledger
    return tuple(kind for kind in WarningKind if kind in found)


def is_not_as_asked(kinds: Iterable[str]) -> bool:
    """Whether a picture with warnings of these kinds is not what was asked for."""
    return not NOT_AS_ASKED.keys().isdisjoint(kinds)


def size_kinds(wanted: tuple[int, int], got: tuple[int, int], tolerance: float) -> tuple[WarningKind, ...]:
    """How a picture's size in pixels differs from the one wanted, sides taken to be equal within `tolerance`."""
    (wanted_width, wanted_height), (width, height) = wanted, got
    if abs(width / wanted_width - 1) <= tolerance and abs(height / wanted_height - 1) <= tolerance:
        return ()
    found = []
    if abs(width * wanted_height / (height * wanted_width) - 1) > SHAPE_TOLERANCE:
        found.append(WarningKind.ANOTHER_SHAPE)
    area = width * height / (wanted_width * wanted_height)
    if abs(area - 1) > 4 * tolerance:
        found.append(WarningKind.SMALLER if area < 1 else WarningKind.LARGER)
    return tuple(found) or (WarningKind.SMALLER if area < 1 else WarningKind.LARGER,)


def warning_fields(text: str) -> dict[str, str]:
    """A warning of a ledger for programs."""
    read = read_warning(text)
    return {"kind": str(read.kind), "message": read.message}


def asked_words(kinds: Mapping[str, int]) -> str:
    """`9 of another shape, 3 smaller`: how many pictures are not as asked, by kind."""
    return _words(kinds, NOT_AS_ASKED)


def odd_words(kinds: Mapping[str, int]) -> str:
    """`4 declared as another type`: how many are odd and still as asked, by kind."""
    return _words(kinds, _ODD)


def _words(kinds: Mapping[str, int], words: Mapping[WarningKind, str]) -> str:
    found = sorted(((kinds[kind], kind) for kind in words if kind in kinds), key=lambda item: -item[0])
    return ", ".join(f"{number:,} {words[kind]}" for number, kind in found)


def _earlier_kind(text: str) -> WarningKind:
    if text in _KINDS:
        return _KINDS[text]
    size = _EARLIER_SIZE.match(text)
    if size is not None:
        return _earlier_size_kind(size)
    return next((kind for pattern, kind in _EARLIER if pattern.match(text)), WarningKind.OTHER)


def _earlier_size_kind(match: re.Match[str]) -> WarningKind:
    width, height = int(match[4]), int(match[5])
    if match[3] is not None:
        return WarningKind.SMALLER if width * height < _SIDES[match[3]] ** 2 else WarningKind.LARGER
    if 0 in (int(match[1]), int(match[2]), width, height):
        return WarningKind.OTHER
    return next(iter(size_kinds((int(match[1]), int(match[2])), (width, height), 0.0)), WarningKind.OTHER)
