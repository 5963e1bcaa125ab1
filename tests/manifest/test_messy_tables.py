"""Tables as shops, spreadsheets and broken downloads leave them: they work, or one problem says what to do.

A wrong prompt bought a thousand times would be worse than either.
"""
# ruff: noqa: E501  # a table reads best with one case on one line

from __future__ import annotations

import gzip
import io
import unicodedata
import zipfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.manifest.conftest import Folder

SHOP = 'unique: Handle\nrows: t.csv\nmatrix: {scene: [studio, beach]}\njobs: [{id: "{{ Handle }}-{{ scene }}", prompt: "{{ Title }}, {{ scene }}. {{ Body_HTML | strip_html }}"}]'
PLAIN = 'rows: t.csv\njobs: [{id: "{{ Handle }}", prompt: "{{ Title }}"}]'
HEADER = "Handle,Title,Body (HTML),Price\n"


def workbook() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("[Content_Types].xml", "<Types/>")
        file.writestr("xl/workbook.xml", "<workbook/>")
    return packed.getvalue()


WORKS: dict[str, bytes] = {
    "byte order mark": "\ufeffHandle,Title\nkite,Grün\n".encode(),
    "two byte order marks": "\ufeff\ufeffHandle,Title\nkite,Grün\n".encode(),
    "utf-16 of Excel": "Handle,Title\r\nkite,Grün\r\n".encode("utf-16"),
    "utf-16, the other way round": b"\xfe\xff" + "Handle,Title\r\nkite,Grün\r\n".encode("utf-16-be"),
    "sep line": "sep=;\r\nHandle;Title\r\nkite;Grün\r\n".encode(),
    "quoted sep line": '"sep=\t"\nHandle\tTitle\nkite\tGrün\n'.encode(),
    "line ends of old Macs": "Handle,Title\rkite,Grün\r".encode(),
    "mixed line ends": "Handle,Title\r\n\rkite,Grün\n\r\n".encode(),
    "spaces in the header": "\u00a0Handle , Title\u200b,,\nkite,Grün,,\n".encode(),
    "unnamed columns": "Handle,Title,,\nkite,Grün,note,\n".encode(),
    "cells dropped at the end": "Handle,Title,Body,Price\nkite,Grün\n".encode(),
    "empty cells too many": "Handle,Title\nkite,Grün,, ,\n".encode(),
    "rows of commas and spaces": "Handle,Title\n,\n , \n\n   \nkite,Grün\n,,,\n".encode(),
    "packed without saying so": gzip.compress("Handle,Title\nkite,Grün\n".encode()),
    "semicolons of half the world": "Handle;Title;Price\nkite;Grün;1,50\n".encode(),
    "tabs under a comma's name": b"Handle\tTitle\nkite\tGr\xc3\xbcn\n",
    "spaces around the id": "Handle,Title\n kite\u00a0,Grün\n".encode(),
}


@pytest.mark.parametrize("case", WORKS)
def test_works(folder: Folder, case: str) -> None:
    """What a program does to a table without being asked is taken back without being asked."""
    folder.write("t.csv", WORKS[case])

    [job] = folder.jobs(PLAIN)

    assert (job.id, job.prompt) == ("kite", "Grün")


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv"])
def test_the_content_says_whether_a_table_is_packed(folder: Folder, name: str) -> None:
    """A browser unpacks a download and keeps its name, or the other way round."""
    text = "Handle,Title\nkite,Grün\n".encode()
    folder.write(name, text if name.endswith("gz") else gzip.compress(text))

    [job] = folder.jobs(PLAIN.replace("t.csv", name))

    assert job.prompt == "Grün"


def test_a_named_delimiter_is_surer_than_the_sep_line(folder: Folder) -> None:
    """The line is skipped all the same, and rows keep their lines."""
    folder.write("t.csv", "sep=,\nHandle;Title\nkite;\n")

    assert folder.problems(PLAIN.replace("t.csv", "{file: t.csv, delimiter: ';'}")) == [
        't.csv:3: column "Title": job "kite": prompt is empty; write what the picture shows'
    ]


def test_a_byte_order_mark_is_surer_than_a_name(folder: Folder) -> None:
    """Excel's CSV UTF-8, described as what Excel used to write."""
    folder.write("t.csv", "\ufeffHandle,Title\nkite,Grün\n")

    [job] = folder.jobs(PLAIN.replace("t.csv", "{file: t.csv, encoding: cp1252}"))

    assert job.prompt == "Grün"


