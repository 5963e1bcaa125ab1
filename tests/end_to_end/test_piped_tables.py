"""A table from standard input, and one in several files, through the real command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

JOBS = "jobs: [{id: '{{ Handle }}', prompt: 'a {{ Title }}'}]\n"


def imagebatch(folder: Path, *words: str, stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "XDG_STATE_HOME": str(folder / "state")}
    command = [sys.executable, "-P", "-m", "batch", *words]
    return subprocess.run(
        command, cwd=folder, env=environment, input=stdin, capture_output=True, timeout=120, check=False
    )


def test_a_table_is_piped_into_plan_and_run(tmp_path: Path) -> None:
    """And a second run with the same table sends nothing."""
    (tmp_path / "m.yaml").write_text(f"rows: '-'\n{JOBS}")
    table = b"Handle,Title\nkite,Kite\nmug,Mug\n"

    for words in (("plan", "m.yaml"), ("run", "m.yaml", "-o", "out"), ("run", "m.yaml", "-o", "out")):
        done = imagebatch(tmp_path, *words, stdin=table)
        assert done.returncode == 0, done.stderr

    assert sorted(Path(name).stem for name in os.listdir(tmp_path / "out/images")) == ["kite", "mug"]
    assert b"nothing was left to send" in done.stdout + done.stderr


def test_a_run_over_several_files(tmp_path: Path) -> None:
    """A file that comes later is more of the same table."""
    (tmp_path / "m.yaml").write_text(f"rows: data/*.csv\n{JOBS}")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/1.csv").write_text("Handle,Title\nkite,Kite\n")
    assert imagebatch(tmp_path, "run", "m.yaml", "-o", "out", stdin=b"").returncode == 0
    (tmp_path / "data/2.csv").write_text("Handle,Title\nmug,Mug\n")

    again = imagebatch(tmp_path, "run", "m.yaml", "-o", "out", stdin=b"")

    assert again.returncode == 0
    assert (tmp_path / "out/ledger.jsonl").read_text().count('"t":"try"') == 2


def test_a_run_over_a_workbook(tmp_path: Path) -> None:
    """From `init` to the pictures, and nothing twice."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["Handle", "Title", "SKU"], ["kite", "Kite", "00199"], ["mug", "Mug", "00200"]):
        book.active.append(row)
    book.save(tmp_path / "shop.xlsx")

    assert imagebatch(tmp_path, "init", "shop.xlsx", stdin=b"").returncode == 0
    for _ in range(2):
        assert imagebatch(tmp_path, "run", "shop.yaml", "-o", "out", stdin=b"").returncode == 0

    assert (tmp_path / "out/ledger.jsonl").read_text().count('"t":"try"') == 2
