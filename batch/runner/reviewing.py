"""Saying of pictures without a browser: accepted, rejected, or what was said before taken back.

A verdict is a line of decisions.jsonl. Nothing is sent, and no lock of a run is taken: one may be on.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from batch.album import open_album
from batch.core.clock import Clock, SystemClock, timestamp
from batch.core.decisions import Decision, Decisions, JudgedPicture, Verdict
from batch.core.errors import OptionError, Problem
from batch.runner.named_pictures import FoundPicture, NamedPicture, find_pictures, names_in
from batch.store.decisions import DecisionFile
from batch.store.ledger_reader import require_ledger

_LONGEST_NOTE: Final = 4000


def accept(
    output: str | Path,
    *names: str,
    note: str = "",
    reasons: Iterable[str] = (),
    by: str = "",
    undo: bool = False,
    clock: Clock | None = None,
) -> tuple[JudgedPicture, ...]:
    """Accept pictures of an output folder, as `imagebatch accept` does; when this returns it is durable.

    `names` are ids or patterns of jobs, whose current pictures are meant, or paths or names of picture files; `@FILE`
    has such names, one a line, as a CSV with a column `id` or as JSON lines. `undo` takes back what was said of them
    instead. Raises `OutputError`, `StorageError`, or `OptionError` if a name means no picture; then nothing is written.
    """
    verdict = Verdict.UNDONE if undo else Verdict.ACCEPTED
    return judge(Path(output), _named(names), verdict, note=note, reasons=reasons, by=by, clock=clock)


def reject(
    output: str | Path,
    *names: str,
    note: str = "",
    reasons: Iterable[str] = (),
    by: str = "",
    undo: bool = False,
    clock: Clock | None = None,
) -> tuple[JudgedPicture, ...]:
    """Reject pictures of an output folder, as `imagebatch reject` does. As `accept` otherwise.

    `RunOptions(rejected=True)` makes them again; `note` and `reasons` are what the manifest's `on_reject` may add to
    the prompt.
    """
    verdict = Verdict.UNDONE if undo else Verdict.REJECTED
    return judge(Path(output), _named(names), verdict, note=note, reasons=reasons, by=by, clock=clock)


def decisions(output: str | Path) -> Decisions:
    """What was decided on the pictures of an output folder. Raises `OutputError` if the file cannot be read."""
    return DecisionFile(Path(output)).read()


def judge(
    output: Path,
    names: Sequence[NamedPicture],
    verdict: Verdict,
    *,
    note: str,
    reasons: Iterable[str],
    by: str,
    clock: Clock | None = None,
) -> tuple[JudgedPicture, ...]:
    """Write one verdict on all of these pictures, by a person. See `accept`."""
    require_ledger(output)
    if len(note) > _LONGEST_NOTE:
        raise OptionError([Problem(message=f"the note is longer than {_LONGEST_NOTE:,} characters")])
    reasons = tuple(reasons)
    judged = [_judged(each, verdict, note, reasons) for each in find_pictures(open_album(output), names)]
    at = timestamp(clock or SystemClock())
    DecisionFile(output).append(
        Decision(
            at=at,
            job=each.job,
            sha256=each.sha256,
            verdict=verdict,
            by=by,
            reasons=each.reasons,
            note=each.note,
        )
        for each in judged
    )
    return tuple(judged)


def named_pictures(names: Iterable[str], files: Iterable[str], stdin: BinaryIO) -> list[NamedPicture]:
    """Names as they were given, and those in files; a file called `-` is standard input. Raises `OptionError`."""
    found = [NamedPicture(word=name) for name in names]
    for file in files:
        found += names_in(file, stdin)
    if not found:
        raise OptionError([Problem(message="name at least one job or picture")])
    return found


def _named(names: Sequence[str]) -> list[NamedPicture]:
    files = [name[1:] for name in names if name.startswith("@")]
    return named_pictures((name for name in names if not name.startswith("@")), files, sys.stdin.buffer)


def _judged(found: FoundPicture, verdict: Verdict, note: str, reasons: tuple[str, ...]) -> JudgedPicture:
    """What a file says of its picture goes before what was said of all."""
    takes_back = verdict is Verdict.UNDONE
    return JudgedPicture(
        job=found.job,
        path=found.picture.path,
        sha256=found.picture.sha256,
        verdict=verdict,
        reasons=() if takes_back else found.name.reasons or reasons,
        note="" if takes_back else found.name.note or note,
    )
