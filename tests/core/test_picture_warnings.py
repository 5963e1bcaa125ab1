"""Warnings of kept pictures have stable kinds, in ledgers of every version."""

from __future__ import annotations

import pytest

from batch.core.image_models import size_warnings
from batch.core.picture_warnings import (
    NOT_AS_ASKED,
    Oddity,
    asked_words,
    is_not_as_asked,
    kinds_of,
    odd_words,
    read_warning,
    warning,
)


@pytest.mark.parametrize("kind", Oddity)
def test_a_warning_is_read_as_it_was_written(kind: Oddity) -> None:
    """Whatever its words are, another kind's name among them."""
    read = read_warning(warning(kind, "blank: a: b"))

    assert (read.kind, read.message) == (kind, "blank: a: b")


@pytest.mark.parametrize("kind", Oddity)
def test_every_kind_has_its_words(kind: Oddity) -> None:
    """In exactly one of the two lines of a summary."""
    assert bool(asked_words({kind: 1})) is not bool(odd_words({kind: 1}))
    assert is_not_as_asked([kind]) is (kind in NOT_AS_ASKED)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("several_candidates", Oddity.SEVERAL_CANDIDATES),
        ("caption_cut", Oddity.CAPTION_CUT),
        ("finish_max_tokens", Oddity.FINISH_REASON),
        ("declared image/png, is image/jpeg", Oddity.DECLARED_TYPE),
        ("4 bytes follow the picture's end", Oddity.TRAILING_BYTES),
        ("picture 1 of 2 is damaged: cut off after 9 bytes", Oddity.DAMAGED_BESIDE),
        ("an address at cdn.example.com is passed over: is no picture", Oddity.DAMAGED_BESIDE),
        ("asked for 1376x768, got 1024x1024", Oddity.ANOTHER_SHAPE),
        ("asked for 5504x3072, got 1376x768", Oddity.SMALLER),
        ("asked for 512x512, got 1024x1024", Oddity.LARGER),
        ("asked for 1K, got 512x512", Oddity.SMALLER),
        ("asked for 512, got 1024x1024", Oddity.LARGER),
        ("asked for 512x512, got 512x512", Oddity.OTHER),
        ("asked for 0x0, got 9x9", Oddity.OTHER),
        ("something nobody has thought of", Oddity.OTHER),
        ("other_word: and more", Oddity.OTHER),
        ("", Oddity.OTHER),
    ],
)
def test_what_earlier_versions_wrote_has_a_kind(text: str, kind: Oddity) -> None:
    """Bytes of a ledger never change, so the words are read as they are."""
    assert read_warning(text).kind is kind
    assert read_warning(text).message == text


@pytest.mark.parametrize(
    ("ratio", "size", "pixels", "kinds"),
    [
        ("16:9", "1K", (1376, 768), ()),
        ("16:9", "1K", (1360, 770), ()),
        ("16:9", "1K", (1024, 1024), (Oddity.ANOTHER_SHAPE,)),
        ("16:9", "4K", (1024, 1024), (Oddity.ANOTHER_SHAPE, Oddity.SMALLER)),
        ("16:9", "4K", (1376, 768), (Oddity.SMALLER,)),
        ("1:1", "512", (1024, 1024), (Oddity.LARGER,)),
        ("1:1", "1K", (1024, 900), (Oddity.ANOTHER_SHAPE,)),
        ("1:1", "1K", (960, 960), (Oddity.SMALLER,)),
        ("1:1", "1K", (1090, 1090), (Oddity.LARGER,)),
        ("9:16", "2K", (1376 * 2, 768 * 2), (Oddity.ANOTHER_SHAPE,)),
        (None, "1K", (1376, 768), ()),
        (None, "4K", (1024, 1024), (Oddity.SMALLER,)),
        (None, "512", (1024, 1024), (Oddity.LARGER,)),
    ],
)
def test_how_a_size_differs(ratio: str | None, size: str, pixels: tuple[int, int], kinds: tuple[Oddity, ...]) -> None:
    """The shape and the number of pixels are told apart: one is a dropped setting, the other costs money."""
    assert kinds_of(size_warnings(ratio, size, *pixels)) == kinds


def test_the_words_name_the_most_frequent_first() -> None:
    """And leave out what does not occur."""
    counts = {"smaller": 3, "another_shape": 9_000, "declared_type": 4}

    assert asked_words(counts) == "9,000 of another shape, 3 smaller"
    assert odd_words(counts) == "4 declared as another type"
