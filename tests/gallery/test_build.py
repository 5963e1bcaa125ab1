"""Building: what is written, what is left alone, and what stops nothing."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from batch.core.errors import OutputError
from batch.gallery import build_gallery
from batch.gallery.files import GalleryFiles
from batch.store.records import ReferenceRecord
from tests.support.written_output import WrittenOutput, picture_bytes


def an_output(folder: Path, *, jobs: int = 3) -> WrittenOutput:
    output = WrittenOutput(folder / "out", manifest=str(folder / "m.yaml"))
    for number in range(jobs):
        output.done(f"job-{number:05}", data=picture_bytes((number % 256, 90, 90)))
    return output


def files_of(folder: Path) -> dict[str, int]:
    """Every file below a folder, and when it was written."""
    return {
        str(file.relative_to(folder)): file.stat().st_mtime_ns for file in sorted(folder.rglob("*")) if file.is_file()
    }


def named_by(index: Path) -> list[Path]:
    """The files that a page needs: those it names, and those that its index of rows names."""
    page = index.read_text("utf-8")
    names = [part.split('"')[0] for part in page.split('src="')[1:] + page.split('href="')[1:]]
    own = [name for name in names if name.startswith(("assets/", "data/"))]
    [facts] = [name for name in own if name.startswith("data/index.")]
    told = json.loads((index.parent / facts).read_text("ascii").split(",", 2)[2].rstrip(");\n"))
    return [index.parent / name for name in (*own, *told["chunks"], *told["details"])]


def test_a_second_build_writes_nothing(tmp_path: Path) -> None:
    """Nothing has changed, so no file is touched."""
    output = an_output(tmp_path).finish()
    build_gallery(output, workers=0)
    before = files_of(output)
    built = build_gallery(output, workers=0)
    assert (built.written, built.thumbnails) == (0, 0)
    assert files_of(output) == before


def test_a_build_writes_what_has_changed_and_sweeps_what_was_replaced(tmp_path: Path) -> None:
    """Of 2,001 jobs the last one is made again: its rows and details are written anew, the other files stay."""
    writing = WrittenOutput(tmp_path / "out")
    for number in range(2_001):
        writing.failed(f"job-{number:05}")
    writing.finish()
    build_gallery(tmp_path / "out", workers=0)
    before = files_of(tmp_path / "out/gallery")
    writing.done("job-02000")
    build_gallery(writing.finish(), workers=0)
    after = files_of(tmp_path / "out/gallery")
    new = sorted(name.split(".")[0] for name, _ in after.items() - before.items())
    assert new[:4] == ["data/00001", "data/details-00010", "data/index", "index"]
    assert new[4].startswith("thumbs/")
    assert len(after) == len(before) + 1  # the thumbnail; what was replaced is gone


def test_a_build_cut_short_leaves_the_old_pages_whole(tmp_path: Path) -> None:
    """New files have names of their own, so until index.html is replaced the old one finds all of its own."""
    writing = an_output(tmp_path)
    built = build_gallery(writing.finish(), workers=0)
    files = GalleryFiles(built.folder)
    files.add("data", "00000", ".js", b"new rows")
    files.add("assets", "app", ".js", b"a new version")
    needed = named_by(built.index)
    assert len(needed) > 10
    assert [file for file in needed if not file.is_file()] == []


def test_pictures_that_cannot_be_read_stop_nothing(tmp_path: Path) -> None:
    """Cut off, empty, no picture, a link, a FIFO, too many pixels: each is counted, the others get thumbnails."""
    output = an_output(tmp_path)
    whole = picture_bytes(size=(400, 400))
    output.done("cut", data=whole[: len(whole) // 2])
    output.done("empty", data=b"")
    output.done("text", data=b"<html>no picture</html>")
    huge = bytearray(whole)
    huge[16:24] = (65_000).to_bytes(4, "big") * 2
    output.done("huge", data=bytes(huge))
    for name in ("link", "fifo"):
        output.done(name, data=name.encode())
        (tmp_path / f"out/images/{name}.png").unlink()
    (tmp_path / "out/images/link.png").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "out/images/fifo.png")
    built = build_gallery(output.finish(), workers=0)
    assert built.entries == 9
    assert built.thumbnails == 3
    assert len(list(built.folder.glob("thumbs/*/*.webp"))) == 3
    assert built.unreadable >= 4


def test_thumbnails_are_made_by_processes(tmp_path: Path) -> None:
    """Many pictures are shared out; the result is the same, and progress is told."""
    output = an_output(tmp_path, jobs=30).finish()
    told: list[tuple[int, int]] = []
    built = build_gallery(output, workers=2, told=lambda made, of: told.append((made, of)))
    assert (built.thumbnails, built.unreadable) == (30, 0)
    assert told[-1] == (30, 30)


def test_a_thumbnail_is_upright_and_small(tmp_path: Path) -> None:
    """A photo that was held on its side stands as people see it, with its longer side of 256 pixels."""
    output = WrittenOutput(tmp_path / "out")
    turned = Image.Exif()
    turned[0x0112] = 6
    file = tmp_path / "turned.jpg"
    Image.new("RGB", (800, 400), "red").save(file, "JPEG", exif=turned)
    image = output.done("held", data=file.read_bytes(), size=(800, 400))
    built = build_gallery(output.finish(), workers=0)
    with Image.open(built.folder / f"thumbs/{image.sha256[:2]}/{image.sha256}.webp") as small:
        assert small.size == (128, 256)


def test_a_folder_elsewhere_is_complete_and_originals_stay(tmp_path: Path) -> None:
    """With `to`, the pages refer to nothing outside their folder: every picture has a second name there."""
    output = an_output(tmp_path).finish()
    before = {file.name: file.read_bytes() for file in (output / "images").iterdir()}
    built = build_gallery(output, tmp_path / "shown", workers=0)
    assert {file.name: file.read_bytes() for file in (built.folder / "images").iterdir()} == before
    assert not (output / "gallery").exists()
    assert all("../" not in file.read_text("ascii") for file in built.folder.glob("data/*.js"))
    again = build_gallery(output, tmp_path / "shown", workers=0)
    assert again.written == 0


def test_a_folder_elsewhere_gets_no_links(tmp_path: Path) -> None:
    """What has been put in a picture's place and leads elsewhere is not handed on."""
    writing = an_output(tmp_path)
    output = writing.finish()
    (output / "images/job-00001.png").unlink()
    (output / "images/job-00001.png").symlink_to("/etc/hostname")
    built = build_gallery(output, tmp_path / "shown", workers=0)
    assert sorted(file.name for file in (built.folder / "images").iterdir()) == ["job-00000.png", "job-00002.png"]


