"""A job together with the row of the table it was made of."""

from __future__ import annotations

from typing import NamedTuple

from batch.core.model import Job
from batch.manifest.tables.table_reader import Row


class TableRow(NamedTuple):
    """The cells of one row, in the order of the table's column names."""

    names: tuple[str, ...]
    cells: Row


class RowJob(NamedTuple):
    """One job; `row` is None in a manifest without a table."""

    row: TableRow | None
    job: Job
