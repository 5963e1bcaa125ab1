"""How lines look on a terminal."""

from __future__ import annotations

import io
import os
import pty
from collections.abc import Iterator
from typing import IO

import click
import pytest

from batch.cli.terminal import fold, paint_words, painted, shown, takes_colour


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[IO[str]]:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    ours, theirs = pty.openpty()
    with open(theirs, "w", encoding="utf-8") as stream:
        yield stream
    os.close(ours)


@pytest.mark.parametrize(
    ("line", "style"),
    [
        ("  failed     3 no_image", {"fg": "red"}),
        ("  unknown    requests without an answer", {"fg": "yellow"}),
        ("  warnings   1 picture is not as asked", {"fg": "yellow"}),
        ("  pictures   output/m/images/", {"dim": True}),
        ("             --again missing buys it again", {"dim": True}),
    ],
)
def test_a_line_has_the_colour_of_its_label(line: str, style: dict[str, str]) -> None:
    """Red for what failed, yellow for what is in doubt, dim for paths and hints."""
    assert painted([line]) == [click.style(line, **style)]  # type: ignore[arg-type]


def test_words_have_colours() -> None:
    """In lines without a label only what tells of trouble."""
    assert paint_words("cup: failed: no_image") == f"cup: {click.style('failed', fg='red')}: no_image"
    assert paint_words("m: 1 of 3 jobs done, 1 failed") == f"m: 1 of 3 jobs done, {click.style('1 failed', fg='red')}"
    assert paint_words("o: 3 jobs done, 0 failed, 0 unknown") == "o: 3 jobs done, 0 failed, 0 unknown"


@pytest.mark.parametrize("variable", [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_are_left_out_where_they_are_not_wanted(
    terminal: IO[str], monkeypatch: pytest.MonkeyPatch, variable: tuple[str, str]
) -> None:
    """By no-color.org, and for terminals that know none."""
    assert takes_colour(terminal)
    monkeypatch.setenv(*variable)
    assert not takes_colour(terminal)
    assert shown("  failed     3 no_image", terminal) == "  failed     3 no_image"


def test_a_file_gets_the_line_as_it_is() -> None:
    """Neither colours nor line ends are for programs."""
    line = "  failed     " + "no_image, " * 30
    assert shown(line, io.StringIO()) == line


def test_long_lines_are_folded_below_their_words() -> None:
    """At words, so that labels stand alone in their column."""
    lines = fold("  advice     " + " ".join(["word"] * 30), 60)
    assert len(lines) > 1
    assert all(len(line) <= 60 for line in lines)
    assert all(line.startswith(" " * 13 + "word") for line in lines[1:])


@pytest.mark.parametrize("line", ["  next       imagebatch plan " + "x " * 40, '{"failed": 3, "a": ' + "1, " * 40])
def test_what_is_copied_or_parsed_is_not_folded(line: str) -> None:
    """A command that is broken in two does something else."""
    assert fold(line, 60) == [line]
