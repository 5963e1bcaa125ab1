"""`--retry`: which failed jobs are wanted again, written as causes or as an expression over them.

    no_image,text_only                           these causes
    all                                          whatever failed for good
    cause in (no_image, timeout)                 the same as an expression; words need no quotes
    cause != image_safety and attempts < 4
    cost < 0.5 and status == failed

The language is that of `where` in a manifest; its reader is given. Here stand the names it may use, and what they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, Protocol

from batch.plan.causes import CAUSES
from batch.store.job_state import JobHistory, Standing, State

ALL: Final = "all"
_CAUSES: Final = re.compile(r"[A-Za-z0-9_]+(\s*,\s*[A-Za-z0-9_]+)*,?")
_FACTS: Final[Mapping[str, Callable[[JobHistory], Any]]] = {
    "cause": lambda past: past.code,
    "attempts": lambda past: past.attempts,
    "cost": lambda past: past.usd,
    "status": lambda past: str(past.standing),
}
_LONGEST: Final = 1000
_HOW: Final = "write causes (no_image,timeout) or: cause in (no_image, timeout)"


class Expression(Protocol):
    """An expression that was read. `words` are the texts that its names are compared with."""

    @property
    def words(self) -> Collection[str]: ...

    def holds(self, values: Sequence[Any]) -> bool:
        """Whether it is true where its names have these values."""


class ReadExpression(Protocol):
    """Reads an expression over these names; raises `ValueError` with a sentence if it is none."""

    def __call__(self, text: str, names: Sequence[str], /) -> Expression: ...


class RetryFilterProblem(ValueError):
    """The text is no such expression; the message says what is wrong."""


class RetryFilter:
    """A question to ask of a job's history: is it wanted again? `words` are the causes it names."""

    def __init__(self, text: str, read: ReadExpression) -> None:
        self.words: set[str] = set()
        self._holds = self._read(text.strip(), read)

    def __call__(self, past: JobHistory) -> bool:
        return self._holds(past)

    def unknown_word(self, codes: Collection[str]) -> str | None:
        """A cause that does not exist and is not among these, the codes of a history, as a sentence; None if none."""
        known = {*CAUSES, *codes, *map(str, Standing)}
        for word in sorted(self.words - known):
            close = get_close_matches(word.lower(), known, n=1, cutoff=0.6)
            hint = f"did you mean {close[0]}?" if close else "imagebatch status names the causes of a folder"
            return f"no job can have the cause {word!r}; {hint}"
        return None

    def _read(self, text: str, read: ReadExpression) -> Callable[[JobHistory], bool]:
        if text == ALL:
            # An unknown outcome may be a second payment for the same picture: it is wanted only by its own name.
            return lambda past: past.state is not State.UNKNOWN
        if _CAUSES.fullmatch(text):
            self.words = {word.strip() for word in text.split(",") if word.strip()}
            words = frozenset(self.words)
            return lambda past: past.code in words
        if len(text) > _LONGEST:
            raise RetryFilterProblem(f"it is longer than 1,000 characters; {_HOW}")
        try:
            expression = read(text, tuple(_FACTS))
        except ValueError as error:
            raise RetryFilterProblem(f"{error}; {_HOW}") from None
        self.words = set(expression.words)
        return lambda past: expression.holds([fact(past) for fact in _FACTS.values()])
