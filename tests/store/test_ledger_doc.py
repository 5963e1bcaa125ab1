"""docs/ledger.md names exactly what the code writes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from batch.core.clock import SystemClock
from batch.core.results import Decided
from batch.runner.connections import read_again
from batch.runner.options import RunOptions
from batch.runner.resolve import resolve
from batch.runner.reviewing import reject
from batch.runner.run import run
from batch.store.ledger import REREAD_VERSION, RESOLVE_VERSION, TAKEOVER_VERSION, VERSION, is_whole
from tests.runner.test_reread import HOLDING, hold

DOC = (Path(__file__).parents[2] / "docs/ledger.md").read_text("utf-8")
KINDS = ["run", "try", "done", "fail", "unk", "adopt", "copy", "resolve", "reread", "end"]
MANIFEST = """\
name: doc
provider:
  profile: simulator
  simulator:
    pictures: plain
    faults: [{fault: text_only, prompt: words}, {fault: cut, prompt: boat}]
retry: {unusable_retries: 0, unknown: hold}
dedupe: true
defaults: {image_size: 512, modalities: [TEXT, IMAGE]}
jobs:
  - {id: mug, prompt: a mug, references: [mug.png]}
  - {id: poster, prompt: a poster of words, references: [mug.png]}
  - {id: boat, prompt: a boat}
  - {id: gift-mug, prompt: a mug, references: [mug.png]}
  - {id: banner, prompt: a poster of words, references: [mug.png]}
"""


def paths(value: Any, before: str = "") -> set[str]:
    """The names of all fields, inner ones as `images[].path`. `usage` is the provider's own and not looked into."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return set().union(*(paths(item, before + "[]") for item in value))
    if not isinstance(value, dict) or before == "usage":
        return {before}
    prefix = before + "." if before else ""
    return set().union(*(paths(item, prefix + name) for name, item in value.items()))


def named_in(text: str) -> set[str]:
    """The fields in the first column of a section's tables."""
    rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def section(kind: str) -> str:
    found = re.search(rf"^### `{kind}`.*?(?=^##)", DOC, re.MULTILINE | re.DOTALL)
    assert found is not None, kind
    return found[0]


def documented(kind: str) -> set[str]:
    general, attempt = re.findall(r"(?:^\|.*\n)+", DOC[DOC.index("## A line") : DOC.index("### `run`")], re.MULTILINE)
    common = named_in(general) | (named_in(attempt) if kind not in ("run", "end") else set())
    return common | named_in(section(kind))


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a real run."""
    folder = tmp_path_factory.mktemp("doc")
    shutil.copy(Path(__file__).parents[2] / "jobs/pictures/mug.png", folder)
    (folder / "doc.yaml").write_text(MANIFEST)
    asyncio.run(run(folder / "doc.yaml", output=folder / "out"))

    def told(*_: object) -> None:
        """Nobody listens."""

    asyncio.run(resolve(folder / "out", ["boat"], Decided.PAID, note="in the log", clock=SystemClock(), told=told))
    hold(folder / "out", HOLDING, "poster")
    asyncio.run(read_again(folder / "out", base_url=None, dry_run=False, told=told))
    return folder / "out"


@pytest.fixture(scope="module")
def written(output: Path) -> dict[str, dict[str, Any]]:
    """One record of each kind."""
    records = [json.loads(line) for line in (output / "ledger.jsonl").read_bytes().splitlines()]
    return {record["t"]: record for record in records if record["t"] != "try" or record["job"] == "mug"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_names_exactly_the_fields_that_are_written(written: dict[str, Any], kind: str) -> None:
    """Not one more, not one less."""
    assert documented(kind) == paths(written[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_the_pages_examples_are_real_lines(kind: str) -> None:
    """With the right checksum and the documented fields."""
    (example,) = re.findall(r"```json\n(.*)\n```", section(kind))

    assert is_whole(example.encode("ascii") + b"\n")
    newer = {"resolve": RESOLVE_VERSION, "reread": REREAD_VERSION}
    version = {"adopt": TAKEOVER_VERSION, "copy": TAKEOVER_VERSION, **newer}.get(kind, VERSION)
    assert (json.loads(example)["t"], json.loads(example)["v"]) == (kind, version)
    assert paths(json.loads(example)) == documented(kind)


def test_no_kind_of_line_is_left_out(written: dict[str, Any]) -> None:
    """A run with a picture, a failure (whose answer is read again), an unknown outcome, twins, and a decision on the
    third, write them all."""
    assert sorted(written) == sorted(KINDS)


def test_the_page_names_every_file_of_the_folder(output: Path) -> None:
    """And those that a good run does not leave: a torn end, the reserve, what limits it now, a rehearsal, decisions."""
    table = {name.rstrip("/") for name in named_in(DOC[: DOC.index("## A line")])}

    decided = {"signatures", "decisions.jsonl", "decisions.torn", ".decisions.lock"}
    assert table == {*os.listdir(output), "ledger.torn-<run>", ".reserve", ".now", "rehearsal"} | decided


def test_the_page_names_the_fields_that_only_a_rejection_writes(output: Path, tmp_path: Path) -> None:
    """`ask.instead_of` and `ask.manifest_prompt` are there in place of a rejected picture, and only then."""
    copied = shutil.copytree(output, tmp_path / "out")
    manifest = output.parent / "doc.yaml"
    (tmp_path / "doc.yaml").write_text(manifest.read_text() + 'on_reject: "{{ prompt }} {{ note }}"\n')
    shutil.copy(output.parent / "mug.png", tmp_path)
    reject(copied, "mug", note="blue")
    asyncio.run(run(tmp_path / "doc.yaml", output=copied, options=RunOptions(rejected=True, yes=True)))

    tries = [json.loads(line) for line in (copied / "ledger.jsonl").read_bytes().splitlines() if b'"t":"try"' in line]

    assert paths(tries[-1]) == documented("try") | {"ask.instead_of", "ask.manifest_prompt"}
    assert all(f"`ask.{name}`" in section("try") for name in ("instead_of", "manifest_prompt"))


def test_the_page_names_the_field_that_only_kept_rows_write(tmp_path: Path) -> None:
    """`published.rows` is there if the manifest has `keep`, and only then."""
    (tmp_path / "t.csv").write_text("Title,SKU\na mug,K-1\n")
    (tmp_path / "m.yaml").write_text("rows: t.csv\nkeep: SKU\njobs: [{id: '{{ SKU }}', prompt: '{{ Title }}'}]\n")
    asyncio.run(run(tmp_path / "m.yaml", output=tmp_path / "out"))

    end = json.loads((tmp_path / "out/ledger.jsonl").read_bytes().splitlines()[-1])

    assert paths(end) == documented("end") | {"published.rows"}
    assert "`published` has one more field, `rows`" in section("end")
