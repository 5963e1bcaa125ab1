"""Thumbnails while a run is on, and pages when it ends."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from batch.core.events import JobEnded, RunStart, RunStarted
from batch.core.model import AttemptFacts, Done, Image, Job
from batch.gallery.spare_time import ThumbnailsInSpareTime, make_thumbnails
from tests.support.written_output import WrittenOutput, picture_bytes


def an_output(folder: Path) -> tuple[Path, list[tuple[str, str]]]:
    """A folder with pictures, and their hashes and paths."""
    output = WrittenOutput(folder / "out")
    stored = [output.done(name, data=picture_bytes(name)) for name in ("red", "green", "blue")]
    return output.finish(), [(image.sha256, image.path) for image in stored]


def ended(sha256: str, path: str) -> JobEnded:
    image = Image(path=path, mime="image/png", width=64, height=64, size_bytes=1, sha256=sha256)
    facts = AttemptFacts(number=1, seconds=1.0, cost_usd=0.0)
    return JobEnded(Done(job=Job(id="a", prompt="", model=""), attempt=facts, images=(image,)), in_flight=0)


def started(output: Path) -> RunStarted:
    return RunStarted(
        RunStart(name="n", output=str(output), endpoint="e", jobs=3, done=0, to_do=3, concurrency=1, expected_usd=0.0)
    )


def thumbnails(output: Path) -> set[str]:
    return {file.stem for file in output.glob("gallery/thumbs/*/*.webp")}


def test_told_pictures_get_thumbnails_and_others_stop_nothing(tmp_path: Path) -> None:
    """Lines are made one by one; one that is no picture, or has no file any more, is passed over."""
    output, pictures = an_output(tmp_path)
    lines = [f"{'0' * 64} images/gone.png", f"{'1' * 64} ledger.jsonl", "nonsense"]
    lines += [f"{sha256} {path}" for sha256, path in pictures]
    make_thumbnails(output, io.BytesIO("".join(f"{line}\n" for line in lines).encode()))
    assert thumbnails(output) == {sha256 for sha256, _ in pictures}


def test_a_listener_has_them_made_by_a_process_without_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures of a run appear as thumbnails while it is on; the process ends with it."""
    monkeypatch.setenv("ANYFAST_API_KEY", "sk-secret")
    output, pictures = an_output(tmp_path)
    listener = ThumbnailsInSpareTime()
    listener.on_event(started(output))
    [process] = children(str(output))
    assert b"sk-secret" not in Path(f"/proc/{process}/environ").read_bytes()
    for picture in pictures:
        listener.on_event(ended(*picture))
    deadline = time.monotonic() + 100
    while len(thumbnails(output)) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert thumbnails(output) == {sha256 for sha256, _ in pictures}
    listener.close()
    assert children(str(output)) == []


def children(output: str) -> list[int]:
    """Processes whose command line ends with a folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[-2:-1] == [os.fsencode(output)]:
            found.append(int(folder.name))
    return found


def test_a_process_that_reads_nothing_holds_no_run_up(tmp_path: Path) -> None:
    """However many pictures come, telling them returns at once; the rest is left to the build."""
    output, [picture, *_] = an_output(tmp_path)
    (output / "gallery").symlink_to(tmp_path)  # so that it ends at once, and the pipe has no reader
    listener = ThumbnailsInSpareTime()
    listener.on_event(started(output))
    for _ in range(20_000):
        listener.on_event(ended(*picture))
    listener.close()
    assert not (tmp_path / "thumbs").exists()


def test_a_run_with_gallery_ends_with_pages(tmp_path: Path) -> None:
    """`run --gallery` names the page at its end; without it no folder is made. The exit code is the run's."""
    manifest = tmp_path / "m.yaml"
    jobs = [{"id": each, "prompt": f"a cup {each}"} for each in "abc"]
    manifest.write_text(json.dumps({"provider": "simulator", "defaults": {"image_size": 512}, "jobs": jobs}))
    argv = [sys.executable, "-P", "-m", "batch", "run", str(manifest), "-o", str(tmp_path / "out")]
    subprocess.run(argv, check=True, capture_output=True, timeout=100)
    assert not (tmp_path / "out/gallery").exists()
    told = subprocess.run([*argv, "--gallery"], check=True, capture_output=True, text=True, timeout=100).stderr
    assert f"gallery    {tmp_path}/out/gallery/index.html" in told
    assert len(thumbnails(tmp_path / "out")) == 3
    (tmp_path / "out/gallery/index.html").unlink()
    (tmp_path / "out/gallery/index.html").mkdir()
    failed = subprocess.run([*argv, "--gallery"], check=True, capture_output=True, text=True, timeout=100).stderr
    assert "no gallery was made: cannot write" in failed
