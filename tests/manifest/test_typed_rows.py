"""Rows from JSON lines, Parquet and packed files; their texts are as exact as those of a CSV."""
# ruff: noqa: E501  # a table reads best with one case on one line

from __future__ import annotations

import gzip
import sys
import tracemalloc
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from batch.core.errors import InputError
from batch.core.model import Place
from batch.manifest import load_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.manifest.conftest import Folder

BY_TITLE = 'rows: t.jsonl\njobs: [{id: "{{ Handle }}", prompt: "{{ Title }}"}]'


def prompts(folder: Folder, template: str, lines: str, name: str = "t.jsonl") -> list[str]:
    folder.write(name, lines)
    return [job.prompt for job in folder.jobs(f"rows: {name}\njobs: [{{prompt: '{template}'}}]")]


def test_every_object_is_a_row_with_its_line(folder: Folder) -> None:
    """Empty lines are skipped, and a job knows where it comes from."""
    folder.write("t.jsonl", '{"Handle": "a", "Title": "Apron"}\r\n\n{"Title": "Bœrd", "Handle": "00199"}')

    jobs = folder.jobs(BY_TITLE)

    assert [(job.id, job.prompt) for job in jobs] == [("a", "Apron"), ("00199", "Bœrd")]
    assert jobs[1].place == Place(file=str(folder.path / "t.jsonl"), line=3)


def test_numbers_keep_their_digits(folder: Folder) -> None:
    """What is written is what is sent: no rounding, no lost zero."""
    line = '{"a": 1.50, "b": 12345678901234567890, "c": 1e3, "d": true, "e": null, "f": 0.1000000000000000000001}'

    assert prompts(folder, "{{a}} {{b}} {{c}} {{d}} [{{e}}] {{f}}", line) == [
        "1.50 12345678901234567890 1e3 true [] 0.1000000000000000000001"
    ]


def test_values_inside_a_value(folder: Folder) -> None:
    """Objects and lists are reached into, with the texts in them as exact as outside."""
    line = '{"a": {"b": 1.50, "items": [{"c": null}, false]}, "tags": ["new", 2]}'

    assert prompts(
        folder, '{{ row["a"]["b"] }}, {{ a.b }}, {{ row["a"]["items"][1] }}, {{ tags | join("+") }}', line
    ) == ["1.50, 1.50, false, new+2"]


def test_a_cell_is_never_a_template(folder: Folder) -> None:
    """What stands in a file is data, however deep."""
    assert prompts(folder, "{{ a.b }}{{ c }}", '{"a": {"b": "{{ 1/0 }}"}, "c": "{% x %}"}') == ["{{ 1/0 }}{% x %}"]


def test_missing_keys_may_have_a_default(folder: Folder) -> None:
    """Lines need not have the same keys; the template says what happens without one."""
    assert prompts(
        folder, '{{ a | default("plain") }}{% if b is defined %}{{ b }}{% endif %}', '{"a": "x"}\n{"b": "y"}'
    ) == ["x", "plainy"]


