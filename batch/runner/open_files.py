"""How many files this process may have open."""

from __future__ import annotations

import resource
from typing import Final

from batch.core.errors import ConfigError

_FILES_PER_REQUEST: Final = 3
_FILES_BESIDE: Final = 64


def allow_open_files(concurrency: int) -> None:
    """Each request in flight has a connection and a spool file; the usual limit of 1,024 files is soon reached.

    Raises `ConfigError` if the system allows too few.
    """
    needed = _FILES_PER_REQUEST * concurrency + _FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigError(
            f"concurrency {concurrency} needs {needed} open files, this system allows {hard}; lower limits.concurrency "
            "or raise the limit (ulimit -n)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
