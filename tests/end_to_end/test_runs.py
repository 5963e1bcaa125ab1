"""The example manifests, as a newcomer runs them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import batch

JOBS = Path(__file__).parents[2] / "jobs"
EXAMPLES = sorted(JOBS.glob("*.yaml"))


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    """A copy, so that nothing is written beside the originals."""
    return Path(shutil.copytree(JOBS, tmp_path / "jobs"))


def test_there_are_examples() -> None:
    """The tests below test something."""
    assert "quickstart.yaml" in {example.name for example in EXAMPLES}


@pytest.mark.parametrize("name", [example.name for example in EXAMPLES])
async def test_an_example_runs(name: str, jobs: Path, tmp_path: Path) -> None:
    """Every example runs without a key to its end, and again without a request."""
    first = await batch.run(jobs / name, output=tmp_path / "out", environment={})
    assert (first.exit, first.pending, first.failed) == (0, 0, 0)
    assert first.done == len(list((tmp_path / "out" / "images").iterdir())) > 0
    again = await batch.run(jobs / name, output=tmp_path / "out", environment={})
    assert (again.exit, again.requests) == (0, 0)
