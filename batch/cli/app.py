"""The command line. Parses, calls `batch.runner.run`, prints; decides nothing else.

People read stderr, programs read stdout. Heavy imports happen inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

import os
import resource
import sys
import traceback
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from typing import Final, NoReturn

import click

from batch.cli.console import (
    despite_broken_output,
    drop_output,
    io_words,
    make_output_safe,
    print_error,
    print_failure,
    print_problems,
)
from batch.core.errors import BatchError, ExitCode, InputError

_EXIT_CODES: Final = """\b
Exit codes:
   0  every job is done
   1  finished, but some jobs failed for good
   2  wrong command line
   3  some requests may be paid without a result, or a bought file is missing or altered
  65  the manifest, its rows or the ledger are wrong, or a row was edited during the run
  66  the manifest cannot be read; nothing was sent
  70  a bug in imagebatch
  73  the output folder cannot be used
  74  reading or writing failed (disk full); everything received is kept
  75  run again later: day quota, budget, outage, another run is on, jobs pending
  76  the endpoint redirects or does not answer as the API does, or a proxy cuts requests
  77  key, credit, permission, model or certificate: a person must act
  78  wrong or missing setting, such as the API key
 130, 143, 129  stopped by Ctrl-C, SIGTERM, SIGHUP after finishing what was in flight
"""
_PR_SET_DUMPABLE: Final = 4


#: In the order in which they are needed. Each is a file of its own, and loaded only when it is asked for: `--help` of
#: one costs no other.
_COMMANDS: Final = {
    name: f"batch.cli.{name}"
    for name in (
        *("init", "plan", "run", "status", "why"),
        *("review", "accept", "reject", "gallery", "export", "report", "compare"),
        *("resolve", "reread", "models", "doctor", "schema"),
    )
} | {"reject": "batch.cli.accept", "simulate": "batch.simulator.command"}


#: Commands of similar programs, and what does the same here.
_MEANT: Final = {
    "check": "imagebatch plan",
    "dry-run": "imagebatch plan",
    "generate": "imagebatch run",
    "help": "imagebatch COMMAND --help",
    "approve": "imagebatch accept",
    "redo": "imagebatch run MANIFEST --again ID",
    "regenerate": "imagebatch run MANIFEST --again ID",
    "resume": "imagebatch run",
    "retry": "imagebatch run MANIFEST --retry CAUSES",
    "start": "imagebatch run",
    "validate": "imagebatch plan",
}


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(_COMMANDS[cmd_name]), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in _COMMANDS:
            return super().resolve_command(ctx, args)
        if args[0].startswith("-"):
            raise click.NoSuchOption(args[0], ctx=ctx)
        close = get_close_matches(args[0], _COMMANDS, n=1)
        meant = _MEANT.get(args[0]) or (f"imagebatch {close[0]}" if close else "")
        hint = f" Did you mean `{meant}`?" if meant else ""
        raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXIT_CODES)
@click.version_option(None, "-V", "--version", package_name="imagebatch")
def cli() -> None:
    """Buy pictures in bulk from an image API: never twice, never lost, as fast as the quota allows.

    Write a job manifest (YAML) and run it. If anything goes wrong, run it again: what is done stays done.

    \b
      imagebatch init products.csv        write a manifest for a table; without one, three examples
      imagebatch run products.yaml        runs on the built-in simulator until the manifest names a provider
      imagebatch plan products.yaml       what would be sent, why, and what it costs
      imagebatch status output/products   where it stands
      imagebatch review output/products   look at the pictures, accept and reject
      imagebatch export output/products   hand them over: a shop's table, a data set, a folder
    """


def main() -> None:
    """The `imagebatch` command: every error of ours becomes a sentence and an exit code."""
    make_output_safe()
    _dump_no_core()
    try:
        cli.main(prog_name="imagebatch", standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        despite_broken_output(error.show)
        print_failure(ExitCode.USAGE, "usage", error.format_message())
        sys.exit(ExitCode.USAGE)
    except InputError as error:
        print_problems(error)
        print_failure(error.exit_code, error.reason, str(error), error.problems, error.more)
        sys.exit(error.exit_code)
    except BatchError as error:
        _say_and_leave(str(error), error.exit_code, error.reason)
    except BrokenPipeError:  # `imagebatch ... | head`
        drop_output(sys.stdout)
        sys.exit(ExitCode.OK)
    except OSError as error:  # a disk or folder that cannot be read; what writes says so in its own words
        _say_and_leave(io_words(error), ExitCode.IO_ERROR, "storage")
    except Exception as error:  # noqa: BLE001  (the last place to say anything)
        words = f"a bug in imagebatch: {type(error).__name__}"
        print_error(f"{traceback.format_exc()}{words}; please report the lines above")
        print_failure(ExitCode.SOFTWARE, "internal", words)
        sys.exit(ExitCode.SOFTWARE)


def _say_and_leave(message: str, exit_code: ExitCode, reason: str) -> NoReturn:
    from batch.report.formatting import printable

    words = printable(message, 2000)
    print_error(f"error: {words}")
    print_failure(exit_code, reason, words)
    sys.exit(exit_code)


def _dump_no_core() -> None:
    """The key is in this process's memory; a crash must not write it to a file. `IMAGEBATCH_CORE_DUMPS=1` allows it."""
    if os.environ.get("IMAGEBATCH_CORE_DUMPS") == "1":
        return
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    with suppress(OSError, AttributeError):  # Linux: where the kernel hands dumps to a program, no limit holds
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
