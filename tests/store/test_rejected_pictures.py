"""Decisions followed while others write them."""

from __future__ import annotations

from pathlib import Path

from batch.core.decisions import Decision, Verdict
from batch.store.decisions import DecisionFile, FollowedDecisions


def said(job: str, verdict: Verdict = Verdict.REJECTED) -> Decision:
    return Decision(at="now", job=job, sha256="a1", verdict=verdict)


def test_what_is_added_is_read_once(tmp_path: Path) -> None:
    """Only what came since the last look, and no line before it is whole."""
    file, followed = DecisionFile(tmp_path), FollowedDecisions(tmp_path)
    assert followed.catch_up() == []
    file.append([said("cup"), said("tea")])
    assert [each.job for each in followed.catch_up()] == ["cup", "tea"]
    with (tmp_path / "decisions.jsonl").open("ab") as stream:
        stream.write(b'{"at":"now","job":"to')
        stream.flush()
        assert followed.catch_up() == []
        stream.write(b'rn","sha256":"a1","verdict":"accepted"}\n')
    assert [each.job for each in followed.catch_up()] == ["torn"]
    assert followed.catch_up() == []
    assert len(followed.decisions) == 3


def test_another_file_in_its_place_is_read_anew(tmp_path: Path) -> None:
    """Replaced, cut off or gone: only what is there counts."""
    file, followed, path = DecisionFile(tmp_path), FollowedDecisions(tmp_path), tmp_path / "decisions.jsonl"
    file.append([said("cup"), said("tea")])
    followed.catch_up()
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[1])
    assert [each.job for each in followed.catch_up()] == ["tea"]
    assert [each.job for each in followed.decisions] == ["tea"]
    (tmp_path / "new").write_bytes(path.read_bytes() * 3)
    (tmp_path / "new").rename(path)
    assert len(followed.catch_up()) == 3
    path.unlink()
    assert (followed.catch_up(), len(followed.decisions)) == ([], 0)


def test_a_torn_end_that_was_cut_off_does_not_hide_what_came_in_its_place(tmp_path: Path) -> None:
    """The next writer moves it away, and appends where it stood."""
    file, followed = DecisionFile(tmp_path), FollowedDecisions(tmp_path)
    file.append([said("cup")])
    with (tmp_path / "decisions.jsonl").open("ab") as stream:
        stream.write(b"torn" * 100)
    followed.catch_up()
    file.append([said("tea")])
    assert [each.job for each in followed.catch_up()] == ["tea"]
