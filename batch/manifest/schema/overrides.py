"""`--set limits.concurrency=4`: values put into a manifest from outside, checked as if they stood in it.

A value is YAML. It gets a line number far behind any manifest's last one, by which problems with it find back to the
option: `say_where` puts its words in the place of file and line.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from batch.core.errors import InputError, Problem
from batch.manifest.problems import Problems
from batch.manifest.schema.yaml_text import Document, parse

_FIRST_LINE: Final = 100_000_000
_TEXT: Final = "tag:yaml.org,2002:str"
_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*")
#: What a word alone stands for, where a mapping may be written too.
_SHORT: Final = {"provider": "profile", "rows": "file", "canary": "jobs", "fallback": "models", "carry": "columns"}
#: Prompts and ids are the manifest's alone: what is bought must not depend on where it runs.
_MANIFEST_ONLY: Final = ("jobs", "on_reject")


@dataclass(frozen=True, slots=True)
class _Mark:
    line: int
    column: int


@contextmanager
def say_where(overrides: Sequence[str]) -> Iterator[None]:
    """Problems with a value from outside name the option instead of a line of the manifest."""
    try:
        yield
    except InputError as error:
        if not overrides:
            raise
        raise InputError([_placed(problem, overrides) for problem in error.problems], more=error.more) from error


def _placed(problem: Problem, overrides: Sequence[str]) -> Problem:
    number = (problem.line or 0) - _FIRST_LINE - 1
    if not 0 <= number < len(overrides):
        return problem
    return replace(problem, file=f"--set {overrides[number].partition('=')[0]}", line=None, column=None)


def overridden(document: Document, overrides: Sequence[str], file: str) -> Document:
    """The document with values put in by their dotted keys; a later one wins. Raises `InputError`."""
    if not overrides or not isinstance(document.value, dict):
        return document
    value, root = copy.deepcopy(document.value), copy.deepcopy(document.node())
    assert isinstance(root, MappingNode)
    for number, each in enumerate(overrides):
        key, given = _read(each, file)
        chosen = _entry_called(given.value, value.get("provider")) if key == ["provider"] else None
        if chosen is not None:
            _keep_one(value, root, chosen)
            continue
        try:
            _put(value, root, key, given.value, _moved(given.node(), number))
        except _NoPlace as problem:
            raise InputError([Problem(message=str(problem), file=f"--set {each.partition('=')[0]}")]) from None
    return Document(value, root)


def _entry_called(name: object, providers: object) -> int | None:
    """Which of several providers is meant by its name, or by its profile if that is its name."""
    if not isinstance(name, str) or not isinstance(providers, list):
        return None
    names = [each.get("name", each.get("profile")) if isinstance(each, dict) else each for each in providers]
    return names.index(name) if name in names else None


def _keep_one(value: Any, root: MappingNode, index: int) -> None:
    value["provider"] = value["provider"][index]
    root.value = [
        (key, node.value[index] if key.value == "provider" and isinstance(node, SequenceNode) else node)
        for key, node in root.value
    ]


class _NoPlace(Exception):
    """The key leads nowhere."""


def _read(text: str, file: str) -> tuple[list[str | int], Document]:
    name, equals, written = text.partition("=")
    if not equals or _KEY.fullmatch(name) is None:
        raise InputError([Problem(message=f"--set must be KEY=VALUE, such as limits.concurrency=4; got {name[:80]!r}")])
    if name.partition(".")[0] in _MANIFEST_ONLY:
        raise InputError(
            [Problem(message="stands in the manifest only; it decides what is bought", file=f"--set {name}")]
        )
    problems = Problems(file)
    try:
        given = parse(written.encode("utf-8", "surrogateescape"), f"--set {name}", problems)
        problems.raise_if_any()
    except InputError as error:
        raise InputError(
            [replace(each, file=f"--set {name}", line=None, column=None) for each in error.problems]
        ) from None
    return [int(part) if part.isdecimal() else part for part in name.split(".")], given


def _put(value: Any, node: Node, key: Sequence[str | int], given: Any, given_node: Node) -> None:
    """Put a value at its place; mappings on the way there are made."""
    part, *rest = key
    if isinstance(value, list) and isinstance(node, SequenceNode):
        if not isinstance(part, int) or part >= len(value):
            raise _NoPlace(f"is a list here; name an item by its number, from 0 to {len(value) - 1}")
        if not rest:
            value[part], node.value[part] = given, given_node
            return
        value[part], node.value[part] = _as_mapping(str(part), value[part], node.value[part])
        _put(value[part], node.value[part], rest, given, given_node)
        return
    if not isinstance(value, dict) or not isinstance(node, MappingNode) or not isinstance(part, str):
        raise _NoPlace("leads below something that is no mapping")
    found = next((index for index, (name, _) in enumerate(node.value) if name.value == part), None)
    if found is None:
        node.value.append((_scalar(part, given_node), _mapping(given_node)))
        value[part] = {}
        found = len(node.value) - 1
    name, inner = node.value[found]
    if rest:
        value[part], inner = _as_mapping(part, value[part], inner)
        _put(value[part], inner, rest, given, given_node)
    else:
        value[part], inner, name = given, given_node, _scalar(part, given_node)
    node.value[found] = (name, inner)


def _as_mapping(part: str, value: Any, node: Node) -> tuple[Any, Node]:
    """What was written in its short form, in the long one."""
    short = _SHORT.get("provider" if part.isdecimal() else part)
    if short is None or isinstance(value, dict) or (isinstance(value, list) and part == "provider"):
        return value, node
    long = _mapping(node)
    long.value.append((_scalar(short, node), node))
    return {short: value}, long


def _mapping(at: Node) -> MappingNode:
    return MappingNode("tag:yaml.org,2002:map", [], at.start_mark, at.start_mark)


def _scalar(text: str, at: Node) -> ScalarNode:
    return ScalarNode(_TEXT, text, at.start_mark, at.start_mark)


def _moved(node: Node | None, number: int) -> Node:
    """The nodes of a value, on the line that stands for its option."""
    if node is None:
        node = ScalarNode("tag:yaml.org,2002:null", "", None, None)
    for each in _all_below(node):
        each.start_mark = _Mark(_FIRST_LINE + number, 0)
    return node


def _all_below(node: Node) -> Iterator[Node]:
    yield node
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield from _all_below(key)
            yield from _all_below(value)
    elif isinstance(node, SequenceNode):
        for each in node.value:
            yield from _all_below(each)
