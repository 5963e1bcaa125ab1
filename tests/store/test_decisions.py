"""decisions.jsonl: no word is lost, whoever writes beside, dies, or damages the file."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batch.core.decisions import Decision, Side, Verdict
from batch.core.errors import OutputError, StorageError
from batch.store.decisions import DecisionFile

ROOT = Path(__file__).parents[2]
#: Appends decisions on jobs called WHO-0, WHO-1 ... and prints each number once it is durable, which may kill it first.
WRITER = """
import sys
from pathlib import Path
from batch.core.decisions import Decision, Verdict
from batch.store.decisions import DecisionFile
from tests.crash.injector import Fault, Injector
folder, who, count, fault = sys.argv[1:]
Injector(folder, Fault.parse(fault) if fault else None).install()
file = DecisionFile(Path(folder))
for number in range(int(count)):
    file.append([Decision(at="now", job=f"{who}-{number}", sha256="a1", verdict=Verdict.ACCEPTED, note="x" * 300)])
    print(number, flush=True)
"""


def said(job: str, *, note: str = "", **fields: Any) -> Decision:
    return Decision(**{"at": "now", "job": job, "sha256": "a1", "verdict": Verdict.REJECTED, "note": note, **fields})


def writer(folder: Path, who: str, count: int, fault: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-c", WRITER, str(folder), who, str(count), fault]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def jobs(folder: Path) -> list[str]:
    return [decision.job for decision in DecisionFile(folder).lines()]


def unreadable(folder: Path) -> tuple[int, ...]:
    return DecisionFile(folder).read().unreadable


def test_what_was_said_comes_back(tmp_path: Path) -> None:
    """With every field, in any language."""
    words = said("青い茶碗", note='"\u2028\n<b>', side=Side.MACHINE, by="judge", reasons=("hands", "colour"))
    DecisionFile(tmp_path).append([words, said("cup")])
    assert [*DecisionFile(tmp_path).lines()] == [words, said("cup")]
    assert DecisionFile(tmp_path).read().of("cup", "a1") == said("cup")


def test_an_output_without_decisions_has_none(tmp_path: Path) -> None:
    """And nothing is written for it."""
    assert len(DecisionFile(tmp_path).read()) == 0
    DecisionFile(tmp_path).append([])
    assert [*tmp_path.iterdir()] == []


def test_two_processes_with_two_threads_each_lose_nothing(tmp_path: Path) -> None:
    """All write at once; each line is whole."""

    def write(who: str) -> None:
        file = DecisionFile(tmp_path)
        for number in range(30):
            file.append([said(f"{who}-{number}", note="x" * 5000)])

    processes = [writer(tmp_path, who, 30) for who in ("p", "q")]
    threads = [threading.Thread(target=write, args=[who]) for who in ("s", "t")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.communicate()[1] for process in processes] == ["", ""]
    assert sorted(jobs(tmp_path)) == sorted(f"{who}-{number}" for who in "pqst" for number in range(30))
    assert unreadable(tmp_path) == ()


def test_threads_may_share_one_file(tmp_path: Path) -> None:
    """As a server's do."""
    file = DecisionFile(tmp_path)
    threads = [threading.Thread(target=file.append, args=[[said(f"j-{number}")]]) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(jobs(tmp_path)) == sorted(f"j-{number}" for number in range(20))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["open:2", "write:1", "write:2", "fsync:1", "fsync:2", "fsync:3", "close:1"])
def test_a_kill_at_any_call_loses_no_confirmed_word(tmp_path: Path, kind: str, when: str) -> None:
    """What the dead process had printed is there, the lock is free, and the next writer goes on."""
    process = writer(tmp_path, "w", 3, f"{kind}:{when}:KILL")
    told = process.communicate()[0].split()
    assert process.returncode < 0
    DecisionFile(tmp_path).append([said("next")])
    found = jobs(tmp_path)
    assert found[: len(told)] == [f"w-{number}" for number in told]
    assert found[-1] == "next"
    assert unreadable(tmp_path) == ()


@pytest.mark.parametrize("fault", ["write:2:before:ENOSPC:lasting", "fsync:3:before:EIO", "fsync:1:before:EIO"])
def test_what_cannot_be_written_does_not_count_in_part(tmp_path: Path, fault: str) -> None:
    """A full disk takes half a line: it is cut off, and the error reaches the caller."""
    process = writer(tmp_path, "w", 3, fault)
    told = process.communicate()[0].split()
    assert process.returncode == 1
    assert jobs(tmp_path) == [f"w-{number}" for number in told]
    data = (tmp_path / "decisions.jsonl").read_bytes()
    assert data.endswith(b"\n") or not data


