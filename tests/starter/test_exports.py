"""Exports of shops: each is known by its header, makes a picture per product, and nothing of what is no product."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

import batch
from batch.core.errors import InputError
from batch.manifest import load_manifest
from batch.starter.starter import Starter, write_starter
from tests.manifest.conftest import Folder

EXPORTS = Path(__file__).parent / "exports"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What `init` is to make of a file: its jobs, how the first prompts begin, and what it says."""

    shop: str
    ids: list[str]
    prompts: list[str]
    notes: str = ""


EXPECTED = {
    "shopify.csv": Expected(
        shop="a Shopify export",
        ids=["harbor-mug", "dune-vase"],
        prompts=["Harbor Mug. Glazed stoneware, 350 ml", "Dune Vase."],
        notes='"Status" is "draft" in 1 row',
    ),
    "shopify-old.csv": Expected(
        shop="a Shopify export",
        ids=["harbor-mug", "dune-vase"],
        prompts=["Harbor Mug. Glazed stoneware, 350 ml", "Dune Vase."],
        notes='"Status" is "archived" in 1 row',
    ),
    "woocommerce.csv": Expected(
        shop="a WooCommerce export",
        ids=["JUG-1", "CARD", "APRON"],
        prompts=[
            "Brook Jug. Holds 1 l Earthenware Hand wash.",
            "@Home voucher. +10 % for friends",
            "Studio Apron. Linen. Made in Lisbon.",
        ],
        notes='"Type" is "variation" in 2 rows',
    ),
    "woocommerce-de.csv": Expected(
        shop="a WooCommerce export",
        ids=["101", "103"],
        prompts=["Bachkrug. Fasst 1 l", "Werkstattschürze. Leinen."],
        notes='"Veröffentlicht" is "-1" in 1 row',
    ),
    "woocommerce-es.csv": Expected(
        shop="a WooCommerce export",
        ids=["JARRA-1", "DELANTAL"],
        prompts=["Jarra del Arroyo. Un litro.\nBarro.", "Delantal. Lino."],
        notes='"Publicado" is "0" in 1 row',
    ),
    "bigcommerce.csv": Expected(
        shop="a BigCommerce export",
        ids=["TB", "RP"],
        prompts=["Tide Bowl. Wide and shallow.", "Reef Plate."],
        notes='"Item" is "variant" in 2 rows, "image" in 2 rows',
    ),
    "bigcommerce-v2.csv": Expected(
        shop="a BigCommerce export",
        ids=["81", "82"],
        prompts=["Tide Bowl. Wide and shallow.", "Reef Plate."],
        notes='"Product Visible?" is "n" in 1 row',
    ),
    "amazon.txt": Expected(
        shop="an Amazon export",
        ids=["LB", "SP"],
        prompts=["Loaf Board. Oak, oiled.", "Spoon."],
        notes='"parent_child" is "child" in 1 row',
    ),
    "amazon-listings.txt": Expected(
        shop="an Amazon export", ids=["LB-1", "SP-1"], prompts=["Loaf Board. Oak, oiled.", "Spoon."]
    ),
    "amazon-report.txt": Expected(
        shop="an Amazon export",
        ids=["LB-1", "SP-1"],
        prompts=["Loaf Board. Oak, oiled.", "Spöon."],
        notes='"status" is "inactive" in 1 row',
    ),
    "etsy.csv": Expected(
        shop="an Etsy export",
        ids=["speckled-stoneware-mug-handmade-coffee-c42145dcf7", "ring-dish-8b1ed6982e"],
        prompts=[
            "Speckled Stoneware Mug, Handmade Coffee Cup, Pottery Gift for Her & Him, Housewarming Present, Rustic "
            "Kitchen. Thrown by hand. Doesn't mind the dishwasher.",
            'Ring Dish. Small "catch-all" dish.',
        ],
    ),
    "magento.csv": Expected(
        shop="a Magento export",
        ids=["PL-1", "ST"],
        prompts=["Fern in a Pot. Grows in shade.", "Plant Stand. Ash wood."],
        notes='"visibility" is "not visible individually" in 1 row',
    ),
    "google.tsv": Expected(
        shop="a Google Merchant export", ids=["B-1", "B-2"], prompts=["Blanket, red. Wool", "Blanket, grey. Wool"]
    ),
    "google.csv": Expected(
        shop="a Google Merchant export", ids=["B-1", "B-2"], prompts=["Blanket, red. Wool", "Blanket, grey. Wool"]
    ),
    "wix.csv": Expected(
        shop="a Wix export", ids=["product_1"], prompts=["Candle. Beeswax."], notes='"visible" is "false" in 1 row'
    ),
    "prestashop.csv": Expected(
        shop="a PrestaShop export", ids=["1"], prompts=["Linen Towel."], notes='"Active (0/1)" is "0" in 1 row'
    ),
}


