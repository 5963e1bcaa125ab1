"""A second wire format, of a package that a user installs: whatever works through ours works through it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import batch
from batch.cli.app import cli
from batch.core.errors import ConfigError, InputError
from batch.core.registry import find_profile
from batch.runner.connections import read_again
from batch.runner.options import RunOptions
from batch.runner.reread import Reread
from tests.installed_providers.conftest import KEY, PICTURE, Bench, Install, good
from tests.support.fakes import Recorder

BUSY = (503, {"problem": "busy", "words": "come back"})
BLOCKED = (200, {"id": "a-2", "refused": "no weapons", "tokens": {"in": 3, "out": 0}})


async def test_a_run_buys_what_the_manifest_asks_for(bench: Bench) -> None:
    """One request per job, in its own words and with its key; the pictures are kept as they came."""
    summary = await bench.run(3)
    assert (summary.exit, summary.done, summary.requests) == (0, 3, 3)
    assert bench.acme.asked[0] == {"model": "acme-1", "prompt": "cup 0", "size": "1K", "shape": "1:1"}
    assert bench.acme.keys == {f"Bearer {KEY}"}
    assert (bench.path / "out/images/job-0.png").read_bytes() == PICTURE


async def test_it_is_charged_by_its_own_prices(bench: Bench) -> None:
    """From the tokens it reports, which the ledger keeps in the provider's words."""
    await bench.run()
    (done,) = bench.ledger("done")
    assert (done["usd"], done["usd_from"], done["usage"]) == (0.040003, "usage", {"in": 3, "out": 1000})
    (tried,) = bench.ledger("try")
    assert tried["to"] == {"endpoint": "acme", "model": "acme-1", "lane": "standard", "provider": "acme"}


async def test_a_finished_batch_sends_nothing(bench: Bench) -> None:
    """A second run knows every job by its spec."""
    await bench.run(2)
    summary = await bench.run(2)
    assert (summary.exit, summary.requests, len(bench.acme.asked)) == (0, 0, 2)


async def test_what_it_could_not_serve_is_sent_again(bench: Bench) -> None:
    """Unpaid, in the same run."""
    bench.acme.answer = lambda ask, n: BUSY if n == 1 else good()
    summary = await bench.run()
    assert (summary.exit, summary.done, summary.requests) == (0, 1, 2)
    (failed,) = bench.ledger("fail")
    assert (failed["code"], failed["paid"]) == ("unavailable", "no")


async def test_a_quota_is_waited_for(bench: Bench) -> None:
    """For as long as it says."""
    bench.acme.answer = lambda ask, n: (429, {"problem": "quota", "wait": 20}) if n == 1 else good()
    assert (await bench.run()).done == 1
    (failed,) = bench.ledger("fail")
    assert (failed["code"], failed["paid"]) == ("rate_limited", "no")


async def test_a_refusal_is_final_and_paid(bench: Bench) -> None:
    """At what its tokens cost, and a later run does not ask again."""
    bench.acme.answer = lambda ask, n: BLOCKED
    summary = await bench.run()
    (failed,) = bench.ledger("fail")
    assert (summary.exit, failed["code"], failed["paid"], failed["usd"]) == (1, "blocked", "yes", 3e-06)
    assert (await bench.run()).requests == 0


async def test_a_refusal_for_what_it_shows_may_go_to_another_model(bench: Bench) -> None:
    """Its kind says so, whatever the code is called."""
    bench.acme.answer = lambda ask, n: BLOCKED if ask["model"] == "acme-1" else good()
    fallback = {"models": ["acme-2"], "on": "safety"}
    summary = await bench.run(fallback=fallback)
    assert [ask["model"] for ask in bench.acme.asked] == ["acme-1", "acme-2"]
    assert summary.done == 1


async def test_a_wrong_key_stops_the_run(bench: Bench) -> None:
    """After one request, and without the key in any file."""
    bench.acme.answer = lambda ask, n: (401, {"problem": "key", "words": f"no such key {KEY}"})
    summary = await bench.run(20, limits={"concurrency": 1})
    assert (summary.exit, len(bench.acme.asked)) == (77, 1)
    for file in (bench.path / "out").rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes()


