"""Retired names stay retired: one word for one thing, as docs/glossary.md has it."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Names of earlier versions, and what the thing is called now.
RETIRED = {
    "Wishes": "RunOptions",
    "Wish": "RetryFilter",
    "WishProblem": "RetryFilterProblem",
    "Course": "JobRoute",
    "Pool": "Router",
    "Way": "Permit",
    "Pass": "Reservation",
    "Tally": "QuotaStore",
    "OwnTally": "MemoryQuotaStore",
    "SharedTally": "FileQuotaStore",
    "Slots": "ConcurrencyLimit",
    "Pace": "RatePacer",
    "Repeats": "RecoveryPolicy",
    "Patterns": "FailurePatterns",
    "Buyer": "AttemptRunner",
    "Vendor": "PricedProvider",
    "Ticket": "OpenAttempt",
    "Takeover": "Adopter",
    "FolderToReuse": "SourceFolder",
    "OpenAccount": "KeyedAccount",
    "Prepared": "PreparedRun",
    "LeftOut": "DisabledEndpoint",
    "NowFile": "LiveStatusFile",
    "OwnLoad": "Bottleneck",
    "slowed_by": "local_bottleneck",
    "JobMaker": "JobBuilder",
    "Picker": "RowSelector",
    "Offer": "ModelCapabilities",
    "KeyRows": "KeyIndex",
    "KeyNumbers": "KeyMap",
    "RunStopper": "EndpointDown",
    "Oddity": "WarningKind",
    "Ballast": "DiskReserve",
    "LedgerReading": "BackgroundReplay",
    "Wasted": "WasteBreaker",
}


def names_in_the_package() -> Iterator[tuple[str, str]]:
    for file in sorted((ROOT / "batch").rglob("*.py")):
        for token in tokenize.generate_tokens(io.StringIO(file.read_text("utf-8")).readline):
            if token.type == tokenize.NAME and token.string in RETIRED:
                yield token.string, f"{file.relative_to(ROOT)}:{token.start[0]}"


def test_no_retired_name_comes_back() -> None:
    """A second word for a thing is a second thing to look for."""
    found = [f"{where}: {name} is called {RETIRED[name]} now" for name, where in names_in_the_package()]
    assert found == []


@pytest.mark.parametrize("term", ["router", "permit", "turnstile", "reservation", "circuit breaker", "adoption"])
def test_the_glossary_has_the_terms(term: str) -> None:
    """What replaced a retired name is explained."""
    assert f"| {term} |" in (ROOT / "docs/glossary.md").read_text("utf-8")
