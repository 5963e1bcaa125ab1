"""Manifests for OpenAI's images API: sizes, qualities and what else it takes, checked before anything is sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from batch.core.openai_models import OPENAI_MODELS, openai_prices, openai_table
from batch.core.pixel_sizes import pixels_of
from tests.manifest.conftest import Folder

OLD, NEW = "gpt-image-1.5", "gpt-image-2"


def told(folder: Folder, job: str, model: str = OLD, provider: str = "openai") -> list[str]:
    """What is wrong with one job, without where it stands."""
    problems = folder.problems(f"provider: {provider}\nmodel: {model}\njobs: [{{id: a, prompt: x, {job}}}]")
    assert all(each.startswith("m.yaml:3:") for each in problems)
    return [each.partition('job "a": ')[2] for each in problems]


@pytest.mark.parametrize(
    ("model", "job"),
    [
        (OLD, "image_size: 1K"),
        (OLD, 'image_size: 1K, aspect_ratio: "3:2"'),
        (OLD, "image_size: 1024x1536"),
        (OLD, 'image_size: 1024x1536, aspect_ratio: "2:3"'),
        (OLD, "image_size: auto, quality: auto"),
        (NEW, 'image_size: 4K, aspect_ratio: "16:9"'),
        (NEW, "image_size: 1536x864, quality: high"),
        ("gpt-image-2-2026-04-21", "image_size: 3840x1280"),
        ("gpt-image-2.5-flare", "quality: max"),
        ("gpt-image-2.6-sunburst", 'image_size: 2K, aspect_ratio: "21:9", background: transparent'),
        ("a-relays-own-model", 'image_size: 640x480, quality: hd, aspect_ratio: "4:3"'),
    ],
)
def test_what_a_model_takes_is_a_job(folder: Folder, model: str, job: str) -> None:
    """Also of a model that stands in no table."""
    text = f"provider: openai\nmodel: {model}\njobs: [{{id: a, prompt: x, {job}}}]"
    assert [each.id for each in folder.jobs(text)] == ["a"]


@pytest.mark.parametrize(
    ("model", "job", "says"),
    [
        (
            OLD,
            "image_size: 2K",
            "image_size must be one of 1K, auto, 1024x1024, 1536x1024, 1024x1536 for gpt-image-1.5",
        ),
        (OLD, "image_size: 1536x864", "image_size must be one of 1K, auto"),
        (OLD, 'aspect_ratio: "16:9"', "aspect_ratio must be one of 1:1, 3:2, 2:3 for gpt-image-1.5; got 16:9"),
        (OLD, 'image_size: 1024x1536, aspect_ratio: "3:2"', "image_size 1024x1536 is not 3:2; remove aspect_ratio"),
        (OLD, 'image_size: auto, aspect_ratio: "1:1"', "image_size auto leaves the shape to the model; remove"),
        (NEW, "image_size: 2K", "image_size 2K needs an aspect_ratio here, or write pixels such as 1536x1024"),
        (NEW, "image_size: 1000x1000", "image_size 1000x1000 does not fit gpt-image-2: sides must be multiples of 16"),
        (NEW, "image_size: 4096x2048", "no side may be longer than 3840 pixels"),
        (NEW, "image_size: 3840x1264", "no side may be more than 3 times as long as the other"),
        (NEW, "image_size: 640x640", "it must have 655,360 to 8,294,400 pixels"),
        (NEW, "image_size: 3840x2176", "it must have 655,360 to 8,294,400 pixels"),
        (
            NEW,
            "image_size: 512",
            "image_size must be one of 1K, 2K, 4K, auto, 1024x1024, 1536x1024, 1024x1536, or pixels",
        ),
        ("new-model", 'aspect_ratio: "1:8"', "no size is exactly 1:8 at 1K; write image_size in pixels"),
        (OLD, "quality: max", "quality must be one of low, medium, high, auto for gpt-image-1.5; got max"),
        (OLD, "quality: best", "quality must be one of low, medium, high, xhigh, max, auto, standard, hd; got best"),
        (NEW, "input_fidelity: high", "gpt-image-2 takes no input_fidelity; remove input_fidelity"),
        ("gpt-image-1-mini", "input_fidelity: high", "input_fidelity must be low for gpt-image-1-mini; got high"),
        (OLD, "output_compression: 101", "output_compression must be a whole number from 0 to 100; got 101"),
        (OLD, "output_format: gif", "output_format must be one of png, jpeg, webp; got gif"),
        (OLD, "modalities: [TEXT, IMAGE]", "gpt-image-1.5 answers with no TEXT; remove it from modalities"),
        (OLD, "seed: 7", "provider openai takes no seed; remove it"),
        (OLD, "extra: {n: 4}", "extra may not hold n; write samples"),
        (OLD, "extra: {stream: true}", "extra may not hold stream: streams are not read"),
        (OLD, "extra: {size: 1x1}", "extra may not hold size; write image_size or aspect_ratio"),
    ],
)
def test_what_it_does_not_take_is_a_problem_with_its_place(folder: Folder, model: str, job: str, says: str) -> None:
    """Before anything is sent, in a sentence that says what would be right."""
    (problem,) = told(folder, job, model)
    assert says in problem


def test_rows_are_checked_in_the_same_way(folder: Folder) -> None:
    """Ratio and size may come from columns."""
    folder.write("rows.csv", "Id,Ratio,Size\nfine,3:2,1K\nbad,3:2,1024x1024\n")
    text = (
        f"provider: openai\nmodel: {OLD}\nrows: rows.csv\n"
        'jobs: [{id: "{{ Id }}", prompt: "x {{ Id }}", aspect_ratio: "{{ Ratio }}", image_size: "{{ Size }}"}]'
    )
    (problem,) = folder.problems(text)
    assert problem.startswith('rows.csv:3: job "bad": image_size 1024x1024 is not 3:2; remove aspect_ratio')


def test_google_takes_none_of_it(folder: Folder) -> None:
    """A relay of Gemini would forget it without a word."""
    assert told(folder, "quality: high", "gemini-3.1-flash-image", "google") == [
        "provider google takes no quality; remove it"
    ]


def test_every_model_of_the_table_has_prices_and_a_source() -> None:
    """With the day on which it was looked up; the first is the default."""
    assert next(iter(OPENAI_MODELS)) == "gpt-image-2.5-flare"
    for name, entry in openai_table().items():
        assert "2026-11-28" in entry["source"], name
        by_pixels = openai_prices()[name].by_pixels
        assert by_pixels is not None
        priced = {*by_pixels.usd, *by_pixels.edge_tokens, "auto"}
        assert set(entry["qualities"]) == priced, name


def test_every_size_we_choose_fits_the_models_bounds() -> None:
    """Each ratio of each class is exactly what it says, in steps and within all limits."""
    bounds = OPENAI_MODELS[NEW].any_size
    assert bounds is not None
    for ratio in OPENAI_MODELS[NEW].aspect_ratios or ():
        for size in ("1K", "2K", "4K"):
            pixels = pixels_of(ratio, size)
            assert pixels is not None
            left, right = map(int, ratio.split(":"))
            assert pixels[0] * right == pixels[1] * left
            assert bounds.problem(*pixels) is None, (ratio, size)


def test_the_table_is_the_one_in_the_page() -> None:
    """docs/openai.md names every model and size that it has."""
    page = (Path(__file__).parents[2] / "docs/openai.md").read_text("utf-8")
    table = json.loads((Path(__file__).parents[2] / "batch/core/data/openai_models.json").read_text("utf-8"))
    assert all(f"`{name}`" in page for name in (*table["models"], *table["snapshots"]))


def test_a_job_may_go_on_with_anothers_picture(folder: Folder) -> None:
    """It is the first of its references, which is an edit."""
    text = f"provider: openai\nmodel: {OLD}\njobs: [{{id: a, prompt: x}}, {{id: b, prompt: y, continue_from: a}}]"
    assert [each.continue_from for each in folder.jobs(text)] == ["", "a"]
