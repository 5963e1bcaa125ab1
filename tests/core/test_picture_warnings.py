"""Warnings of kept pictures have stable kinds, in ledgers of every version."""

from __future__ import annotations

import pytest

from batch.core.image_models import size_warnings
from batch.core.picture_warnings import (
    NOT_AS_ASKED,
    WarningKind,
    asked_words,
    is_not_as_asked,
    kinds_of,
    odd_words,
    read_warning,
    warning,
)


@pytest.mark.parametrize("kind", WarningKind)
def test_a_warning_is_read_as_it_was_written(kind: WarningKind) -> None:
    """Whatever its words are, another kind's name among them."""
    read = read_warning(warning(kind, "blank: a: b"))

    assert (read.kind, read.message) == (kind, "blank: a: b")


@pytest.mark.parametrize("kind", WarningKind)
def test_every_kind_has_its_words(kind: WarningKind) -> None:
    """In exactly one of the two lines of a summary."""
    assert bool(asked_words({kind: 1})) is not bool(odd_words({kind: 1}))
    assert is_not_as_asked([kind]) is (kind in NOT_AS_ASKED)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("several_candidates", WarningKind.SEVERAL_CANDIDATES),
        ("caption_cut", WarningKind.CAPTION_CUT),
        ("finish_max_tokens", WarningKind.FINISH_REASON),
        ("declared image/png, is image/jpeg", WarningKind.DECLARED_TYPE),
        ("4 bytes follow the picture's end", WarningKind.TRAILING_BYTES),
        ("picture 1 of 2 is damaged: cut off after 9 bytes", WarningKind.DAMAGED_BESIDE),
        ("an address at cdn.example.com is passed over: is no picture", WarningKind.DAMAGED_BESIDE),
        ("asked for 1376x768, got 1024x1024", WarningKind.ANOTHER_SHAPE),
        ("asked for 5504x3072, got 1376x768", WarningKind.SMALLER),
        ("asked for 512x512, got 1024x1024", WarningKind.LARGER),
        ("asked for 1K, got 512x512", WarningKind.SMALLER),
        ("asked for 512, got 1024x1024", WarningKind.LARGER),
        ("asked for 512x512, got 512x512", WarningKind.OTHER),
        ("asked for 0x0, got 9x9", WarningKind.OTHER),
        ("something nobody has thought of", WarningKind.OTHER),
        ("other_word: and more", WarningKind.OTHER),
        ("", WarningKind.OTHER),
    ],
)
def test_what_earlier_versions_wrote_has_a_kind(text: str, kind: WarningKind) -> None:
    """Bytes of a ledger never change, so the words are read as they are."""
    assert read_warning(text).kind is kind
    assert read_warning(text).message == text


@pytest.mark.parametrize(
    ("ratio", "size", "pixels", "kinds"),
    [
        ("16:9", "1K", (1376, 768), ()),
        ("16:9", "1K", (1360, 770), ()),
        ("16:9", "1K", (1024, 1024), (WarningKind.ANOTHER_SHAPE,)),
        ("16:9", "4K", (1024, 1024), (WarningKind.ANOTHER_SHAPE, WarningKind.SMALLER)),
        ("16:9", "4K", (1376, 768), (WarningKind.SMALLER,)),
        ("1:1", "512", (1024, 1024), (WarningKind.LARGER,)),
        ("1:1", "1K", (1024, 900), (WarningKind.ANOTHER_SHAPE,)),
        ("1:1", "1K", (960, 960), (WarningKind.SMALLER,)),
        ("1:1", "1K", (1090, 1090), (WarningKind.LARGER,)),
        ("9:16", "2K", (1376 * 2, 768 * 2), (WarningKind.ANOTHER_SHAPE,)),
        (None, "1K", (1376, 768), ()),
        (None, "4K", (1024, 1024), (WarningKind.SMALLER,)),
        (None, "512", (1024, 1024), (WarningKind.LARGER,)),
    ],
)
def test_how_a_size_differs(
    ratio: str | None, size: str, pixels: tuple[int, int], kinds: tuple[WarningKind, ...]
) -> None:
    """The shape and the number of pixels are told apart: one is a dropped setting, the other costs money."""
    assert kinds_of(size_warnings(ratio, size, *pixels)) == kinds


def test_the_words_name_the_most_frequent_first() -> None:
    """And leave out what does not occur."""
    counts = {"smaller": 3, "another_shape": 9_000, "declared_type": 4}

    assert asked_words(counts) == "9,000 of another shape, 3 smaller"
    assert odd_words(counts) == "4 declared as another type"
