"""From answers to named files: which names, what is refused, what is only remarked upon."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from batch.core.errors import StorageError, Unusable
from batch.core.model import Image
from batch.core.picture_warnings import WarningKind, read_warning
from batch.providers.base import Answer, Blob, Picture
from batch.store.disk_reserve import DiskReserve
from batch.store.picture_check import BadPicture
from batch.store.pictures import adopt_picture, store_pictures
from batch.store.places import shelf_of
from batch.store.spool import AttemptSpool


@pytest.fixture
def keep(tmp_path: Path, make: Any) -> Any:
    """Stores pictures as the store would, each call a new attempt."""
    for name in ("images", "spool"):
        (tmp_path / name).mkdir()
    numbers = iter(range(1, 100))

    def keep(*pictures: bytes, version: int = 0, decode: bool = False, job: Any = None, answer: Any = None) -> Any:
        job = job or make.job()
        spool = AttemptSpool(str(tmp_path / "spool"), f"{job.id}~{next(numbers)}", DiskReserve(str(tmp_path)))
        if answer is None:
            _, answer = make.receive(spool, *pictures)
        return store_pictures(shelf_of(tmp_path), job, answer.pictures, spool, version=version, decode=decode)

    return keep


def names(tmp_path: Path) -> list[str]:
    return sorted(os.listdir(tmp_path / "images"))


@pytest.mark.parametrize(("kind", "name"), [("PNG", "shirt.png"), ("JPEG", "shirt.jpg"), ("WEBP", "shirt.webp")])
def test_the_bytes_decide_the_extension(keep: Any, make: Any, tmp_path: Path, kind: str, name: str) -> None:
    """Never the declared type, never a name from outside."""
    data = make.picture(kind)

    (image,), warnings = keep(data)

    assert names(tmp_path) == [name]
    assert (tmp_path / image.path).read_bytes() == data
    assert (image.width, image.height, image.size_bytes) == (512, 512, len(data))
    assert (image.sha256, warnings) == (hashlib.sha256(data).hexdigest(), ())


def test_the_last_of_several_pictures_is_the_result(keep: Any, make: Any, tmp_path: Path) -> None:
    """Earlier ones are kept under numbers: they were paid for too."""
    pictures = [make.picture(color=color) for color in ("red", "green", "blue")]

    images, _ = keep(*pictures)

    assert [image.path for image in images] == ["images/shirt~1.png", "images/shirt~2.png", "images/shirt.png"]
    assert (tmp_path / "images/shirt.png").read_bytes() == pictures[-1]


def test_a_later_version_gets_a_name_of_its_own(keep: Any, make: Any, tmp_path: Path) -> None:
    """P13: the old picture stays."""
    keep(make.picture(color="red"))

    keep(make.picture(color="blue"), version=1)
    keep(make.picture(color="green"), version=2)

    assert names(tmp_path) == ["shirt.png", "shirt~v2.png", "shirt~v3.png"]


def test_a_name_taken_by_something_else_is_left_alone(keep: Any, make: Any, tmp_path: Path) -> None:
    """P14: the next free name is used and recorded."""
    (tmp_path / "images/shirt.png").write_bytes(b"somebody's own")
    (tmp_path / "images/shirt~x2.png").symlink_to("/nowhere")

    (image,), _ = keep(make.picture())

    assert image.path == "images/shirt~x3.png"
    assert (tmp_path / "images/shirt.png").read_bytes() == b"somebody's own"


def test_the_same_picture_under_the_name_is_taken_as_ours(keep: Any, make: Any, tmp_path: Path) -> None:
    """An earlier run named it and died before the ledger knew."""
    data = make.picture()
    keep(data)

    (image,), _ = keep(data)

    assert image.path == "images/shirt.png"
    assert names(tmp_path) == ["shirt.png"]


def test_a_damaged_result_is_unusable_and_nothing_is_named(keep: Any, make: Any, tmp_path: Path) -> None:
    """P2: not even the whole ones that came with it."""
    with pytest.raises(Unusable, match="damaged") as caught:
        keep(make.picture(), make.picture()[:-20])

    assert (caught.value.code, names(tmp_path)) == ("bad_image", [])


def test_a_damaged_companion_is_only_remarked_upon(keep: Any, make: Any) -> None:
    """The result is whole, and that was bought."""
    images, warnings = keep(make.picture()[:-20], make.picture())

    assert [image.path for image in images] == ["images/shirt.png"]
    assert warnings[0].startswith("damaged_beside: picture 1 of 2 is damaged")


@pytest.mark.parametrize(
    ("blob", "words"),
    [({"broken": "not base64 after 9 bytes"}, "not base64 after"), ({"is_base64": False}, "its data is not base64")],
)
def test_what_could_not_be_decoded_is_unusable(
    keep: Any, make: Any, tmp_path: Path, blob: dict[str, Any], words: str
) -> None:
    """Nothing is taken for a picture of which a part was never decoded."""
    (tmp_path / "blob").write_bytes(make.picture())
    answer = Answer(pictures=(Picture(blob=Blob(file=str(tmp_path / "blob"), size_bytes=1, **blob)),))

    with pytest.raises(Unusable, match=words):
        keep(answer=answer)


def test_a_picture_that_was_whole_before_its_base64_broke_is_kept(keep: Any, make: Any, tmp_path: Path) -> None:
    """What follows it in the string does it no harm, and is remarked upon."""
    data = make.picture()
    (tmp_path / "blob").write_bytes(data + b"!!stray")
    blob = Blob(file=str(tmp_path / "blob"), size_bytes=len(data) + 7, broken="not base64", decoded_bytes=len(data))
    (image,), warnings = keep(answer=Answer(pictures=(Picture(blob=blob),)))

    assert (image.path, [words.partition(":")[0] for words in warnings]) == ("images/shirt.png", ["trailing_bytes"])


def test_another_size_than_asked_for_is_a_warning(keep: Any, make: Any) -> None:
    """A paid picture is kept; the user is told."""
    (_,), warnings = keep(make.picture(size=(300, 300)))

    assert warnings == ("smaller: asked for 512, got 300x300",)


def test_a_wrong_declaration_and_bytes_after_the_end_are_warnings(keep: Any, make: Any, tmp_path: Path) -> None:
    """Odd, but whole."""
    (tmp_path / "blob").write_bytes(make.picture("JPEG") + b"junk")
    blob = Blob(file=str(tmp_path / "blob"), size_bytes=1)

    _, warnings = keep(answer=Answer(pictures=(Picture(blob=blob, declared_mime="image/png"),)))

    assert warnings == (
        "declared_type: declared image/png, is image/jpeg",
        "trailing_bytes: 4 bytes follow the picture's end",
    )


def test_a_short_picture_inside_the_answer_is_stored_too(keep: Any, make: Any, tmp_path: Path) -> None:
    """Not every picture is long enough for a file of its own while it arrives."""
    data = make.picture(size=(8, 8))

    keep(answer=Answer(pictures=(Picture(data=data),)))

    assert (tmp_path / "images/shirt.png").read_bytes() == data


def test_a_picture_whose_sync_fails_is_written_once_more(
    keep: Any, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W8: to a new file, for syncing the old one again would prove nothing."""
    data, synced, real = make.picture(), [], os.fsync

    def fail_once(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        if len(synced) == 1:
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fail_once)
    keep(data)

    assert (tmp_path / "images/shirt.png").read_bytes() == data
    assert (tmp_path / "images/shirt.png").stat().st_ino == synced[1] != synced[0]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_goes_on_failing_is_a_storage_error(
    keep: Any, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """P22: no name is given to what is not durable."""

    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)

    with pytest.raises(StorageError, match="cannot store a picture"):
        keep(make.picture())
    assert names(tmp_path) == []