def started(folder: Folder, name: str, data: bytes) -> tuple[Starter, str]:
    starter = write_starter(folder.write(name, data), None, provider="simulator")
    return starter, starter.path.read_text("utf-8")


def check(starter: Starter, expected: Expected) -> None:
    jobs = list(load_manifest(starter.path).check())
    assert [job.id for job in jobs] == expected.ids
    starts = [job.prompt.removeprefix("Product photo of ") for job in jobs]
    for prompt, start in zip(starts, expected.prompts, strict=True):
        assert prompt.startswith(start)
    assert starter.made_from == expected.shop
    assert expected.notes.casefold() in "\n".join(starter.notes).casefold()


@pytest.mark.parametrize("name", sorted(EXPECTED))
async def test_an_export_makes_a_picture_per_product(folder: Folder, name: str) -> None:
    """The manifest runs as it stands; what is left out is told and explained in a comment."""
    expected = EXPECTED[name]
    starter, text = started(folder, name, (EXPORTS / name).read_bytes())
    check(starter, expected)
    for note in starter.notes:
        assert f"# {note[0].upper()}{note[1:]}." in text

    summary = await batch.run(starter.path, output=folder.path / "out", environment={})

    assert (summary.exit, summary.requests) == (0, len(expected.ids))
    assert {file.stem for file in (folder.path / "out/images").iterdir()} == set(expected.ids)


@pytest.mark.parametrize("name", sorted(set(EXPECTED) - {"amazon.txt", "amazon-listings.txt", "amazon-report.txt"}))
@pytest.mark.parametrize("style", ["semicolon", "utf-16 tabs", "mark and CRLF", "capitals", "empty columns"])
def test_an_export_that_went_through_a_spreadsheet(folder: Folder, name: str, style: str) -> None:
    """Other delimiters, encodings, line ends, capitals and empty columns change nothing."""
    raw = (EXPORTS / name).read_text("utf-8-sig")
    delimiter = {"google.tsv": "\t", "prestashop.csv": ";"}.get(name, ",")
    rows = list(csv.reader(io.StringIO(raw, newline=""), delimiter=delimiter))
    starter, _ = started(folder, "table.csv", saved(rows, style))
    check(starter, EXPECTED[name])


def saved(rows: list[list[str]], style: str) -> bytes:
    """The rows as a spreadsheet would save them."""
    text = io.StringIO()
    if style == "capitals":
        rows = [[cell.upper() for cell in rows[0]], *rows[1:]]
    if style == "empty columns":
        rows = [[*row, "", ""] for row in rows] + [[""] * (len(rows[0]) + 2)]
    delimiter = {"semicolon": ";", "utf-16 tabs": "\t"}.get(style, ",")
    csv.writer(text, delimiter=delimiter, lineterminator="\r\n").writerows(rows)
    if style == "utf-16 tabs":
        return text.getvalue().encode("utf-16")
    return text.getvalue().encode("utf-8-sig" if style == "mark and CRLF" else "utf-8")


@pytest.mark.parametrize("name", [name for name in sorted(EXPECTED) if name not in ("magento.csv", "bigcommerce.csv")])
def test_addresses_can_be_switched_on(folder: Folder, name: str) -> None:
    """The commented lines are right: without their # the pictures at web addresses are wanted."""
    starter, text = started(folder, name, (EXPORTS / name).read_bytes())
    if "# reference_hosts" not in text:
        assert name == "amazon-report.txt"
        return
    starter.path.write_text(re.sub(r"(?m)^( *)# (reference_hosts|references):", r"\1\2:", text), "utf-8")
    manifest = load_manifest(starter.path)
    wanted = list(manifest.wanted_addresses())
    assert wanted
    assert all(re.fullmatch(r"https://[^\s,;]+", address) for address in wanted)


def test_a_shop_without_drafts_is_told_what_will_happen_to_them(folder: Folder) -> None:
    """The condition is written all the same: the next export may have some."""
    rows = (EXPORTS / "shopify-old.csv").read_text("utf-8").splitlines(keepends=True)[:4]
    starter, text = started(folder, "t.csv", "".join(rows).encode())
    assert starter.notes == ()
    assert 'left out: products that are not published, by "published"; there are none today' in text.lower()


