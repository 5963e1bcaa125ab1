"""Pictures for training: folders with metadata, tars, names of one's own."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from PIL import Image

import batch
from batch.core.decisions import Verdict
from batch.core.errors import InputError, OptionError
from batch.export.settings import Status
from batch.export.tars import sample_key
from tests.export.conftest import Shop

TABLE = b"Handle,Title,Vendor,split\nkite,Kite,Holm & Sons,train\nmug,Mug,Acme,test\nlamp,Lamp,Acme,train\n"


async def test_an_imagefolder_has_a_line_for_each_picture(shop: Shop) -> None:
    """With its file, its prompt and the row's columns, in the manifest's order."""
    await shop.run(TABLE)

    done = shop.export("imagefolder")

    lines = [json.loads(line) for line in shop.exported(done).splitlines()]
    assert [line["Handle"] for line in lines] == ["kite", "mug", "lamp"]
    assert {line["file_name"] for line in lines} == {f"images/{name}" for name in shop.pictures(done)}
    assert (lines[0]["text"], lines[0]["split"]) == ("Photo of Kite", "train")
    assert Path(done.tables[0]).name == "metadata.jsonl"


async def test_tars_hold_picture_facts_and_words_of_each(shop: Shop) -> None:
    """So many samples in each; the same bytes every time; no loose picture is left."""
    await shop.run(TABLE)

    done = shop.export("webdataset", per_tar=2)

    first, second = (tarfile.open(name) for name in done.tables)  # noqa: SIM115
    with first, second:
        names = [[Path(member.name).suffixes for member in tar] for tar in (first, second)]
        assert [len(each) for each in names] == [6, 3]
        keys = [member.name.partition(".")[0] for member in first]
        assert keys == ["kite"] * 3 + ["mug"] * 3
        assert {(member.mtime, member.mode, member.uid) for member in first} == {(0, 0o644, 0)}
        facts = json.loads(first.extractfile("kite.json").read())  # type: ignore[union-attr]
        assert (facts["id"], facts["row"]["Vendor"]) == ("kite", "Holm & Sons")
        assert first.extractfile("kite.txt").read() == b"Photo of Kite"  # type: ignore[union-attr]
        [picture] = [
            member for member in first if member.name.startswith("kite.") and member.name[-4:] in (".png", ".jpg")
        ]
        data = first.extractfile(picture).read()  # type: ignore[union-attr]
        assert hashlib.sha256(data).hexdigest() == facts["sha256"]
        Image.open(io.BytesIO(data)).verify()
    assert [name for name in shop.pictures(done) if not name.endswith(".tar")] == []
    assert shop.exported(done) == shop.exported(shop.export("webdataset", per_tar=2))


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_webdataset_itself_reads_the_tars(shop: Shop) -> None:
    """Where it is installed."""
    webdataset = pytest.importorskip("webdataset")
    await shop.run(TABLE)

    done = shop.export("webdataset")

    found = list(webdataset.WebDataset(done.tables, shardshuffle=False))
    assert [each["__key__"] for each in found] == ["kite", "mug", "lamp"]
    assert all({"json", "txt"} < set(each) for each in found)


def test_a_samples_key_has_neither_dots_nor_folders() -> None:
    """They end a key there. Different names have different keys, short enough for an old tar."""
    names = ["a.1.png", "a_1.png", "a/1.png", "a-1.png", f"{'x' * 99}1.png", f"{'x' * 99}2.png"]

    keys = [sample_key(name) for name in names]

    assert len(set(keys)) == len(names)
    assert keys[3] == "a-1"
    assert all("." not in key and "/" not in key and len(key) < 95 for key in keys)


async def test_a_folder_of_pictures_by_a_template(shop: Shop) -> None:
    """With sub-folders; a name that is taken, in any case, gets a number."""
    await shop.run(TABLE)

    done = shop.export("folder", names="{{ Vendor | slug }}/{{ split }}")

    named = {str(Path(name).with_suffix("")) for name in shop.pictures(done)}
    assert (named, done.tables) == ({"holm-sons/train", "acme/test", "acme/train"}, [])
    alike = shop.export("folder", names="{{ 'Same' if Handle == 'mug' else 'same' }}")
    assert {Path(name).stem for name in shop.pictures(alike)} == {"same", "Same-2", "same-3"}


async def test_a_name_that_cannot_be_is_told(shop: Shop) -> None:
    """With its job, and nothing is put in place; so is a template that cannot be read."""
    await shop.run(TABLE)

    with pytest.raises(InputError, match='job "kite": --names: a part of the name'):
        shop.export("folder", names="{{ Vendor }}/x")
    with pytest.raises(OptionError, match='--names: no column "Vendr"'):
        shop.export("folder", names="{{ Vendr }}")

    assert not (shop.output / "export/folder").exists()


async def test_a_review_decides_what_a_data_set_holds(shop: Shop) -> None:
    """Accepted ones; others on request. Taken back, a word counts no more."""
    await shop.run(TABLE)
    shop.decide(Verdict.ACCEPTED, "kite")
    shop.decide(Verdict.REJECTED, "mug", note="dark")

    plain = shop.export("folder")
    unseen = shop.export("folder", include=frozenset({Status.UNSEEN}))
    everything = shop.export("folder", include=frozenset({Status.UNSEEN, Status.REJECTED}))

    assert (plain.pictures, plain.left_out) == (1, {Status.UNSEEN: 1, Status.REJECTED: 1})
    assert (plain.left_out_ids, plain.reviewed) == ({"unseen": ["lamp"], "rejected": ["mug"]}, True)
    assert (unseen.pictures, everything.pictures) == (2, 3)
    shop.decide(Verdict.UNDONE, "kite", "mug")
    assert (shop.export("folder").pictures, shop.export("folder").reviewed) == (3, False)


async def test_a_review_by_exception_hands_over_all_but_what_it_rejects(shop: Shop) -> None:
    """Until something is accepted: then that alone counts."""
    await shop.run(TABLE)
    shop.decide(Verdict.REJECTED, "mug", note="dark")

    by_exception = shop.export("folder")
    assert (by_exception.pictures, by_exception.left_out, by_exception.reviewed) == (2, {Status.REJECTED: 1}, False)


async def test_the_manifest_is_found_from_another_folder(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name that the run was given, in a folder that the output is in."""
    await shop.run(TABLE)
    shutil.rmtree(shop.output)
    monkeypatch.chdir(shop.folder)
    await batch.run("shop.yaml", output="out", environment={})
    (shop.folder / "elsewhere").mkdir()
    monkeypatch.chdir(shop.folder / "elsewhere")

    assert shop.export("csv").pictures == 3


async def test_where_nothing_is_to_be_handed_over_nothing_is_written(shop: Shop) -> None:
    """An export that is there stays."""
    await shop.run(TABLE)
    before = shop.pictures(shop.export("folder"))
    shop.decide(Verdict.REJECTED, "kite", "mug", "lamp")

    done = shop.export("folder")

    assert (done.pictures, done.exit_code) == (0, 1)
    assert shop.pictures(done) == before
