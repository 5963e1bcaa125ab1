"""References are pictures by content, whole, under one folder, and read once."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from batch.core.errors import InputError
from batch.manifest import load_manifest
from batch.manifest.references import references

if TYPE_CHECKING:
    from tests.manifest.conftest import Folder


def with_reference(name: str) -> str:
    return f"jobs: [{{id: a, prompt: x, references: ['{name}']}}]"


def bytes_of(kind: str, size: tuple[int, int] = (64, 64)) -> bytes:
    out = io.BytesIO()
    Image.effect_noise(size, 90).convert("RGB").save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize(
    ("kind", "mime"),
    [
        ("PNG", "image/png"),
        ("JPEG", "image/jpeg"),
        ("WEBP", "image/webp"),
        ("GIF", "image/gif"),
        ("BMP", "image/bmp"),
        ("TIFF", "image/tiff"),
        ("AVIF", "image/avif"),
        ("MPO", "image/jpeg"),
    ],
)
def test_content_decides_what_a_picture_is(folder: Folder, kind: str, mime: str) -> None:
    """The name's ending plays no part; hash and size are those of the file's bytes."""
    data = bytes_of(kind)
    file = folder.write("photos/x.dat", data)

    [job] = folder.jobs(with_reference("photos/x.dat"))
    [reference] = job.references

    assert (reference.name, reference.file, reference.mime) == ("photos/x.dat", file.resolve(), mime)
    assert (reference.sha256, reference.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF"])
def test_a_cut_picture_is_refused(folder: Folder, kind: str) -> None:
    """Half a file would be uploaded and paid for."""
    data = bytes_of(kind)
    folder.write("x.png", data[: len(data) * 3 // 4])

    [problem] = folder.problems(with_reference("x.png"))

    assert problem.startswith('m.yaml:1:40: job "a": reference x.png is damaged or cut off (') or problem.endswith(
        "is not a picture that can be read; a reference must be a PNG, JPEG, WEBP, GIF, BMP, TIFF, AVIF or JPEG 2000"
    )


def png_header(width: int, height: int, *, interlaced: bool = False) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, interlaced)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return start + struct.pack(">I", 99) + b"IDAT"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"\x01\x02\x03", "is not a picture that can be read; a reference must be a PNG, JPEG"),
        (b"<html><body>", "is a web page; a reference must be a PNG, JPEG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG; a reference must be a PNG, JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "is a PostScript file; a reference must be"),
        (png_header(30_000, 30_000), "has 30000x30000 pixels, more than 250 million; make it smaller"),
        (
            png_header(12_000, 12_000, interlaced=True),
            "has 12000x12000 pixels, more than 120 million; make it smaller or save it as a baseline JPEG",
        ),
    ],
)
def test_what_is_no_picture_is_refused(folder: Folder, content: bytes, expected: str) -> None:
    """Text, scripts and bombs are found by their content."""
    folder.write("x.png", content)

    assert f'job "a": reference x.png {expected}' in folder.problems(with_reference("x.png"))[0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nothing.png", "does not exist"),
        (r"photos\x.png", "does not exist; write / between folders"),
        (".", "lies outside reference_root"),
        ("photos", "is not a regular file"),
        ("pipe", "is not a regular file"),
        ("../outside.png", "lies outside reference_root"),
        ("/etc/passwd", "lies outside reference_root"),
        ("link.png", "lies outside reference_root"),
        ("photos/../../outside.png", "lies outside reference_root"),
    ],
)
def test_what_may_not_be_uploaded_is_refused(folder: Folder, name: str, expected: str) -> None:
    """Only regular files under the manifest's folder, wherever links and dots lead."""
    inside = folder.path / "shop"
    (inside / "photos").mkdir(parents=True)
    os.mkfifo(inside / "pipe")
    folder.picture("outside.png")
    (inside / "link.png").symlink_to(folder.path / "outside.png")
    manifest = load_manifest(folder.write("shop/m.yaml", with_reference(name)))

    with pytest.raises(InputError) as caught:
        list(manifest.check())

    assert expected in str(caught.value)


def test_reference_root_opens_another_folder(folder: Folder) -> None:
    """Naming the folder is the user's word that its pictures may leave the house."""
    folder.picture("photos/x.png")
    text = "reference_root: ..\n" + with_reference("../photos/x.png")

    [job] = load_manifest(folder.write("shop/m.yaml", text)).check()

    assert job.references[0].file == (folder.path / "photos/x.png").resolve()


def test_a_link_inside_the_folder_is_fine(folder: Folder) -> None:
    """A link is judged by where it leads."""
    folder.picture("real.png")
    (folder.path / "link.png").symlink_to("real.png")

    assert folder.jobs(with_reference("link.png"))[0].references[0].file == (folder.path / "real.png").resolve()


def test_each_file_is_read_once(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand rows with the same two pictures read two pictures, in all passes together."""
    folder.picture("a.png")
    folder.picture("b.png")
    folder.write("t.csv", "n,file\n" + "".join(f"{n},{'ab'[n % 2]}.png\n" for n in range(1000)))
    read: list[str] = []
    examined = references.examined

    def watched(file: str) -> Any:
        read.append(file)
        return examined(file)

    monkeypatch.setattr(references, "examined", watched)

    folder.jobs('rows: t.csv\njobs: [{prompt: "{{ n }}", references: ["{{ file }}"]}]')

    assert len(read) == 2


def test_a_picture_that_changes_is_looked_at_again(folder: Folder) -> None:
    """A later pass sees the file as it is then."""
    folder.picture("x.png")
    manifest = load_manifest(folder.write("m.yaml", with_reference("x.png")))
    [before] = manifest.check()
    folder.picture("x.png", size=(9, 9))
    [after] = manifest.jobs()
    assert before.references[0].sha256 != after.references[0].sha256

    folder.write("x.png", b"no picture")
    with pytest.raises(InputError, match="not a picture"):
        list(manifest.jobs())


def test_references_of_rows_name_row_and_job(folder: Folder) -> None:
    """A missing photo is found in the table; a picture all rows share is told once."""
    folder.write("t.csv", "Handle\nkite\nboat\n")
    own = 'rows: t.csv\njobs: [{id: "{{ Handle }}", prompt: "{{ Handle }}", references: ["{{ Handle }}.png"]}]'
    shared = 'rows: t.csv\njobs: [{prompt: "{{ Handle }}", references: [logo.png]}]'

    assert folder.problems(own) == [
        't.csv:2: column "Handle": job "kite": reference kite.png does not exist',
        't.csv:3: column "Handle": job "boat": reference boat.png does not exist',
    ]
    assert folder.problems(shared) == ["m.yaml:2:46: reference logo.png does not exist"]


def test_pictures_of_a_job_keep_their_order(folder: Folder) -> None:
    """The first picture decides the ratio, so order matters; defaults give way to the job's own."""
    for name in "abc":
        folder.picture(f"{name}.png")
    text = "defaults: {references: [a.png]}\njobs: [{prompt: x}, {prompt: y, references: [c.png, b.png]}]"

    assert [[reference.name for reference in job.references] for job in folder.jobs(text)] == [
        ["a.png"],
        ["c.png", "b.png"],
    ]
