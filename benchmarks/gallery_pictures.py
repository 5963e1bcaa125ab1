"""Take the screenshots in docs/ anew: `python -m benchmarks.gallery_pictures`. Needs chromium and playwright."""

from __future__ import annotations

import asyncio
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image

from batch.core.clock import SystemClock
from batch.gallery import Built, build_gallery, copy_maker, live_row, review_page
from batch.review import serve_review
from batch.review.desk import Desk
from batch.review.server import Site
from benchmarks.gallery_demo import write_demo
from tests.support.browser import a_browser, until

if TYPE_CHECKING:
    from playwright.async_api import Browser, ViewportSize

TARGET: Final = Path(__file__).parents[1] / "docs/pictures"
_WIDE: Final[ViewportSize] = {"width": 1280, "height": 820}
_PHONE: Final[ViewportSize] = {"width": 390, "height": 780}
_QUALITY: Final = 82


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One screenshot: what is opened, in which light, and what is typed there."""

    name: str
    fragment: str = ""
    size: ViewportSize
    scheme: str = "light"
    keys: tuple[str, ...] = ()


_GALLERY: Final = (
    Shot(name="gallery", size=_WIDE),
    Shot(name="gallery-compared", size=_WIDE, fragment="#job=vase-clay"),
    Shot(name="gallery-phone", size=_PHONE, scheme="dark"),
)
_REVIEW: Final = (Shot(name="review", size=_WIDE, scheme="dark", fragment="#job=mug-sage", keys=("7",)),)


async def _take(folder: Path) -> None:
    output = write_demo(folder)
    built = build_gallery(output)
    async with a_browser() as browser:
        for shot in _GALLERY:
            await _shoot(browser, built.index.as_uri(), shot)
        desk = Desk(output, SystemClock())
        async with serve_review(desk, _site(built, desk)) as review:
            for shot in _REVIEW:
                await _shoot(browser, review.address, shot)


def _site(built: Built, desk: Desk) -> Site:
    page = review_page(built)
    return Site(
        gallery=built.folder,
        page=page,
        encode=lambda entry: live_row(entry, desk.output.name),
        make_copy=copy_maker(built.folder, desk.picture_path),
        rebuild=lambda: page,
    )


async def _shoot(browser: Browser, address: str, shot: Shot) -> None:
    page = await browser.new_page(viewport=shot.size, color_scheme="dark" if shot.scheme == "dark" else "light")
    await page.goto(address + shot.fragment)
    await until(page, "Boolean(window.imagebatch && imagebatch.app && !imagebatch.app.loading)")
    for key in shot.keys:
        await page.keyboard.press(key)
    await until(page, "[...document.images].every((each) => each.hidden || !each.src || each.complete)")
    await until(page, "!document.body.textContent.includes('Saving…')")
    await page.wait_for_timeout(500)
    with Image.open(io.BytesIO(await page.screenshot())) as picture:
        picture.save(TARGET / f"{shot.name}.webp", quality=_QUALITY, method=6)
    await page.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        asyncio.run(_take(Path(made)))
