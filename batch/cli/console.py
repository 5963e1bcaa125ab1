"""What is printed, and what happens when it cannot be."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from threading import Event
from typing import IO, Any, Final

import click

from batch.cli.terminal import shown
from batch.core.errors import ExitCode, InputError, Problem

_ERRORS_SHOWN: Final = 20
#: A program reads one object, whatever happens after it.
_has_printed_json: Final = Event()


def io_words(error: OSError) -> str:
    where = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, (str, bytes)) else ""
    return f"{error.strerror or error}{where}"


def typed_again() -> str:
    """What was typed, to be typed again."""
    return shlex.join(["imagebatch", *sys.argv[1:]])


def is_terminal() -> bool:
    """Whether there is a person to ask."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def print_problems(error: InputError, ending: str = "nothing was sent") -> None:
    from batch.report.problems import grouped

    groups = grouped(error.problems)
    for problem in groups[:_ERRORS_SHOWN]:
        print_error(f"error: {problem}")
    more = len(groups) - _ERRORS_SHOWN + error.more
    if more > 0:
        print_error(f"... and {more:,} more")
    print_error(ending)


def start_log(path: Path | None, level: str, style: str) -> None:
    """Write the log of this run to a file, as `text` or `json` lines."""
    for name in ("httpx", "httpcore", "aiohttp", "asyncio", "PIL"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if path is None:
        return
    try:
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}", param_hint="--log-file") from None
    if style == "json":
        from batch.report.event_log import JsonFormatter

        handler.setFormatter(JsonFormatter())
    logging.basicConfig(
        handlers=[handler], level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("filelock").setLevel(logging.WARNING)


def make_output_safe() -> None:
    """Nothing that happens to our words may touch the batch.

    A closed stream is opened to nowhere, or the ledger could get its number and receive other people's messages.
    Prompts in any language must not break a terminal or a log that knows fewer characters.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def print_lines(lines: Iterable[str]) -> OSError | None:
    """On stdout. Returns why it could not be written; that is said on stderr, too, unless the reader is just gone."""
    return _print_text(shown("\n".join(lines), sys.stdout))


def _print_text(text: str) -> OSError | None:
    error = despite_broken_output(lambda: print(text, flush=True))  # noqa: T201
    if error is not None and not isinstance(error, BrokenPipeError):
        print_error(f"error: cannot write to stdout: {error.strerror or error}")
    return error


def print_json(value: Any) -> OSError | None:
    """In ASCII: what is JSON in one locale must be JSON in every other."""
    _has_printed_json.set()
    return _print_text(json.dumps(value, allow_nan=False))


def show_lines(lines: Iterable[str]) -> None:
    """Print what the command was called for, and did nothing else: if that fails, the command failed."""
    _fail_if(print_lines(lines))


def _fail_if(error: OSError | None) -> None:
    if error is not None and not isinstance(error, BrokenPipeError):
        sys.exit(ExitCode.IO_ERROR)


def show_json(value: Any) -> None:
    _has_printed_json.set()
    _fail_if(_print_text(json.dumps(value, allow_nan=False)))


def wants_json() -> bool:
    """Whether a program reads stdout. From the words themselves, for the command line may be what is wrong."""
    return "--json" in sys.argv[1:]


def print_failure(exit_code: int, reason: str, message: str, problems: Iterable[Problem] = (), more: int = 0) -> None:
    """With --json, how a command ended that has no result: one object, as at every other end.

    `problems` have file, line, column, field, job and message; `more` counts those that are not listed.
    """
    if wants_json() and not _has_printed_json.is_set():  # a command that failed late has told what it did
        listed = [asdict(problem) for problem in problems]
        print_json({"exit": int(exit_code), "reason": reason, "message": message, "problems": listed, "more": more})


def print_error(text: str) -> None:
    despite_broken_output(lambda: print(shown(text, sys.stderr), file=sys.stderr, flush=True))  # noqa: T201


def despite_broken_output(act: Callable[[], Any]) -> OSError | None:
    """Run `act` and return its error: the reader of our output may be gone, and the batch must continue."""
    try:
        act()
    except OSError as error:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                drop_output(stream)
        return error
    return None


def drop_output(stream: IO[str]) -> None:
    """Send what is left in a broken stream's buffer nowhere, or Python would fail over it at the very end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
