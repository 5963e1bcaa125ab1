"""Rows from several files, from names with wildcards, and from standard input."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path

import pytest

from batch.core.errors import InputError
from batch.core.model import Job
from batch.manifest import load_manifest
from tests.manifest.conftest import Folder

JOBS = "jobs: [{id: '{{ Handle }}', prompt: 'a {{ Title }}'}]"


def ids(jobs: list[Job]) -> list[str]:
    return [job.id for job in jobs]


@pytest.fixture
def parts(folder: Folder) -> Folder:
    folder.write("data/p-2.csv", "Handle,Title\nb,Boat\n")
    folder.write("data/p-10.csv", "Title,Handle\nCar,c\n")
    folder.write("data/p-1.csv", "Handle,Title\na,Apple\n")
    folder.write("more.jsonl", '{"Handle": "d", "Title": "Door"}\n')
    return folder


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("data/p-*.csv", ["a", "b", "c"]),
        ("[data/p-10.csv, data/p-1.csv]", ["c", "a"]),
        ("{file: [data/*.csv, more.jsonl]}", ["a", "b", "c", "d"]),
        ("[data/p-1.csv, data/*.csv]", ["a", "b", "c"]),
        ("'**/p-?.csv'", ["a", "b"]),
    ],
)
def test_several_files_are_one_table(parts: Folder, rows: str, expected: list[str]) -> None:
    """In the order named, those of a name with wildcards as people count, each once, in any order of columns."""
    assert ids(parts.jobs(f"rows: {rows}\n{JOBS}")) == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("sort: {by: Handle, order: desc}", ["c", "b", "a"]),
        ("limit: 2", ["a", "b"]),
        ("unique: Title", ["a", "b", "c"]),
    ],
)
def test_selections_see_all_files_as_one(parts: Folder, more: str, expected: list[str]) -> None:
    """A position tells the file, too."""
    assert ids(parts.jobs(f"rows: data/*.csv\n{more}\n{JOBS}")) == expected


def test_unique_takes_one_row_over_all_files(parts: Folder) -> None:
    """The one that says most, in whichever file."""
    parts.write("data/p-3.csv", "Handle,Title,Note\na,Apple,x\nb,,\n")

    jobs = parts.jobs(f"rows: data/*.csv\nunique: Handle\n{JOBS}")

    assert [str(job.place).replace(f"{parts.path}/", "") for job in jobs] == [
        "data/p-1.csv:2",
        "data/p-2.csv:2",
        "data/p-10.csv:2",
    ]


def test_a_problem_names_the_file_of_its_row(parts: Folder) -> None:
    """And the two files of an id that comes twice."""
    parts.write("data/p-10.csv", "Handle,Title\na,Again\n,Nothing\n")

    assert parts.problems(f"rows: data/*.csv\n{JOBS}") == [
        f'data/p-10.csv:2: job "a": this id is also used on {parts.path}/data/p-1.csv:2; give different ids, or name a '
        "column in unique to take one row of each kind".replace(f"{parts.path}/", ""),
        'data/p-10.csv:3: column "Handle": id is empty; fill the cell, or leave such rows out with where: Handle != ""',
    ]


def test_a_column_that_a_file_lacks_is_a_gap_in_its_rows(parts: Folder) -> None:
    """As a key that a line of JSON lacks: a problem, or what `default` says."""
    parts.write("data/p-2.csv", "Handle,Title,Color\nb,Boat,red\n")
    manifest = "rows: data/*.csv\njobs: [{id: '{{ Handle }}', prompt: 'a {{ Title }} in {{ Color %s}}'}]"

    assert parts.problems(manifest % "")[0] == 'data/p-1.csv:2: job "a": prompt: this row has no "Color"'
    assert [job.prompt for job in parts.jobs(manifest % '| default("any colour") ')][:2] == [
        "a Apple in any colour",
        "a Boat in red",
    ]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("data/q*.csv", "m.yaml:1:7: data/q*.csv matches no file; check the folder and the ending"),
        ("[more.jsonl, none.csv]", "none.csv: the table cannot be read (does not exist); check the path in rows"),
        ("[]", "m.yaml:1:7: rows must not be an empty list; name a table"),
        ("[data/p-1.csv, 5]", "m.yaml:1:22: rows must be text; quote it"),
        ("s3://bucket/x.csv", "m.yaml:1:7: rows are read from this machine; copy the table here"),
        ("'*'", "m.yaml:1:7: rows are read from .csv"),
    ],
)
def test_what_names_no_table(parts: Folder, rows: str, says: str) -> None:
    """At its place."""
    assert any(problem.startswith(says) for problem in parts.problems(f"rows: {rows}\n{JOBS}"))


def test_a_file_of_several_that_is_edited_stops_the_pass(parts: Folder) -> None:
    """Nothing is sent that was not planned, whichever file it stands in."""
    manifest = load_manifest(parts.write("m.yaml", f"rows: data/*.csv\n{JOBS}"))
    list(manifest.check())
    parts.write("data/p-10.csv", "Title,Handle\nCars and bikes,c\n")

    with pytest.raises(InputError, match=r"p-10\.csv.*changed while it was in use"):
        list(manifest.jobs())


def test_a_file_that_comes_later_is_for_the_next_run(parts: Folder) -> None:
    """A name with wildcards is looked up once."""
    manifest = load_manifest(parts.write("m.yaml", f"rows: data/*.csv\n{JOBS}"))
    list(manifest.check())
    parts.write("data/p-4.csv", "Handle,Title\ne,Egg\n")

    assert ids(list(manifest.jobs())) == ["a", "b", "c"]


def test_files_without_rows_are_passed_over(parts: Folder) -> None:
    """A shard may be empty; all of them may not."""
    parts.write("data/p-1.csv", "")
    parts.write("data/p-2.csv", "Handle,Title\n")

    assert ids(parts.jobs(f"rows: data/*.csv\n{JOBS}")) == ["c"]
    parts.write("data/p-10.csv", "Handle,Title\n")
    assert parts.problems(f"rows: data/*.csv\n{JOBS}") == [
        "data/p-1.csv:1: has no rows, and neither has any other table"
    ]


def test_a_products_rows_may_continue_in_the_next_file(parts: Folder) -> None:
    """Exports are cut wherever they are full."""
    parts.write("data/p-2.csv", "Handle,Title\na,Pear\n")

    [first, second] = parts.jobs(f"rows: [data/p-1.csv, data/p-2.csv]\ngroup: Handle\n{JOBS}"), None

    assert (ids(first), second) == (["a"], None)


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"Handle,Title\na,Apple\nb,Boat\n", "'-'"),
        (b"Handle\tTitle\na\tApple\nb\tBoat\n", "'-'"),
        (b'{"Handle": "a", "Title": "Apple"}\n{"Handle": "b", "Title": "Boat"}\n', "'-'"),
        (gzip.compress(b"Handle,Title\na,Apple\nb,Boat\n", mtime=0), "'-'"),
        (b"Handle;Title\na;Apple\nb;Boat\n", "{file: '-', format: csv, delimiter: ';'}"),
    ],
)
def test_standard_input_is_read_as_often_as_needed(folder: Folder, content: bytes, rows: str) -> None:
    """It comes once; its format is seen from its first bytes, or said."""
    path = folder.write("m.yaml", f"rows: {rows}\nunique: Handle\n{JOBS}")
    manifest = load_manifest(path, stdin=io.BytesIO(content))

    assert ids(list(manifest.check())) == ids(list(manifest.jobs())) == ["a", "b"]


def test_a_problem_on_standard_input_has_its_line(folder: Folder) -> None:
    """As of a file."""
    path = folder.write("m.yaml", f"rows: '-'\n{JOBS}")

    with pytest.raises(InputError, match='standard input:3: column "Handle": id is empty'):
        list(load_manifest(path, stdin=io.BytesIO(b"Handle,Title\na,b\n,c\n")).check())


def test_parquet_comes_from_standard_input_too(folder: Folder) -> None:
    """The copy can be read from any place."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    stream = io.BytesIO()
    parquet.write_table(arrow.table({"Handle": ["a", "b"], "Title": ["x", "y"]}), stream)
    stream.seek(0)

    assert ids(list(load_manifest(folder.write("m.yaml", f"rows: '-'\n{JOBS}"), stdin=stream).check())) == ["a", "b"]


def test_a_terminal_is_no_table(folder: Folder) -> None:
    """It would wait without end."""
    main, terminal = os.openpty()
    path = folder.write("m.yaml", f"rows: '-'\n{JOBS}")
    try:
        with open(terminal, "rb") as stream, pytest.raises(InputError, match="nothing is piped in"):
            load_manifest(path, stdin=stream)
    finally:
        os.close(main)


def test_the_copy_of_standard_input_has_no_name(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else can edit it, and nothing is left behind."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()

    manifest = load_manifest(folder.write("m.yaml", f"rows: '-'\n{JOBS}"), stdin=io.BytesIO(b"Handle,Title\na,b\n"))

    assert os.listdir(tmp_path / "temporary") == []
    assert ids(list(manifest.check())) == ["a"]
