"""Serving pages that take decisions, until Ctrl-C: shared by `review` and `compare`."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from batch.cli.console import show_lines

if TYPE_CHECKING:
    from batch.album import AlbumView
    from batch.gallery import Built
    from batch.review.desk import Desk
    from batch.review.server import Site


def review_until_ended(
    opened: Callable[[], AlbumView], build: Callable[[], Built], *, port: int, by: str | None, opens_browser: bool
) -> None:
    """Serve what `opened` opens with the pages that `build` builds."""
    import asyncio

    from batch.core.clock import SystemClock
    from batch.review.desk import Desk

    desk = Desk(opened, SystemClock(), _user_name() if by is None else by)
    built = build()
    with _small_copies_made(built):
        asyncio.run(_serve(desk, _site(desk, built, build), port, opens_browser=opens_browser))


def _site(desk: Desk, built: Built, build: Callable[[], Built]) -> Site:
    from batch.gallery import copy_maker, live_row, review_page
    from batch.review.server import Site

    return Site(
        gallery=built.folder,
        page=review_page(built),
        encode=lambda entry: live_row(entry, desk.name),
        make_copy=copy_maker(built.folder, desk.picture_path),
        rebuild=lambda: review_page(build()),
    )


async def _serve(desk: Desk, site: Site, port: int, *, opens_browser: bool) -> None:
    import asyncio
    import signal
    import webbrowser

    from batch.review import serve_review
    from batch.review.browser import leading_page

    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with serve_review(desk, site, port=port) as review:
        show_lines([f"reviewing {desk.name} at", f"  {review.address}", "Ctrl-C ends it"])
        with leading_page(review.address) as page:
            if opens_browser:
                await asyncio.to_thread(webbrowser.open, page)
            await ended.wait()


@contextmanager
def _small_copies_made(built: Built) -> Iterator[None]:
    """While the block runs, a process of low priority makes the thumbnails that are missing."""
    from multiprocessing import get_context

    from batch.gallery import make_small_copies

    if not built.left:
        yield
        return
    process = get_context("spawn").Process(target=make_small_copies, args=(built.left,), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container with any user id
        return ""
