"""A manifest handed over by a program: the same jobs as from a file, and problems that name the job or the row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.core.errors import InputError
from batch.manifest import JobSpec, given_manifest, load_manifest
from batch.manifest.schema.schema import JobShape

COLUMN = {"id": "{{ sku }}", "prompt": "photo of {{ title }}"}


def jobs_of(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    return [(job.id, job.prompt) for job in given_manifest(manifest).check()]


def problem_of(manifest: dict[str, Any]) -> str:
    with pytest.raises(InputError) as told:
        jobs_of(manifest)
    return str(told.value.problems[0])


def test_specs_and_mappings_make_the_jobs_of_a_file(tmp_path: Path) -> None:
    """Every key means what it means in YAML, down to the hash of what is bought."""
    spec = JobSpec(
        id="a", prompt="a: {b}, #c\n\"d\" 'e' é", aspect_ratio="3:4", image_size="512", modalities=("TEXT", "IMAGE")
    )
    written = {"id": "b", "prompt": "plain", "samples": 2}
    file = tmp_path / "m.yaml"
    as_written = {
        "id": "a",
        "prompt": spec.prompt,
        "aspect_ratio": "3:4",
        "image_size": "512",
        "modalities": ["TEXT", "IMAGE"],
    }
    file.write_text(json.dumps({"jobs": [as_written, written]}))
    from_values = list(given_manifest({"jobs": iter([spec, written])}).check())
    assert [(job.id, job.spec_hash()) for job in from_values] == [
        (job.id, job.spec_hash()) for job in load_manifest(file).check()
    ]
    assert [job.id for job in from_values] == ["a", "b.1", "b.2"]


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_any_prompt_arrives_as_it_is(prompt: str) -> None:
    """Without rows a text is no template, and nothing in it is YAML."""
    assert jobs_of({"jobs": [{"id": "x", "prompt": f"a {prompt} b"}]}) == [("x", f"a {prompt} b")]


def test_rows_come_from_a_cursor_that_can_be_read_once() -> None:
    """The check and every later pass see the same rows."""

    def cursor() -> Iterator[dict[str, Any]]:
        yield {"sku": "a", "title": "mug", "at": date(2026, 1, 2), "price": Decimal("1.50"), "key": UUID(int=7)}
        yield {"sku": "b", "title": "cup", "at": None, "price": None, "key": None}

    manifest = given_manifest(
        {"rows": cursor(), "jobs": [{"id": "{{ sku }}", "prompt": "{{ title }} {{ at or '' }} {{ price or '' }}"}]}
    )
    first = [job.prompt for job in manifest.check()]
    assert first == [job.prompt for job in manifest.jobs()]
    assert first[0].startswith("mug 2026-01-02 1.50")


def test_rows_may_still_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, a list of files, or a mapping, as in a manifest; relative to the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("sku,title\na,mug\n")
    for rows in ("t.csv", ["t.csv"], {"file": "t.csv"}):
        assert jobs_of({"rows": rows, "jobs": [COLUMN]}) == [("a", "photo of mug")]


def test_a_million_characters_of_rows_are_not_held(tmp_path: Path) -> None:
    """They are copied to a file as they come: the iterator is drained before the first job is looked at."""
    taken = 0

    def rows() -> Iterator[dict[str, str]]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield {"sku": f"s{number}", "title": "t" * 1000}

    manifest = given_manifest({"rows": rows(), "jobs": [COLUMN]})
    assert taken == 1000
    assert sum(1 for _ in manifest.check()) == 1000


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a key": ({"jobs": [{"promt": "x"}]}, '(given by a program):2:2: unknown field "promt"; did you mean prompt?'),
    "the third job": ({"jobs": [{"prompt": "x"}, {"prompt": "y"}, {"prompt": ""}]}, "(given by a program):4:12: "),
    "no mapping": ({"jobs": ["a mountain"]}, "every job must be a mapping or a JobSpec; got str"),
    "bytes": ({"jobs": [{"prompt": b"x"}]}, "job 1 cannot be written down: a value of type bytes"),
    "not a number": ({"rows": [{"sku": float("nan")}], "jobs": [COLUMN]}, "row 1 cannot be written down: "),
    "a row that is none": (
        {"rows": [{"sku": "a"}, 7], "jobs": [COLUMN]},
        "row 2 must be a mapping of columns; got int",
    ),
    "an empty cell": ({"rows": [{"sku": "a", "title": ""}], "jobs": [COLUMN]}, 'rows:1: column "title"'),
    "half a character": ({"jobs": [{"prompt": "\ud800"}]}, "half of a character cannot be sent"),
    "no jobs": ({"jobs": []}, "no jobs; write at least one entry with a prompt"),
}


@pytest.mark.parametrize(("manifest", "told"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(manifest: dict[str, Any], told: str) -> None:
    """By the number of the job or the row."""
    assert told in problem_of(manifest)


def test_a_job_spec_has_every_field_of_a_job() -> None:
    """What a manifest may say of a job, a program may say, too."""
    assert {field.name for field in fields(JobSpec)} == set(JobShape.model_fields)
