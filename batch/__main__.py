"""`python -m batch` is the `imagebatch` command."""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules are loaded ends us without a traceback

from batch.cli.app import main

if __name__ == "__main__":
    main()
