"""Which rows make jobs, and in which order."""
# ruff: noqa: E501  # a table reads best with one case on one line

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from batch.manifest import load_manifest

if TYPE_CHECKING:
    from tests.manifest.conftest import Folder

TABLE = """Handle,Vendor,Price,Published,Body (HTML)
a,Holm,9.50,true,x
b,,38,true,
c,Äse,100,false,x
a,Holm,7,true,x
d,äse,,true,x
e,Böhm,38,true,x
"""
JOBS = '\nrows: t.csv\njobs: [{prompt: "{{ Handle }} {{ Price }}"}]'


def picked(folder: Folder, choice: str, table: str = TABLE) -> list[str]:
    folder.write("t.csv", table)
    return [job.prompt for job in folder.jobs(choice + JOBS)]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("where: Published == 'true' and Vendor != ''", ["a 9.50", "a 7", "d ", "e 38"]),
        ("where: row['Body (HTML)'] and Body_HTML | length > 0", ["a 9.50", "c 100", "a 7", "d ", "e 38"]),
        ("where: Price | float > 9.4", ["a 9.50", "b 38", "c 100", "e 38"]),
        ("where: Handle in ['b', 'c'] or 'Holm' in Vendor", ["a 9.50", "b 38", "c 100", "a 7"]),
        ("where: Handle == 'none'", []),
        ("unique: Handle", ["a 9.50", "b 38", "c 100", "d ", "e 38"]),
        ("limit: 2", ["a 9.50", "b 38"]),
        ("sort: Price", ["c 100", "b 38", "e 38", "a 7", "a 9.50", "d "]),
        ("sort: {by: Price, numeric: true}", ["a 7", "a 9.50", "b 38", "e 38", "c 100", "d "]),
        ("sort: {by: Price, numeric: true, order: desc}", ["c 100", "b 38", "e 38", "a 9.50", "a 7", "d "]),
        ("sort: Vendor", ["e 38", "a 9.50", "a 7", "c 100", "d ", "b 38"]),
        ("sort: {by: Price, numeric: true, order: desc}\nlimit: 3", ["c 100", "b 38", "e 38"]),
        ("sort: {by: Price, numeric: true}\nlimit: 3", ["a 7", "a 9.50", "b 38"]),
        ("sort: {by: Price, numeric: true}\nunique: Handle\nwhere: Published == 'true'\nlimit: 2", ["a 9.50", "b 38"]),
        ("unique: Handle\nwhere: Price == '7'", ["a 7"]),
        ("unique: Vendor\nwhere: Vendor != ''", ["a 9.50", "c 100", "d ", "e 38"]),
        ("unique: Published", ["a 9.50", "c 100"]),
        ("unique: Published\nwhere: Vendor != 'Holm' and Handle != 'b'", ["c 100", "e 38"]),
        ("sort: {by: Vendor, order: desc}", ["c 100", "d ", "a 9.50", "a 7", "e 38", "b 38"]),
        ("sort: [Vendor, {by: Price, numeric: true}]", ["e 38", "a 7", "a 9.50", "c 100", "d ", "b 38"]),
        ("sort: [{by: Price, numeric: true, order: desc}, Handle]\nlimit: 3", ["c 100", "b 38", "e 38"]),
        ("sort: [{by: Published, order: desc}, {by: Handle, order: desc}]\nlimit: 2", ["e 38", "d "]),
        ("sort: {by: Handle, order: [e, C, b, a, d]}", ["e 38", "c 100", "b 38", "a 9.50", "a 7", "d "]),
    ],
)
def test_rows_are_picked(folder: Folder, choice: str, expected: list[str]) -> None:
    """Where, then unique, then sort, then limit, however they are written; equal rows keep their order."""
    assert picked(folder, choice) == expected


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("where: Publishd == 'true'", ['m.yaml:1:8: where: no column "Publishd"; did you mean Published?']),
        ("where: row['Bdy (HTML)']", ['m.yaml:1:8: where: no column "Bdy (HTML)"; did you mean Body (HTML)?']),
        (
            "where: Published = 'true'",
            ['m.yaml:1:8: where: the expression cannot be read: "=" is not expected; write == to compare'],
        ),
        ("where: '{{ Published }}'", ["m.yaml:1:8: where: this is an expression already; write it without {{ }}"]),
        ("where: Published == true", ['m.yaml:1:8: where: cells are text, which true is not; write "true"']),
        (
            "where: Handle and row['Price'] > 5",
            ["m.yaml:1:8: where: cells are text, which 5 is not; to compare numbers write Column | float"],
        ),
        ("where: Price +", ["m.yaml:1:8: where: the expression cannot be read: unexpected 'end of template'"]),
        (
            "where: Vendor / 2",
            ["t.csv:2: where: the expression cannot be filled: unsupported operand type(s) for /: 'str' and 'int'"],
        ),
        (
            "where: \"''.__class__.__mro__\"",
            [
                "t.csv:2: where: the expression cannot be filled: access to attribute '__class__' of 'str' object is unsafe."
            ],
        ),
        ("where: true", ["m.yaml:1:8: where must be text; quote it; got true"]),
        ("sort: Prise", ['m.yaml:1:7: no column "Prise"; did you mean Price?']),
        ("sort: {by: Prise}", ['m.yaml:1:12: no column "Prise"; did you mean Price?']),
        (
            "sort: {by: Vendor, numeric: true}",
            [
                't.csv:2: column "Vendor": is no number such as 12.5; got Holm',
                't.csv:4: column "Vendor": is no number such as 12.5; got Äse',
                't.csv:5: column "Vendor": is no number such as 12.5; got Holm',
                't.csv:6: column "Vendor": is no number such as 12.5; got äse',
                't.csv:7: column "Vendor": is no number such as 12.5; got Böhm',
            ],
        ),
        ("sort: [Handle, Prise]", ['m.yaml:1:16: no column "Prise"; did you mean Price?']),
        ("sort: []", ["m.yaml:1:7: sort must not be an empty list; name a column"]),
        ("sort: [5]", ["m.yaml:1:8: sort must be a mapping (key: value); got 5"]),
        (
            "sort: {by: Handle, order: []}",
            ["m.yaml:1:27: order must list words, each once, such as [high, normal, low]; quote numbers"],
        ),
        (
            "sort: {by: Handle, order: [a, A ]}",
            ["m.yaml:1:27: order must list words, each once, such as [high, normal, low]; quote numbers"],
        ),
        (
            "sort: {by: Handle, order: [a, b, c, d, e], numeric: true}",
            ["m.yaml:1:53: numeric and a list of words exclude each other"],
        ),
        (
            "sort: {by: Published, order: ['true', 'no']}",
            ['t.csv:4: column "Published": is none of the words in order, true, no; got false'],
        ),
        ("sort: {by: Price, ordr: desc}", ['m.yaml:1:19: unknown field "ordr"; did you mean order?']),
        (
            "sort: {by: Price, order: down}",
            [
                "m.yaml:1:26: order must be asc, desc, or a list of words from first to last such as [high, low]; got down"
            ],
        ),
        ("sort: {by: Price, numeric: 'yes'}", ["m.yaml:1:28: numeric must be true or false; got yes"]),
        ("limit: 0", ["m.yaml:1:8: limit must be a whole number from 1 to 1,000,000,000; got 0"]),
    ],
)
def test_a_choice_that_cannot_be_made(folder: Folder, choice: str, expected: list[str]) -> None:
    """Mistakes are told once, where they are written; mistakes of a row with its line."""
    folder.write("t.csv", TABLE)

    assert folder.problems(choice + JOBS) == expected


