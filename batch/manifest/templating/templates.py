"""`{{ Column }}` in a manifest, filled from a row.

A template is the manifest author's; a row is data. So a template may compute (Jinja2, sandboxed), and what
a cell holds is never read as a template. The sandbox stops accidents, not attackers: a manifest is as trusted
as code (docs/manifest.md).

Most templates only name columns. Those are filled without Jinja, about 20 times faster, with the same result.
"""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from operator import itemgetter
from typing import Any, Final, TypeAlias

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.exceptions import UndefinedError
from jinja2.meta import find_undeclared_variables
from jinja2.parser import Parser

from batch.manifest.ids import slug
from batch.manifest.problems import did_you_mean, show
from batch.manifest.tables.grouped_row import members_of, values_of
from batch.manifest.tables.table_reader import Row
from batch.manifest.templating.amounts import amount
from batch.manifest.templating.empty_cells import needed_columns
from batch.manifest.templating.filters import as_id, shorten, strip_html, unescape, words
from batch.manifest.templating.sandbox import MAX_RENDERED_CHARACTERS, TooMuchWork, count_in, new_allowance, sandbox

Filter: TypeAlias = Callable[[str], str]

_RESERVED_WORDS: Final = frozenset(keyword.kwlist) | {
    "true",
    "false",
    "none",
    "row",
    "loop",
    "self",
    "caller",
}


class TemplateProblem(Exception):  # carries a sentence to the report, it is no failure of ours
    """A template that cannot be used, or cannot be filled from this row."""


class RowProblem(TemplateProblem):
    """A template that this row cannot fill, though others may."""


def _counted(name: str, cut: Callable[[str, int], str]) -> Callable[[str, int], str]:
    """A filter with a number, which must be one."""

    def apply(text: str, count: int) -> str:
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise TemplateProblem(f"{name}({show(count)}) needs a whole number; write {name}(30)")
        return cut(str(text), count)

    return apply


def _float(value: Any, default: float | None = None) -> float:
    """Jinja's `float` for shop prices. Only an empty cell may become 0 silently, never text that is not a number."""
    if isinstance(value, int | float):
        return float(value)
    text = str(value)
    number = amount(text)
    if number is not None:
        return number
    if default is None and text.strip():
        raise TemplateProblem(f"the text is no number such as 12.5 (float(0) would take it for 0); got {show(text)}")
    return 0.0 if default is None else default


def _int(value: Any, default: int | None = None) -> int:
    return int(_float(value, default))


_OWN_FILTERS: Final[Mapping[str, Filter]] = {
    "slug": lambda text: slug(str(text)),
    "as_id": as_id,
    "strip_html": strip_html,
    "unescape": unescape,
}
_COUNTING_FILTERS: Final = {name: _counted(name, cut) for name, cut in (("words", words), ("shorten", shorten))}


def _written(value: Any) -> Any:
    """A value on its way into the text: Python's `repr` must not end up in a prompt."""
    if isinstance(value, dict | list | tuple | bytes):
        raise TemplateProblem(f"{_kind(value)} cannot be written into a text; {_ADVICE}")
    return value


_ADVICE: Final = 'pick a value of it, such as row["Column"]["key"]'


def _kind(value: object) -> str:
    return "an object" if isinstance(value, dict) else "binary data" if isinstance(value, bytes) else "a list"


_ENVIRONMENT: Final = sandbox(dict(_OWN_FILTERS) | _COUNTING_FILTERS | {"float": _float, "int": _int}, _written)


def is_template(text: str) -> bool:
    """Text without one of Jinja's openings is literal."""
    return "{{" in text or "{%" in text or "{#" in text


def with_literals(text: str, change: Callable[[str], str]) -> str:
    """The template with everything changed that stands outside its braces."""
    try:
        tokens = list(_ENVIRONMENT.lex(text))
    except TemplateError:
        return text  # what is wrong with it is told when it is compiled
    return "".join(change(value) if kind == "data" else value for _, kind, value in tokens)


