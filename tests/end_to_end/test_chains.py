"""Jobs that go on with another job's picture (`continue_from`): sent after it, once, and never for nothing."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from batch.core.errors import InputError
from batch.core.settings import ChangedPolicy
from batch.plan.selection import Selection
from batch.runner.options import RunOptions
from batch.runner.run import plan_only
from tests.end_to_end.test_asked import KEYS, Runs
from tests.manifest.conftest import Folder
from tests.support.strict_api import strict_api

CUP = {"id": "cup", "prompt": "a cup"}
BLUE = {"id": "blue", "prompt": "make it blue", "continue_from": "cup"}
STEAM = {"id": "steam", "prompt": "add steam", "continue_from": "blue"}
LONG = base64.b64encode(bytes(range(256)) * 200).decode()


@pytest.fixture
async def runs(tmp_path: Path) -> AsyncIterator[Runs]:
    async with strict_api() as api:
        yield Runs(tmp_path, api)


def sha256_of(runs: Runs, name: str) -> str:
    return hashlib.sha256((runs.folder / f"out/images/{name}.png").read_bytes()).hexdigest()


def sent_pictures(request: dict[str, Any]) -> list[str]:
    """The hashes of the pictures in a request, in order."""
    parts = [part for content in request["contents"] for part in content["parts"]]
    blobs = [part["inlineData"]["data"] for part in parts if "inlineData" in part]
    return [hashlib.sha256(base64.b64decode(blob)).hexdigest() for blob in blobs]


@pytest.mark.parametrize("signature", ["c2lnbmF0dXJl", "_-8=", LONG])
async def test_a_chain_is_sent_in_order_with_each_answers_signature(runs: Runs, signature: str) -> None:
    """In whatever order it is written; a finished chain sends nothing on the next run."""
    runs.api.signature = lambda number: signature if number < 3 else None
    jobs = [STEAM, BLUE, CUP]
    planned = plan_only(runs.manifest(jobs), output=runs.folder / "out").plan
    assert (planned.to_do, planned.count("to do: chained"), planned.count("to do: new")) == (3, 2, 1)
    summary = await runs.run(jobs)
    assert (summary.done, summary.exit, runs.api.violations) == (3, 0, [])
    first, second, third = runs.api.requests
    assert [content["role"] for content in second["contents"]] == ["user", "model", "user"]
    assert second["contents"][0] == first["contents"][0]
    assert second["contents"][1]["parts"][0]["thoughtSignature"] == signature
    assert second["contents"][2]["parts"] == [{"text": "make it blue"}]
    assert sent_pictures(second) == [sha256_of(runs, "cup")]
    assert sent_pictures(third) == [sha256_of(runs, "blue")]
    again = await runs.run(jobs)
    assert (again.requests, again.done, len(runs.api.bodies)) == (0, 3, 3)


async def test_a_picture_without_a_signature_is_sent_as_a_reference(runs: Runs) -> None:
    """Before those that the job names itself."""
    (runs.folder / "photo.png").write_bytes(base64.b64decode(PIXEL))
    await runs.run([CUP, {**BLUE, "references": ["photo.png"]}])
    asked = runs.api.requests[1]["contents"]
    assert [content["role"] for content in asked] == ["user"]
    photo = hashlib.sha256(base64.b64decode(PIXEL)).hexdigest()
    assert sent_pictures(runs.api.requests[1]) == [sha256_of(runs, "cup"), photo]


async def test_another_model_gets_the_picture_as_a_reference(runs: Runs) -> None:
    """A signature is of use to the model that gave it alone."""
    runs.api.signature = lambda _: "c2ln"
    await runs.run([CUP, {**BLUE, "model": "gemini-nano-banana-2.1", "image_size": "1K"}])
    assert [content["role"] for content in runs.api.requests[1]["contents"]] == ["user"]
    assert sent_pictures(runs.api.requests[1]) == [sha256_of(runs, "cup")]


async def test_a_lost_signature_costs_no_more_than_itself(runs: Runs) -> None:
    """The picture is sent as a reference then."""
    runs.api.signature = lambda _: "c2ln"
    await runs.run([CUP])
    for file in (runs.folder / "out/signatures").iterdir():
        file.unlink()
    assert (await runs.run([CUP, BLUE])).done == 2
    assert [content["role"] for content in runs.api.requests[1]["contents"]] == ["user"]


async def test_a_chain_goes_on_with_what_was_made_before(runs: Runs) -> None:
    """A job added later needs no request for its start, and has its signature."""
    runs.api.signature = lambda _: "c2ln"
    await runs.run([CUP])
    summary = await runs.run([CUP, BLUE])
    assert (summary.requests, summary.done) == (1, 2)
    assert runs.api.requests[1]["contents"][1]["parts"][0]["thoughtSignature"] == "c2ln"


async def test_another_picture_to_go_on_with_is_another_purchase(runs: Runs) -> None:
    """By its bytes. Nothing is bought again unasked; a new name for the start changes nothing."""
    await runs.run([CUP, BLUE])
    renamed = await runs.run([{**CUP, "id": "mug"}, {**BLUE, "continue_from": "mug"}])
    assert renamed.requests == 0
    await runs.run(
        [{**CUP, "id": "mug"}, {**BLUE, "continue_from": "mug"}], options=RunOptions(again=("mug",), yes=True)
    )
    assert len(runs.api.bodies) == 3
    jobs = [{**CUP, "id": "mug"}, {**BLUE, "continue_from": "mug"}]
    assert plan_only(runs.manifest(jobs), output=runs.folder / "out").plan.count("skip: changed") == 1
    rerun = await runs.run(jobs, options=RunOptions(on_changed=ChangedPolicy.RERUN))
    assert (rerun.requests, (await runs.run(jobs)).requests) == (1, 0)


async def test_a_job_whose_start_failed_waits(runs: Runs) -> None:
    """So do those behind it; plan says so, and all go on once there is a picture."""
    runs.api.refused = {"a cup": "IMAGE_SAFETY"}
    summary = await runs.run([CUP, BLUE, STEAM])
    assert (summary.failed, summary.pending, summary.requests, summary.exit) == (1, 2, 1, 75)
    planned = plan_only(runs.manifest([CUP, BLUE, STEAM]), output=runs.folder / "out")
    assert (planned.plan.to_do, planned.plan.count("skip: waits")) == (0, 2)
    assert planned.decision_on("blue")[0].because == "waits"
    runs.api.refused = {}
    assert (await runs.run([{**CUP, "prompt": "a small cup"}, BLUE, STEAM])).done == 3


async def test_a_job_whose_start_is_not_selected_waits(runs: Runs) -> None:
    """It would be made of nothing; with its start it is made."""
    only = RunOptions(selection=Selection(only=("blue",)))
    assert ((await runs.run([CUP, BLUE], options=only)).requests, runs.api.bodies) == (0, [])
    both = RunOptions(selection=Selection(only=("blue", "cup")))
    assert (await runs.run([CUP, BLUE, STEAM], options=both)).done == 2


async def test_a_column_names_the_start(runs: Runs) -> None:
    """An empty cell names none."""
    (runs.folder / "rows.csv").write_text("SKU,Title,Of\na,a cup,\nb,in blue,a\nc,in red,a\nd,with steam,c\n")
    jobs = [{"id": "{{ SKU }}", "prompt": "{{ Title }}", "continue_from": "{{ Of }}"}]
    summary = await runs.run(jobs, rows="rows.csv")
    assert (summary.done, runs.api.violations) == (4, [])
    made_of = {request["contents"][-1]["parts"][0]["text"]: sent_pictures(request) for request in runs.api.requests}
    a, c = [sha256_of(runs, "a")], [sha256_of(runs, "c")]
    assert made_of == {"a cup": [], "in blue": a, "in red": a, "with steam": c}
    assert (await runs.run(jobs, rows="rows.csv")).requests == 0


async def test_a_budget_keeps_its_cap_over_a_chain(runs: Runs) -> None:
    """What does not fit waits for the next run."""
    summary = await runs.run([CUP, BLUE, STEAM], budget={"per_run": 0.1}, prices={"512": 0.045})
    assert (summary.done, summary.requests, summary.exit) == (2, 2, 75)
    assert (await runs.run([CUP, BLUE, STEAM])).requests == 1


CHILD = """
import asyncio, sys
import batch
from tests.end_to_end.test_asked import KEYS
asyncio.run(batch.run(sys.argv[1], output=sys.argv[2], environment=KEYS))
"""


@pytest.mark.parametrize("killed_at", [1, 2, 3])
async def test_a_killed_chain_is_resumed_and_never_paid_twice(runs: Runs, killed_at: int) -> None:
    """Killed when its n-th request was answered: each picture is asked for once, unless its answer was lost."""
    runs.api.signature = lambda _: "c2ln"
    file = runs.manifest([CUP, BLUE, STEAM], retry={"unknown": "hold"})
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CHILD, str(file), str(runs.folder / "out")),
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    runs.api.on_answer = lambda number: child.kill() if number == killed_at else None
    await runs.api.answered(killed_at)
    await child.wait()
    runs.api.on_answer = lambda _: None
    summary = await runs.run([CUP, BLUE, STEAM], retry={"unknown": "hold"})
    prompts = [request["contents"][-1]["parts"][0]["text"] for request in runs.api.requests]
    assert len(prompts) == len(set(prompts))
    assert summary.done + summary.unknown + summary.pending == 3
    resent = await runs.run([CUP, BLUE, STEAM], options=RunOptions(resend_unknown=True))
    assert resent.done == 3
    assert len(runs.api.bodies) <= 4


BAD = [
    (
        [{**CUP, "continue_from": "cup"}],
        ['m.yaml:1:9: job "cup": continue_from names the job itself; name another one'],
    ),
    ([BLUE], ["continue_from: no job is called cup"]),
    (
        [{**CUP, "continue_from": "steam"}, BLUE, STEAM],
        [
            "continue_from goes in a circle: cup from steam from blue from cup",
            "continue_from goes in a circle: blue from cup from steam from blue",
            "continue_from goes in a circle: steam from blue from cup from steam",
        ],
    ),
    ([CUP, {**BLUE, "continue_from": "a/b"}], ["continue_from must be the id of another job: "]),
]


@pytest.mark.parametrize(("jobs", "expected"), BAD)
def test_chains_that_lead_nowhere_are_told_before_anything_is_sent(
    tmp_path: Path, jobs: list[dict[str, Any]], expected: list[str]
) -> None:
    """With their jobs."""
    found = Folder(tmp_path).problems(json.dumps({"jobs": jobs}))
    assert len(found) == len(expected)
    assert all(
        words.partition("job ")[2] in problem or words in problem
        for words, problem in zip(expected, found, strict=True)
    )


def test_a_provider_that_does_not_speak_gemini_takes_no_chains(tmp_path: Path) -> None:
    """It would not send the picture back."""
    assert KEYS
    with pytest.raises(InputError):
        Folder(tmp_path).jobs('{"jobs": [{"id": "a", "prompt": "x", "continue_from": ""}]}')


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
