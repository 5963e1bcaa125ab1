"""Lists longer than a browser can lay out: few elements, every job within reach, the right picture in every cell."""

from __future__ import annotations

import pytest

from batch.gallery import build_gallery
from tests.gallery.conftest import Opened
from tests.support.browser import until
from tests.support.written_output import WrittenOutput, picture_bytes

pytestmark = pytest.mark.asyncio(loop_scope="session")

_JOBS = 2_500
#: Makes of the rows a list of 300,000, each many times: higher than browsers let an element be.
_MANY = """() => {
    const app = imagebatch.app;
    app.rows = Array.from({ length: 300000 }, (_, index) => app.rows[index % app.rows.length]);
    app.grid.show(app.rows.length);
}"""
_SHOWN = """() => imagebatch.app.grid.cells.filter((cell) => !cell.element.hidden)
    .map((cell) => [cell.index, cell.name.textContent, cell.element.getBoundingClientRect().top])
    .filter(([, , top]) => top > -250 && top < innerHeight).sort((a, b) => a[0] - b[0])"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the page of 2,500 jobs is."""
    output = WrittenOutput(tmp_path_factory.mktemp("long") / "out")
    data = picture_bytes()
    for number in range(_JOBS):
        output.done(f"job-{number:05}", data=data, name="one")
    return build_gallery(output.finish(), workers=0).index.as_uri()


async def test_few_elements_show_any_part_of_a_long_list(opened: Opened, index: str) -> None:
    """Wherever one scrolls, cells are used again, and each shows the job of its place."""
    page = await opened.open(index)
    elements = await page.evaluate("document.getElementsByTagName('*').length")
    for share in (0.3, 0.99, 0.5, 1, 0):
        await page.evaluate(
            "(share) => { const box = document.getElementById('scroller'); box.scrollTop = share * box.scrollHeight; }",
            share,
        )
        await page.wait_for_timeout(50)
        shown = await page.evaluate(_SHOWN)
        assert len(shown) > 8
        assert all(name == f"job-{index:05}" for index, name, _ in shown)
        assert await page.evaluate("document.getElementsByTagName('*').length") < elements + 60
    await until(page, "[...document.querySelectorAll('.item:not([hidden]) img')].every((each) => each.src)")


async def test_the_end_of_a_list_that_no_browser_can_lay_out_is_reached(opened: Opened, index: str) -> None:
    """On a phone 300,000 jobs are 30 million pixels high; the bar is a scale then, and its end is the last job."""
    await opened.page.set_viewport_size({"width": 390, "height": 800})
    page = await opened.open(index)
    await page.evaluate(_MANY)
    assert await page.evaluate("imagebatch.app.grid.fullHeight") > 3e7
    assert await page.evaluate("document.getElementById('scroller').scrollHeight") < 1e7
    await page.evaluate("document.getElementById('scroller').scrollTop = 1e9")
    await page.wait_for_timeout(50)
    shown = await page.evaluate(_SHOWN)
    assert shown[-1][0] == 299_999
    assert shown[-1][2] < 800
    await page.evaluate("document.getElementById('scroller').scrollTop = 3e6")
    await page.wait_for_timeout(300)
    before = await page.evaluate("imagebatch.app.grid.top")
    assert 0.45 < before / await page.evaluate("imagebatch.app.grid.fullHeight") < 0.55
    await page.evaluate("document.getElementById('scroller').scrollTop += 100")
    await page.wait_for_timeout(30)
    assert await page.evaluate("imagebatch.app.grid.top") == pytest.approx(before + 100, abs=2)
    await page.wait_for_timeout(300)  # at rest the bar is put where the scale has it; nothing on the screen moves
    assert await page.evaluate("imagebatch.app.grid.top") == pytest.approx(before + 100, abs=2)


async def test_keys_reach_the_last_job_and_back(opened: Opened, index: str) -> None:
    """End goes to the last job, Home to the first; the focus is on them, and screen readers hear their number."""
    page = await opened.open(index)
    await page.evaluate("imagebatch.app.grid.moveTo(0)")
    for key, job, place in (("End", "job-02499", "2500"), ("Home", "job-00000", "1"), ("PageDown", "", "")):
        await page.keyboard.press(key)
        name = await page.evaluate("document.activeElement.querySelector('.name').textContent")
        if job:
            assert name == job
            item = "document.activeElement.closest('[role=listitem]')"
            assert await page.evaluate(item + ".getAttribute('aria-posinset')") == place
            assert await page.evaluate(item + ".getAttribute('aria-setsize')") == "2500"
        else:
            assert name > "job-00007"


async def test_no_picture_is_fetched_in_a_fling(opened: Opened, index: str) -> None:
    """What rushes by has no pictures; they come when the list rests."""
    page = await opened.open(index)
    without = await page.evaluate(
        """() => new Promise((resolve) => {
            const box = document.getElementById('scroller');
            let frames = 0;
            const next = () => {
                box.scrollTop += 3000;
                frames += 1;
                if (frames < 20) return requestAnimationFrame(next);
                const cells = imagebatch.app.grid.cells.filter((cell) => !cell.element.hidden);
                return resolve(cells.filter((cell) => !cell.image.getAttribute('src')).length);
            };
            requestAnimationFrame(next);
        })"""
    )
    assert without > 8
    await until(
        page, "imagebatch.app.grid.cells.every((cell) => cell.element.hidden || cell.image.getAttribute('src'))"
    )


async def test_a_search_begins_at_the_top_again(opened: Opened, index: str) -> None:
    """Wherever the list was, what was found is shown from its beginning."""
    page = await opened.open(index)
    await page.evaluate("document.getElementById('scroller').scrollTop = 5000")
    await page.fill("#search", "job-024")
    await until(page, "document.getElementById('count').textContent.startsWith('100 of')")
    assert (await page.evaluate(_SHOWN))[0][:2] == [0, "job-02400"]


async def test_what_is_too_much_for_a_page_comes_in_parts(opened: Opened, index: str) -> None:
    """A part is loaded alone, its rows have their own numbers, and the address says which one it is."""
    page = await opened.open(index)
    await page.evaluate(
        """() => {
            const { table } = imagebatch.app;
            table.facts.rowsPerPart = table.facts.rowsPerChunk;
            imagebatch.app.buildParts();
            imagebatch.app.loadPart();
        }"""
    )
    await until(page, "document.getElementById('count').textContent === '2,000 jobs, part 1 of 2'")
    await page.select_option("#part", "1")
    await until(page, "document.getElementById('count').textContent === '500 jobs, part 2 of 2'")
    assert (await page.evaluate(_SHOWN))[0][:2] == [0, "job-02000"]
    assert await page.evaluate("imagebatch.app.table.has(0)") is False
    assert "part=2" in await page.evaluate("location.hash")
    await page.evaluate("imagebatch.app.openJob('job-02499')")
    await until(page, "document.querySelector('.facts dl') !== null")
    assert await page.text_content("#detail-title") == "job-02499"
    assert opened.errors == []
