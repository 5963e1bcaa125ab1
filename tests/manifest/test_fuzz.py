"""Whatever stands in the files, loading them ends in jobs or in problems, never in a traceback.

FUZZ_EXAMPLES=20000 in the environment looks longer than every test run can.
"""
# strategies read best with one idea on one line

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from batch.cli import app as cli
from batch.core.errors import InputError
from batch.manifest import load_manifest
from batch.manifest.tables.parquet_rows import is_available

if TYPE_CHECKING:
    from tests.manifest.conftest import Folder

FUZZED = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

WORDS = st.sampled_from(
    [
        "jobs",
        "prompt",
        "id",
        "rows",
        "t.csv",
        "{{ a }}",
        "{{",
        "{%",
        "}}",
        "&a",
        "*a",
        "<<",
        ": ",
        "- ",
        "\n",
        "  ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "'",
        '"',
        "!!int",
        "---",
        "|",
        "#",
        "no",
        "12",
        ".inf",
        "\t",
        "\ud7ff",
        "é",
        "unique",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        "jobs",
        "prompt",
        "id",
        "references",
        "samples",
        "model",
        "aspect_ratio",
        "image_size",
        "modalities",
        "rows",
        "limits",
        "provider",
        "profile",
        "base_url",
        "prices",
        "defaults",
        "unique",
        "file",
        "name",
        "retry",
        "where",
        "sort",
        "limit",
        "matrix",
        "lane",
        "fallback",
        "models",
        "on",
        "weight",
        "key_env",
        "concurrency",
    ]
)


def assert_printable(error: InputError) -> None:
    assert error.problems
    assert all(str(problem).isprintable() for problem in error.problems)


def load_all(folder: Folder, manifest: bytes, table: bytes, name: str = "t.csv") -> None:
    """Good jobs are really good; InputError is the only other way out, and its text can be printed."""
    folder.write(name, table)
    path = folder.write("m.yaml", manifest)
    try:
        jobs = list(load_manifest(path).check())
    except InputError as error:
        assert_printable(error)
        return
    assert all(job.id and job.prompt.strip() for job in jobs)


@FUZZED
@given(manifest=st.lists(WORDS, max_size=25).map("".join), table=st.text(max_size=60))
def test_random_yaml_never_escapes(folder: Folder, manifest: str, table: str) -> None:
    """Scraps of YAML in any order."""
    load_all(folder, manifest.encode(), table.encode("utf-8", "surrogatepass"))


@FUZZED
@given(manifest=st.binary(max_size=60))
def test_random_bytes_never_escape(folder: Folder, manifest: bytes) -> None:
    """Files that are no text at all."""
    load_all(folder, manifest, manifest)


@FUZZED
@given(top=st.dictionaries(FIELDS, VALUES, max_size=4), job=st.dictionaries(FIELDS, VALUES, max_size=4))
def test_random_values_never_escape(folder: Folder, top: dict[str, object], job: dict[str, object]) -> None:
    """Known fields with values of every kind. JSON is YAML, so it writes them."""
    load_all(folder, json.dumps({"jobs": [{"prompt": "x"} | job]} | top).encode(), b"a\n1\n")


PROVIDER_FIELDS = st.sampled_from(["name", "weight", "limits", "prices", "base_url", "key_env", "auth", "simulator"])
PROFILE = st.sampled_from(["anyfast", "google", "simulator", "none"])
PROVIDER = (
    PROFILE
    | VALUES
    | st.builds(
        lambda profile, rest: {"profile": profile} | rest, PROFILE, st.dictionaries(PROVIDER_FIELDS, VALUES, max_size=3)
    )
    | st.fixed_dictionaries(
        {"profile": PROFILE},
        optional={
            "name": st.sampled_from(["a", "anyfast", "anyfast-2"]),
            "key_env": st.sampled_from(["A", "B"]),
            "weight": st.floats(),
            "limits": st.dictionaries(
                st.sampled_from(["concurrency", "requests_per_day", "adaptive"]),
                st.none() | st.booleans() | st.integers(0, 1025),
            ),
            "base_url": st.sampled_from(
                ["https://a.example", "https://A.example/", "https://[::1", "http://127.0.0.1:1"]
            ),
        },
    )
)
MODEL = (
    st.sampled_from(["gemini-3-pro-image", "gemini-2.5-flash-image", "gemini-3.1-flash-image", "other", ""]) | VALUES
)


