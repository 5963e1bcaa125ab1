"""Pictures in folders, OpenAI's format, kept answers read again, a rehearsal moved away: killed where order matters.

All points: `python -m tests.crash.kills`, see docs/ledger.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crash.injector import Fault
from tests.crash.kills import try_kill
from tests.crash.scenarios import Scenario, scenario
from tests.crash.sweep import provider

POINTS = [
    ("run in folders", "link:2:before:KILL"),
    ("run in folders", "link:2:after:KILL"),
    ("run in folders", "link:4:after:KILL"),
    ("run in folders", "fdatasync:4:before:KILL"),
    ("run at openai", "fdatasync:1:after:KILL"),
    ("run at openai", "fdatasync:2:after:KILL"),
    ("run at openai", "link:2:before:KILL"),
    ("run at openai", "link:3:after:KILL"),
    ("run at openai", "unlink:3:after:KILL"),
    ("run at openai", "send:2:after:KILL"),
    ("run at openai", "recv:2:after:KILL"),
    ("reread", "link:1:after:KILL"),
    ("reread", "fdatasync:1:after:KILL"),
    ("reread", "link:3:before:KILL"),
    ("older folder", "link:2:after:KILL"),
    ("older folder", "rename:2:before:KILL"),
    ("older folder", "unlink:3:after:KILL"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Scenario]]:
    """A scenario by its name, prepared once."""
    folder = tmp_path_factory.mktemp("kills")
    there: dict[str, Scenario] = {}
    with provider(folder) as simulator:

        def get(name: str) -> Scenario:
            if name not in there:
                there[name] = scenario(name, folder / name, simulator)
            return there[name]

        yield get


@pytest.mark.parametrize(("name", "words"), POINTS)
def test_a_kill_loses_no_picture_and_the_same_command_ends_it(
    name: str, words: str, made: Callable[[str], Scenario], tmp_path: Path
) -> None:
    """What was paid for or drawn is in its place or where it came from; typed again, each is there once."""
    assert try_kill(made(name), tmp_path / "out", Fault.parse(words)) == []
