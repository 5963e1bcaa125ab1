"""The report as Markdown: for a mail, a ticket, a wiki."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from batch.analysis.figures import Figures
from batch.analysis.wording import (
    ROUTE_HEADS,
    RUN_HEADS,
    headline,
    job_rows,
    latency_rows,
    money_rows,
    route_rows,
    run_rows,
    throughput_words,
)
from batch.report.formatting import count, printable

#: What Markdown or the HTML in it would take for markup.
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>#|~!&])")


def report_markdown(figures: Figures) -> str:
    """The whole report, ending in a newline. Text from outside is escaped."""
    return "\n".join(_lines(figures)) + "\n"


def _lines(figures: Figures) -> Iterator[str]:
    yield f"# Report on {_text(figures.output)}"
    yield f"\n{headline(figures)}."
    if figures.simulated:
        yield "\n**Simulated**: nothing was charged."
    yield from _table("Jobs", ("", "jobs"), job_rows(figures))
    yield from _table("Money", ("", "US dollars"), money_rows(figures))
    yield from _table("Time for a picture", ("", "seconds"), latency_rows(figures))
    if words := throughput_words(figures):
        yield f"\n{words}."
    yield from _causes(figures)
    yield from _table("Refused without a charge", ("cause", "requests"), _counts(figures.refusals))
    yield from _table("Warnings", ("kind", "pictures"), _counts(figures.warnings))
    yield from _table("Endpoints", ROUTE_HEADS, route_rows(figures))
    yield from _table("Runs", RUN_HEADS, run_rows(figures))


def _causes(figures: Figures) -> Iterator[str]:
    if figures.causes:
        yield "\n## Failures\n"
    for cause in figures.causes:
        ids = ", ".join(_text(each) for each in cause.ids)
        more = ", ..." if cause.jobs > len(cause.ids) else ""
        yield f"- **{_text(cause.code)}**, {count(cause.jobs, 'job')} ({ids}{more}): {_text(cause.example)}"
        if cause.advice:
            yield f"  {_text(cause.advice)[:1].upper()}{_text(cause.advice)[1:]}."


def _counts(pairs: Sequence[tuple[str, int]]) -> Iterator[tuple[str, str]]:
    return ((name, f"{number:,}") for name, number in pairs)


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    listed = list(rows)
    if not listed:
        return
    yield f"\n## {title}\n"
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in listed:
        yield f"| {' | '.join(_text(cell) for cell in row)} |"


def _text(text: str) -> str:
    return _MARKUP.sub(r"\\\1", printable(text))