@FUZZED
@given(
    provider=PROVIDER | st.lists(PROVIDER, max_size=4),
    fallback=MODEL
    | st.lists(MODEL, max_size=3)
    | st.fixed_dictionaries(
        {"models": MODEL | st.lists(MODEL, max_size=3)},
        optional={"on": st.sampled_from(["safety", "overload", ["safety"], []]) | VALUES},
    ),
    lane=st.sampled_from(["flex", "standard"]) | VALUES,
    job=st.fixed_dictionaries(
        {},
        optional={
            "model": MODEL,
            "image_size": st.sampled_from(["512", "2K"]),
            "aspect_ratio": st.sampled_from(["1:8", "2:3", "1:1"]),
        },
    ),
)
@example(provider=[{"profile": "anyfast", "base_url": "https://[::1"}], fallback=[], lane="flex", job={})
def test_random_pools_never_escape(
    folder: Folder, provider: object, fallback: object, lane: object, job: dict[str, object]
) -> None:
    """Providers, lanes and fallback models of every shape, alone and beside one another."""
    manifest = {"provider": provider, "fallback": fallback, "lane": lane, "jobs": [{"prompt": "x"} | job]}
    load_all(folder, json.dumps(manifest).encode(), b"")


@FUZZED
@given(
    prompt=st.text(st.sampled_from("{}%#ab |'\"()[].*+-/1row_"), max_size=25),
    table=st.lists(st.text(st.sampled_from('a,b"\n\r\t 1é'), max_size=12), max_size=6).map("\n".join),
)
def test_random_templates_and_tables_never_escape(folder: Folder, prompt: str, table: str) -> None:
    """Expressions of every shape over rows of every shape."""
    manifest = json.dumps({"rows": "t.csv", "jobs": [{"prompt": "{{ a }}{{" + prompt + "}}"}]})
    load_all(folder, manifest.encode(), ("a,b\n" + table).encode())


@FUZZED
@given(where=st.text(st.sampled_from("ab|'\"()[]!=<>.*+-/1 andotrwi"), max_size=25), table=st.binary(max_size=40))
def test_random_conditions_and_tables_never_escape(folder: Folder, where: str, table: bytes) -> None:
    """Conditions of every shape over rows of every shape."""
    choice = {"where": where, "sort": "a", "limit": 3}
    manifest = json.dumps({"rows": "t.csv", "jobs": [{"prompt": "{{ a }}"}]} | choice)
    load_all(folder, manifest.encode(), b"a,b\n1,2\n" + table)


@FUZZED
@given(
    lines=st.lists(st.dictionaries(st.sampled_from("ab"), VALUES, max_size=2).map(json.dumps) | st.text(max_size=12)),
    template=st.sampled_from(["{{ a }}", "{{ a.b }}", "{{ row['a'][0] }}", "{{ a | default('x') }}{{ b | slug }}"]),
)
def test_random_json_lines_never_escape(folder: Folder, lines: list[str], template: str) -> None:
    """Objects of every shape, and lines that are none."""
    manifest = json.dumps({"rows": {"file": "t.csv", "format": "jsonl"}, "jobs": [{"prompt": template}]})
    load_all(folder, manifest.encode(), "\n".join(lines).encode("utf-8", "surrogatepass"))


@FUZZED
@given(
    axes=st.dictionaries(st.sampled_from(["a", "b", "image_size"]), st.lists(VALUES, max_size=3), max_size=3),
    more=st.dictionaries(st.sampled_from(["include", "exclude"]), VALUES | st.lists(VALUES, max_size=2), max_size=2),
)
@example(axes={"a": [{"\x1f": False}, {"0": False}]}, more={})
def test_random_matrices_never_escape(folder: Folder, axes: dict[str, object], more: dict[str, object]) -> None:
    """Names, values, include and exclude of every shape."""
    jobs = [{"prompt": "{{ a }} {{ b }} {{ a.name }}"}, {"prompt": "x"}]
    load_all(folder, json.dumps({"matrix": axes | more, "jobs": jobs}).encode(), b"")


# ---- tables of every kind under manifests that choose, vary and compute ------------------------------------------

