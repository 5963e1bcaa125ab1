"""Thumbnails while a run is on, in a process of the lowest priority.

The run tells it each picture that is stored, through a pipe that is never waited for: what does not fit is left to the
build after the run. The process has none of the run's environment, which holds keys, and ends with the run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from batch.core.events import Listener, RunStart
from batch.core.model import Done, Outcome
from batch.core.own_files import in_the_way
from batch.gallery.build import gallery_folder, thumbnail_of
from batch.gallery.thumbnails import is_made, make

_NICEST: Final = 19
#: Shorter lines enter a pipe whole or not at all.
_ATOMIC_BYTES: Final = 4096
_KEPT: Final = ("PATH", "LANG", "LC_ALL", "TMPDIR")


class ThumbnailsInSpareTime(Listener):
    """A listener of a run: has a thumbnail made of each picture that is stored. Nothing it does can hold a run up."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def run_started(self, start: RunStart) -> None:
        """Start the process."""
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        with suppress(OSError):
            self._process = subprocess.Popen(  # noqa: S603  (ourselves)
                [sys.executable, "-P", "-m", "batch.gallery.spare_time", start.output],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the run, which lets it end
            )
            assert self._process.stdin is not None
            os.set_blocking(self._process.stdin.fileno(), False)

    def job_ended(self, outcome: Outcome, in_flight: int) -> None:  # noqa: ARG002
        """Tell it the pictures, if there is room in the pipe."""
        if not isinstance(outcome, Done) or self._process is None or self._process.stdin is None:
            return
        for image in outcome.images:
            line = os.fsencode(f"{image.sha256} {image.path}\n")
            if len(line) < _ATOMIC_BYTES:
                with suppress(OSError):
                    os.write(self._process.stdin.fileno(), line)

    def close(self) -> None:
        """Let it end after the picture at hand."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with process:
            pass


def make_thumbnails(output: Path, told: BinaryIO) -> None:
    """Make the thumbnails of the pictures that are told, a line each: SHA-256 and path. Ends when no more come."""
    if in_the_way(gallery_folder(output), folder=True):
        return  # the build says so
    for line in told:
        sha256, _, path = os.fsdecode(line.rstrip(b"\n")).partition(" ")
        copy = thumbnail_of(gallery_folder(output), output, path, sha256)
        with suppress(OSError):
            if not is_made(copy):
                make(copy)


if __name__ == "__main__":
    os.nice(_NICEST)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # not in the middle of a file
    make_thumbnails(Path(sys.argv[1]), sys.stdin.buffer)
