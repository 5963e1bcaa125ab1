"""`imagebatch export` as people and programs type it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from batch.cli.export import export
from batch.export import DEFAULT, PRESETS
from tests.export.conftest import Shop, shop

__all__ = ["shop"]


def typed(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "batch", "export", *words]
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_knows_every_preset() -> None:
    """They are written down twice, so that --help loads none of them."""
    [option] = [each for each in export.params if each.name == "preset"]

    assert list(option.type.choices) == list(PRESETS)  # type: ignore[attr-defined]
    assert option.default == DEFAULT


async def test_a_person_is_told_what_and_what_next(shop: Shop) -> None:
    """Of a manifest's folder, too; what was added, left out, and what to do in the shop."""
    await shop.run(b"Handle,Title\nkite,Kite\nmug,Mug\n", output="out")
    (lost,) = (shop.output / "images").glob("mug.*")
    lost.unlink()

    done = typed(shop.folder, "shop.yaml", "--for", "shopify", "--base-url", "https://cdn.example/a")

    assert done.stdout.splitlines()[:4] == [
        "exported 1 picture to out/export/shopify (out/export/shopify/shop.csv)",
        "  your table had no column Image Src; added at its end",
        "  left out: 1 missing or altered in the output folder (mug)",
        "  these are the simulator's drawings, to try the export with",
    ]
    assert done.stdout.splitlines()[4].startswith("next: upload the folder images/")
    assert (done.returncode, done.stderr) == (1, "")


async def test_a_program_reads_one_object(shop: Shop) -> None:
    """At every end."""
    await shop.run(b"Handle,Title\nkite,Kite\n")

    good = typed(shop.folder, "out", "--json")
    bad = typed(shop.folder, "out", "--json", "--for", "woocommerce")

    found = json.loads(good.stdout)
    assert (found["exit"], found["pictures"], found["tables"]) == (0, 1, [str(shop.output / "export/table/shop.csv")])
    failed = json.loads(bad.stdout)
    assert (failed["exit"], bad.returncode) == (2, 2)
    assert "needs --base-url" in failed["message"]
    assert bad.stderr.endswith("nothing was exported\n")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--set", "image"], 2, "write COLUMN=TEMPLATE"),
        (["--set", "image={{ urll }}"], 2, 'no column "urll"; did you mean url?'),
        (["--base-url", "cdn.example"], 2, "must be an address such as"),
        (["--to", "."], 73, "holds"),
        (["--manifest", "gone.yaml"], 66, "does not exist"),
        (["--background", "whitish", "--square"], 2, "must be a colour"),
        (["--format", "gif"], 2, "is not one of"),
    ],
)
async def test_a_slip_is_told_and_nothing_is_written(shop: Shop, words: list[str], code: int, said: str) -> None:
    """What is wrong, and what would be right."""
    await shop.run(b"Handle,Title\nkite,Kite\n")

    done = typed(shop.folder, "out", *words)

    assert said in done.stderr
    assert done.returncode == code
    assert not (shop.output / "export").exists()


async def test_a_manifest_that_was_moved_is_asked_for(shop: Shop) -> None:
    """The ledger knows its name only; --manifest says where it is now."""
    await shop.run(b"Handle,Title\nkite,Kite\n")
    (shop.folder / "shop.yaml").rename(shop.folder / "moved.yaml")

    lost, found = typed(shop.folder, "out"), typed(shop.folder, "out", "--manifest", "moved.yaml")

    assert "name it with --manifest" in lost.stderr
    assert (lost.returncode, found.returncode) == (65, 0)