class Columns:
    """The names a template can use: a table's columns, and the constants of a matrix.

    `gaps`: cells may be missing or hold more than text. `fields`: what the mappings among the constants may hold.
    `grouped`: a row is a product, and `group` and `rows` are its values and its rows.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        gaps: bool = False,
        constants: Mapping[str, str | dict[str, str]] | None = None,
        fields: Mapping[str, frozenset[str]] | None = None,
        grouped: bool = False,
    ) -> None:
        self.names = tuple(names)
        self.gaps = gaps
        self.constants = constants or {}
        self.whole = frozenset({"row", "group", "rows"} if grouped else {"row"})
        self._fields = dict(fields or {})
        self._index = {name: index for index, name in enumerate(names) if name}
        forms = Counter(underscored(name) for name in self._index if not is_variable(name))
        self._variables = {
            underscored(name): index for name, index in self._index.items() if forms[underscored(name)] == 1
        }
        self._variables |= {name: index for name, index in self._index.items() if is_variable(name)}
        self._ambiguous = {form for form, count in forms.items() if count > 1} - set(self._variables)
        if grouped:
            self._fields["group"] = frozenset([*self._index, *self._variables])

    def with_column(self, name: str) -> Columns:
        """The same with one more column behind the others."""
        grouped = "group" in self.whole
        names = (*self.names, name)
        return Columns(names, gaps=self.gaps, constants=self.constants, fields=self._fields, grouped=grouped)

    def index_of(self, column: str) -> int:
        """The position of a column by its full name."""
        if column not in self._index:
            raise TemplateProblem(f'no column "{show(column)}"; {did_you_mean(column, self._index, "columns")}')
        return self._index[column]

    def index_of_variable(self, variable: str) -> int:
        """The position of a column by the name it has in a template."""
        if variable in self._variables:
            return self._variables[variable]
        if variable in self._ambiguous:
            same = [name for name in self._index if underscored(name) == variable]
            choice = " or ".join(f'row["{show(name)}"]' for name in same)
            raise TemplateProblem(f'"{show(variable)}" could be several columns; write {choice}')
        known = [*self.constants, *(self._variables or self._index)]
        what = "column" if not self.constants else "column or matrix name" if self.names else "matrix name"
        raise TemplateProblem(f'no {what} "{show(variable)}"; {did_you_mean(variable, known, f"{what}s")}')

    def written(self, index: int) -> str:
        """How a template names the column at this position: plain if it can be."""
        for variable, position in self._variables.items():
            if position == index and is_variable(variable):
                return variable
        return f'row["{show(self.names[index])}"]'

    def hidden(self, constants: Iterable[str]) -> list[str]:
        """Those of the constants that have the name of a column."""
        return [name for name in constants if name in self._variables]

    def check_fields(self, tree: nodes.Template) -> None:
        """Refuse `style.nmae` if no mapping called `style` has it."""
        node: nodes.Getattr | nodes.Getitem
        for node in tree.find_all((nodes.Getattr, nodes.Getitem)):  # type: ignore[assignment]
            name = node.node.name if isinstance(node.node, nodes.Name) else ""
            key = _constant_key(node)
            known = self._fields.get(name)
            if known and key is not None and key not in known and not hasattr(dict, key):
                raise TemplateProblem(f'{name} has no "{show(key)}"; {did_you_mean(key, sorted(known), "fields")}')

    def named_by(self, node: nodes.Node) -> int | None:
        """The position of the column that a part of a template stands for; None if it is none."""
        if isinstance(node, nodes.Name):
            is_column = node.name not in self.constants and node.name not in self.whole
            return self._variables.get(node.name) if is_column else None
        if isinstance(node, nodes.Getitem) and _is_row(node.node) and isinstance(node.arg, nodes.Const):
            return self._index.get(node.arg.value)
        return None

    def literal(self, node: nodes.Node) -> str | None:
        """The text of `scene` or `style.name`; None for anything but a text of a constant."""
        if isinstance(node, nodes.Name):
            value = self.constants.get(node.name)
        elif isinstance(node, nodes.Getattr | nodes.Getitem) and isinstance(node.node, nodes.Name):
            above = self.constants.get(node.node.name)
            value = above.get(_constant_key(node) or "") if isinstance(above, dict) else None
        else:
            value = None
        return value if isinstance(value, str) else None

    def by_name(self, row: Row) -> dict[str, Any]:
        """The whole row, as `row` in a template."""
        return {name: row[index] for name, index in self._index.items() if row[index] is not None}

    def members_by_name(self, row: Row) -> list[dict[str, Any]]:
        """The rows of a product, as `rows` in a template; `Body (HTML)` is there as Body_HTML, too."""
        places = self._index | self._variables
        return [
            {name: member[index] for name, index in places.items() if member[index] is not None}
            for member in members_of(row)
        ]

    def values_by_name(self, row: Row) -> Mapping[str, list[Any]]:
        """The different values of a product in each column, as `group` in a template."""
        return _Values(row, self._index | self._variables)


class _Values(Mapping[str, list[Any]]):
    """The values of a product by column, looked up when they are asked for. It has no other names than columns."""

    def __init__(self, row: Row, places: Mapping[str, int]) -> None:
        self._row = row
        self._places = places

    def __getitem__(self, name: str) -> list[Any]:
        return values_of(self._row, self._places[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _constant_key(node: nodes.Node) -> str | None:
    if isinstance(node, nodes.Getattr):
        return node.attr
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
        return node.arg.value
    return None


def variables_of(text: str) -> set[str] | None:
    """The names a template uses; None if it cannot be read, which is reported elsewhere."""
    try:
        return find_undeclared_variables(_ENVIRONMENT.parse(text))
    except (TemplateError, RecursionError, ValueError):
        return None


def underscored(column: str) -> str:
    """The variable form of a column's name: `Body (HTML)` becomes `Body_HTML`."""
    form = re.sub(r"\W+", "_", column).strip("_")
    return f"_{form}" if form[:1].isdigit() else form


