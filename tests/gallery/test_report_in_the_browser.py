"""The report's page in a real browser: its policy, its style, and whether everybody can read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from batch.analysis import read_figures, report_page
from tests.gallery.conftest import Opened
from tests.support.browser import violations
from tests.support.written_output import WrittenOutput, picture_bytes

pytestmark = pytest.mark.asyncio(loop_scope="session")
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


async def test_the_report_is_styled_silent_and_readable(opened: Opened, tmp_path: Path) -> None:
    """Its policy lets its own style through and nothing else; axe finds nothing; hostile words do nothing."""
    output = WrittenOutput(tmp_path / "out", endpoint=HOSTILE)
    for number in range(30):
        output.done(f"job-{number}", data=picture_bytes((8 * number, 90, 90)), usd=0.05)
    output.failed(HOSTILE)
    page_file = tmp_path / "report.html"
    page_file.write_text(report_page(read_figures(output.finish())), encoding="utf-8")
    await opened.page.goto(page_file.as_uri())

    assert await violations(opened.page) == []
    assert (opened.errors, opened.dialogs) == ([], [])
    assert opened.requests == [page_file.as_uri()]
    await opened.page.emulate_media(color_scheme="dark")
    drawn = "getComputedStyle(document.querySelector('.bar')).fill"
    assert await opened.page.evaluate(drawn) == "rgb(106, 169, 218)"
    assert await opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
