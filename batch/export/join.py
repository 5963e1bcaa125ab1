"""Which row of which table each picture belongs to: the manifest is expanded once more, and jobs are known by their id.

So a table may have been edited since. Rows whose prompt was edited are counted; jobs that have no row any more are
left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from batch.core.errors import InputError, Problem
from batch.export.picks import Omissions, Pick, Picks
from batch.export.settings import Status
from batch.manifest import Manifest, RowJob
from batch.manifest.tables.rows import Table

#: Told every job that has pictures, with its row's column names and cells; both empty without a table.
OnJob = Callable[[Sequence[str], Sequence[Any], list[Pick]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """`picks` of each table (by its place in `tables`) by the line of their row, in the jobs' order."""

    tables: Sequence[Table]
    picks: Sequence[dict[int, list[Pick]]]
    edited: Omissions
    problems: Sequence[Problem] = field(default_factory=tuple)

    @property
    def most_pictures(self) -> int:
        """The most that any row has."""
        return max((len(found) for table in self.picks for found in table.values()), default=0)


def join(manifest: Manifest, picks: Picks, on_job: OnJob) -> Join:
    """Expand the manifest. Raises `InputError` if its tables cannot be read, or no job of it has a row."""
    tables = manifest.tables
    numbers = {table.shown: number for number, table in enumerate(tables)}
    found: list[dict[int, list[Pick]]] = [{} for _ in tables]
    edited, problems = Omissions(), list[Problem]()
    seen: set[str] = set()
    for row, job in manifest.named_jobs(problems.append):
        own = picks.by_job.get(job.id)
        if own is None or job.id in seen:
            continue
        seen.add(job.id)
        if own[0].prompt != job.prompt:
            edited.add("edited", job.id)
        if row is not None and job.place is not None:
            found[numbers[job.place.file]].setdefault(job.place.line, []).extend(own)
            on_job(row.names, row.cells, own)
        else:
            on_job((), (), own)
    if problems and not seen and picks.by_job:
        raise InputError(problems)
    for gone in [job for job in picks.by_job if job not in seen]:
        del picks.by_job[gone]
        picks.left_out.add(Status.GONE, gone)
    return Join(tables=tables, picks=found, edited=edited, problems=problems)


def rows_of_pictures(manifest: Manifest | None, picks: Picks) -> Iterator[tuple[RowJob | None, list[Pick]]]:
    """Every job's pictures with its row, in the manifest's order; without a manifest in the album's."""
    if manifest is None:
        for own in picks.by_job.values():
            yield None, own
        return
    left = dict(picks.by_job)
    for pair in manifest.named_jobs(lambda _: None):
        if pair.job.id in left:
            yield pair, left.pop(pair.job.id)