def is_variable(name: str) -> bool:
    """Whether a template can write it as `{{ name }}`."""
    return name.isidentifier() and name not in _RESERVED_WORDS


class Template:
    """A text to be filled from rows. `columns` are the positions it reads, where that is known."""

    def __init__(self, text: str | nodes.Template, columns: Columns) -> None:
        with _as_problem("the template cannot be read"):
            tree = _ENVIRONMENT.parse(text) if isinstance(text, str) else text
            _refuse_other_files(tree)
            _refuse_unknown_filters(tree)
            variables = find_undeclared_variables(tree)
        self._columns = columns
        self._constants = dict(columns.constants)
        self._what = "the template" if isinstance(text, str) else "the expression"
        self._whole = variables & columns.whole
        self._variables = {
            name: columns.index_of_variable(name)
            for name in sorted(variables - columns.whole - columns.constants.keys())
        }
        columns.check_fields(tree)
        by_key = [columns.index_of(name) for name in _keys_of_row(tree)]
        self.columns = tuple(dict.fromkeys([*self._variables.values(), *by_key]))
        #: Those that must be filled in every row, or the text makes no sense.
        self.needed = needed_columns(tree, columns.named_by)
        self._parts = _plain_parts(tree, columns)
        self._too_much: TooMuchWork | None = None
        if self._parts is not None:
            self._join = _joined(self._parts)
        else:
            with _as_problem(f"{self._what} cannot be read"):
                self._generate = _compiled(tree).generate

    @property
    def is_plain(self) -> bool:
        """Whether it only names columns, some of them with our own filters."""
        return self._parts is not None

    def fill(self, row: Row) -> str:
        """The text for one row."""
        if self._parts is not None:
            if self._columns.gaps:
                self._check_cells(row)
            filled = self._join(row)
            if len(filled) > MAX_RENDERED_CHARACTERS:
                raise _too_long()
            return filled
        return self._filled_by_jinja(row)

    def _check_cells(self, row: Row) -> None:
        for index in self.columns:
            cell = row[index]
            if cell.__class__ is not str:
                name = show(self._columns.names[index])
                if cell is None:
                    raise RowProblem(f'this row has no "{name}"')
                raise RowProblem(f'"{name}" is {_kind(cell)} here; {_ADVICE}')

    def _filled_by_jinja(self, row: Row) -> str:
        values: dict[str, Any] = dict(self._constants)
        values |= {name: row[index] for name, index in self._variables.items() if row[index] is not None}
        if "row" in self._whole:
            values["row"] = self._columns.by_name(row)
        if "group" in self._whole:
            values["group"] = self._columns.values_by_name(row)
        if "rows" in self._whole:
            values["rows"] = self._columns.members_by_name(row)
        pieces: list[str] = []
        length = 0
        with _as_problem(f"{self._what} cannot be filled", rows_differ=self._columns.gaps):
            if self._too_much is not None:
                raise self._too_much  # a million rows need not find out again
            new_allowance()
            try:
                for piece in self._generate(values):
                    pieces.append(piece)
                    length += len(piece)
                    if length > MAX_RENDERED_CHARACTERS:
                        raise _too_long()
            except TooMuchWork as error:
                self._too_much = error
                raise
        return "".join(pieces)


