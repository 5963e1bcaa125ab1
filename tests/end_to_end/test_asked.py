"""What a job asks for beside its prompt arrives, is part of what is bought, is paid for, and is told of."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import batch
from batch.core.errors import InputError
from batch.core.results import Summary
from batch.core.settings import ChangedPolicy
from batch.runner.options import RunOptions
from batch.runner.run import plan_only
from tests.support.fakes import ClockAt, QuickClock
from tests.support.strict_api import StrictApi, strict_api

KEYS = {"ANYFAST_API_KEY": "sk-for-tests", "GEMINI_API_KEY": "K-for-tests"}
ALL: dict[str, Any] = {
    "system": "Be brief",
    "thinking": "high",
    "seed": 7,
    "temperature": 0.5,
    "top_p": 0.25,
    "safety": {"hate_speech": "block_none"},
    "search": ["web", "image"],
    "extra": {"generationConfig": {"topK": 40}, "labels": {"shop": "acme"}},
}
ARRIVED = {
    "systemInstruction": {"parts": [{"text": "Be brief"}], "role": "user"},
    "safetySettings": [{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"}],
    "tools": [{"googleSearch": {"searchTypes": {"webSearch": {}, "imageSearch": {}}}}],
    "labels": {"shop": "acme"},
}
GROUNDING = {
    "webSearchQueries": ["harbour of Trieste", "molo audace"],
    "imageSearchQueries": ["molo audace at dusk"],
    "groundingChunks": [
        {"web": {"uri": "https://example.com/trieste", "title": "Trieste"}},
        {"image": {"sourceUri": "https://example.com/molo", "imageUri": "https://example.com/m.jpg", "title": "Molo"}},
        {"maps": {}},
    ],
}


class Runs:
    """Manifests run against a strict stub of the API."""

    def __init__(self, folder: Path, api: StrictApi) -> None:
        self.folder = folder
        self.api = api

    def manifest(self, jobs: list[dict[str, Any]], profile: str = "google", **top: Any) -> Path:
        provider = {"profile": profile, "base_url": self.api.base_url}
        file = self.folder / "m.yaml"
        file.write_text(json.dumps({"provider": provider, "defaults": {"image_size": 512}, **top, "jobs": jobs}))
        return file

    async def run(self, jobs: list[dict[str, Any]], **top: Any) -> Summary:
        options = top.pop("options", None)
        file = self.manifest(jobs, **top)
        return await batch.run(file, output=self.folder / "out", environment=KEYS, clock=QuickClock(), options=options)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "out/manifest.jsonl").read_bytes().splitlines()]

    def ledger(self, kind: str) -> list[dict[str, Any]]:
        lines = (self.folder / "out/ledger.jsonl").read_bytes().splitlines()
        return [line for line in map(json.loads, lines) if line["t"] == kind]


@pytest.fixture
async def runs(tmp_path: Path) -> AsyncIterator[Runs]:
    async with strict_api() as api:
        yield Runs(tmp_path, api)


@pytest.mark.parametrize("profile", ["google", "anyfast"])
async def test_every_field_arrives_where_the_api_has_it(runs: Runs, profile: str) -> None:
    """At Google and at relays, and nothing arrives that was not asked for."""
    summary = await runs.run(
        [{"id": "all", "prompt": "a cup", **ALL}, {"id": "none", "prompt": "a cup"}], profile=profile
    )
    assert (summary.exit, runs.api.violations) == (0, [])
    by_size = sorted(runs.api.requests, key=lambda body: -len(body))
    assert {name: by_size[0][name] for name in ARRIVED} == ARRIVED
    assert by_size[0]["generationConfig"] == {
        "responseModalities": ["IMAGE"],
        "imageConfig": {"imageSize": "512"},
        "thinkingConfig": {"thinkingLevel": "HIGH"},
        "seed": 7,
        "temperature": 0.5,
        "topP": 0.25,
        "topK": 40,
    }
    assert min(runs.api.bodies, key=len) == (
        b'{"contents":[{"role":"user","parts":[{"text":"a cup"}]}],"generationConfig":'
        b'{"responseModalities":["IMAGE"],"imageConfig":{"imageSize":"512"}}}'
    )


@pytest.mark.parametrize("name", ALL)
async def test_a_field_is_part_of_what_is_bought(runs: Runs, name: str) -> None:
    """Adding one to a finished job changes it, like an edited prompt: nothing is bought unless that is asked for."""
    plain, asked = {"id": "cup", "prompt": "a cup"}, {"id": "cup", "prompt": "a cup", name: ALL[name]}
    await runs.run([plain])
    with pytest.raises(InputError, match="edited after their pictures were bought"):
        await runs.run([asked])
    rerun = await runs.run([asked], options=RunOptions(on_changed=ChangedPolicy.RERUN))
    again = await runs.run([asked])
    assert (len(runs.api.bodies), rerun.requests, again.requests) == (2, 1, 0)
    assert runs.api.violations == []


async def test_sources_stand_in_the_manifest_and_queries_are_paid(runs: Runs) -> None:
    """Three queries at $0.014; a job that did not search has neither field."""
    runs.api.grounding = GROUNDING
    jobs: list[dict[str, Any]] = [
        {"id": "found", "prompt": "the harbour", "search": ["web", "image"]},
        {"id": "drawn", "prompt": "a cup"},
    ]
    planned = plan_only(runs.manifest(jobs), output=runs.folder / "out").plan
    assert planned.usd == pytest.approx(0.045 + 0.014 + 0.045)
    await runs.run(jobs)
    found, drawn = runs.lines()
    assert found["queries"] == ["harbour of Trieste", "molo audace", "molo audace at dusk"]
    assert found["sources"] == [
        {"kind": "web", "title": "Trieste", "uri": "https://example.com/trieste"},
        {"kind": "image", "title": "Molo", "uri": "https://example.com/molo"},
    ]
    assert "sources" not in drawn
    assert "search" not in runs.ledger("done")[0 if runs.ledger("done")[0]["job"] == "drawn" else 1]
    assert found["cost_usd"] == pytest.approx(drawn["cost_usd"] + 3 * 0.014, abs=1e-4)


async def test_sources_go_with_a_picture_that_is_taken_over(runs: Runs) -> None:
    """Under its new name the job shows what its picture rests on."""
    runs.api.grounding = GROUNDING
    await runs.run([{"id": "old", "prompt": "the harbour", "search": "web"}])
    summary = await runs.run([{"id": "new", "prompt": "the harbour", "search": "web"}])
    assert (summary.requests, summary.adopted) == (0, 1)
    assert len(runs.lines()[0]["sources"]) == 2


async def test_a_model_in_no_table_is_sent_with_one_warning(runs: Runs) -> None:
    """Whatever it is asked for; its name stands in the address."""
    jobs = [{"id": f"cup-{n}", "prompt": f"cup {n}", "aspect_ratio": "7:3", "thinking": "low"} for n in range(3)]
    warnings = plan_only(runs.manifest(jobs, model="new-image-5")).warnings
    assert len(warnings) == 1
    assert warnings[0].startswith("model new-image-5 is in no table, so nothing about it is checked")
    summary = await runs.run(jobs, model="new-image-5")
    assert (summary.done, summary.exit) == (3, 0)
    assert set(runs.api.paths) == {"/v1beta/models/new-image-5:generateContent"}


def test_a_model_of_another_format_is_told_with_its_provider(runs: Runs) -> None:
    """It stands in no table of this provider's."""
    (warning,) = plan_only(runs.manifest([{"id": "a", "prompt": "a cup"}], model="gpt-image-1")).warnings
    assert "provider: openai serves it in another format" in warning


