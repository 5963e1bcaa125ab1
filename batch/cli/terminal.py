"""How a line looks on a terminal: folded at words, coloured by what it says. Elsewhere a line stays as it is."""

from __future__ import annotations

import functools
import os
import re
import textwrap
from collections.abc import Mapping
from typing import IO, Any, Final

import click

_RED: Final[Mapping[str, Any]] = {"fg": "red"}
_YELLOW: Final[Mapping[str, Any]] = {"fg": "yellow"}
_DIM: Final[Mapping[str, Any]] = {"dim": True}
#: `  failed     3 no_image`, `          3  done` or a line below: what stands in the column on the left.
_LEFT: Final = re.compile(r"  (?:([a-z][a-z ]{9}) | [ \d,]{8}  | {11})(?=\S)")
_LEFT_WIDTH: Final = 13
#: What a person copies stays on one line.
_NEVER_FOLDED: Final = "next"
_STYLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "failed": _RED,
    **dict.fromkeys(("unknown", "twice", "missing", "altered", "warnings", "odd", "endpoint", "stopped"), _YELLOW),
    **dict.fromkeys(("set aside", "not before", "budget", "requests", "ledger"), _YELLOW),
    **dict.fromkeys(("pictures", "captions", "accepted", "rehearsal", "left out"), _DIM),
}
#: `cup: failed: image_safety` and the like: what is coloured, and how.
_WORDS: Final = (
    (re.compile(r"^error:"), _RED),
    (re.compile(r"(?<=: )failed(?=: [a-z_]+)"), _RED),
    (re.compile(r"(?<=: )unknown, maybe paid(?=: [a-z_]+)"), _YELLOW),
    (re.compile(r"(?<=, )[1-9][\d,]* failed\b"), _RED),
    (re.compile(r"(?<=, )[1-9][\d,]* unknown\b"), _YELLOW),
    (re.compile(r"^      warning:"), _YELLOW),
    (re.compile(r"^\.\.\. .*|^imagebatch: \d+ .*"), _DIM),
)


def shown(text: str, stream: IO[str]) -> str:
    """The text as it is written to a stream: on a terminal folded to its width and, if it takes colours, coloured."""
    if not stream.isatty():
        return text
    folded = [fold(line, columns_of(stream)) for line in text.split("\n")]
    if takes_colour(stream):
        folded = [painted(lines) for lines in folded]
    return "\n".join(line for lines in folded for line in lines)


def takes_colour(stream: IO[str]) -> bool:
    """Whether colours are wanted and understood (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def columns_of(stream: IO[str]) -> int:
    """A terminal's width in characters; 80 where it has none."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def fold(line: str, columns: int) -> list[str]:
    """A report's line on as many lines as it needs, the later ones below the words of the first."""
    left = _LEFT.match(line)
    if len(line) <= columns or left is None or _label(line) == _NEVER_FOLDED:
        return [line]
    return textwrap.wrap(
        line[_LEFT_WIDTH:],
        max(columns, 2 * _LEFT_WIDTH),
        initial_indent=line[:_LEFT_WIDTH],
        subsequent_indent=" " * _LEFT_WIDTH,
        break_long_words=False,
        break_on_hyphens=False,
    )


def fold_text(text: str, stream: IO[str]) -> str:
    """A sentence on as many lines of a terminal as it needs."""
    return "\n".join(textwrap.wrap(text, columns_of(stream), break_long_words=False, break_on_hyphens=False))


def painted(lines: list[str]) -> list[str]:
    """A folded line with colours: red for failures, yellow for what is in doubt, dim for paths and hints."""
    is_hint = lines[0].startswith(" " * _LEFT_WIDTH)
    style = _DIM if is_hint else _STYLES.get(_label(lines[0]))
    if style:
        return [click.style(line, **style) for line in lines]
    return [paint_words(line) for line in lines]


def paint_words(line: str) -> str:
    """A line with its telling words in colour."""
    for pattern, style in _WORDS:
        line = pattern.sub(functools.partial(_styled, style), line)
    return line


def _styled(style: Mapping[str, Any], match: re.Match[str]) -> str:
    return click.style(match[0], **style)


def _label(line: str) -> str:
    left = _LEFT.match(line)
    return (left[1] or "").strip() if left else ""
