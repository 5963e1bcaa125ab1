"""How a run ended, as a code, a word and numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batch.core.errors import EndpointDown, ExitCode, InputError, Problem, StorageError
from batch.core.results import Summary
from batch.plan import DECISIONS, Policies, make_plan
from batch.plan.causes import CAUSES
from batch.report.advice import advice_lines, retry_causes
from batch.report.summary import Interrupted, Spent, Totals, conclude, count_jobs
from batch.report.text import last_line, summary_lines
from batch.store.history import History
from batch.store.ledger import Line, StoredFile
from batch.store.places import shelf_of
from tests.support.fakes import job

ALL_DONE = Totals(done=9, failed=0, unknown=0, pending=0, missing=0, causes=Counter())
SPENT = Spent(usd_before=0.0, maybe_usd_before=0.0, requests=9, resent=(), seconds=61.0)


def totals(**fields: Any) -> Totals:
    return replace(ALL_DONE, **fields)


def concluded(totals: Totals, *errors: BaseException, spent: Spent = SPENT) -> Summary:
    return conclude("m", "/out/m", totals, History(), spent, (None, *errors), lambda job: 0.067)


TERM = Interrupted(15, "SIGTERM")
DISK = StorageError("disk full")
KEY = EndpointDown("bad_key", "401", exit_code=ExitCode.NO_PERMISSION)
QUOTA = EndpointDown("daily_quota", "429", exit_code=ExitCode.TEMPORARY, not_before="2026-02-01T08:00:00Z")
ROW = InputError([Problem(message="row 3 is gone")])


@pytest.mark.parametrize(
    ("numbers", "errors", "expected"),
    [
        ({}, (), (0, "done")),
        ({"failed": 1}, (), (1, "failed_jobs")),
        ({"failed": 1, "worth_retrying": 1}, (), (75, "failed_for_now")),
        ({"failed": 2, "worth_retrying": 1}, (), (75, "failed_for_now")),
        ({"pending": 1, "failed": 1}, (), (75, "pending_jobs")),
        ({"unknown": 1, "failed": 1, "pending": 1}, (), (3, "unknown_outcome")),
        ({"missing": 1}, (), (3, "missing_files")),
        ({"missing": 1, "unknown": 1}, (), (3, "unknown_outcome")),
        ({"pending": 5}, (QUOTA,), (75, "daily_quota")),
        ({"pending": 5, "unknown": 1}, (QUOTA,), (3, "unknown_outcome")),
        ({"pending": 5, "unknown": 1}, (KEY,), (77, "bad_key")),
        ({"pending": 5}, (DISK,), (74, "storage")),
        ({"pending": 5}, (ROW,), (65, "input")),
        ({"pending": 5}, (ValueError("bug"),), (70, "internal")),
        ({}, (DISK,), (74, "storage")),
        ({"pending": 5}, (KEY, DISK), (74, "storage")),
        ({"pending": 5}, (DISK, ValueError("bug")), (70, "internal")),
        ({"pending": 5}, (TERM,), (143, "interrupted")),
        ({"unknown": 5}, (TERM,), (143, "interrupted")),
        ({"failed": 5, "worth_retrying": 5}, (TERM,), (143, "interrupted")),
        ({"pending": 5}, (TERM, ValueError("bug")), (143, "interrupted")),
        ({}, (TERM,), (0, "done")),
        ({"failed": 1}, (TERM,), (1, "failed_jobs")),
    ],
)
def test_verdict(numbers: dict[str, int], errors: tuple[BaseException, ...], expected: tuple[int, str]) -> None:
    """If several things are true, the exit code is the one that most needs a person."""
    summary = concluded(totals(**numbers), *errors)
    assert (summary.exit, summary.reason) == expected


def test_numbers() -> None:
    """The summary speaks of this run: money since its start, and jobs that may have been paid twice in it."""
    history = History()
    history.usd, history.maybe_usd = 10.0, 1.0
    spent = Spent(usd_before=9.33, maybe_usd_before=0.933, requests=11, resent=(job("a"), job("b")), seconds=1.23456)
    summary = conclude("m", "/out/m", ALL_DONE, history, spent, (), lambda job: 0.067)
    assert (summary.cost_usd, summary.maybe_cost_usd, summary.seconds) == (0.67, 0.067, 1.235)
    assert (summary.possibly_paid_twice, summary.possibly_paid_twice_usd) == (2, 0.134)


@pytest.mark.parametrize(
    ("error", "message", "not_before"),
    [
        (QUOTA, "429", "2026-02-01T08:00:00Z"),
        (TERM, "asked to by SIGTERM", None),
        (KeyError("x"), "a bug in imagebatch: KeyError: 'x'", None),
    ],
)
def test_words_of_what_stopped_it(error: BaseException, message: str, not_before: str | None) -> None:
    """What stopped the run is said in a sentence."""
    summary = concluded(totals(pending=1), error)
    assert (summary.message, summary.not_before) == (message, not_before)


def test_counting_jobs(tmp_path: Path) -> None:
    """The manifest's jobs by where they stand, those the ledger does not know included, and no others."""
    ends = {
        "a": Line(n=1, t="done"),
        "b": Line(n=1, t="done", images=[StoredFile(path="images/gone.png", bytes=3)]),
        "c": Line(n=1, t="fail", code="image_safety", again=False),
        "d": Line(n=1, t="fail", code="unavailable"),
        "e": Line(n=1, t="unk", code="cut"),
        "f": None,
        "h": Line(n=1, t="fail", code="unavailable"),
        "not in the manifest": Line(n=1, t="done"),
    }
    history = History(shelf_of(tmp_path))
    for name, end in ends.items():
        history.apply(0, Line(n=1, t="try", job=name, spec="0" * 32, att=1))
        if end is not None:
            end.job, end.spec = name, "0" * 32
            history.apply(1, end)
    plan = make_plan([job(name) for name in "abcdefghi"], History(), Policies(), lambda _: 0.0)
    plan.decisions[7] = DECISIONS.index("skip: set aside")
    plan.decisions[1] = plan.decisions[8] = DECISIONS.index("skip: left out")

    found = count_jobs(plan, history)

    assert (found.done, found.failed, found.unknown, found.pending, found.missing) == (2, 3, 1, 2, 1)
    assert (found.worth_retrying, found.causes) == (1, {"image_safety": 1, "unavailable": 2})
    assert (found.set_aside, found.left_out) == (1, 1)
    assert history.tally_of_all().total() == len(ends)


