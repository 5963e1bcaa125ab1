"""The contract `Shelf`, for each implementation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from batch.core.errors import StorageError
from batch.core.model import Image
from batch.store.contracts import Shelf
from batch.store.job_state import FileState
from batch.store.picture_folder import PictureFolder
from tests.support.in_memory import MemoryShelf

ABC, XYZ = b"abc", b"xyz"


@dataclass
class Place:
    """A shelf and a spool. `alter` changes what lies on the shelf, as a person might; without bytes it is removed."""

    shelf: Shelf
    spool: Path
    alter: Callable[[str, bytes | None], None]

    def spooled(self, data: bytes) -> str:
        file = self.spool / f"{len([*self.spool.iterdir()])}"
        file.write_bytes(data)
        return str(file)

    def lying(self, path: str) -> bytes:
        return Path(self.shelf.local(path)).read_bytes()


@pytest.fixture(params=["files", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    spool, output = tmp_path / "spool", tmp_path / "out"
    spool.mkdir()
    if request.param == "memory":
        shelf = MemoryShelf(output)

        def alter_in_memory(path: str, data: bytes | None) -> None:
            shelf.pictures.pop(path)
            if data is not None:
                shelf.pictures[path] = data

        return Place(shelf, spool, alter_in_memory)
    (output / "images").mkdir(parents=True)

    def alter(path: str, data: bytes | None) -> None:
        (output / path).unlink()
        if data is not None:
            (output / path).write_bytes(data)

    return Place(PictureFolder(str(output)), spool, alter)


def picture(data: bytes, path: str = "images/shirt.png") -> Image:
    digest = hashlib.sha256(data).hexdigest()
    return Image(path=path, mime="image/png", width=1, height=1, size_bytes=len(data), sha256=digest)


def test_what_was_put_lies_there_whole(place: Place) -> None:
    """The spooled file stays, for the spool to give back."""
    file = place.spooled(ABC)

    image = place.shelf.put(file, picture(ABC))
    place.shelf.sync()

    assert image == picture(ABC)
    assert place.lying(image.path) == ABC == Path(file).read_bytes()
    assert (place.shelf.taken(image.path), place.shelf.taken("images/hat.png")) == (True, False)


def test_a_name_may_have_folders(place: Place) -> None:
    """They are made with the first picture in them; names beside a taken one stay in its folder."""
    paths = ["images/acme/red/shirt.png", "images/acme/hat.png", "images/acme/red/shirt.png"]

    found = [
        place.shelf.put(place.spooled(data), picture(data, path))
        for path, data in zip(paths, (ABC, ABC, XYZ), strict=True)
    ]
    place.shelf.sync()

    assert [image.path for image in found] == [*paths[:2], "images/acme/red/shirt~x2.png"]
    assert [place.lying(image.path) for image in found] == [ABC, ABC, XYZ]
    assert place.shelf.taken("images/acme/red/shirt.png")


def test_a_name_with_other_bytes_is_left_alone(place: Place) -> None:
    """Both were paid for, or one is a person's."""
    place.shelf.put(place.spooled(ABC), picture(ABC))

    second, third = (place.shelf.put(place.spooled(data), picture(data)) for data in (XYZ, b"third"))

    assert (second.path, third.path) == ("images/shirt~x2.png", "images/shirt~x3.png")
    assert (place.lying("images/shirt.png"), place.lying(second.path)) == (ABC, XYZ)


def test_the_same_bytes_again_get_the_same_name(place: Place) -> None:
    """An earlier run came this far and died: what was paid for once lies there once."""
    first = place.shelf.put(place.spooled(ABC), picture(ABC))

    assert place.shelf.put(place.spooled(ABC), picture(ABC)) == first
    assert not place.shelf.taken("images/shirt~x2.png")


def test_a_file_that_cannot_be_read_is_a_storage_error(place: Place) -> None:
    """And no name is given."""
    with pytest.raises(StorageError):
        place.shelf.put(str(place.spool / "gone"), picture(ABC))
    assert not place.shelf.taken("images/shirt.png")


def test_a_picture_on_the_shelf_gets_another_name(place: Place) -> None:
    """Without a request, and by the rules of `put`."""
    image = place.shelf.put(place.spooled(ABC), picture(ABC))
    place.shelf.put(place.spooled(XYZ), picture(XYZ, "images/hat.png"))

    taken = place.shelf.adopt(place.shelf.local(image.path), picture(ABC, "images/hat.png"))

    assert taken == picture(ABC, "images/hat~x2.png")
    assert place.lying("images/hat~x2.png") == ABC
    assert place.shelf.adopt(place.shelf.local("images/never.png"), picture(ABC, "images/cap.png")) is None


@pytest.mark.parametrize(
    ("now", "by_size", "by_content"),
    [
        (ABC, FileState.WHOLE, FileState.WHOLE),
        (XYZ, FileState.WHOLE, FileState.ALTERED),
        (b"longer", FileState.ALTERED, FileState.ALTERED),
        (None, FileState.MISSING, FileState.MISSING),
    ],
)
def test_a_picture_is_told_from_what_lies_in_its_place(
    place: Place, now: bytes | None, by_size: FileState, by_content: FileState
) -> None:
    """By its size at every start, by its content where it is taken over."""
    image = place.shelf.put(place.spooled(ABC), picture(ABC))
    place.alter(image.path, now)

    assert place.shelf.state(image.path, image.size_bytes) is by_size
    assert place.shelf.look(image, content=False) is by_size
    assert place.shelf.look(image, content=True) is by_content
    assert place.shelf.look(replace(image, path="images/never.png"), content=True) is FileState.MISSING


@pytest.mark.parametrize("kind", ["link", "file"])
def test_nothing_is_written_through_what_is_no_folder_of_ours(tmp_path: Path, kind: str) -> None:
    """A link among the folders would lead out of the output."""
    (tmp_path / "out/images").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "spooled").write_bytes(ABC)
    if kind == "link":
        (tmp_path / "out/images/acme").symlink_to(tmp_path / "elsewhere")
    else:
        (tmp_path / "out/images/acme").write_bytes(XYZ)
    shelf = PictureFolder(str(tmp_path / "out"))

    with pytest.raises(StorageError, match=f"acme is a {kind}; move it away"):
        shelf.put(str(tmp_path / "spooled"), picture(ABC, "images/acme/shirt.png"))

    assert list((tmp_path / "elsewhere").iterdir()) == []
