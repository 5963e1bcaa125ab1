"""The gallery in a real browser, opened from disk."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batch.store.records import ReferenceRecord
from tests.gallery.conftest import Opened
from tests.support.browser import until, violations
from tests.support.written_output import WrittenOutput, picture_bytes

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.asyncio(loop_scope="session")

_IDS = "[...document.querySelectorAll('.item:not([hidden]) .name')].map((each) => each.textContent)"


def a_shop(folder: Path) -> Path:
    """Three pictures, a failure and an unknown, with rows."""
    output = WrittenOutput(folder / "shop")
    output.done("mug", "a red mug", caption="A mug in red", row={"Vendor": "Acme", "Price": "0012"})
    output.done("vase", "a tall vase", data=picture_bytes("navy", (64, 32)), size=(64, 32), row={"Vendor": "Globex"},
                warnings=["another_shape: asked for 1:1, got 2:1"])  # fmt: skip
    output.done("bowl", "an old bowl", data=picture_bytes("white"), row={"Vendor": "Acme"})
    output.done("bowl", "a new bowl", data=picture_bytes("black"), row={"Vendor": "Acme"})
    output.failed("knife", "a sharp knife", message="blocked by the filter", row={"Vendor": "Acme"})
    output.unknown("jug", "a jug", row={"Vendor": "Initech"})
    return output.finish()


async def shown_ids(page: Page) -> list[str]:
    ids: list[str] = await page.evaluate(_IDS)
    return ids


async def test_opens_from_disk_and_shows_every_job(opened: Opened, tmp_path: Path) -> None:
    """Pages need no server: all jobs are there, with thumbnails, and nothing but own files was asked for."""
    page = await opened.gallery(a_shop(tmp_path))
    assert await shown_ids(page) == ["mug", "vase", "bowl", "knife", "jug"]
    assert await page.text_content("#count") == "5 jobs"
    await until(
        page, "[...document.querySelectorAll('.frame img')].filter((each) => each.naturalWidth > 0).length === 3"
    )
    assert all(address.startswith((tmp_path.as_uri(), "data:")) for address in opened.requests)
    assert opened.errors == []


async def test_search_looks_into_prompt_caption_id_and_row(opened: Opened, tmp_path: Path) -> None:
    """Every word of a search occurs somewhere in the job's text, whatever its case."""
    page = await opened.gallery(a_shop(tmp_path))
    for search, ids in {
        "TALL": ["vase"],
        "a mug in": ["mug"],
        "acme new": ["bowl"],
        "0012": ["mug"],
        '"sharp knife"': ["knife"],
        "nothing such": [],
    }.items():
        await page.fill("#search", search)
        await until(page, "(ids) => JSON.stringify(" + _IDS + ") === JSON.stringify(ids)", ids)
        assert (await page.text_content("#count") or "").startswith(f"{len(ids)} of 5")
    assert await page.is_visible("#empty")
    await page.click("#clear")
    await until(page, "document.getElementById('count').textContent === '5 jobs'")


async def test_filters_by_state_cause_warning_versions_and_column(opened: Opened, tmp_path: Path) -> None:
    """Boxes of one group widen, groups narrow, and the address says what is chosen."""
    page = await opened.gallery(a_shop(tmp_path))
    for box, ids in {
        "Failed": ["knife"],
        "image safety": ["knife"],
        "Another shape": ["vase"],
        "Several versions": ["bowl"],
        "Unknown, maybe paid": ["jug"],
        "Globex": ["vase"],
    }.items():
        await page.evaluate("document.querySelectorAll('.facet').forEach((each) => (each.open = true))")
        await page.get_by_label(box).check()
        assert await shown_ids(page) == ids, box
        await until(page, "location.hash.includes('f.')")
        await page.get_by_label(box).uncheck()
    await page.get_by_label("Acme").check()
    await page.get_by_label("Done").check()
    await page.get_by_label("Failed").check()
    assert await shown_ids(page) == ["mug", "bowl", "knife"]


async def test_the_address_restores_what_is_shown(opened: Opened, tmp_path: Path) -> None:
    """A copied address opens the same search, filters, order and picture."""
    page = await opened.gallery(a_shop(tmp_path), "#q=a&f.c.Vendor=Acme&sort=id&job=mug")
    await until(page, "document.getElementById('detail').open")
    assert await shown_ids(page) == ["bowl", "knife", "mug"]
    assert await page.input_value("#search") == "a"
    await page.keyboard.press("Escape")
    await until(page, "!location.hash.includes('job=')")


async def test_keys_reach_everything(opened: Opened, tmp_path: Path) -> None:
    """Arrows move, Enter opens, arrows go on inside, Escape returns to where one was."""
    page = await opened.gallery(a_shop(tmp_path))
    await page.keyboard.press("/")
    await page.keyboard.press("Enter")
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("Enter")
    assert await page.text_content("#detail-title") == "vase"
    await page.keyboard.press("ArrowRight")
    assert await page.text_content("#detail-title") == "bowl"
    await page.keyboard.press("Escape")
    await until(page, "(document.activeElement.querySelector('.name') || {}).textContent === 'bowl'")
    assert await page.evaluate("document.querySelectorAll('.cell[tabindex=\"0\"]').length") == 1


