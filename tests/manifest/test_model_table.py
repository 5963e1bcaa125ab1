"""`models` and `model_table`: what a manifest knows of models beside what ships, or better."""

from __future__ import annotations

from dataclasses import replace

import pytest

from batch.core.image_models import MODELS, RETIRED_MODELS, shipped_table
from batch.core.model import Job
from batch.core.parameters import common_parameters
from batch.core.prices import ChargedBy, PriceTable, load_prices
from batch.manifest import load_manifest
from tests.manifest.conftest import Folder

JOB = "jobs: [{id: a, prompt: x}]"


def prices(folder: Folder, manifest: str) -> PriceTable:
    table = load_manifest(folder.write("m.yaml", manifest)).settings.price_table
    return load_prices({}, table)


def priced(model: str, size: str = "1K", **parameters: object) -> Job:
    return Job(id="a", prompt="x", model=model, parameters=common_parameters(None, size).changed(**parameters))


def test_a_new_model_is_checked_as_far_as_it_is_described(folder: Folder) -> None:
    """And no further: what is not named of it is not known."""
    models = "models: {new-5: {image_sizes: [1K, 8K], aspect_ratios: ['9:21'], max_references: 0, search: []}}\n"
    job = "jobs: [{{id: a, prompt: x, model: new-5, {}}}]"
    made = folder.jobs(models + job.format("image_size: 8K, aspect_ratio: '9:21', thinking: low"))
    assert made[0].image_size == "8K"
    for field, expected in (
        ("image_size: 2K", "image_size must be one of 1K, 8K for new-5; got 2K"),
        ("aspect_ratio: '1:1'", "aspect_ratio must be 9:21 for new-5; got 1:1"),
        ("search: web", "new-5 cannot search; remove search"),
    ):
        assert folder.problems(models + job.format(field))[0].endswith(expected)
    folder.picture("p.png")
    assert folder.problems(models + job.format("references: [p.png]"))[0].endswith("new-5 takes at most 0")


def test_a_known_model_changes_only_in_what_is_named(folder: Folder) -> None:
    """Ratios that are named count at every provider, whatever its page says."""
    text = "provider: anyfast\nmodels: {gemini-3.1-flash-image: {aspect_ratios: ['2:3', '9:21']}}\n"
    assert folder.jobs(text + "jobs: [{prompt: x, aspect_ratio: '9:21', image_size: 512}]")
    wrong = folder.problems(text + "jobs: [{prompt: x, aspect_ratio: '1:1'}]")
    assert wrong[0].endswith("aspect_ratio must be one of 2:3, 9:21 for gemini-3.1-flash-image; got 1:1")
    wrong = folder.problems(text + "jobs: [{prompt: x, image_size: 3K}]")
    assert wrong[0].endswith("image_size must be one of 512, 1K, 2K, 4K for gemini-3.1-flash-image; got 3K")


def test_null_means_that_nothing_is_known(folder: Folder) -> None:
    """So nothing is checked but that it looks like a ratio."""
    text = "models: {gemini-3-pro-image: {aspect_ratios: null, thinking: null}}\nmodel: gemini-3-pro-image\n"
    assert folder.jobs(text + "jobs: [{prompt: x, aspect_ratio: '7:3', thinking: high}]")
    wrong = folder.problems(text + "jobs: [{prompt: x, aspect_ratio: 16x9}]")
    assert wrong[0].endswith("aspect_ratio must be a ratio such as 16:9; got 16x9")


@pytest.mark.parametrize("provider", ["anyfast", "google"])
def test_anyfast_narrows_the_ratios_of_a_model(folder: Folder, provider: str) -> None:
    """To those that its page of that model names; of a model without a page it takes the model's."""
    lite, nano = "gemini-3.1-flash-lite-image", "gemini-nano-banana-2.1"
    for model, ratio, at_anyfast in ((lite, "21:9", True), (lite, "1:8", False), (nano, "1:8", True)):
        text = f"provider: {provider}\nmodel: {model}\njobs: [{{prompt: x, aspect_ratio: '{ratio}'}}]"
        if at_anyfast or provider == "google":
            assert folder.jobs(text)
        else:
            assert f"for {model} at anyfast" in folder.problems(text)[0]


def test_a_retired_name_is_sent_where_the_manifest_knows_it(folder: Folder) -> None:
    """A relay may serve it on."""
    old, new = next(iter(RETIRED_MODELS.items()))
    assert folder.problems(f"model: {old}\n{JOB}") == [f"m.yaml:1:8: model {old} was retired; write {new}"]
    assert folder.jobs(f"model: {old}\nmodels: {{{old}: {{}}}}\n{JOB}")


