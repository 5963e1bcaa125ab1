"""A shop: a table, a manifest, a finished run on the simulator, and exports of it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import batch
from batch.album import open_album
from batch.core.decisions import Decision, Verdict
from batch.export import PRESETS, Column, Export, ExportOptions
from batch.export import export as hand_over
from batch.export.place import LIST
from batch.store.decisions import DecisionFile
from tests.support.fakes import QuickClock

CDN = "https://cdn.example/pics"


@dataclass
class Shop:
    """One folder with all of it. `rows` is what the manifest says of its table, `jobs` its one entry."""

    folder: Path
    table: str = "shop.csv"
    rows: dict[str, Any] = field(default_factory=dict)
    job: dict[str, Any] = field(default_factory=lambda: {"id": "{{ Handle }}", "prompt": "Photo of {{ Title }}"})

    @property
    def output(self) -> Path:
        return self.folder / "out"

    @property
    def source(self) -> Path:
        return self.folder / self.table

    async def run(self, data: bytes | None, **top: Any) -> None:
        """Write the table and buy the pictures of its rows."""
        named: dict[str, Any] = {}
        if data is not None:
            self.source.write_bytes(data)
            named = {"rows": {"file": self.table, **self.rows}}
        provider = {"profile": "simulator", "simulator": {"pictures": "plain"}}
        manifest = {"provider": provider, **named, "jobs": [self.job], **top}
        path = self.folder / "shop.yaml"
        path.write_text(json.dumps(manifest, ensure_ascii=False), "utf-8")
        summary = await batch.run(path, output=self.output, environment={}, clock=QuickClock())
        assert summary.failed == summary.unknown == 0

    def decide(self, verdict: Verdict, *jobs: str, note: str = "") -> None:
        """A person's word on the pictures that these jobs have now."""
        album = open_album(self.output)
        for job in jobs:
            chosen = album.entry(job).chosen
            assert chosen is not None
            said = Decision(
                at="2026-01-01T00:00:00Z", job=job, sha256=chosen.pictures[-1].sha256, verdict=verdict, note=note
            )
            DecisionFile(self.output).append([said])

    def export(self, preset: str = "table", *, sets: dict[str, str] | None = None, **options: Any) -> Export:
        if PRESETS[preset].needs_url:
            options.setdefault("base_url", CDN)
        columns = tuple(Column(names=(name,), value=value) for name, value in (sets or {}).items())
        return hand_over(self.output, ExportOptions(preset=PRESETS[preset], columns=columns, **options))

    def exported(self, done: Export) -> bytes:
        """The exported table's bytes."""
        return Path(done.tables[0]).read_bytes()

    def pictures(self, done: Export) -> dict[str, bytes]:
        """The exported pictures by their names, in order."""
        folder = Path(done.to, PRESETS[done.preset].folder)
        files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != LIST)
        return {str(file.relative_to(folder)): file.read_bytes() for file in files}

    def all_rows(self, done: Export) -> list[list[dict[str, str]]]:
        """The rows of each exported table."""
        return [rows_of(Path(name).read_bytes()) for name in done.tables]

    def url(self, job: str) -> str:
        """Where the job's picture will be, its ending as the simulator drew it."""
        [file] = (self.output / "images").glob(f"{job}.*")
        return f"{CDN}/{file.name}"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def rows_of(data: bytes, encoding: str = "utf-8-sig", delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(encoding), newline=""), delimiter=delimiter))
