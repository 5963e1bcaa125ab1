"""One stream of server-sent events to each open page. A page that does not read is told to load anew.

The format: https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

_MOST_WAITING: Final = 200
#: A line that says nothing, so that a connection that is gone is noticed.
_KEEP_ALIVE: Final = b": \n\n"


def event(name: str, data: Any) -> bytes:
    """One event as it goes over the wire."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=True, allow_nan=False)}\n\n".encode("ascii")


class Broadcast:
    """Sends each event to every page."""

    def __init__(self, keep_alive_seconds: float = 15.0) -> None:
        self._keep_alive_seconds = keep_alive_seconds
        self._pages: set[asyncio.Queue[bytes]] = set()

    def __len__(self) -> int:
        return len(self._pages)

    def send(self, name: str, data: Any) -> None:
        """Queue an event for every page."""
        for page in self._pages:
            if page.qsize() >= _MOST_WAITING:
                while not page.empty():
                    page.get_nowait()
                page.put_nowait(event("reload", None))
            page.put_nowait(event(name, data))

    async def listen(self) -> AsyncIterator[bytes]:
        """The events from now on, for one page."""
        page: asyncio.Queue[bytes] = asyncio.Queue()
        self._pages.add(page)
        try:
            yield _KEEP_ALIVE
            while True:
                try:
                    yield await asyncio.wait_for(page.get(), self._keep_alive_seconds)
                except TimeoutError:
                    yield _KEEP_ALIVE
        finally:
            self._pages.discard(page)
