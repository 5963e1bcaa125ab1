"""`imagebatch compare`: two outputs in figures, as pages, and as a review."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from batch import run_sync
from batch.album import PairedAlbum, open_album
from batch.analysis import compare, comparison_lines
from batch.core.decisions import Decision, Verdict
from batch.store.decisions import DecisionFile
from tests.review.test_command import post, serving


def bought(output: Path, words: str, ids: str, size: str = "512") -> None:
    manifest: dict[str, Any] = {
        "provider": {
            "profile": "simulator",
            "simulator": {"faults": [{"fault": "finish_image_safety", "prompt": "a knife"}]},
        },
        "defaults": {"image_size": size},
        "jobs": [{"id": each, "prompt": words + (" knife" if each == "k" else f" cup {each}")} for each in ids],
    }
    run_sync(manifest, output=output)


@pytest.fixture
def outputs(tmp_path: Path) -> tuple[Path, Path]:
    """Two models' worth: the second is dearer and has no failure."""
    one, two = tmp_path / "small", tmp_path / "large"
    bought(one, "a", "abck")
    bought(two, "the", "bakd", "1K")
    return one, two


def accept(output: Path, job: str) -> None:
    sha256 = open_album(output).entry(job).versions[0].pictures[0].sha256
    DecisionFile(output).append(
        [Decision(at="2026-01-01T00:00:00.000Z", job=job, sha256=sha256, verdict=Verdict.ACCEPTED)]
    )


def test_jobs_are_paired_and_winners_counted(outputs: tuple[Path, Path]) -> None:
    """A job counts for the side whose picture was accepted."""
    accept(outputs[0], "a")
    accept(outputs[1], "b")
    accept(outputs[1], "k")
    found = compare(PairedAlbum(*outputs))

    assert (found.in_both, found.only_first, found.only_second) == (3, 1, 1)
    assert (found.first_accepted, found.second_accepted, found.both_accepted, found.undecided) == (1, 2, 0, 0)
    assert (found.first.jobs.failed, found.second.jobs.failed) == (1, 0)


def test_the_table_has_both_sides_in_columns(outputs: tuple[Path, Path]) -> None:
    """What one side has not is a dash."""
    accept(outputs[1], "b")
    lines = list(comparison_lines(compare(PairedAlbum(*outputs))))

    assert lines[0] == "3 jobs in both, 1 only in small, 1 only in large"
    assert lines[1].split() == ["small", "large"]
    cells = {line.split("  ")[1]: line.split()[-2:] for line in lines[2:]}
    assert cells["done"] == ["3", "4"]
    assert cells["failed"] == ["1", "–"]
    assert cells["chosen, of the jobs in both"] == ["0", "1"]
    assert len({len(line) for line in lines[1:]}) == 1


def test_pages_written_elsewhere_are_complete(outputs: tuple[Path, Path], tmp_path: Path) -> None:
    """Both sides' pictures are in the folder."""
    command = [sys.executable, "-P", "-m", "batch", "compare", *map(str, outputs), "--to", str(tmp_path / "pages")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)

    assert "3 jobs in both" in ran.stdout
    assert (
        len(list((tmp_path / "pages" / "a").rglob("*.jpg"))) + len(list((tmp_path / "pages" / "a").rglob("*.png"))) == 3
    )
    assert len([path for path in (tmp_path / "pages" / "b").rglob("*") if path.is_file()]) == 4
    assert '"small"' in "".join(path.read_text() for path in (tmp_path / "pages" / "data").glob("details-*.js"))


def test_json_has_the_figures_of_both(outputs: tuple[Path, Path]) -> None:
    """For programs."""
    command = [sys.executable, "-P", "-m", "batch", "compare", *map(str, outputs), "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(ran.stdout)

    assert found["names"] == ["small", "large"]
    assert (found["first"]["jobs"]["done"], found["second"]["jobs"]["done"]) == (3, 4)


def test_a_picked_picture_is_accepted_in_its_own_folder(outputs: tuple[Path, Path]) -> None:
    """Pages show the pictures of both; the decision goes where the picture is."""
    picture = open_album(outputs[1]).entry("a").versions[0].pictures[0]
    with serving("compare", *map(str, outputs)) as (_, address):
        with urllib.request.urlopen(urljoin(address, f"../b/{picture.path}"), timeout=30) as answer:
            assert answer.read() == (outputs[1] / picture.path).read_bytes()
        with urllib.request.urlopen(f"{address}thumbs/{picture.sha256[:2]}/{picture.sha256}.webp", timeout=30) as small:
            assert small.read(4) == b"RIFF"
        assert post(address, [{"job": "a", "sha256": picture.sha256, "verdict": "accepted"}]) == 200

    assert [decision.job for decision in DecisionFile(outputs[1]).lines()] == ["a"]
    assert not list(DecisionFile(outputs[0]).lines())
