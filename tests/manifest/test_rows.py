"""Tables make jobs; what is odd about a table is told with its line."""
# ruff: noqa: E501  # a table reads best with one case on one line

from __future__ import annotations

import os
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from batch.core.errors import InputError
from batch.core.model import Place
from batch.manifest import load_manifest

if TYPE_CHECKING:
    from tests.manifest.conftest import Folder

BY_TITLE = 'rows: t.csv\njobs: [{id: "{{ Handle }}", prompt: "{{ Title }}"}]'


def test_every_entry_is_filled_for_every_row(folder: Folder) -> None:
    """Rows are the outer loop, so a product's pictures come together; a job knows its row."""
    folder.write("t.csv", "Handle,Title\na,Apron\nb,Board\n")
    text = 'rows: t.csv\njobs:\n - {id: "{{Handle}}-1", prompt: "{{Title}}"}\n - {id: "{{Handle}}-2", prompt: "{{Title}}, worn"}'

    jobs = folder.jobs(text)

    assert [(job.id, job.prompt) for job in jobs] == [
        ("a-1", "Apron"),
        ("a-2", "Apron, worn"),
        ("b-1", "Board"),
        ("b-2", "Board, worn"),
    ]
    assert jobs[3].place == Place(file=str(folder.path / "t.csv"), line=3)


def test_cells_stay_text(folder: Folder) -> None:
    """Leading zeros, spaces, quotes, commas and line ends inside a cell are the user's."""
    folder.write("t.csv", 'Handle,Title\n00199,"a, ""b""\r\nc"\n')

    [job] = folder.jobs(BY_TITLE)

    assert (job.id, job.prompt) == ("00199", 'a, "b"\nc')


@pytest.mark.parametrize(
    ("rows", "content"),
    [
        ("t.csv", "\ufeffHandle,Title\na,é\n".encode()),
        ("t.csv", "Handle,Title\r\na,é\r\n".encode()),
        ("t.csv", b"Handle,Title\na,\xc3\xa9"),
        ("t.tsv", "Handle\tTitle\na\té\n".encode()),
        ("{file: t.csv, delimiter: ';'}", "Handle;Title\na;é\n".encode()),
        ("{file: t.txt, delimiter: pipe}", "Handle|Title\na|é\n".encode()),
        ("{file: t.csv, encoding: cp1252}", "Handle,Title\na,é\n".encode("cp1252")),
        ("{file: t.csv, encoding: utf-16}", "Handle,Title\na,é\n".encode("utf-16")),
        ("t.csv", "\n\nHandle,Title\n\n,\na,é\n,\n".encode()),
    ],
)
def test_tables_as_programs_write_them(folder: Folder, rows: str, content: bytes) -> None:
    """Byte order marks, line ends, delimiters, encodings, and empty rows that spreadsheets leave behind."""
    folder.write(rows.strip("{}").removeprefix("file: ").partition(",")[0], content)

    [job] = folder.jobs(BY_TITLE.replace("t.csv", rows))

    assert (job.id, job.prompt) == ("a", "é")


def test_unique_takes_the_first_row_of_each_value(folder: Folder) -> None:
    """Variant rows of a shop's export are left out, even if they come apart."""
    folder.write("t.csv", "Handle,Title,Size\na,Apron,S\na,,M\nb,Board,S\na,,L\n")

    jobs = folder.jobs("unique: Handle\n" + BY_TITLE)

    assert [job.prompt for job in jobs] == ["Apron", "Board"]


