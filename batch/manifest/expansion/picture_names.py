"""`names`: what pictures are called, by a template over a row and its job's id, with folders.

A name decides nothing about the picture, so it is no part of a job's spec.
"""

from __future__ import annotations

from batch.manifest.expansion.entries import Text
from batch.manifest.ids import path_problem, sample_id
from batch.manifest.tables.grouped_row import GroupedRow
from batch.manifest.tables.table_reader import Row
from batch.manifest.templating.templates import Columns, Template, TemplateProblem

_ID = "id"


class PictureNames:
    """The names of one entry's pictures. Raises TemplateProblem if the template cannot be used."""

    def __init__(self, text: Text, columns: Columns | None) -> None:
        known = columns or Columns(())
        self._adds_id = _ID not in known.names and _ID not in known.constants
        self._template = Template(text.text, known.with_column(_ID) if self._adds_id else known)

    def of(self, row: Row, ids: list[str]) -> list[str]:
        """The name of each sample's picture. Raises TemplateProblem if it cannot be one."""
        names = [self._template.fill(self._with_id(row, job_id)) for job_id in ids]
        if len(names) > 1 and len(set(names)) == 1:
            names = [sample_id(name, number) for number, name in enumerate(names, start=1)]
        for name in names:
            wrong = path_problem(name)
            if wrong is not None:
                raise TemplateProblem(f"{wrong}; write {{{{ Column | slug }}}}")
        return names

    def _with_id(self, row: Row, job_id: str) -> Row:
        if not self._adds_id:
            return row
        if isinstance(row, GroupedRow):
            return GroupedRow([*row, job_id], [[*member, job_id] for member in row.members])
        return [*row, job_id]
