"""A rehearsal with the simulator is no purchase: its pictures, failures and money never count at a real endpoint."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import batch
from batch.core.errors import StorageError
from batch.core.results import Summary
from batch.runner.options import RunOptions
from batch.runner.run import plan_only
from batch.store.ledger import encode_line
from batch.store.rehearsal import holds_bought
from tests.support.bench import KEY, Bench, balance
from tests.support.fakes import QuickClock

SIMULATOR = {"profile": "simulator", "simulator": {"pictures": "plain"}}


async def rehearse(bench: Bench, jobs: Any = 3, **top: Any) -> Summary:
    """The bench's manifest, run on the built-in simulator."""
    options = top.pop("options", None)
    file = bench.manifest(jobs, **{"provider": SIMULATOR, **top})
    return await batch.run(file, output=bench.output, options=options, clock=QuickClock())


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_bytes().splitlines()]


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


async def test_what_was_rehearsed_is_bought(bench: Bench) -> None:
    """The plan names it, the run buys all of it once, and the drawings lie apart with a ledger of their own."""
    await rehearse(bench)
    drawn = files(bench.output / "images")
    plan = plan_only(bench.manifest(3), output=bench.output).plan
    assert (plan.to_do, plan.rehearsed) == (3, 3)
    summary = await bench.run(3)
    assert (summary.exit, summary.requests, summary.done, bench.book.billed) == (0, 3, 3, 3)
    assert files(bench.output / "rehearsal/images") == drawn
    assert set(files(bench.output / "images").values()).isdisjoint(drawn.values())
    assert [line["simulated"] for line in lines(bench.output)] == [False] * 3
    assert [line["simulated"] for line in lines(bench.output / "rehearsal")] == [True] * 3
    assert (await bench.run(3)).requests == 0
    balance(bench)


async def test_what_was_said_of_drawings_goes_with_them(bench: Bench) -> None:
    """Nothing that is bought is decided on before it is there."""
    await rehearse(bench, 1)
    said = b'{"at":"now","job":"job-0","sha256":"a1","verdict":"accepted"}\n'
    (bench.output / "decisions.jsonl").write_bytes(said)
    await bench.run(1)
    assert (bench.output / "rehearsal/decisions.jsonl").read_bytes() == said
    assert not (bench.output / "decisions.jsonl").exists()


async def test_a_rehearsal_beside_bought_pictures_changes_nothing_of_theirs(bench: Bench) -> None:
    """It takes place in a folder of its own; what was bought stays done."""
    await bench.run(2)
    before, ledger = bench.pictures(), (bench.output / "ledger.jsonl").read_bytes()
    summary = await rehearse(bench, 3)
    assert (summary.exit, summary.simulated, summary.done) == (0, True, 3)
    assert (bench.pictures(), (bench.output / "ledger.jsonl").read_bytes()) == (before, ledger)
    assert summary.output == str(bench.output / "rehearsal")
    assert (await bench.run(3)).requests == 1


async def test_a_rehearsal_goes_on_where_it_stopped(bench: Bench) -> None:
    """Rehearsed again in the same folder, what is drawn stays drawn."""
    await rehearse(bench)
    summary = await rehearse(bench)
    assert (summary.exit, summary.requests, summary.output) == (0, 0, str(bench.output))


async def test_a_failure_in_rehearsal_is_forgotten(bench: Bench) -> None:
    """A job that failed for good there, or whose outcome is unknown, is new at the real endpoint."""
    jobs = [{"id": "a", "prompt": "knife"}, {"id": "b", "prompt": "boat"}, {"id": "c", "prompt": "cup"}]
    rules = [{"fault": "finish_image_safety", "prompt": "knife"}, {"fault": "cut", "prompt": "boat"}]
    provider = {"profile": "simulator", "simulator": {"pictures": "plain", "faults": rules}}
    summary = await rehearse(bench, jobs, provider=provider, retry={"unknown": "hold"})
    assert (summary.failed, summary.unknown) == (1, 1)
    summary = await bench.run(jobs)
    assert (summary.exit, summary.requests, summary.possibly_paid_twice) == (0, 3, 0)
    assert summary.spend.done == pytest.approx(summary.cost_usd)
    assert set(files(bench.output / "rehearsal/rejected")) >= {"a~1.answer", "b~1.answer"}
    assert not files(bench.output / "rejected")


