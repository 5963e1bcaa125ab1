"""What a job may ask for beside its prompt, ratio, size and modalities: in defaults, jobs, columns and the matrix."""

from __future__ import annotations

from typing import Any

import pytest

from batch.core.parameters import BESIDE_THE_PROMPT, COMMON, OF_THE_IMAGES_API
from batch.manifest.schema.asked import CHECKS
from tests.manifest.conftest import Folder

PRO, LITE, NANO = "gemini-3-pro-image", "gemini-3.1-flash-lite-image", "gemini-nano-banana-2.1"
#: As it is written, and as it stands in the job.
GOOD: dict[str, tuple[str, Any]] = {
    "system": ("Be brief", "Be brief"),
    "thinking": ("high", "high"),
    "seed": ("7", 7),
    "temperature": ("1", 1.0),
    "top_p": ("0.5", 0.5),
    "safety": (
        "{hate_speech: block_none, HARM_CATEGORY_HARASSMENT: 'OFF'}",
        {"HARM_CATEGORY_HATE_SPEECH": "BLOCK_NONE", "HARM_CATEGORY_HARASSMENT": "OFF"},
    ),
    "search": ("[image, web]", ("web", "image")),
    "extra": ("{generationConfig: {topK: 40}}", {"generationConfig": {"topK": 40}}),
}
#: Those of OpenAI's images API.
IMAGES_API: dict[str, tuple[str, Any]] = {
    "quality": ("high", "high"),
    "background": ("transparent", "transparent"),
    "output_format": ("webp", "webp"),
    "output_compression": ("80", 80),
    "moderation": ("low", "low"),
    "input_fidelity": ("high", "high"),
}
#: The same as a cell of a table, quoted for CSV.
CELLS = {
    "system": "Be brief",
    "thinking": "High",
    "seed": "7.0",
    "temperature": " 1 ",
    "top_p": ".5",
    "safety": '"{""hate_speech"": ""block_none"", ""harassment"": ""off""}"',
    "search": '"web, image"',
    "extra": '"{""generationConfig"": {""topK"": 40}}"',
    "quality": " HIGH ",
    "background": "transparent",
    "output_format": "WebP",
    "output_compression": "80.0",
    "moderation": "low",
    "input_fidelity": "High",
}


def asked(folder: Folder, manifest: str) -> list[dict[str, Any]]:
    """What each job asks for beside the common parameters."""
    jobs = folder.jobs(manifest)
    return [{name: value for name, value in job.parameters.items() if name not in COMMON} for job in jobs]


def test_every_parameter_is_tried() -> None:
    """Here, and as it is read."""
    assert set(GOOD) == BESIDE_THE_PROMPT
    assert set(IMAGES_API) == OF_THE_IMAGES_API
    assert set(CELLS) == set(CHECKS) == BESIDE_THE_PROMPT | OF_THE_IMAGES_API


EVERY = [*((name, "") for name in GOOD), *((name, "model: gpt-image-1.5\nprovider: openai\n") for name in IMAGES_API)]


@pytest.mark.parametrize(("name", "top"), EVERY)
def test_a_job_says_it(folder: Folder, name: str, top: str) -> None:
    """Or the defaults, which null turns off; a job without it is the job that it was."""
    written, value = {**GOOD, **IMAGES_API}[name]
    assert asked(folder, f"{top}jobs: [{{prompt: x, {name}: {written}}}]") == [{name: value}]
    defaults = f"{top}defaults: {{{name}: {written}}}\n"
    jobs = f"jobs: [{{prompt: x}}, {{prompt: y, {name}: null}}]"
    assert asked(folder, defaults + jobs) == [{name: value}, {}]
    without = folder.jobs(f"{top}jobs: [{{id: a, prompt: x}}]")[0]
    turned_off = folder.jobs(defaults + f"jobs: [{{id: a, prompt: x, {name}: null}}]")[0]
    assert turned_off.spec() == without.spec()
    assert without.parameters.is_common