def test_a_reference_is_shown_while_it_is_what_was_sent(tmp_path: Path) -> None:
    """A copy is made of a file with the recorded hash, not of one that has changed or is gone; no page has its path."""
    output = WrittenOutput(tmp_path / "out", manifest=str(tmp_path / "m.yaml"))
    (tmp_path / "photos").mkdir()
    sent = {name: picture_bytes(name, (1500, 300)) for name in ("red", "green", "blue")}
    for name, data in sent.items():
        (tmp_path / f"photos/{name}.png").write_bytes(data)
        reference = ReferenceRecord(f"photos/{name}.png", hashlib.sha256(data).hexdigest())
        output.done(name, data=picture_bytes(name), references=[reference])
    absolute = ReferenceRecord(str(tmp_path / "photos/red.png"), hashlib.sha256(sent["red"]).hexdigest())
    output.done("absolute", references=[absolute])
    (tmp_path / "photos/green.png").write_bytes(picture_bytes("pink"))
    (tmp_path / "photos/blue.png").unlink()
    built = build_gallery(output.finish(), workers=0)
    [copy] = built.folder.glob("references/*/*.webp")
    assert copy.stem == absolute.sha256
    with Image.open(copy) as small:
        assert small.size == (1024, 205)
    assert all(str(tmp_path) not in file.read_text("ascii") for file in built.folder.glob("data/*.js"))


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    """The gallery is never written through a link to somewhere else."""
    output = an_output(tmp_path).finish()
    (tmp_path / "elsewhere").mkdir()
    (output / "gallery").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="is a link; move it away"):
        build_gallery(output, workers=0)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_folder_without_a_ledger_is_refused(tmp_path: Path) -> None:
    """There is nothing to show, and nothing is written."""
    with pytest.raises(OutputError, match="holds no ledger"):
        build_gallery(tmp_path)
    assert list(tmp_path.iterdir()) == []
