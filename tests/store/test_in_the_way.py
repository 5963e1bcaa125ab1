"""What lies in the place of a file of ours is named: nothing hangs, and nothing outside the folder is touched."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from batch.core.errors import OutputError, StorageError
from batch.store.durable import set_aside
from batch.store.folder import look_into, output_folder
from batch.store.rehearsal import move_away

FILES = (
    "ledger.jsonl",
    "manifest.jsonl",
    "manifest.jsonl.part",
    ".lock",
    ".lock-owner",
    ".now",
    ".now.part",
    ".reserve",
)
FOLDERS = ("images", "rejected", "spool", "rehearsal")


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


def a_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "strangers")


KINDS: dict[str, Callable[[Path], None]] = {"FIFO": os.mkfifo, "socket": a_socket, "folder": Path.mkdir, "link": a_link}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output folder, and beside it a file and a folder of a stranger."""
    (tmp_path / "strangers").write_text("mine")
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_is_named_before_anything_is_read(name: str, kind: str, output: Path) -> None:
    """By every command: those that look, and those that lock and write."""
    KINDS[kind](output / name)
    for use in (lambda: look_into(output), lambda: output_folder(output).__enter__()):
        with pytest.raises(OutputError, match="move it away, a file of ours belongs there") as refused:
            use()
        assert str(output / name) in str(refused.value)
        assert kind in str(refused.value)
    assert (output.parent / "strangers").read_text() == "mine"


@pytest.mark.parametrize("kind", ["FIFO", "link", "file"])
@pytest.mark.parametrize("name", FOLDERS)
def test_what_is_no_folder_is_named_likewise(name: str, kind: str, output: Path) -> None:
    """A link to a folder leads elsewhere, too."""
    {**KINDS, "file": Path.touch}[kind](output / name)
    with pytest.raises(OutputError, match=f"{name} is a {kind}; move it away, a folder of ours belongs there"):
        look_into(output)


@pytest.mark.parametrize("name", ["rehearsal", "rehearsal/images", "rehearsal/rejected", "rehearsal/.unfinished"])
def test_a_rehearsal_is_not_moved_through_a_link(name: str, output: Path) -> None:
    """The drawings stay where they are, and the stranger's folder stays empty."""
    (output / "ledger.jsonl").touch()
    elsewhere = output.parent / "elsewhere"
    elsewhere.mkdir()
    (output / name).parent.mkdir(exist_ok=True)
    (output / name).symlink_to(elsewhere / "new" if name.endswith("unfinished") else elsewhere)
    with pytest.raises(StorageError, match="is a link; move it away"):
        move_away(output)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_the_name_of_a_paid_answer_makes_room(kind: str, output: Path) -> None:
    """It gets the next free name, unchanged."""
    (output / "job~1.answer~x2").touch()
    KINDS[kind](output / "job~1.answer")
    before = os.lstat(output / "job~1.answer").st_ino
    set_aside(str(output / "job~1.answer"))
    assert not os.path.lexists(output / "job~1.answer")
    assert os.lstat(output / "job~1.answer~x3").st_ino == before