async def test_an_answer_that_never_came_may_be_paid(bench: Bench) -> None:
    """Unknown, counted at its list price, and sent once more by policy."""
    bench.acme.answer = lambda ask, n: None if n == 1 else good()
    summary = await bench.run()
    (unknown,) = bench.ledger("unk")
    assert (summary.done, unknown["usd"]) == (1, 0.040005)


def named(bench: Bench) -> tuple[int, Any]:
    """An answer that names its picture's address."""
    return 200, {"id": "a-3", "url": f"{bench.acme.url}/kept.png", "tokens": {"in": 3, "out": 1000}}


async def test_the_next_run_finishes_what_one_left_open(bench: Bench) -> None:
    """From the answer that waits in the spool, without another request."""
    bench.acme.answer = lambda ask, n: named(bench)
    bench.acme.is_there = False
    assert (await bench.run()).done == 0
    bench.acme.is_there = True
    summary = await bench.run()
    assert (summary.exit, summary.done, len(bench.acme.asked)) == (0, 1, 1)
    assert (bench.path / "out/images/job-0.png").read_bytes() == PICTURE


async def test_an_open_answer_waits_for_its_provider(bench: Bench) -> None:
    """Another one would call it an answer without a picture, and buy the job again."""
    bench.acme.answer = lambda ask, n: named(bench)
    bench.acme.is_there = False
    await bench.run()
    bench.acme.is_there = True
    told = Recorder()
    await bench.run(listener=told, provider={"profile": "google"}, model="acme-1")
    assert any("answers of acme wait in the spool" in str(each) for each in told.named("message"))
    assert (len(bench.acme.asked), bench.ledger("done")) == (1, [])
    assert (await bench.run()).done == 1
    assert len(bench.acme.asked) == 1


async def test_a_budget_holds(bench: Bench) -> None:
    """What does not fit is not sent: three pictures and words are the most one answer is taken to cost."""
    summary = await bench.run(9, options=RunOptions(max_cost=0.3), limits={"concurrency": 1})
    assert summary.exit == 75
    assert 0 < len(bench.acme.asked) <= 0.3 / 0.04


async def test_plan_needs_neither_key_nor_server(bench: Bench) -> None:
    """It knows the price of what would be sent."""
    found = await shown("plan", str(bench.manifest(3)), "--json")
    assert found.exit_code == 0
    assert json.loads(found.output)["cost_usd"] == pytest.approx(0.12)
    assert bench.acme.asked == []


async def test_status_tells_what_a_run_did(bench: Bench) -> None:
    """Without the provider: the ledger says it all."""
    await bench.run(2)
    found = await shown("status", str(bench.path / "out"), "--json")
    assert json.loads(found.output)["done"] == 2


async def test_an_answer_it_could_not_read_is_read_again_by_a_mended_package(bench: Bench, install: Install) -> None:
    """No code of others loses a paid picture: it is kept, counted once, and found without a request."""
    client = bench.path / "site/acme_images/client.py"
    whole = client.read_text()
    client.write_text(whole.replace("told = json_of(received)", 'told = json_of(received)["nested"]'))
    summary = await bench.run()
    (failed,) = bench.ledger("fail")
    assert (summary.exit, failed["code"], failed["paid"]) == (1, "provider_failed", "yes")
    assert "the package of provider acme failed: KeyError: 'nested'" in failed["message"]
    client.write_text(whole)
    forget()
    found: list[Reread] = []
    await read_again(bench.path / "out", base_url=None, dry_run=False, told=found.append)
    assert [each.found for each in found] == ["done"]
    assert (bench.path / "out/images/job-0.png").read_bytes() == PICTURE
    assert (len(bench.acme.asked), (await bench.run()).requests) == (1, 0)


