"""Rows from .xlsx files: the cells as a person sees them, and problems with Excel's own row numbers."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from typing import Any

import pytest

from batch.core.errors import InputError
from batch.manifest import load_manifest
from tests.manifest.conftest import Folder

openpyxl = pytest.importorskip("openpyxl")

JOBS = "jobs: [{id: '{{ Handle }}', prompt: 'a {{ Title }}'}]"


def workbook(rows: Sequence[Sequence[Any]], change: Callable[[Any], None] = lambda _: None) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    change(book)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        ("00199", "General", "00199"),
        (199, "00000", "00199"),
        (12.5, "0.00", "12.50"),
        (1299, "#,##0.00", "1299.00"),
        (4006381333931, "General", "4006381333931"),
        (0.1 + 0.2, "General", "0.3"),
        (5.0, "General", "5"),
        (True, "General", "true"),
        (date(2026, 5, 1), "yyyy-mm-dd", "2026-05-01"),
        (datetime(2026, 5, 1, 12, 30), "yyyy-mm-dd hh:mm", "2026-05-01 12:30:00"),  # noqa: DTZ001  # Excel has none
        (time(12, 30), "hh:mm", "12:30:00"),
        ("  a\nb ", "General", "  a\nb "),
    ],
)
def test_a_cell_is_the_text_one_sees(folder: Folder, value: object, form: str, text: str) -> None:
    """Where it decides what is bought or joined."""

    def formatted(book: Any) -> None:
        book.active["B2"].number_format = form

    folder.write("t.xlsx", workbook([["Handle", "Title"], ["a", value]], formatted))

    [job] = folder.jobs(f"rows: t.xlsx\n{JOBS}")

    assert job.prompt == f"a {text}"


def test_rows_have_excels_numbers(folder: Folder) -> None:
    """Empty rows count, and trailing empty cells do not."""
    folder.write("t.xlsx", workbook([["Handle", "Title"], ["a", "x", None, ""], [], [None, "y"]]))

    assert folder.problems(f"rows: t.xlsx\n{JOBS}") == [
        't.xlsx:4: column "Handle": id is empty; fill the cell, or leave such rows out with where: Handle != ""'
    ]


def test_the_first_sheet_that_is_not_hidden_or_the_one_named(folder: Folder) -> None:
    """Templates of marketplaces hide their lists in front."""

    def sheets(book: Any) -> None:
        book.active.title = "Lists"
        book.active.sheet_state = "hidden"
        for name in ("Products", "Old"):
            sheet = book.create_sheet(name)
            sheet.append(["Handle", "Title"])
            sheet.append([name.lower(), "x"])

    folder.write("t.xlsx", workbook([["no table"]], sheets))

    assert [job.id for job in folder.jobs(f"rows: t.xlsx\n{JOBS}")] == ["products"]
    assert [job.id for job in folder.jobs(f"rows: {{file: t.xlsx, sheet: Old}}\n{JOBS}")] == ["old"]
    assert folder.problems(f"rows: {{file: t.xlsx, sheet: Prodcts}}\n{JOBS}")[0] == (
        't.xlsx:1: the workbook has no sheet "Prodcts"; did you mean Products?'
    )


def test_lines_above_the_header(folder: Folder) -> None:
    """As in a CSV: found and named, or told."""
    rows: list[list[Any]] = [
        ["Products of Holm"],
        [],
        ["Handle", "Title", "Price"],
        ["a", "x", 5],
        ["b", "y", 6],
        ["c", "z", 7],
    ]
    folder.write("t.xlsx", workbook(rows))

    assert "write header_row: 3 in rows" in folder.problems(f"rows: t.xlsx\n{JOBS}")[0]
    assert len(folder.jobs(f"rows: {{file: t.xlsx, header_row: 3}}\n{JOBS}")) == 3


def test_merged_cells_are_carried(folder: Folder) -> None:
    """Excel keeps the value in the first cell only."""

    def merge(book: Any) -> None:
        book.active.merge_cells("A2:A3")

    folder.write("t.xlsx", workbook([["Handle", "Color"], ["kite", "Red"], [None, "Blue"]], merge))

    jobs = folder.jobs(
        "rows: t.xlsx\ncarry: [Handle]\njobs: [{id: '{{ Handle }}-{{ Color }}', prompt: 'a {{ Color }}'}]"
    )

    assert [job.id for job in jobs] == ["kite-Red", "kite-Blue"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"Handle,Title\na,b\n", "t.xlsx:1: no workbook (.xlsx): this is text or something else"),
        (b"\xd0\xcf\x11\xe0" + bytes(100), "t.xlsx:1: no workbook (.xlsx) (old, or protected by a password)"),
        (b"PK\x03\x04" + bytes(100), "t.xlsx:1: the workbook cannot be read"),
        (b"", "t.xlsx:1: no workbook"),
    ],
)
def test_what_is_no_workbook(folder: Folder, content: bytes, says: str) -> None:
    """A sentence, whatever a file of that name holds."""
    folder.write("t.xlsx", content)

    assert folder.problems(f"rows: t.xlsx\n{JOBS}")[0].startswith(says)


def test_a_workbook_that_is_edited_stops_the_pass(folder: Folder) -> None:
    """Nothing is sent that was not planned."""
    folder.write("t.xlsx", workbook([["Handle", "Title"], ["a", "x"]]))
    manifest = load_manifest(folder.write("m.yaml", f"rows: t.xlsx\n{JOBS}"))
    list(manifest.check())
    folder.write("t.xlsx", workbook([["Handle", "Title"], ["a", "another"], ["b", "y"]]))

    with pytest.raises(InputError, match="changed while it was in use"):
        list(manifest.jobs())


def test_a_workbook_comes_from_standard_input_too(folder: Folder) -> None:
    """Known by its first bytes."""
    stream = io.BytesIO(workbook([["Handle", "Title"], ["a", "x"]]))

    [job] = load_manifest(folder.write("m.yaml", f"rows: '-'\n{JOBS}"), stdin=stream).check()

    assert job.id == "a"


def test_only_a_workbook_has_sheets(folder: Folder) -> None:
    """Said at its place."""
    folder.write("t.csv", "Handle,Title\na,x\n")

    assert folder.problems(f"rows: {{file: t.csv, sheet: Products}}\n{JOBS}") == [
        "m.yaml:1:28: only a workbook has sheets; remove sheet"
    ]
