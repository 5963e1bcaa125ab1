"""Reference pictures from the manifest to the provider: found, fetched, recognised by their content, made to fit."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import batch
from batch.core.errors import InputError
from batch.core.results import Summary
from batch.core.settings import ChangedPolicy
from batch.providers.http.client import PaidClient
from batch.providers.references import fetched as fetched_references
from batch.runner.options import RunOptions
from batch.runner.preparation import Planned
from batch.runner.run import plan_only
from tests.support.fakes import QuickClock, Recorder
from tests.support.picture_host import PictureHost, http, picture_host, png


class Shop:
    """A folder with a table, and runs of its manifest on the simulator."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sent: list[list[bytes]] = []

    def table(self, **photos: str) -> None:
        rows = "".join(f'{handle},"{photo}"\n' for handle, photo in photos.items())
        (self.path / "t.csv").write_text(f"Handle,Photo\n{rows}", "utf-8")

    def manifest(self, references: list[Any], **top: Any) -> Path:
        jobs = [{"id": "{{ Handle }}", "prompt": "{{ Handle }} on a beach", "references": references}]
        text = {"rows": "t.csv", "defaults": {"image_size": 512}, **top, "jobs": jobs}
        file = self.path / "m.yaml"
        file.write_text(json.dumps(text), "utf-8")
        return file

    def plan(self, references: list[Any], **top: Any) -> Planned:
        return plan_only(self.manifest(references, **top), output=self.path / "out")

    async def run(self, references: list[Any], *, listener: Any = None, options: Any = None, **top: Any) -> Summary:
        options = {"environment": {}, "clock": QuickClock(), "output": self.path / "out", **(options or {})}
        return await batch.run(self.manifest(references, **top), listener=listener, **options)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop whose requests are looked at on their way to the simulator."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = Shop(tmp_path / "shop")
    (made.path / "photos").mkdir(parents=True)
    post = PaidClient.post

    async def looked_at(self: Any, path: str, pieces: Any, *args: Any) -> Any:
        parts = json.loads(b"".join(pieces))["contents"][0]["parts"]
        made.sent.append([base64.b64decode(part["inlineData"]["data"]) for part in parts if "inlineData" in part])
        return await post(self, path, pieces, *args)

    monkeypatch.setattr(PaidClient, "post", looked_at)
    return made


@pytest.fixture
async def host(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PictureHost]:
    async with picture_host("cdn.example.com") as made:
        monkeypatch.setattr(fetched_references, "WebReader", made.reader)
        yield made


def counts(planned: Planned) -> dict[str, int]:
    return {name: group.count for name, group in planned.plan.groups.items() if group.count}


# ---- what makes a job another job -------------------------------------------------------------------------


async def test_moving_a_reference_runs_nothing_again(shop: Shop) -> None:
    """Its name and folder are how it is found, not what is bought."""
    shop.table(kite="photos/kite-1.png", boat="photos/boat-1.png")
    for number, name in enumerate(("kite-1", "kite-2", "boat-1")):
        (shop.path / f"photos/{name}.png").write_bytes(png(8 + number))
    assert (await shop.run(["photos/{{ Handle }}-*.png"])).requests == 2

    (shop.path / "photos").rename(shop.path / "pictures")
    for file in (shop.path / "pictures").iterdir():
        file.rename(file.with_name(f"old-{file.name}"))

    assert counts(shop.plan(["pictures/old-{{ Handle }}-*.png"])) == {"skip: done": 2}
    assert (await shop.run(["pictures/old-{{ Handle }}-*.png"])).requests == 0


