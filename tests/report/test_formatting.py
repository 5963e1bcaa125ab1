"""Numbers, paths and foreign text as people read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from batch.report.formatting import causes, count, differing, duration, path, printable, usd


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0, "$0.00"),
        (0.27, "$0.27"),
        (0.067, "$0.067"),
        (0.0335, "$0.034"),
        (0.135, "$0.135"),
        (0.5, "$0.50"),
        (0.0001, "less than $0.001"),
        (1, "$1.00"),
        (1.005, "$1.00"),
        (31.2, "$31.20"),
        (6700, "$6,700.00"),
        (0.9999, "$1.00"),
    ],
)
def test_usd(amount: float, shown: str) -> None:
    """Cents, and below a dollar a tenth of a cent where there is one."""
    assert usd(amount) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0 s"),
        (4.24, "4.2 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (724, "12 min 04 s"),
        (3599.7, "1 h 00 min"),
        (11100, "3 h 05 min"),
        (7_200_000, "2,000 h 00 min"),
    ],
)
def test_duration(seconds: float, shown: str) -> None:
    """The two largest units, never sixty of one."""
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\ttab", r"two\x0alines\x09tab"),
        ("\x1b[31mred\x1b[0m \x07", r"\x1b[31mred\x1b[0m \x07"),
        ("\x9b31m \x85", r"\x9b31m \x85"),
        ("abc\u202egnp.exe", r"abc\u202egnp.exe"),
        ("a\u2028b\u2066c\ufeff", r"a\u2028b\u2066c\ufeff"),
        ("lone \ud83d", r"lone \ud83d"),
        ("雨后 café 👩\u200d🚀", "雨后 café 👩\u200d🚀"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    """What could steer a terminal or turn a line around is shown as an escape; all languages stay as they are."""
    assert printable(text) == shown


def test_printable_is_short() -> None:
    """A long text is cut, with a sign that it was."""
    assert printable("x" * 1000, 10) == "x" * 9 + "…"
    assert printable("x" * 10, 10) == "x" * 10
    assert len(printable("\n" * 10_000_000, 10)) == 10


def test_counting() -> None:
    """One is singular, thousands have commas, causes come by frequency."""
    assert [count(0, "job"), count(1, "job"), count(2000, "job")] == ["0 jobs", "1 job", "2,000 jobs"]
    assert causes({"no_image": 3, "image_safety": 1200}) == "1,200 image_safety, 3 no_image"


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative where one would type it so, else as it is; also when the current folder is gone."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert path(str(here / "output" / "m")) == "output/m"
    assert path(str(tmp_path / "there")) == str(tmp_path / "there")
    here.rmdir()
    assert path("/output/m") == "/output/m"


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("a red cup", "a blue cup", ("a red cup", "a blue cup")),
        ("word " * 30 + "red", "word " * 30 + "blue", ("…" + "word " * 5 + "red", "…" + "word " * 5 + "blue")),
        ("x" * 200, "x" * 200 + "y", ("…" + "x" * 30, "…" + "x" * 30 + "y")),
        ("a\nb", "a b", ("a\\x0ab", "a b")),
        ("same", "same", ("same", "same")),
        ("", "new", ("", "new")),
    ],
)
def test_what_differs_is_what_is_shown(old: str, new: str, shown: tuple[str, str]) -> None:
    """Two long prompts are shown from a little before their first difference."""
    assert differing(old, new) == shown


def test_blanks_at_the_end_are_marked() -> None:
    """A difference that cannot be seen is one that cannot be understood."""
    assert differing("a cup", "a cup  ") == ("a cup", "a cup␠␠")
