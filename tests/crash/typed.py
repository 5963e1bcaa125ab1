"""`imagebatch` with a fault in it: `python -m tests.crash.typed FOLDER FAULT WORDS...`.

Calls in FOLDER fail as `tests.crash.injector` says. A last line on stderr says whether the fault took place.
"""

from __future__ import annotations

import os
import sys

from tests.crash.injector import Fault, Injector

_write = os.write


def main(folder: str, fault: str, *words: str) -> None:
    from batch.cli.app import main as imagebatch

    injector = Injector(folder, Fault.parse(fault) if fault else None)
    injector.install()
    sys.argv = ["imagebatch", *words]
    try:
        imagebatch()
    finally:
        _write(2, b"hit\n" if injector.committed else b"missed\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
