"""`keep`: columns of a job's row stand in manifest.jsonl, and change nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import batch
from batch.core.events import Event, JobEnded, Listener
from batch.core.results import Summary
from batch.runner.options import RunOptions
from batch.runner.run import plan_only

TABLE = """Handle,SKU,Vendor,Title,Link
kite,K-001,Holm,Kite,https://me:pw@shop.example/a.png?sig=hush
mug,00199,Acme,Mug,AIza{key}
"""
MANIFEST = """rows: shop.csv
{more}
jobs: [{{id: "{{{{ Handle }}}}", prompt: "Photo of {{{{ Title }}}}"}}]
"""


class Shop:
    """A table, a manifest with more or less in it, and what its runs publish."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.table = TABLE.format(key="x" * 35)

    def write(self, more: str) -> Path:
        (self.folder / "shop.csv").write_text(self.table, "utf-8")
        path = self.folder / "shop.yaml"
        path.write_text(MANIFEST.format(more=more), "utf-8")
        return path

    async def run(self, more: str = "", **options: Any) -> Summary:
        return await batch.run(self.write(more), output=self.folder / "out", environment={}, **options)

    def lines(self) -> dict[str, dict[str, Any]]:
        text = (self.folder / "out/manifest.jsonl").read_text("utf-8")
        return {line["id"]: line for line in map(json.loads, text.splitlines())}


async def test_a_kept_column_joins_the_result_to_the_table(tmp_path: Path) -> None:
    """As the text it is in the table: 00199 keeps its zeros."""
    shop = Shop(tmp_path)

    await shop.run("keep: [SKU, Vendor]")

    assert shop.lines()["mug"]["row"] == {"SKU": "00199", "Vendor": "Acme"}


async def test_without_keep_a_line_has_no_row(tmp_path: Path) -> None:
    """The lines of manifests written before are what they were."""
    shop = Shop(tmp_path)

    await shop.run()

    assert "row" not in shop.lines()["mug"]


async def test_keep_in_a_finished_batch_buys_nothing_and_shows_the_columns(tmp_path: Path) -> None:
    """What a row says beside the prompt is no part of what is bought."""
    shop = Shop(tmp_path)
    await shop.run()

    again = await shop.run("keep: Vendor")

    assert (again.requests, again.done) == (0, 2)
    assert shop.lines()["kite"]["row"] == {"Vendor": "Holm"}


async def test_an_edited_cell_that_is_kept_is_shown_by_the_next_run(tmp_path: Path) -> None:
    """manifest.jsonl follows the table; one that is not kept changes no byte."""
    shop = Shop(tmp_path)
    await shop.run("keep: Vendor")
    shop.table = shop.table.replace("Acme", "Bolt")

    again = await shop.run("keep: Vendor")

    assert again.requests == 0
    assert shop.lines()["mug"]["row"] == {"Vendor": "Bolt"}
    before = (tmp_path / "out/manifest.jsonl").stat().st_ino
    shop.table = shop.table.replace("K-001", "K-002")
    await shop.run("keep: Vendor")
    assert (tmp_path / "out/manifest.jsonl").stat().st_ino == before


async def test_all_columns_are_kept_without_their_secrets(tmp_path: Path) -> None:
    """A key pasted into a cell, and what may be a signature or a password in an address."""
    shop = Shop(tmp_path)

    await shop.run("keep: all")

    rows = {name: line["row"] for name, line in shop.lines().items()}
    assert list(rows["kite"]) == ["Handle", "SKU", "Vendor", "Title", "Link"]
    assert (rows["kite"]["Link"], rows["mug"]["Link"]) == ("https://shop.example/a.png", "***")


async def test_lines_have_their_rows_while_the_run_is_on(tmp_path: Path) -> None:
    """A pipeline that follows the file sees the same lines as one that reads it at the end."""
    shop = Shop(tmp_path)
    seen: list[Any] = []

    class Follower(Listener):
        def on_event(self, event: Event) -> None:
            if isinstance(event, JobEnded):
                seen.append([line["row"] for line in shop.lines().values()])

    await shop.run("keep: SKU\nlimits: {concurrency: 1}", listener=Follower())

    assert seen == [[{"SKU": "K-001"}], [{"SKU": "K-001"}, {"SKU": "00199"}]]


async def test_a_renamed_job_takes_its_picture_and_its_row(tmp_path: Path) -> None:
    """Adopted without a request, and its line is appended like any other."""
    shop = Shop(tmp_path)
    await shop.run("keep: SKU")
    shop.table = shop.table.replace("kite,", "red-kite,")

    again = await shop.run("keep: SKU")

    assert (again.requests, again.adopted) == (0, 1)
    assert shop.lines()["red-kite"]["row"] == {"SKU": "K-001"}


async def test_jobs_left_out_this_time_keep_their_rows(tmp_path: Path) -> None:
    """The file is written for the whole batch."""
    shop = Shop(tmp_path)
    await shop.run("keep: SKU")

    await shop.run("keep: [SKU, Title]", options=RunOptions(selection=batch.Selection(only=("mug",))))

    assert shop.lines()["kite"]["row"] == {"SKU": "K-001", "Title": "Kite"}


async def test_a_table_edited_while_the_run_is_on_loses_no_line(tmp_path: Path) -> None:
    """What is bought is told; the next run puts the columns beside it."""
    shop = Shop(tmp_path)
    edited: list[object] = []

    class Editor(Listener):
        def on_event(self, event: Event) -> None:
            if isinstance(event, JobEnded) and not edited:
                edited.append(event)
                (tmp_path / "shop.csv").write_text(shop.table.replace("Acme", "Bolt & Co"), "utf-8")

    await shop.run("keep: Vendor", listener=Editor())

    assert len(shop.lines()) >= 1
    shop.table = shop.table.replace("Acme", "Bolt & Co")
    await shop.run("keep: Vendor")
    assert [line["row"] for line in shop.lines().values()] == [{"Vendor": "Holm"}, {"Vendor": "Bolt & Co"}]


def test_keep_is_no_part_of_the_spec(tmp_path: Path) -> None:
    """The same jobs by key and spec hash, with and without."""
    shop = Shop(tmp_path)

    plans = [plan_only(shop.write(more), output=tmp_path / "out").plan for more in ("", "keep: all")]

    assert (plans[0].order, plans[0].specs) == (plans[1].order, plans[1].specs)