async def test_a_mistake_before_sending_sends_nothing(bench: Bench) -> None:
    """The endpoint is of no use then, and nothing was bought."""
    client = bench.path / "site/acme_images/client.py"
    client.write_text(client.read_text().replace('ask = {"model"', 'ask = {"model": 1 / 0, "x"'))
    summary = await bench.run(5)
    assert (summary.exit, bench.acme.asked) == (70, [])
    assert "ZeroDivisionError" in (summary.message or "")


async def shown(*words: str) -> Result:
    """What a command prints."""
    return await asyncio.to_thread(CliRunner().invoke, cli, list(words))


def forget() -> None:
    for name in [name for name in sys.modules if name.startswith("acme_images")]:
        del sys.modules[name]


def problem(path: Path, provider: Any) -> str:
    file = path / "m.yaml"
    file.write_text(json.dumps({"provider": provider, "jobs": [{"prompt": "a cup"}]}))
    with pytest.raises(InputError) as caught:
        asyncio.run(batch.run(file, output=path / "out"))
    assert not (path / "out").exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import nothing_of_the_kind", "ModuleNotFoundError: No module named 'nothing_of_the_kind'"),
        ("1 +", "SyntaxError: invalid syntax"),
        ("OTHER = 3", "module 'acme_images' has no attribute 'ACME'"),
        ("ACME = 3", "acme_images:ACME is no Profile but int"),
        ("from batch.providers.kit import Profile\nACME = Profile(nme=1)", "unexpected keyword argument 'nme'"),
        (
            "from batch.providers.kit import Profile, ModelFacts\n"
            "ACME = Profile(name='b', provider='', base_url='x', key_env='K', models={'m': ModelFacts()})",
            "the entry point is called 'acme' and its profile 'b'",
        ),
        (
            "from batch.providers.kit import Profile\n"
            "ACME = Profile(name='acme', provider='', base_url='x', key_env='K', models={})",
            "its profile names no models",
        ),
    ],
)
def test_a_broken_package_is_a_problem_with_a_place(install: Install, tmp_path: Path, code: str, says: str) -> None:
    """Which package, and why; no traceback, and nothing is made."""
    install("acme = acme_images:ACME", {"acme_images/__init__.py": code})
    said = problem(tmp_path, "acme")
    assert "m.yaml:1:14: provider is of the package acme-images, which is broken; update or remove it: " in said
    assert says in said


def test_a_name_that_is_not_there_says_what_is_and_how_others_come(install: Install, tmp_path: Path) -> None:
    """With the installed ones among the known, and the nearest."""
    install("acme = acme_images:ACME", {"acme_images/__init__.py": ""})
    assert problem(tmp_path, "acmee").endswith(
        "provider must be one of anyfast, google, openai, simulator, simulator-openai, acme; did you mean acme? "
        "others are packages to install, or base_url with one of these formats; got acmee"
    )


def test_none_takes_the_place_of_ours(install: Install, tmp_path: Path) -> None:
    """A key for google goes to google, whatever is installed."""
    install("google = acme_images:ACME", {"acme_images/__init__.py": "raise RuntimeError"})
    assert find_profile("google").base_url == "https://generativelanguage.googleapis.com"


async def test_a_class_that_is_not_there_is_a_problem_of_the_configuration(bench: Bench) -> None:
    """Its profile is all right, so it is found when the run begins; nothing was sent."""
    (bench.path / "site/acme_images/client.py").write_text("")
    with pytest.raises(ConfigError, match=r"provider acme cannot be started; acme_images\.client:AcmeProvider failed"):
        await bench.run()


async def test_without_prices_the_manifest_names_them(bench: Bench) -> None:
    """A cap cannot be kept without a price, and an estimate would be a guess."""
    profile = bench.path / "site/acme_images/__init__.py"
    profile.write_text(profile.read_text().replace("    prices=prices,\n", ""))
    with pytest.raises(InputError, match=r"provider acme names no prices; write them in prices"):
        await bench.run()
    assert (await bench.run(prices={"1K": 0.01})).cost_usd == 0.01
