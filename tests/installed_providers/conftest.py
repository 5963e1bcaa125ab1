"""The provider of docs/providers.md as an installed package, and a small server that speaks its wire format."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from PIL import Image

import batch
from batch.core import registry
from batch.core.events import Listener
from batch.core.results import Summary
from batch.runner.options import RunOptions
from tests.support.fakes import QuickClock

PAGE = (Path(__file__).parents[2] / "docs/providers.md").read_text("utf-8")
KEY = "acme-secret-key-0123456789"


def code_of(file: str) -> str:
    """What the page shows of a file."""
    found = re.search(rf"^`{re.escape(file)}`.*?```\w+\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, file
    return found[1]


def picture() -> bytes:
    out = io.BytesIO()
    Image.effect_noise((1024, 1024), 40).convert("RGB").save(out, "PNG")
    return out.getvalue()


PICTURE = picture()


@dataclass
class Acme:
    """The server: what it was asked, and what it answers (status and JSON, or None to cut the connection)."""

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    #: What the address of a picture answers.
    is_there: bool = True
    answer: Callable[[dict[str, Any], int], tuple[int, Any] | None] = lambda ask, n: good()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(json.loads(await request.read()))
        self.keys.add(request.headers.get("Authorization"))
        found = self.answer(self.asked[-1], len(self.asked))
        if found is None:
            assert request.transport is not None
            request.transport.close()
            raise web.HTTPBadGateway
        status, body = found
        return web.json_response(body, status=status)

    async def fetch(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=PICTURE) if self.is_there else web.Response(status=503)


def good(out: int = 1000) -> tuple[int, Any]:
    return 200, {"id": "a-1", "picture": base64.b64encode(PICTURE).decode(), "tokens": {"in": 3, "out": out}}


@dataclass
class Bench:
    """A manifest for the server, and an output folder."""

    path: Path
    acme: Acme

    def manifest(self, jobs: int = 1, **top: Any) -> Path:
        provider = {"profile": "acme", "base_url": self.acme.url, "key_env": "ACME_API_KEY", **top.pop("provider", {})}
        entries = [{"id": f"job-{n}", "prompt": f"cup {n}"} for n in range(jobs)]
        file = self.path / "m.yaml"
        file.write_text(json.dumps({"provider": provider, "jobs": entries, **top}))
        return file

    async def run(
        self, jobs: int = 1, options: RunOptions | None = None, listener: Listener | None = None, **top: Any
    ) -> Summary:
        return await batch.run(
            self.manifest(jobs, **top),
            output=self.path / "out",
            options=options,
            listener=listener,
            environment={"ACME_API_KEY": KEY},
            clock=QuickClock(),
        )

    def ledger(self, kind: str) -> list[dict[str, Any]]:
        lines = (self.path / "out/ledger.jsonl").read_bytes().splitlines()
        return [line for line in map(json.loads, lines) if line["t"] == kind]


@asynccontextmanager
async def serving(acme: Acme) -> AsyncIterator[Acme]:
    app = web.Application()
    app.router.add_post("/pictures", acme.handle)
    app.router.add_get("/kept.png", acme.fetch)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    acme.url = f"http://{host}:{port}"
    try:
        yield acme
    finally:
        await runner.cleanup()


Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package with an entry point on the path, as pip would: `install(entry, files)`."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def put(entry: str, files: dict[str, str], *, dist: str = "acme-images") -> Path:
        for name, text in files.items():
            (site / name).parent.mkdir(exist_ok=True)
            (site / name).write_text(text, "utf-8")
        info = site / f"{dist.replace('-', '_')}-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{entry}\n")
        return site

    yield put
    for name in [name for name in sys.modules if name.partition(".")[0] in ("acme_images", "other_images")]:
        del sys.modules[name]


@pytest.fixture
async def bench(install: Install, tmp_path: Path) -> AsyncIterator[Bench]:
    """The page's package, installed, and its server."""
    (entry,) = re.findall(r'^acme = "(.*)"$', code_of("pyproject.toml"), re.MULTILINE)
    files = ("acme_images/__init__.py", "acme_images/client.py")
    install(f"acme = {entry}", {name: code_of(name) for name in files})
    async with serving(Acme()) as acme:
        yield Bench(tmp_path, acme)
