"""An exported table is its source, byte for byte, but for the picture columns."""

from __future__ import annotations

import codecs
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from batch.core.errors import InputError, OptionError
from batch.export.facts import Addresses
from batch.export.picks import Pick
from tests.export.conftest import CDN, Shop, rows_of

#: A shop's old header, with what exports are known for: zeros, numbers that a spreadsheet would change, quotes, commas,
#: line ends and blanks in cells, a row of a variant, a row of a further picture, a formula.
SHOPIFY = (
    "Handle,Title,Body (HTML),Variant SKU,Variant Barcode,Image Src,Image Position,Image Alt Text,Status\n"
    'kite,Kite,"<p>Red, ""best""</p>\nsecond line",00123,1E5,https://old.example/kite.jpg,1,old words,active\n'
    "kite,,,00124,007,https://old.example/kite-2.jpg,2,,\n"
    "mug, Mug ,=1+1,00125,1.50,https://old.example/mug.jpg,1,,active\n"
    "\n"
    "lamp,Lamp,,'0,, https://old.example/lamp.jpg,1,,draft\n"
)
PLAIN = {"group": "Handle", "carry": ["Title"]}


def replaced(source: str, shop: Shop) -> str:
    """The source with the old addresses of the products' first pictures replaced, and nothing else."""
    for job in ("kite", "mug", "lamp"):
        source = source.replace(f"https://old.example/{job}.jpg", shop.url(job))
    return source.replace(" https://cdn", "https://cdn")  # the blank belonged to the old address


@pytest.mark.parametrize(
    ("encoding", "mark", "line_end"),
    [
        ("utf-8", b"", "\n"),
        ("utf-8", codecs.BOM_UTF8, "\r\n"),
        ("cp1252", b"", "\r\n"),
        ("utf-16-le", codecs.BOM_UTF16_LE, "\r\n"),
        ("utf-16-be", codecs.BOM_UTF16_BE, "\n"),
        ("utf-8", b"", "\r"),
    ],
)
async def test_every_other_byte_survives(shop: Shop, encoding: str, mark: bytes, line_end: str) -> None:
    """In each encoding, with and without a byte order mark, with each kind of line end."""
    text = SHOPIFY.replace("Red", "Café rouge").replace("\n", line_end)
    shop.rows = {"encoding": encoding.partition("-le")[0].partition("-be")[0]}
    await shop.run(mark + text.encode(encoding), **PLAIN)

    done = shop.export("shopify")

    assert shop.exported(done) == mark + replaced(text, shop).encode(encoding)
    assert (done.pictures, done.changed_rows, done.exit_code) == (3, 3, 0)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
async def test_each_delimiter_survives(shop: Shop, delimiter: str) -> None:
    """Also with the line that tells Excel of it, without an end of the last line, and with every cell in quotes."""
    text = f"sep={delimiter}\n" + '"Handle";"Title";"Image Src"\n"kite";"A; kite";"https://old.example/kite.jpg"'
    text = text.replace(";", delimiter)
    shop.rows = {"delimiter": delimiter}
    await shop.run(text.encode())

    done = shop.export("shopify")

    assert shop.exported(done).decode() == text.replace("https://old.example/kite.jpg", shop.url("kite"))


async def test_an_encoding_with_two_ways_of_writing_a_character_survives(shop: Shop) -> None:
    """Bytes that Python would write otherwise are copied, not written."""
    because = b"\x87\x9a"  # one of two forms of U+2235 in cp932
    assert because.decode("cp932").encode("cp932") != because
    data = b"Handle,Title,Image Src\r\nkite," + because + b",old\r\nmug," + because + b"\x83\x5c,old\r\n"
    shop.rows = {"encoding": "cp932"}
    await shop.run(data)

    done = shop.export("shopify")

    changed = data.replace(b"old", shop.url("kite").encode(), 1).replace(b"old", shop.url("mug").encode())
    assert shop.exported(done) == changed


async def test_lines_above_and_below_the_header_survive(shop: Shop) -> None:
    """A title and names for people are copied as they are; a column that is added is named in the header alone."""
    text = "Our products,,\n\nHandle,Title\nrequired,optional\nkite,Kite\nmug,Mug\n"
    shop.rows = {"header_row": 3, "data_row": 5}
    await shop.run(text.encode())

    done = shop.export()

    expected = "Our products,,\n\nHandle,Title,image\nrequired,optional\nkite,Kite,{}\nmug,Mug,{}\n"
    paths = [shop.url(job).replace(CDN, "images") for job in ("kite", "mug")]
    assert shop.exported(done).decode() == expected.format(*paths)
    assert done.added_columns == ["image"]


