"""An httpx client without cookies, redirects and headers of its own."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import httpx

from batch.providers.http.contract import Head
from batch.providers.http.heads import ANNOUNCED

OWN_HEADERS: Final = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "imagebatch"}


def parse_problem(url: str) -> str | None:
    """Why the HTTP library would refuse a URL, or read it differently than the checks did."""
    try:
        parsed = httpx.URL(url)
        readable = parsed.host  # httpx looks at it, and fails for a name that is no valid international one
    except (httpx.InvalidURL, ValueError):
        return "not a URL"
    as_checked = urlsplit(url).hostname
    return None if as_checked in (readable, parsed.raw_host.decode("ascii")) else "an odd host name"


def head_of(response: httpx.Response) -> Head:
    return Head(
        status=response.status_code,
        headers={name.lower(): value for name, value in response.headers.multi_items() if name.lower() != ANNOUNCED},
        tells_end=ANNOUNCED in response.headers or "transfer-encoding" in response.headers,
    )


class _NoCookies(httpx.Cookies):
    """A cookie would tie later requests to earlier ones; looking for one costs as much as the rest of the client."""

    def extract_cookies(self, response: httpx.Response) -> None: ...

    def set_cookie_header(self, request: httpx.Request) -> None: ...


class Client(httpx.AsyncClient):
    """httpx's client without a memory."""

    @property
    def cookies(self) -> httpx.Cookies:
        return _NO_COOKIES

    @cookies.setter
    def cookies(self, cookies: object) -> None: ...


_NO_COOKIES: Final = _NoCookies()
