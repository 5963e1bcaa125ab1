"""What a template of an export can use: the row's columns, and facts of the picture.

Where a column has a fact's name, the fact wins, and the column is called `column id`: `{{ column_id }}`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from batch.core.errors import InputError, OptionError, Problem
from batch.export.picks import Pick
from batch.manifest.problems import show
from batch.manifest.templating.templates import Columns, Template, TemplateProblem

#: The facts, in the order in which `values` has them.
FACTS: Final = (
    *("url", "path", "link", "name", "id", "prompt", "caption", "model", "endpoint", "mime", "sha256"),
    *("width", "height", "bytes", "number", "count", "urls", "paths", "current", "existing", "next"),
)
_BETWEEN_ADDRESSES: Final = re.compile(r"\s*[,|\s]\s*(?=https?://|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where pictures are found: `folder` in the export, and served below `base_url`, if that is known."""

    folder: str
    base_url: str

    def path(self, pick: Pick) -> str:
        """Relative to the export's folder."""
        return f"{self.folder}/{pick.name}" if self.folder else pick.name

    def url(self, pick: Pick) -> str:
        """Every character that a list of addresses, or a table, may take for its own is escaped; empty if unknown."""
        return f"{self.base_url.rstrip('/')}/{quote(pick.name)}" if self.base_url else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What stands in the column that is filled, and the next free number in it."""

    current: str = ""
    next: int = 1


def checked_base_url(text: str) -> str:
    """Raises `OptionError` if pictures cannot be served below it."""
    if not text or re.fullmatch(r"(?i)https?://[^\s?#,\"'<>|]+", text):
        return text
    words = "--base-url must be an address such as https://cdn.example/pictures, without ? or #"
    raise OptionError([Problem(message=f"{words}; got {show(text)}")])


def with_facts(names: Sequence[str]) -> Columns:
    """The names that templates can use beside a table's columns."""
    own = [f"column {name}" if name in FACTS else name for name in names]
    return Columns([*own, *FACTS], gaps=True)


def values(picks: Sequence[Pick], number: int, addresses: Addresses, cell: Cell) -> list[Any]:
    """The facts of the `number`-th (from 0) of a row's pictures, in the order of `FACTS`."""
    pick = picks[number]
    path, url = addresses.path(pick), addresses.url(pick)
    texts = (pick.name, pick.job, pick.prompt, pick.caption, pick.model, pick.endpoint, pick.mime, pick.sha256)
    numbers = (pick.width, pick.height, pick.size_bytes, number + 1, len(picks))
    lists = [addresses.url(each) for each in picks], [addresses.path(each) for each in picks]
    existing = [each for each in _BETWEEN_ADDRESSES.split(cell.current.strip()) if each]
    return [url, path, url or path, *texts, *map(str, numbers), *lists, cell.current, existing, str(cell.next)]


def compiled(text: str, columns: Columns, option: str) -> Template:
    """A template of an option. Raises `OptionError` if it cannot be read, or names what is not there."""
    try:
        return Template(text, columns)
    except TemplateProblem as problem:
        raise OptionError([Problem(message=f"{option}: {problem}")]) from None


def filled(template: Template, row: Sequence[Any], option: str, job: str) -> str:
    """Raises `InputError` if it cannot be filled from this row."""
    try:
        return template.fill(row)
    except TemplateProblem as problem:
        raise InputError([Problem(message=f"{option}: {problem}", job=job)]) from None