def test_parameters_may_come_from_the_row(folder: Folder) -> None:
    """Ratio, size and model are checked row by row if they are templates."""
    folder.write("t.csv", "Ratio,Size\n16:9,512\n16:9,3K\n7:3,1K\n")
    text = 'rows: t.csv\njobs: [{prompt: "{{ Ratio }}", aspect_ratio: "{{ Ratio }}", image_size: "{{ Size }}"}]'

    assert folder.problems(text) == [
        "t.csv:3: image_size must be one of 512, 1K, 2K, 4K for gemini-3.1-flash-image; got 3K",
        "t.csv:4: aspect_ratio must be one of 1:1, 1:4, 4:1, 1:8, 8:1, 2:3, 3:2, 3:4, 4:3, 4:5, 5:4, 9:16, 16:9, 21:9 "
        "for gemini-3.1-flash-image; got 7:3",
    ]


BAD: dict[str, tuple[str | bytes, list[str]]] = {
    "empty": ("", ["t.csv:1: has no header line; the first line names the columns"]),
    "header only": ("Handle,Title\n", ["t.csv:1: has no rows; write at least one under the header"]),
    "other delimiters": (
        "Handle;Title|x\na;b|c\n",
        ['t.csv:1: the header is one cell; name the delimiter in rows, perhaps ";" or "|"'],
    ),
    "doubled column": ("Handle,Title,Title\na,b,c\n", ['t.csv:1: the column "Title" is named twice; rename one']),
    "short row": (
        "Handle,Title\na,b\nc\n",
        [
            't.csv:3: column "Title": the row has 1 cell and the header 2; quote cells that hold a line end or the delimiter'
        ],
    ),
    "long row": (
        "Handle,Title\na,b,c\n",
        ["t.csv:2: the row has 3 cells and the header 2; quote cells that hold the delimiter"],
    ),
    "after quote": (
        'Handle,Title\na,"b"c\n',
        ['t.csv:2: the row cannot be read: something follows a closing quote; write " inside a quoted cell as ""'],
    ),
    "open quote": (
        'Handle,Title\na,b\nc,"d\ne,f\n',
        ["t.csv:3: the row cannot be read: a quoted cell is never closed"],
    ),
    "huge cell": (
        "Handle,Title\na," + "x" * 140_000,
        [
            "t.csv:2: the row cannot be read: a cell is larger than 131,072 characters, or a quote before it is never closed"
        ],
    ),
    "not utf-8": (
        b"Handle,Title\na,b\nc,caf\xe9\n",
        ["t.csv:3: not utf-8; save the table as UTF-8 or name its encoding in rows"],
    ),
    "empty cell": (
        "Handle,Title\na,\n",
        ['t.csv:2: column "Title": job "a": prompt is empty; write what the picture shows'],
    ),
    "control": (
        "Handle,Title\na,x\x1by\n",
        ['t.csv:2: column "Title": job "a": prompt: \\x1b is a control character; only newline and tab are allowed'],
    ),
    "bad id": (
        "Handle,Title\n../a,b\n",
        [
            't.csv:2: column "Handle": id may hold a-z, A-Z, 0-9, dot, _ and -, and begins with a letter or digit; got ../a; write {{ Handle | slug }} in the id'
        ],
    ),
    "empty id": (
        "Handle,Title\n,b\n",
        ['t.csv:2: column "Handle": id is empty; fill the cell, or leave such rows out with where: Handle != ""'],
    ),
    "doubled id": (
        "Handle,Title\na,b\n\nA,c\n",
        [
            't.csv:4: job "A": this id and a on line 2 differ in case only; give different ids, or name a column in unique to take one row of each kind'
        ],
    ),
    "key": (
        "Handle,Title\na,AIzaSyA1234567890123456789012345678901\n",
        [
            't.csv:2: column "Title": job "a": prompt: this looks like an API key; keys come from the environment, never from a manifest or a table'
        ],
    ),
    "lines of quoted rows": (
        'Handle,Title\na,"1\n2\n3"\nb,\n',
        ['t.csv:5: column "Title": job "b": prompt is empty; write what the picture shows'],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_table_is_named_with_its_line(folder: Folder, case: str) -> None:
    """Each fault of a table is told once, with the line the row starts on."""
    content, expected = BAD[case]
    folder.write("t.csv", content)

    assert folder.problems(BY_TITLE) == expected


def test_two_entries_with_one_id_meet_in_every_row(folder: Folder) -> None:
    """The clash is between entries, not rows."""
    folder.write("t.csv", "Handle\na\n")
    text = 'rows: t.csv\njobs: [{id: "{{Handle}}", prompt: "{{Handle}} 1"}, {id: "{{Handle}}", prompt: "{{Handle}} 2"}]'

    assert "this id is also used on the same line" in folder.problems(text)[0]


def test_entries_that_cannot_differ_by_row_are_refused(folder: Folder) -> None:
    """A fixed id or a job without any column would be the same for every row."""
    folder.write("t.csv", "Handle\na\nb\n")

    assert folder.problems('rows: t.csv\njobs: [{prompt: x}, {id: a, prompt: "{{ Handle }}"}]') == [
        "m.yaml:2:8: no field uses a column, so all rows make one job; write {{ Column }} in the prompt",
        'm.yaml:2:26: job "a": id is the same for every row; use a column in it or leave it out',
    ]


def test_wrong_columns_are_told_where_the_manifest_names_them(folder: Folder) -> None:
    """A misspelt column is one problem of the manifest, not one of every row."""
    folder.write("t.csv", "Handle,Title\n" + "a,b\n" * 100)
    text = 'rows: t.csv\nunique: Handel\njobs:\n - id: "{{ Handle }}"\n   prompt: "{{ Titel }}"'

    assert folder.problems(text) == [
        'm.yaml:2:9: no column "Handel"; did you mean Handle?',
        'm.yaml:5:12: no column "Titel"; did you mean Title?',
    ]


def test_a_fault_of_the_template_is_told_for_the_first_row_only(folder: Folder) -> None:
    """A hundred rows with one wrong expression are one mistake."""
    folder.write("t.csv", "Title\n" + "".join(f"{n}\n" for n in range(100)))

    [problem] = folder.problems('rows: t.csv\njobs: [{prompt: "{{ Title / 2 }}"}]')

    assert problem.startswith("t.csv:2: prompt: the template cannot be filled: unsupported operand")


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo"])
def test_a_table_that_is_no_file(folder: Folder, kind: str) -> None:
    """Only regular files are opened; nothing hangs."""
    if kind == "folder":
        (folder.path / "t.csv").mkdir()
    if kind == "fifo":
        os.mkfifo(folder.path / "t.csv")

    [problem] = folder.problems(BY_TITLE)

    assert problem.startswith("t.csv: the table cannot be read (")


def test_a_table_that_changes_between_passes_stops_the_run(folder: Folder) -> None:
    """What was checked is what is run."""
    folder.write("t.csv", "Handle,Title\na,b\n")
    manifest = load_manifest(folder.write("m.yaml", BY_TITLE))
    list(manifest.check())
    folder.write("t.csv", "Handle,Title\na,b\nc,d\n")

    with pytest.raises(InputError, match="the file changed while it was in use"):
        list(manifest.jobs())


def test_derived_ids_of_rows_do_not_depend_on_order(folder: Folder) -> None:
    """A sorted export makes the same jobs."""
    text = 'rows: t.csv\njobs: [{prompt: "{{ a }}"}]'
    folder.write("t.csv", "a\none\ntwo\n")
    before = {job.id for job in folder.jobs(text)}
    folder.write("t.csv", "a\ntwo\none\n")

    assert {job.id for job in folder.jobs(text)} == before


def test_many_rows_need_little_memory(folder: Folder) -> None:
    """Twenty thousand rows leave some sixteen bytes each behind."""
    folder.write("t.csv", "Handle,Title\n" + "".join(f"h{n},A fine product number {n}\n" for n in range(20_000)))
    manifest = load_manifest(folder.write("m.yaml", BY_TITLE))

    tracemalloc.start()
    count = sum(1 for _ in manifest.check())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count == 20_000
    assert peak < 3_000_000