def test_cells_with_markup_quotes_and_line_ends(folder: Folder) -> None:
    """A description is one cell, whatever stands in it."""
    folder.write(
        "t.csv",
        HEADER
        + 'kite,"Kite ""Red""","<p class=""a"">Light,\r\n<b>very</b> light</p>\n\n<ul><li>one</li><li>two</li></ul>",5\nmug,5" mug,<i>blue</i>,7\n',
    )

    assert [job.prompt for job in folder.jobs(SHOP)] == [
        'Kite "Red", studio. Light, very light one two',
        'Kite "Red", beach. Light, very light one two',
        '5" mug, studio. blue',
        '5" mug, beach. blue',
    ]


@pytest.mark.parametrize(
    "cell",
    [
        "{{ 7*7 }}",
        "{% raw %}",
        "{# x #}",
        '=HYPERLINK("https://example.com")',
        "GrÃ¼n",
        "\u202eabc\u200b",
        "${x} %s \\n",
        "<b>{{ Handle }}</b>",
    ],
)
def test_cells_are_text(folder: Folder, cell: str) -> None:
    """Formulas, templates and odd letters are what the table says."""
    quoted = '"' + cell.replace('"', '""') + '"'
    folder.write("t.csv", f"Handle,Title\nkite,{quoted}\n")

    [job] = folder.jobs(PLAIN)

    assert job.prompt == cell


def test_products_of_many_rows(folder: Folder) -> None:
    """Rows of variants and pictures follow, stand apart, or repeat the product with other spaces."""
    rows = "kite,Red Kite,<p>light</p>,5\nkite,,,7\nmug,Blue Mug,,\nkite,,,\n mug ,,,9\nmug,,,\n"
    folder.write("t.csv", HEADER + rows)

    assert [job.id for job in folder.jobs(SHOP)] == ["kite-studio", "kite-beach", "mug-studio", "mug-beach"]


def test_spaces_around_a_handle_are_in_no_id(folder: Folder) -> None:
    """Also where the id adds the scene to it; what stands in a prompt stays as it is."""
    folder.write("t.csv", "Handle,Title\n kite ,Red Kite\n")
    text = 'rows: t.csv\nmatrix: {scene: [beach]}\njobs: [{id: "{{ Handle }}-{{ scene }}", prompt: "[{{ Handle }}]"}]'

    assert [(job.id, job.prompt) for job in folder.jobs(text)] == [("kite-beach", "[ kite ]")]


def test_the_row_of_a_product_that_says_most_is_taken(folder: Folder) -> None:
    """Its first row may be that of a variant or a picture, its rows may be sorted by price."""
    folder.write(
        "t.csv", HEADER + "kite,,,5\nmug,Mug,,7\nkite,Kite,,9\nkite,Red Kite,<p>light</p>,7\nkite,Kite 2,<p>x</p>,7\n"
    )

    assert [job.prompt for job in folder.jobs(SHOP)][::2] == ["Mug, studio. ", "Red Kite, studio. light"]


def test_a_row_that_says_nothing_is_told(folder: Folder) -> None:
    """A prompt of nothing is not bought: totals, a product without any title."""
    folder.write("t.csv", HEADER + "kite,Kite,,5\nmug,,,7\nmug,,,7\nTotal,,,12\n")

    assert folder.problems(SHOP)[::2] == [
        f't.csv:{line}: column "Title": job "{job}-studio": Title and Body_HTML are empty, so the prompt says nothing of this row; fill it in, or leave such rows out with where: Title != "". If this is a further row of the product above, unique keeps the first row of each, and carry fills in what stands there'
        for line, job in ((3, "mug"), (5, "Total"))
    ]
    assert [job.prompt for job in folder.jobs('where: Title != ""\n' + SHOP)] == ["Kite, studio. ", "Kite, beach. "]


def test_a_template_may_say_what_happens_without_a_cell(folder: Folder) -> None:
    """Conditions are the author's answer to an empty cell."""
    folder.write("t.csv", HEADER + "kite,,,\n")

    [job] = folder.jobs(PLAIN.replace("{{ Title }}", "{{ Title or 'a kite' }}"))

    assert job.prompt == "a kite"


def test_two_spellings_that_look_the_same_are_one_product(folder: Folder) -> None:
    """Letters put together and taken apart; capitals are another handle, and its id is told."""
    apart = unicodedata.normalize("NFD", "grün")
    folder.write("t.csv", f"Handle,Title\ngrün,Kite\n{apart},\nkite,Kite\nKite,Kite 2\n")
    text = SHOP.replace("{{ Handle }}", "{{ Handle | slug }}").replace(" {{ Body_HTML | strip_html }}", "")

    assert folder.problems(text) == [
        't.csv:5: job "kite-studio": this id is also used on line 4; use one more column in the id'
    ]


