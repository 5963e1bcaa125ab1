"""The JSON Schema that editors are given: complete, current, and of one mind with the reader of manifests."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from batch.core.errors import InputError
from batch.core.image_models import ASPECT_RATIOS
from batch.manifest import load_manifest
from batch.manifest.problems import Problems
from batch.manifest.schema import fields
from batch.manifest.schema.json_schema import manifest_json_schema
from batch.manifest.schema.yaml_text import parse

ROOT = Path(__file__).parents[2]
SCHEMA = manifest_json_schema()
REFERENCE = (ROOT / "docs/manifest.md").read_text(encoding="utf-8").partition("\n## manifest.jsonl")[0]
EXAMPLES = [
    re.sub(r"(?m)^  ", "", body) if indent else body
    for indent, body in re.findall(r"(?ms)^( *)```yaml\n(.*?)^ *```$", REFERENCE)
]
VALIDATORS = [Draft7Validator, Draft202012Validator]


def properties() -> list[tuple[str, str, dict[str, Any]]]:
    shapes = {"Manifest": SCHEMA, **SCHEMA["$defs"]}
    return [(name, key, value) for name, shape in shapes.items() for key, value in shape["properties"].items()]


def findings(manifest: str | bytes, validator: Any = Draft7Validator) -> list[str]:
    """What an editor would mark."""
    data = manifest if isinstance(manifest, bytes) else manifest.encode()
    return [error.message for error in validator(SCHEMA).iter_errors(parse(data, "m.yaml", Problems("m.yaml")).value)]


@pytest.mark.parametrize("validator", VALIDATORS)
def test_it_is_a_schema_in_both_drafts(validator: Any) -> None:
    """Editors stand on draft-07 or on 2020-12; the schema is right by both."""
    validator.check_schema(SCHEMA)
    assert "prefixItems" not in json.dumps(SCHEMA)


def test_the_file_in_docs_is_current() -> None:
    """Whoever downloads the schema gets what `imagebatch schema` prints."""
    shipped = (ROOT / "docs/manifest.schema.json").read_text("utf-8")
    assert json.loads(shipped) == SCHEMA, "refresh it: imagebatch schema > docs/manifest.schema.json"


def test_the_command_prints_it() -> None:
    """`imagebatch schema` prints the schema and nothing else, ready to be sent to a file."""
    result = subprocess.run(
        [sys.executable, "-m", "batch", "schema"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout) == SCHEMA


def test_an_unknown_check_or_key_does_no_harm() -> None:
    """A key too new for the tables here is offered without a description, and takes anything."""
    from batch.manifest.schema import json_schema

    shape: dict[str, Any] = {"title": "NewShape", "properties": {"novelty": {}}}
    json_schema.dress("New", shape)
    assert shape == {"properties": {"novelty": {}}}
    assert json_schema.accepted_by(lambda value: value) == {}


@pytest.mark.parametrize(
    ("shape", "key", "value"), properties(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_key_is_described(shape: str, key: str, value: dict[str, Any]) -> None:
    """A key an editor offers comes with a sentence on what it does."""
    where = "batch/manifest/schema/json_schema.py"
    assert value.get("description"), f'say what "{key}" does: add it to DESCRIPTIONS["{shape}"] in {where}'
    assert value["description"].endswith((".", "output/<name>")), f'"{key}" of {shape}: write whole sentences'


@pytest.mark.parametrize(
    ("shape", "key", "value"), properties(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_key_says_what_it_may_hold(shape: str, key: str, value: dict[str, Any]) -> None:
    """No key takes just anything: a check the schema does not know would let every mistake pass."""
    known = {"type", "enum", "anyOf", "$ref", "const", "allOf", "oneOf"}
    assert known & set(value), (
        f'"{key}" of {shape} takes anything; add its check to _CHECKS in batch/manifest/schema/json_schema.py'
    )


def test_no_shape_takes_unknown_keys() -> None:
    """A misspelt key is marked wherever it stands."""
    assert all(shape["additionalProperties"] is False for shape in (SCHEMA, *SCHEMA["$defs"].values()))


@pytest.mark.parametrize("validator", VALIDATORS)
@pytest.mark.parametrize("file", sorted((ROOT / "jobs").glob("*.yaml")), ids=lambda file: file.name)
def test_example_file_has_no_marks(file: Path, validator: Any) -> None:
    """Every file in jobs/ opens without a mark."""
    assert findings(file.read_bytes(), validator) == []


@pytest.mark.parametrize("validator", VALIDATORS)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.strip().splitlines()[0])
def test_example_of_the_reference_has_no_marks(example: str, validator: Any) -> None:
    """Every YAML block of docs/manifest.md opens without a mark."""
    assert findings(example, validator) == []


JOB = "jobs: [{prompt: a cup}]\n"


@pytest.mark.parametrize(
    "manifest",
    [
        "jobs: [{promt: a cup}]",
        "jobs: [{id: cup}]",
        "jobs: [{prompt: ''}]",
        "jobs: [{prompt: a cup, id: 12}]",
        "jobs: [{prompt: a cup, id: 'a/b'}]",
        "jobs: [{prompt: a cup, aspect_ratio: 16:10}]",
        "jobs: [{prompt: a cup, image_size: 1k}]",
        "jobs: [{prompt: a cup, image_size: 1024}]",
        "jobs: [{prompt: a cup, modalities: [TEXT]}]",
        "jobs: [{prompt: a cup, modalities: IMAGE}]",
        "jobs: [{prompt: a cup, samples: 0}]",
        "jobs: [{prompt: a cup, references: cup.png}]",
        "jobs: [{prompt: a cup, references: ['http://example.com/cup.png']}]",
        "jobs: [{prompt: a cup, references: [{path: cup.png, column: Photo}]}]",
        "jobs: [{prompt: a cup, references: [{optional: true}]}]",
        "jobs: [{prompt: a cup, references: [{file: cup.png}]}]",
        "jobs: [{prompt: a cup, references: [{column: Photo, split: ''}]}]",
        "jobs: [{prompt: a cup, references: [12]}]",
        f"reference_hosts: ['https://example.com']\n{JOB}",
        f"reference_hosts: [localhost]\n{JOB}",
        f"reference_hosts: [127.0.0.1]\n{JOB}",
        "jobs: []",
        "jobs: {prompt: a cup}",
        "name: cup",
        f"provider: anyfats\n{JOB}",
        f"provider: {{base_url: 'https://example.com'}}\n{JOB}",
        f"provider: {{profile: anyfast, auth: basic}}\n{JOB}",
        f"provider: {{profile: anyfast, key_env: sk-1}}\n{JOB}",
        f"provider: {{profile: anyfast, base_url: example.com}}\n{JOB}",
        f"provider: []\n{JOB}",
        f"provider: [google, gogle]\n{JOB}",
        f"provider: [[google]]\n{JOB}",
        f"provider: [{', '.join(['simulator'] * 33)}]\n{JOB}",
        f"provider: {{profile: google, weight: 0}}\n{JOB}",
        f"provider: [{{profile: google, weight: 1001}}]\n{JOB}",
        f"provider: [{{profile: google, name: a b}}]\n{JOB}",
        f"provider: [{{profile: google, limits: {{concurrency: 0}}}}]\n{JOB}",
        f"provider: [{{profile: google, prices: {{1M: 2}}}}]\n{JOB}",
        f"lane: fast\n{JOB}",
        f"fallback: []\n{JOB}",
        f"fallback: [3]\n{JOB}",
        f"fallback: {{on: safety}}\n{JOB}",
        f"fallback: {{models: gemini-3-pro-image, on: []}}\n{JOB}",
        f"fallback: {{models: gemini-3-pro-image, on: [errors]}}\n{JOB}",
        f"limits: {{concurrency: many}}\n{JOB}",
        f"limits: {{concurrency: 5000}}\n{JOB}",
        f"limits: {{day_resets_at: midnight}}\n{JOB}",
        f"limits: {{day_resets_at: '24:00 UTC'}}\n{JOB}",
        f"limits: {{tokens_per_minute: 0}}\n{JOB}",
        f"timeouts: {{read_seconds: 0}}\n{JOB}",
        f"retry: {{unknown: again}}\n{JOB}",
        f"prices: {{1M: 2}}\n{JOB}",
        f"verify: everything\n{JOB}",
        f"defaults: {{prompt: a cup}}\n{JOB}",
        f"rows: {{encoding: utf-8}}\n{JOB}",
        f"name: a/b\n{JOB}",
        f"outptu: there\n{JOB}",
    ],
)
def test_mistakes_are_marked(tmp_path: Path, manifest: str) -> None:
    """What people get wrong is marked by the editor, and the reader refuses it as well."""
    assert findings(manifest)
    (tmp_path / "m.yaml").write_text(manifest, "utf-8")
    with pytest.raises(InputError):
        list(load_manifest(tmp_path / "m.yaml").check())


@pytest.mark.parametrize(
    "manifest",
    [
        f"# yaml-language-server: $schema=manifest.schema.json\n{JOB}",
        f"provider: simulator\n{JOB}",
        f"provider: {{profile: simulator}}\n{JOB}",
        f"provider: [anyfast, {{profile: google, name: g, weight: 0.5, limits: {{concurrency: 2}}}}]\n{JOB}",
        f"lane: flex\nfallback: gemini-3-pro-image\n{JOB}",
        f"fallback: [gemini-3-pro-image, gemini-2.5-flash-image]\n{JOB}",
        f"fallback: {{models: gemini-3-pro-image, on: [overload, safety]}}\n{JOB}",
        f"fallback: {{models: [gemini-3-pro-image], on: safety}}\n{JOB}",
        f"limits: {{requests_per_minute: null, images_per_day: null}}\n{JOB}",
        f"limits: {{day_resets_at: 08:30 Europe/Berlin, adaptive: false}}\n{JOB}",
        f"defaults: {{aspect_ratio: 3:4, image_size: 512}}\n{JOB}",
        "jobs: [{prompt: a cup, aspect_ratio: null, image_size: '2K', modalities: [IMAGE, TEXT]}]",
        "provider: {profile: anyfast, base_url: 'https://example.com'}\nmodel: another-1.0\n" + JOB,
        "prices: {512: 0.04, 1K: 1}\n" + JOB,
    ],
)
def test_what_is_right_is_not_marked(tmp_path: Path, manifest: str) -> None:
    """Short forms, nulls that mean something and the editor's own line are fine with both."""
    assert findings(manifest) == []
    (tmp_path / "m.yaml").write_text(manifest, "utf-8")
    assert list(load_manifest(tmp_path / "m.yaml").check())


@pytest.mark.parametrize("written", ["rows: t.csv", "rows: {file: t.csv}", "rows: {file: t.csv, delimiter: comma}"])
def test_rows_have_a_short_form(written: str) -> None:
    """A table is a name, or a mapping that says more; templates stand where a row fills them."""
    manifest = written + "\njobs: [{id: '{{ a }}', prompt: '{{ b }}', aspect_ratio: '{{ c }}', image_size: '{{ d }}'}]"
    assert findings(manifest) == []


def test_words_are_offered() -> None:
    """An editor can complete the words that a key takes."""
    job = SCHEMA["$defs"]["Job"]["properties"]
    assert set(ASPECT_RATIOS) < set(job["aspect_ratio"]["anyOf"][0]["enum"])
    names = ["anyfast", "google", "openai", "simulator", "simulator-openai"]
    assert {"enum": names} in SCHEMA["properties"]["provider"]["anyOf"]
    for word in SCHEMA["$defs"]["Rows"]["properties"]["delimiter"]["anyOf"][0]["enum"]:
        assert len(fields.delimiter(word)) == 1