def test_decoding_is_done_where_it_is_asked_for(keep: Any, make: Any) -> None:
    """`verify: decode` finds what structure does not show; a small file for its pixels is decoded in any case."""
    flat, out = bytearray(make.picture("WEBP", quality=80)), io.BytesIO()
    PIL.Image.effect_noise((128, 128), 90).convert("RGB").save(out, "WEBP", quality=90)
    detailed = bytearray(out.getvalue())
    for data in (flat, detailed):
        data[30:60] = b"\xa5" * 30

    (image,), _ = keep(bytes(detailed))
    assert image.path == "images/shirt.webp"
    for data, decode in ((detailed, True), (flat, True), (flat, False)):
        with pytest.raises(Unusable, match="cannot be decoded"):
            keep(bytes(data), decode=decode)


@pytest.mark.parametrize(
    ("data", "name", "retries"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG", 0),
        (b"%PDF-1.7 and so on and so on", "a PDF", 0),
        (b"<!DOCTYPE html><title>Not found</title>", "a web page", 0),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 60, "a HEIC picture", 0),
        (b"\x91\x02" * 60, "the picture is damaged", 1),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 60, "the picture is damaged", 1),
    ],
)
def test_another_kind_of_file_is_named_and_not_bought_again(keep: Any, data: bytes, name: str, retries: int) -> None:
    """The next answer will be the same; damage may be an accident of one."""
    with pytest.raises(Unusable) as caught:
        keep(data)

    assert (caught.value.code, caught.value.retries, caught.value.http_status) == ("bad_image", retries, 200)
    assert name in caught.value.message


