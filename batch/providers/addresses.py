"""Which addresses from outside may be opened. Pure rules, no connection.

A picture's URL is a stranger's text that makes this machine connect somewhere. Parsers disagree on odd URLs, and
an address may wrap another, so what is not plain is refused instead of understood.
"""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urljoin, urlsplit, urlunsplit

_NAT64: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what the key and the trust belong to."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def safest(url: str, base_url: str) -> str:
    """How an address from outside is opened: a path on the endpoint itself is made whole, and http becomes https.

    Relays name their picture hosts by http, which is refused; nearly all of them answer to https as well. What is on
    the endpoint's own origin stays as it is.
    """
    try:
        whole = urljoin(base_url, url)
        parts = urlsplit(whole)
        is_own = origin(whole) == origin(base_url)
        is_usual = parts.port in (None, 80) and parts.username is None and not is_loopback(parts.hostname or "")
    except ValueError:
        return url  # no address at all; opening it says so
    if parts.scheme != "http" or is_own or not is_usual:
        return whole
    return urlunsplit(("https", parts.hostname or "", *parts[2:]))


def url_problem(url: str) -> str | None:
    """Why a URL from outside must not be opened, or None. Tricks that parsers read differently are refused."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return "odd characters"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "not a URL"
    if parts.scheme not in ("https", "http") or not parts.hostname:
        return "not a web address"
    if parts.username is not None or parts.password is not None:
        return "a user name in it"
    if parts.scheme == "https" and port not in (None, 443) and not is_loopback(parts.hostname):
        return f"port {port}"
    return None


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine and nothing else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_public_address(address: str) -> bool:
    """Whether an IP address belongs to the public internet. Those that wrap another address do not count as such."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and (
        ip.ipv4_mapped or ip.sixtofour or ip.teredo or any(ip in network for network in _NAT64)
    ):
        return False
    return ip.is_global and not ip.is_multicast


def host_may_be_public(host: str) -> bool:
    """Whether a URL's host is a public address or a name; what a name resolves to is looked at when it is resolved.

    Short, decimal and hexadecimal spellings of addresses (`127.1`, `2130706433`, `0x7f.1`) are refused here: the HTTP
    library takes them for addresses and would connect without asking the resolver.
    """
    try:
        return is_public_address(host)
    except ValueError:
        # The last part of a name begins with a letter; where it does not, some parser reads a number.
        last = host.rstrip(".").rpartition(".")[2]
        return host != "localhost" and last[:1].isalpha() and ":" not in host