class Condition:
    """An expression over columns that is true for some rows: `Published == "true" and Vendor != ""`."""

    def __init__(self, text: str, columns: Columns, *, typed: bool = False) -> None:
        """`typed`: its names stand for more than text, so they may be compared with numbers."""
        self._template = Template(_condition(text), columns)  # names the columns that are not there first
        if not typed:
            _refuse_comparing_cells_with_other_than_text(expression_of(text))

    def holds(self, row: Row) -> bool:
        """Whether it is true for this row."""
        return bool(self._template.fill(row))


def _condition(text: str) -> nodes.Template:
    """A template that writes something where the expression is true."""
    expression = expression_of(text)
    yes = nodes.Output([nodes.TemplateData("1", lineno=1)], lineno=1)
    tree = nodes.Template([nodes.If(expression, [yes], [], [], lineno=1)], lineno=1)
    tree.set_environment(_ENVIRONMENT)
    return tree


def expression_of(text: str) -> nodes.Expr:
    """What an expression says, parsed. Raises TemplateProblem."""
    if is_template(text):
        raise TemplateProblem("this is an expression already; write it without {{ }}")
    hint = "; write == to compare" if re.search(r"(?<![=!<>])=(?!=)", text) else ""
    try:
        parser = Parser(_ENVIRONMENT, text, state="variable")
        expression = parser.parse_expression()
        rest = parser.stream.current
        if not parser.stream.eos:
            raise TemplateProblem(f'the expression cannot be read: "{show(str(rest.value))}" is not expected{hint}')
    except TemplateSyntaxError as error:
        raise TemplateProblem(f"the expression cannot be read: {show(error.message or '?')}{hint}") from error
    except RecursionError as error:
        raise TemplateProblem("the expression cannot be read: it is nested too deep") from error
    return expression


def _refuse_comparing_cells_with_other_than_text(expression: nodes.Expr) -> None:
    """`Published == true` would be false for every row, without a visible reason."""
    for comparison in [expression, *expression.find_all(nodes.Compare)]:
        if isinstance(comparison, nodes.Compare):
            _refuse_comparison(comparison)


def _refuse_comparison(comparison: nodes.Compare) -> None:
    sides = [comparison.expr, *(operand.expr for operand in comparison.ops)]
    if not any(isinstance(side, nodes.Name) or _is_cell(side) for side in sides):
        return
    for side in sides:
        if isinstance(side, nodes.Const) and not isinstance(side.value, str):
            value = str(side.value).lower()
            raise TemplateProblem(f"cells are text, which {value} is not; {_comparable(comparison, side, value)}")


def _comparable(comparison: nodes.Compare, side: nodes.Const, value: str) -> str:
    """How to write the comparison that was meant. As text, "9" is greater than "10": only numbers may be ordered."""
    if isinstance(side.value, bool) or side.value is None:
        return f'write "{value}"'
    name = next((each.name for each in comparison.find_all(nodes.Name) if each.name != "row"), "Column")
    number = f"{name} | float"
    if any(operand.op not in ("eq", "ne") for operand in comparison.ops):
        return f"to compare numbers write {number}"
    return f'write "{value}", or {number} to compare numbers'


def _is_cell(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Getitem) and _is_row(node.node)


#: A literal, or a column with the filters it goes through.
_Part: TypeAlias = str | tuple[int, tuple[Filter, ...]]


def _joined(parts: Sequence[_Part]) -> Callable[[Row], str]:
    """What fills plain parts: where no cell goes through a filter, one formatting by Python itself."""
    if any(not isinstance(part, str) and part[1] for part in parts):
        return lambda row: "".join([part if part.__class__ is str else _cell(part, row) for part in parts])
    form = "".join(part.replace("%", "%%") if isinstance(part, str) else "%s" for part in parts)
    indexes = [part[0] for part in parts if not isinstance(part, str)]
    if len(indexes) > 1:
        cells = itemgetter(*indexes)
        return lambda row: form % cells(row)
    if not indexes:
        literal = form % ()
        return lambda _: literal
    index = indexes[0]
    return lambda row: form % (row[index],)


def _cell(part: Any, row: Row) -> str:
    index, filters = part
    value: str = row[index]
    for apply in filters:
        value = apply(value)
    return value