async def test_nothing_is_adopted_from_a_rehearsal(bench: Bench, tmp_path: Path) -> None:
    """Neither by a new name, nor by `dedupe`, nor by `--reuse` of a folder that was only rehearsed."""
    await rehearse(bench, [{"id": "old", "prompt": "red"}])
    jobs = [{"id": "new", "prompt": "red"}, {"id": "twin", "prompt": "red"}]
    other = tmp_path / "other"
    file = bench.manifest([{"id": "x", "prompt": "red"}], provider=SIMULATOR)
    await batch.run(file, output=other, clock=QuickClock())
    summary = await bench.run(jobs, dedupe=True, options=RunOptions(reuse=(other,)))
    assert (summary.exit, summary.requests, summary.adopted) == (0, 1, 1)


@pytest.mark.parametrize("moved", [False, True], ids=["there", "moved since"])
async def test_a_drawing_an_older_version_took_from_elsewhere_is_bought(
    bench: Bench, tmp_path: Path, moved: bool
) -> None:
    """A real run of an older version adopted it from a rehearsed folder; its line does not say who drew it."""
    other, jobs = tmp_path / "other", [{"id": "x", "prompt": "red"}, {"id": "y", "prompt": "green"}]
    await batch.run(bench.manifest(jobs[:1], provider=SIMULATOR), output=other, clock=QuickClock())
    # Where both are the simulator's, the drawing is taken; the run line is made that of a real endpoint below.
    await rehearse(bench, jobs[:1], options=RunOptions(reuse=(other,)))
    old = b"".join(
        encode_line({**{key: value for key, value in record.items() if key != "c"}, **_as_real(record)})
        for record in bench.ledger()
        if record["t"] != "end"
    )
    (bench.output / "ledger.jsonl").write_bytes(old)
    if moved:
        await batch.run(bench.manifest(jobs[:1]), output=other, environment=KEY, clock=QuickClock())
        assert (other / "rehearsal/ledger.jsonl").is_file()
    billed = bench.book.billed
    summary = await bench.run(jobs)
    assert (summary.exit, summary.requests, bench.book.billed - billed) == (0, 2, 2)
    assert set(files(bench.output / "rehearsal/images")) == {"x.png"}


async def test_a_picture_taken_from_a_bought_folder_stays(bench: Bench, tmp_path: Path) -> None:
    """Also by an older version, whose line does not say that it was bought, and when that folder is gone."""
    other, jobs = tmp_path / "other", [{"id": "x", "prompt": "red"}]
    await batch.run(bench.manifest(jobs), output=other, environment=KEY, clock=QuickClock())
    assert (await bench.run(jobs, options=RunOptions(reuse=(other,)))).adopted == 1
    [line] = [record for record in bench.ledger() if record["t"] == "adopt"]
    assert line["from"]["bought"] is True
    assert (await bench.run(jobs)).requests == 0
    shutil.rmtree(other)
    assert (await bench.run(jobs)).requests == 0


def _as_real(record: dict[str, Any]) -> dict[str, Any]:
    return {"endpoint": "anyfast"} if record["t"] == "run" else {}


async def test_an_own_file_in_a_drawings_place_stays(bench: Bench) -> None:
    """A drawing that a person replaced is theirs: it is neither moved nor overwritten."""
    await rehearse(bench, 1)
    [drawing] = (bench.output / "images").iterdir()
    drawing.write_bytes(b"mine")
    assert (await bench.run(1)).exit == 0
    assert drawing.read_bytes() == b"mine"
    assert not files(bench.output / "rehearsal/images")


