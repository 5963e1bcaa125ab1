"""An expression in the language of `where`, over named facts instead of columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from jinja2 import nodes

from batch.manifest.problems import did_you_mean, show
from batch.manifest.templating.templates import Columns, Condition, TemplateProblem, expression_of

N = TypeVar("N", bound=nodes.Node)


class FactExpression:
    """True or false by the values of `names`. Other names in it are words: `cause == timeout` needs no quotes.

    `words` are the texts that facts are compared with. Raises ValueError with a sentence for a text that is no such
    expression.
    """

    def __init__(self, text: str, names: Sequence[str], /) -> None:
        try:
            expression = expression_of(text)
            used = {node.name for node in _all(expression, nodes.Name)}
            _refuse(expression, used, names)
            words = used - set(names)
            self._condition = Condition(text, Columns(names, constants={word: word for word in words}), typed=True)
        except TemplateProblem as problem:
            raise ValueError(str(problem)) from None
        self.words = words | _texts(expression)

    def holds(self, values: Sequence[Any]) -> bool:
        """Whether it is true; a comparison that makes no sense is not."""
        try:
            return self._condition.holds(values)
        except TemplateProblem:
            return False  # a word is neither more nor less than a number


def _refuse(expression: nodes.Expr, used: set[str], names: Sequence[str]) -> None:
    known = ", ".join(names)
    if any(True for _ in _all(expression, nodes.Test)):
        raise TemplateProblem("`is` is no comparison here; write ==")
    if not used & set(names):
        hint = did_you_mean(min(used), names, "names") if used else ""
        meant = f"; {hint}" if hint.startswith("did") else ""
        raise TemplateProblem(f"nothing is compared; the names are {known}{meant}")
    for call in _all(expression, nodes.Call):
        if isinstance(call.node, nodes.Name):
            raise TemplateProblem(f"{show(call.node.name)}(...) is no comparison; the names are {known}")


def _texts(expression: nodes.Expr) -> set[str]:
    sides = [
        side for node in _all(expression, nodes.Compare) for side in (node.expr, *(each.expr for each in node.ops))
    ]
    items = [item for side in sides for item in (side.items if isinstance(side, nodes.Tuple | nodes.List) else [side])]
    return {item.value for item in items if isinstance(item, nodes.Const) and isinstance(item.value, str)}


def _all(expression: nodes.Expr, kind: type[N]) -> Iterator[N]:
    """Every part of this kind, the whole included."""
    if isinstance(expression, kind):
        yield expression
    yield from expression.find_all(kind)