@contextmanager
def _as_problem(what: str, *, rows_differ: bool = False) -> Iterator[None]:
    """Whatever Jinja, or an expression it runs, raises becomes one sentence."""
    try:
        yield
    except TemplateProblem:
        raise
    except UndefinedError as error:
        kind = RowProblem if rows_differ else TemplateProblem
        raise kind(f"{what}: {show(error.message or '?')}") from error
    except TemplateSyntaxError as error:
        unknown = re.match("No filter named '(.*)'", error.message or "")
        if unknown is not None:
            known = sorted(name for name in _ENVIRONMENT.filters if name.isidentifier())
            hint = did_you_mean(unknown[1], known, "filters")
            raise TemplateProblem(f'{what}: no filter "{show(unknown[1])}"; {hint}') from error
        raise TemplateProblem(f"{what} (its line {error.lineno}): {show(error.message or '?')}") from error
    except TemplateError as error:
        raise TemplateProblem(f"{what}: {show(error.message or '?')}") from error
    except RecursionError as error:
        raise TemplateProblem(f"{what}: it is nested too deep, or calls itself without end") from error
    except Exception as error:  # wrong types, division by zero, Python's own limits on nesting and numbers
        raise TemplateProblem(f"{what}: {show(str(error))}") from error


def _refuse_other_files(tree: nodes.Template) -> None:
    if any(tree.find_all((nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport))):
        raise TemplateProblem("include, extends and import are not available; write the text out")


def _refuse_unknown_filters(tree: nodes.Template) -> None:
    """Jinja itself finds those inside of `{% if %}` only when a row comes there."""
    for node in tree.find_all(nodes.Filter):
        if node.name not in _ENVIRONMENT.filters:
            raise TemplateSyntaxError(f"No filter named {node.name!r}.", node.lineno)


def _compiled(tree: nodes.Template) -> Any:
    count_in(tree, _ENVIRONMENT)
    new_allowance()  # for what Jinja computes beforehand
    return _ENVIRONMENT.template_class.from_code(_ENVIRONMENT, _ENVIRONMENT.compile(tree), {}, None)


def _keys_of_row(tree: nodes.Template) -> list[str]:
    """The columns named as `row["..."]`, to be checked before the first row is read."""
    return [
        item.arg.value
        for item in tree.find_all(nodes.Getitem)
        if _is_row(item.node) and isinstance(item.arg, nodes.Const) and isinstance(item.arg.value, str)
    ]


def _plain_parts(tree: nodes.Template, columns: Columns) -> list[_Part] | None:
    """The template as literals and columns, or None if it holds anything else."""
    parts: list[_Part] = []
    for statement in tree.body:
        if not isinstance(statement, nodes.Output):
            return None
        for node in statement.nodes:
            part = node.data if isinstance(node, nodes.TemplateData) else _plain_cell(node, columns)
            if part is None:
                return None
            parts.append(part)
    return parts


def _plain_cell(node: nodes.Node, columns: Columns) -> _Part | None:
    filters: list[Filter] = []
    while isinstance(node, nodes.Filter):
        plain_filter = _plain_filter(node)
        if plain_filter is None or node.node is None:
            return None
        filters.insert(0, plain_filter)
        node = node.node
    literal = columns.literal(node)
    if literal is not None:
        for apply in filters:
            literal = apply(literal)
        return literal
    if isinstance(node, nodes.Name) and node.name in columns.constants:
        return None
    if isinstance(node, nodes.Name) and node.name not in columns.whole:
        return columns.index_of_variable(node.name), tuple(filters)
    if isinstance(node, nodes.Getitem) and _is_row(node.node) and isinstance(node.arg, nodes.Const):
        return columns.index_of(str(node.arg.value)), tuple(filters)
    return None


def _plain_filter(node: nodes.Filter) -> Filter | None:
    """One of our own filters, with nothing to compute."""
    if node.kwargs or node.dyn_args or node.dyn_kwargs:
        return None
    if node.name in _COUNTING_FILTERS and len(node.args) == 1 and isinstance(node.args[0], nodes.Const):
        return partial(_with_number, _COUNTING_FILTERS[node.name], node.args[0].value)
    return None if node.args else _OWN_FILTERS.get(node.name)


def _with_number(cut: Callable[[str, int], str], count: int, text: str) -> str:
    return cut(text, count)


def _is_row(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == "row"


def _too_long() -> TemplateProblem:
    return TemplateProblem(f"the filled text is longer than {MAX_RENDERED_CHARACTERS:,} characters; shorten it")
