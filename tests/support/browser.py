"""A real browser for pages, where one is installed."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or ""
FIREFOX: Final = shutil.which("firefox-esr") or shutil.which("firefox") or ""
_QUIET: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"),
    *("--disable-sync", "--disable-component-update", "--enable-precise-memory-info"),
)
_STEP_MS: Final = 20
_LONGEST_MS: Final = 15_000


def missing() -> str:
    """Why no browser can be driven here; empty if one can."""
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed (pip install 'imagebatch[browser]')"
    if importlib.util.find_spec("axe_playwright_python") is None:
        return "axe is not installed (pip install 'imagebatch[browser]')"
    return "" if CHROMIUM else "no chromium on the path"


@asynccontextmanager
async def a_browser(*more: str) -> AsyncIterator[Browser]:
    """Chromium, without a window, with `more` of its own options. It updates and synchronises nothing."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*_QUIET, *more])
        try:
            yield browser
        finally:
            await browser.close()


async def until(page: Page, condition: str, *arguments: Any) -> Any:
    """The value of a JavaScript expression, once it is true. The page's own policy forbids Playwright's way to wait."""
    for _ in range(_LONGEST_MS // _STEP_MS):
        found = await page.evaluate(condition, *arguments)
        if found:
            return found
        await page.wait_for_timeout(_STEP_MS)
    raise AssertionError(f"never true: {condition}; count says {await page.text_content('#count')!r}")


async def violations(page: Page) -> list[str]:
    """What axe finds wrong with the page as it is, and with its contrasts in the dark: rule and elements."""
    if not await page.evaluate("Boolean(window.axe)"):
        script = importlib.util.find_spec("axe_playwright_python")
        assert script is not None
        assert script.origin is not None
        await page.evaluate((Path(script.origin).parent / "axe.min.js").read_text("utf-8"))
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    await page.emulate_media(color_scheme="dark")
    dark = await page.evaluate("axe.run(document, {resultTypes: ['violations'], runOnly: ['color-contrast']})")
    await page.emulate_media(color_scheme="light")
    return [
        f"{each['id']}: {[node['html'][:160] for node in each['nodes']][:3]}"
        for each in (*found["violations"], *dark["violations"])
    ]
