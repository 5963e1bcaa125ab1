"""docs/limits-and-money.md: what it says of an answer is shown by a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/limits-and-money.md").read_text("utf-8")


def test_every_test_it_names_exists() -> None:
    """A test that is renamed takes its name in the table along."""
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    sources = (file.read_text("utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    there = {name for source in sources for name in re.findall(r"^(?:async )?def (test_\w+)", source, re.MULTILINE)}
    assert len(named) > 20
    assert not named - there


def test_every_answer_has_its_test() -> None:
    """No row of the table goes without."""
    section = PAGE[PAGE.index("## What an answer means") :]
    rows = [line for line in section[: section.index("\n### ")].splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    assert [row for row in rows if "`test_" not in row.split("|")[-2]] == []
