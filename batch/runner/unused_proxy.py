"""A proxy named in the environment is not used; a network that needs it would only show as "cannot connect"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from batch.runner.accounts import Account

_VARIABLES: Final = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def unused_proxy(accounts: Iterable[Account], environment: Mapping[str, str]) -> str | None:
    """What to say of such a variable; None if there is none, or if nothing leaves this machine."""
    named = next((name for name in _VARIABLES if environment.get(name)), None)
    addresses = (urlsplit(each.endpoint.base_url or "").hostname for each in accounts if not each.endpoint.embedded)
    hosts = {host for host in addresses if host is not None and not _is_this_machine(host)}
    if named is None or not hosts:
        return None
    return f"{named} is set and not used: requests go straight to {' and '.join(sorted(hosts))}"


def _is_this_machine(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