async def test_a_failure_says_why_and_what_to_do(opened: Opened, tmp_path: Path) -> None:
    """The view of a failed job has its cause, the provider's words and advice; the folder's path is nowhere."""
    page = await opened.gallery(a_shop(tmp_path), "#job=knife")
    facts = await until(page, "document.querySelector('.facts').textContent")
    assert "blocked by the filter" in facts
    assert "change the words" in facts
    assert "What to do" in facts
    assert str(tmp_path) not in await page.content()


async def test_versions_are_compared(opened: Opened, tmp_path: Path) -> None:
    """C shows the version before beside the new one; each can be picked."""
    page = await opened.gallery(a_shop(tmp_path), "#job=bowl")
    await until(page, "document.querySelectorAll('.strip .thumb').length === 2")
    assert await page.evaluate("document.querySelector('.stage').className") == "stage single"
    await page.keyboard.press("c")
    assert await page.evaluate("document.querySelector('.stage').className") == "stage side"
    labels = "[...document.querySelectorAll('.pane figcaption')].map((each) => each.textContent)"
    assert await page.evaluate(labels) == ["Version 1", "Version 2"]
    assert "a new bowl" in (await page.text_content(".facts") or "")
    await page.click(".strip .thumb:first-child")
    assert "an old bowl" in (await page.text_content(".facts") or "")


async def test_zoom_shows_every_pixel(opened: Opened, tmp_path: Path) -> None:
    """Z shows the picture in its own size, and again fits it."""
    output = WrittenOutput(tmp_path / "out")
    output.done("wide", data=picture_bytes("red", (3000, 2000)), size=(3000, 2000))
    page = await opened.gallery(output.finish(), "#job=wide")
    width = "document.querySelector('.pane:not([hidden]) img').getBoundingClientRect().width"
    await until(page, "document.querySelector('.pane:not([hidden]) img').naturalWidth === 3000")
    assert await page.evaluate(width) < 1000
    await page.keyboard.press("z")
    assert await page.evaluate(width) == 3000
    await page.keyboard.press("z")
    assert await page.evaluate(width) < 1000


async def test_no_accessibility_rule_is_broken(opened: Opened, tmp_path: Path) -> None:
    """axe finds nothing in grid, filters, detail and help, in light and dark, wide and on a phone."""
    page = await opened.gallery(a_shop(tmp_path))
    await page.evaluate("document.querySelectorAll('.facet').forEach((each) => (each.open = true))")
    assert await violations(page) == []
    for job in ("bowl", "knife"):
        await page.evaluate("(job) => imagebatch.app.openJob(job)", job)
        await until(page, "document.querySelector('.facts dl') !== null")
        assert await violations(page) == []
        await page.keyboard.press("Escape")
    await page.keyboard.press("?")
    assert await violations(page) == []
    await page.keyboard.press("Escape")
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.click("#open-filters")
    assert await violations(page) == []


async def test_a_reference_stands_beside_its_result(opened: Opened, tmp_path: Path) -> None:
    """Side by side at first; the slider hides a part of the result, T shows one at a time; gone files are told."""
    photo = picture_bytes("orange", (300, 300))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cup.png").write_bytes(photo)
    output = WrittenOutput(tmp_path / "out", manifest=str(tmp_path / "m.yaml"))
    known = ReferenceRecord("photos/cup.png", hashlib.sha256(photo).hexdigest())
    output.done("cup", references=[known, ReferenceRecord("photos/gone.png", "0" * 64)])
    page = await opened.gallery(output.finish(), "#job=cup")
    await until(page, "document.querySelectorAll('#compare-with option').length === 3")
    images = "[...document.querySelectorAll('.pane:not([hidden]) img:not([hidden])')]"
    await until(page, images + ".filter((each) => each.naturalWidth > 0).length === 2")
    await page.click("[data-mode=slider]")
    await page.fill("input[type=range]", "80")
    clipped = "document.querySelector('.pane + .pane .box').style.clipPath"
    assert "80%" in await page.evaluate(clipped)
    caption = "[...document.querySelectorAll('.pane:not([hidden]) figcaption')].map((each) => each.textContent)"
    await page.focus(".facts")
    await page.keyboard.press("t")
    assert await page.evaluate(caption) == ["Reference: photos/cup.png"]
    await page.keyboard.press("t")
    assert await page.evaluate(caption) == ["Result"]
    await page.select_option("#compare-with", "r1")
    await page.click("[data-mode=side]")
    await until(page, "document.querySelector('.pane .gone').textContent.includes('not here any more')")
    await until(page, "!document.querySelector('.pane .gone').hidden")


async def test_a_phone_shows_pictures_and_filters(opened: Opened, tmp_path: Path) -> None:
    """Two columns fit; filters open as a sheet, narrow the list, and close again; nothing sticks out."""
    await opened.page.set_viewport_size({"width": 390, "height": 800})
    page = await opened.gallery(a_shop(tmp_path))
    assert await page.evaluate("imagebatch.app.grid.columns") == 2
    assert not await page.is_visible("#filters")
    await page.click("#open-filters")
    await page.get_by_label("Failed").check()
    await page.click("#open-filters")
    assert await shown_ids(page) == ["knife"]
    await page.click(".item .cell")
    await until(page, "document.querySelector('.failure') !== null")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