def mixed_ledger(bench: Bench, drawn: Path) -> bytes:
    """A ledger as an older version wrote it: the rehearsal, and bought jobs after it with numbers counting on."""
    first = [json.loads(line) for line in (drawn / "ledger.jsonl").read_bytes().splitlines()]
    later = [record for record in bench.ledger() if record["t"] != "end"]
    records = [*first, *later]
    written = b""
    for n, record in enumerate(records, start=1):
        written += encode_line({**{key: value for key, value in record.items() if key != "c"}, "n": n})
    return written


async def test_an_older_folder_with_both_in_one_ledger_is_parted(bench: Bench, tmp_path: Path) -> None:
    """What was bought stays bought, what was drawn is bought now; every old line is in one of the two, unchanged."""
    await bench.run([{"id": "b", "prompt": "green"}])
    drawn = tmp_path / "drawn"
    file = bench.manifest([{"id": "a", "prompt": "red"}], provider=SIMULATOR)
    await batch.run(file, output=drawn, clock=QuickClock())
    old = mixed_ledger(bench, drawn)
    (bench.output / "ledger.jsonl").write_bytes(old)
    (drawn / "images/a.png").rename(bench.output / "images/a.png")
    assert holds_bought(bench.output)
    summary = await bench.run([{"id": "a", "prompt": "red"}, {"id": "b", "prompt": "green"}])
    assert (summary.exit, summary.requests, summary.done, bench.book.billed) == (0, 1, 2, 2)
    assert (bench.output / "rehearsal/images/a.png").is_file()
    assert (bench.output / "rehearsal/ledger.whole.jsonl").read_bytes() == old
    kept = [(bench.output / name / "ledger.jsonl").read_bytes().splitlines() for name in ("rehearsal", ".")]
    assert set(old.splitlines()) <= set(kept[0]) | set(kept[1])
    assert [json.loads(line)["n"] for line in kept[1]] == sorted({json.loads(line)["n"] for line in kept[1]})


@pytest.mark.parametrize("lost_bytes", [0, 1], ids=["", "without their last newline"])
@pytest.mark.parametrize("survives", ["nothing", "the rehearsal's ledger", "both ledgers"])
async def test_a_move_that_was_cut_off_is_finished(bench: Bench, survives: str, lost_bytes: int) -> None:
    """Killed between its steps, it leaves nothing lost; the next run ends it in the same folder."""
    await rehearse(bench, 2)
    drawn, ledger = files(bench.output / "images"), (bench.output / "ledger.jsonl").read_bytes()
    apart = bench.output / "rehearsal"
    for name in ("images", "rejected", "spool"):
        (apart / name).mkdir(parents=True)
    (apart / ".unfinished").touch()
    for name in drawn:
        (apart / "images" / name).hardlink_to(bench.output / "images" / name)
    (bench.output / "ledger.jsonl").write_bytes(ledger[: len(ledger) - lost_bytes])
    if survives != "nothing":
        (apart / "ledger.jsonl").write_bytes(ledger[: len(ledger) - lost_bytes])
    if survives == "both ledgers":
        (bench.output / "ledger.jsonl").write_bytes(b"")
    summary = await bench.run(2)
    assert (summary.exit, summary.requests) == (0, 2)
    assert files(apart / "images") == drawn
    assert set(files(bench.output / "images").values()).isdisjoint(drawn.values())
    assert (apart / "ledger.jsonl").read_bytes() == ledger
    assert not (apart / ".unfinished").exists()


async def test_a_file_in_the_way_of_a_drawing_ends_the_move(bench: Bench) -> None:
    """Nothing of either is lost, and nothing is sent before it is moved away."""
    await rehearse(bench, 1)
    drawn = files(bench.output / "images")
    foreign = bench.output / "rehearsal/images" / next(iter(drawn))
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"mine")
    with pytest.raises(StorageError, match="is in the way"):
        await bench.run(1)
    assert (foreign.read_bytes(), files(bench.output / "images"), bench.book.requests) == (b"mine", drawn, 0)
    foreign.unlink()
    assert (await bench.run(1)).done == 1
    assert files(bench.output / "rehearsal/images") == drawn
