"""Many problems of one kind, told as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from batch.core.errors import Problem

_LINES_NAMED: Final = 5
#: Fewer are told one by one, each with its job.
_ALIKE_AT_LEAST: Final = 3


def grouped(problems: Iterable[Problem]) -> list[str]:
    """A sentence for each problem; those that say the same of several lines of one file share one.

    `products.csv: 20 rows: lines 4, 5, 10, 11, 12 and 15 more: column "Title": is empty`
    """
    groups: dict[Problem, list[Problem]] = {}
    for problem in problems:
        groups.setdefault(replace(problem, line=None, column=None, job=None), []).append(problem)
    return [sentence for alike, each in groups.items() for sentence in _sentences(alike, each)]


def _sentences(alike: Problem, each: Sequence[Problem]) -> list[str]:
    lines = sorted({problem.line for problem in each if problem.line is not None})
    if alike.file is None or len(lines) < _ALIKE_AT_LEAST:
        return [str(problem) for problem in each]
    named = ", ".join(f"{line}" for line in lines[:_LINES_NAMED])
    rest = f" and {len(lines) - _LINES_NAMED:,} more" if len(lines) > _LINES_NAMED else ""
    words = str(replace(alike, file=None))
    return [f"{alike.file}: {len(lines):,} places: lines {named}{rest}: {words}"]
