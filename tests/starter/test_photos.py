"""Photos in a folder: found by the products' names, for as many as have some, and never for another product."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from batch.core.errors import InputError, MissingInputError
from batch.manifest import load_manifest
from batch.starter.starter import Starter, write_starter
from tests.manifest.conftest import Folder

TABLE = "Handle,Title,SKU\nkite,Red Kite,K-1\nmug,Blue Mug,M-1\nlamp,Lamp,L-1\n"


def sent(folder: Folder, *photos: str, table: str = TABLE, where: Path | None = None) -> tuple[Starter, dict[str, str]]:
    """What `init` says, and which pictures go along with which job."""
    for name in photos:
        folder.picture(name, "JPEG" if name.endswith("jpg") else "PNG")
    starter = write_starter(folder.write("t.csv", table), None, provider="simulator", photos=where)
    jobs = load_manifest(starter.path).check()
    return starter, {job.id: " ".join(Path(each.name).name for each in job.references) for job in jobs}


def test_some_photos_are_missing(folder: Folder) -> None:
    """The others go along; what is missing is said, and the manifest takes what is there."""
    starter, pictures = sent(folder, "photos/kite.png", "photos/mug.png")
    assert pictures == {"kite": "kite.png", "mug": "mug.png", "lamp": ""}
    assert starter.notes == ("photos/: 2 of 3 products have a photo; missing: lamp",)
    text = starter.path.read_text("utf-8")
    assert '- {path: "photos/{{ Handle }}.png", optional: true}' in text
    assert "# Without one: lamp." in text


def test_all_photos_are_there(folder: Folder) -> None:
    """Then a photo that is missing later is a problem, not a picture made of words alone."""
    starter, pictures = sent(folder, *(f"photos/{name}.png" for name in ("kite", "mug", "lamp")))
    assert list(pictures.values()) == ["kite.png", "mug.png", "lamp.png"]
    assert 'references: ["photos/{{ Handle }}.png"]' in starter.path.read_text("utf-8")


@pytest.mark.parametrize(
    ("photos", "kite"),
    [
        (["photos/kite-1.png", "photos/kite-2.png"], "kite-1.png kite-2.png"),
        (["photos/kite.jpg", "photos/kite-1.jpg", "photos/kite-10.jpg"], "kite.jpg kite-1.jpg kite-10.jpg"),
        (["photos/kite_01.jpg", "photos/kite_02.png"], "kite_01.jpg kite_02.png"),
        (["photos/kite (1).jpg", "photos/kite (2).jpg"], "kite (1).jpg kite (2).jpg"),
        (["photos/kite.jpg", "photos/mug.png"], "kite.jpg"),
        (["photos/kite/front.jpg", "photos/kite/back.jpg"], "back.jpg front.jpg"),
        (["images/K-1.jpg", "images/M-1.jpg"], "K-1.jpg"),
        (["fotos/Red Kite.jpg"], "Red Kite.jpg"),
        (["bilder/red-kite.jpg"], "red-kite.jpg"),
        (["kite.jpg"], "kite.jpg"),
        (["photos/kite-1.png", "photos/kite-20260501.png"], "kite-1.png"),
    ],
    ids=[
        "numbers",
        "and without",
        "leading zeros",
        "brackets",
        "endings",
        "folder",
        "sku",
        "title",
        "slug",
        "here",
        "date",
    ],
)
def test_names_that_photos_have(folder: Folder, photos: list[str], kite: str) -> None:
    """With a number or several, in a folder of their own, called by handle, SKU or title."""
    _, pictures = sent(folder, *photos)
    assert pictures["kite"] == kite


def test_a_photo_of_another_product_is_not_taken(folder: Folder) -> None:
    """`kite-1` may be a product of its own: then a number after `kite` means no photo of it."""
    table = "Handle,Title\nkite,Kite\nkite-1,Kite\nmug,Mug\n"
    names = ("photos/kite.png", "photos/kite-1.png", "photos/mug.png", "photos/mug-1.png")
    starter, pictures = sent(folder, *names, table=table)
    assert pictures == {"kite": "kite.png", "kite-1": "kite-1.png", "mug": "mug.png"}
    assert "photos/: 1 picture fits no product: mug-1.png" in starter.notes


def test_endings_in_small_and_capital_letters(folder: Folder) -> None:
    """Cameras write .JPG, other programs .jpg: one pattern finds both."""
    folder.picture("photos/lamp.JPG", "JPEG")
    _, pictures = sent(folder, "photos/kite.jpg", "photos/mug.png")
    assert pictures == {"kite": "kite.jpg", "mug": "mug.png", "lamp": "lamp.JPG"}


def test_a_name_in_other_capitals_is_told(folder: Folder) -> None:
    """No picture is left behind without a word: the file is named, and what to do."""
    starter, pictures = sent(folder, "photos/Kite.png", "photos/mug.png")
    assert set(pictures.values()) == {""}
    assert "did you mean photos/Kite.png?" in starter.notes[0]
    assert starter.notes[1].startswith("put that right and run init again")


def test_a_named_folder(folder: Folder) -> None:
    """`--photos` may name any folder; the manifest says that it may be read."""
    shop = folder.path / "shop"
    shop.mkdir()
    inner = Folder(shop)
    folder.picture("camera/kite.png")
    starter, pictures = sent(inner, where=folder.path / "camera")
    assert pictures["kite"] == "kite.png"
    assert "reference_root: ../camera" in starter.path.read_text("utf-8").replace('"', "")


def test_a_named_folder_without_the_products(folder: Folder) -> None:
    """Photos straight from a camera are a problem at once, with what was looked for."""
    folder.picture("camera/IMG_2041.png")
    with pytest.raises(InputError, match=r"camera: no picture in it is called like a product.*Handle, SKU, Title"):
        sent(folder, where=folder.path / "camera")
    with pytest.raises(MissingInputError, match="is not a folder"):
        sent(folder, where=folder.path / "absent")
    assert not (folder.path / "t.yaml").exists()


def test_files_that_a_column_names(folder: Folder) -> None:
    """Those that are there go along; an empty cell and a missing file make a picture without."""
    table = "Handle,Title,Photo\nkite,Kite,a.png\nmug,Mug,gone.png\nlamp,Lamp,\n"
    starter, pictures = sent(folder, "images/a.png", table=table)
    assert pictures == {"kite": "a.png", "mug": "", "lamp": ""}
    assert starter.notes == ('"Photo": 1 of 3 files are there; missing: gone.png',)


def test_photos_of_variants_rows_are_left_alone(folder: Folder) -> None:
    """A product without a SKU has no photo by its SKU, and takes none of the others'."""
    table = "Handle,Title,SKU\nkite,Kite,K-1\nmug,Mug,\n"
    _, pictures = sent(folder, "photos/K-1/1.png", "photos/.png/1.png", table=table)
    assert pictures == {"kite": "", "mug": ""}


def test_accents_and_other_scripts(folder: Folder) -> None:
    """A photo called by a handle in any script is found."""
    table = "Handle,Title\nчайник,Чайник\nкружка,Кружка\n"
    _, pictures = sent(folder, f"photos/{unicodedata.normalize('NFC', 'чайник')}.png", table=table)
    assert list(pictures.values()) == [unicodedata.normalize("NFC", "чайник.png"), ""]
