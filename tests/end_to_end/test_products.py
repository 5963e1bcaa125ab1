"""A shop's export with variants and several photos per product: carried, grouped, bought once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import batch
from batch.core.errors import InputError

TABLE = """Handle,Title,Color,Image Src,SKU
kite,Kite,Red,red.png,K-1
kite,,Blue,blue.png,K-2
mug,Mug,White,,M-1
"""


def write(folder: Path, manifest: str) -> Path:
    (folder / "t.csv").write_text(TABLE, "utf-8")
    for name, colour in (("red.png", "red"), ("blue.png", "blue")):
        Image.new("RGB", (8, 8), colour).save(folder / name)
    (folder / "m.yaml").write_text(manifest, "utf-8")
    return folder / "m.yaml"


def published(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out/manifest.jsonl").read_text("utf-8").splitlines()]


async def test_every_variant_has_its_picture(tmp_path: Path) -> None:
    """With its product's title, and its own columns in the result."""
    manifest = write(
        tmp_path,
        "rows: t.csv\ncarry: [Title]\nkeep: [Title, SKU]\n"
        "jobs: [{id: '{{ Handle }}-{{ Color }}', prompt: '{{ Title }} in {{ Color }}'}]\n",
    )

    summary = await batch.run(manifest, output=tmp_path / "out", environment={})

    assert (summary.exit, summary.done) == (0, 3)
    assert [(line["prompt"], line["row"]["SKU"]) for line in published(tmp_path)] == [
        ("Kite in Red", "K-1"),
        ("Kite in Blue", "K-2"),
        ("Mug in White", "M-1"),
    ]


async def test_every_product_has_all_its_photos(tmp_path: Path) -> None:
    """One job a product, whose columns are lists in the result; a second run sends nothing."""
    manifest = write(
        tmp_path,
        "rows: t.csv\ngroup: Handle\nkeep: SKU\njobs: [{id: '{{ Handle }}', prompt: \"{{ Title }}: "
        "{{ group.Color | join(', ') }}\", references: [{column: Image Src, optional: true}]}]\n",
    )

    first = await batch.run(manifest, output=tmp_path / "out", environment={})
    second = await batch.run(manifest, output=tmp_path / "out", environment={})

    assert (first.requests, second.requests) == (2, 0)
    kite, mug = published(tmp_path)
    assert (kite["prompt"], kite["references"], kite["row"]) == (
        "Kite: Red, Blue",
        ["red.png", "blue.png"],
        {"SKU": ["K-1", "K-2"]},
    )
    assert (mug["references"], mug["row"]) == ([], {"SKU": ["M-1"]})


async def test_a_picture_of_nothing_is_not_bought(tmp_path: Path) -> None:
    """The run ends before the first request, with the row."""
    manifest = write(
        tmp_path, "rows: t.csv\njobs: [{id: '{{ SKU }}', prompt: 'Product photo of {{ Title }} in {{ Color }}'}]\n"
    )

    with pytest.raises(InputError, match=r"t\.csv:3: column \"Title\": job \"K-2\": is empty"):
        await batch.run(manifest, output=tmp_path / "out", environment={})

    assert not (tmp_path / "out").exists()
