"""Messages are safe to print and stay short."""

from __future__ import annotations

from batch.errors import InputError, Problem
from batch.manifest.problems import KEPT_PROBLEMS, Problems, did_you_mean, show


def test_show_escapes_what_a_terminal_would_act_on() -> None:
    """Control, invisible and right-to-left characters are spelled out; letters of any language are not."""
    assert show("a\x1b[31m\n\u202e猫\x9b\ud800") == "a\\x1b[31m\\n\\u202e猫\\x9b\\ud800"


def test_show_is_one_short_line() -> None:
    """A whole prompt in a message helps nobody."""
    assert len(show("x" * 1000)) == 120
    assert show("x" * 120) == "x" * 120


def test_did_you_mean_lists_a_few_names_if_nothing_is_close() -> None:
    """Fifty columns are too many to read."""
    assert did_you_mean("TITEL", ["Title", "Body"], "columns") == "did you mean Title?"
    assert did_you_mean("q", [f"c{n}" for n in range(20)], "columns").endswith("c15 and 4 more")


def test_problems_are_sorted_and_capped() -> None:
    """The manifest's come before the table's, each in the order of its file; the rest is counted."""
    problems = Problems("m.yaml")
    for line in range(KEPT_PROBLEMS - 1, 0, -1):
        problems.add(Problem(message="wrong", file="t.csv", line=line))
    problems.add(Problem(message="wrong", file="m.yaml", line=9))
    for line in range(40):
        problems.add(Problem(message="more", file="t.csv", line=line))

    try:
        problems.raise_if_any()
    except InputError as error:
        texts = str(error).split("\n")

    assert texts[:2] == ["m.yaml:9: wrong", "t.csv:1: wrong"]
    assert texts[-1] == "... and 40 more"
    assert len(texts) == KEPT_PROBLEMS + 1