def test_a_torn_line_is_set_aside(tmp_path: Path) -> None:
    """It was confirmed to nobody: readers pass it over, and the next writer moves it away, however long it is."""
    file = DecisionFile(tmp_path)
    file.append([said("cup")])
    torn = b'{"at":"now","job":"tea","note":"' + b"y" * 10_000
    with (tmp_path / "decisions.jsonl").open("ab") as stream:
        stream.write(torn)
    assert (jobs(tmp_path), unreadable(tmp_path)) == (["cup"], ())
    file.append([said("pot")])
    assert (jobs(tmp_path), unreadable(tmp_path)) == (["cup", "pot"], ())
    assert (tmp_path / "decisions.torn").read_bytes() == torn + b"\n"


def test_a_last_line_that_lost_only_its_end_counts(tmp_path: Path) -> None:
    """As an editor may leave it."""
    file = DecisionFile(tmp_path)
    file.append([said("cup"), said("tea")])
    path = tmp_path / "decisions.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    assert jobs(tmp_path) == ["cup", "tea"]
    file.append([said("pot")])
    assert jobs(tmp_path) == ["cup", "tea", "pot"]


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"\x00" * 50,
        b'{"job":"cup","sha256":"a1"}',
        b'{"at":"now","job":5,"sha256":"a1","verdict":"accepted"}',
        b'{"at":"now","job":"cup","sha256":"a1","verdict":7}',
        b'{"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"at":"now","job":"\xff","sha256":"a1","verdict":"accepted"}',
    ],
    ids=range(7),
)
def test_a_damaged_line_is_named_and_stays(tmp_path: Path, line: bytes) -> None:
    """It may have been a person's word; those around it count."""
    file = DecisionFile(tmp_path)
    file.append([said("cup")])
    with (tmp_path / "decisions.jsonl").open("ab") as stream:
        stream.write(line + b"\n\n")
    file.append([said("tea")])
    assert (jobs(tmp_path), unreadable(tmp_path)) == (["cup", "tea"], (2,))
    assert line in (tmp_path / "decisions.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ('{"at":"now","job":"cup","sha256":"a1","verdict":"rejected","stars":5,"v":{"w":[1]}}', True),
        ('{"at":"now","job":"cup","sha256":"a1","verdict":"starred"}', False),
        ('{"at":"now","job":"cup","sha256":"a1","verdict":"rejected","side":"panel"}', False),
        ('{"at":"now","job":"cup","sha256":"a1","verdict":"rejected","note":"\\ud800"}', True),
    ],
)
def test_lines_of_later_versions_are_no_damage(tmp_path: Path, line: str, counts: bool) -> None:
    """Fields that are not known are passed over, and so is a line with a word that is not."""
    (tmp_path / "decisions.jsonl").write_text(line + "\n")
    assert (jobs(tmp_path), unreadable(tmp_path)) == (["cup"] if counts else [], ())


def test_half_a_surrogate_pair_in_a_note_is_kept(tmp_path: Path) -> None:
    """A broken terminal may send one; UTF-8 cannot hold it."""
    DecisionFile(tmp_path).append([said("cup", note="bad \ud800 hands")])
    assert [each.note for each in DecisionFile(tmp_path).lines()] == ["bad \ud800 hands"]


@pytest.mark.parametrize("name", ["decisions.jsonl", ".decisions.lock", "decisions.torn"])
@pytest.mark.parametrize("plant", [lambda path: path.symlink_to("elsewhere"), os.mkfifo, Path.mkdir], ids=range(3))
def test_nothing_is_written_through_what_is_in_the_way(
    tmp_path: Path, name: str, plant: Callable[[Path], None]
) -> None:
    """A link, a FIFO or a folder in the place of our files is an error, and never a wait."""
    if name == "decisions.torn":
        (tmp_path / "decisions.jsonl").write_text("torn")
    plant(tmp_path / name)
    with pytest.raises(StorageError, match="move it away"):
        DecisionFile(tmp_path).append([said("cup")])
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    """No decision at all would look like none made."""
    (tmp_path / "decisions.jsonl").mkdir()
    with pytest.raises(OutputError, match=r"decisions\.jsonl is a folder"):
        DecisionFile(tmp_path).read()


def test_the_file_and_its_name_are_durable_before_a_decision_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut after `append` takes neither the line nor the file: the bytes are synced, then the folder."""
    calls: list[str] = []
    for name in ("write", "fsync"):
        real: Callable[..., Any] = getattr(os, name)

        def watched(descriptor: int, *rest: Any, real: Any = real, name: str = name) -> Any:
            result = real(descriptor, *rest)
            calls.append(f"{name} {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
            return result

        monkeypatch.setattr(os, name, watched)
    (tmp_path / "decisions.jsonl").write_bytes(b"")  # of a process that died before it synced the folder
    file = DecisionFile(tmp_path)
    file.append([said("cup")])
    written = [call for call in calls if ".lock" not in call]
    assert written == ["write decisions.jsonl", "fsync decisions.jsonl", f"fsync {tmp_path.name}"]


def test_the_page_names_every_field() -> None:
    """docs/review.md has exactly the fields that are written."""
    page = (ROOT / "docs/review.md").read_text("utf-8").partition("## The file of decisions")[2]
    named = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)))
    assert named == [field.name for field in dataclasses.fields(Decision)]