@pytest.mark.parametrize("change", ["other bytes", "one more", "one less", "other order"])
async def test_another_content_runs_those_that_use_it(shop: Shop, change: str) -> None:
    """And nobody else, in the plan as in the run."""
    shop.table(kite="", boat="", house="")
    for name in ("kite-1", "kite-2", "boat-1", "house-1", "house-2"):
        (shop.path / f"photos/{name}.png").write_bytes(png(8 + len(name), len(name)))
    (shop.path / "photos/kite-2.png").write_bytes(png(20))
    pictures = ["photos/{{ Handle }}-*.png"]
    assert (await shop.run(pictures)).requests == 3

    first, second = shop.path / "photos/kite-1.png", shop.path / "photos/kite-2.png"
    if change == "other bytes":
        first.write_bytes(png(9))
    elif change == "one more":
        (shop.path / "photos/kite-10.png").write_bytes(png(10))
    elif change == "one less":
        second.unlink()
    else:
        first.rename(shop.path / "photos/kite-3.png")

    assert counts(shop.plan(pictures)) == {"skip: done": 2, "skip: changed": 1}
    assert (await shop.run(pictures, options={"options": RunOptions(on_changed=ChangedPolicy.RERUN)})).requests == 1
    assert counts(shop.plan(pictures)) == {"skip: done": 3}


# ---- addresses --------------------------------------------------------------------------------------------

ADDRESSES: list[Any] = [{"column": "Photo", "split": " ", "optional": True}]
HOSTS = {"reference_hosts": ["cdn.example.com"]}


async def test_a_table_of_addresses(shop: Shop, host: PictureHost) -> None:
    """The pictures are fetched once, sent as they are, and named without their signature."""
    host.replies = {f"/{name}.png?key=secret": http(png(side)) for name, side in (("a", 8), ("b", 9), ("c", 10))}
    url = "https://cdn.example.com/{}.png?key=secret"
    shop.table(kite=f"{url.format('a')} {url.format('b')}", boat=url.format("a"), house=url.format("c"), none="")
    listener = Recorder()

    assert (await shop.run(ADDRESSES, **HOSTS, listener=listener)).requests == 4
    assert (await shop.run(ADDRESSES, **HOSTS)).requests == 0

    assert len(host.asked) == 3
    assert {tuple(pictures) for pictures in shop.sent} == {(png(8), png(9)), (png(8),), (png(10),), ()}
    for file in ("ledger.jsonl", "manifest.jsonl"):
        text = (shop.path / "out" / file).read_text("utf-8")
        assert "https://cdn.example.com/a.png" in text
        assert "secret" not in text


async def test_what_cannot_be_fetched_stops_everything_before_it_is_paid_for(shop: Shop, host: PictureHost) -> None:
    """All problems in one report, each with row and column; what could be fetched is kept for the next try."""
    good, bad, gone = (f"https://cdn.example.com/{name}.png" for name in ("good", "bad", "gone"))
    host.replies = {"/good.png": http(png()), "/bad.png": http(b"<html>")}
    shop.table(kite=good, boat=f"{bad} {good}", house=f"{gone} none.png", other="https://other.example/x.png")

    with pytest.raises(InputError) as caught:
        await shop.run([{"column": "Photo", "split": " "}], **HOSTS)

    assert str(caught.value).replace(f"{shop.path}/", "").splitlines() == [
        f't.csv:3: column "Photo": job "boat": reference {bad} is a web page; a reference must be a PNG, JPEG, '
        "WEBP, GIF, BMP, TIFF, AVIF or JPEG 2000",
        f't.csv:4: column "Photo": job "house": reference {gone} cannot be fetched: answered 404',
        't.csv:4: column "Photo": job "house": reference none.png does not exist',
        't.csv:5: column "Photo": job "other": pictures from other.example are not fetched; to allow it add '
        "other.example to reference_hosts",
    ]
    assert shop.sent == []
    assert not (shop.path / "out").exists()

    host.replies["/bad.png"] = http(png(9))
    shop.table(kite=good, boat=f"{bad} {good}")
    assert (await shop.run([{"column": "Photo", "split": " "}], **HOSTS)).requests == 2
    assert host.paths.count("/good.png") == 1


