"""When a run makes a gallery: as the command line says, or else the manifest, or else on a terminal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from batch.cli.run_gallery import RunGallery
from batch.core.events import RunStart, RunStarted

MANIFEST = """\
provider: {profile: simulator, simulator: {pictures: plain}}
defaults: {image_size: 512}
jobs: [{id: cup, prompt: a cup}]
"""


def run(folder: Path, more: str = "", *options: str) -> tuple[bool, str]:
    """Whether a run without a terminal left a gallery, and what it said."""
    (folder / "m.yaml").write_text(more + MANIFEST)
    command = [sys.executable, "-P", "-m", "batch", "run", "m.yaml", "-o", "out", *options]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    return (folder / "out/gallery/index.html").exists(), ran.stderr


def test_without_a_terminal_none_is_made(tmp_path: Path) -> None:
    """Cron wants pictures, not pages."""
    assert run(tmp_path)[0] is False


def test_a_manifest_that_wants_one_gets_it(tmp_path: Path) -> None:
    """With thumbnails, and its address at the end."""
    made, said = run(tmp_path, "gallery: true\n")

    assert made
    assert said.splitlines()[-1] == "  gallery    out/gallery/index.html"
    assert len(list((tmp_path / "out/gallery/thumbs").rglob("*.webp"))) == 1


def test_the_command_line_comes_before_the_manifest(tmp_path: Path) -> None:
    """Both ways; a run with nothing to do makes one as well, if it is asked to."""
    assert run(tmp_path, "gallery: true\n", "--no-gallery")[0] is False
    assert run(tmp_path, "gallery: false\n", "--gallery")[0] is True


@pytest.mark.parametrize(
    ("said", "manifest", "to_do", "quiet", "wanted"),
    [
        (None, None, 3, False, True),
        (None, None, 0, False, False),
        (None, None, 3, True, False),
        (None, False, 3, False, False),
        (False, True, 3, False, False),
        (True, None, 0, True, True),
    ],
)
def test_on_a_terminal_new_pictures_get_pages(
    tmp_path: Path, *, said: bool | None, manifest: bool | None, to_do: int, quiet: bool, wanted: bool
) -> None:
    """Unless someone said otherwise, or wants to hear nothing."""
    gallery = RunGallery(said=said, quiet=quiet, at_terminal=lambda: True)
    start = RunStart(
        name="n",
        output=str(tmp_path),
        endpoint="e",
        jobs=3,
        done=0,
        to_do=to_do,
        concurrency=1,
        expected_usd=0.0,
        gallery=manifest,
    )
    gallery.on_event(RunStarted(start))
    gallery.close()

    assert gallery.wanted is wanted
