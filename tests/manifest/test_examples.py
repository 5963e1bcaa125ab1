"""The manifests we show are manifests that work."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import BaseModel

from batch.core.image_models import MODELS, SEARCH_KINDS, THINKING_LEVELS, ModelFacts
from batch.core.lane import Lane
from batch.core.prices import ModelPrices, shipped_prices
from batch.manifest import load_manifest
from batch.manifest.problems import Problems
from batch.manifest.schema.yaml_text import parse
from batch.simulator import settings_from

if TYPE_CHECKING:
    from tests.manifest.conftest import Folder

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs/manifest.md").read_text(encoding="utf-8").partition("\n## manifest.jsonl")[0]
EXAMPLES = [
    re.sub(r"(?m)^  ", "", body) if indent else body
    for indent, body in re.findall(r"(?ms)^( *)```yaml\n(.*?)^ *```$", REFERENCE)
]


@pytest.mark.parametrize("file", sorted((ROOT / "jobs").glob("*.yaml")), ids=lambda file: file.name)
def test_example_file_needs_no_key(file: Path) -> None:
    """Every file in jobs/ is right as it stands and runs on the simulator."""
    manifest = load_manifest(file)

    assert list(manifest.check()) == list(manifest.jobs())
    assert manifest.settings.providers[0].profile == "simulator"
    assert manifest.settings.name == file.stem


def test_catalog_makes_one_job_per_product() -> None:
    """The example table has several rows per product, as shop exports do."""
    jobs = list(load_manifest(ROOT / "jobs/catalog.yaml").check())
    rows = (ROOT / "jobs/products.csv").read_text(encoding="utf-8").count("\n") - 1

    assert len(jobs) == 8
    assert rows > 2 * len(jobs)
    assert not any("<" in job.prompt or "{" in job.prompt for job in jobs)


def test_reference_has_examples() -> None:
    """The extraction below finds what it is meant to test."""
    assert len(EXAMPLES) >= 6


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.strip().splitlines()[0])
def test_example_of_the_reference_loads(folder: Folder, example: str) -> None:
    """Every YAML block of docs/manifest.md can be copied, given the files it names."""
    table = "Handle,Title,Body (HTML),Variant SKU,Ratio,Vendor\nkite,Red Kite,<p>light</p>,K-1,4:3,Wind & Co\n"
    folder.write("products.csv", table)
    variants = (
        "Handle,Title,Body (HTML),Option1 Value,Variant SKU,Image Src\nkite,Red Kite,<p>light</p>,Red,K-1,logo.png\n"
    )
    folder.write("variants.csv", f"{variants}kite,,,Blue,K-2,photos/kite-1.png\n")
    folder.write("exports/more.csv", "Title,Handle\nBlue Mug,mug\n")
    book = pytest.importorskip("openpyxl").Workbook()
    book.active.title = "Products"
    for row in (["Handle", "Title"], ["kite", "Red Kite"]):
        book.active.append(row)
    book.save(folder.path / "products.xlsx")
    folder.write("my-models.yaml", "version: 1\nmodels: {}\n")
    folder.write("my-prices.json", '{"version": 1, "models": {"m": {"picture_usd": {"1K": 0.05}}}}')
    folder.write("export.txt", table.replace(",", ";").encode("cp1252"))
    line = {"sku": "K-1", "title": "Red Kite", "brand": {"name": "Wind & Co"}, "tags": ["new", "red"]}
    folder.write("products.jsonl.gz", gzip.compress(json.dumps(line).encode()))
    folder.write("orders.csv", 'Handle,Title,Priority,Due,Price\nkite,Red Kite,High,2026-05-01,"$1,299.00"\n')
    folder.write("pictures.csv", 'Handle,Title,Photos\nkite,Red Kite,"photos/K-1.png; photos/kite-2.png"\n')
    address = "https://img.shop.example/kite.png?v=2"
    folder.write("addresses.csv", f'Handle,Title,Images\nkite,Red Kite,"{address},{address}"\n')
    names = "TemplateType=x\nSKU\tName\nitem_sku\titem_name\n"
    folder.write("listings.txt", f"{names}K-1\tRed Kite\n")
    folder.write("template.txt", f"settings=\n\n{names}K-0\tAn example\nK-1\tRed Kite\n")
    for picture in ("photos/K-1.png", "photos/kite-1.png", "photos/kite-2.png", "logo.png"):
        folder.picture(picture)

    assert folder.jobs(example)
    assert settings_from(load_manifest(folder.path / "m.yaml").settings.providers[0].simulator)


def keys_of(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The keys of a manifest with those above them; a list's items count as one."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from keys_of(inner, (*path, key))
    if isinstance(value, list):
        for item in value:
            yield from keys_of(item, path)


def test_every_key_has_an_example() -> None:
    """Whatever can be written in a manifest stands, as it is written, in an example that is tested above."""
    from batch.manifest.schema import schema

    shown = {path for example in EXAMPLES for path in keys_of(parse(example.encode(), "m.yaml", Problems("")).value)}
    wanted = {(*path, key) for path, shape in schema.SHAPES.items() for key in shape.model_fields}

    # References in `defaults` and in a job have one shape, and so have the limits of a provider and of all.
    wanted -= {path for path in wanted if path[:2] == ("defaults", "references") and ("jobs", *path[1:]) in shown}
    wanted -= {path for path in wanted if path[:2] == ("provider", "limits") and path[1:] in shown}
    assert wanted - shown == set()


def test_reference_names_every_field() -> None:
    """A field nobody can look up does not exist."""
    from batch.manifest.schema import schema

    shapes: list[type[BaseModel]] = [
        schema.ManifestShape,
        schema.JobShape,
        schema.LimitsShape,
        schema.TimeoutsShape,
        schema.RetryShape,
    ]
    shapes += [schema.BudgetShape, schema.ProviderShape, schema.RowsShape, schema.ReferenceShape]
    fields = {field for shape in shapes for field in shape.model_fields}

    assert {field for field in fields if not re.search(rf"\b{field}\b", REFERENCE)} == set()


def test_the_price_table_on_the_page_can_be_copied(folder: Folder) -> None:
    """And so can the budget beside it."""
    page = (ROOT / "docs/limits-and-money.md").read_text(encoding="utf-8")
    money = page[page.index("## Money") :]
    table, budget = re.findall(r"(?ms)^```yaml\n(.*?)^```$", money)[:2]
    folder.write("own.yaml", table)
    path = folder.write("m.yaml", f"price_table: own.yaml\n{budget}jobs: [{{prompt: a cup}}]\n")
    settings = load_manifest(path).settings
    assert settings.price_table is not None
    assert [model.lanes for model in settings.price_table.models.values()] == [{Lane.FLEX: 0.5}]
    assert (settings.budget.tags, settings.tag) == ({"spring": 50}, "spring")


def test_the_table_that_ships_can_be_copied(folder: Folder) -> None:
    """To be changed in one place or another; unchanged it says what is known anyway."""
    folder.write("mine.json", (ROOT / "batch/core/data/models.json").read_text(encoding="utf-8"))
    path = folder.write("m.yaml", "model_table: mine.json\njobs: [{prompt: a cup}]\n")
    settings = load_manifest(path).settings
    assert {name: ModelFacts(**facts) for name, facts in settings.models.items()} == MODELS
    assert settings.price_table is not None
    assert {name: ModelPrices(**changes) for name, changes in settings.price_table.changes.items()} == shipped_prices()


def test_examples_of_the_page_of_models_run(folder: Folder) -> None:
    """The manifest, and the table that it may name."""
    page = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    manifest, table = re.findall(r"(?ms)^```yaml\n(.*?)^```$", page)
    assert folder.jobs(manifest)[0].model == "new-image-5"
    folder.write("my-models.yaml", table)
    path = folder.write("m.yaml", "model_table: my-models.yaml\njobs: [{prompt: a cup}]\n")
    changed = load_manifest(path).settings.price_table
    assert changed is not None
    assert changed.changes["gemini-3-pro-image"]["picture_usd"]["1K"] == 0.10


def test_the_page_of_models_says_what_the_table_says() -> None:
    """Sizes, references, levels, searches and the price of each model, in the table's order."""
    page = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"(?m)^\| `(gemini-[^`]+)`[^|]*\| ([^|]*) \|([^|]*)\| (\d+) \| ([^|]*) \| ([^|]*) \| \$([\d.]+) \|$", page
    )
    assert [row[0] for row in rows] == list(MODELS)
    for name, sizes, ratios, references, thinking, search, usd in rows:
        facts = MODELS[name]
        assert sizes == ", ".join(facts.image_sizes or ())
        assert len(facts.aspect_ratios or ()) == (14 if "14" in ratios else 10)
        assert int(references) == facts.max_references
        assert [word for word in thinking.split(", ") if word in THINKING_LEVELS] == list(facts.thinking or ())
        assert [word for word in search.split(", ") if word in SEARCH_KINDS] == list(facts.search or ())
        assert float(usd) == shipped_prices()[name].picture_usd["1K"]
