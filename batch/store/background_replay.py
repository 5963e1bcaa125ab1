"""A ledger being read: here when it is asked for, or by a second process meanwhile if it is a large one.

A run checks its manifest and reads its ledger before anything else. With a million jobs each takes half a minute, and
the small machines that nightly runs live on have two cores. The second process only reads, and sends the history's
columns through a pipe; if it cannot be had, everything is read here.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from batch.store.columns import exactly
from batch.store.contracts import Tail
from batch.store.history import History, replay
from batch.store.places import log_of, shelf_of

#: Smaller ledgers are read sooner than a process has started and imported what it needs.
_WORTH_A_PROCESS_BYTES: Final = 200_000_000


class BackgroundReplay:
    """The history of an output folder, once it is needed. Use as a context manager: leaving it ends the reading."""

    def __init__(
        self, output: Path, *, bought_only: bool = False, worth_a_process_bytes: int = _WORTH_A_PROCESS_BYTES
    ) -> None:
        self._output = output
        self._bought_only = bought_only
        self._read: tuple[History, Tail] | None = None
        #: The second process, until its result was read.
        self.process = (
            _started(output, bought_only=bought_only) if log_of(output).size_bytes >= worth_a_process_bytes else None
        )

    def __enter__(self) -> BackgroundReplay:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def history(self) -> History:
        """What the ledger says. Raises `LedgerError` if it is damaged."""
        return self._result()[0]

    def tail(self) -> Tail:
        """Where its valid part ends, and what a crash tore."""
        return self._result()[1]

    def _result(self) -> tuple[History, Tail]:
        if self._read is None:
            self._read = self._from_process() or replay(self._output, bought_only=self._bought_only)
        return self._read

    def _from_process(self) -> tuple[History, Tail] | None:
        """What the other process read; None if it did not come to its end, whatever the reason."""
        process, self.process = self.process, None
        if process is None or process.stdout is None:
            return None
        with process, process.stdout as stream:
            try:
                size = json.loads(stream.readline())
                history = History.receive(stream, shelf_of(self._output))
                tail = Tail(size["good_bytes"], exactly(stream, size["torn_bytes"]))
            except (ValueError, EOFError):
                process.kill()
                return None
        return history, tail


def _started(output: Path, *, bought_only: bool) -> subprocess.Popen[bytes] | None:
    """A process of this program that reads a ledger. It inherits no lock: a new program gets no open files."""
    # -P: files in the current folder must not be imported as modules.
    command = [sys.executable, "-P", "-m", __name__, str(output), *(["bought-only"] if bought_only else [])]
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)  # noqa: S603
    except OSError:
        return None


def main() -> None:
    """The other process: read the ledger named on the command line and write the history to stdout."""
    # Ctrl-C at the terminal reaches this process too; the parent process decides what that means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    history, tail = replay(Path(sys.argv[1]), bought_only="bought-only" in sys.argv[2:])
    with open(sys.stdout.fileno(), "wb", closefd=False) as stream:
        head = {"good_bytes": tail.good_bytes, "torn_bytes": len(tail.torn)}
        stream.write(json.dumps(head).encode("ascii") + b"\n")
        history.send(stream)
        stream.write(tail.torn)


if __name__ == "__main__":
    main()
