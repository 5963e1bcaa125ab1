"""Values put into a manifest from outside: checked as if they stood there, and named by their option."""

from __future__ import annotations

from pathlib import Path

import pytest

from batch.core.errors import InputError
from batch.runner.options import RunOptions
from batch.runner.preparation import PreparedRun, prepare

MANIFEST = """
provider:
  - {profile: anyfast, name: main, limits: {concurrency: 3}}
  - {profile: google, weight: 2}
limits: {concurrency: 4}
jobs: [{id: a, prompt: cup}]
"""


def prepared(folder: Path, *overrides: str, text: str = MANIFEST) -> PreparedRun:
    (folder / "m.yaml").write_text(text)
    return prepare(folder / "m.yaml", folder / "out", RunOptions(overrides=overrides))


def said(folder: Path, *overrides: str, text: str = MANIFEST) -> str:
    with pytest.raises(InputError) as caught:
        prepared(folder, *overrides, text=text)
    return str(caught.value)


def test_a_value_takes_the_place_of_the_manifests(tmp_path: Path) -> None:
    """Also where the manifest has none; the last one said wins."""
    run = prepared(tmp_path, "limits.concurrency=2", "limits.concurrency=6", "budget.per_run=1.5", "tag=spring")
    assert run.accounts[1].limits.concurrency == 6
    assert run.manifest.settings.budget.per_run == 1.5
    assert run.manifest.settings.tag == "spring"


def test_without_values_the_manifest_is_as_it_stands(tmp_path: Path) -> None:
    """The same object of settings."""
    assert prepared(tmp_path).accounts[1].limits.concurrency == 4


def test_an_item_of_a_list_is_named_by_its_number(tmp_path: Path) -> None:
    """The others stay."""
    run = prepared(tmp_path, "provider.1.weight=5")
    assert [account.weight for account in run.accounts] == [1, 5]


def test_a_short_form_can_be_added_to(tmp_path: Path) -> None:
    """`provider: anyfast` is a mapping with one key."""
    text = "provider: anyfast\njobs: [{id: a, prompt: cup}]\n"
    run = prepared(tmp_path, "provider.base_url=https://relay.example", text=text)
    assert run.accounts[0].endpoint.base_url == "https://relay.example"


@pytest.mark.parametrize(("name", "expected"), [("main", "main"), ("google", "google"), ("simulator", "simulator")])
def test_one_provider_is_chosen_by_its_name(tmp_path: Path, name: str, expected: str) -> None:
    """One of the manifest's with what it says of it, else a profile."""
    run = prepared(tmp_path, f"provider={name}")
    assert [account.name for account in run.accounts] == [expected]
    if name == "main":
        assert run.accounts[0].limits.concurrency == 3


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (
            "limits.concurrency=nan",
            "--set limits.concurrency: concurrency must be a whole number",
        ),
        ("limits.concurency=4", '--set limits.concurency: unknown field "concurency"; did you mean concurrency?'),
        ("budget=5", "--set budget: budget must be a mapping, such as {per_run: 5}; got 5"),
        ("provider.0.base_url=ftp://h", "--set provider.0.base_url: base_url must be an address"),
        ("provider.7.weight=3", "--set provider.7.weight: is a list here; name an item by its number, from 0 to 1"),
        ("provider.weight=3", "--set provider.weight: is a list here"),
        ("limits.concurrency.x=3", "--set limits.concurrency.x: leads below something that is no mapping"),
        ("limits={concurrency:", "--set limits: not valid YAML"),
        ("defaults.image_size=9K", "--set defaults.image_size: image_size must be one of"),
        ("where=x", "--set where: where picks rows"),
        ("provider=nosuch", "--set provider: provider must be one of"),
        ("jobs=[]", "--set jobs: stands in the manifest only"),
        ("jobs.0.prompt=a dog", "--set jobs.0.prompt: stands in the manifest only"),
        ("limits", "--set must be KEY=VALUE"),
        ("=4", "--set must be KEY=VALUE"),
        ("limits..x=4", "--set must be KEY=VALUE"),
        ("tag=AIzaSyA0123456789abcdefghijklmnopqrstuv", "--set tag: this looks like an API key"),
    ],
)
def test_what_is_wrong_with_a_value_names_the_option(tmp_path: Path, override: str, words: str) -> None:
    """In the words that the manifest would be told."""
    assert words in said(tmp_path, override)


def test_other_problems_keep_their_places(tmp_path: Path) -> None:
    """Line and column of the manifest."""
    text = "limits: {concurrency: 0}\njobs: [{id: a, prompt: cup}]\n"
    words = said(tmp_path, "budget.per_run=-1", text=text)
    assert "m.yaml:1:23: concurrency" in words
    assert "--set budget.per_run: per_run" in words


def test_the_manifests_bytes_and_jobs_stay(tmp_path: Path) -> None:
    """What is bought does not depend on limits: the same spec hash, the same digest of the file."""
    plain, changed = prepared(tmp_path), prepared(tmp_path, "limits.concurrency=9")
    assert plain.manifest.sha256 == changed.manifest.sha256
    assert [job.spec() for job in plain.manifest.jobs()] == [job.spec() for job in changed.manifest.jobs()]
