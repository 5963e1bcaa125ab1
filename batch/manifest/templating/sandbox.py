"""Where templates run: Jinja without its globals, and with a lid on everything that makes much out of little.

A typing error may ask for gigabytes or for hours: a text doubled in a loop, a loop over a long cell inside another,
`replace` with a long text. So every text made on the way is as limited as the final one, and a template has so many
steps for one row. Steps are counted, not timed: what is refused is refused on every machine.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from jinja2 import Environment, StrictUndefined, nodes, pass_environment
from jinja2.exceptions import SecurityError
from jinja2.filters import make_attrgetter
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_RENDERED_CHARACTERS: Final = 1_000_000

#: Characters, items and rounds of loops that a template may go through for one row: about a tenth of a second.
MAX_STEPS: Final = 5_000_000

#: A round of a loop, and a call of a method or a macro, take as much time as so many characters.
_STEPS_PER_ROUND: Final = 20
_STEPS_PER_CALL: Final = 300

#: No price or width is larger.
_MAX_BITS: Final = 4096
_MAX_PRECISION: Final = 50

#: Filters a prompt may need. Those that pad or format to a width are left out: a typing error there asks
#: for gigabytes.
_JINJA_FILTERS: Final = (
    "abs",
    "capitalize",
    "d",
    "default",
    "e",
    "escape",
    "first",
    "float",
    "int",
    "last",
    "length",
    "list",
    "lower",
    "max",
    "min",
    "reverse",
    "round",
    "sort",
    "string",
    "striptags",
    "title",
    "trim",
    "truncate",
    "unique",
    "upper",
    "wordcount",
)

#: Methods that pad, format or make bytes.
_REFUSED_METHODS: Final = frozenset(
    {"center", "ljust", "rjust", "zfill", "expandtabs", "format", "format_map", "translate", "encode", "to_bytes"}
)

#: Filters that take no longer for a long text.
_QUICK_FILTERS: Final = frozenset({"d", "default", "first", "last", "length"})

#: Names that no template can write, for what `count_in` puts into a tree.
_ROUNDS: Final = "#rounds"
_CONCAT: Final = "#concat"

_SIZED: Final = (str, bytes, list, tuple, dict, set, frozenset)


class TooMuchWork(SecurityError):
    """A template that would go on for too long, whatever the row."""


class _Allowance(threading.local):
    """The steps left for the row at hand."""

    steps = MAX_STEPS


_LEFT: Final = _Allowance()


def new_allowance() -> None:
    """Start counting anew, for the next row."""
    _LEFT.steps = MAX_STEPS


def spend(steps: int) -> None:
    """Count steps; raises TooMuchWork when there are none left."""
    _LEFT.steps -= steps
    if _LEFT.steps < 0:
        raise TooMuchWork(f"it takes more than {MAX_STEPS:,} steps for one row; make its loops shorter")


def sandbox(filters: Mapping[str, Callable[..., Any]], finalize: Callable[[Any], Any]) -> ImmutableSandboxedEnvironment:
    """An environment with Jinja's harmless filters and these; `finalize` sees every value that is written."""

    def written(value: Any) -> Any:
        value = finalize(value)
        spend(_length(value))
        return value

    # A prompt is no HTML, so nothing is escaped.
    environment = _Sandbox(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True, finalize=written)
    environment.globals.clear()
    known = {name: environment.filters[name] for name in _JINJA_FILTERS} | dict(filters)
    known["round"] = _rounded(known["round"])
    environment.filters = {
        name: function if name in _QUICK_FILTERS else _counted(function) for name, function in known.items()
    }
    environment.filters |= {
        "join": _joined,
        "replace": _replaced,
        "list": _listed,
        "string": _texted,
        _ROUNDS: _rounds,
        _CONCAT: _concat,
    }
    return environment


