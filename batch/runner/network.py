"""How the endpoints of a run are reached: through which proxy, and trusting whose certificates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from batch.core.errors import ConfigError
from batch.core.proxies import DIRECT, Network, Proxy, proxy_of_environment, read_proxy
from batch.core.settings import ProxySettings
from batch.providers.http.authorities import trusted_authorities
from batch.runner.accounts import Account


def reached(accounts: Iterable[Account], environment: Mapping[str, str]) -> tuple[tuple[Account, ...], tuple[str, ...]]:
    """The accounts with their networks, and a sentence for each proxy in use.

    Raises `ConfigError` if a proxy or an authority is named that cannot be used.
    """
    found, words = [], []
    for account in accounts:
        proxy, named_by = _proxy(account, environment)
        found.append(
            replace(account, endpoint=replace(account.endpoint, network=_network(account, proxy, environment)))
        )
        if proxy is not None:
            host = urlsplit(account.endpoint.base_url or "").hostname
            words.append(f"requests to {host} go through the proxy {proxy.url} ({named_by})")
    return tuple(found), tuple(dict.fromkeys(words))


def _network(account: Account, proxy: Proxy | None, environment: Mapping[str, str]) -> Network:
    if urlsplit(account.endpoint.base_url or "").scheme != "https":
        return DIRECT
    return Network(proxy=proxy, authorities=trusted_authorities(environment))


def _proxy(account: Account, environment: Mapping[str, str]) -> tuple[Proxy | None, str]:
    """The proxy and where it is named."""
    url = account.endpoint.base_url or ""
    if account.proxy is None:
        return proxy_of_environment(url, environment) or (None, "")
    if not account.proxy.url or urlsplit(url).scheme != "https":
        return None, ""
    user, _, password = _login(account.proxy, environment).partition(":")
    return replace(read_proxy(account.proxy.url), user=user, password=password), "proxy in the manifest"


def _login(proxy: ProxySettings, environment: Mapping[str, str]) -> str:
    """`user:password`, or empty if none is wanted."""
    if proxy.login_env is not None:
        login = environment.get(proxy.login_env, "").strip()
        if not login:
            raise ConfigError(
                f"no login for the proxy: set the environment variable {proxy.login_env} to user:password; nothing "
                "was sent"
            )
        return login
    if proxy.login_file is None:
        return ""
    try:
        return Path(proxy.login_file).read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        why = (error.strerror or error) if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot read proxy_login_file {proxy.login_file}: {why}; nothing was sent") from None