BAD: dict[str, tuple[str | bytes, list[str]]] = {
    "missing key": (
        '{"Handle": "a", "Title": "x"}\n{"Handle": "b"}\n{"Handle": "c"}',
        [
            't.jsonl:2: job "b": prompt: this row has no "Title"',
            't.jsonl:3: job "c": prompt: this row has no "Title"',
        ],
    ),
    "key of no line": ('{"Handle": "a", "Titel": "x"}', ['m.yaml:2:37: no column "Title"; did you mean Titel?']),
    "object": (
        '{"Handle": "a", "Title": {"en": "x"}}',
        ['t.jsonl:1: job "a": prompt: "Title" is an object here; pick a value of it, such as row["Column"]["key"]'],
    ),
    "list": (
        '{"Handle": "a", "Title": ["x"]}',
        ['t.jsonl:1: job "a": prompt: "Title" is a list here; pick a value of it, such as row["Column"]["key"]'],
    ),
    "null": (
        '{"Handle": "a", "Title": null}',
        ['t.jsonl:1: column "Title": job "a": prompt is empty; write what the picture shows'],
    ),
    "no object": (
        '{"Handle": "a", "Title": "x"}\n[1]',
        ['t.jsonl:2: every line must be an object such as {"Title": "Kite"}'],
    ),
    "bad JSON": (
        '{"Handle": "a", "Title": "x"}\n{"Handle": }',
        ["t.jsonl:2: no JSON object on this line (Expecting value, character 12)"],
    ),
    "pretty": (
        '[\n{"Handle": "a"\n}]',
        ["t.jsonl:1: this is one JSON list; JSON lines hold one object per line (jq -c '.[]' makes them of it)"],
    ),
    "doubled key": (
        '{"Handle": "a", "Title": "x", "Title": "y"}',
        ['t.jsonl:1: the key "Title" is written twice; keep one'],
    ),
    "NaN": ('{"Handle": "a", "Title": NaN}', ["t.jsonl:1: NaN is no JSON; write a number or null"]),
    "deep": ('{"Handle": "a", "Title": "x"}\n' + '{"a":' * 100_000, ["t.jsonl:2: the line is nested too deep"]),
    "empty": ("\n\n", ["t.jsonl:1: has no rows; write one JSON object per line"]),
    "no keys": ("{}\n{}", ["t.jsonl:1: no line has a key; keys name the columns"]),
    "not utf-8": (
        b'{"Handle": "a", "Title": "x"}\n{"Handle": "caf\xe9"}',
        ["t.jsonl:2: not utf-8; save the table as UTF-8 or name its encoding in rows"],
    ),
    "deep cell": (
        '{"Handle": "a", "Title": "x", "b": ' + "[" * 600 + "]" * 600 + '}\n{"Handle": "b", "Title": 7}',
        ["t.jsonl:1: the line is nested too deep"],
    ),
    "half a character": (
        '{"Handle": "a", "Title": "\\ud800"}',
        [
            't.jsonl:1: column "Title": job "a": prompt: \\ud800 is half a character, not valid Unicode; write the whole character'
        ],
    ),
    "key": (
        '{"Handle": "a", "Title": "AIzaSyA1234567890123456789012345678901"}',
        [
            't.jsonl:1: column "Title": job "a": prompt: this looks like an API key; keys come from the environment, never from a manifest or a table'
        ],
    ),
    "too many keys": (
        "".join(f'{{"k{n}": 1}}\n' for n in range(10_001)),
        ["t.jsonl:1: the lines have more than 10,000 different keys; keys are names of columns"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_lines_are_named(folder: Folder, case: str) -> None:
    """Each fault is told once, with its line, and the lines after it are read."""
    content, expected = BAD[case]
    folder.write("t.jsonl", content)

    assert folder.problems(BY_TITLE) == expected


def test_a_line_without_end_is_not_read_whole(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A packed file of one endless line does not fill the memory."""
    monkeypatch.setattr("batch.manifest.tables.jsonl_rows.MAX_LINE_CHARACTERS", 1000)
    folder.write("t.jsonl.gz", gzip.compress(b'{"Handle": "a", "Title": "' + b"x" * 5000))

    assert folder.problems(BY_TITLE.replace("t.jsonl", "t.jsonl.gz")) == [
        "t.jsonl.gz:1: the line is longer than 1,000 characters"
    ]


def test_a_csv_line_without_end_is_not_read_whole(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one of a table with delimiters."""
    monkeypatch.setattr("batch.manifest.tables.csv_rows.MAX_LINE_CHARACTERS", 1000)
    folder.write("t.csv.gz", gzip.compress(b"Handle,Title\na,b\nc," + b"," * 5000))

    assert folder.problems(BY_TITLE.replace("t.jsonl", "t.csv.gz")) == [
        "t.csv.gz:3: the row cannot be read: its line is longer than 16,777,216 characters"
    ]


def test_a_header_of_very_many_cells_is_no_header(folder: Folder) -> None:
    """Such a file is something else, and comparing its names would take long."""
    folder.write("t.csv", ",".join(f"c{n}" for n in range(200_000)) + "\n1\n")

    assert folder.problems(BY_TITLE.replace("t.jsonl", "t.csv")) == [
        "t.csv:1: the header has 200,000 cells; it names the columns, 10,000 at most"
    ]


@pytest.mark.parametrize(
    ("rows", "content"),
    [
        ("t.csv.gz", "Handle,Title\na,é\n"),
        ("t.TSV.gz", "Handle\tTitle\na\té\n"),
        ("t.jsonl.gz", '{"Handle": "a", "Title": "é"}\n'),
        ("{file: t.gz, format: csv}", "Handle,Title\na,é\n"),
        ("{file: t.dat.gz, delimiter: ';'}", "Handle;Title\na;é\n"),
    ],
)
def test_packed_tables(folder: Folder, rows: str, content: str) -> None:
    """A file that ends in .gz is unpacked as it is read."""
    folder.write(rows.strip("{}").removeprefix("file: ").partition(",")[0], gzip.compress(content.encode()))

    [job] = folder.jobs(BY_TITLE.replace("t.jsonl", rows))

    assert (job.id, job.prompt) == ("a", "é")


def test_damaged_packed_tables(folder: Folder) -> None:
    """A download cut off half-way is a problem, not a shorter table."""
    text = "Handle,Title\n" + "".join(f"h{n},Product {n}\n" for n in range(5000))
    folder.write("cut.csv.gz", gzip.compress(text.encode())[:-2000])
    folder.write("damaged.csv.gz", gzip.compress(text.encode())[:400] + b"damaged" * 20)

    cut = folder.problems(BY_TITLE.replace("t.jsonl", "cut.csv.gz"))
    assert len(cut) == 1
    assert cut[0].endswith(": the table cannot be read: the .gz file is cut off")
    [damaged] = folder.problems(BY_TITLE.replace("t.jsonl", "damaged.csv.gz"))
    assert damaged.endswith(": the table cannot be read: the .gz file is damaged")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("{file: t.jsonl, delimiter: ';'}", "m.yaml:1:34: a jsonl table has no delimiter; remove it"),
        ("t.parquet.gz", "m.yaml:1:7: a parquet table is packed already; unpack the .gz file"),
        ("{file: t.csv, format: xml}", "m.yaml:1:29: format must be one of csv, tsv, jsonl, parquet, xlsx; got xml"),
    ],
)
def test_formats_that_do_not_go_together(folder: Folder, rows: str, expected: str) -> None:
    """Options of one format are not swallowed by another."""
    folder.write("t.jsonl", '{"Handle": "a", "Title": "x"}')
    folder.write("t.csv", "Handle,Title\na,b\n")

    assert folder.problems(BY_TITLE.replace("t.jsonl", rows))[0] == expected


def test_format_wins_over_the_name(folder: Folder) -> None:
    """Exports have all kinds of names."""
    folder.write("export.txt", '{"Handle": "a", "Title": "x"}')

    [job] = folder.jobs(BY_TITLE.replace("t.jsonl", "{file: export.txt, format: jsonl}"))

    assert job.id == "a"


def test_many_lines_need_little_memory(folder: Folder) -> None:
    """Lines are forgotten as soon as their jobs are made."""
    folder.write("t.jsonl", "".join(f'{{"Handle": "h{n}", "Title": "A fine product"}}\n' for n in range(20_000)))
    manifest = load_manifest(folder.write("m.yaml", BY_TITLE))

    tracemalloc.start()
    count = sum(1 for _ in manifest.check())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count == 20_000
    assert peak < 3_000_000


def write_parquet(path: Path, columns: dict[str, Any], **options: Any) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table(columns), path, **options)


def test_parquet_values_become_exact_texts(folder: Folder) -> None:
    """Types of Parquet, as a person would write their values."""
    arrow = pytest.importorskip("pyarrow")
    columns = {
        "text": ["00199", None],
        "long": [9007199254740993, 2],
        "money": [Decimal("12.50"), Decimal("0.10")],
        "single": arrow.array([0.1, 2.5], type=arrow.float32()),
        "flag": [True, False],
        "kind": arrow.array(["x", "y"]).dictionary_encode(),
        "inner": [{"name": "N", "tags": ["a", "b"]}, {"name": "M", "tags": []}],
        "day": arrow.array([0, 1], type=arrow.date32()),
    }
    write_parquet(folder.path / "t.parquet", columns)
    text = 'rows: t.parquet\njobs: [{prompt: \'[{{text}}] {{long}} {{money}} {{single}} {{flag}} {{kind}} {{day}} {{inner.name}} {{ row["inner"]["tags"] | join("+") }}\'}]'

    jobs = folder.jobs(text)

    assert [job.prompt for job in jobs] == [
        "[00199] 9007199254740993 12.50 0.1 true x 1970-01-01 N a+b",
        "[] 2 0.10 2.5 false y 1970-01-02 M ",
    ]
    assert jobs[1].place == Place(file=str(folder.path / "t.parquet"), line=2)


def test_parquet_in_many_batches(folder: Folder) -> None:
    """Rows are counted through row groups and batches."""
    write_parquet(
        folder.path / "t.parquet", {"Handle": [f"h{n}" for n in range(2500)], "Title": ["x"] * 2500}, row_group_size=700
    )

    jobs = folder.jobs(BY_TITLE.replace("t.jsonl", "t.parquet"))

    assert [job.place.line for job in jobs if job.place] == list(range(1, 2501))


def test_bad_parquet(folder: Folder) -> None:
    """Damaged files, bytes that are no text, tables without rows."""
    write_parquet(folder.path / "bytes.parquet", {"Handle": ["a"], "Title": [b"\x89PNG"]})
    write_parquet(folder.path / "none.parquet", {"Handle": [], "Title": []})
    folder.write("no.parquet", b"PAR1 but not really")

    def problems(name: str) -> list[str]:
        return folder.problems(BY_TITLE.replace("t.jsonl", name))

    assert problems("bytes.parquet") == [
        'bytes.parquet:1: job "a": prompt: "Title" is binary data here; pick a value of it, such as row["Column"]["key"]'
    ]
    assert problems("none.parquet") == ["none.parquet:1: has no rows"]
    [problem] = problems("no.parquet")
    assert problem.startswith("no.parquet:1: the table cannot be read as parquet: ")


def test_without_pyarrow_the_way_to_get_it_is_said(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is large and few need it."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    folder.write("t.parquet", b"PAR1")

    with pytest.raises(InputError, match=r"m.yaml:1:7: .*pip install 'imagebatch\[parquet\]'"):
        load_manifest(folder.write("m.yaml", BY_TITLE.replace("t.jsonl", "t.parquet")))