async def test_rows_that_make_no_job_get_an_empty_cell(shop: Shop) -> None:
    """Every row has as many cells as the header; short rows are filled up."""
    await shop.run(b"Handle,Title,Status\nkite,Kite,active\nmug,Mug,draft\nlamp,Lamp\n", where='Status == "active"')

    assert shop.exported(shop.export("csv")).decode().splitlines()[2:] == ["mug,Mug,draft,", "lamp,Lamp,,"]


async def test_shopifys_present_header_is_followed(shop: Shop) -> None:
    """Columns keep the spelling and the order of the input."""
    text = "URL handle,Title,Product image URL,Image position\nkite,Kite,,\n"
    shop.job["id"] = "{{ URL_handle }}"
    await shop.run(text.encode())

    done = shop.export("shopify")

    assert shop.exported(done).decode() == text.replace("Kite,,", f"Kite,{shop.url('kite')},1")


async def test_a_column_that_is_missing_is_spelled_as_its_neighbours(shop: Shop) -> None:
    """Shopify's present dialect beside its handle; optional columns that the table lacks are not added."""
    shop.job["id"] = "{{ URL_handle }}"
    await shop.run(b"URL handle,Title\nkite,Kite\n")

    assert shop.exported(shop.export("shopify")).startswith(b"URL handle,Title,Product image URL\n")


async def test_further_pictures_get_rows_below_the_product(shop: Shop) -> None:
    """With the handle alone, numbered after the pictures that are there; all other rows are as they were."""
    text = SHOPIFY.replace("\n\n", "\n")
    shop.job["samples"] = 2
    await shop.run(text.encode(), **PLAIN)

    rows = rows_of(shop.exported(shop.export("shopify")))

    added = [row for row in rows if row["Image Src"].startswith(CDN) and ".2." in row["Image Src"]]
    assert [(row["Handle"], row["Image Position"], row["Title"]) for row in added] == [
        ("kite", "3", ""),
        ("mug", "2", ""),
        ("lamp", "2", ""),
    ]
    assert [row["Handle"] for row in rows] == ["kite", "kite", "kite", "mug", "mug", "lamp", "lamp"]
    assert [rows.index(row) for row in added] == [2, 4, 6]


async def test_variants_get_their_own_pictures(shop: Shop) -> None:
    """A job of each variant: its picture is the variant's, and one of the product's."""
    text = "Handle,Title,Option1 Value,Image Src,Image Position,Variant Image\ncup,Cup,Red,,,\ncup,,Blue,,,\n"
    shop.job = {"id": "{{ Handle }}-{{ Option1_Value | slug }}", "prompt": "{{ Option1_Value }} {{ Title }}"}
    await shop.run(text.encode(), carry=["Title"])

    rows = rows_of(shop.exported(shop.export("shopify-variants")))

    assert [row["Variant Image"] for row in rows] == [shop.url("cup-red"), shop.url("cup-blue")]
    assert [row["Image Position"] for row in rows] == ["1", "2"]


async def test_woocommerce_gets_the_picture_before_those_it_has(shop: Shop) -> None:
    """The first one of the cell makes room; commas within addresses are escaped."""
    text = 'ID,Name,Images\n00007,Kite,"https://old.example/a.jpg, https://old.example/b,c.jpg"\n'
    shop.job = {"id": "p{{ ID }}", "prompt": "{{ Name }}"}
    await shop.run(text.encode())

    done = shop.export("woocommerce", names="a-{{ Name | slug }}/{{ id }}")

    [row] = rows_of(shop.exported(done))
    first, *others = row["Images"].split(", ")
    assert first.startswith(f"{CDN}/a-kite/p00007.")
    assert others == ["https://old.example/b,c.jpg"]
    assert row["ID"] == "00007"


async def test_merchant_center_gets_ten_additional_pictures_at_most(shop: Shop) -> None:
    """The first is the product's, the others stand in one cell, new ones first."""
    old = ",".join(f"https://old.example/{n}.jpg" for n in range(10))
    shop.job = {"id": "{{ id }}", "prompt": "{{ title }}", "samples": 3}
    await shop.run(f'id,title,image link,additional image link\nk,Kite,,"{old}"\n'.encode())

    [row] = rows_of(shop.exported(shop.export("merchant")))

    links = row["additional image link"].split(",")
    assert row["image link"] == shop.url("k.1")
    assert links == [shop.url("k.2"), shop.url("k.3"), *old.split(",")[:8]]


