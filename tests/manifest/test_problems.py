"""Messages are safe to print and stay short."""

from __future__ import annotations

from batch.core.errors import InputError, Problem
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


def raised(problems: Problems) -> list[str]:
    try:
        problems.raise_if_any()
    except InputError as error:
        return str(error).split("\n")
    return []


def test_problems_are_sorted_and_capped() -> None:
    """The manifest's come before the table's, each in the order of its file; the rest is counted."""
    problems = Problems("m.yaml")
    problems.add(Problem(message="wrong", file="t.csv", line=2))
    for line in range(KEPT_PROBLEMS + 38, 0, -1):
        problems.add(Problem(message="wrong", file="m.yaml", line=line))

    texts = raised(problems)

    assert texts[0] == "m.yaml:40: wrong"
    assert texts[-2:] == ["t.csv:2: wrong", "... and 39 more"]
    assert len(texts) == KEPT_PROBLEMS + 1


def test_rows_with_one_cause_are_counted() -> None:
    """A thousand rows without a title do not hide the row that has another fault; each row counts once."""
    problems = Problems("m.yaml")
    for line in range(2, 1002):
        for job in ("studio", "beach"):
            message = f"no picture; got {line}.jpg"
            problems.add(Problem(message=message, file="t.csv", line=line, field="Photo", job=job))
    problems.add(Problem(message="2 cells", file="t.csv", line=500))
    problems.add(Problem(message="2 cells", file="t.csv", line=500))

    texts = raised(problems)

    assert texts[0] == 't.csv:2: column "Photo": job "studio": no picture; got 2.jpg'
    assert texts[10:] == [
        't.csv:7: column "Photo": and 995 more rows, to line 1001: no picture',
        "t.csv:500: 2 cells",
    ]


def test_pictures_that_are_missing_are_one_cause() -> None:
    """Each has its own name, and all lack the same folder."""
    problems = Problems("m.yaml")
    for line in range(2, 14):
        problems.add(Problem(message=f"reference a {line}.jpg does not exist", file="t.csv", line=line))
    problems.add(Problem(message="reference b.jpg is empty", file="t.csv", line=20))

    texts = raised(problems)

    assert texts[10:] == [
        "t.csv:12: and 2 more rows, to line 13: reference a 12.jpg does not exist",
        "t.csv:20: reference b.jpg is empty",
    ]
