"""Whatever stands in the files, loading them ends in jobs or in problems, never in a traceback."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch.errors import InputError
from batch.manifest import load_manifest

if TYPE_CHECKING:
    from tests.manifest.conftest import Folder

FUZZED = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

WORDS = st.sampled_from(
    [
        "jobs", "prompt", "id", "rows", "t.csv", "{{ a }}", "{{", "{%", "}}", "&a", "*a", "<<", ": ", "- ", "\n", "  ",
        "[", "]", "{", "}", ",", "'", '"', "!!int", "---", "|", "#", "no", "12", ".inf", "\t", "\ud7ff", "é", "unique",
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        "jobs", "prompt", "id", "references", "samples", "model", "aspect_ratio", "image_size", "modalities", "rows",
        "limits", "provider", "profile", "base_url", "prices", "defaults", "unique", "file", "name", "retry",
        "where", "sort", "limit", "matrix",
    ]
)  # fmt: skip


def assert_printable(error: InputError) -> None:
    assert error.problems
    assert all(str(problem).isprintable() for problem in error.problems)


def load_all(folder: Folder, manifest: bytes, table: bytes) -> None:
    """Good jobs are really good; InputError is the only other way out, and its text can be printed."""
    folder.write("t.csv", table)
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
def test_random_matrices_never_escape(folder: Folder, axes: dict[str, object], more: dict[str, object]) -> None:
    """Names, values, include and exclude of every shape."""
    jobs = [{"prompt": "{{ a }} {{ b }} {{ a.name }}"}, {"prompt": "x"}]
    load_all(folder, json.dumps({"matrix": axes | more, "jobs": jobs}).encode(), b"")