IDS: dict[str, tuple[str, str, str]] = {
    "capitals and spaces": (
        "Red Kite",
        "{{ Handle }}",
        "id may hold a-z, A-Z, 0-9, dot, _ and -, and begins with a letter or digit; got Red Kite; write {{ Handle | slug }} in the id",
    ),
    "slashes": (
        "a/b",
        "x-{{ Handle }}",
        "id may hold a-z, A-Z, 0-9, dot, _ and -, and begins with a letter or digit; got x-a/b; write {{ Handle | slug }} in the id",
    ),
    "nothing left": (
        "🪁",
        "{{ Handle | slug }}",
        "id is empty: slug finds no letter or digit of ASCII in 🪁; write {{ Handle | as_id }} in the id",
    ),
    "nothing left beside other words": (
        "🪁",
        "{{ Handle | slug }}-x",
        "id is empty: slug finds no letter or digit of ASCII in 🪁; write {{ Handle | as_id }} in the id",
    ),
    "long": (
        "a" * 150,
        "{{ Handle | slug }}",
        "id is 150 characters long; at most 100 are allowed; write {{ (Handle | slug)[:60] }} in the id",
    ),
    "empty": ("", "{{ Handle }}", 'id is empty; fill the cell, or leave such rows out with where: Handle != ""'),
    "a device": ("con", "{{ Handle | slug }}", "id con is a device name on Windows; choose another"),
}


@pytest.mark.parametrize("case", IDS)
def test_handles_that_name_no_file(folder: Folder, case: str) -> None:
    """The problem says what to write instead, and that works."""
    cell, template, expected = IDS[case]
    folder.write("t.csv", f"Handle,Title\n{cell},Kite\n")

    assert folder.problems(PLAIN.replace("{{ Handle }}", template)) == [f't.csv:2: column "Handle": {expected}']


FAILS: dict[str, tuple[str | bytes, list[str]]] = {
    "workbook": (
        workbook(),
        ["t.csv:1: this is an Excel workbook (.xlsx), not text; in the spreadsheet choose Save as, CSV UTF-8"],
    ),
    "old workbook": (
        b"\xd0\xcf\x11\xe0\xa1\xb1" + bytes(100),
        ["t.csv:1: this is an old Excel workbook (.xls), not text; in the spreadsheet choose Save as, CSV UTF-8"],
    ),
    "web page": (
        "\n<!DOCTYPE html>\n<html><body>Please, log in</body></html>",
        ["t.csv:1: this is a web page or XML, not a table (the page of a login, perhaps?); export the table as CSV"],
    ),
    "JSON": (
        '[{"Handle": "kite"}]',
        ["t.csv:1: this is JSON, not CSV; write one object per line and end the file's name in .jsonl"],
    ),
    "utf-16 without a mark": (
        "Handle,Title\nkite,Grün\n".encode("utf-16-le"),
        ["t.csv:1: this looks like UTF-16; write encoding: utf-16 in rows, or save the table as CSV UTF-8"],
    ),
    "cp1252": (
        "Handle,Title\r\nkite,Kite\r\nmug,Grün\r\n".encode("cp1252"),
        ["t.csv:3: not utf-8; save the table as UTF-8 or name its encoding in rows"],
    ),
    "cp1252, lone returns": (
        "Handle,Title\rkite,Kite\rmug,Grün\r".encode("cp1252"),
        ["t.csv:3: not utf-8; save the table as UTF-8 or name its encoding in rows"],
    ),
    "packed and cut": (
        gzip.compress(b"Handle,Title\n" + bytes(range(32, 127)) * 50)[:-60],
        ["t.csv:1: the table cannot be read: the .gz file is cut off"],
    ),
    "many columns": (
        "a," * 1_000_000,
        ["t.csv:1: the header has 1,000,001 cells; it names the columns, 10,000 at most"],
    ),
    "many cells": (
        "Handle,Title\n" + "a," * 1_000_000,
        ["t.csv:2: the row has 1000001 cells and the header 2; quote cells that hold the delimiter"],
    ),
    "words before the header": (
        "My products\n\nHandle,Title\nkite,Kite\n",
        [
            f"t.csv:{line}: the row has 2 cells and the header 1; quote cells that hold the delimiter; the first line must name the columns"
            for line in (3, 4)
        ],
    ),
    "line end without quotes": (
        "Handle,Title,Body,Price\nkite,Red\nKite,light,5\nmug,Mug,,\n",
        [
            't.csv:3: column "Price": this row and the one before look like one row, broken in two; quote cells that hold a line end'
        ],
    ),
    "line end in the last cell": (
        "Handle,Title\nkite,Red\nKite\n",
        [
            't.csv:3: column "Title": the row has 1 cell and the header 2; quote cells that hold a line end or the delimiter'
        ],
    ),
    "cut off": (
        HEADER + "kite,Kite,,\nmug,Blue M",
        ["t.csv:3: the table ends in the middle of this row; is the file whole? If it is, end the line"],
    ),
    "quote in a quoted cell": (
        HEADER + 'kite,"5" kite",,\n',
        ['t.csv:2: the row cannot be read: something follows a closing quote; write " inside a quoted cell as ""'],
    ),
    "open quote, all quoted": (
        '"Handle","Title"\n"kite","Kite\n"mug","Mug"\n',
        ['t.csv:2: the row cannot be read: something follows a closing quote; write " inside a quoted cell as ""'],
    ),
    "NUL": (
        "Handle,Title\nkite,a\0b\n",
        ['t.csv:2: column "Title": job "kite": prompt: \\x00 is a control character; only newline and tab are allowed'],
    ),
    "letters of Windows": (
        "Handle,Title\nkite,5\x94 kite\n",
        [
            't.csv:2: column "Title": job "kite": prompt: \\x94 is a control character; only newline and tab are allowed; the table may be cp1252, name its encoding in rows'
        ],
    ),
}


