"""Two outputs as one album."""

from __future__ import annotations

from pathlib import Path

import pytest

from batch import run_sync
from batch.album import PairedAlbum, open_album
from batch.album.pairing import names_of
from batch.core.decisions import Decision, Verdict
from batch.store.decisions import DecisionFile
from batch.store.job_state import Standing


def bought(output: Path, words: str, ids: str) -> None:
    manifest = {
        "provider": {
            "profile": "simulator",
            "simulator": {"faults": [{"fault": "finish_image_safety", "prompt": "a knife"}]},
        },
        "defaults": {"image_size": "512"},
        "jobs": [{"id": each, "prompt": words + (" knife" if each == "k" else f" cup {each}")} for each in ids],
    }
    run_sync(manifest, output=output)


@pytest.fixture
def pair(tmp_path: Path) -> PairedAlbum:
    """A and b in both, c in the first, d in the second; k failed in the first alone."""
    bought(tmp_path / "one", "a", "abck")
    bought(tmp_path / "two", "the", "bakd")
    return PairedAlbum(tmp_path / "one", tmp_path / "two")


def test_each_job_is_there_once_in_the_first_ones_order(pair: PairedAlbum) -> None:
    """Then those that only the second has."""
    assert [entry.id for entry in pair] == ["a", "b", "c", "k", "d"]
    assert [entry.position for entry in pair] == [0, 1, 2, 3, 4]
    assert len(pair) == 5


def test_the_versions_of_a_job_are_the_two_pictures(pair: PairedAlbum) -> None:
    """Each with its words, and the name of its output."""
    entry = pair.entry("a")

    assert [(version.number, version.source, version.prompt) for version in entry.versions] == [
        (1, "one", "a cup a"),
        (2, "two", "the cup a"),
    ]
    for version, output in zip(entry.versions, pair.outputs, strict=True):
        (picture,) = version.pictures
        assert pair.file_of(picture.path).is_relative_to(output)
        assert pair.file_of(picture.path).stat().st_size == picture.size_bytes
        assert pair.picture_path(picture.sha256) in {each.pictures[0].path for each in entry.versions}


def test_what_came_of_a_job_on_either_side_stands_in_its_row(pair: PairedAlbum) -> None:
    """So that pages can filter by it."""
    assert pair.entry("a").row == {"one": "done", "two": "done"}
    assert pair.entry("c").row == {"one": "done", "two": "not in it"}
    assert pair.entry("k").row == {"one": "image_safety", "two": "done"}


def test_a_job_that_one_side_has_done_is_done(pair: PairedAlbum) -> None:
    """The other side's failure is told as well, and the money of both counts."""
    entry = pair.entry("k")
    one, two = (open_album(output).entry("k") for output in pair.outputs)

    assert entry.standing is Standing.DONE
    assert entry.failure == one.failure
    assert entry.current is not None
    assert entry.current.source == "two"
    assert entry.cost_usd == pytest.approx(one.cost_usd + two.cost_usd)


def test_a_decision_belongs_to_the_output_of_its_picture(pair: PairedAlbum) -> None:
    """And an accepted picture is the chosen one."""
    picture = pair.entry("a").versions[1].pictures[0]

    (keeper,) = pair.keepers_of("a", picture.sha256)
    assert keeper == pair.outputs[1]
    assert pair.keepers_of("b", picture.sha256) == ()
    assert pair.keepers_of("nobody", picture.sha256) == ()
    DecisionFile(keeper).append(
        [Decision(at="2026-01-01T00:00:00.000Z", job="a", sha256=picture.sha256, verdict=Verdict.ACCEPTED)]
    )
    pair.refresh()
    entry = pair.entry("a")
    assert entry.chosen == entry.versions[1]
    assert [decision.job for decision in pair.decisions] == ["a"]


def test_jobs_that_come_later_are_seen(pair: PairedAlbum) -> None:
    """A run may be on in either."""
    bought(pair.outputs[1], "the", "bakde")

    assert "e" in pair.refresh()
    assert pair.entry("e").position == 5


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ("/x/flash", "/x/pro", ("flash", "pro")),
        ("/x/flash/out", "/x/pro/out", ("flash/out", "pro/out")),
        ("/w/out", "/x/out", ("w/out", "x/out")),
        ("/x/out", "/x/out", ("out", "out")),
    ],
)
def test_names_are_as_short_as_they_can_be_told_apart(first: str, second: str, names: tuple[str, str]) -> None:
    """The last parts of the paths that differ."""
    assert names_of(Path(first), Path(second)) == names
