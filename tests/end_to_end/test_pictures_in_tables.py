"""Reference pictures that stand in a Parquet table, as Hugging Face data sets have them."""

from __future__ import annotations

import io
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import batch
from batch.core.errors import InputError
from batch.manifest import load_manifest

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

MANIFEST = """rows: data/*.parquet
keep: all
jobs: [{id: "{{ name }}", prompt: "{{ name }} on a beach", references: [{column: image, optional: true}]}]
"""


def png(colour: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(stream, "PNG")
    return stream.getvalue()


def write(folder: Path, images: list[Any], number: int = 1) -> Path:
    (folder / "data").mkdir(exist_ok=True)
    names = [f"p{number}-{index}" for index in range(len(images))]
    parquet.write_table(arrow.table({"name": names, "image": images}), folder / f"data/part-{number}.parquet")
    (folder / "m.yaml").write_text(MANIFEST)
    return folder / "m.yaml"


async def test_pictures_of_a_data_set_are_sent_along(tmp_path: Path) -> None:
    """From several shards; a second run sends nothing, and binary data stays out of the result."""
    write(tmp_path, [{"bytes": png("red"), "path": "red.png"}, {"bytes": png("blue"), "path": None}])
    manifest = write(tmp_path, [{"bytes": png("green"), "path": "green.png"}], 2)

    first = await batch.run(manifest, output=tmp_path / "out", environment={})
    second = await batch.run(manifest, output=tmp_path / "out", environment={})

    assert (first.exit, first.requests, second.requests) == (0, 3, 0)
    lines = [json.loads(line) for line in (tmp_path / "out/manifest.jsonl").read_text().splitlines()]
    assert [line["references"] for line in lines] == [["red.png"], ["image"], ["green.png"]]
    assert lines[0]["row"] == {"name": "p1-0", "image": {"bytes": None, "path": "red.png"}}
    tries = [json.loads(line) for line in (tmp_path / "out/ledger.jsonl").read_text().splitlines()]
    sent = {line["job"]: line["ask"]["references"][0]["sha256"] for line in tries if line["t"] == "try"}
    assert sent["p1-1"] == sha256(png("blue")).hexdigest()


@pytest.mark.parametrize("make", [lambda data: data, lambda data: [{"bytes": data, "path": "a.png"}]])
def test_bytes_alone_and_lists(tmp_path: Path, make: Any) -> None:
    """Other ways in which tables hold pictures."""
    [job] = load_manifest(write(tmp_path, [make(png("red"))])).check()

    assert [reference.size_bytes for reference in job.references] == [len(png("red"))]


def test_a_path_without_bytes_is_a_file(tmp_path: Path) -> None:
    """As data sets that keep their pictures beside the table have it."""
    (tmp_path / "red.png").write_bytes(png("red"))

    [job] = load_manifest(write(tmp_path, [{"bytes": None, "path": "red.png"}])).check()

    assert job.references[0].file == tmp_path / "red.png"


def test_an_edited_picture_is_another_spec_and_a_name_is_not(tmp_path: Path) -> None:
    """The content decides, as of a file."""
    before, renamed, other = (
        next(load_manifest(write(tmp_path, [image])).check()).spec()
        for image in (
            {"bytes": png("red"), "path": "a.png"},
            {"bytes": png("red"), "path": "b.png"},
            {"bytes": png("blue"), "path": "a.png"},
        )
    )

    assert before == renamed
    assert before != other


@pytest.mark.parametrize("data", [b"no picture", png("red")[:40]])
def test_a_damaged_picture_is_a_problem_of_its_row(tmp_path: Path, data: bytes) -> None:
    """Before anything is sent."""
    manifest = write(tmp_path, [{"bytes": png("red"), "path": "a.png"}, {"bytes": data, "path": "b.png"}])

    with pytest.raises(InputError, match=r'part-1\.parquet:2: column "image": job "p1-1": reference b\.png '):
        list(load_manifest(manifest).check())
