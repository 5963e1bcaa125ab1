"""Where the money of an output folder went. Derived from the history; nothing is counted during a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from batch.core.results import Spend
from batch.report.formatting import usd
from batch.store.history import History
from batch.store.job_state import Standing


@dataclass(frozen=True, slots=True)
class _Group:
    word: str
    amount: float


def spend_of(history: History) -> Spend:
    """All money the ledger knows of, over all runs."""
    rejected = failed = 0.0
    for row, amount in history.charged_in_vain():
        if history.facts_at(row).standing is Standing.FAILED:
            failed += amount
        else:
            rejected += amount
    done = history.usd - rejected - failed - history.superseded_usd
    counts = history.tally_of_all()
    pictures = sum(
        count
        for facts, count in counts.items()
        if facts.standing is Standing.DONE and not (facts.missing or facts.altered)
    )
    vain = rejected + failed + history.maybe_usd
    everything = history.usd + history.maybe_usd
    return Spend(
        done=round(done, 6),
        rejected=round(rejected, 6),
        failed=round(failed, 6),
        unknown=round(history.maybe_usd, 6),
        superseded=round(history.superseded_usd, 6),
        saved=round(history.saved_usd, 6),
        pictures=pictures,
        per_picture=round(history.usd / pictures, 6) if pictures else None,
        waste_share=round(vain / everything, 4) if everything > 0 else 0.0,
    )


def spend_lines(spend: Spend) -> Iterator[str]:
    """Where the money went, unless all of it bought pictures."""
    groups = (
        _Group("in pictures", spend.done),
        _Group("rejected", spend.rejected),
        _Group("failed", spend.failed),
        _Group("unknown at most", spend.unknown),
        _Group("superseded", spend.superseded),
    )
    words = ", ".join(f"{usd(group.amount)} {group.word}" for group in groups if group.amount > 0)
    if any(group.amount > 0 for group in groups[1:]):
        yield f"  spent on   {words}"
    if spend.per_picture is not None and spend.waste_share > 0:
        yield f"  a picture  {usd(spend.per_picture)} on average with failures; wasted at most {spend.waste_share:.1%}"
    if spend.saved > 0:
        yield f"  saved      {usd(spend.saved)}: pictures reused without a request"
