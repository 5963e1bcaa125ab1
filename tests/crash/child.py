"""One run of a batch in a process of its own, with a fault in it: `python -m tests.crash.child MANIFEST OUT [FAULT]`.

Says `done ID` on stdout for every job the moment the run reports it, and at the end `counts {...}`. The exit code
is the one the command line would have given. The word `reread` instead of a manifest is that command.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tests.crash.injector import Fault, Injector

REREAD = "reread"
_write = os.write


def say(text: str) -> None:
    _write(1, text.encode() + b"\n")


def prepared(manifest: str, output: str, said: Callable[[str], None]) -> Callable[[], tuple[int, str]]:
    """What is to be done, with everything imported; it returns the exit code and why."""
    from batch.core.errors import BatchError
    from batch.core.events import Listener
    from batch.core.model import Done, Outcome
    from batch.runner.connections import read_again
    from batch.runner.reread import Reread
    from batch.runner.run import run

    class Sayer(Listener):
        def job_ended(self, outcome: Outcome, in_flight: int) -> None:
            if isinstance(outcome, Done):
                said(outcome.job.id)

    def reread(each: Reread) -> None:
        if each.found == "done":
            said(each.job)

    def work() -> tuple[int, str]:
        try:
            if manifest == REREAD:
                asyncio.run(read_again(Path(output), base_url=None, dry_run=False, told=reread))
                return 0, REREAD
            summary = asyncio.run(run(manifest, output=output, listener=Sayer()))
            return summary.exit, summary.reason
        except BatchError as error:
            return int(error.exit_code), str(error)

    return work


def main(manifest: str, output: str, fault: str = "") -> int:
    injector = Injector(output, Fault.parse(fault) if fault else None)
    work = prepared(manifest, output, lambda job: say(f"done {job}"))
    injector.install()
    code, reason = work()
    tell(injector, code, reason)
    return code


def tell(injector: Injector, code: int, reason: str) -> None:
    say("counts " + json.dumps(injector.counts))
    say(f"end {code} {'hit' if injector.committed else 'missed'} {reason}")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
