"""A table and its pictures over the weeks: it grows, is sorted anew and edited, and nothing is bought twice."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path

import pytest

import batch
from batch.core.errors import InputError
from batch.core.results import Summary
from batch.core.settings import ChangedPolicy
from batch.runner.options import RunOptions
from batch.runner.run import plan_only
from batch.starter.starter import write_starter

MANIFEST = """name: shop
defaults: {image_size: 512}
rows: shop.csv
unique: Handle
matrix: {scene: [studio, beach]}
jobs:
  - id: "{{ Handle }}-{{ scene }}"
    prompt: "{{ Title }}, {{ scene }} background. {{ Body_HTML | strip_html }}"
"""
HEADER = ["Handle", "Title", "Body (HTML)", "Vendor", "Price"]
PRODUCTS = ["kite", "mug", "lamp", "apron", "board", "teapot"]
EVERYTHING = len(PRODUCTS) * 2


class Shop:
    """An export, a manifest and what they make."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.header = list(HEADER)
        self.rows = [[handle, handle.title(), f"<p>A fine {handle}</p>", "Holm", "5"] for handle in PRODUCTS]
        self.rows.insert(1, ["kite", "", "", "", "7"])
        (folder / "shop.yaml").write_text(MANIFEST, "utf-8")

    def export(self) -> None:
        text = io.StringIO()
        csv.writer(text).writerows([self.header, *self.rows])
        (self.folder / "shop.csv").write_text(text.getvalue(), "utf-8")

    async def run(self, on_changed: ChangedPolicy = ChangedPolicy.REFUSE) -> Summary:
        self.export()
        return await batch.run(
            self.folder / "shop.yaml",
            output=self.folder / "out",
            environment={},
            options=RunOptions(on_changed=on_changed),
        )

    def planned(self) -> dict[str, int]:
        """What `plan` says of the jobs."""
        self.export()
        groups = plan_only(self.folder / "shop.yaml", output=self.folder / "out").plan.groups
        return {why.rpartition(": ")[2]: group.count for why, group in groups.items() if group.count}

    def pictures(self) -> set[str]:
        return {file.stem for file in (self.folder / "out/images").iterdir()}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


async def test_a_table_over_the_weeks(shop: Shop) -> None:
    """Every change of the table costs the requests it needs and no other."""
    first = await shop.run()
    assert (first.exit, first.requests, first.done) == (0, EVERYTHING, EVERYTHING)

    shop.rows += [["stool", "Stool", "", "", ""], ["stool", "", "", "", "9"]]
    assert shop.planned() == {"done": EVERYTHING, "new": 2}
    assert (await shop.run()).requests == 2

    for seed in range(3):
        random.Random(seed).shuffle(shop.rows)
        assert shop.planned() == {"done": EVERYTHING + 2}
    shop.rows.sort(key=lambda row: row[1])  # rows without a title first
    assert shop.planned() == {"done": EVERYTHING + 2}
    assert (await shop.run()).requests == 0

    # A column nobody uses: renamed, moved, edited.
    shop.header[3:5] = ["Price (net)", "Supplier"]
    for row in shop.rows:
        row[3:5] = [row[4] + "0", row[3].upper()]
    assert (await shop.run()).requests == 0

    shop.rows = [row for row in shop.rows if row[0] != "mug"]
    assert shop.planned() == {"done": EVERYTHING}
    after = await shop.run()
    assert (after.exit, after.requests, after.done) == (0, 0, EVERYTHING)
    assert {"mug-studio", "mug-beach"} <= shop.pictures()


async def test_an_edited_cell_makes_its_own_jobs_anew(shop: Shop) -> None:
    """The plan names the product, nothing is sent unasked, then two requests are."""
    await shop.run()
    next(row for row in shop.rows if row[0] == "lamp")[1] = "Brass Lamp"

    assert shop.planned() == {"done": EVERYTHING - 2, "changed": 2}
    with pytest.raises(InputError, match="lamp-studio"):
        await shop.run()
    edited = await shop.run(on_changed=ChangedPolicy.RERUN)

    assert (edited.exit, edited.requests) == (0, 2)
    assert (await shop.run()).requests == 0


async def test_a_product_that_comes_back_is_done(shop: Shop) -> None:
    """What was bought is remembered longer than a row is in the table."""
    await shop.run()
    everything, shop.rows = shop.rows, shop.rows[:3]
    assert (await shop.run()).requests == 0
    shop.rows = everything

    assert shop.planned() == {"done": EVERYTHING}
    assert (await shop.run()).requests == 0


@pytest.mark.parametrize(
    "table",
    [
        b"Handle,Title,Body (HTML)\nkite,,\nkite,Kite,<p>red</p>\nmug,Mug,\nTotal,,\n",
        "sep=;\r\nSKU;Name\r\nkite;Kite\r\nmug;Mug\r\n".encode("utf-16"),
        "Artikel-Nr.;Bezeichnung\nkite;Gr\u00fcner Drachen\nmug;Becher\n".encode("cp1252"),
    ],
    ids=["shop", "utf-16", "cp1252"],
)
async def test_a_first_manifest_runs_as_it_is(tmp_path: Path, table: bytes) -> None:
    """What `init` writes makes one picture per product, without a key and without an edit."""
    (tmp_path / "shop.csv").write_bytes(table)
    starter = write_starter(tmp_path / "shop.csv", None, provider="simulator")

    summary = await batch.run(starter.path, output=tmp_path / "out", environment={})

    assert (summary.exit, summary.done, summary.requests) == (0, 2, 2)
    assert {file.stem for file in (tmp_path / "out/images").iterdir()} == {"kite", "mug"}
