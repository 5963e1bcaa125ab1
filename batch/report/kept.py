"""What `imagebatch reread` found in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from batch.report.formatting import count, path, printable


class KeptAnswer(Protocol):
    """What is said of one kept answer."""

    @property
    def job(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def code(self) -> str: ...
    @property
    def found(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def images(self) -> tuple[str, ...]: ...


def kept_lines(answers: Sequence[KeptAnswer], output: str, *, dry_run: bool) -> Iterator[str]:
    """The numbers, then a line for each answer that is not just what it was."""
    found = sum(answer.found == "done" for answer in answers)
    would = "would become pictures" if dry_run else "became pictures"
    yield f"{path(output)}: {count(len(answers), 'kept answer')} read again, {found} {would}; nothing was sent"
    for answer in answers:
        where = f": {', '.join(answer.images)}" if answer.images else f": {printable(answer.message, 200)}"
        yield f"  {answer.job}  attempt {answer.attempt} ({answer.code}): {answer.found}{where}"