CELLS = st.text(
    st.sampled_from("ab1 .,;\t|\"'\r\n{}%<>&é雨\u2028\u202e\x00\x1b\x85\ud800\ufeff"), max_size=8
) | st.sampled_from(
    [
        "",
        "x",
        "1.5",
        "-0",
        "nan",
        "1e999",
        "true",
        "{{ a }}",
        "<b>x</b>",
        "&#0;",
        "&#55296;",
        "=1",
        "AIza" + "Sy" * 17,
        "9" * 5000,
    ]
)
NAMES = st.lists(
    st.sampled_from(["a", "b", "A b", "A-b", "", " a", "if", "row", "ß", "\x1b", "id"]) | CELLS, min_size=1, max_size=4
)
EXPRESSIONS = [
    "a",
    "b",
    "row['a']",
    "row.b",
    "a[0]",
    "a.b",
    "m",
    "m.name",
    "n",
    "row",
    "nope",
    "1",
    "'x'",
    "a ~ b",
    "a + b",
    "a * 3",
    "a % b",
    "7 // 0",
    "[a, b]",
    "{'k': a}",
    "not a",
    "a in b",
    "a == b",
    "a < b",
    "a is defined",
    "a is none",
    "a.replace('a', b)",
    "a.join(b)",
    "a.split(b)",
    "a.encode()",
    "loop",
    "-a",
]
FILTERS = [
    "abs",
    "capitalize",
    "d",
    "default",
    "default('x')",
    "default(a, true)",
    "e",
    "first",
    "float",
    "int",
    "int(0, 16)",
    "join",
    "join(b)",
    "join(',', 'k')",
    "last",
    "length",
    "list",
    "lower",
    "max",
    "min",
    "replace('', b)",
    "replace(a, b)",
    "replace('a', 'b', 2)",
    "reverse",
    "round",
    "round(99)",
    "slug",
    "sort",
    "string",
    "strip_html",
    "striptags",
    "title",
    "trim",
    "truncate(3)",
    "truncate(-1)",
    "unique",
    "upper",
    "wordcount",
    "words(2)",
    "words(0)",
    "nope",
]
EXPRESSION = st.builds(
    lambda start, through: " | ".join([start, *through]),
    st.sampled_from(EXPRESSIONS),
    st.lists(st.sampled_from(FILTERS), max_size=3),
)
TEMPLATE = st.lists(
    EXPRESSION.map("{{{{ {} }}}}".format)
    | EXPRESSION.map("{{% if {0} %}}x{{{{ {0} }}}}{{% endif %}}".format)
    | EXPRESSION.map("{{% for i in {} %}}{{{{ i }}}}{{{{ loop.length }}}}{{% endfor %}}".format)
    | EXPRESSION.map("{{% set a = {} %}}".format)
    | st.sampled_from(["x", " ", "{{ a }}", "{{ a | slug }}", "-", "{%", "}}", "{# #}"]),
    min_size=1,
    max_size=3,
).map("".join)
COLUMN = st.sampled_from(["a", "b", "A b", "nope", "", "id"])
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "where": EXPRESSION,
        "unique": COLUMN,
        "sort": COLUMN
        | st.fixed_dictionaries(
            {"by": COLUMN}, optional={"order": st.sampled_from(["asc", "desc"]), "numeric": st.booleans()}
        ),
        "limit": st.integers(1, 3),
        "matrix": st.fixed_dictionaries({"m": st.lists(st.sampled_from(["x", "y", 1]), min_size=1, max_size=2)})
        | st.just(
            {
                "m": [{"name": "x", "image_size": "2K"}, {"name": "y"}],
                "n": ["1", "2"],
                "exclude": [{"m": "x", "n": "1"}],
            }
        ),
    },
)
JOB = st.fixed_dictionaries(
    {"prompt": TEMPLATE},
    optional={
        "id": TEMPLATE,
        "samples": st.integers(1, 3),
        "image_size": TEMPLATE,
        "aspect_ratio": TEMPLATE,
        "model": TEMPLATE,
        "references": st.lists(TEMPLATE, max_size=2),
    },
)
TYPED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | CELLS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ak\ud800"), inner, max_size=2),
    max_leaves=4,
)


def as_csv(names: list[str], table: list[list[str]], delimiter: str, quoting: bool | None, line_end: str) -> bytes:
    """Quoted where needed, everywhere, or (None) never, whatever that makes of it."""
    text = io.StringIO(newline="")
    if quoting is None:
        text.write(line_end.join(map(delimiter.join, [names, *table])))
    else:
        style: Literal[0, 1] = csv.QUOTE_ALL if quoting else csv.QUOTE_MINIMAL
        csv.writer(text, delimiter=delimiter, quoting=style, lineterminator=line_end).writerows([names, *table])
    return text.getvalue().encode("utf-8", "surrogatepass")


