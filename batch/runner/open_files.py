"""How many files this process may have open."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from batch.core.errors import ConfigError
from batch.runner.accounts import Account

#: A connection, two spool files, the other end of the connection if the simulator runs in here, and a picture.
_FILES_PER_REQUEST: Final = 5
_FILES_BESIDE: Final = 24


def allow_open_files(concurrency: int) -> None:
    """Each request in flight has a connection and spool files; the usual limit of 1,024 files is soon reached.

    Raises `ConfigError` if the system allows too few.
    """
    needed = _needed(concurrency)
    allowed = _raised_to(needed)
    if allowed is not None:
        raise ConfigError(
            f"concurrency {concurrency} needs {needed} open files, this system allows {allowed}; lower "
            "limits.concurrency or raise the limit (ulimit -n)"
        )


def fit_open_files(accounts: Sequence[Account]) -> tuple[tuple[Account, ...], str | None]:
    """The accounts with as many requests at once as the system has files for, and what to say if those are fewer.

    Raises `ConfigError` if there are not enough files for one request each.
    """
    wanted = sum(account.limits.concurrency for account in accounts)
    allowed = _raised_to(_needed(wanted))
    if allowed is None:
        return tuple(accounts), None
    fitting = (allowed - _FILES_BESIDE) // _FILES_PER_REQUEST
    if fitting < len(accounts):
        allow_open_files(len(accounts))
    share = fitting / wanted
    fewer = tuple(_with_concurrency(account, max(1, int(account.limits.concurrency * share))) for account in accounts)
    at_once = sum(account.limits.concurrency for account in fewer)
    words = f"this system allows {allowed} open files: limits.concurrency is {at_once} instead of {wanted}"
    return fewer, f"{words}; raise the limit (ulimit -n) for more"


def _with_concurrency(account: Account, most: int) -> Account:
    return replace(account, limits=replace(account.limits, concurrency=most))


def _needed(concurrency: int) -> int:
    return _FILES_PER_REQUEST * concurrency + _FILES_BESIDE


def _raised_to(needed: int) -> int | None:
    """Raise the process's limit to `needed` files, or as far as it goes; then returns how far, else None."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return None
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return None if most == needed else most
