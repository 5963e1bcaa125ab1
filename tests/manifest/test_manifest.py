"""What a manifest as a whole becomes."""
# messages are compared whole

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from batch.core.errors import ExitCode, InputError, MissingInputError
from batch.core.model import Place
from batch.core.settings import Auth, Limits, ProviderSettings, RetryPolicy, Timeouts, UnknownPolicy
from batch.manifest import Manifest, load_manifest
from batch.manifest.schema.schema import ManifestShape
from tests.manifest.conftest import Folder


def test_jobs_are_looked_at_even_if_the_text_is_wrong(folder: Folder) -> None:
    """A misspelt field does not hide a missing picture, a double id or a bad row: one report has them all."""
    folder.write("t.csv", "Name,Text\nmug,a mug\nMug,\n")
    job = "{id: '{{ Name }}', prompt: '{{ Text }}', references: [no.png]}"
    manifest = f"rows: t.csv\nlimits: {{concurency: 4}}\njobs: [{job}]"

    assert folder.problems(manifest) == [
        'm.yaml:2:10: unknown field "concurency"; did you mean concurrency?',
        "m.yaml:3:62: reference no.png does not exist",
        't.csv:3: column "Text": job "Mug": prompt is empty; write what the picture shows',
    ]


def test_smallest_manifest_makes_one_job(folder: Folder) -> None:
    """One prompt is enough; everything else has a default, and nothing is paid."""
    manifest = load_manifest(folder.write("first.yaml", "jobs: [{prompt: a mountain at sunset}]"))

    [job] = manifest.check()

    assert (job.prompt, job.model, job.image_size) == ("a mountain at sunset", "gemini-3.1-flash-image", "1K")
    assert (job.aspect_ratio, job.modalities, job.sample) == (None, ("IMAGE",), 1)
    assert job.place == Place(file=str(folder.path / "first.yaml"), line=1)
    assert manifest.settings.providers[0] == ProviderSettings(profile="simulator", name="simulator")
    assert manifest.settings.name == "first"
    assert manifest.output is None


def test_settings_carry_everything_written_at_the_top(folder: Folder) -> None:
    """Each section of the manifest arrives as the value the program works with."""
    text = """
name: spring
output: results/spring
provider: {profile: anyfast, base_url: "https://relay.example/x/", auth: header, key_env: RELAY_KEY}
limits: {concurrency: 32, requests_per_minute: 300}
timeouts: {read_seconds: 90}
retry: {unknown: hold, unavailable_attempts: 5, unusable_retries: 0, max_outage_minutes: 5}
prices: {512: 0.04, 1K: 0.05}
verify: decode
jobs: [{prompt: x}]
"""
    manifest = load_manifest(folder.write("m.yaml", text))
    settings = manifest.settings

    assert settings.name == "spring"
    assert manifest.output == folder.path / "results/spring"
    assert settings.providers[0].base_url == "https://relay.example/x"
    assert (settings.providers[0].auth, settings.providers[0].key_env) == (Auth.HEADER, "RELAY_KEY")
    assert settings.limits == Limits(concurrency=32, requests_per_minute=300)
    assert settings.timeouts == Timeouts(read_seconds=90.0)
    assert settings.retry == RetryPolicy(
        unknown=UnknownPolicy.HOLD, unavailable_attempts=5, unusable_retries=0, max_outage_seconds=300
    )
    assert settings.prices == {"512": 0.04, "1K": 0.05}
    assert settings.verify == "decode"


def test_simulator_options_pass_through_untouched(folder: Folder) -> None:
    """What stands under `simulator` is the simulator's business."""
    text = "provider: {profile: simulator, simulator: {faults: [{at: 3, kind: 429}]}}\njobs: [{prompt: x}]"

    manifest = load_manifest(folder.write("m.yaml", text))

    assert manifest.settings.providers[0].simulator == {"faults": [{"at": 3, "kind": 429}]}


def test_sha256_is_of_the_bytes(folder: Folder) -> None:
    """Two manifests are the same if their bytes are."""
    text = b"jobs: [{prompt: x}]  # a comment\r\n"

    assert load_manifest(folder.write("m.yaml", text)).sha256 == hashlib.sha256(text).hexdigest()


