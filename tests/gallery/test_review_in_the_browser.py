"""The page that takes decisions, in a real browser, on the server of `imagebatch review`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batch.album import open_album
from batch.core.clock import SystemClock
from batch.core.decisions import Decision, Side, Verdict
from batch.gallery import build_gallery, copy_maker, live_row, review_page
from batch.review import Review, serve_review
from batch.review.desk import Desk
from batch.review.server import Site
from batch.store.decisions import DecisionFile
from tests.gallery.conftest import Opened
from tests.support.browser import until, violations
from tests.support.hostile_text import HOSTILE
from tests.support.written_output import WrittenOutput, picture_bytes

if TYPE_CHECKING:
    from playwright.async_api import Page, Route

pytestmark = pytest.mark.asyncio(loop_scope="session")


@asynccontextmanager
async def a_review(output: Path) -> AsyncIterator[Review]:
    built = build_gallery(output, thumbnails=False, workers=0)
    desk = Desk(lambda: open_album(output), SystemClock())
    site = Site(
        gallery=built.folder,
        page=review_page(built),
        encode=lambda entry: live_row(entry, output.name),
        make_copy=copy_maker(built.folder, desk.picture_path),
    )
    async with serve_review(desk, site, look_seconds=0.05) as review:
        yield review


def an_output(folder: Path, *, jobs: int = 5) -> WrittenOutput:
    output = WrittenOutput(folder / "out")
    for number in range(jobs):
        output.done(f"job-{number}", data=picture_bytes((40 * number, 90, 90)), usd=0.05)
    output.failed("blocked")
    return output


def decisions(output: Path) -> list[tuple[str, str]]:
    """Every line of the file: job and verdict, with reasons and note where there are any."""
    return [
        (each.job, ": ".join(filter(None, [str(each.verdict), ",".join(each.reasons), each.note])))
        for each in DecisionFile(output).lines()
    ]


async def saved(page: Page) -> None:
    await until(page, "!document.body.textContent.includes('Saving…')")


async def mark(page: Page, job: str) -> str:
    """The verdict that the grid shows of a job."""
    found: str = await page.evaluate(
        """(job) => [...document.querySelectorAll('.item:not([hidden])')]
            .filter((each) => each.querySelector('.name').textContent === job)
            .map((each) => each.querySelector('.marks').textContent)[0]""",
        job,
    )
    return found


async def test_keys_decide_and_every_decision_is_in_the_file(opened: Opened, tmp_path: Path) -> None:
    """A accepts, R and X reject, a digit gives a reason, N a note; accept and reject go on to the next picture."""
    output = an_output(tmp_path).finish()
    async with a_review(output) as review:
        page = await opened.open(review.address)
        await page.evaluate("imagebatch.app.grid.moveTo(0)")
        for key in ("a", "r", "x"):
            await page.keyboard.press(key)
        await page.keyboard.press("3")
        await page.keyboard.press("n")
        await page.keyboard.type("five fingers, please")
        await page.keyboard.press("Enter")
        await saved(page)
        assert decisions(output) == [
            ("job-0", "accepted"),
            ("job-1", "rejected"),
            ("job-2", "rejected"),
            ("job-3", "rejected: hands"),
            ("job-3", "rejected: hands: five fingers, please"),
        ]
        assert [await mark(page, f"job-{number}") for number in range(5)] == [
            *("Accepted", "Rejected", "Rejected", "Rejected", ""),
        ]
        counters = await page.text_content("#counters")
        assert counters == "4 of 5 seen · 1 accepted · 3 rejected · $0.250 per accepted picture"
        assert opened.errors == []


async def test_undo_brings_back_what_stood_before(opened: Opened, tmp_path: Path) -> None:
    """The earlier word is said again; where there was none, the decision is taken back."""
    output = an_output(tmp_path).finish()
    async with a_review(output) as review:
        page = await opened.open(review.address + "#job=job-0")
        await until(page, "document.querySelector('.verdicts') !== null")
        await page.keyboard.press("a")
        await page.keyboard.press("ArrowLeft")
        await page.keyboard.press("r")
        for _ in range(2):
            await page.keyboard.press("u")
        await saved(page)
        assert [each for each in decisions(output) if each[0] == "job-0"] == [
            *(("job-0", "accepted"), ("job-0", "rejected"), ("job-0", "accepted"), ("job-0", "undone")),
        ]


async def test_a_range_is_decided_at_once_and_undone_at_once(opened: Opened, tmp_path: Path) -> None:
    """Shift with arrows chooses; failures among them have no picture and are left out; one U takes all back."""
    output = an_output(tmp_path).finish()
    async with a_review(output) as review:
        page = await opened.open(review.address)
        await page.evaluate("imagebatch.app.grid.moveTo(3)")
        await page.keyboard.press("Shift+ArrowRight")
        await page.keyboard.press("Shift+ArrowRight")
        assert "3 chosen" in (await page.text_content("#counters") or "")
        await page.keyboard.press("a")
        await saved(page)
        assert decisions(output) == [("job-3", "accepted"), ("job-4", "accepted")]
        await page.keyboard.press("u")
        await saved(page)
        assert not list(DecisionFile(output).read())


async def test_space_goes_to_the_next_unseen_and_what_was_looked_at_is_seen(opened: Opened, tmp_path: Path) -> None:
    """Pictures with a word on them are passed over; the one that is left without one is seen."""
    output = an_output(tmp_path).finish()
    [entry] = [each for each in build_and_read(output) if each["id"] == "job-1"]
    DecisionFile(output).append(
        [Decision(at="2026-11-28T12:00:00Z", job="job-1", sha256=entry["sha"], verdict=Verdict.ACCEPTED)]
    )
    async with a_review(output) as review:
        page = await opened.open(review.address + "#job=job-0")
        await until(page, "document.querySelector('.verdicts') !== null")
        await page.keyboard.press(" ")
        assert await page.text_content("#detail-title") == "job-2"
        await saved(page)
        assert decisions(output)[1:] == [("job-0", "seen")]


def build_and_read(output: Path) -> list[dict[str, str]]:
    from batch.album import open_album
    from batch.gallery.rows import row_of

    return [row_of(entry) for entry in open_album(output)]


async def test_one_of_several_versions_is_picked(opened: Opened, tmp_path: Path) -> None:
    """C shows all versions; the picked one is accepted, the others count as seen and are not made again."""
    output = WrittenOutput(tmp_path / "out")
    for colour in ("red", "green", "blue"):
        output.done("cup", data=picture_bytes(colour))
    async with a_review(output.finish()) as review:
        page = await opened.open(review.address + "#job=cup")
        await until(page, "document.querySelector('.verdicts') !== null")
        await page.keyboard.press("c")
        await until(page, "document.querySelectorAll('#board .pick').length === 3")
        assert await violations(page) == []
        await page.click("#board .pick:nth-child(2)")
        await saved(page)
        assert sorted(verdict for _, verdict in decisions(tmp_path / "out")) == ["accepted", "seen", "seen"]
        await until(page, "document.querySelector('.facts').textContent.includes('Accepted')")


async def test_pictures_and_decisions_of_others_appear(opened: Opened, tmp_path: Path) -> None:
    """A run that is on adds pictures, another reviewer decides: the page shows both, and where the run stands."""
    writing = an_output(tmp_path)
    output = writing.finish()
    async with a_review(output) as review:
        page = await opened.open(review.address)
        writing.done("late", data=picture_bytes("gold"))
        writing.finish()
        await until(page, "imagebatch.app.rows.length === 7")
        sha = await page.evaluate("imagebatch.app.table.get(0, 'sha')")
        DecisionFile(output).append(
            [Decision(at="2026-11-28T12:00:00Z", job="job-0", sha256=sha, verdict=Verdict.REJECTED)]
        )
        await until(page, "document.getElementById('counters').textContent.includes('1 rejected')")
        assert await mark(page, "job-0") == "Rejected"
        assert await mark(page, "late") == ""


async def test_nothing_shows_as_saved_before_the_server_says_so(opened: Opened, tmp_path: Path) -> None:
    """Until the server answers it says saving; when it refuses, not saved, in its words, with a way to try again."""
    output = an_output(tmp_path).finish()
    async with a_review(output) as review:
        page = await opened.open(review.address)
        await page.evaluate("imagebatch.app.grid.moveTo(0)")
        held: list[Route] = []
        await page.route("**/api/decisions", lambda route: held.append(route))
        await page.keyboard.press("a")
        assert await mark(page, "job-0") == "Saving…"
        while not held:
            await page.wait_for_timeout(10)
        await held[0].fulfill(status=500, json={"error": "cannot write decisions.jsonl: disk full"})
        told = "document.getElementById('trouble').textContent"
        await until(page, f"{told}.includes('1 decision is not saved: cannot write decisions.jsonl: disk full')")
        assert await mark(page, "job-0") == ""
        await page.unroute("**/api/decisions")
        await page.click("#trouble button")
        await saved(page)
        assert await mark(page, "job-0") == "Accepted"
        assert decisions(output) == [("job-0", "accepted")]


async def test_the_static_gallery_has_no_keys_that_decide(opened: Opened, tmp_path: Path) -> None:
    """Opened from disk there is no server to decide at: the keys do nothing, and the help does not name them."""
    output = an_output(tmp_path).finish()
    page = await opened.gallery(output)
    await page.evaluate("imagebatch.app.grid.moveTo(0)")
    for key in ("a", "r", "x", "1"):
        await page.keyboard.press(key)
    await page.keyboard.press("?")
    assert "accept" not in (await page.text_content("#help") or "")
    assert await page.evaluate("imagebatch.review === undefined")
    assert opened.errors == []


async def test_no_accessibility_rule_is_broken(opened: Opened, tmp_path: Path) -> None:
    """axe finds nothing in the grid under review, in a picture with its buttons, and in the note."""
    output = an_output(tmp_path).finish()
    async with a_review(output) as review:
        page = await opened.open(review.address)
        await page.evaluate("imagebatch.app.grid.moveTo(0)")
        await page.keyboard.press("Shift+ArrowRight")
        await page.keyboard.press("r")
        await saved(page)
        assert await violations(page) == []
        await page.evaluate("imagebatch.app.openJob('job-0')")
        await until(page, "document.querySelector('.verdicts') !== null")
        assert await violations(page) == []
        await page.keyboard.press("n")
        assert await violations(page) == []


async def test_hostile_text_is_text_under_review_too(opened: Opened, tmp_path: Path) -> None:
    """Ids, notes and prompts with markup and scripts are shown, noted, picked and undone as text."""
    texts = [text for text in HOSTILE if 0 < len(text) < 80]
    output = WrittenOutput(tmp_path / "out")
    for number, text in enumerate(texts):
        for version in range(2):
            output.done(f"{number} {text}", text, data=picture_bytes((number, version, 90)), name=f"{number}-{version}")
    async with a_review(output.finish()) as review:
        page = await opened.open(review.address)
        for number in (0, 2, 5, len(texts) - 1):
            await page.evaluate("(job) => imagebatch.app.openJob(job)", f"{number} {texts[number]}")
            await until(page, "document.querySelector('.verdicts') !== null")
            await page.keyboard.press("n")
            await page.fill("#note-text", texts[number])
            await page.keyboard.press("Enter")
            await page.keyboard.press("c")
            await until(page, "document.getElementById('board').open")
            await page.keyboard.press("Escape")
            await until(page, "!document.getElementById('board').open")
        await saved(page)
        assert {note for note in (each.note for each in DecisionFile(tmp_path / "out").lines()) if note} == {
            texts[number] for number in (0, 2, 5, len(texts) - 1)
        }
        assert (
            await page.evaluate(
                "document.querySelectorAll('main script, main svg, iframe, object, dialog script').length"
            )
            == 0
        )
        assert opened.dialogs == []
        assert opened.errors == []
        assert all(each.startswith((review.address.rsplit("/gallery/", 1)[0], "data:,")) for each in opened.requests)


async def test_decisions_do_not_make_pictures_blink(opened: Opened, tmp_path: Path) -> None:
    """A decision changes the mark of a cell; the pictures around it stay loaded."""
    output = an_output(tmp_path).finish()
    async with a_review(output) as review:
        page = await opened.open(review.address)
        images = "[...document.querySelectorAll('.frame img:not([hidden])')]"
        await until(page, images + ".filter((each) => each.naturalWidth > 0).length === 5")
        await page.evaluate("imagebatch.app.grid.moveTo(0)")
        before = len(opened.requests)
        await page.evaluate(images + ".forEach((each) => each.addEventListener('load', () => (window.blinked = true)))")
        await page.keyboard.press("a")
        await saved(page)
        await until(page, "document.getElementById('counters').textContent.includes('1 accepted')")
        assert [each for each in opened.requests[before:] if each.endswith(".webp")] == []
        assert await page.evaluate("window.blinked === undefined")


async def test_what_a_machine_has_judged_is_unseen_until_a_person_looks(opened: Opened, tmp_path: Path) -> None:
    """Its verdict is shown as a machine's; Space stops there, a look leaves it standing, and a person overrules it."""
    output = an_output(tmp_path, jobs=2).finish()
    shas = {each["id"]: each["sha"] for each in build_and_read(output)}
    said = Decision(at="2026-11-28T12:00:00Z", job="job-1", sha256=shas["job-1"], verdict=Verdict.REJECTED, by="judge")
    DecisionFile(output).append([replace(said, side=Side.MACHINE)])
    async with a_review(output) as review:
        page = await opened.open(review.address + "#job=job-0")
        assert await mark(page, "job-1") == "Rejected by a machine"
        await until(page, "document.querySelector('.verdicts') !== null")
        await page.keyboard.press(" ")
        assert await page.text_content("#detail-title") == "job-1"
        await until(page, "document.querySelector('.facts').textContent.includes('Rejected by a machine')")
        await page.keyboard.press("Escape")
        await until(page, "document.getElementById('counters').textContent.startsWith('2 of 2 seen')")
        assert decisions(output)[1:] == [("job-0", "seen"), ("job-1", "seen")]
        await until(page, "document.getElementById('counters').textContent.startsWith('2 of 2 seen')")
        assert await mark(page, "job-1") == "Rejected by a machine"
        await page.evaluate("imagebatch.app.grid.moveTo(1)")
        await page.keyboard.press("a")
        await saved(page)
        assert await mark(page, "job-1") == "Accepted"
