"""YAML as people mean it, with the place of every value.

`parse` turns the bytes of a manifest into plain values (str, int, float, bool, None, list, dict) and
remembers where each was written. It differs from `yaml.safe_load` on purpose:

- YAML 1.2 core types: `16:9`, `no` and `2024-01-01` are text, not 969, False and a date;
- a key written twice is a problem, not a silent winner;
- every text key stays text (`512:` is "512"), only core tags are taken, anchors cannot blow up or loop;
- all problems that do not stop the parser are collected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from batch.core.errors import InputError, Problem
from batch.manifest.problems import LOOKS_LIKE_KEY, Problems, key_positions, show, unfit_text

if TYPE_CHECKING:
    from yaml import SafeLoader as _Base
else:  # the C parser is 7 times faster, but a PyYAML built without libyaml does not have it
    _Base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MAX_DEPTH: Final = 50

#: Values in one file: a gigabyte in memory. Larger batches belong in a table, which is streamed.
MAX_VALUES: Final = 2_000_000

#: Values that aliases may add to what is written: enough for any real manifest, far below a "billion laughs".
MAX_ALIASED_VALUES: Final = 1_000_000

#: Longer numbers are typing errors, and turning 5000 digits into an int is refused by Python itself.
MAX_NUMBER_CHARACTERS: Final = 40

_TAG: Final = "tag:yaml.org,2002:"
_CORE_TYPES: Final = (
    ("null", r"(?:~|null|Null|NULL|)", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)", list("tTfF")),
    ("int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)", list("-+0123456789")),
    (
        "float",
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))",
        list("-+0123456789."),
    ),
)

#: What YAML 1.1 readers (and people's memories of them) take for something other than text.
_OLDER_YAML: Final = yaml.resolver.Resolver()

#: Characters that do not belong in a file; they are named with their line before the parser sees them.
_NOT_YAML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")

#: Line breaks to YAML 1.1 only, and so to the parser: while it works, characters that are none of Unicode's stand in.
_STAND_INS: Final = {0x2028: 0xFDD0, 0x2029: 0xFDD1}
_STOOD_IN_FOR: Final = {stand_in: character for character, stand_in in _STAND_INS.items()}

#: JSON writes characters outside the basic plane in halves. Only the slow parser takes them, so there is a limit.
_HALF: Final = re.compile(r"\\u[dD][89a-fA-F]")
_MAX_CHARACTERS_WITH_HALVES: Final = 4 * 1024 * 1024


class At(NamedTuple):
    """A place in the manifest; both count from 1."""

    line: int
    column: int


class _Stop(Exception):  # never leaves this file
    """The text cannot be read any further."""

    def __init__(self, message: str, at: At) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


class _Loader(_Base):
    """Composes nodes; refuses depth while composing, since both parsers recurse."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML's own class attribute
    _depth = 0
    _values = 0

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:  # noqa: ARG002
        self._depth += 1
        self._values += 1
        if self._values > MAX_VALUES:
            message = f"more than {MAX_VALUES:,} values; put the jobs into a table and name it in rows"
            raise _Stop(message, _at(current_node))
        if self._depth > MAX_DEPTH + 1:
            raise _Stop(f"nested deeper than {MAX_DEPTH}", _at(current_node))

    def ascend_resolver(self) -> None:
        self._depth -= 1


for _name, _pattern, _first in _CORE_TYPES:
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"^{_pattern}$"), _first)

#: The same, without libyaml.
PureLoader: Final[Any] = type(
    "PureLoader", (yaml.SafeLoader,), {name: each for name, each in vars(_Loader).items() if not name.startswith("__")}
)


class Document:
    """The values of a YAML file, and where they stand."""

    def __init__(self, value: Any, root: Node | None) -> None:
        self.value = value
        self._root = root

    def at(self, *path: str | int) -> At:
        """Where the value at `path` starts; the nearest value above it if the path leads nowhere."""
        return _at(self.node(*path))

    def key_at(self, *path: str | int) -> At:
        """Where the last key of `path` is written."""
        above = self.node(*path[:-1])
        if isinstance(above, MappingNode):
            for key, _ in _pairs(above):
                if key.value == path[-1]:
                    return _at(key)
        return _at(above)

    def node(self, *path: str | int) -> Node | None:
        """The node at `path`. Parts that are not in the file are skipped: a schema may know a longer form."""
        node = self._root
        for part in path:
            node = _child(node, part) or node
        return node

    def reads_as_text_everywhere(self, *path: str | int) -> bool:
        """Whether every YAML version takes this scalar for text (`no`, `012` and `1e3` it does not)."""
        node = self.node(*path)
        if not isinstance(node, ScalarNode) or node.style:
            return True
        older: str = _OLDER_YAML.resolve(ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]
        return bool(node.tag == older == _TAG + "str")


