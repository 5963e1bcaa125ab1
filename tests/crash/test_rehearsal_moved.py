"""A run that is killed while it moves a rehearsal out of the way, at the calls where the order matters most."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch.runner.run import run
from tests.crash.sweep import provider

JOBS = [{"id": name, "prompt": name} for name in ("red", "blue")]
POINTS = [
    "link:1:after:KILL",
    "rename:1:before:KILL",
    "rename:1:after:KILL",
    "rename:2:after:KILL",
    "unlink:2:after:KILL",
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("provider")
    with provider(folder) as simulator:
        yield simulator.base_url


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder in which two jobs were rehearsed."""
    folder = tmp_path_factory.mktemp("rehearsed")
    manifest = folder / "m.yaml"
    drawn = {"profile": "simulator", "simulator": {"pictures": "drawn"}}
    manifest.write_text(json.dumps({"provider": drawn, "defaults": {"image_size": 512}, "jobs": JOBS}))
    asyncio.run(run(manifest, output=folder / "out"))
    return folder / "out"


def pictures(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (folder / "images").iterdir()}


def started(manifest: Path, output: Path, *fault: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.crash.child", str(manifest), str(output), *fault]
    environment = {**os.environ, "ANYFAST_API_KEY": "sk-for-tests"}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_while_a_rehearsal_is_moved_away_loses_nothing(
    point: str, rehearsed: Path, address: str, tmp_path: Path
) -> None:
    """At each moment every drawing lies in one of the two places, and the next run buys all jobs and ends the move."""
    output = tmp_path / "out"
    shutil.copytree(rehearsed, output)
    drawn, ledger = pictures(output), (output / "ledger.jsonl").read_bytes()
    manifest = tmp_path / "m.yaml"
    real = {"profile": "anyfast", "base_url": address}
    manifest.write_text(json.dumps({"provider": real, "defaults": {"image_size": 512}, "jobs": JOBS}))

    started(manifest, output, point)
    apart = output / "rehearsal"
    either = [*pictures(output).items(), *(pictures(apart).items() if (apart / "images").is_dir() else ())]
    assert set(drawn.items()) <= set(either)
    ended = started(manifest, output)

    assert ended.returncode in (0, 3), ended.stdout + ended.stderr
    assert pictures(apart) == drawn
    assert (apart / "ledger.jsonl").read_bytes() == ledger
    assert not (apart / ".unfinished").exists()
    assert set(pictures(output).values()).isdisjoint(drawn.values())
    lines = [json.loads(line) for line in (output / "manifest.jsonl").read_bytes().splitlines()]
    assert {line["id"] for line in lines} == {"red", "blue"}
    assert not any(line["simulated"] for line in lines)
