"""Whatever a prompt, an id, a row, a message or a file's name holds: pages show it as text, and do nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batch.core.decisions import Decision, Verdict
from batch.store.decisions import DecisionFile
from batch.store.records import ReferenceRecord
from tests.gallery.conftest import Opened
from tests.support.browser import until
from tests.support.hostile_text import HOSTILE
from tests.support.written_output import WrittenOutput, picture_bytes

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.asyncio(loop_scope="session")

_TAGS = "[...new Set([...document.querySelectorAll('body *')].map((each) => each.tagName.toLowerCase()))]"
#: What the pages are made of.
_OWN = frozenset(
    (
        *(
            "a",
            "aside",
            "button",
            "dd",
            "details",
            "dialog",
            "div",
            "dl",
            "dt",
            "figcaption",
            "figure",
            "footer",
            "h1",
            "h2",
        ),
        *("h3", "header", "img", "input", "kbd", "label", "li", "main", "noscript", "ol", "option", "p", "script"),
        *("section", "select", "span", "strong", "summary", "ul"),
    )
)
_HANDLERS = """[...document.querySelectorAll('*')].flatMap((each) => [...each.attributes])
    .filter((each) => each.name.startsWith('on') || /^\\s*(javascript|data:text)/i.test(each.value)).length"""
_FACTS = "(document.querySelector('.facts'))"
_NAMES = re.compile(r"[/\x00]")


def a_hostile_output(folder: Path) -> Path:
    """Every text in every place that pages show: id, prompt, caption, row, warning, message, model, reference, note."""
    output = WrittenOutput(folder / "out")
    decisions = []
    for number, text in enumerate(HOSTILE):
        row = {text or "x": text, "Title": text}
        asked: dict[str, Any] = {"row": row, "model": text[:60], "endpoint": text[:60]}
        asked["references"] = [ReferenceRecord(text, f"{number:064x}")]
        name = _NAMES.sub("_", text)[:60].strip(".") or "x"
        image = output.done(
            f"{number} {text}",
            text,
            data=picture_bytes((number * 5, 80, 90)),
            name=f"{number}{name}",
            caption=text,
            warnings=[f"other: {text}"],
            **asked,
        )
        output.failed(f"failed {number} {text}", text, code=text[:40] or "x", message=text, **asked)
        decisions.append(
            Decision(
                at="2026-11-28T12:00:00Z",
                job=f"{number} {text}",
                sha256=image.sha256,
                verdict=Verdict.REJECTED,
                reasons=(text[:90],),
                note=text,
                by=text[:90],
            )
        )
    made = output.finish()
    DecisionFile(made).append(decisions)
    return made


async def is_harmless(page: Page, opened: Opened, folder: Path) -> None:
    """No element that is not the pages' own, no handler, no dialog, no error, no request but for own files."""
    assert set(await page.evaluate(_TAGS)) <= _OWN
    assert await page.evaluate(_HANDLERS) == 0
    assert opened.dialogs == []
    assert [each for each in opened.errors if "ERR_FILE_NOT_FOUND" not in each] == []
    assert [each for each in opened.requests if not each.startswith((folder.as_uri(), "data:,"))] == []
    assert "evil" not in await page.evaluate("document.baseURI")


async def test_hostile_text_is_text(opened: Opened, tmp_path: Path) -> None:
    """44 attack strings in every place: in the grid, in filters, and opened one by one, as picture and as failure."""
    page = await opened.gallery(a_hostile_output(tmp_path))
    await page.evaluate("document.querySelectorAll('.facet').forEach((each) => (each.open = true))")
    await is_harmless(page, opened, tmp_path)
    jobs = await page.evaluate("imagebatch.app.rows.map((row) => imagebatch.app.table.get(row, 'id'))")
    assert len(jobs) == 2 * len(HOSTILE)
    for job in jobs:
        await page.evaluate("(job) => imagebatch.app.openJob(job)", job)
        assert await page.text_content("#detail-title") == job
        await until(page, "document.querySelector('.facts dl') !== null")
    prompt = await page.text_content(".facts .prompt")
    assert prompt == HOSTILE[-1]
    await is_harmless(page, opened, tmp_path)


async def test_hostile_text_breaks_no_layout(opened: Opened, tmp_path: Path) -> None:
    """Cells keep their size and place, nothing is wider than the window, and the title stays in its bar."""
    page = await opened.gallery(a_hostile_output(tmp_path))
    for width in (1280, 390):
        await page.set_viewport_size({"width": width, "height": 800})
        await page.wait_for_timeout(50)
        boxes = "[...document.querySelectorAll('.item:not([hidden])')].map((each) => each.getBoundingClientRect())"
        sizes = await page.evaluate(boxes + ".map((box) => `${Math.round(box.width)}x${Math.round(box.height)}`)")
        assert len(set(sizes)) == 1, sizes
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        for text in ("W" * 5000, "a\u0300" * 300, "line\r\nline\n\n\n\n\n\nline"):
            await page.evaluate("(job) => imagebatch.app.openJob(job)", f"{HOSTILE.index(text)} {text}")
            await until(page, "document.querySelector('.facts dl') !== null")
            assert await page.evaluate("(({scrollWidth, clientWidth}) => scrollWidth <= clientWidth)" + _FACTS)
            assert await page.evaluate("document.querySelector('.detail-bar').getBoundingClientRect().height") < 80
        await page.keyboard.press("Escape")
        await until(page, "!document.getElementById('detail').open")


async def test_hostile_addresses_are_only_read(opened: Opened, tmp_path: Path) -> None:
    """Whatever the fragment says, it chooses among what is there: no error, no element, no request."""
    output = WrittenOutput(tmp_path / "out")
    output.done("mug")
    made = output.finish()
    page = await opened.gallery(made)
    for text in (
        *HOSTILE,
        "sort=__proto__&part=-1",
        "part=1e99&sort=constructor",
        "f.__proto__=x&job=__proto__",
        "q=%",
        "f.=",
    ):
        await page.evaluate("(text) => { location.hash = text; }", text)
        await page.evaluate("(text) => { location.hash = 'q=' + encodeURIComponent(text) + '&f.state=x'; }", text)
    await until(page, "document.getElementById('count').textContent.includes('of 1')")
    await is_harmless(page, opened, tmp_path)