@pytest.mark.parametrize("choice", ["where: a", "unique: a", "sort: a", "limit: 1"])
def test_choosing_needs_a_table(folder: Folder, choice: str) -> None:
    """Without rows there is nothing to choose from."""
    name = choice.partition(":")[0]

    assert folder.problems(f"{choice}\njobs: [{{prompt: x}}]") == [
        f"m.yaml:1:{len(name) + 3}: {name} picks rows; name a table in rows, or remove it"
    ]


def test_rows_with_different_keys(folder: Folder) -> None:
    """A key that a line lacks can be asked for; one that is needed is a problem of that line; sorting puts it last."""
    lines = [{"h": "x", "n": 10}, {"h": "y"}, {"h": "z", "n": 9, "o": {"p": "q"}}]
    folder.write("t.jsonl", "\n".join(map(json.dumps, lines)))
    jobs = 'rows: t.jsonl\njobs: [{prompt: "{{ h }}"}]\n'

    assert [job.prompt for job in folder.jobs(jobs + "where: n is defined and n | int > 9")] == ["x"]
    assert [job.prompt for job in folder.jobs(jobs + "sort: {by: n, numeric: true}")] == ["z", "x", "y"]
    assert folder.problems(jobs + "where: n == '9'") == [
        "t.jsonl:2: where: the expression cannot be filled: 'n' is undefined"
    ]
    assert folder.problems(jobs + "sort: o") == ['t.jsonl:3: column "o": is no text; sort needs one']


