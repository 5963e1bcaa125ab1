"""An answer's addresses become pictures, whatever else is among them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from batch.core.errors import AttemptError, Undelivered, Unusable
from batch.core.lane import Lane
from batch.core.model import Job
from batch.providers.base import Answer, Blob, Picture, Received, Request, Spool
from batch.runner.delivery import delivered
from tests.providers.conftest import MemorySpool
from tests.support.fakes import FakeClock
from tests.support.picture_host import png

SMALL, LARGE, OTHER = png(8), png(64), png(64, 9)
PAGE = b"<!doctype html><p>log in"
LATER, GONE = Undelivered("download_failed", "answered 503"), Unusable("download_gone", "answered 404", retries=0)
SAID = Unusable("text_only", "an answer without a picture; it said: no", retries=1)


class Shelf:
    """A provider whose downloads come from a mapping; a list is given out in turn."""

    def __init__(self, folder: Path, files: Mapping[str, Any]) -> None:
        self._folder = folder
        self._files = dict(files)
        self.asked: list[str] = []

    async def prepare(self, job: Job, lane: Lane = Lane.STANDARD) -> Request:
        raise AssertionError("nothing is bought here")

    async def send(self, request: Request, attempt_id: str, spool: Spool) -> Received:
        raise AssertionError("nothing is sent here")

    def unpacked(self, received: Received, spool: Spool) -> Received:
        return received

    def interpret(self, received: Received) -> Answer:
        raise AssertionError("nothing is read here")

    async def download(self, url: str, spool: Spool) -> Blob:
        self.asked.append(url)
        found = self._files[url]
        found = found.pop(0) if isinstance(found, list) else found
        if isinstance(found, AttemptError):
            raise found
        file = self._folder / f"{len(self.asked)}"
        file.write_bytes(found)
        return Blob(file=str(file), size_bytes=len(found))

    def read(self, picture: Picture) -> bytes:
        assert picture.blob is not None
        return Path(picture.blob.file).read_bytes()


async def deliver(folder: Path, files: Mapping[str, Any], *pictures: Picture) -> tuple[list[bytes], Answer]:
    """The bytes of the pictures that came, in order, and the answer."""
    shelf = Shelf(folder, files)
    answer = Answer(pictures=pictures, otherwise=SAID)
    answer = await delivered(answer, shelf, MemorySpool(folder), FakeClock())
    return [shelf.read(picture) for picture in answer.pictures], answer


def field(url: str) -> Picture:
    return Picture(url=url, rank=1, likely=True)


def words(url: str, *, likely: bool = False) -> Picture:
    return Picture(url=url, rank=2, likely=likely)


async def test_pages_and_dead_links_among_pictures_are_passed_over(tmp_path: Path) -> None:
    """One address of a sentence is a picture; a page, one that is gone and one that is silent are no failure."""
    files = {"page": PAGE, "gone": GONE, "picture": LARGE, "silent": LATER}
    found, answer = await deliver(tmp_path, files, *map(words, files))
    assert found == [LARGE]
    assert len(answer.warnings) == 3


async def test_the_largest_picture_is_the_result(tmp_path: Path) -> None:
    """A thumbnail may stand before or behind the picture; of two alike the last is taken. All are kept."""
    found, _ = await deliver(tmp_path, {"a": LARGE, "b": SMALL}, field("a"), field("b"))
    assert found == [SMALL, LARGE]
    found, _ = await deliver(tmp_path, {"a": LARGE, "b": OTHER}, words("a"), words("b"))
    assert found == [LARGE, OTHER]


async def test_words_are_opened_only_if_no_field_leads_to_a_picture(tmp_path: Path) -> None:
    """An address in a sentence may be a source's, so it comes second."""
    found, _ = await deliver(tmp_path, {"a": SMALL, "b": LARGE}, words("b"), field("a"))
    assert found == [SMALL]
    found, _ = await deliver(tmp_path, {"a": PAGE, "b": LARGE}, field("a"), words("b"))
    assert found == [LARGE]


@pytest.mark.parametrize("picture", [Picture(url="a"), field("a"), words("a", likely=True)])
async def test_a_picture_that_may_come_later_is_waited_for(tmp_path: Path, picture: Picture) -> None:
    """Four tries, and then the answer waits, even if a smaller picture is there already."""
    with pytest.raises(Undelivered):
        await deliver(tmp_path, {"a": LATER, "b": SMALL}, picture, words("b"))


async def test_a_download_that_works_the_fourth_time_is_a_picture(tmp_path: Path) -> None:
    """Hosts of pictures need a moment, too."""
    found, answer = await deliver(tmp_path, {"a": [LATER, LATER, LATER, LARGE]}, field("a"))
    assert (found, answer.warnings) == ([LARGE], ())


async def test_an_address_that_is_hardly_a_picture_is_tried_once(tmp_path: Path) -> None:
    """A silent host costs minutes; without another picture the answer waits all the same."""
    shelf = Shelf(tmp_path, {"a": LATER})
    with pytest.raises(Undelivered):
        await delivered(Answer(pictures=(words("a"),)), shelf, MemorySpool(tmp_path), FakeClock())
    assert shelf.asked == ["a"]


async def test_one_of_two_certain_pictures_is_kept_when_the_other_is_gone(tmp_path: Path) -> None:
    """What came is kept, with a warning."""
    found, answer = await deliver(tmp_path, {"a": LARGE, "b": GONE}, Picture(url="a"), Picture(url="b"))
    assert found == [LARGE]
    assert "answered 404" in answer.warnings[0]


async def test_sources_of_a_refusal_leave_it_what_it_is(tmp_path: Path) -> None:
    """Words with links to pages are an answer without a picture; the failure names the addresses."""
    with pytest.raises(Unusable, match=r"it said: no.*is no picture") as caught:
        await deliver(tmp_path, {"https://policy.example/p?x=1": PAGE}, words("https://policy.example/p?x=1"))
    assert caught.value.code == "text_only"
    assert "policy.example" in caught.value.message
    assert "x=1" not in caught.value.message


@pytest.mark.parametrize(
    ("what", "code", "retries"),
    [
        (PAGE, "bad_image", 0),
        (b"%PDF-1.7\n", "bad_image", 0),
        (LARGE[:-30], "bad_image", 1),
        (GONE, "download_gone", 0),
    ],
    ids=["page", "pdf", "damaged", "gone"],
)
async def test_a_lost_picture_is_named(tmp_path: Path, what: Any, code: str, retries: int) -> None:
    """An address written as a picture's that leads to none is what went wrong; only damage is worth buying again."""
    with pytest.raises(Unusable, match=r"h\.example") as caught:
        await deliver(tmp_path, {"https://h.example/a": what}, field("https://h.example/a"))
    assert (caught.value.code, caught.value.retries) == (code, retries)
