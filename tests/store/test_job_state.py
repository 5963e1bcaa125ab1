"""What each kind of line makes of a job's facts: every field, from facts in which every field says something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from batch.core.picture_warnings import WarningKind
from batch.core.results import Decided
from batch.store.job_state import FactTable, FileState, JobFacts, State

BLANK = (WarningKind.BLANK,)
BEFORE = JobFacts(
    state=State.UNKNOWN,
    attempts=5,
    rejected=2,
    resends=3,
    versions=1,
    missing=True,
    code="cut",
    altered=True,
    accepted=True,
    warned=BLANK,
)


@pytest.mark.parametrize("why", ["new", "again", "remake", "missing", "rejected", "resend"])
def test_a_try_keeps_the_counts_unless_a_new_picture_is_wanted(why: str) -> None:
    """A remake has a budget of its own for charged failures and for resends."""
    known = BEFORE.after_try(6, why)
    counts = {"remake": (0, 0), "missing": (0, 0), "rejected": (0, 0), "resend": (2, 4)}
    rejected, resends = counts.get(why, (2, 3))
    assert known == BEFORE._replace(state=State.SENT, attempts=6, rejected=rejected, resends=resends)


def test_an_edited_try_that_is_a_resend_is_counted_as_one() -> None:
    """From zero, and so are the pictures that were made."""
    known = BEFORE._replace(made=1).after_edited_try(6, "resend")
    assert known == BEFORE._replace(state=State.SENT, attempts=6, rejected=0, resends=1)


@pytest.mark.parametrize("files", FileState)
def test_a_picture_leaves_nothing_of_the_failure_before_it(files: FileState) -> None:
    """Neither a code, nor that a loss was accepted, nor warnings about the picture it replaces."""
    assert BEFORE.after_done(files, ()) == JobFacts(
        state=State.DONE,
        attempts=5,
        rejected=2,
        resends=3,
        versions=2,
        made=1,
        missing=files is FileState.MISSING,
        altered=files is FileState.ALTERED,
    )


@pytest.mark.parametrize(("paid", "rejected", "left"), [("yes", 2, 1), ("yes", 0, 0), ("no", 2, 2), ("unknown", 2, 2)])
def test_a_kept_answer_that_holds_a_picture_was_not_rejected(paid: str, rejected: int, left: int) -> None:
    """It is taken off the count if it was on it, and never below zero."""
    known = BEFORE._replace(rejected=rejected).after_reread(FileState.ALTERED, BLANK, paid)
    assert known == BEFORE._replace(
        state=State.DONE, rejected=left, versions=2, made=1, missing=False, altered=True, accepted=False, code=""
    )


@pytest.mark.parametrize(
    ("change", "after"),
    [
        (lambda: BEFORE.after_unknown("timeout"), {"state": State.UNKNOWN, "code": "timeout"}),
        (
            lambda: BEFORE.after_failure(State.FAILED, "blocked", "no"),
            {"state": State.FAILED, "code": "blocked", "accepted": False},
        ),
        (
            lambda: BEFORE.after_failure(State.RETRYABLE, "text_only", "yes"),
            {"state": State.RETRYABLE, "code": "text_only", "rejected": 3, "accepted": False},
        ),
        (
            lambda: BEFORE.after_decision(Decided.ACCEPTED, "resolved"),
            {"state": State.DONE, "missing": False, "altered": False, "accepted": True, "code": ""},
        ),
        (
            lambda: BEFORE._replace(accepted=False).after_decision(Decided.ACCEPTED, "resolved"),
            {"state": State.DONE, "missing": False, "altered": False, "accepted": True, "code": ""},
        ),
        (
            lambda: BEFORE.after_decision(Decided.UNPAID, "resolved"),
            {"state": State.WAITING, "resends": 0, "code": ""},
        ),
        (lambda: BEFORE.after_decision(Decided.PAID, "resolved"), {"resends": 3, "code": "resolved"}),
        (
            lambda: BEFORE._replace(resends=0).after_decision(Decided.PAID, "resolved"),
            {"resends": 1, "code": "resolved"},
        ),
        (lambda: BEFORE.after_decision(Decided.FAILED, "resolved"), {"state": State.FAILED, "code": "resolved"}),
    ],
)
def test_what_a_line_says_is_changed_and_nothing_else(change: Callable[[], JobFacts], after: dict[str, Any]) -> None:
    """Of an unknown outcome, a failure and each of a person's decisions."""
    known = change()
    assert known == BEFORE._replace(**after)
    assert [type(value) for value in known] == [type(value) for value in BEFORE]


def test_the_same_step_is_worked_out_once() -> None:
    """A ledger of millions of lines has a few different steps."""
    asked: list[str] = []

    def change(facts: JobFacts, code: str) -> JobFacts:
        asked.append(code)
        return facts.after_unknown(code)

    table = FactTable()
    numbers = [table.after(0, change, code) for code in ("cut", "timeout", "cut", "timeout")]

    assert numbers == [1, 2, 1, 2]
    assert asked == ["cut", "timeout"]
    assert [facts.code for facts in table.facts] == ["", "cut", "timeout"]
