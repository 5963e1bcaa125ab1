"""OpenAI's images API in whole runs, over real sockets, against the simulator and its book."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import batch
from batch.core.errors import InputError
from batch.core.results import Summary
from batch.core.settings import ChangedPolicy
from batch.providers.base import Received
from batch.runner.connections import read_again
from batch.runner.options import RunOptions
from batch.runner.reread import Reread
from batch.runner.run import plan_only
from batch.simulator import Simulator, serve, settings_from
from batch.simulator.faults.all_faults import FAULTS, IMAGES_FAULTS
from batch.store.disk_reserve import DiskReserve
from batch.store.spool import AttemptSpool, attempt_stem
from tests.end_to_end.test_faults import DONE, EXPECTED, Expected, HastyClock, assert_balance, failed
from tests.support.fakes import QuickClock
from tests.support.picture_host import png

MODEL, GEMINI = "gpt-image-1.5", "gemini-3.1-flash-image"
KEYS = {"OPENAI_API_KEY": "sk-canary-0123456789abcdef", "GEMINI_API_KEY": "AIza-canary-0123456789"}


@dataclass
class Shop:
    """A manifest for one simulator, which may be asked in both ways."""

    path: Path
    simulator: Simulator

    def manifest(self, jobs: list[dict[str, Any]], **top: Any) -> Path:
        providers = [{"profile": "openai", "base_url": f"{self.simulator.base_url}/v1"}]
        text = {"provider": providers, "model": MODEL, "defaults": {"quality": "low"}, **top, "jobs": jobs}
        file = self.path / "m.yaml"
        file.write_text(json.dumps(text))
        return file

    @property
    def both(self) -> list[dict[str, Any]]:
        names = {"openai": "/v1", "google": ""}
        return [{"profile": name, "base_url": self.simulator.base_url + path} for name, path in names.items()]

    async def run(self, jobs: list[dict[str, Any]], options: RunOptions | None = None, **top: Any) -> Summary:
        file = self.manifest(jobs, **top)
        out = self.path / "out"
        return await batch.run(file, output=out, environment=KEYS, clock=QuickClock(), options=options)

    def ledger(self, kind: str) -> list[dict[str, Any]]:
        lines = map(json.loads, (self.path / "out/ledger.jsonl").read_bytes().splitlines())
        return [line for line in lines if line["t"] == kind]


@pytest.fixture
async def shop(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Shop]:
    options = {"pictures": "plain", "billing": "tokens", **getattr(request, "param", {})}
    async with serve(settings_from(options)) as simulator:
        yield Shop(tmp_path, simulator)


def job(name: str, **asked: Any) -> dict[str, Any]:
    return {"id": name, "prompt": f"a {name}", "aspect_ratio": "1:1", **asked}


# ---- every fault --------------------------------------------------------------------------------------------

WAITS = {"retry_after_ms": "20"}
IMAGES: dict[str, Expected] = {
    "openai_bad_key": Expected("pending", "bad_key", 77, "bad_key"),
    "openai_no_quota": Expected("pending", "no_credit", 77, "no_credit"),
    "openai_spend_limit": Expected("pending", "no_credit", 77, "no_credit"),
    "openai_billing_limit": Expected("pending", "no_credit", 77, "no_credit"),
    "openai_unverified": Expected("pending", "model_not_allowed", 77, "model_not_allowed"),
    "openai_model_missing": Expected("pending", "model_missing", 77, "model_missing"),
    "openai_invalid_size": failed("invalid_request"),
    "openai_moderation": failed("moderation_blocked"),
    "openai_content_policy": failed("content_policy_violation"),
    "openai_limit": Expected("done", "rate_limited", 0, "done", 3, {**WAITS, "times": 2}),
    "openai_limit_header": Expected("done", "rate_limited", 0, "done", 3, {"times": 2}),
    "openai_limit_day": Expected("pending", "daily_quota", 75, "daily_quota"),
    "openai_server_error": Expected("done", "unavailable", 0, "done", 2, {"times": 1}),
    "openai_slow_down": Expected("done", "unavailable", 0, "done", 2, {"times": 1}),
    "openai_moderation_output": failed("moderation_blocked"),
    "openai_empty": failed("empty_answer", 2),
    **dict.fromkeys(
        ("openai_no_usage", "openai_false_usage", "openai_revised_prompt", "openai_wrapped", "openai_two"), DONE
    ),
    "openai_url": DONE,
}
#: What depends on nothing but how answers travel ends as with any other provider.
TRAVEL = {
    name: EXPECTED[name]
    for name, fault in FAULTS.items()
    if fault.act.__module__.endswith(".transport") and name not in ("hang", "gzip_bomb", "giant_answer")
}


#: Where the format decides what an answer without a picture is called.
TRAVEL |= {name: failed("empty_answer", 2) for name in ("list_200", "object_200", "wrong_types_200")}
TRAVEL |= {name: failed("not_json", 2) for name in ("null_200", "number_200")}


def test_the_table_knows_every_fault() -> None:
    """A fault that is added to the simulator needs its line here."""
    assert set(IMAGES) == set(IMAGES_FAULTS)


@pytest.mark.parametrize("name", [*IMAGES, *TRAVEL])
async def test_every_fault_ends_a_run_as_the_table_says(name: str, tmp_path: Path) -> None:
    """Outcome, cause, exit code and requests; nothing charged is forgotten, nothing free is counted."""
    expected = {**TRAVEL, **IMAGES}[name]
    options = {"pictures": "plain", "billing": "tokens", "faults": [{"fault": name, **expected.params}]}
    async with serve(settings_from(options)) as simulator:
        top = {
            "timeouts": {"connect_seconds": 10, "write_seconds": 10, "read_seconds": 1, "total_seconds": 1.5},
            "verify": "decode",
        }
        file = Shop(tmp_path, simulator).manifest([job("a")], **top)
        summary = await batch.run(file, output=tmp_path / "out", environment=KEYS, clock=HastyClock())
        counts = {"done": summary.done, "failed": summary.failed, "unknown": summary.unknown}
        outcome = next((word for word, count in counts.items() if count), "pending")
        ends = [*Shop(tmp_path, simulator).ledger("fail"), *Shop(tmp_path, simulator).ledger("unk")]
        code = ends[-1]["code"] if ends else None
        found = (outcome, code, summary.exit, summary.reason)
        assert found == (expected.outcome, expected.code, expected.exit, expected.reason), (summary.message, ends[-1:])
        allowed = expected.requests if isinstance(expected.requests, range) else (expected.requests,)
        assert summary.requests in allowed
        assert_balance(simulator.book, tmp_path / "out")
        assert simulator.book.downloads_with_key == 0


# ---- what is asked for and what comes back ------------------------------------------------------------------


async def test_what_a_job_asks_for_is_what_is_bought(shop: Shop) -> None:
    """Sizes, formats and edits; pictures of just those pixels without a warning, and money to the cent."""
    Image.effect_noise((60, 40), 50).convert("RGB").save(shop.path / "r.png")
    jobs = [
        job("wide", aspect_ratio="3:2", quality="high"),
        job("edit", references=["r.png"], output_format="webp", background="opaque", input_fidelity="high"),
        job("pixels", image_size="1024x1536", aspect_ratio=None, output_format="jpeg", output_compression=80),
        job("open", aspect_ratio=None, output_format="jpeg"),
    ]
    summary = await shop.run(jobs)
    assert (summary.exit, summary.done, summary.requests) == (0, 4, 4)
    done = {line["job"]: line for line in shop.ledger("done")}
    (image,) = done["edit"]["images"]
    assert (image["path"], image["width"], image["height"]) == ("images/edit.webp", 1024, 1024)
    (image,) = done["pixels"]["images"]
    assert (image["mime"], image["width"], image["height"]) == ("image/jpeg", 1024, 1536)
    assert [each["warnings"] for each in done.values()] == [[]] * 4
    assert {each["usd_from"] for each in done.values()} == {"usage"}
    assert summary.cost_usd == pytest.approx(shop.simulator.book.usd, abs=1e-6)
    assert {each.references for each in shop.simulator.book.entries} == {0, 1}
    (tried,) = [line for line in shop.ledger("try") if line["job"] == "wide"]
    assert tried["to"] == {"endpoint": "openai", "model": MODEL, "lane": "standard", "provider": "openai"}


@pytest.mark.parametrize("shop", [{"faults": ["openai_revised_prompt"]}], indirect=True)
async def test_the_prompt_as_the_model_rewrote_it_is_the_caption(shop: Shop) -> None:
    """It stands in manifest.jsonl."""
    await shop.run([job("a")])
    (line,) = [json.loads(each) for each in (shop.path / "out/manifest.jsonl").read_bytes().splitlines()]
    assert line["caption"] == "a mountain, as the model saw it"


async def test_a_finished_batch_sends_nothing(shop: Shop) -> None:
    """A second run knows every job by its spec; another quality is another picture."""
    await shop.run([job("a"), job("b")])
    assert (await shop.run([job("a"), job("b")])).requests == 0
    summary = await shop.run([job("a", quality="high"), job("b")], RunOptions(on_changed=ChangedPolicy.RERUN))
    assert (summary.requests, shop.simulator.book.requests) == (1, 3)


@pytest.mark.parametrize("shop", [{"faults": ["openai_empty"]}], indirect=True)
async def test_a_kept_answer_is_read_again_by_the_reader_of_its_format(shop: Shop) -> None:
    """`reread` finds the picture in it without a request; the caption tells which reader it was."""
    assert (await shop.run([job("a")], retry={"unusable_retries": 0})).failed == 1
    out = shop.path / "out"
    held = {"data": [{"b64_json": base64.b64encode(png(64)).decode(), "revised_prompt": "rewritten"}]}
    spool = AttemptSpool(str(out / "rejected"), attempt_stem("a", 1), DiskReserve(str(out)))
    spool.seal(Received(status=200, headers={}, body=json.dumps(held).encode(), blobs=(), seconds=1.0))
    found: list[Reread] = []
    await read_again(out, base_url=None, dry_run=False, told=found.append)
    assert [each.found for each in found] == ["done"]
    assert (out / "images/a.png").read_bytes() == png(64)
    assert shop.ledger("reread")[0]["caption"] == "rewritten"
    assert (shop.simulator.book.requests, (await shop.run([job("a")])).requests) == (1, 0)


@pytest.mark.parametrize(
    "shop", [{"faults": [{"fault": "openai_url", "download": "503_once", "times": 1}]}], indirect=True
)
async def test_a_picture_behind_an_address_is_fetched_until_it_is_there(shop: Shop) -> None:
    """Without the key, and without another request."""
    assert (await shop.run([job("a")])).done == 1
    book = shop.simulator.book
    assert (book.requests, book.downloads, book.downloads_with_key) == (1, 2, 0)


async def test_a_budget_holds(shop: Shop) -> None:
    """What does not fit is not sent: a picture, its prompt and some text are kept free for each request."""
    jobs = [job(str(n), quality="high") for n in range(9)]
    summary = await shop.run(jobs, RunOptions(max_cost=0.5), limits={"concurrency": 1})
    assert summary.exit == 75
    assert 0 < shop.simulator.book.usd <= 0.5


# ---- beside another provider --------------------------------------------------------------------------------


async def test_each_job_goes_to_the_provider_that_knows_its_model(shop: Shop) -> None:
    """In one manifest, and priced there."""
    jobs = [job(f"o{n}") for n in range(3)] + [job(f"g{n}", model=GEMINI) for n in range(3)]
    summary = await shop.run(jobs, provider=shop.both, defaults={})
    assert (summary.exit, summary.done) == (0, 6)
    asked = Counter((line["to"]["endpoint"], line["to"]["model"]) for line in shop.ledger("try"))
    assert asked == {("openai", MODEL): 3, ("google", GEMINI): 3}
    assert summary.cost_usd == pytest.approx(shop.simulator.book.usd, abs=1e-6)


def test_plan_prices_each_job_where_it_is_bought(shop: Shop) -> None:
    """Not at the dearest of all providers."""
    file = shop.manifest([job("o"), job("g", model=GEMINI)], provider=shop.both, defaults={})
    planned = plan_only(file, output=shop.path / "out")
    assert planned.plan.usd == pytest.approx(0.133 + 0.067)


async def test_a_relay_that_speaks_both_may_have_one_key(shop: Shop) -> None:
    """Its two formats are two accounts: each has its own limits, and a cap counts what both spend."""
    same = [{**each, "base_url": shop.simulator.base_url, "key_env": "OPENAI_API_KEY"} for each in shop.both]
    jobs = [job("o"), job("g", model=GEMINI), job("more", model=GEMINI)]
    summary = await shop.run(jobs, provider=same, defaults={}, budget={"per_day": 0.6}, limits={"concurrency": 1})
    assert summary.cost_usd == pytest.approx(shop.simulator.book.usd, abs=1e-6)
    assert (summary.exit, summary.done) == (0, 3)
    summary = await shop.run([*jobs, job("extra")], provider=same, defaults={}, budget={"per_day": 0.3})
    assert (summary.exit, summary.requests) == (75, 0)


BLOCKED = {"faults": [{"fault": "openai_moderation"}]}
BUSY = {"faults": [{"fault": "openai_server_error"}]}


@pytest.mark.parametrize(("shop", "on"), [(BLOCKED, "safety"), (BUSY, "overload")], indirect=["shop"])
async def test_a_fallback_may_cross_to_the_other_format(shop: Shop, on: str) -> None:
    """For the reason that it names; the picture is the other provider's."""
    fallback = {"models": [GEMINI], "on": [on]}
    summary = await shop.run([job("a")], provider=shop.both, defaults={}, fallback=fallback, limits={"adaptive": False})
    assert summary.done == 1
    assert {line["to"]["endpoint"] for line in shop.ledger("try")} == {"openai", "google"}
    assert shop.ledger("try")[-1]["to"]["model"] == GEMINI


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"quality": "high"}, "fallback: provider google takes no quality; remove it"),
        ({"model": GEMINI, "seed": 7}, "fallback: provider openai takes no seed; remove it"),
        ({"model": GEMINI, "aspect_ratio": "16:9"}, "fallback: aspect_ratio must be one of 1:1, 3:2, 2:3 for"),
        ({"model": GEMINI, "image_size": "4K"}, "fallback: image_size must be one of 1K, auto, 1024x1024"),
    ],
)
async def test_what_the_other_format_cannot_express_is_told_before_anything_is_sent(
    shop: Shop, asked: dict[str, Any], says: str
) -> None:
    """Rather than bought without it."""
    with pytest.raises(InputError, match=says.replace("(", r"\(")):
        await shop.run([job("a", **asked)], provider=shop.both, defaults={}, fallback=[MODEL, GEMINI])
    assert shop.simulator.book.requests == 0


# ---- rehearsals ---------------------------------------------------------------------------------------------


async def test_a_rehearsal_speaks_the_same_format_and_buys_nothing(shop: Shop) -> None:
    """`simulator-openai` takes the manifest as it is; the run at the real endpoint then buys everything."""
    rehearsal = {"profile": "simulator-openai", "simulator": {"pictures": "plain"}}
    summary = await shop.run([job("a"), job("b")], provider=rehearsal)
    assert (summary.exit, summary.done, summary.simulated) == (0, 2, True)
    assert shop.simulator.book.requests == 0
    summary = await shop.run([job("a"), job("b")])
    assert (summary.done, summary.simulated, shop.simulator.book.requests) == (2, False, 2)
    assert (shop.path / "out/rehearsal/ledger.jsonl").exists()
