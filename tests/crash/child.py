"""One run of a batch in a process of its own, with a fault in it: `python -m tests.crash.child MANIFEST OUT [FAULT]`.

Says `done ID` on stdout for every job the moment the run reports it, and at the end `counts {...}`. The exit code
is the one the command line would have given.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from tests.crash.injector import Fault, Injector

_write = os.write


def say(text: str) -> None:
    _write(1, text.encode() + b"\n")


def main(manifest: str, output: str, fault: str = "") -> int:
    injector = Injector(output, Fault.parse(fault) if fault else None)

    from batch.errors import BatchError
    from batch.events import Listener
    from batch.model import Done, Outcome
    from batch.runner import run

    class Sayer(Listener):
        def job_ended(self, outcome: Outcome, in_flight: int) -> None:
            if isinstance(outcome, Done):
                say(f"done {outcome.job.id}")

    injector.install()
    try:
        summary = asyncio.run(run(manifest, output=output, listener=Sayer()))
        code, reason = summary.exit, summary.reason
    except BatchError as error:
        code, reason = int(error.exit_code), str(error)
    say("counts " + json.dumps(injector.counts))
    say(f"end {code} {'hit' if injector.committed else 'missed'} {reason}")
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