@pytest.mark.parametrize("cap", [{"budget": {"per_run": 5}}, {"options": RunOptions(max_cost=5)}])
async def test_a_cap_asks_for_a_price_before_anything_is_sent(runs: Runs, cap: dict[str, Any]) -> None:
    """It cannot be kept over pictures whose price is guessed; a price in prices or in models is enough."""
    jobs = [{"id": "cup", "prompt": "a cup"}]
    with pytest.raises(InputError, match="the price of new-image-5 at 512 is not known"):
        await runs.run(jobs, model="new-image-5", **cap)
    assert runs.api.bodies == []
    assert (await runs.run(jobs, model="new-image-5", prices={"512": 0.05}, **cap)).done == 1
    known = {"new-image-6": {"picture_usd": {"512": 0.03}}}
    summary = await runs.run([{"id": "jug", "prompt": "a jug"}], model="new-image-6", models=known, **cap)
    assert (summary.done, runs.lines()[-1]["cost_usd"]) == (1, 0.03)


async def test_a_cap_asks_for_the_price_of_a_fallback(runs: Runs) -> None:
    """It may be asked for every job."""
    with pytest.raises(InputError, match="the price of new-image-5 at 512 is not known"):
        await runs.run([{"id": "cup", "prompt": "a cup"}], fallback="new-image-5", budget={"per_run": 5})


