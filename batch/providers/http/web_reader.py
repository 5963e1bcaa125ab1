"""Reads pictures at public web addresses, which a stranger may have chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import httpx
from aiohttp.abc import AbstractResolver

from batch.core.errors import Undelivered, Unusable
from batch.core.proxies import DIRECT, Network
from batch.core.settings import Timeouts
from batch.providers.addresses import host_may_be_public, origin, url_problem
from batch.providers.http.bare_client import OWN_HEADERS, Client, head_of, parse_problem
from batch.providers.http.contract import MAX_BODY_BYTES, BodyTooLarge, Consumer, Head
from batch.providers.http.deadline import Deadline
from batch.providers.http.receiving import pump
from batch.providers.http.sending import NotPublic, TlsRefused
from batch.providers.http.transport import AiohttpTransport, PublicResolver
from batch.providers.http.unpacking import CannotUnpack

#: Links to a picture are often sent on once, to a storage service.
_REDIRECTS: Final = 3
#: Picture hosts send AVIF unless the client asks for something else.
_ACCEPT: Final = "image/png, image/jpeg, image/webp, */*;q=0.5"


class FetchFailed(Exception):  # its text follows a host's name, or "it" in a sentence
    """A web address could not be read; the text names nothing of the address itself, which may be a secret.

    `code`: `unsafe` (not opened), `gone`, `too_large`, `tls` or `failed`. `may_work_later` as far as can be told.
    `host` is where it ended, `status` what was answered there, if anything was.
    """

    def __init__(
        self, code: str, text: str, *, host: str | None, may_work_later: bool = False, status: int | None = None
    ) -> None:
        super().__init__(text)
        self.code = code
        self.host = host
        self.may_work_later = may_work_later
        self.status = status


class WebReader:
    """Reads what a stranger's URL leads to: https and public hosts only, without key and cookies.

    Never through a proxy, which resolves a name where nothing shows whether its address is public; but for the trusted
    origin, which is reached as the endpoint is.

    A few redirects are followed, each checked like the first address. `may_open` says what else stands against an
    address, or None. `trusted_origin` (scheme, host, port) is read from as it is, so that a gateway on loopback can
    serve its own pictures. `resolver` is for tests.
    """

    def __init__(
        self,
        *,
        timeouts: Timeouts,
        most_bytes: int = MAX_BODY_BYTES,
        trusted_origin: str | None = None,
        may_open: Callable[[str], str | None] = lambda _: None,
        resolver: AbstractResolver | None = None,
        network: Network = DIRECT,
    ) -> None:
        self._trusted_origin = None if trusted_origin is None else origin(trusted_origin)
        self._timeouts = timeouts
        self._most_bytes = most_bytes
        self._may_open = may_open
        options: dict[str, Any] = {
            "follow_redirects": False,
            "timeout": None,
            "headers": {**OWN_HEADERS, "Accept": _ACCEPT},
        }
        trusted = AiohttpTransport(tls=network.authorities, proxy=network.proxy)
        self._trusted = Client(transport=trusted, **options)
        public = AiohttpTransport(resolver or PublicResolver(), network.authorities)
        self._public = Client(transport=public, **options)

    async def aclose(self) -> None:
        await self._trusted.aclose()
        await self._public.aclose()

    async def get(self, url: str, consumer: Consumer, headers: Mapping[str, str] | None = None) -> Head:
        """Stream what is there into `consumer`. An answer 304, to conditional `headers`, has no body.

        Raises `FetchFailed`.
        """
        place = url
        for _ in range(_REDIRECTS + 1):
            found = await self._fetch(place, consumer, headers or {})
            if isinstance(found, Head):
                return found
            place = found
        raise FetchFailed("gone", "is redirected again and again", host=urlsplit(url).hostname)

    async def _fetch(self, url: str, consumer: Consumer, headers: Mapping[str, str]) -> Head | str:
        """One request; the address it is redirected to, if it is."""
        client = self.client_for(url)
        host = urlsplit(url).hostname
        deadline = Deadline(self._timeouts)
        code = "failed"
        try:
            async with deadline, client.stream("GET", url, headers=headers) as response:
                if response.status_code in (301, 302, 303, 307, 308) and "location" in response.headers:
                    return urljoin(url, response.headers["location"])
                if response.status_code != 200 and not (response.status_code == 304 and headers):
                    raise _not_there(response.status_code, host)
                await pump(response, consumer, deadline, self._most_bytes)
                return head_of(response)
        except TimeoutError:
            reason = "no answer in time"
        except NotPublic:
            raise FetchFailed("unsafe", "not a public host", host=host) from None
        except BodyTooLarge as error:
            raise FetchFailed("too_large", f"is no picture: {error}", host=host) from None
        except (httpx.HTTPError, CannotUnpack) as error:
            reason = str(error) or type(error).__name__
            code = "tls" if isinstance(error, TlsRefused) else code
        raise FetchFailed(code, f"could not be read: {reason}", host=host, may_work_later=True)

    def client_for(self, url: str) -> httpx.AsyncClient:
        """The client that may open an address. Raises `FetchFailed` if none may."""
        problem = url_problem(url) or parse_problem(url)
        if problem is None and origin(url) == self._trusted_origin:
            return self._trusted
        if problem is None and urlsplit(url).scheme != "https":
            problem = "not https"
        if problem is None and not host_may_be_public(urlsplit(url).hostname or ""):
            problem = "not a public host"
        problem = problem or self._may_open(url)
        if problem is not None:
            raise FetchFailed("unsafe", problem, host=None)
        return self._public


def _not_there(status: int, host: str | None) -> FetchFailed:
    """A link that is gone stays gone; anything else may work later."""
    is_gone = 400 <= status < 500 and status not in (408, 425, 429)
    code = "gone" if is_gone else "failed"
    return FetchFailed(code, f"answered {status}", host=host, may_work_later=not is_gone, status=status)


class DownloadClient:
    """Fetches pictures that an answer names by URL. Such a picture is paid for, whether or not the download works."""

    def __init__(self, *, trusted_origin: str, timeouts: Timeouts, network: Network = DIRECT) -> None:
        self._reader = WebReader(trusted_origin=trusted_origin, timeouts=timeouts, network=network)

    async def aclose(self) -> None:
        await self._reader.aclose()

    async def get(self, url: str, consumer: Consumer) -> None:
        """Stream the picture into `consumer`.

        Raises `Undelivered` if it may work later and `Unusable` if it never will; their text names only the host.
        """
        try:
            await self._reader.get(url, consumer)
        except FetchFailed as error:
            failure = error
        else:
            return
        raise _paid_for(failure)  # outside the handler, for the same reason as in `PaidClient.post`


def _paid_for(failure: FetchFailed) -> Undelivered | Unusable:
    if failure.may_work_later:
        return Undelivered("download_failed", f"the picture's URL at {failure.host} {failure}")
    if failure.code == "unsafe":
        message = f"the picture came as a URL that is not safe to open: {failure}"
        return Unusable("download_refused", message, retries=0)
    return Unusable("download_gone", f"the picture's URL at {failure.host} {failure}", retries=0)