def as_parquet(columns: list[list[Any]]) -> bytes:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    data = io.BytesIO()
    length = min(map(len, columns))
    parquet.write_table(
        arrow.table([arrow.array(column[:length]) for column in columns], names=["a", "b", "A b"][: len(columns)]), data
    )
    return data.getvalue()


CSV = st.builds(
    as_csv,
    NAMES,
    st.lists(st.lists(CELLS, max_size=4), max_size=5),
    st.sampled_from(",;\t|"),
    st.sampled_from([False, True, None]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
JSON_LINES = st.lists(
    st.dictionaries(st.sampled_from(["a", "b", "A b", "", "\x1b"]), TYPED, max_size=3).map(json.dumps)
    | CELLS.filter(lambda text: "\ud800" not in text),
    max_size=5,
).map(lambda lines: "\n".join(lines).encode())
COLUMNS_OF_ONE_TYPE = st.sampled_from(
    [
        st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
        st.integers(-5, 5),
        st.floats(),
        st.booleans(),
        st.binary(max_size=3),
        st.dates(),
        st.datetimes(),
        st.decimals(-9, 9, places=2),
        st.lists(st.integers(0, 9), max_size=2),
    ]
).flatmap(lambda kind: st.lists(kind | st.none(), max_size=4))
PARQUET = st.lists(COLUMNS_OF_ONE_TYPE, min_size=1, max_size=3).map(as_parquet)
DAMAGES = st.none() | st.tuples(st.integers(0, 200), st.binary(max_size=2))


def damaged(data: bytes, damage: tuple[int, bytes] | None) -> bytes:
    """The file with some bytes written over, or cut off there."""
    if damage is None:
        return data
    place, new = damage
    return data[:place] + new + data[place + len(new) :] if new else data[:place]


@FUZZED
@given(
    kind=st.sampled_from(["csv", "tsv", "jsonl", *(["parquet"] if is_available() else [])]),
    data=st.data(),
    options=OPTIONS,
    jobs=st.lists(JOB, min_size=1, max_size=2),
    encoding=st.sampled_from(["utf-8", "utf-8", "utf-16", "latin-1", "shift_jis", "gb18030"]),
    packed=st.booleans(),
    damage=DAMAGES,
    packing_damage=DAMAGES,
)
def test_random_tables_never_escape(
    folder: Folder,
    kind: str,
    data: st.DataObject,
    options: dict[str, Any],
    jobs: list[dict[str, Any]],
    encoding: str,
    packed: bool,
    damage: tuple[int, bytes] | None,
    packing_damage: tuple[int, bytes] | None,
) -> None:
    """Every format, packed or not, whole or damaged, under manifests that pick, sort, vary and compute."""
    table = damaged(data.draw({"csv": CSV, "tsv": CSV, "jsonl": JSON_LINES, "parquet": PARQUET}[kind]), damage)
    rows: dict[str, Any] = {"file": f"t.{kind}", "encoding": encoding}
    if packed and kind != "parquet":
        rows["file"], table = f"t.{kind}.gz", damaged(gzip.compress(table), packing_damage)
    if kind in ("csv", "tsv"):
        rows["delimiter"] = data.draw(st.sampled_from([",", ";", "tab", "|"]))
    manifest = json.dumps({"rows": rows, "jobs": jobs} | options)
    load_all(folder, manifest.encode(), table, rows["file"])


# ---- the command ------------------------------------------------------------------------------------------------

GOOD = b'name: m\nrows: t.csv\nmatrix: {m: [x, y]}\njobs:\n- id: "{{ a }}-{{ m }}"\n  prompt: |\n    {{ b }} {{ m }}\n'


def exit_code_of_plan(folder: Folder, manifest: bytes, table: bytes, monkeypatch: pytest.MonkeyPatch) -> int:
    folder.write("t.csv", table)
    monkeypatch.setattr(
        sys, "argv", ["imagebatch", "plan", str(folder.write("m.yaml", manifest)), "-o", str(folder.path / "out")]
    )
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@FUZZED
@given(
    manifest=st.binary(max_size=60)
    | st.tuples(st.integers(0, len(GOOD)), st.binary(max_size=3)).map(lambda damage: damaged(GOOD, damage)),
    table=st.binary(max_size=30),
)
def test_the_command_never_fails_by_itself(
    folder: Folder, manifest: bytes, table: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random bytes, and a good manifest with a few of its bytes changed: exit code 0, 65 or 66, never a bug's 70."""
    assert exit_code_of_plan(folder, manifest, b"a,b\n1,x\n" + table, monkeypatch) in (0, 65, 66)