async def test_several_pictures_get_numbered_columns(shop: Shop) -> None:
    """`image`, `image_2`: as many as the row with most of them has."""
    shop.job["samples"] = 2
    await shop.run(b"Handle,Title\nkite,Kite\n")

    [row] = rows_of(shop.exported(shop.export()))

    assert {name: Path(cell).stem for name, cell in row.items() if name.startswith("image")} == {
        "image": "kite.1",
        "image_2": "kite.2",
    }


async def test_a_template_fills_any_column(shop: Shop) -> None:
    """From the row and the picture; a column that has a fact's name is called `column`."""
    await shop.run("Handle,Title,id\nkite,Kite ü,77\n".encode())

    done = shop.export(sets={"Alt": "{{ Title }} ({{ column_id }}, {{ id }}, {{ width }})", "image": "{{ name }}"})

    [row] = rows_of(shop.exported(done))
    assert row["Alt"].startswith("Kite ü (77, kite, ")
    assert row["image"].startswith("kite.")


async def test_a_formula_is_guarded_on_request_only(shop: Shop) -> None:
    """A text that a spreadsheet would calculate gets an apostrophe, which changes it."""
    await shop.run(b"Handle,Title\nkite,=1+1\n")

    said = [rows_of(shop.exported(shop.export(sets={"Alt": "{{ Title }}"}, excel_safe=safe))) for safe in (False, True)]

    assert [row["Alt"] for [row] in said] == ["=1+1", "'=1+1"]
    assert said[1][0]["Title"] == "=1+1"


async def test_text_that_the_encoding_lacks_is_refused(shop: Shop) -> None:
    """Told with the row, and nothing is put in place."""
    shop.rows = {"encoding": "cp1252"}
    await shop.run("Handle,Title\nkite,Café\n".encode("cp1252"))

    with pytest.raises(InputError, match="its encoding has no 猫"):
        shop.export(sets={"Alt": "猫 {{ Title }}"})

    assert not (shop.output / "export/table").exists()


async def test_shops_need_a_public_address(shop: Shop) -> None:
    """Without one the shop would get paths of this machine; one with a query cannot be added to."""
    await shop.run(b"Handle,Title\nkite,Kite\n")

    with pytest.raises(OptionError, match="needs --base-url"):
        shop.export("shopify", base_url="")
    with pytest.raises(OptionError, match="without \\? or #"):
        shop.export("shopify", base_url="https://cdn.example/?a=")


async def test_json_lines_keep_their_bytes(shop: Shop) -> None:
    """Numbers, blanks, escapes and the order of keys; a key that is there is replaced where it stands."""
    lines = [
        '{"Handle": "kite", "n": 1E5,"Title":"Caf\\u00e9", "image": null, "deep": {"image": [1, 2.50]}}\n',
        "\n",
        ' { "Handle" : "mug" , "Title":"Mug" } \n',
        '{"Handle": "", "Title": ""}',
    ]
    shop.table = "shop.jsonl"
    await shop.run("".join(lines).encode(), where='Handle != ""')

    done = shop.export()

    kite, mug = (json.dumps(shop.url(job).replace(CDN, "images")) for job in ("kite", "mug"))
    expected = [lines[0].replace("null", kite, 1), "\n", lines[2].replace('"Mug"', f'"Mug", "image": {mug}'), lines[3]]
    assert shop.exported(done).decode() == "".join(expected)


async def test_a_packed_table_is_exported_unpacked(shop: Shop) -> None:
    """Shops take no .gz."""
    shop.table = "shop.csv.gz"
    await shop.run(gzip.compress(b"Handle,Title\nkite,Kite\n"))

    done = shop.export()

    assert Path(done.tables[0]).name == "shop.csv"
    assert rows_of(shop.exported(done))[0]["Title"] == "Kite"


