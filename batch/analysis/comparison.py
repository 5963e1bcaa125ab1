"""Two outputs beside each other, in figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from batch.album import Entry, PairedAlbum, Version
from batch.analysis.figures import Figures
from batch.analysis.gathering import read_figures
from batch.analysis.wording import job_rows, latency_rows, money_rows, rate_rows
from batch.report.formatting import count, printable

_NONE: Final = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Figures of two outputs, and how their jobs pair. Of jobs in both, counted by whose picture was accepted."""

    names: tuple[str, str]
    first: Figures
    second: Figures
    in_both: int
    only_first: int
    only_second: int
    first_accepted: int
    second_accepted: int
    both_accepted: int
    undecided: int


def compare(album: PairedAlbum) -> Comparison:
    """Gather the figures of both outputs. Raises `LedgerError` if a ledger is damaged."""
    pairs = Counter(_kind(entry, album.names) for entry in album)
    first, second = (read_figures(output) for output in album.outputs)
    return Comparison(
        names=album.names,
        first=first,
        second=second,
        in_both=sum(pairs[kind] for kind in ("first", "second", "both", "undecided")),
        only_first=pairs["only first"],
        only_second=pairs["only second"],
        first_accepted=pairs["first"],
        second_accepted=pairs["second"],
        both_accepted=pairs["both"],
        undecided=pairs["undecided"],
    )


def comparison_lines(found: Comparison) -> Iterator[str]:
    """The comparison as a table for a terminal."""
    names = [printable(name) for name in found.names]
    only = f"{found.only_first:,} only in {names[0]}, {found.only_second:,} only in {names[1]}"
    yield f"{count(found.in_both, 'job')} in both, {only}"
    rows = [("", *names), *_rows(found)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for name, one, other in rows:
        yield f"  {name:<{widths[0]}}  {one:>{widths[1]}}  {other:>{widths[2]}}"


def _kind(entry: Entry, names: tuple[str, str]) -> str:
    assert entry.row is not None
    missing = [entry.row[name] == "not in it" for name in names]
    if any(missing):
        return "only second" if missing[0] else "only first"
    accepted = [_is_accepted(entry.versions, name) for name in names]
    return {(True, True): "both", (True, False): "first", (False, True): "second"}.get(
        (accepted[0], accepted[1]), "undecided"
    )


def _is_accepted(versions: tuple[Version, ...], name: str) -> bool:
    return any(version.is_accepted for version in versions if version.source == name)


def _rows(found: Comparison) -> Iterator[tuple[str, str, str]]:
    for rows_of in (job_rows, money_rows, latency_rows, rate_rows):
        one, other = dict(rows_of(found.first)), dict(rows_of(found.second))
        for name in {**one, **other}:
            yield name, one.get(name, _NONE), other.get(name, _NONE)
    if found.first_accepted or found.second_accepted or found.both_accepted:
        yield "chosen, of the jobs in both", f"{found.first_accepted:,}", f"{found.second_accepted:,}"