@pytest.mark.parametrize(("name", "top"), EVERY)
def test_a_column_says_it(folder: Folder, name: str, top: str) -> None:
    """Each row its own; an empty cell asks for nothing."""
    folder.write("rows.csv", f"Title,Ask\ncup,{CELLS[name]}\nbowl,\n")
    jobs = f'jobs: [{{id: "{{{{ Title }}}}", prompt: "{{{{ Title }}}}", {name}: "{{{{ Ask }}}}"}}]'
    assert asked(folder, f"{top}rows: rows.csv\n{jobs}") == [{name: {**GOOD, **IMAGES_API}[name][1]}, {}]


def test_a_column_fills_what_stands_inside(folder: Folder) -> None:
    """In texts of mappings and lists, at any depth; other values keep their type."""
    folder.write("rows.csv", "Title,Level,Store\ncup,block_none,Acme\n")
    text = """
rows: rows.csv
jobs:
  - prompt: "{{ Title }}"
    system: "You work for {{ Store }}"
    safety: {harassment: "{{ Level }}"}
    extra: {labels: {shop: "{{ Store | lower }}", list: ["{{ Title }}", 1, true, null]}}
"""
    assert asked(folder, text) == [
        {
            "system": "You work for Acme",
            "safety": {"HARM_CATEGORY_HARASSMENT": "BLOCK_NONE"},
            "extra": {"labels": {"shop": "acme", "list": ["cup", 1, True, None]}},
        }
    ]


@pytest.mark.parametrize("name", GOOD)
def test_a_matrix_says_it(folder: Folder, name: str) -> None:
    """As a name of its own, or inside a value with several; a job's own counts more."""
    written, value = GOOD[name]
    text = f"matrix: {{{name}: [{written}]}}\njobs: [{{prompt: x}}]"
    assert asked(folder, text) == [{name: value}]
    text = f"matrix: {{look: [{{name: bold, {name}: {written}}}, {{name: plain}}]}}\n"
    assert asked(folder, text + 'jobs: [{prompt: "x {{ look.name }}"}]') == [{name: value}, {}]
    own = text + f'jobs: [{{prompt: "x {{{{ look.name }}}}", {name}: null}}]'
    assert asked(folder, own) == [{}, {}]


def test_variants_with_one_prompt_differ_in_what_they_ask_for(folder: Folder) -> None:
    """So do their ids, which are made of it; ids of jobs without any of it are as ever."""
    made = folder.jobs("matrix: {seed: [1, 2], thinking: [minimal, high]}\njobs: [{prompt: a cup}]")
    assert len({job.id for job in made}) == len({job.spec() for job in made}) == 4
    assert [job.id for job in folder.jobs("jobs: [{prompt: a mountain at sunset}]")] == ["a-mountain-at-sunset-71fb60"]
    seeds = folder.jobs("jobs: [{prompt: a cup, seed: 1}, {prompt: a cup, seed: 2}]")
    assert len({job.id for job in seeds}) == 2


BAD = [
    ("system: ''", "system is empty; write some text"),
    ("system: 3", "system must be text; quote it; got 3"),
    ("thinking: low", "thinking must be one of minimal, high for gemini-3.1-flash-image; got low"),
    ("thinking: hard", "thinking must be one of minimal, low, medium, high; got hard"),
    ("thinking: true", "thinking must be one of minimal, low, medium, high; got true"),
    ("seed: -1", "seed must be a whole number from 0 to 2,147,483,647; got -1"),
    ("seed: 1.5", "seed must be a whole number from 0 to 2,147,483,647; got 1.5"),
    ("seed: true", "seed must be a whole number from 0 to 2,147,483,647; got true"),
    ("seed: 2147483648", "seed must be a whole number from 0 to 2,147,483,647; got 2147483648"),
    ("temperature: 2.1", "temperature must be a number from 0 to 2; got 2.1"),
    ("temperature: .nan", "temperature must be a number from 0 to 2; got nan"),
    ("top_p: 95", "top_p must be a number from 0 to 1; got 95"),
    (
        "safety: block_none",
        "safety must be a mapping such as {hate_speech: block_only_high}, or the same as JSON; got block_none",
    ),
    ("safety: {hatespeech: block_none}", 'safety has no category "hatespeech"; did you mean hate_speech?'),
    (
        "safety: {harassment: none}",
        "safety must give harassment one of block_none, block_only_high, block_medium_and_above, block_low_and_above, "
        "off; got none",
    ),
    ("search: google", "search must be web, image, or [web, image]; got google"),
    ("search: []", "search must be web, image, or [web, image]; got a list"),
    ("extra: {}", "extra must name a field of the request, such as {generationConfig: {topK: 40}}"),
    ("extra: [1]", "extra must be a mapping such as {generationConfig: {topK: 40}}; got a list"),
    ("extra: {contents: []}", "extra may not hold contents; write prompt, references or continue_from"),
    (
        "extra: {generation_config: {image_config: {image_size: 4K}}}",
        "extra may not hold generationConfig.imageConfig.imageSize; write image_size",
    ),
    (
        "extra: {generationConfig: {candidateCount: 4}}",
        "extra may not hold generationConfig.candidateCount; write samples",
    ),
    ("extra: {service_tier: flex}", "extra may not hold serviceTier; write lane"),
    ("extra: {tools: [{google_search: {}}]}", "extra may not hold a search; write search"),
    ("extra: {a: .inf}", "extra must hold numbers that JSON has; got inf"),
]


