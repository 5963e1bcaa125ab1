"""The columns of a table, found by their names, and how a template writes them."""

from __future__ import annotations

from collections.abc import Iterable

from batch.manifest.problems import show
from batch.manifest.templating.templates import Columns, Template, TemplateProblem, underscored
from batch.starter.names import fold, usable
from batch.starter.sniff import SniffedTable


class TableColumns:
    """Positions of columns in one table. Only those are known that hold texts and can be named in a manifest."""

    def __init__(self, table: SniffedTable) -> None:
        self.header = table.header
        self._with_gaps = table.with_gaps
        self._columns = Columns(table.header)
        self.usable = [index for index, name in enumerate(table.header) if usable(name) and index not in table.no_text]
        self._by_name = {fold(table.header[index]): index for index in reversed(self.usable)}

    def named(self, names: Iterable[str]) -> list[int]:
        """Those that have one of these names, in the names' order."""
        return [self._by_name[name] for name in dict.fromkeys(map(fold, names)) if name in self._by_name]

    def name(self, index: int) -> str:
        return self.header[index]

    def quoted(self, index: int) -> str:
        """Its name for a comment or a message."""
        return in_quotes(self.name(index))

    def expression(self, index: int) -> str:
        """How a template names a column: plain if it can be."""
        name = self.name(index)
        markers = [str(position) for position in range(len(self.header))]
        for form in (name, underscored(name)):
            try:
                if form.isidentifier() and Template(f"{{{{ {form} }}}}", self._columns).fill(markers) == str(index):
                    return form
            except TemplateProblem:
                continue
        return f"row[{_jinja_string(name)}]"

    def value(self, index: int) -> str:
        """The column as a text in a template, also where a row lacks it."""
        words = self.expression(index)
        return f'{words} | default("")' if index in self._with_gaps else words


def _jinja_string(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def in_quotes(text: str) -> str:
    return f'"{show(text)}"'