@pytest.mark.parametrize("case", FAILS)
def test_one_problem_says_what_to_do(folder: Folder, case: str) -> None:
    """What a file really is, where it breaks, and what to do about it."""
    content, expected = FAILS[case]
    folder.write("t.csv", content)
    jobs = 'rows: t.csv\njobs: [{id: "{{ Handle }}", prompt: "{{ Title }}"}]'

    found = folder.problems(jobs)

    assert [problem for problem in found if not problem.startswith("m.yaml")] == expected


@pytest.mark.parametrize(
    ("encoding", "content", "expected"),
    [
        (
            "cp1252",
            "Handle,Title\nkite,Grün\n".encode(),
            "this is UTF-8, and letters such as ä would come out wrong as cp1252; remove encoding",
        ),
        (
            "latin-1",
            "Handle,Title\nkite,Grün\n".encode(),
            "this is UTF-8, and letters such as ä would come out wrong as iso8859-1; remove encoding",
        ),
        ("utf-16", b"Handle,Title\nkite,Kite\n", "this is not UTF-16; remove encoding, or name another"),
    ],
)
def test_an_encoding_that_is_surely_wrong(folder: Folder, encoding: str, content: bytes, expected: str) -> None:
    """Bytes of any kind are some text in Windows' encodings; wrong letters would only be seen in the pictures."""
    folder.write("t.csv", content)

    assert folder.problems(PLAIN.replace("t.csv", f"{{file: t.csv, encoding: {encoding}}}")) == [f"t.csv:1: {expected}"]


def test_the_column_of_a_bad_letter_is_named(folder: Folder) -> None:
    """In a prompt of several columns, too."""
    folder.write("t.csv", HEADER + "kite,Kite,a\x1b[31mb,\n")

    assert folder.problems(SHOP)[0].startswith('t.csv:2: column "Body (HTML)": job "kite-studio": prompt: \\x1b is')


def test_many_rows_with_one_fault(folder: Folder) -> None:
    """Ten show what it is, the rest is counted."""
    folder.write("t.csv", "Handle,Title\n" + "".join(f"Kite {n},Kite\n" for n in range(500)))

    problems = folder.problems(PLAIN)

    assert len(problems) == 11
    assert (
        problems[-1]
        == 't.csv:12: column "Handle": and 490 more rows, to line 501: id may hold a-z, A-Z, 0-9, dot, _ and -, and begins with a letter or digit'
    )


def test_rows_cut_short_in_every_width(folder: Folder) -> None:
    """Excel drops the empty cells at the end of sixteen rows at a time; such rows are whole."""
    folder.write(
        "t.csv",
        "Handle,Title,Body,A,B,C,D,E\n" + "".join(f"k{n},Kite {n},light\n" for n in range(16)) + "mug,Mug,,,,,,x\n",
    )

    assert len(folder.jobs(PLAIN)) == 17