def test_the_manifest_counts_more_than_its_table(folder: Folder) -> None:
    """Field by field; both more than what ships."""
    folder.write(
        "mine.yaml", "version: 1\nmodels: {gemini-3-pro-image: {picture_usd: {1K: 1, 2K: 2}, search_usd: 0.5}}"
    )
    text = f"model_table: mine.yaml\nmodels: {{gemini-3-pro-image: {{search_usd: 0}}}}\n{JOB}"
    table = prices(folder, text)
    assert table.picture_usd(priced("gemini-3-pro-image", search=("web",))) == 1
    assert table.picture_usd(priced("gemini-3.1-flash-image")) == 0.067


def test_a_search_is_priced_in_every_estimate() -> None:
    """One query in a list price, eight in what is set aside, as many as were told of afterwards."""
    table = load_prices({})
    plain, searching = priced("gemini-3.1-flash-image"), priced("gemini-3.1-flash-image", search=("web",))
    assert table.picture_usd(searching) == table.picture_usd(plain) + 0.014
    assert table.max_usd(searching) == pytest.approx(table.max_usd(plain) + 8 * 0.014)
    told = [table.charge(searching, None, pictures=1, queries=queries).usd for queries in (None, 0, 3, 99)]
    assert told == [pytest.approx(0.067 + count * 0.014) for count in (1, 0, 3, 8)]
    assert all(usd <= table.max_usd(searching) for usd in told)
    assert table.picture_usd(replace(searching, model="new-5")) == pytest.approx(0.134 + 0.014)


def test_much_thinking_sets_more_aside() -> None:
    """It is charged as text, where tokens are."""
    table = load_prices({}, charged_by=ChargedBy.TOKENS)
    plain, thinking = priced("gemini-nano-banana-2.1"), priced("gemini-nano-banana-2.1", thinking="high")
    assert table.max_usd(thinking) == pytest.approx(table.max_usd(plain) + (16_384 - 4096) * 7.5e-6)


BAD = [
    ("models: [a]", "m.yaml:1:9: models must be a mapping (key: value); got a list"),
    ("models: {new-5: 3}", "m.yaml:1:17: new-5 must be a mapping (key: value); got 3"),
    ("models: {new-5: {ratios: []}}", 'm.yaml:1:18: unknown field "ratios"; did you mean aspect_ratios?'),
    ("models: {new-5: {image_sizes: 1K}}", "m.yaml:1:31: image_sizes must be a list of sizes such as [1K, 2K]; got 1K"),
    (
        "models: {new-5: {aspect_ratios: [16x9]}}",
        'm.yaml:1:33: aspect_ratios must be a list of ratios such as ["1:1", "16:9"]; got a list',
    ),
    (
        "models: {new-5: {thinking: [hard]}}",
        "m.yaml:1:28: thinking must be a list of levels out of minimal, low, medium, high; got a list",
    ),
    ("models: {new-5: {search: [web, web]}}", "m.yaml:1:26: search names something twice; keep one"),
    ("models: {new-5: {picture_usd: {1K: -1}}}", "m.yaml:1:31: picture_usd must be US dollars for each size; got -1"),
    ("models: {new-5: {end: soon}}", "m.yaml:1:23: end must be a date such as 2026-10-02; got soon"),
    (
        "models: {new-5: {lanes: {flex: 2}}}",
        "m.yaml:1:25: lanes must be shares of the standard price, above 0 and at most 1; got 2",
    ),
    ("model_table: gone.yaml", "m.yaml:1:14: model_table gone.yaml: does not exist"),
    ("model_table: bad.yaml", "bad.yaml:2:12: max_references must be a whole number from 0 to 1,000; got -1"),
]


@pytest.mark.parametrize(("text", "expected"), BAD)
def test_what_is_wrong_in_a_table_is_told_with_its_place(folder: Folder, text: str, expected: str) -> None:
    """In the manifest or in the file."""
    folder.write("bad.yaml", "version: 1\nmodels: {a: {max_references: -1}}")
    found = folder.problems(f"{text}\n{JOB}")
    assert len(found) == 1
    assert expected.partition(": ")[2] in found[0]
    assert found[0].startswith(expected.split(":")[0])


def test_every_entry_that_ships_names_its_sources() -> None:
    """With a day or a year, and an end with the day on which it was looked up."""
    assert shipped_table()["version"] == 1
    for name, entry in shipped_table()["models"].items():
        assert "2026" in entry["source"], name
        assert set(entry["picture_usd"]) == set(entry["image_sizes"])
        assert entry["end"] is None or {"date", "says", "source", "checked", "providers"} == set(entry["end"])
    assert next(iter(MODELS)) == "gemini-3.1-flash-image"
    assert set(RETIRED_MODELS.values()) <= set(MODELS)
