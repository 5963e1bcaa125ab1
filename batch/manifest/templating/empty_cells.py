"""Which columns a prompt cannot do without: those among words of its own, with nothing said for an empty cell.

"Product photo of {{ Title }} in {{ Color }}" is not a sentence in a row without a title. A column may be empty if the
template asks for it (`{% if Color %}`, `{{ Color or "plain" }}`, `| default("")`), or if its sentence has no other
words: `{{ Title }} on a table. {{ Description }}` is whole without the description.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from jinja2 import nodes

#: Filters that make nothing out of nothing.
_TRANSPARENT: Final = frozenset(
    {
        *("capitalize", "e", "escape", "lower", "replace", "string", "striptags", "title", "trim", "truncate", "upper"),
        *("shorten", "slug", "as_id", "strip_html", "unescape", "words"),
    }
)
_SENTENCE_END: Final = re.compile(
    r"""[.!?\u2026]["'\u201d\u2019)]*(?=\s|$)|[\u3002\uff01\uff1f]|\n[^\S\n]*\n""",
)

ColumnOf = Callable[[nodes.Node], int | None]


def needed_columns(tree: nodes.Template, column_of: ColumnOf) -> tuple[int, ...]:
    """Positions of the columns that must be filled in every row. `column_of` is asked what column a node names."""
    pieces = list(_pieces(tree))
    cells = [_cell(piece, column_of) for piece in pieces]
    written = set(map(id, cells))
    asked = {
        column_of(node)
        for kind in (nodes.Name, nodes.Getitem)
        for node in tree.find_all(kind)
        if id(node) not in written
    }
    found = (column_of(cell) for index, cell in enumerate(cells) if cell is not None and _is_among_words(pieces, index))
    return tuple(dict.fromkeys(column for column in found if column is not None and column not in asked))


def _pieces(tree: nodes.Template) -> Iterator[nodes.Node]:
    """What the template writes whatever the row, and what it may write (statements), in order."""
    for statement in tree.body:
        if isinstance(statement, nodes.Output):
            yield from statement.nodes
        else:
            yield statement


def _cell(node: nodes.Node, column_of: ColumnOf) -> nodes.Node | None:
    """The node that names a column, if this writes a cell and nothing for an empty one."""
    while isinstance(node, nodes.Filter) and node.node is not None:
        if node.name not in _TRANSPARENT and not _is_default_for_missing(node):
            return None
        node = node.node
    return node if column_of(node) is not None else None


def _is_default_for_missing(node: nodes.Filter) -> bool:
    """`default("plain")` is for a cell that is not there at all; an empty one stays empty."""
    if node.name not in ("d", "default") or len(node.args) != 1 or node.kwargs:
        return False
    value = node.args[0]
    return not (isinstance(value, nodes.Const) and value.value == "")


def _is_among_words(pieces: Sequence[nodes.Node], index: int) -> bool:
    """Whether the sentence around a piece has words of the template."""
    for piece in reversed(pieces[:index]):
        if isinstance(piece, nodes.TemplateData):
            *sentences, rest = _SENTENCE_END.split(piece.data)
            if _has_words(rest):
                return True
            if sentences:
                break
    for piece in pieces[index + 1 :]:
        if isinstance(piece, nodes.TemplateData):
            sentence, *others = _SENTENCE_END.split(piece.data)
            if sentence.lstrip()[:1].isupper():  # the cell ends its sentence itself, as descriptions do
                return False
            if _has_words(sentence):
                return True
            if others:
                break
    return False


def _has_words(text: str) -> bool:
    return any(map(str.isalpha, text))
