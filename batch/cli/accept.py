"""`imagebatch accept` and `imagebatch reject`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from batch.cli.console import print_json, print_lines
from batch.cli.options import NamedPath


def _arguments(function: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(
        (
            click.argument("directory", type=NamedPath()),
            click.argument("names", metavar="[ID]...", nargs=-1),
            click.option(
                "--from",
                "files",
                metavar="FILE",
                multiple=True,
                help="Take them from a file, or with - from standard input: one a line, a CSV with a column id, or "
                "JSON lines; columns or fields note and reasons go with each.",
            ),
            click.option("--note", default="", metavar="TEXT", help="What is to be said of them, in a sentence."),
            click.option(
                "--reason", "reasons", multiple=True, metavar="WORD", help="Why, in a word: hands. May be repeated."
            ),
            click.option("--by", default="", metavar="NAME", help="Who says so."),
            click.option("--undo", is_flag=True, help="Take back what was said of them before."),
            click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        )
    ):
        function = option(function)
    return function


@click.command(short_help="Accept pictures.")
@_arguments
def accept(directory: Path, **rest: Any) -> None:
    """Accept pictures in the output folder DIRECTORY: by a job's id, a pattern such as 'tea-*', or a picture's file.

    An id means the job's current picture. What a person has said counts for more than a machine's word. Sends nothing;
    a run may be on.
    """
    _judge(directory, "accepted", **rest)


@click.command(short_help="Reject pictures; `run --rejected` makes them again.")
@_arguments
def reject(directory: Path, **rest: Any) -> None:
    """Reject pictures in the output folder DIRECTORY: by a job's id, a pattern such as 'tea-*', or a picture's file.

    An id means the job's current picture. `imagebatch run MANIFEST --rejected` makes the rejected ones again, beside
    the old ones; on_reject in the manifest says how note and reasons change the prompt. Sends nothing; a run may be on.
    """
    _judge(directory, "rejected", **rest)


def _judge(
    directory: Path,
    word: str,
    *,
    names: tuple[str, ...],
    files: tuple[str, ...],
    note: str,
    reasons: tuple[str, ...],
    by: str,
    undo: bool,
    as_json: bool,
) -> None:
    from batch.cli.status import folder_of
    from batch.core.decisions import Verdict
    from batch.report.judged import judged_lines
    from batch.report.status import read_status
    from batch.runner.reviewing import judge, named_pictures

    if not (names or files):
        raise click.UsageError("name at least one job or picture, or a file of them with --from")
    named = named_pictures(names, files, sys.stdin.buffer)
    output = folder_of(directory)
    verdict = Verdict.UNDONE if undo else Verdict(word)
    judged = judge(output, named, verdict, note=note, reasons=reasons, by=by)
    if as_json:
        pictures = [asdict(each) for each in judged]
        print_json({"output": str(output), "verdict": str(verdict), "pictures": pictures})
    else:
        print_lines(judged_lines(judged, verdict, read_status(output)))
