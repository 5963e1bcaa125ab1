"""A browser for all tests of one process, and a page in it that says what went wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from batch.gallery import build_gallery
from tests.support.browser import a_browser, missing, until

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    if missing():
        pytest.skip(missing())
    async with a_browser() as started:
        yield started


@dataclass
class Opened:
    """A page, with what it asked for and what went wrong in it."""

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    async def open(self, address: str) -> Page:
        await self.page.goto(address)
        await until(self.page, "Boolean(window.imagebatch && imagebatch.app && !imagebatch.app.loading)")
        return self.page

    async def gallery(self, output: Path, fragment: str = "", **options: Any) -> Page:
        """Build an output's gallery and open it from disk."""
        built = build_gallery(output, workers=0, **options)
        return await self.open(built.index.as_uri() + fragment)


@pytest_asyncio.fixture(loop_scope="session")
async def opened(browser: Browser) -> AsyncIterator[Opened]:
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    made = Opened(await context.new_page())
    made.page.on("pageerror", lambda error: made.errors.append(str(error)))
    made.page.on("console", lambda message: made.errors.append(message.text) if message.type == "error" else None)
    made.page.on("request", lambda request: made.requests.append(request.url))
    made.page.on("dialog", lambda dialog: made.dialogs.append(dialog.message))
    yield made
    await context.close()