def test_a_catalog_of_drafts_is_a_catalog(folder: Folder) -> None:
    """Where nothing would be left, drafts are what the pictures are for."""
    table = "Handle,Title,Status,Variant SKU\nkite,Kite,draft,K\nmug,Mug,draft,M\n"
    starter, _ = started(folder, "t.csv", table.encode())
    assert starter.jobs == 2


@pytest.mark.parametrize(
    ("table", "ids"),
    [
        ("sku,name,status\na,Cup,active\nb,Mug,Draft\n", ["a"]),
        ("sku,name,active\na,Cup,yes\nb,Mug,No\n", ["a"]),
        ("sku,name,visible\na,Cup,1\nb,Mug,0\n", ["a"]),
        ("Artikel-Nr;Bezeichnung;Status\na;Tasse;Aktiv\nb;Becher;Entwurf\n", ["a"]),
        ("sku,name,status\na,Cup,shipped\nb,Mug,returned\n", ["a", "b"]),
        ("sku,name,type\na,Cup,simple glaze\nb,Mug,variation\n", ["a", "b"]),
    ],
    ids=["status", "yes and no", "numbers", "german", "another status", "another type"],
)
def test_any_table_may_say_what_is_published(folder: Folder, table: str, ids: list[str]) -> None:
    """A column of a usual name with usual words is understood, one with other words is let alone."""
    starter, _ = started(folder, "t.csv", table.encode())
    assert [job.id for job in load_manifest(starter.path).check()] == ids


