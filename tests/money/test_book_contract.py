"""The contract `Book`, for each implementation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from batch.money.book import Book, BookHeld, Share
from batch.money.spend_book import SpendBook
from tests.support.in_memory import MemoryBook

SHARE = Share(run="one", day="2026-01-31", tag="", output="/out", micro_usd=100, is_open=True)
Handle = Callable[[], Book]


@pytest.fixture(params=["files", "memory"])
def handle(request: pytest.FixtureRequest, tmp_path: Path) -> Handle:
    """Each call is another process's handle of the same account."""
    shares: dict[tuple[str, str], Share] = {}
    holders: list[object] = []
    return (lambda: MemoryBook(shares, holders)) if request.param == "memory" else lambda: SpendBook(tmp_path / "book")


def put(book: Book, *shares: Share) -> None:
    with book.locked() as (_, writer):
        for share in shares:
            writer.put(share)


def test_what_one_wrote_down_the_other_sees(handle: Handle) -> None:
    """At its next look, and when it has the book."""
    one, other = handle(), handle()
    assert other.look().total() == 0

    put(one, SHARE, replace(SHARE, day="2026-02-01", micro_usd=7))

    assert (other.look().total(), other.look().total(days="2026-01")) == (107, 100)
    with other.locked() as (shares, _):
        assert [*shares] == [SHARE, replace(SHARE, day="2026-02-01", micro_usd=7)]


def test_the_last_word_on_a_run_and_day_counts(handle: Handle) -> None:
    """A share shrinks to what was spent when its run ends."""
    put(handle(), SHARE)
    put(handle(), replace(SHARE, micro_usd=40, is_open=False))

    assert [*handle().look()] == [replace(SHARE, micro_usd=40, is_open=False)]


def test_what_a_killed_run_took_stays_taken(handle: Handle) -> None:
    """Until its output's ledger says what became of it."""
    put(handle(), SHARE)

    assert handle().look().left_open("/out", but="two") == [SHARE]
    assert handle().look().total() == SHARE.micro_usd


def test_one_writes_at_a_time_and_looking_needs_no_turn(handle: Handle) -> None:
    """The second is refused at once; it asks again when it likes."""
    one, other = handle(), handle()
    with one.locked() as (_, writer):
        writer.put(SHARE)
        with pytest.raises(BookHeld), other.locked():
            pass
        assert other.look().total() == SHARE.micro_usd

    put(other, replace(SHARE, run="two"))
    assert one.look().total() == 2 * SHARE.micro_usd