async def test_a_picture_that_changed_at_its_address(shop: Shop, host: PictureHost) -> None:
    """Only who asks for it learns of it: a run that looks by itself might buy a catalog anew."""
    host.replies = {"/a.png": [http(png(8)), http(png(9))]}
    shop.table(kite="https://cdn.example.com/a.png")
    await shop.run(ADDRESSES, **HOSTS)
    assert (await shop.run(ADDRESSES, **HOSTS)).requests == 0
    again = {"options": RunOptions(refresh_references=True, on_changed=ChangedPolicy.RERUN)}
    assert (await shop.run(ADDRESSES, **HOSTS, options=again)).requests == 1
    assert shop.sent == [[png(8)], [png(9)]]


async def test_a_plan_fetches_and_tells(shop: Shop, host: PictureHost) -> None:
    """A plan is right to the last picture, so it needs them; it writes nothing but its cache."""
    host.replies = {"/a.png": http(png())}
    shop.table(kite="https://cdn.example.com/a.png", boat="https://cdn.example.com/b.png")
    listener = Recorder()
    manifest = shop.manifest([{"column": "Photo"}], **HOSTS)
    plan = partial(plan_only, manifest, output=shop.path / "out", listener=listener)

    with pytest.raises(InputError, match=r"b\.png cannot be fetched: answered 404"):
        await asyncio.to_thread(plan)

    host.replies["/b.png"] = http(png(9))
    planned = await asyncio.to_thread(plan)
    assert counts(planned) == {"to do: new": 2}
    assert sorted(os.listdir(shop.path)) == ["m.yaml", "photos", "t.csv"]


def test_the_command_says_what_to_write(shop: Shop) -> None:
    """Without the list nothing is fetched; the line to add is in the message."""
    shop.table(kite="https://cdn.example.com/a.png")
    manifest = shop.manifest([{"column": "Photo"}])
    command = [sys.executable, "-m", "batch", "plan", str(manifest), "--refresh-references"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 65
    assert "to allow it write reference_hosts: [cdn.example.com]" in result.stderr


# ---- what is sent -----------------------------------------------------------------------------------------


def photograph(side: int) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((side, side), 90).convert("RGB").save(out, "JPEG", quality=95)
    return out.getvalue()


async def test_large_pictures_are_made_to_fit(shop: Shop) -> None:
    """What was recorded is the original; what was sent is a smaller one, the same for every job."""
    original = photograph(3000)
    (shop.path / "photos/large.jpg").write_bytes(original)
    (shop.path / "photos/small.png").write_bytes(png())
    shop.table(**{f"job{number}": "" for number in range(6)})

    summary = await shop.run(["photos/large.jpg", "photos/small.png"], limits={"concurrency": 6})

    assert (summary.exit, summary.done) == (0, 6)
    assert len({pictures[0] for pictures in shop.sent}) == 1
    with Image.open(io.BytesIO(shop.sent[0][0])) as sent:
        assert (sent.format, sent.size) == ("JPEG", (2048, 2048))
    assert {pictures[1] for pictures in shop.sent} == {png()}
    assert hashlib.sha256(original).hexdigest() in (shop.path / "out/ledger.jsonl").read_text("utf-8")


async def test_many_jobs_with_one_picture_read_it_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checked once, encoded once."""
    from batch.manifest.references import references as checking
    from batch.providers.references import references as sending

    counted: list[str] = []

    def count(module: Any, name: str) -> None:
        work: Callable[..., Any] = getattr(module, name)

        def watched(*args: Any) -> Any:
            counted.append(name)
            return work(*args)

        monkeypatch.setattr(module, name, watched)

    count(checking, "examined")
    count(sending, "encode_reference")
    (shop.path / "photos/logo.png").write_bytes(png())
    shop.table(**{f"job{number}": "" for number in range(100)})
    assert (await shop.run(["photos/logo.png"], limits={"concurrency": 32})).done == 100
    assert counted == ["examined", "encode_reference"]