def test_defaults_apply_until_a_job_says_otherwise(folder: Folder) -> None:
    """A job's own value wins; an explicit null gives the ratio back to the model."""
    text = """
model: gemini-3-pro-image
defaults: {aspect_ratio: 4:3, image_size: 2K, modalities: [IMAGE, TEXT]}
jobs:
  - prompt: a
  - {prompt: b, aspect_ratio: 16:9, image_size: 512, model: gemini-3.1-flash-image}
  - {prompt: c, aspect_ratio: null, modalities: [IMAGE]}
"""
    first, second, third = folder.jobs(text)

    assert (first.model, first.aspect_ratio, first.image_size) == ("gemini-3-pro-image", "4:3", "2K")
    assert first.modalities == ("TEXT", "IMAGE")
    assert (second.model, second.aspect_ratio, second.image_size) == ("gemini-3.1-flash-image", "16:9", "512")
    assert (third.aspect_ratio, third.modalities) == (None, ("IMAGE",))


def test_samples_make_numbered_jobs(folder: Folder) -> None:
    """The provider gives one picture per request, so four samples are four jobs."""
    jobs = folder.jobs("jobs: [{id: shirt, prompt: x, samples: 3}]")

    assert [(job.id, job.sample) for job in jobs] == [("shirt.1", 1), ("shirt.2", 2), ("shirt.3", 3)]
    assert len({job.spec_hash() for job in jobs}) == 3


def test_derived_ids_do_not_depend_on_order(folder: Folder) -> None:
    """Moving a job buys nothing again."""
    one, two = folder.jobs("jobs: [{prompt: a red kite}, {prompt: 一只猫}]")
    other = folder.jobs("jobs: [{prompt: 一只猫}, {prompt: a new one}, {prompt: a red kite}]")

    assert one.id.startswith("a-red-kite-")
    assert two.id.startswith("picture-")
    assert {one.id, two.id} <= {job.id for job in other}


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo", "device"])
def test_a_manifest_that_is_no_file_is_missing_input(folder: Folder, kind: str) -> None:
    """Nothing but a regular file is read, and nothing is waited for."""
    path = {"missing": folder.path / "no.yaml", "folder": folder.path, "fifo": folder.path / "pipe"}.get(
        kind, Path("/dev/zero")
    )
    if kind == "fifo":
        os.mkfifo(path)

    with pytest.raises(MissingInputError) as caught:
        load_manifest(path)

    assert caught.value.exit_code is ExitCode.NO_INPUT


def test_a_path_that_is_no_text_can_be_reported(folder: Folder) -> None:
    """File names are bytes; a message about one can always be printed."""
    with pytest.raises(MissingInputError) as caught:
        load_manifest(folder.path / "no\udcff\n.yaml")

    assert str(caught.value).endswith("no\\udcff\\n.yaml: does not exist")


def test_too_large_a_manifest_is_refused_unread(folder: Folder) -> None:
    """Beyond 64 MiB the parser is not even started."""
    path = folder.write("m.yaml", "")
    os.truncate(path, 64 * 1024 * 1024 + 1)

    with pytest.raises(InputError, match="larger than 64 MiB"):
        load_manifest(path)


def test_a_file_name_that_cannot_be_a_folder_asks_for_a_name(folder: Folder) -> None:
    """The default name comes from the file, if it is fit to be a folder."""
    with pytest.raises(InputError, match="add name:"):
        load_manifest(folder.write("a:b.yaml", "jobs: [{prompt: x}]"))
    manifest: Manifest = load_manifest(folder.write("春季 目录.yaml", "jobs: [{prompt: x}]"))
    assert manifest.settings.name == "春季-目录"


def test_all_problems_come_at_once_in_the_order_of_the_file(folder: Folder) -> None:
    """One run of the check is enough to repair a manifest."""
    text = """provider: anyfast
limits: {concurrency: 0}
jobs:
  - promt: x
  - {prompt: "", id: no}
  - {prompt: y, id: ok, aspect_ratio: 2:3, image_size: 3K}
speed: 3
speed: 4
"""
    more = len(ManifestShape.model_fields) - 16
    assert folder.problems(text) == [
        "m.yaml:2:23: concurrency must be a whole number from 1 to 1,024; got 0",
        'm.yaml:4:5: unknown field "promt"; did you mean prompt?',
        'm.yaml:5:14: job "no": prompt is empty; write some text',
        'm.yaml:5:22: job "no": id must be a string; quote it',
        'm.yaml:6:39: job "ok": aspect_ratio must be one of 1:1, 3:4, 4:3, 9:16, 16:9 for gemini-3.1-flash-image at '
        "anyfast; got 2:3",
        'm.yaml:6:56: job "ok": image_size must be one of 512, 1K, 2K, 4K for gemini-3.1-flash-image; got 3K',
        'm.yaml:7:1: unknown field "speed"; known fields: name, output, provider, model, lane, fallback, limits, '
        f"timeouts, retry, prices, price_table, models, model_table, budget, tag, verify and {more} more",
        'm.yaml:8:1: "speed" is written twice, first on line 7; keep one',
    ]
