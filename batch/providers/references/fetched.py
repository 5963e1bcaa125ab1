"""Reference pictures behind web addresses: fetched once, before anything is checked or sent.

Each address is asked for once per run, and not at all if its picture is kept from an earlier run. A picture that
cannot be fetched stops nothing: the check that follows tells of it, together with everything else that is wrong.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from batch.core.clock import Clock
from batch.core.model import FetchedPicture
from batch.core.proxies import DIRECT, Network
from batch.core.settings import Timeouts
from batch.providers.http.web_reader import FetchFailed, WebReader
from batch.providers.references.cache import KeptPicture, ReferenceCache

#: The most a picture may have, and the seconds it may take.
MAX_BYTES: Final = 20 << 20
_SECONDS: Final = 20.0
_TIMEOUTS: Final = Timeouts(
    connect_seconds=_SECONDS, write_seconds=_SECONDS, read_seconds=_SECONDS, total_seconds=_SECONDS
)
_AT_ONCE: Final = 16
#: To look at a picture takes up to 80 MB; larger ones are looked at one at a time.
_EXAMINED_AT_ONCE: Final = 2
#: Pauses before the second and the third try.
_PAUSES_SECONDS: Final = (1.0, 4.0)
#: A host at which so many pictures in a row could not be fetched is not asked again in this run.
_HOST_FAILURES: Final = 20
#: Other work of the event loop gets its turn after so many addresses that need no request.
_KEPT_IN_A_ROW: Final = 200
_SECONDS_BETWEEN_MESSAGES: Final = 10.0

#: MIME type of a whole picture by its bytes, and what is wrong with it; one of the two is empty.
Examine: TypeAlias = Callable[[bytes], tuple[str, str]]


class FetchedReferences:
    """The pictures at the addresses one manifest names.

    `allows` says whether the manifest lists an address's host; it is asked for every redirect too. In memory stay
    16 bytes per address, and a sentence for each that failed.
    """

    def __init__(
        self,
        cache: ReferenceCache,
        examine: Examine,
        allows: Callable[[str], bool],
        clock: Clock,
        *,
        refresh: bool,
        network: Network = DIRECT,
    ) -> None:
        self._network = network
        self._cache = cache
        self._examine = examine
        self._allows = allows
        self._clock = clock
        self._refresh = refresh
        self._seen: set[bytes] = set()
        self._failed: dict[bytes, FetchedPicture] = {}
        self._reasons: dict[str, FetchedPicture] = {}
        self._failures_in_a_row: dict[str, int] = {}
        self._examining = asyncio.Semaphore(_EXAMINED_AT_ONCE)
        self._fetched = 0
        self._next_message = 0.0

    def get(self, url: str) -> FetchedPicture:
        """The picture at an address, from the cache; or why there is none."""
        failed = self._failed.get(_key(url))
        if failed is not None:
            return failed
        kept = self._cache.find(url)
        if kept is None:
            return FetchedPicture(problem="was not there when the pictures were fetched; run again")
        return FetchedPicture(
            file=self._cache.file(kept.sha256), sha256=kept.sha256, mime=kept.mime, size_bytes=kept.size_bytes
        )

    async def fetch(self, urls: Iterable[str], tell: Callable[[str], None]) -> None:
        """Fetch what is not there yet, several at a time. Raises `OutputError` if the cache cannot be written."""
        async with _reader(self._may_open, self._network) as reader:
            waiting = iter(urls)
            tasks = [asyncio.create_task(self._work(waiting, reader, tell)) for _ in range(_AT_ONCE)]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        if self._fetched:
            tell(f"reference pictures fetched: {self._fetched:,}" + self._and_failed())

    async def _work(self, urls: Iterator[str], reader: WebReader, tell: Callable[[str], None]) -> None:
        in_a_row = 0
        for url in urls:
            key = _key(url)
            if key in self._seen:
                continue
            self._seen.add(key)
            kept = self._cache.find(url)
            if kept is None or self._refresh:
                self._say_how_far(tell)
                await self._fetch(url, key, kept, reader)
                continue
            in_a_row += 1
            if in_a_row % _KEPT_IN_A_ROW == 0:
                await asyncio.sleep(0)

    async def _fetch(self, url: str, key: bytes, kept: KeptPicture | None, reader: WebReader) -> None:
        """One picture into the cache, or a reason into the list of failures."""
        host = urlsplit(url).hostname or ""
        for pause_seconds in (*_PAUSES_SECONDS, None):
            if self._failures_in_a_row.get(host, 0) >= _HOST_FAILURES:
                self._fail(key, f"was not tried: {_HOST_FAILURES} others in a row could not be fetched from its host")
                return
            try:
                await self._ask(url, key, kept, reader)
            except FetchFailed as failure:
                again = failure.may_work_later and failure.code != "tls"
                if again and pause_seconds is not None:
                    await self._clock.sleep(pause_seconds)
                    continue
                if again or failure.code == "tls":
                    self._failures_in_a_row[host] = self._failures_in_a_row.get(host, 0) + 1
                self._fail(key, _sentence(failure), missing=failure.status in (404, 410))
                return
            self._failures_in_a_row.pop(host, None)
            return

    async def _ask(self, url: str, key: bytes, kept: KeptPicture | None, reader: WebReader) -> None:
        if kept is not None and not await asyncio.to_thread(self._cache.is_intact, kept):
            kept = None
        body = _Body()
        try:
            async with asyncio.timeout(_SECONDS):  # over all redirects
                head = await reader.get(url, body, {} if kept is None else kept.conditions)
        except TimeoutError:
            text = "could not be read: no answer in time"
            raise FetchFailed("failed", text, host=None, may_work_later=True) from None
        if head.status == 304 and kept is not None:
            return
        data = bytes(body.data)
        async with self._examining:
            mime, problem = await asyncio.to_thread(self._examine, data)
        if problem:
            self._fail(key, problem)
            return
        await asyncio.to_thread(self._cache.keep, url, data, mime, head.headers)
        self._fetched += 1

    def _fail(self, key: bytes, problem: str, *, missing: bool = False) -> None:
        """Note a failure; a million with the same reason share one sentence."""
        text = sys.intern(problem)
        self._failed[key] = self._reasons.setdefault(text, FetchedPicture(problem=text, missing=missing))

    def _may_open(self, url: str) -> str | None:
        return None if self._allows(url) else "its host is not listed in reference_hosts"

    def _say_how_far(self, tell: Callable[[str], None]) -> None:
        """A word at the beginning, and now and then if it takes long."""
        now = self._clock.monotonic()
        if not self._next_message:
            tell(f"fetching reference pictures; they are kept in {self._cache.folder}")
        elif now >= self._next_message:
            tell(f"reference pictures fetched so far: {self._fetched:,}" + self._and_failed())
        else:
            return
        self._next_message = now + _SECONDS_BETWEEN_MESSAGES

    def _and_failed(self) -> str:
        return f" ({len(self._failed):,} cannot be)" if self._failed else ""


class _Body:
    """A picture as it arrives. The reader bounds its size."""

    def __init__(self) -> None:
        self.data = bytearray()

    def feed(self, chunk: bytes) -> None:
        self.data += chunk


@asynccontextmanager
async def _reader(may_open: Callable[[str], str | None], network: Network = DIRECT) -> AsyncIterator[WebReader]:
    reader = WebReader(timeouts=_TIMEOUTS, most_bytes=MAX_BYTES, may_open=may_open, network=network)
    try:
        yield reader
    finally:
        await reader.aclose()


def _key(url: str) -> bytes:
    return hashlib.blake2b(url.encode(), digest_size=16).digest()


def _sentence(failure: FetchFailed) -> str:
    """What follows the address in a message."""
    if failure.code == "too_large":
        return f"cannot be fetched: it is larger than {MAX_BYTES >> 20} MB"
    if failure.code == "unsafe":
        return f"cannot be fetched: it leads to an address that is not opened ({failure})"
    return f"cannot be fetched: {failure}".replace("fetched: could not be read: ", "fetched: ")