def lines(summary: Summary, **fields: Any) -> list[str]:
    return list(summary_lines(replace(summary, **fields), "imagebatch run m.yaml", "imagebatch plan m.yaml"))


def test_a_full_success_in_words() -> None:
    """Four lines: how many, how much, and where the pictures and captions are."""
    assert lines(concluded(ALL_DONE), cost_usd=0.603) == [
        "m: 9 of 9 jobs done",
        "  this run   9 requests in 1 min 01 s, $0.603 at list price",
        "  pictures   /out/m/images/",
        "  captions   /out/m/manifest.jsonl",
    ]


def test_everything_that_can_be_said() -> None:
    """Trouble in words, foreign text made harmless, and the command to type next."""
    found = lines(
        concluded(
            totals(failed=3, unknown=1, pending=5, missing=1, worth_retrying=2, causes=Counter(a=2, b=1)),
            EndpointDown("daily_quota", "day\x1b[31m", not_before="2026-02-01T08:00:00Z"),
        ),
        maybe_cost_usd=0.067,
        possibly_paid_twice=1,
        possibly_paid_twice_usd=0.067,
    )
    assert found[0] == "m: 9 of 18 jobs done, 3 failed (2 for now), 1 unknown, 5 pending"
    assert found[2:5] == [
        "  failed     2 a, 1 b",
        "  unknown    requests without an answer may have cost up to $0.067 more",
        "  twice      possibly paid twice: 1 job, at most $0.067",
    ]
    assert found[-4:] == [
        r"  stopped    day\x1b[31m",
        "  not before 2026-02-01T08:00:00Z",
        "  advice     unknown: look for the requests in the provider's log or bill, then say what you found: "
        "imagebatch resolve /out/m --list",
        "  next       imagebatch run m.yaml   (goes on with 7 jobs)",
    ]


def test_failures_come_with_advice_and_a_command() -> None:
    """Where only failures are left: what to do about each kind, most frequent first, and what shows the way."""
    causes = Counter(image_safety=3, safety=1, text_only=2)
    found = lines(concluded(totals(failed=6, causes=causes)))
    assert found[-3:] == [
        "  advice     image_safety, safety: the provider's filter refused these: change the words or the photo, or let "
        "another model try (fallback: {models: [MODEL], on: [safety]})",
        '  advice     text_only: the model answered without a picture: say "a photo of ..." in the prompt, or try '
        "again with --retry (charged again)",
        "  next       imagebatch plan m.yaml --retry image_safety,text_only,safety",
    ]


def test_accepted_failures_need_no_command() -> None:
    """A person has decided on them."""
    found = lines(concluded(totals(failed=1, failed_accepted=1, causes=Counter(image_safety=1))))
    assert not [line for line in found if line.startswith("  next")]


def test_every_cause_has_advice() -> None:
    """But for those that end a run, which say so, and those a person decided on."""
    ends_run = {
        *("account_limited", "account_not_ready", "bad_key", "budget", "daily_quota", "day_used_up", "long_pause"),
        *("model_missing", "no_credit", "no_quota", "no_service", "permission_denied", "redirected"),
        *("spend_book_held", "tls", "wrong_address", "model_not_allowed", "answers_later"),
    }
    tools = {"malformed_function_call", "unexpected_tool_call", "too_many_tool_calls", "missing_thought_signature"}
    without = {code for code in CAUSES if not list(advice_lines([code], "o", unknown=False))}
    assert without == {*ends_run, *tools, "resolved_paid", "resolved_unpaid", "resolved_failed"}


def test_many_causes_are_retried_together() -> None:
    """A command stays short enough to be read."""
    assert retry_causes(["a", "b"]) == "a,b"
    assert retry_causes(["a", "b", "c", "d"]) == "all"


def test_the_last_line() -> None:
    """One line with code, cause, how many are left, and when to come back."""
    summary = concluded(totals(pending=3), QUOTA)
    assert last_line(summary) == ("imagebatch: 75 daily_quota: 3 of 12 left; earliest 2026-02-01T08:00:00Z; out=/out/m")