def parse(data: bytes, file: str, problems: Problems) -> Document:
    """Read one YAML document. `problems` takes what leaves the rest readable; else InputError is raised."""
    try:
        text = _text(data)
        has_separators = "\u2028" in text or "\u2029" in text
        root = _composed(text.translate(_STAND_INS) if has_separators else text)
        if root is not None and (has_separators or _HALF.search(text)):
            _mend(root)
        builder = _Builder(file, problems)
        value = None if root is None else builder.document(root)
        builder.report_keys_beside_values(text)
    except _Stop as stop:
        problem = Problem(message=stop.message, file=file, line=stop.at.line, column=stop.at.column)
        raise InputError([problem]) from None
    except yaml.YAMLError as error:
        raise InputError([_syntax_problem(error, file, data)]) from error
    return Document(value, root)


def _composed(text: str, loader_class: Any = None) -> Node | None:
    """The document's root node; None if there is nothing in it."""
    loader = (loader_class or _Loader)(text)
    try:
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        # libyaml looks ahead, and newer ones give up at a thousand levels before the first is composed. The text
        # up to there is composed to the one that is too deep.
        mark = error.problem_mark
        if "invalid Unicode character escape" in str(error.problem) and len(text) <= _MAX_CHARACTERS_WITH_HALVES:
            return _composed(text, PureLoader)
        if mark is None or "maximum nesting depth" not in str(error.problem):
            raise
        _composed(text[: mark.index], loader_class)
        raise _Stop(f"nested deeper than {MAX_DEPTH}", At(mark.line + 1, mark.column + 1)) from None
    finally:
        loader.dispose()


def _mend(root: Node) -> None:
    """Put back what stood in for line separators, and make characters whole that were written in halves."""
    seen: set[int] = set()
    left = [root]
    while left:
        node = left.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, ScalarNode):
            halves = node.value.translate(_STOOD_IN_FOR).encode("utf-16-le", "surrogatepass")
            node.value = halves.decode("utf-16-le", "surrogatepass")
        elif isinstance(node, MappingNode):
            left += [each for pair in node.value for each in pair]
        else:
            left += node.value


def _text(data: bytes) -> str:
    """The file's text. Byte order marks of UTF-8 are dropped, other encodings named."""
    other = _other_encoding(data)
    if other is not None:
        raise _Stop(f"the file is {other}; save it as UTF-8", At(1, 1))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = len(data[data.rfind(b"\n", 0, error.start) + 1 : error.start].decode("utf-8", "replace")) + 1
        raise _Stop(f"not UTF-8 (byte {error.start}); save the file as UTF-8", At(line, column)) from error
    found = _NOT_YAML.search(text)
    if found is not None:
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        raise _Stop(f"the control character {show(found.group())} is not allowed; remove it", At(line, column))
    return text