async def test_parquet_keeps_its_types(shop: Shop) -> None:
    """Only the picture's column is new; rows without a picture have none."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    source = arrow.table({"Handle": ["kite", "", "mug"], "Title": ["Kite", "", "Mug"], "n": [1, 2, None]})
    shop.table = "shop.parquet"
    parquet.write_table(source, shop.source)
    await shop.run(shop.source.read_bytes(), where='Handle != ""')

    found = parquet.read_table(shop.export().tables[0])

    assert found.drop(["image"]).equals(source)
    assert [cell and Path(cell).stem for cell in found["image"].to_pylist()] == ["kite", None, "mug"]


async def test_a_workbook_keeps_values_and_number_formats(shop: Shop) -> None:
    """Numbers stay numbers, with their zeros; a text that looks like a formula or an address stays a text."""
    openpyxl = pytest.importorskip("openpyxl")
    pytest.importorskip("xlsxwriter")
    book = openpyxl.Workbook()
    book.active.append(["Handle", "Title", "SKU", "Price"])
    book.active.append(["kite", "=not one", 123, 12.5])
    book.active["C2"].number_format = "00000"
    book.active["B2"].data_type = "s"
    shop.table = "shop.xlsx"
    book.save(shop.source)
    await shop.run(shop.source.read_bytes())

    done = shop.export()

    sheet = openpyxl.load_workbook(done.tables[0]).active
    cells = [(cell.value, cell.data_type) for cell in sheet[2]]
    assert cells[:4] == [("kite", "s"), ("=not one", "s"), (123, "n"), (12.5, "n")]
    assert sheet["C2"].number_format == "00000"
    assert sheet["E1"].value == "image"
    assert shop.exported(shop.export()) == shop.exported(done)


@pytest.mark.parametrize("table_format", ["csv", "tsv", "jsonl", "parquet", "xlsx"])
async def test_a_table_in_another_format_has_the_same_texts(shop: Shop, table_format: str) -> None:
    """Zeros, large numbers and line ends in cells are texts in each of them."""
    arrow, openpyxl = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("openpyxl")
    pytest.importorskip("xlsxwriter")
    await shop.run(SHOPIFY.encode(), **PLAIN)

    done = shop.export(table_format=table_format)

    file, data = done.tables[0], shop.exported(done)
    found: list[dict[str, Any]]
    match table_format:
        case "csv" | "tsv":
            found = [dict(row) for row in rows_of(data, delimiter="\t" if table_format == "tsv" else ",")]
        case "jsonl":
            found = [json.loads(line) for line in data.splitlines()]
        case "parquet":
            found = arrow.read_table(file).to_pylist()
        case _:
            header, *rows = openpyxl.load_workbook(file).active.iter_rows(values_only=True)
            found = [dict(zip(header, [cell or "" for cell in row], strict=True)) for row in rows]
    texts = [{name: cell or "" for name, cell in row.items() if name != "image"} for row in found]
    assert texts == rows_of(SHOPIFY.encode())


async def test_a_manifest_without_a_table_gets_one_of_its_own(shop: Shop) -> None:
    """A line for each picture."""
    shop.job = {"id": "kite", "prompt": "a kite, red"}
    await shop.run(None)

    [row] = rows_of(shop.exported(shop.export(sets={"Alt": "{{ prompt }}!"})))

    assert (row["id"], row["prompt"], row["Alt"]) == ("kite", "a kite, red", "a kite, red!")
    assert row["link"].startswith("images/kite.")


async def test_several_tables_are_exported_each(shop: Shop) -> None:
    """Under their own names, with the same columns."""
    (shop.folder / "a.csv").write_bytes(b"Handle,Title\nkite,Kite\n")
    (shop.folder / "b.csv").write_bytes(b"Title,Handle\nMug,mug\n")
    await shop.run(None, rows=["a.csv", "b.csv"])

    done = shop.export()

    assert [row["image"][:10] for [row] in shop.all_rows(done)] == ["images/kit", "images/mug"]


async def test_tables_of_one_name_are_told_apart(shop: Shop) -> None:
    """Those of another folder get a number."""
    for folder, handle in (("a", "kite"), ("b", "mug")):
        (shop.folder / folder).mkdir()
        (shop.folder / folder / "shop.csv").write_text(f"Handle,Title\n{handle},It\n")
    await shop.run(None, rows=["a/shop.csv", "b/shop.csv"])

    done = shop.export()

    assert [name.rpartition("/")[2] for name in done.tables] == ["shop.csv", "shop-2.csv"]
    assert [row["Handle"] for [row] in shop.all_rows(done)] == ["kite", "mug"]


async def test_rows_below_a_last_line_without_an_end(shop: Shop) -> None:
    """They get the file's line end between them, and the file ends as it did."""
    shop.job["samples"] = 2
    await shop.run(b"Handle,Title,Image Src\r\nkite,Kite,old")

    lines = shop.exported(shop.export("shopify")).decode().split("\r\n")

    assert lines == [
        "Handle,Title,Image Src,Image Position",
        f"kite,Kite,{shop.url('kite.1')},1",
        f"kite,,{shop.url('kite.2')},2",
    ]


def test_an_address_escapes_what_lists_of_addresses_are_made_of() -> None:
    """Commas and blanks; folders stay folders."""
    pick = Pick(
        job="j",
        path="images/j.png",
        sha256="",
        mime="image/png",
        width=1,
        height=1,
        size_bytes=1,
        prompt="",
        caption="",
        model="",
        endpoint="",
        has_references=False,
        name="a/b, c|ü.png",
    )

    assert Addresses(folder="images", base_url=f"{CDN}/").url(pick) == f"{CDN}/a/b%2C%20c%7C%C3%BC.png"
