"""Commands in a fork of this process, which has everything imported: a third of the time that a new one takes.

For programs with one thread; what other threads hold at a fork is held in the child for good.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
from typing import IO

import batch.cli.app
import batch.providers.http.client
import batch.runner.connections
import batch.runner.run
from tests.crash import child
from tests.crash.sweep import ENVIRONMENT, ROOT, RUN_SECONDS, Ran


def forked(module: str, *words: str) -> Ran:
    """As `tests.crash.sweep.spawned`."""
    sys.stdout.flush()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = os.fork()
        if not process:
            _become(module, words, out, errors)
        _, status = os.waitpid(process, 0)
        out.seek(0)
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace")
        code = -1 if "Traceback" in said else os.waitstatus_to_exitcode(status)
        return Ran(code, out.read().decode("utf-8", "replace").splitlines(), said)


def _become(module: str, words: tuple[str, ...], out: IO[bytes], errors: IO[bytes]) -> None:
    code = 1
    try:
        signal.alarm(RUN_SECONDS)
        os.dup2(out.fileno(), 1)
        os.dup2(errors.fileno(), 2)
        os.chdir(ROOT)
        os.environ.update(ENVIRONMENT)
        sys.argv = [module, *words]
        if module == "batch":
            batch.cli.app.main()
            code = 0
        else:
            code = child.main(*words)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    except BaseException:  # noqa: BLE001  (it is told on stderr)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
