"""Output folders of an earlier version (a1c51de, before a job could ask for more than ratio, size and modalities)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import batch
from batch.runner.run import plan_only

EARLIER = Path(__file__).parent / "earlier"
KEYS = {"ANYFAST_API_KEY": "sk-for-tests", "GEMINI_API_KEY": "K-for-tests"}
#: Name, jobs done, jobs that are failed or unknown.
FOLDERS = [("mixed", 7, 2), ("table", 4, 0), ("rehearsed", 3, 0)]


@pytest.fixture
def earlier(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of one of the folders, beside its manifest."""
    return Path(shutil.copytree(EARLIER / request.param, tmp_path / request.param))


def test_every_earlier_folder_is_tried() -> None:
    """The tests below miss none."""
    assert {name for name, *_ in FOLDERS} == {folder.name for folder in EARLIER.iterdir()}


@pytest.mark.parametrize(("earlier", "done", "others"), FOLDERS, indirect=["earlier"])
async def test_an_earlier_output_is_finished_without_a_request(earlier: Path, done: int, others: int) -> None:
    """Nothing listens at its provider's address; the ledger's bytes stay, and so do pictures and manifest.jsonl."""
    output = earlier / "out"
    ledger = (output / "ledger.jsonl").read_bytes()
    pictures = {file.name: file.read_bytes() for file in (output / "images").iterdir()}
    lines = [json.loads(line) for line in (output / "manifest.jsonl").read_bytes().splitlines()]
    summary = await batch.run(earlier / "m.yaml", output=output, environment=KEYS)
    assert (summary.requests, summary.done, summary.failed + summary.unknown) == (0, done, others)
    assert (output / "ledger.jsonl").read_bytes().startswith(ledger)
    assert {file.name: file.read_bytes() for file in (output / "images").iterdir()} == pictures
    assert [json.loads(line) for line in (output / "manifest.jsonl").read_bytes().splitlines()] == lines


@pytest.mark.parametrize(("earlier", "done", "others"), FOLDERS, indirect=["earlier"])
def test_an_earlier_output_has_nothing_left_to_send(earlier: Path, done: int, others: int) -> None:
    """Every job of its manifest has the spec that was bought."""
    plan = plan_only(earlier / "m.yaml", output=earlier / "out").plan
    assert (plan.to_do, plan.count("skip: changed"), plan.to_adopt) == (0, 0, 0)
    assert plan.count("skip: done") == done
    assert plan.jobs == done + others