def _other_encoding(data: bytes) -> str | None:
    """UTF-16 or UTF-32, by the byte order mark or, for UTF-16, by how ASCII looks in it."""
    if data[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        return "UTF-32"
    zeros = [byte == 0 for byte in data[:4]]
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or zeros in ([True, False, True, False], [False, True, False, True]):
        return "UTF-16"
    return None


def _syntax_problem(error: yaml.YAMLError, file: str, data: bytes) -> Problem:
    mark = getattr(error, "problem_mark", None)
    line, column = (None, None) if mark is None else (mark.line + 1, mark.column + 1)
    cause = str(getattr(error, "problem", None) or "it cannot be read")
    context, context_mark = getattr(error, "context", None), getattr(error, "context_mark", None)
    if "another document" in cause:
        message = f"second document at line {line}; a manifest is one document"
    elif "unexpected end of stream" in cause and "quoted scalar" in str(context):
        line, column = error.context_mark.line + 1, error.context_mark.column + 1  # type: ignore[attr-defined]
        message = "not valid YAML: the quote that begins here is not closed"
    elif (slip := _slip_in(data, context_mark.line if context_mark else 0, mark.line if mark else 0)) is not None:
        line, column, message = slip
    elif "cannot start any token" in cause or "tab character" in cause:
        message = "not valid YAML: a tab or a reserved character stands here; indent with spaces, quote text"
    elif "mapping values are not allowed" in cause:
        message = 'not valid YAML: a second ": " in one value; quote the text'
    elif "flow mapping" in str(context):
        message = 'not valid YAML: "," or "}" is expected here; put text that holds ": " or "," into quotes'
    else:
        message = f"not valid YAML: {show(cause)}" + (f" {show(context)}" if context else "")
    return Problem(message=message, file=file, line=line, column=column)


_BARE_TEMPLATE: Final = re.compile(r"(?:^|[-:,\[{]\s+)(\{\{.*?\}\}[^\"'\n,\]}]*)")
#: So many lines before the place that YAML names: further up, what looks like a slip need not be it.
_SLIP_LINES: Final = 2
_OPEN_QUOTE: Final = re.compile(r""".*?[-:,\[{]\s+(["'])""")


def _slip_in(data: bytes, first: int, last: int) -> tuple[int, int, str] | None:
    """Line, column and words of a slip with quotes on these lines, which YAML notices later and elsewhere."""
    lines = data.decode("utf-8", "replace").splitlines()
    for number in range(min(last, len(lines) - 1), max(first, last - _SLIP_LINES) - 1, -1):
        text = lines[number]
        bare = _BARE_TEMPLATE.search(text)
        if bare is not None:
            words = f'put the whole value into quotes: "{show(bare[1].strip())}"'
            return number + 1, bare.start(1) + 1, f"not valid YAML: {words}"
        opened = _OPEN_QUOTE.match(text)
        if opened is not None and text.count(opened[1]) % 2:
            remedy = "is not closed on its line" if opened[1] == '"' else "ends early; write an apostrophe as ''"
            return number + 1, opened.end(1), f"not valid YAML: the quote that begins here {remedy}"
    return None


def _is_unquoted_template(node: MappingNode, key: Node) -> bool:
    """`{{ Column }}` without quotes: to YAML a mapping whose key is a mapping."""
    return bool(node.flow_style) and isinstance(key, MappingNode) and bool(key.flow_style)


class _Built(NamedTuple):
    """A value with its size (values in it, aliases written out) and height."""

    value: Any
    size: int
    height: int


class _Builder:
    """Turns nodes into values, each shared node once, so aliases cost nothing however often they repeat."""

    def __init__(self, file: str, problems: Problems) -> None:
        self._file = file
        self._problems = problems
        self._built: dict[int, _Built | None] = {}
        self._written = 0
        self._merged = 0
        self._told: list[tuple[int, int]] = []

    def document(self, root: Node) -> Any:
        built = self._build(root)
        if built.size - self._written > MAX_ALIASED_VALUES:
            raise _Stop(f"aliases repeat more than {MAX_ALIASED_VALUES:,} values; write less of them", _at(root))
        return built.value

    def report_keys_beside_values(self, text: str) -> None:
        """An API key in a comment is as public as one in a value."""
        for start in key_positions(text):
            if not any(first <= start < end for first, end in self._told):
                at = At(text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start))
                self._problems.add(Problem(message=LOOKS_LIKE_KEY, file=self._file, line=at.line, column=at.column))

    def _build(self, node: Node) -> _Built:
        if isinstance(node, ScalarNode):
            self._written += 1
            return _Built(self._scalar(node), 1, 0)
        if id(node) in self._built:
            known = self._built[id(node)]
            if known is None:
                raise _Stop("recursive: this value contains itself; write it out", _at(node))
            return known
        self._built[id(node)] = None
        built = self._mapping(node) if isinstance(node, MappingNode) else self._sequence(node)
        if built.height > MAX_DEPTH:
            raise _Stop(f"nested deeper than {MAX_DEPTH}", _at(node))
        self._built[id(node)] = built
        self._written += 1
        return built

    def _sequence(self, node: Node) -> _Built:
        self._check_tag(node, "seq")
        items = [self._build(item) for item in node.value]
        return _Built([item.value for item in items], *_extent(items))

    def _mapping(self, node: MappingNode) -> _Built:
        self._check_tag(node, "map")
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, int] = {}
        parts: list[_Built] = []
        for key, value in node.value:
            part = self._build(value)
            parts.append(part)
            if _is_unquoted_template(node, key):
                self._add('put a template into quotes: "{{ Column }}"', node)
            elif not isinstance(key, ScalarNode):
                self._add("a key must be a word; this is a list or a mapping", key)
            elif _is_merge(key):
                self._merge(part.value, merged, key, value)
            elif key.value in lines:
                self._add(f'"{show(key.value)}" is written twice, first on line {lines[key.value]}; keep one', key)
            else:
                self._check_text(key)
                lines[key.value] = _at(key).line
                own[key.value] = part.value
        return _Built(merged | own, *_extent(parts))

    def _merge(self, value: Any, into: dict[str, Any], key: Node, node: Node) -> None:
        """`<<: *base` or `<<: [*first, *second]`; the earlier wins, as YAML's merge type says."""
        for base in value if isinstance(value, list) else [value]:
            if not isinstance(base, dict):
                self._add("<< takes a mapping or a list of mappings", node)
                return
            self._merged += len(base)
            if self._merged > MAX_ALIASED_VALUES:
                raise _Stop(f"<< repeats more than {MAX_ALIASED_VALUES:,} values; write less of them", _at(key))
            for name, item in base.items():
                into.setdefault(name, item)

    def _scalar(self, node: ScalarNode) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if kind == "str":
            self._check_text(node)
            return node.value
        if kind not in ("int", "float", "bool", "null"):
            self._check_tag(node, "str")
            return node.value
        if len(node.value) > MAX_NUMBER_CHARACTERS:
            self._add(f"a number of {len(node.value)} characters is too long; quote it if it is text", node)
            return 0
        try:
            return _plain_value(kind, node.value)
        except ValueError:
            self._add(f"this is no {kind}; remove the tag", node)
            return node.value

    def _check_tag(self, node: Node, kind: str) -> None:
        if node.tag != _TAG + kind:
            self._add(f"the tag {show(node.tag)} is not allowed; only YAML's core types are", node)

    def _check_text(self, node: ScalarNode) -> None:
        wrong = unfit_text(node.value)
        if wrong is not None:
            self._told.append((node.start_mark.index, node.end_mark.index))
            self._add(wrong, node)

    def _add(self, message: str, node: Node) -> None:
        at = _at(node)
        self._problems.add(Problem(message=message, file=self._file, line=at.line, column=at.column))


