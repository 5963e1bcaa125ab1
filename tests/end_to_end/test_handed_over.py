"""Twenty products from a shop's export and back: bought, reviewed, three made again, and handed over to the shop.

Tables of three shops, with what their exports are known for. What comes back differs from what was exported in the
picture columns alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import batch
from batch.album import open_album
from batch.core.results import Summary
from batch.export import PRESETS, Export, ExportOptions, Status, export
from batch.runner.options import RunOptions
from batch.runner.reviewing import accept, reject
from tests.support.fakes import QuickClock

CDN = "https://cdn.example/shop"
REJECTED = ("product-3", "product-7", "product-11")


@dataclass(frozen=True)
class Case:
    """A shop's table of twenty products; `{}` stands for a product's number. `top`: what its manifest says beside."""

    preset: str
    id: str
    title: str
    header: str
    row: str
    further: str = ""
    encoding: str = "utf-8"
    line_end: str = "\n"
    top: dict[str, Any] = field(default_factory=dict)

    def table(self) -> bytes:
        lines = [self.header]
        for n in range(1, 21):
            lines.append(self.row.replace("{}", str(n)))
            lines += [self.further.replace("{}", str(n))] if self.further and n % 4 == 0 else []
        return (self.line_end.join(lines) + self.line_end).encode(self.encoding)

    def handed_over(self, urls: dict[str, str]) -> bytes:
        """The table as it should come back: addresses replaced in the bytes, nothing parsed."""
        data, codec = self.table(), {"utf-16": "utf-16-le", "utf-8-sig": "utf-8"}.get(self.encoding, self.encoding)
        for job, url in urls.items():
            old = f"https://old.example/{job}.jpg".encode(codec)
            assert data.count(old) == 1
            data = data.replace(old, url.encode(codec))
        return data


CASES = {
    "shopify": Case(
        preset="shopify",
        id="{{ Handle }}",
        title="Title",
        header="Handle,Title,Body (HTML),Vendor,Variant SKU,Variant Barcode,Image Src,Image Position,Image Alt Text,On",
        row='product-{},Café {},"<p>A ""fine"" one,</p>\n\nfor tea",Häuser,00{},1E5,'
        "https://old.example/product-{}.jpg,1,,active",
        further="product-{},,,,000{},,https://old.example/other-{}.jpg,2,,",
        encoding="utf-8-sig",
        line_end="\r\n",
        top={"group": "Handle"},
    ),
    "shopify-present": Case(
        preset="shopify",
        id="{{ URL_handle }}",
        title="Title",
        header='"URL handle","Title","SKU","Product image URL","Image position","Image alt text"',
        row='"product-{}","Cup {}","=0{}","https://old.example/product-{}.jpg","1","old words"',
    ),
    "woocommerce": Case(
        preset="woocommerce",
        id="product-{{ ID }}",
        title="Name",
        header="ID;SKU;Name;Regular price;Images;Meta: weight",
        row='{};0{};Tasse {};"12,50";https://old.example/product-{}.jpg;1.0',
        encoding="cp1252",
        line_end="\r\n",
        top={"rows": {"file": "shop.csv", "encoding": "cp1252", "delimiter": ";"}},
    ),
    "merchant": Case(
        preset="merchant",
        id="{{ id }}",
        title="title",
        header="id\ttitle\tprice\timage link\tgtin",
        row='product-{}\tCup "{}"\t12.50 EUR\thttps://old.example/product-{}.jpg\t00012345600012',
        encoding="utf-16",
        top={"rows": {"file": "shop.csv", "encoding": "utf-16", "delimiter": "tab"}},
    ),
}


class Shopkeeper:
    """What a person does, from the table to the table."""

    def __init__(self, folder: Path, case: Case) -> None:
        self.folder, self.case = folder, case
        self.output = folder / "out"
        (folder / "shop.csv").write_bytes(case.table())
        job = {"id": case.id, "prompt": f"Photo of {{{{ {case.title} }}}}"}
        manifest = {
            "provider": "simulator",
            "defaults": {"image_size": 512},
            "rows": "shop.csv",
            "on_reject": "{{ prompt }} {{ note }}",
            "jobs": [job],
            **case.top,
        }
        (folder / "shop.yaml").write_text(json.dumps(manifest), "utf-8")

    async def run(self, options: RunOptions | None = None) -> Summary:
        return await batch.run(
            self.folder / "shop.yaml", output=self.output, options=options, environment={}, clock=QuickClock()
        )

    def export(self, **options: Any) -> Export:
        return export(self.output, ExportOptions(preset=PRESETS[self.case.preset], base_url=CDN, **options))

    def exported(self, done: Export) -> bytes:
        """The one table of an export."""
        [table] = done.tables
        return Path(table).read_bytes()

    def files(self, done: Export) -> dict[str, bytes]:
        """Every file of an export."""
        folder = Path(done.to)
        return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    def urls(self, *jobs: str) -> dict[str, str]:
        """Where the picture that counts for each job is to be found."""
        chosen = {entry.id: entry.chosen for entry in open_album(self.output) if entry.id in jobs}
        return {
            job: f"{CDN}/{Path(version.pictures[-1].path).name}"
            for job, version in chosen.items()
            if version is not None
        }


@pytest.mark.parametrize("name", CASES)
async def test_a_review_of_twenty_products_comes_back_to_the_shop(name: str, tmp_path: Path) -> None:
    """Run, look, reject three with a note, make them again, accept those, and export."""
    case = CASES[name]
    shop = Shopkeeper(tmp_path, case)
    jobs = [f"product-{n}" for n in range(1, 21)]
    assert (await shop.run()).done == 20
    good = [job for job in jobs if job not in REJECTED]
    accept(shop.output, *good)
    reject(shop.output, *REJECTED, note="Make it brighter.")

    between = shop.export()
    again = await shop.run(RunOptions(rejected=True, yes=True))
    waiting = shop.export()
    accept(shop.output, *REJECTED)
    done = shop.export()

    assert (between.pictures, between.left_out) == (17, {Status.REJECTED: 3})
    assert (again.requests, again.done) == (3, 20)
    assert waiting.left_out == {Status.UNSEEN: 3}
    assert (done.pictures, done.changed_rows, done.left_out, done.exit_code) == (20, 20, {}, 0)
    urls = shop.urls(*jobs)
    assert all("~v2." in urls[job] for job in REJECTED)
    assert shop.exported(done) == case.handed_over(urls)
    pictures = {name for name in shop.files(done) if name.startswith("images/")}
    assert pictures == {url.replace(CDN, "images") for url in urls.values()}


async def test_nothing_changed_since_writes_the_same_bytes(tmp_path: Path) -> None:
    """Every file, the list of files too."""
    shop = Shopkeeper(tmp_path, CASES["shopify"])
    await shop.run()

    assert shop.files(shop.export()) == shop.files(shop.export())


async def test_a_table_edited_since_is_matched_by_job(tmp_path: Path) -> None:
    """Rows moved and edited are told; a product that is gone has no row, and a new one no picture."""
    shop = Shopkeeper(tmp_path, CASES["shopify-present"])
    await shop.run()
    header, *rows = shop.case.table().decode().splitlines(keepends=True)
    rows = [row.replace("Cup 5", "Mug 5") for row in rows[::-1] if "product-9" not in row]
    new = rows[0].replace("product-20", "product-21")
    (tmp_path / "shop.csv").write_text(header + "".join([*rows, new]), "utf-8")

    done = shop.export()

    assert (done.edited, done.edited_ids) == (1, ["product-5"])
    assert (done.pictures, done.left_out, done.left_out_ids) == (19, {Status.GONE: 1}, {"gone": ["product-9"]})
    lines = shop.exported(done).decode().splitlines(keepends=True)
    assert lines[-1] == new
    assert f'"{shop.urls("product-20")["product-20"]}"' in lines[1]


async def test_without_a_review_all_but_what_is_lost_is_handed_over(tmp_path: Path) -> None:
    """A picture that is missing in the output is named, its row stays, and the exit code says so."""
    shop = Shopkeeper(tmp_path, CASES["shopify-present"])
    await shop.run()
    [picture] = (shop.output / "images").glob("product-4.*")
    picture.unlink()

    done = shop.export()

    assert (done.pictures, done.left_out, done.exit_code) == (19, {Status.LOST: 1}, 1)
    assert b'"https://old.example/product-4.jpg"' in shop.exported(done)


async def test_rows_without_a_picture_can_be_left_out(tmp_path: Path) -> None:
    """Products as a whole: their further rows go along."""
    shop = Shopkeeper(tmp_path, CASES["shopify"])
    await shop.run()
    accept(shop.output, "product-4", "product-5")

    text = shop.exported(shop.export(exported_rows_only=True)).decode("utf-8-sig")

    assert [line.split(",")[0] for line in text.split("\r\n") if line] == [
        "Handle",
        "product-4",
        "product-4",
        "product-5",
    ]


async def test_while_a_run_is_on_what_it_has_bought_is_handed_over(tmp_path: Path) -> None:
    """manifest.jsonl lags behind the ledger then; the manifest itself says which jobs there are."""
    shop = Shopkeeper(tmp_path, CASES["shopify-present"])
    await shop.run()
    listed = shop.output / "manifest.jsonl"
    listed.write_bytes(b"".join(listed.read_bytes().splitlines(keepends=True)[:5]))

    assert (shop.export().pictures, shop.export().left_out) == (20, {})
