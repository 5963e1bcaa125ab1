"""Which proxy requests to an endpoint go through: the manifest's, else the one that the environment names.

The variables are read as curl reads them: `https_proxy`, then `HTTPS_PROXY`, `all_proxy` and `ALL_PROXY`, but for hosts
in `no_proxy`. Only https goes through a proxy, in a tunnel: plain http, which is for this machine only, would show it
the key.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from batch.core.errors import ConfigError

VARIABLES: Final = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_EXCEPTIONS: Final = ("no_proxy", "NO_PROXY")
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy that tunnels. `url` is its scheme, host and port; user and password are shown nowhere."""

    url: str
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def place(self) -> str:
        """Its host and port."""
        return urlsplit(self.url).netloc


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How an endpoint is reached. `authorities` None: those that the machine trusts."""

    proxy: Proxy | None = None
    authorities: ssl.SSLContext | None = None


DIRECT: Final = Network()


class ProxyProblem(ValueError):
    """A text that names no proxy which can be used; it follows the name of where it stands."""


def read_proxy(text: str) -> Proxy:
    """A proxy's address, with user and password if they stand in it. Raises `ProxyProblem`, which never repeats it."""
    text = text.strip()
    if "://" not in text:
        text = f"http://{text}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ProxyProblem("is not a valid address") from None
    if parts.scheme.startswith("socks"):
        raise ProxyProblem("names a SOCKS proxy, which is not supported; name one that speaks http")
    if parts.scheme not in _PORTS or not host or not host.isascii() or any(map(str.isspace, host)):
        raise ProxyProblem("must be an address such as http://proxy.example.com:3128")
    host = f"[{host}]" if ":" in host else host
    return Proxy(
        url=f"{parts.scheme}://{host}:{port or _PORTS[parts.scheme]}",
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def proxy_of_environment(url: str, environment: Mapping[str, str]) -> tuple[Proxy, str] | None:
    """The proxy for requests to an https address, and the variable that names it; None if they go straight.

    Raises `ConfigError` if the variable's value cannot be used.
    """
    name = next((name for name in VARIABLES if environment.get(name, "").strip()), None)
    if name is None or urlsplit(url).scheme != "https" or is_excepted(url, environment):
        return None
    try:
        return read_proxy(environment[name]), name
    except ProxyProblem as problem:
        raise ConfigError(f"{name} {problem}, or list {urlsplit(url).hostname} in NO_PROXY; nothing was sent") from None


def is_excepted(url: str, environment: Mapping[str, str]) -> bool:
    """Whether `no_proxy` takes an address out: a host with what is below it, an address, a CIDR block, or `*`."""
    listed = next((environment[name] for name in _EXCEPTIONS if environment.get(name)), "")
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".").lower()
    port = parts.port or _PORTS.get(parts.scheme, 0)
    return any(_covers(entry.lower(), host, port) for entry in listed.replace(",", " ").split())


def _covers(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    network = _network(entry.strip("[]"))
    if network is not None:
        return _is_in(host, network)
    name, colon, number = entry.rpartition(":")
    if colon and number.isdecimal():
        if int(number) != port:
            return False
        entry = name
    network = _network(entry.strip("[]"))
    if network is not None:
        return _is_in(host, network)
    name = entry.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _is_in(host: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        return ipaddress.ip_address(host) in network
    except ValueError:
        return False
