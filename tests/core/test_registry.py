"""Which providers there are, and what it costs to know."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from batch.core.registry import GROUP, SHIPPED, find_profile


def test_ours_are_registered_as_any_other() -> None:
    """The registry knows the entry points that pyproject.toml declares, and each has the name it is called by."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"][GROUP] == SHIPPED
    assert [find_profile(name).name for name in SHIPPED] == list(SHIPPED)


def test_nothing_is_looked_through_for_ours() -> None:
    """Searching the installed packages takes longer than all else of `--help`."""
    code = "import sys; from batch.core.registry import find_profile as f; f('google'); print(*sys.modules)"
    root = str(Path(__file__).parents[2])
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert "importlib.metadata" not in shown.stdout.split()
