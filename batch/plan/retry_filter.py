"""`--retry`: which failed jobs are wanted again, written as causes or as an expression over them.

    no_image,text_only                           these causes
    all                                          whatever failed for good
    cause in (no_image, timeout)                 the same as an expression; words need no quotes
    cause != image_safety and attempts < 4
    cost < 0.5 and status == failed

The syntax is Python's, read by its own parser and limited to comparing these names with words and numbers.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from batch.store.job_state import JobHistory, State

ALL: Final = "all"
_CAUSES: Final = re.compile(r"[A-Za-z0-9_]+(\s*,\s*[A-Za-z0-9_]+)*,?")
_COMPARISONS: Final[Mapping[type[ast.cmpop], Callable[[Any, Any], bool]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}
_FACTS: Final[Mapping[str, Callable[[JobHistory], Any]]] = {
    "cause": lambda past: past.code,
    "attempts": lambda past: past.attempts,
    "cost": lambda past: past.usd,
    "status": lambda past: str(past.standing),
}
_LONGEST: Final = 1000
_NAMES: Final = ", ".join(_FACTS)

_Term: TypeAlias = Callable[[JobHistory], Any]


class RetryFilterProblem(ValueError):
    """The text is no such expression; the message says what is wrong."""


class RetryFilter:
    """A question to ask of a job's history: is it wanted again? `words` are the causes it names."""

    def __init__(self, text: str) -> None:
        self.words: set[str] = set()
        self._holds = self._read(text.strip())

    def __call__(self, past: JobHistory) -> bool:
        return bool(self._holds(past))

    def _read(self, text: str) -> _Term:
        if text == ALL:
            # An unknown outcome may be a second payment for the same picture: it is wanted only by its own name.
            return lambda past: past.state is not State.UNKNOWN
        if _CAUSES.fullmatch(text):
            self.words = {word.strip() for word in text.split(",") if word.strip()}
            words = frozenset(self.words)
            return lambda past: past.code in words
        try:
            if len(text) > _LONGEST:
                raise RetryFilterProblem("it is longer than 1,000 characters")
            return self._condition(ast.parse(text, mode="eval").body)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            why = str(error) if isinstance(error, RetryFilterProblem) else "it cannot be read"
            raise RetryFilterProblem(
                f"{why}; write causes (no_image,timeout) or: cause in (no_image, timeout)"
            ) from None

    def _condition(self, node: ast.expr) -> _Term:
        """A part that is true or false."""
        match node:
            case ast.BoolOp(op=how, values=parts):
                terms = [self._condition(part) for part in parts]
                every = all if isinstance(how, ast.And) else any
                return lambda past: every(term(past) for term in terms)
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                term = self._condition(inner)
                return lambda past: not term(past)
            case ast.Compare(left=left, ops=operators, comparators=others):
                return self._comparison([left, *others], operators)
        raise RetryFilterProblem(f"{ast.unparse(node)[:60]} is no comparison")

    def _comparison(self, sides: list[ast.expr], operators: list[ast.cmpop]) -> _Term:
        if not any(isinstance(side, ast.Name) and side.id in _FACTS for side in sides):
            raise RetryFilterProblem(f"nothing is compared; the names are {_NAMES}")
        terms = [self._value(side) for side in sides]
        tests = [_COMPARISONS.get(type(how)) for how in operators]
        if None in tests:
            raise RetryFilterProblem("`is` is no comparison here; write ==")

        def holds(past: JobHistory) -> bool:
            values = [term(past) for term in terms]
            pairs = zip(tests, values, values[1:], strict=False)
            return all(test is not None and _tested(test, left, right) for test, left, right in pairs)

        return holds

    def _value(self, node: ast.expr) -> _Term:
        match node:
            case ast.Name(id=name) if name in _FACTS:
                return _FACTS[name]
            case ast.Name(id=word):
                self.words.add(word)
                return lambda _: word
            case ast.Constant(value=value) if isinstance(value, str | int | float):
                if isinstance(value, str):
                    self.words.add(value)
                return lambda _: value
            case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
                terms = [self._value(item) for item in items]
                return lambda past: [term(past) for term in terms]
        raise RetryFilterProblem(f"{ast.unparse(node)[:60]} is not allowed; compare {_NAMES} with words and numbers")


def _tested(test: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:
    try:
        return test(left, [right] if test in _MEMBERSHIP and isinstance(right, str) else right)
    except TypeError:
        return False  # a word is neither more nor less than a number


_MEMBERSHIP: Final = (_COMPARISONS[ast.In], _COMPARISONS[ast.NotIn])
