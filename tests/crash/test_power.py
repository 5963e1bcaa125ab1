"""A power cut at every sync of a batch. The long form: `python -m tests.crash.power`, see docs/ledger.md."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.injector import Fault
from tests.crash.power import PowerBench, choices, record, try_fault
from tests.crash.scenarios import Batch, scenario
from tests.crash.sweep import ROOT, Provider, provider

#: Faults to be found, each in one file of a copy of the package: what stands there, and what is put in its place.
SEEDED = {
    "no data sync of a picture": (
        "batch/store/durable.py",
        "            set_mode(descriptor, mode)\n        os.fsync(descriptor)\n",
        "            set_mode(descriptor, mode)\n",
    ),
    "no sync of a folder's name": ("batch/store/picture_folder.py", "                    sync_folder(above)\n", ""),
    "no sync of a folder in images": (
        "batch/store/picture_folder.py",
        "            for folder in sorted(folders):\n                sync_folder(folder)\n",
        "",
    ),
    "no folder sync": ("batch/store/commit.py", "            make_durable()\n", "            pass\n"),
    "the ledger's line before the picture": (
        "batch/store/commit.py",
        "        for make_durable in {each for waiting in group for each in waiting.before}:\n",
        "        offsets = self._log.append([waiting.line for waiting in group])\n"
        "        for make_durable in {each for waiting in group for each in waiting.before}:\n",
    ),
}


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with provider(tmp_path_factory.mktemp("simulator")) as running:
        yield running


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, simulator: Provider) -> PowerBench:
    return bench_of(tmp_path_factory.mktemp("bench"), simulator)


def bench_of(folder: Path, simulator: Provider, root: Path = ROOT, names: str = "") -> PowerBench:
    batch = Batch(folder, simulator, names=names)
    return PowerBench(folder, batch, record(batch, folder, root))


def test_a_power_cut_at_any_sync_takes_nothing_that_was_promised(bench: PowerBench) -> None:
    """P1, P2, P3, P5 and P7, whatever the file system kept of what was not synced."""
    assert len(bench.recording.sync_points()) > 20
    assert list(bench.sweep(4)) == []


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_run_after_a_power_cut_brings_everything_to_its_end(bench: PowerBench, share: float) -> None:
    """P6, P10 and P11; an answer that was sealed is used as it came, or not at all."""
    points = bench.recording.sync_points()
    states = dict(choices(1))

    for name in ("nothing", "names and lengths", "random 0"):
        assert bench.try_state(points[int(len(points) * share)], states[name](), resume=True) == [], name


@pytest.mark.parametrize("name", ["rehearsal", "older folder", "reread", "run in folders"])
def test_a_power_cut_while_pictures_move_or_are_found_loses_none(
    name: str, tmp_path: Path, simulator: Provider
) -> None:
    """What was bought or drawn is in its place, or in the one it came from; the same command ends it."""
    tried = scenario(name, tmp_path, simulator)
    bench = PowerBench(tmp_path, tried, record(tried, tmp_path))
    points, states = bench.recording.sync_points(), dict(choices(1))

    assert list(bench.sweep(0, every=3)) == []
    assert bench.try_state(points[len(points) // 2], states["nothing"](), resume=True) == []


@pytest.mark.parametrize("words", ["fdatasync:3:before:EIO", "fsync:6:before:EIO:lasting"])
def test_a_sync_that_failed_before_the_power_did_took_nothing_for_done(
    words: str, tmp_path: Path, simulator: Provider
) -> None:
    """P22: the kernel has forgotten what it could not write, so a later sync must not stand for it."""
    tried = Batch(tmp_path, simulator)

    assert list(try_fault(tried, tmp_path / "fault", Fault.parse(words), 1, resume=["nothing"])) == []


@pytest.mark.parametrize("fault", SEEDED)
def test_the_sweep_finds_a_fault_in_the_order_of_writing(tmp_path: Path, simulator: Provider, fault: str) -> None:
    """Else it would prove nothing."""
    name, right, wrong = SEEDED[fault]
    copy = tmp_path / "copy"
    for folder in ("batch", "tests/crash"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "tests/__init__.py", copy / "tests")
    text = (copy / name).read_text("utf-8")
    if fault == "the ledger's line before the picture":
        text = text.replace("        offsets = self._log.append([waiting.line for waiting in group])\n", "")
    assert right in text
    (copy / name).write_text(text.replace(right, wrong))

    names = "b/c/{{ id }}" if "picture_folder" in name else ""
    found = [words for _, words in bench_of(tmp_path, simulator, copy, names).sweep(1)]

    assert any(words.startswith("P1: images/") for words in found)
