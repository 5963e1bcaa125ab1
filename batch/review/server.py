"""The HTTP side of a review: pages, pictures, decisions, and a stream of what is new. aiohttp on loopback.

Blocking work, such as the ledger, fsync and thumbnails, is done in threads. Decisions are answered with 200 once they
are durable, and with the reason in words otherwise.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from batch.album import Entry
from batch.core.errors import BatchError, OutputError
from batch.review.broadcast import Broadcast, event
from batch.review.desk import Desk
from batch.review.guard import add_headers, guarded
from batch.review.wire import MOST_BODY_BYTES, RefusedError, read_words

_HOST: Final = "127.0.0.1"
_TOKEN_BYTES: Final = 24
_IMMUTABLE: Final = "private, max-age=31536000, immutable"
_SHUTDOWN_SECONDS: Final = 0.5
#: More changes than this are told to a page that is loaded by writing its files anew, not one by one.
_MOST_TOLD: Final = 2_000
_ENTRIES_AT_ONCE: Final = 200
#: Files of ours carry their content's hash in their names.
_HASHED: Final = re.compile(r"\.[0-9a-f]{12}\.(?:js|css)\Z")
_TYPES: Final[Mapping[str, str]] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".avif": "image/avif",
    ".heic": "image/heic",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What is served: the gallery's folder, its page for reviews, and what the two need from the gallery.

    `encode` makes an entry what the pages expect. `make_copy` makes the small copy at a path of the gallery's folder if
    it can be made, and says whether it is there. `rebuild` writes the page's files anew; without it they stay as they
    are, and pages are told of everything since.
    """

    gallery: Path
    page: bytes
    encode: Callable[[Entry], Mapping[str, Any]]
    make_copy: Callable[[str], bool]
    rebuild: Callable[[], bytes] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A review that is on. `address` has the token in it."""

    address: str
    port: int


@asynccontextmanager
async def serve_review(
    desk: Desk, site: Site, *, port: int = 0, look_seconds: float = 1.0, token: str = "", most_told: int = _MOST_TOLD
) -> AsyncIterator[Review]:
    """Serve until the block is left. `port` 0: any free one. After more than `most_told` changes the pages' files are
    written anew for the next page that is loaded. Raises `OutputError` if the port cannot be had."""
    token = token or secrets.token_urlsafe(_TOKEN_BYTES)
    server = _Server(desk, site, token, most_told)
    runner = web.AppRunner(server.app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS, handle_signals=False)
    await runner.setup()
    try:
        listening = web.TCPSite(runner, _HOST, port)
        try:
            await listening.start()
        except OSError as error:
            raise OutputError(
                f"cannot listen on port {port}: {error.strerror or error}; choose another with --port"
            ) from error
        server.port = runner.addresses[0][1]
        watching = asyncio.create_task(server.watch(look_seconds))
        try:
            yield Review(address=f"http://{_HOST}:{server.port}/{token}/gallery/", port=server.port)
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
    finally:
        await runner.cleanup()


class _Server:
    def __init__(self, desk: Desk, site: Site, token: str, most_told: int) -> None:
        self.port = 0
        self._desk = desk
        self._site = site
        self._broadcast = Broadcast()
        self._news = asyncio.Event()
        self._html = site.page
        self._building = asyncio.Lock()
        self._most_told = most_told
        self.app = web.Application(middlewares=[guarded(token, lambda: self.port)], client_max_size=MOST_BODY_BYTES)
        self.app.on_response_prepare.append(add_headers)
        self.app.router.add_get("/{token}/gallery/", self._page)
        self.app.router.add_get("/{token}/gallery/api/events", self._events)
        self.app.router.add_post("/{token}/gallery/api/decisions", self._decide)
        self.app.router.add_get("/{token}/gallery/{path:.+}", self._gallery_file)
        self.app.router.add_get(r"/{token}/{path:(?:\w/)?images/.+}", self._picture)
        self.app.router.add_route("*", "/{token}{rest:.*}", self._nothing)

    async def watch(self, look_seconds: float) -> None:
        """Tell open pages what is new, once in a while and after each decision."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), look_seconds)
            self._news.clear()
            if not len(self._broadcast):
                continue
            try:
                await self._tell()
            except BatchError as error:
                self._broadcast.send("trouble", str(error))

    async def _tell(self) -> None:
        news = await asyncio.to_thread(self._desk.look)
        if news.replaced:
            self._broadcast.send("reload", None)
            return
        if news.entries:
            self._broadcast.send("entries", [self._site.encode(entry) for entry in news.entries])
        self._broadcast.send("progress", None if news.progress is None else asdict(news.progress))

    async def _page(self, _request: web.Request) -> web.Response:
        async with self._building:
            if self._site.rebuild is not None and self._desk.changed_since_built() > self._most_told:
                self._desk.built()
                self._html = await asyncio.to_thread(self._site.rebuild)
        return web.Response(body=self._html, content_type="text/html", charset="utf-8")

    async def _decide(self, request: web.Request) -> web.Response:
        try:
            words = read_words(await request.read())
            await asyncio.to_thread(self._desk.decide, words)
        except RefusedError as error:
            return _refusal(409, error)
        except BatchError as error:
            return _refusal(500, error)
        self._news.set()
        return web.json_response({"saved": len(words)})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        self._news.set()
        with suppress(ConnectionError):
            stream = self._broadcast.listen()
            await response.write(await anext(stream))
            entries = await asyncio.to_thread(self._desk.catch_up)
            for first in range(0, len(entries), _ENTRIES_AT_ONCE):
                told = [self._site.encode(entry) for entry in entries[first : first + _ENTRIES_AT_ONCE]]
                await response.write(event("entries", told))
            async for each in stream:
                await response.write(each)
        return response

    async def _gallery_file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["path"]
        path = _inside(self._site.gallery, name)
        if path is None and await asyncio.to_thread(self._site.make_copy, name):
            path = _inside(self._site.gallery, name)
        return _file(path, is_immutable=bool(_HASHED.search(name)))

    async def _picture(self, request: web.Request) -> web.StreamResponse:
        found = self._desk.file_of(request.match_info["path"])
        if found is None:
            raise web.HTTPNotFound(text="no such file\n")
        output, path = found
        return _file(_inside(output / "images", str(path.relative_to(output / "images"))), is_immutable=False)

    async def _nothing(self, _request: web.Request) -> web.Response:
        raise web.HTTPNotFound(text="there is nothing here\n")


def _inside(folder: Path, name: str) -> Path | None:
    """A regular file below a folder, with a type that pages use; None for anything else, links included."""
    path = folder / name
    try:
        resolved = path.resolve(strict=True)
        inside = resolved.is_relative_to(folder.resolve()) and resolved.is_file()
    except (OSError, ValueError, RuntimeError):
        return None
    return resolved if inside and resolved.suffix.lower() in _TYPES else None


def _file(path: Path | None, *, is_immutable: bool) -> web.StreamResponse:
    if path is None:
        raise web.HTTPNotFound(text="no such file\n")
    caching = _IMMUTABLE if is_immutable else "private, no-cache"
    return web.FileResponse(path, headers={"Content-Type": _TYPES[path.suffix.lower()], "Cache-Control": caching})


def _refusal(status: int, error: BatchError) -> web.Response:
    return web.json_response({"error": str(error)}, status=status)
