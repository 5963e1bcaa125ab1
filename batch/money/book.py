"""The book, as a contract: what the runs of one account have spent, or may still spend, day by day.

It outlives every output. A file keeps it today (`spend_book`). Money is in whole millionths of a dollar.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one run has taken of one day's money (`day`: `2026-01-31`, UTC), under a tag or none (empty).

    `is_open`: the run may still spend it; closed, it is what was spent.
    """

    run: str
    day: str
    tag: str
    output: str
    micro_usd: int
    is_open: bool


class Shares:
    """All shares of a book; the last word on each counts."""

    def __init__(self) -> None:
        self._by_run_and_day: dict[tuple[str, str], Share] = {}

    def put(self, share: Share) -> None:
        self._by_run_and_day[share.run, share.day] = share

    def left_open(self, output: str, but: str) -> list[Share]:
        """Shares that runs in this output folder left open, except one run's."""
        return [share for share in self if share.is_open and share.output == output and share.run != but]

    def total(self, *, days: str = "", tag: str | None = None) -> int:
        """The sum over days that begin so (`2026-01` is a month), of one tag or of all."""
        return sum(
            share.micro_usd for share in self if share.day.startswith(days) and (tag is None or share.tag == tag)
        )

    def __iter__(self) -> Iterator[Share]:
        return iter(self._by_run_and_day.values())

    def __contains__(self, share: Share) -> bool:
        """Whether there is a word on that run and day, whatever it is."""
        return (share.run, share.day) in self._by_run_and_day

    def __len__(self) -> int:
        return len(self._by_run_and_day)


class BookHeld(Exception):
    """Another process has the book's lock; the text says which book."""


class BookWriter(Protocol):
    """Appends to a book while it is locked."""

    def put(self, share: Share) -> None:
        """Write a share down, durably. Raises `StorageError`; then nothing may be sent on the strength of it."""
        ...


class Book(Protocol):
    """The shares of one account, whatever machine or output they are taken for.

    A share is durable before a request that it pays for goes out, and never expires: what a killed run took counts as
    spent until a ledger says how it ended. So the sum of all shares is never less than what was paid.

    Called in threads, one call at a time. Raises `OutputError` if it cannot be used and `StorageError` if writing
    fails: without it nothing is sent.
    """

    @property
    def name(self) -> str:
        """What messages call it. Several books are locked in the order of their names."""
        ...

    def look(self) -> Shares:
        """What stands in it now. Makes nothing, waits for nothing and takes no lock."""
        ...

    def locked(self) -> AbstractContextManager[tuple[Shares, BookWriter]]:
        """All shares, and a way to write; no other process can do either meanwhile.

        Never waits for another process: raises `BookHeld`.
        """
        ...