def test_a_workbook_with_a_title(folder: Folder) -> None:
    """An export that was saved as .xlsx is known as well, and so is its header below other lines."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in [["Spring"], [], *csv.reader(io.StringIO((EXPORTS / "shopify.csv").read_text("utf-8"), newline=""))]:
        book.active.append(row)
    book.save(folder.path / "t.xlsx")
    starter, text = started(folder, "t.xlsx", (folder.path / "t.xlsx").read_bytes())
    assert "header_row: 3" in text
    check(starter, EXPECTED["shopify.csv"])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "cp1252"])
def test_listing_files_as_they_are_saved(folder: Folder, encoding: str) -> None:
    """Lines above the header are found in any encoding and with any line ends, and so is a line end in a cell."""
    text = (EXPORTS / "amazon.txt").read_text("utf-8").replace("Oak, oiled.", "Öak,\noiled.")
    text = text.replace("<p>", '"<p>').replace("</p>", '</p>"').replace("\n", "\r\n")
    starter, _ = started(folder, "listings.txt", text.encode(encoding))
    jobs = list(load_manifest(starter.path).check())
    assert [job.id for job in jobs] == ["LB", "SP"]
    assert "Loaf Board. Öak, oiled." in jobs[0].prompt


TITLED = "Kiln & Co; spring,,\nExported 2026-11-01,,\n\nSKU,Title,Price\nA-1,Cup,5.00\nA-2,Mug,7.00\n"


@pytest.mark.parametrize(
    ("table", "row"),
    [
        (TITLED, 4),
        (TITLED.replace(",,", ""), 4),
        (TITLED.replace(",", ";").replace("; spring", ""), 4),
        ("Category:,Cups,Season\nSKU,Title,Price\nA-1,Cup,5\nA-2,Mug,7\n", 2),
    ],
    ids=["title", "ragged", "semicolons", "as wide"],
)
def test_lines_above_the_header_are_found(folder: Folder, table: str, row: int) -> None:
    """The manifest says which line names the columns, and makes no product of those above."""
    starter, text = started(folder, "t.csv", table.encode())
    assert f"header_row: {row}" in text
    assert [job.id for job in load_manifest(starter.path).check()] == ["A-1", "A-2"]


@pytest.mark.parametrize(
    "table",
    [
        "A-1,Ocean Mug,18.00\nA-2,River Mug,19.00\n",
        "A-1;Ocean Mug\nA-2;River Mug\n",
        "mug-1,Ocean,Kiln\nmug-2,River,Kiln\nmug-3,Lake,Kiln\n",
        "4006381333931,Ocean Mug\n4006381333948,River Mug\n",
        "a,Ocean Mug,https://pictures.example/1.jpg\nb,River Mug,https://pictures.example/2.jpg\n",
    ],
    ids=["price", "code", "word", "barcode", "address"],
)
def test_a_table_without_a_header_is_refused(folder: Folder, table: str) -> None:
    """Its first product must not become the header: the message says what to write."""
    with pytest.raises(InputError, match=r"t\.csv:1: .*the names of the columns|must name the columns"):
        started(folder, "t.csv", table.encode())


@pytest.mark.parametrize(
    "table",
    ["Modell,2024,2025\nA-1,5,6\nA-2,7,8\n", "was,wer\nTasse,Kiln\nTasse,Shore\n", "q1,q2\n5,6\n7,8\n"],
    ids=["years", "words", "short names"],
)
def test_an_odd_header_is_a_header(folder: Folder, table: str) -> None:
    """Nothing speaks against these names, so they are taken."""
    assert started(folder, "t.csv", table.encode())[0].jobs


def jobs_per_variant(folder: Folder, name: str, data: bytes) -> dict[str, str]:
    starter = write_starter(folder.write(name, data), None, provider="simulator", variants=True)
    jobs = list(load_manifest(starter.path).check())
    return {job.id: job.prompt.removeprefix("Product photo of ").partition(" Plain light")[0].strip() for job in jobs}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "shopify.csv",
            ["Harbor Mug, Blue. Glazed stoneware, 350 ml", "Harbor Mug, Green. Glazed stoneware, 350 ml", "Dune Vase."],
        ),
        ("woocommerce-de.csv", ["Bachkrug. Fasst 1 l", "Werkstattschürze - Ton."]),
        ("magento.csv", ["Fern in a Pot. Grows in shade.", "Stand small."]),
        ("amazon.txt", ["Loaf Board, small. Oak, oiled.", "Spoon."]),
    ],
)
def test_a_picture_of_every_variant(folder: Folder, name: str, expected: list[str]) -> None:
    """Each has its product's words and its own; a product of variants, a picture's row and a draft have no job."""
    assert list(jobs_per_variant(folder, name, (EXPORTS / name).read_bytes()).values()) == expected


def test_variants_without_numbers_are_called_by_their_options(folder: Folder) -> None:
    """An id is made of handle and options in any script; `Default Title` is no option."""
    text = (
        "Handle,Title,Body (HTML),Option1 Name,Option1 Value,Option2 Value,Variant SKU\n"
        "cup,Cup,<p>Clay</p>,Colour,Blue,S,\ncup,,,,Blue,L,\ncup,,,,синий,L,\npot,Pot,,Title,Default Title,,\n"
    )
    made = jobs_per_variant(folder, "t.csv", text.encode())
    assert [job_id for job_id in made if "siniy" not in job_id] == ["cup-Blue-S", "cup-Blue-L", "pot"]
    assert list(made)[2].startswith("cup-siniy-")
    assert list(made.values()) == ["Cup, Blue, S. Clay", "Cup, Blue, L. Clay", "Cup, синий, L. Clay", "Pot."]


def test_words_of_a_plug_in_hide_no_shop(folder: Folder) -> None:
    """A product type that only this shop has is a product, and the variants beside it are still variants."""
    table = (EXPORTS / "woocommerce-de.csv").read_text("utf-8") + "107,lesson,KURS,,Kurs,1,0,visible,,,90,,,,0\n"
    starter, _ = started(folder, "t.csv", table.encode())
    assert starter.made_from == "a WooCommerce export"
    assert [job.id for job in load_manifest(starter.path).check()] == ["101", "103", "107"]


@pytest.mark.parametrize("name", ["google.csv", "bigcommerce.csv"])
def test_variants_that_are_not_known(folder: Folder, name: str) -> None:
    """It is said of which exports they are known, and nothing is written."""
    with pytest.raises(InputError, match="its variants are not known; --variants is for exports of Shopify"):
        jobs_per_variant(folder, name, (EXPORTS / name).read_bytes())


def test_the_rows_of_a_product_are_one_job(folder: Folder) -> None:
    """All pictures of a product are wanted for it; a draft's variants are drafts, though only its first row says so."""
    starter, text = started(folder, "shopify.csv", (EXPORTS / "shopify.csv").read_bytes())
    assert "carry: [Title, Description, Status, Published on online store]\n" in text
    assert "group: URL handle\n" in text
    starter.path.write_text(re.sub(r"(?m)^( *)# (reference_hosts|references):", r"\1\2:", text), "utf-8")
    names = [address.rpartition("/")[2] for address in load_manifest(starter.path).wanted_addresses()]
    assert names == ["harbor-1.jpg", "harbor-2.jpg", "harbor-3.jpg", "dune.jpg"]


def test_rows_of_a_product_that_are_apart_are_still_one_job(folder: Folder) -> None:
    """A table that was sorted anew cannot be read product by product: the row that says most is taken."""
    rows = (EXPORTS / "shopify.csv").read_text("utf-8").splitlines(keepends=True)
    starter, text = started(folder, "t.csv", "".join([*rows[:2], rows[4], rows[2]]).encode())
    assert "unique: URL handle" in text
    assert [job.id for job in load_manifest(starter.path).check()] == ["harbor-mug", "dune-vase"]
