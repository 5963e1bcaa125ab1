"""`keep`: the columns of a job's row that are written into manifest.jsonl beside the job.

They decide nothing about the picture, so they are no part of a job's spec. What may be a secret is left out: text
shaped like an API key, the user and password of an address, and what follows its `?`, which may be a signature.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from batch.manifest.expansion.entries import Text
from batch.manifest.expansion.row_job import TableRow
from batch.manifest.problems import did_you_mean, show, without_keys
from batch.manifest.tables.grouped_row import GroupedRow, values_of

_ADDRESS: Final = re.compile(
    r"""(?i)\b(https?|ftp|s3|gs)://(?:[^\s/?#@"'<>]*@)?([^\s?#"'<>,;|]*)(?:\?[^\s"'<>,;|]*)?"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptColumns:
    """Columns by name; `wanted` None means all of them."""

    wanted: tuple[Text, ...] | None = ()

    def __bool__(self) -> bool:
        return self.wanted is None or bool(self.wanted)

    def problem(self, wanted: Text, names: tuple[str, ...]) -> str | None:
        """Why a column cannot be kept; None if the table has it."""
        if wanted.text in names:
            return None
        return f'keep: no column "{show(wanted.text)}"; {did_you_mean(wanted.text, filter(None, names), "columns")}'

    def of(self, row: TableRow | None) -> dict[str, Any] | None:
        """The kept cells of a row by column; of a product the different cells of its rows. None without a row."""
        if row is None:
            return None
        wanted = [name for name in row.names if name] if self.wanted is None else [text.text for text in self.wanted]
        places = {name: index for index, name in enumerate(row.names)}
        if isinstance(row.cells, GroupedRow):
            return {name: [_shown(cell) for cell in values_of(row.cells, places[name])] for name in wanted}
        return {name: _shown(row.cells[places[name]]) for name in wanted}


class RowsDigest:
    """Names what was kept of all rows together, so that an unchanged batch need not write manifest.jsonl again."""

    def __init__(self) -> None:
        self._hashed = blake2b(digest_size=16)

    def add(self, kept: Mapping[str, Any] | None) -> None:
        """Take the next job's row into account."""
        self._hashed.update(json.dumps(kept, ensure_ascii=True).encode("ascii") + b"\n")

    @property
    def text(self) -> str:
        """All so far, as 32 hex digits."""
        return self._hashed.hexdigest()


def _shown(cell: Any) -> Any:
    """A cell as JSON can hold it, without what may be secret. Binary data, such as a picture, is left out."""
    if isinstance(cell, str):
        text = without_keys(cell)
        return _ADDRESS.sub(r"\1://\2", text) if "://" in text else text
    if isinstance(cell, dict):
        return {str(key): _shown(value) for key, value in cell.items()}
    if isinstance(cell, list | tuple):
        return [_shown(value) for value in cell]
    return None
