"""`imagebatch review`."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batch.cli.console import show_lines
from batch.cli.options import NamedPath

if TYPE_CHECKING:
    from batch.gallery import Built
    from batch.review.desk import Desk
    from batch.review.server import Site


@click.command(short_help="Look at pictures in a browser, and accept or reject them.")
@click.argument("directory", type=NamedPath(file_okay=False))
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on.  [default: any free one]")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option("--by", metavar="NAME", help="The reviewer's name in the decisions.  [default: your user name]")
@click.option(
    "--references",
    type=NamedPath(file_okay=False),
    multiple=True,
    help="Folder in which reference pictures are looked for first. May be repeated.",
)
def review(directory: Path, port: int, by: str | None, references: tuple[Path, ...], *, no_browser: bool) -> None:
    """Look at the pictures of the output folder DIRECTORY in a browser, and say which are good.

    \b
      A accept   R reject   1-9 reject with a reason   N note   U undo
      Space next unseen   C compare versions   ? all keys

    The page is served on this machine alone, at an address with a token in it. A run may be on: new pictures appear as
    they land. A decision is on the disk before the page shows it, in decisions.jsonl. Ctrl-C ends the review; then
    `imagebatch run MANIFEST --rejected` makes the rejected ones again.
    """
    import asyncio

    from batch.album import open_album
    from batch.core.clock import SystemClock
    from batch.review.desk import Desk

    desk = Desk(lambda: open_album(directory), SystemClock(), _user_name() if by is None else by)
    site, built = _site(directory, desk, references)
    with _small_copies_made(built):
        asyncio.run(_serve(desk, site, port, opens_browser=not no_browser))
    show_lines(_last_words(directory))


def _site(directory: Path, desk: Desk, references: tuple[Path, ...]) -> tuple[Site, Built]:
    from batch.gallery import build_gallery, copy_maker, live_row, review_page
    from batch.review.server import Site

    def build() -> Built:
        return build_gallery(directory, thumbnails=False, references=references, keep_old=True)

    built = build()
    name = directory.resolve().name
    site = Site(
        gallery=built.folder,
        page=review_page(built),
        encode=lambda entry: live_row(entry, name),
        make_copy=copy_maker(built.folder, desk.picture_path),
        rebuild=lambda: review_page(build()),
    )
    return site, built


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


def _last_words(directory: Path) -> list[str]:
    """How many pictures are accepted and rejected, and what to type next."""
    from batch.analysis import read_figures

    jobs = read_figures(directory).jobs
    words = [f"{jobs.accepted:,} accepted, {jobs.rejected:,} rejected, {jobs.undecided:,} left"]
    if jobs.rejected:
        words.append("  next       imagebatch run MANIFEST --rejected")
    return words