@pytest.mark.parametrize(
    ("kind", "name"), [("AVIF", "shirt.avif"), ("GIF", "shirt.gif"), ("BMP", "shirt.bmp"), ("TIFF", "shirt.tif")]
)
def test_another_format_is_kept_with_a_word_about_it(
    keep: Any, make: Any, tmp_path: Path, kind: str, name: str
) -> None:
    """As it came, under an extension of its own."""
    data = make.picture(kind)

    (image,), warnings = keep(data)

    assert (image.path, (tmp_path / image.path).read_bytes()) == (f"images/{name}", data)
    assert [read_warning(text).kind for text in warnings] == [WarningKind.UNUSUAL_FORMAT]


def test_a_picture_without_its_end_is_kept_with_a_word_about_it(keep: Any, make: Any) -> None:
    """All of its pixels are there, and were paid for."""
    (image,), warnings = keep(make.picture("JPEG")[:-2])

    assert image.path == "images/shirt.jpg"
    assert [read_warning(text).kind for text in warnings] == [WarningKind.DAMAGED_FILE]


@pytest.mark.parametrize(
    ("data", "verify", "words"),
    [
        (b"abc", True, ""),
        (b"xyz", False, ""),
        (b"xyz", True, "is not the picture that was bought"),
        (b"ab", True, "is not the picture that was bought"),
        (b"ab", False, "is not the picture that was bought"),
        (None, True, "is gone"),
        (None, False, "is gone"),
    ],
)
def test_a_picture_is_taken_over_only_as_it_was_bought(
    tmp_path: Path, make: Any, data: bytes | None, verify: bool, words: str
) -> None:
    """By its size, and where that is asked for by its content; else no name is given, and the file is named."""
    other = tmp_path / "other"
    for folder in (tmp_path, other):
        (folder / "images").mkdir(parents=True)
    sha256 = hashlib.sha256(b"abc").hexdigest()
    image = Image(path="images/x.png", mime="image/png", width=1, height=1, size_bytes=3, sha256=sha256)
    if data is not None:
        (other / image.path).write_bytes(data)

    if words:
        with pytest.raises(BadPicture, match=f"^{other}/images/x.png {words}$"):
            adopt_picture(shelf_of(tmp_path), make.job(), shelf_of(other), [image], version=0, verify=verify)
        assert names(tmp_path) == []
    else:
        (taken,) = adopt_picture(shelf_of(tmp_path), make.job(), shelf_of(other), [image], version=0, verify=verify)
        assert (tmp_path / taken.path).read_bytes() == data
        assert names(tmp_path) == ["shirt.png"]
