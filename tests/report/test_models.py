"""`imagebatch models`: the table as people and as programs see it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from batch.cli.models import models
from batch.core.image_models import MODELS, ModelFacts, shipped_table
from batch.core.prices import ModelPrices
from batch.report.models import model_lines


def called(*words: str) -> str:
    result = CliRunner().invoke(models, words)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_table_has_a_line_for_every_model() -> None:
    """In the table's order, the default marked, and which end."""
    head, *lines = called().splitlines()
    assert head.split()[:3] == ["model", "sizes", "ratios"]
    assert [line.split()[0] for line in lines[: len(MODELS)]] == list(MODELS)
    assert " ".join(lines[0].split()).startswith("gemini-3.1-flash-image (default) 512, 1K, 2K, 4K 14")
    assert "gemini-2.5-flash-image on 2026-10-02" in lines[-2]


def test_models_of_openai_follow() -> None:
    """With sizes in pixels, and what a picture costs at the least and at the most."""
    lines = {line.split()[0]: line for line in called().splitlines()}
    assert "1K, auto, 3 in pixels" in lines["gpt-image-1.5"]
    assert lines["gpt-image-1.5"].endswith("$0.009 to $0.20")
    assert "1K, 2K, 4K, auto, any in pixels" in lines["gpt-image-2"]
    shown = called("gpt-image-1.5")
    assert "  quality    low, medium, high, auto" in shown
    assert "  high       1024x1024 $0.133, 1536x1024 $0.20, 1024x1536 $0.20 a picture" in shown
    found = json.loads(called("gpt-image-1.5", "--json"))["models"]["gpt-image-1.5"]
    assert found["picture_usd_by_quality"]["low"]["1536x1024"] == 0.013


@pytest.mark.parametrize("name", MODELS)
def test_one_model_is_shown_with_everything_that_is_known(name: str) -> None:
    """Its ratios by name, its prices by size, and the sources."""
    shown = called(name)
    facts = MODELS[name]
    assert shown.startswith(f"{name} ({facts.title})")
    assert ", ".join(facts.aspect_ratios or ()) in shown
    assert facts.source in shown
    assert (str(facts.end.day) in shown) if facts.end is not None else ("  ends " not in shown)


def test_programs_get_the_table_itself() -> None:
    """Every field of the file under its own name, so that it can be copied into a manifest."""
    found = json.loads(called("--json"))["models"]
    for name, entry in shipped_table()["models"].items():
        assert {field: found[name][field] for field in entry} == entry
        assert found[name]["default"] is (name == "gemini-3.1-flash-image")
    assert list(json.loads(called("gemini-3-pro-image", "--json"))["models"]) == ["gemini-3-pro-image"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gemini-3-pro-imag", "did you mean gemini-3-pro-image?"),
        ("gemini-3-pro-image-preview", "it was retired; write gemini-3-pro-image"),
    ],
)
def test_a_name_in_no_table_is_a_wrong_command_line(name: str, hint: str) -> None:
    """With the name that was meant."""
    result = CliRunner().invoke(models, [name])
    assert result.exit_code == 2
    assert f"{name} is in no table; {hint}" in result.output


def test_what_is_not_known_is_said() -> None:
    """Rather than left out."""
    unknown = ModelFacts(image_sizes=None, aspect_ratios=None, max_references=None)
    lines = list(model_lines("new-5", unknown, ModelPrices(picture_usd={"1K": 0.05})))
    assert [line for line in lines if line.endswith("not known")] == [
        "  sizes      not known",
        "  ratios     not known",
        "  references not known",
        "  answers    not known",
        "  thinking   not known",
        "  search     not known",
    ]