def _plain_value(kind: str, text: str) -> Any:
    if kind == "null":
        return None
    if kind == "bool":
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    if kind == "int":
        bases = {"0o": 8, "0x": 16}
        return int(text, bases[text[:2]]) if text[:2] in bases else int(text)
    word = text.lower().lstrip("+-")
    if word in (".inf", ".nan"):
        return math.nan if word == ".nan" else (-math.inf if text.startswith("-") else math.inf)
    return float(text)


def _extent(parts: list[_Built]) -> tuple[int, int]:
    return 1 + sum(part.size for part in parts), 1 + max((part.height for part in parts), default=0)


def _is_merge(key: ScalarNode) -> bool:
    return key.value == "<<" and not key.style  # None or "" for plain, by parser


def _pairs(node: MappingNode, seen: set[int] | None = None) -> Iterator[tuple[ScalarNode, Node]]:
    """The pairs of a mapping, its own before those merged into it; each mapping once, however often it is merged."""
    seen = set() if seen is None else seen
    seen.add(id(node))
    merged: list[Node] = []
    for key, value in node.value:
        if isinstance(key, ScalarNode) and not _is_merge(key):
            yield key, value
        elif isinstance(key, ScalarNode):
            merged.extend(value.value if isinstance(value, SequenceNode) else [value])
    for base in merged:
        if isinstance(base, MappingNode) and id(base) not in seen:
            yield from _pairs(base, seen)


def _child(node: Node | None, part: str | int) -> Node | None:
    if isinstance(node, MappingNode):
        return next((value for key, value in _pairs(node) if key.value == part), None)
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        child: Node = node.value[part]
        return child
    return None


def _at(node: Node | None) -> At:
    if node is None:
        return At(1, 1)
    return At(node.start_mark.line + 1, node.start_mark.column + 1)
