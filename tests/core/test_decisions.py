"""What counts when several have said something of one picture."""

from __future__ import annotations

import pytest

from batch.core.decisions import Decision, Decisions, Side, Verdict


def said(verdict: Verdict, side: Side = Side.PERSON, *, job: str = "cup", sha256: str = "a1") -> Decision:
    return Decision(at="2026-01-01T00:00:00.000Z", job=job, sha256=sha256, verdict=verdict, side=side)


A, R, S, U = Verdict.ACCEPTED, Verdict.REJECTED, Verdict.SEEN, Verdict.UNDONE
P, M = Side.PERSON, Side.MACHINE


@pytest.mark.parametrize(
    ("words", "counts"),
    [
        ([(R, P), (A, P)], A),
        ([(A, P), (R, M)], A),
        ([(R, M), (A, P)], A),
        ([(R, M), (A, P), (U, P)], R),
        ([(R, P), (U, M)], R),
        ([(R, P), (U, P)], None),
        ([(R, P), (S, P)], R),
        ([(R, M), (S, P)], R),
        ([(S, P), (R, M)], R),
        ([(S, P)], S),
        ([(S, M), (S, P), (U, P)], S),
        ([(R, P), (U, P), (S, P)], S),
    ],
)
def test_a_person_counts_for_more_and_the_last_word_counts(
    words: list[tuple[Verdict, Side]], counts: Verdict | None
) -> None:
    """Looking at a picture takes back nothing, neither a person's verdict nor a machine's."""
    found = Decisions(said(verdict, side) for verdict, side in words).of("cup", "a1")
    assert (found.verdict if found else None) is counts


def test_a_picture_is_seen_once_a_person_has_looked_at_it() -> None:
    """A machine's verdict is no look, and another picture of the job is another one."""
    decisions = Decisions([said(R, M), said(A, P, sha256="b2"), said(S, P, job="tea")])
    seen = [decisions.is_seen(*picture) for picture in (("cup", "a1"), ("cup", "b2"), ("tea", "a1"), ("tea", "b2"))]
    assert seen == [False, True, True, False]


def test_each_picture_comes_once() -> None:
    """By job and picture, in the order in which they were first decided on; what was taken back does not come."""
    decisions = Decisions([said(R, M), said(A), said(R, sha256="b2"), said(R, job="tea"), said(U, sha256="b2")])
    assert [(each.job, each.sha256, each.verdict) for each in decisions] == [("cup", "a1", A), ("tea", "a1", R)]
    assert len(decisions) == 2
