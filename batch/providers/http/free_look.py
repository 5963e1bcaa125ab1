"""A GET that costs nothing, to see whether an endpoint is there and knows the key. No picture is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import httpx

from batch.core.proxies import Network
from batch.core.settings import Auth, Timeouts
from batch.providers.http.bare_client import OWN_HEADERS, Client
from batch.providers.http.deadline import Deadline
from batch.providers.http.sending import ProxyRefused, TlsRefused
from batch.providers.http.transport import AiohttpTransport, KeyTransport
from batch.providers.secrets import ApiKey, Redactor

_MOST_BYTES: Final = 256 << 10
_TIMEOUTS: Final = Timeouts(connect_seconds=10, write_seconds=10, read_seconds=10, total_seconds=20)


class NotReached(Exception):
    """Nothing was answered. `by` says what stood in the way: connection, tls, proxy or timeout."""

    def __init__(self, by: str, words: str) -> None:
        super().__init__(words)
        self.by = by


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What was answered: lower-case header names, and the beginning of the body."""

    status: int
    headers: dict[str, str]
    body: bytes


async def look(base_url: str, path: str, *, auth: Auth, key: ApiKey, network: Network) -> Looked:
    """GET a path of an endpoint with the key. Raises `NotReached`, whose words never hold the key."""
    transport = KeyTransport(AiohttpTransport(tls=network.authorities, proxy=network.proxy), base_url, auth, key)
    deadline = Deadline(_TIMEOUTS)
    async with Client(transport=transport, follow_redirects=False, timeout=None) as client:
        try:
            async with deadline, client.stream("GET", base_url + path, headers=OWN_HEADERS) as response:
                body = b""
                async for piece in response.aiter_raw():
                    body += piece
                    if len(body) >= _MOST_BYTES:
                        break
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Looked(status=response.status_code, headers=headers, body=body[:_MOST_BYTES])
        except TimeoutError:
            by, words = "timeout", f"no answer in time ({deadline.phase})"
        except httpx.HTTPError as error:
            kinds = (("tls", TlsRefused), ("proxy", ProxyRefused))
            by = next((name for name, kind in kinds if isinstance(error, kind)), "connection")
            words = str(error) or type(error).__name__
    raise NotReached(by, Redactor(key).text(words))
