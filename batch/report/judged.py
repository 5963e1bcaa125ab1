"""What was said of pictures on the command line, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batch.core.decisions import JudgedPicture, Verdict
from batch.report.formatting import count, printable
from batch.report.status import Status

_SHOWN = 20
_WORDS = {
    Verdict.ACCEPTED: "accepted",
    Verdict.REJECTED: "rejected",
    Verdict.UNDONE: "undecided again",
}


def judged_lines(judged: Sequence[JudgedPicture], verdict: Verdict, status: Status) -> Iterator[str]:
    """How many pictures, the first by name, and what to do next. `status`: of their output, afterwards."""
    yield f"{count(len(judged), 'picture')} {_WORDS.get(verdict, str(verdict))}"
    for each in judged[:_SHOWN]:
        words = "; ".join(filter(None, (", ".join(each.reasons), each.note)))
        yield f"  {each.job}  {each.path}" + (f"  ({printable(words, 100)})" if words else "")
    if len(judged) > _SHOWN:
        yield f"  ... and {len(judged) - _SHOWN:,} more"
    if status.next_command:
        yield f"  next       {status.next_command}"
