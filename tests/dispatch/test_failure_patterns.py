"""What is seen only across jobs."""

from __future__ import annotations

import pytest

from batch.core.errors import AttemptError, EndpointDown, Kind, OutcomeUnknown, Refused, Unavailable, Unusable
from batch.dispatch.failure_patterns import FailurePatterns


def cut(seconds: float) -> OutcomeUnknown:
    return OutcomeUnknown("cut", "the connection was cut", elapsed_seconds=seconds)


@pytest.mark.parametrize(
    ("seconds", "stops"),
    [
        ([60.0, 60.3, 59.9], True),
        ([60.0, 61.9, 60.5], True),
        ([60.0, 62.0, 61.0], True),
        ([60.0, 62.1, 60.5], False),
        ([5.0, 5.0, 5.0], True),
        ([4.9, 4.9, 4.9], False),
        ([10.0, 60.0, 60.1, 60.2], True),
        ([60.0, 60.0], False),
        ([0.1, 0.1, 0.1, 0.1], False),
    ],
)
def test_cuts_at_a_constant_time(seconds: list[float], stops: bool) -> None:
    """Three cuts within two seconds of each other are a timer's; early ones are a bad connection's."""
    patterns = FailurePatterns()
    stoppers = [patterns.attempt_failed(cut(each)) for each in seconds]
    assert stoppers[:-1] == [None] * (len(seconds) - 1)
    last = stoppers[-1]
    assert (last is not None) is stops
    if last is not None:
        assert (last.code, last.exit_code) == ("cut_at_constant_time", 76)
        assert last.message == (
            f"something between here and the API cuts every request after {seconds[-1]:.0f} s (a proxy's time limit, "
            "or the timeouts of this manifest); raise it. The cut requests may have been paid"
        )


@pytest.mark.parametrize(("longer", "stops"), [(90.0, False), (61.1, False), (61.0, True), (60.0, True), (30.0, True)])
def test_a_longer_answer_is_proof_against_a_timer(longer: float, stops: bool) -> None:
    """An answer that took longer than the cuts shows that nothing cuts there; a short one shows nothing."""
    patterns = FailurePatterns()
    patterns.attempt_failed(cut(60.0))
    patterns.attempt_failed(cut(60.0))
    patterns.succeeded(longer)
    assert (patterns.attempt_failed(cut(60.0)) is not None) is stops


@pytest.mark.parametrize("code", ["not_json", "error_in_answer"])
def test_unreadable_answers(code: str) -> None:
    """Three answers in a row that nobody can read: this is not the API we think it is."""
    patterns = FailurePatterns()
    error = Unusable(code, "no JSON", kind=Kind.UNREADABLE)
    assert [patterns.attempt_failed(error), patterns.attempt_failed(error)] == [None, None]
    stopper = patterns.attempt_failed(error)
    assert stopper is not None
    assert (stopper.code, stopper.exit_code) == ("unreadable_answers", 76)
    assert stopper.message == "3 answers in a row could not be read; the last: no JSON"


def test_answers_that_were_read_and_hold_no_picture_are_another_matter() -> None:
    """What was charged for nothing has limits of its own."""
    patterns = FailurePatterns()
    assert [patterns.attempt_failed(Unusable("no_image", "words only")) for _ in range(20)] == [None] * 20


SAME = Refused("invalid_request", "HTTP 400: aspect_ratio is not supported", kind=Kind.MALFORMED)


@pytest.mark.parametrize(
    ("errors", "code", "exit_code"),
    [
        ([SAME] * 5, "all_refused", 77),
        (
            [Refused("invalid_request", f"bad size (request id: 2026{n})", kind=Kind.MALFORMED) for n in range(5)],
            "all_refused",
            77,
        ),
        ([Unavailable("no_channel", "no channel for this model", kind=Kind.NO_CHANNEL)], "no_channel", 77),
        ([SAME] * 4 + [Refused("invalid_request", "another", kind=Kind.MALFORMED)] + [SAME] * 4, None, None),
        ([Refused("invalid_request", f"bad {n}", kind=Kind.MALFORMED) for n in range(20)], None, None),
        ([Refused("image_safety", "blocked", kind=Kind.POLICY)] * 20, None, None),
        ([Unusable("no_image", "words only")] * 20, None, None),
    ],
)
def test_jobs_that_fail_alike(errors: list[AttemptError], code: str | None, exit_code: int | None) -> None:
    """Five jobs in a row told the same words: one cause, not bad jobs. Blocked ones are."""
    patterns = FailurePatterns()
    stoppers: list[EndpointDown | None] = [patterns.job_given_up(error) for error in errors]
    assert stoppers[:-1] == [None] * (len(errors) - 1)
    last = stoppers[-1]
    assert (last and last.code, last and last.exit_code) == (code, exit_code)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SAME, "5 jobs in a row were refused with the same words: HTTP 400: aspect_ratio is not supported"),
        (
            Unavailable("no_channel", "ask the admin", kind=Kind.NO_CHANNEL),
            "the relay has no channel for this model: ask the admin",
        ),
    ],
)
def test_the_servers_words_are_told(error: AttemptError, message: str) -> None:
    """They say what to change."""
    patterns = FailurePatterns()
    *_, last = [patterns.job_given_up(error) for _ in range(5)]
    assert last is not None
    assert last.message == message


def test_a_picture_ends_every_row() -> None:
    """One success, and counting starts anew."""
    patterns = FailurePatterns()
    for _ in range(20):
        for _ in range(4):
            assert patterns.job_given_up(SAME) is None
        for _ in range(2):
            assert patterns.attempt_failed(Unusable("not_json", "", kind=Kind.UNREADABLE)) is None
        patterns.succeeded(5.0)
