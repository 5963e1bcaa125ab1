"""What was said of the pictures, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from batch.core.results import Review
from batch.report.formatting import count, usd

_NAMED: Final = 5


def review_lines(review: Review | None) -> Iterator[str]:
    """How many were seen, accepted and rejected, and which lines of decisions.jsonl say nothing that can be read."""
    if review is None:
        return
    if review.seen or review.accepted or review.rejected:
        price = "" if review.usd_per_accepted is None else f"; {usd(review.usd_per_accepted)} an accepted picture"
        yield f"  review     {review.seen:,} seen, {review.accepted:,} accepted, {review.rejected:,} rejected{price}"
    if review.unreadable_lines:
        yield f"  decisions  {unreadable_words(review.unreadable_lines)}"


def unreadable_words(lines: tuple[int, ...]) -> str:
    """Lines of decisions.jsonl that cannot be read, in a sentence."""
    named = ", ".join(f"{line:,}" for line in lines[:_NAMED]) + (", ..." if len(lines) > _NAMED else "")
    return f"{count(len(lines), 'line')} of decisions.jsonl cannot be read ({named}), and may hold a verdict of yours"