PRIORITIES = """Handle,Priority,Due,Price
lamp,low,,"1,299.00 €"
mug,High ,2026-05-02,$9.50
board,,2026-01-01,7
kite,urgent,2026-12-01,"1.050,00"
apron,high,2026-04-30,0
teapot,normal,2026-02-01,
"""


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("{by: Priority, order: [urgent, high, normal, low]}", "kite mug apron teapot lamp board"),
        ("[{by: Priority, order: [urgent, high, normal, low]}, Due]", "kite apron mug teapot lamp board"),
        ("Due", "board teapot apron mug kite lamp"),
        ("{by: Due, order: desc}", "kite mug apron teapot board lamp"),
        ("{by: Price, numeric: true, order: desc}", "lamp kite mug board apron teapot"),
    ],
)
def test_urgent_rows_go_first(folder: Folder, choice: str, expected: str) -> None:
    """By words, dates or amounts as a shop writes them; a row that says nothing can wait."""
    folder.write("t.csv", PRIORITIES)

    jobs = folder.jobs(f"sort: {choice}\nrows: t.csv\njobs: [{{prompt: '{{{{ Handle }}}}'}}]")

    assert [job.prompt for job in jobs] == expected.split()


def test_numbers_in_conditions(folder: Folder) -> None:
    """What is no number is told, for a row left out by mistake is a picture nobody misses until it is missing."""
    folder.write("t.csv", PRIORITIES)
    jobs = "\nrows: t.csv\njobs: [{prompt: '{{ Handle }}'}]"

    assert [job.prompt for job in folder.jobs("where: Price | float > 100" + jobs)] == ["lamp", "kite"]
    assert folder.problems("where: Priority | float > 1" + jobs)[0] == (
        "t.csv:2: where: the text is no number such as 12.5 (float(0) would take it for 0); got low"
    )


def test_rows_that_are_left_out_are_not_checked(folder: Folder) -> None:
    """A row without a job needs no prompt, and rows after the limit are not read."""
    folder.write("t.csv", "Handle,Price\na,1\n,2\nb,3\nbroken\n")

    jobs = folder.jobs("where: Handle != ''\nlimit: 2\nrows: t.csv\njobs: [{prompt: '{{ Handle }}'}]")

    assert [job.prompt for job in jobs] == ["a", "b"]


def test_a_cell_is_no_expression(folder: Folder) -> None:
    """What stands in a table is data."""
    folder.write("t.csv", "a,b\n1/0,x\n{{ 1/0 }},y\n")

    assert len(folder.jobs("where: a\nsort: a\nrows: t.csv\njobs: [{prompt: '{{ b }}'}]")) == 2


@pytest.mark.parametrize(
    ("choice", "most_bytes"),
    [
        ("where: Handle != 'h7'", 3_000_000),
        ("limit: 20000", 3_000_000),
        ("sort: Handle\nlimit: 10", 3_000_000),
        ("unique: Price", 5_000_000),
    ],
)
def test_picking_needs_little_memory(folder: Folder, choice: str, most_bytes: int) -> None:
    """Rows are looked at one by one; sorting with a limit holds no more than so many, unique some bytes each."""
    folder.write("t.csv", "Handle,Price\n" + "".join(f"h{n},A fine product number {n}\n" for n in range(20_000)))
    manifest = load_manifest(folder.write("m.yaml", choice + JOBS))

    tracemalloc.start()
    for _ in manifest.check():
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < most_bytes
