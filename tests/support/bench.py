"""A manifest, an output folder and a simulator with a billing book: what whole runs are tried on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import batch
from batch.core.results import Summary
from batch.runner.options import RunOptions
from batch.simulator import Simulator, serve, settings_from
from tests.support.fakes import QuickClock

KEY = {"ANYFAST_API_KEY": "sk-for-tests"}


@dataclass
class Bench:
    """A manifest, an output folder and a simulator with a book."""

    path: Path
    simulator: Simulator
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def output(self) -> Path:
        return self.path / "out"

    @property
    def book(self) -> Any:
        return self.simulator.book

    def manifest(self, jobs: list[dict[str, Any]] | int, **top: Any) -> Path:
        """Jobs as written, or so many plain ones. JSON is YAML."""
        if isinstance(jobs, int):
            jobs = [{"id": f"job-{n}", "prompt": f"cup number {n}"} for n in range(jobs)]
        provider = {"profile": "anyfast", "base_url": self.simulator.base_url}
        text = {"provider": provider, "defaults": {"image_size": 512}, **top, "jobs": jobs}
        file = self.path / "m.yaml"
        file.write_text(json.dumps(text, ensure_ascii=False), "utf-8")
        return file

    async def run(self, jobs: list[dict[str, Any]] | int, *, options: RunOptions | None = None, **top: Any) -> Summary:
        given: dict[str, Any] = {"environment": KEY, "clock": QuickClock(), **self.options}
        return await batch.run(self.manifest(jobs, **top), output=self.output, options=options, **given)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.output / "manifest.jsonl").read_bytes().splitlines()]

    def ledger(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.output / "ledger.jsonl").read_bytes().split(b"\n")[:-1]]

    def pictures(self) -> dict[str, str]:
        return {
            file.name: f"{hashlib.sha256(file.read_bytes()).hexdigest()} {file.stat().st_mtime_ns}"
            for file in sorted((self.output / "images").iterdir())
        }


@asynccontextmanager
async def a_bench(path: Path, **options: Any) -> AsyncIterator[Bench]:
    async with serve(settings_from({"flavour": "relay", **options})) as simulator:
        yield Bench(path, simulator)


def balance(bench: Bench) -> None:
    """What the provider charged is done, rejected or unknown, and nothing else."""
    ends = bench.ledger()
    explained = sum(line["t"] == "done" or line["t"] == "unk" or line.get("paid") == "yes" for line in ends)
    assert bench.book.billed <= explained
    assert bench.book.billed >= sum(line["t"] == "done" or line.get("paid") == "yes" for line in ends)


def faults(*rules: Any, **options: Any) -> pytest.MarkDecorator:
    """Run a test with these faults in the simulator."""
    return pytest.mark.parametrize("bench", [{"faults": list(rules), **options}], indirect=True, ids=[""])
