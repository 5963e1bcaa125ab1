"""Retired names stay retired: one word for one thing, as docs/glossary.md has it."""

from __future__ import annotations

import io
import re
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


#: Phrases that were translated, or speak of things as of persons, and what to write instead.
RETIRED_PHRASES = {
    r"somebody": "name the person or the thing",
    r"whoever": "name the person or the thing",
    r"for ever\b": "say what ends it, or that nothing does",
    r"in vain": "without a picture",
    r"becomes? of|became of": "how it ended",
    r"told from": "recognised by, matched to",
    r"is to be there": "a deadline",
    r"speaks? nonsense": "does not answer as the API does",
    r"puts? up with": "accepts",
    r"nobody (was served|sends|asks|told|knows)": "no request was served",
    r"everybody": "all requests, all jobs",
    r"anybody": "any request, a process",
}


def pages_and_code() -> Iterator[Path]:
    yield ROOT / "README.md"
    written_down = {"changelog.md", "mutation.md", "mutation-survivors.md"}
    yield from (page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in written_down)
    yield ROOT / "docs/manifest.schema.json"
    yield from (file for file in sorted((ROOT / "batch").rglob("*.py")) if "simulator" not in file.parts)


def test_no_retired_phrase_comes_back() -> None:
    """English that reads as it would be said: subject, verb, the field's noun."""
    found = [
        f"{file.relative_to(ROOT)}:{number}: {match[0]!r}; write: {RETIRED_PHRASES[pattern]}"
        for file in pages_and_code()
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        for pattern in RETIRED_PHRASES
        if (match := re.search(rf"\b(?:{pattern})", line, re.IGNORECASE))
    ]
    assert found == []


@pytest.mark.parametrize("term", ["router", "permit", "turnstile", "reservation", "circuit breaker", "adoption"])
def test_the_glossary_has_the_terms(term: str) -> None:
    """What replaced a retired name is explained."""
    assert f"| {term} |" in (ROOT / "docs/glossary.md").read_text("utf-8")
