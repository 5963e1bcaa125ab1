"""Ctrl-C while the command's modules are loaded ends it without a traceback. Imported before everything else.

Only in a process that is the command: a program that imports the package keeps its own handler. What Python does before
it runs any code of ours cannot be helped.
"""

import _signal  # type: ignore[import-not-found]  # built in; `signal` itself takes long enough to load for a Ctrl-C
import sys


def is_command() -> bool:
    """Whether this process was started as `imagebatch`, or as `python -m batch`, whose name is `-m` at first."""
    name = (getattr(sys, "argv", None) or [""])[0]
    return name == "-m" or name.rpartition("/")[2] in ("imagebatch", "__main__.py")


if is_command() and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