def count_in(tree: nodes.Template, environment: Environment) -> None:
    """Make the template's loops and `~` count."""
    for loop in list(tree.find_all(nodes.For)):
        text = sum(len(data.data) for data in loop.find_all(nodes.TemplateData))
        steps = nodes.Const(_STEPS_PER_ROUND + text)
        loop.iter = nodes.Filter(loop.iter, _ROUNDS, [steps], [], None, None, lineno=loop.lineno)
    for concat in list(tree.find_all(nodes.Concat)):
        texts = nodes.List(concat.nodes, lineno=concat.lineno)
        # A node cannot be replaced in its parent without knowing where it hangs there, but it can hold another.
        concat.nodes = [nodes.Filter(texts, _CONCAT, [], [], None, None, lineno=concat.lineno)]
    tree.set_environment(environment)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja without its globals; operators and calls are looked at before they make anything."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if not (isinstance(left, int | float) and isinstance(right, int | float)):
            if operator == "*":
                raise SecurityError("only numbers can be multiplied")
            if operator == "%":
                raise SecurityError("% works on numbers only")
            if operator == "+":
                _must_fit(_length(left) + _length(right))
        elif operator == "*" and _bits(left) + _bits(right) > _MAX_BITS:
            raise SecurityError("this product is too large")
        if operator == "**" and (_bits(left) > 20 or not isinstance(right, int | float) or abs(right) > 16):
            raise SecurityError("this power is too large")
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805  # Jinja's own form
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        spend(_STEPS_PER_CALL + _length(owner) + sum(map(_length, args)))
        if isinstance(owner, str | bytes) and name == "replace":
            _must_fit(_length_replaced(owner, *args[:3]))
        elif isinstance(owner, str | bytes) and name == "join" and len(args) == 1:
            args = (_listed(args[0]),)
            _must_fit(sum(map(_length, args[0])) + len(owner) * len(args[0]))
        return super().call(__context, __obj, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> None:
        """Leave `format` to `is_safe_attribute`; Jinja's own wrapper checks access but not widths."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return attr not in _REFUSED_METHODS and super().is_safe_attribute(obj, attr, value)


def _must_fit(characters: int) -> None:
    if characters > MAX_RENDERED_CHARACTERS:
        raise SecurityError(f"a text or list on the way is longer than {MAX_RENDERED_CHARACTERS:,}; shorten it")
    spend(characters)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, _SIZED) else 1


def _written_length(value: Any) -> int:
    """About how long Python writes a value; counting stops where it is too long anyway."""
    if isinstance(value, dict):
        items: Iterable[Any] = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        items = value
    else:
        return _length(value)
    length = 0
    for item in items:
        length += 1 + _written_length(item)
        if length > MAX_RENDERED_CHARACTERS:
            break
    return length


def _bits(number: float) -> int:
    return int(number).bit_length() if abs(number) < float("inf") else 0


def _counted(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that counts what it goes through. Jinja's marks on the function are kept."""

    @functools.wraps(function)
    def apply(*args: Any, **kwargs: Any) -> Any:
        spend(1 + sum(map(_length, args)))
        return function(*args, **kwargs)

    return apply


def _rounded(function: Callable[..., Any]) -> Callable[..., Any]:
    def rounded(value: Any, precision: int = 0, method: str = "common") -> Any:
        if abs(precision) > _MAX_PRECISION:
            raise SecurityError(f"round takes at most {_MAX_PRECISION} digits")
        return function(value, precision, method)

    return rounded


def _rounds(items: Iterable[Any], steps: int) -> Iterator[Any]:
    for item in items:
        spend(steps)
        yield item


def _listed(items: Iterable[Any]) -> list[Any]:
    return list(_rounds(items, 1))


def _concat(values: list[Any]) -> str:
    _must_fit(sum(map(_written_length, values)))
    return "".join(map(str, values))


def _texted(value: Any) -> str:
    _must_fit(_written_length(value))
    return str(value)


@pass_environment
def _joined(environment: Environment, value: Iterable[Any], d: Any = "", attribute: str | int | None = None) -> str:
    items = value if attribute is None else map(make_attrgetter(environment, attribute), value)
    found, separator = _listed(items), _texted(d)
    _must_fit(sum(map(_written_length, found)) + len(separator) * len(found))
    return separator.join(map(str, found))


def _replaced(s: Any, old: Any, new: Any, count: int | None = None) -> str:
    text, found, other = _texted(s), _texted(old), _texted(new)
    most = -1 if count is None else count
    _must_fit(_length_replaced(text, found, other, most))
    return text.replace(found, other, most)


def _length_replaced(text: Any, old: Any, new: Any, count: int = -1) -> int:
    hits = text.count(old)
    if count >= 0:
        hits = min(hits, count)
    return len(text) + int(hits) * max(0, len(new) - len(old))
