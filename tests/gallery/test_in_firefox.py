"""The gallery in another browser: what its screenshot shows, since Playwright drives only Firefox builds of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from PIL import Image

from batch.gallery import build_gallery
from tests.support.browser import FIREFOX
from tests.support.written_output import WrittenOutput, picture_bytes

_NEAR = 24


@pytest.mark.skipif(not FIREFOX, reason="no firefox on the path")
def test_firefox_shows_thumbnails_from_disk(tmp_path: Path) -> None:
    """Scripts, styles, rows and thumbnails load under the page's own policy: the colours are on the screen."""
    output = WrittenOutput(tmp_path / "out")
    colours = {"first": (200, 30, 120), "second": (20, 140, 220)}
    for job, colour in colours.items():
        output.done(job, data=picture_bytes(colour, (256, 256)), size=(256, 256))
    built = build_gallery(output.finish(), workers=0)
    shot = tmp_path / "shot.png"
    (tmp_path / "profile").mkdir()
    subprocess.run(
        [
            *(FIREFOX, "--headless", "--profile", str(tmp_path / "profile"), "--window-size=1000,700"),
            *("--screenshot", str(shot), built.index.as_uri()),
        ],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "MOZ_DISABLE_CONTENT_SANDBOX": "1"},
        check=True,
        capture_output=True,
        timeout=110,
    )
    with Image.open(shot) as picture:
        counts = picture.convert("RGB").getcolors(picture.width * picture.height)
    assert counts is not None
    for job, colour in colours.items():
        assert sum(count for count, found in counts if is_near(found, colour)) > 10_000, job


def is_near(found: object, colour: tuple[int, int, int]) -> bool:
    assert isinstance(found, tuple)
    return all(abs(level - wanted) < _NEAR for level, wanted in zip(found, colour, strict=True))
