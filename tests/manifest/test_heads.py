"""Which line names the columns: lines above it are passed over when asked for, and never taken for it."""

from __future__ import annotations

import pytest

from batch.manifest.tables.heads import Head, find_head
from tests.manifest.conftest import Folder

MANIFEST = "rows: {file: t.csv, %s}\njobs: [{id: '{{ sku }}', prompt: '{{ title }}'}]"
PLAIN = MANIFEST.replace("{file: t.csv, %s}", "t.csv")
TITLED = "Spring catalog,,,\n\nsku,title,price,stock\na,Cup,1,5\nb,Mug,2,6\n"


@pytest.mark.parametrize(
    ("rows", "table", "ids"),
    [
        ("header_row: 3", TITLED, ["a", "b"]),
        ("header_row: 3, data_row: 5", TITLED, ["b"]),
        ("header_row: 2", '"a title\nof two lines"\nsku,title\na,Cup\n', ["a"]),
        ("header_row: 3", "sep=;\nSpring;\n;\nsku;title\na;Cup\n", ["a"]),
        ("header_row: 1", "sku,title,http://x/a.jpg\na,Cup,5\n", ["a"]),
        ("data_row: 3", "sku,title\nRequired,Optional\na,Cup\n", ["a"]),
    ],
    ids=["title", "first product", "quoted line end", "sep line", "odd header", "no header named"],
)
def test_the_manifest_says_where_the_header_is(folder: Folder, rows: str, table: str, ids: list[str]) -> None:
    """Rows are counted as a spreadsheet counts them, empty ones too; lines above the header make no jobs."""
    folder.write("t.csv", table)
    assert [job.id for job in folder.jobs(MANIFEST % rows)] == ids


def test_lines_in_messages_are_the_files_lines(folder: Folder) -> None:
    """A problem of a row names its line in the file, whatever stands above the header."""
    folder.write("t.csv", '"a title\nof two lines"\n\nsku,title\na,\n')
    [problem] = folder.problems(MANIFEST % "header_row: 3")
    assert problem.startswith('t.csv:5: column "title"')


@pytest.mark.parametrize(
    ("table", "line", "header"),
    [
        (TITLED, 1, 3),
        ("Export\nof 1 May\n\nsku,title,price\na,Cup,1\nb,Mug,2\n", 1, 4),
        ("TemplateType=x,Version=2,,\nSKU,Name,Brand,Image\nsku,title,brand,image\na,Cup,K,\n", 1, 3),
        ("#INFO,Version=1.0.0,,\nsku,title,price,stock\na,Cup,1,2\n", 1, 2),
        ("settings=attributeRow=4&dataRow=6,,\nx,,\nSKU,Title,y\nsku,title,z\n,,\na,Cup,1\n", 1, 4),
        ("\n\nSpring catalog,,,\nsku,title,price,stock\na,Cup,1,5\nb,Mug,2,6\n", 3, 4),
    ],
    ids=["title", "ragged", "three lines", "info line", "it says so itself", "empty lines above"],
)
def test_lines_above_the_header_are_no_header(folder: Folder, table: str, line: int, header: int) -> None:
    """The problem names the line, and the one that looks like the header; no row below is looked at."""
    folder.write("t.csv", table)
    [problem] = folder.problems(PLAIN)
    assert problem.startswith(f"t.csv:{line}: this line does not name the columns (")
    assert f"write header_row: {header} in rows" in problem


@pytest.mark.parametrize(
    "table",
    ["a,https://pictures.example/a.jpg\nb,https://pictures.example/b.jpg\n", "a,mug.jpg,5\nb,cup.jpg,6\n"],
    ids=["address", "file"],
)
def test_a_product_is_no_header(folder: Folder, table: str) -> None:
    """A first line with an address or a picture's file in it belongs to a table without a header."""
    folder.write("t.csv", table)
    [problem] = folder.problems(PLAIN)
    assert problem.startswith("t.csv:1: this line does not name the columns (")
    assert "the first line must name the columns" in problem


@pytest.mark.parametrize(
    "table",
    [
        ",sku,title\n0,a,Cup\n1,b,Mug\n",
        "sku,title,,\na,Cup,,\nb,Mug,,\n",
        "sku,title,2024,2025\na,Cup,1,2\nb,Mug,3,4\n",
        "sku,title,,,,\na,Cup,1,2,3,4\nb,Mug,,,,\nc,Jug,,,,\nd,Pot,,,,\n",
    ],
    ids=["unnamed index", "left over", "years", "one wide row"],
)
def test_odd_headers_stay_headers(folder: Folder, table: str) -> None:
    """A column without a name, years as names or a row with more cells are no reason to refuse a table."""
    folder.write("t.csv", table)
    assert folder.jobs(PLAIN)[0].id == "a"


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("header_row: 0", "header_row must be a whole number from 1"),
        ("header_row: 3, data_row: 3", "data_row must be below header_row"),
        ("header_row: 9", "row 9 names no columns; check header_row in rows"),
        ("format: jsonl, header_row: 2", "a jsonl table has no header_row; remove it"),
    ],
)
def test_wrong_rows(folder: Folder, written: str, says: str) -> None:
    """What is wrong with the numbers is a problem of the manifest or the table, said once."""
    folder.write("t.csv", '{"sku": "a", "title": "Cup"}\n' if "jsonl" in written else TITLED)
    assert says in folder.problems(MANIFEST % written)[0]


def test_a_row_of_duties_is_no_product() -> None:
    """Templates say below the header which columns are required."""
    rows = [["X=1", ""], [], ["SKU", "Name"], ["sku", "title"], ["Required", "Optional"], ["a", "Cup"]]
    assert find_head(rows) == Head(4, 6)