async def test_a_finished_batch_asks_for_no_price(runs: Runs) -> None:
    """Nothing is spent any more, so nothing is to be kept within a cap."""
    await runs.run([{"id": "cup", "prompt": "a cup"}], model="new-image-5")
    summary = await runs.run([{"id": "cup", "prompt": "a cup"}], model="new-image-5", budget={"per_run": 5})
    assert (summary.requests, summary.done) == (0, 1)


@pytest.mark.parametrize(
    ("day", "model", "profile", "words"),
    [
        ((2026, 8, 1), "gemini-2.5-flash-image", "google", None),
        ((2026, 8, 18), "gemini-2.5-flash-image", "google", "is announced to end on 2026-10-02"),
        ((2026, 11, 28), "gemini-2.5-flash-image", "anyfast", "was announced to end on 2026-10-02"),
        ((2026, 11, 28), "gemini-3.1-flash-image", "google", "sources disagree"),
        ((2026, 11, 28), "gemini-3.1-flash-image", "anyfast", None),
        ((2026, 11, 28), "gemini-3-pro-image", "google", None),
    ],
)
def test_a_plan_names_models_that_end(
    tmp_path: Path, day: tuple[int, int, int], model: str, profile: str, words: str | None
) -> None:
    """From forty-five days before, with the source; of a provider's own API alone where it is told of that alone."""
    file = tmp_path / "m.yaml"
    file.write_text(f"provider: {profile}\nmodel: {model}\njobs: [{{prompt: a cup}}]")
    warnings = plan_only(file, output=tmp_path / "out", clock=ClockAt(datetime(*day, tzinfo=UTC))).warnings
    assert len(warnings) == (words is not None)
    assert words is None or (words in warnings[0] and "source: " in warnings[0])


def test_a_manifest_knows_better_when_a_model_ends(tmp_path: Path) -> None:
    """It sets an end, and takes one back."""
    file = tmp_path / "m.yaml"
    clock = ClockAt(datetime(2026, 11, 28, tzinfo=UTC))
    old, new = "gemini-2.5-flash-image", "gemini-3-pro-image"
    file.write_text(f"model: {old}\nmodels: {{{old}: {{end: null}}}}\njobs: [{{prompt: a cup}}]")
    assert plan_only(file, output=tmp_path / "out", clock=clock).warnings == ()
    file.write_text(f"model: {new}\nmodels: {{{new}: {{end: 2026-12-24}}}}\njobs: [{{prompt: a cup}}]")
    assert plan_only(file, output=tmp_path / "out", clock=clock).warnings == (
        f"model {new} is announced to end on 2026-12-24; imagebatch models shows others",
    )


async def test_the_page_of_the_ledger_names_what_a_search_writes(runs: Runs) -> None:
    """Each field, in the section of `done`."""
    runs.api.grounding = GROUNDING
    await runs.run([{"id": "old", "prompt": "the harbour", "search": "web"}])
    (done,) = runs.ledger("done")
    page = (Path(__file__).parents[2] / "docs/ledger.md").read_text("utf-8")
    section = page[page.index("### `done`") : page.index("### `fail`")]
    assert set(done["search"]) == {"queries", "sources"}
    assert "`search.queries`" in section
    assert all(f"`search.sources[].{name}`" in section for name in done["search"]["sources"][0])