@pytest.mark.parametrize(("field", "expected"), BAD)
def test_what_cannot_be_asked_for_is_told(folder: Folder, field: str, expected: str) -> None:
    """In the job, in the defaults and in the matrix, once and with its place."""
    assert folder.problems(f"jobs: [{{id: a, prompt: x, {field}}}]")[0].endswith(f'job "a": {expected}')
    defaults = folder.problems(f"defaults: {{{field}}}\njobs: [{{prompt: x}}, {{prompt: y}}]")
    assert [problem.partition(": ")[2] for problem in defaults] == [expected]


@pytest.mark.parametrize(
    ("model", "field", "expected"),
    [
        (PRO, "thinking: high", f"{PRO} takes no thinking level; remove thinking"),
        (PRO, "search: image", f"search must be web for {PRO}; got image"),
        (LITE, "search: web", f"{LITE} cannot search; remove search"),
        (LITE, "image_size: 2K", f"image_size must be 1K for {LITE}; got 2K"),
        (NANO, "image_size: 512", f"image_size must be one of 1K, 2K, 4K for {NANO}; got 512"),
    ],
)
def test_what_the_model_does_not_take_is_told(folder: Folder, model: str, field: str, expected: str) -> None:
    """Written in the job, or filled from a column."""
    assert folder.problems(f"model: {model}\njobs: [{{prompt: x, {field}}}]")[0].endswith(expected)
    folder.write("rows.csv", f"Title,Model\ncup,{model}\n")
    rows = f'rows: rows.csv\nmodel: "{{{{ Model }}}}"\njobs: [{{prompt: "{{{{ Title }}}}", {field}}}]'
    assert folder.problems(rows)[0].endswith(expected)


def test_a_wrong_cell_is_told_with_its_column(folder: Folder) -> None:
    """And every wrong row."""
    folder.write("rows.csv", "Title,Seed\ncup,one\nbowl,7\njug,-7\n")
    text = 'rows: rows.csv\njobs: [{prompt: "{{ Title }}", seed: "{{ Seed }}"}]'
    rule = "seed must be a whole number from 0 to 2,147,483,647"
    assert folder.problems(text) == [
        f'rows.csv:2: column "Seed": {rule}; got one',
        f'rows.csv:4: column "Seed": {rule}; got -7',
    ]


def test_a_template_without_rows_is_no_value(folder: Folder) -> None:
    """It would be sent as it stands."""
    expected = "m.yaml:1:26: seed must be a whole number from 0 to 2,147,483,647; got {{ Seed }}"
    assert folder.problems('jobs: [{prompt: x, seed: "{{ Seed }}"}]') == [expected]


def test_a_fallback_must_take_what_a_job_asks_for(folder: Folder) -> None:
    """It may be asked in the model's place."""
    text = "fallback: gemini-2.5-flash-image\njobs: [{prompt: x, image_size: 1K, search: web}]"
    assert folder.problems(text)[0].endswith("fallback: gemini-2.5-flash-image cannot search; remove search")
