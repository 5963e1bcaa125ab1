"""An export takes its place whole, in one step, and only where an export of ours was."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from batch.core.errors import LockedError, OutputError, StorageError
from batch.export.place import Beside, beside


def put(target: Path, **files: str) -> None:
    with beside(target) as writing:
        fill(writing, **files)


def fill(writing: Beside, **files: str) -> None:
    for name, text in files.items():
        with writing.writing(f"{name[0]}/{name}") as out:
            out.write(text.encode())


def files(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.rglob("*") if file.is_file() and file.name[0] != "."}


def test_a_new_export_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    """With the files of the new one alone, and nothing beside it."""
    target = tmp_path / "deep/export"
    put(target, a1="1", b1="1")

    put(target, a2="2")

    assert files(target) == {"a2": "2"}
    assert [each.name for each in target.parent.iterdir()] == ["export"]


def test_a_failure_leaves_the_old_one_whole(tmp_path: Path) -> None:
    """A full disk is a `StorageError`."""
    put(tmp_path / "export", a1="1")

    def fail() -> None:
        with beside(tmp_path / "export") as writing:
            fill(writing, a2="2")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageError, match="No space left"):
        fail()

    assert files(tmp_path / "export") == {"a1": "1"}
    assert [each.name for each in tmp_path.iterdir()] == ["export"]


CHILD = """
import json, os, signal, sys
from pathlib import Path
from batch.export.place import beside
from tests.export.test_place import files, fill, put

target = Path(sys.argv[1])
watched = ("open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.chmod", "ctypes.dlsym", "os.scandir")

def killed_at(moment):
    calls = 0
    def die(event, arguments):
        nonlocal calls
        calls += event in watched
        if event in watched and calls == moment:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(die)
    put(target, a2="22", b2="22", c2="22")
    os._exit(0)

for moment in range(1, 200):
    put(target, a1="1", b1="1")
    child = os.fork()
    if not child:
        killed_at(moment)
    _, status = os.waitpid(child, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), files(target)]))
    if status == 0:
        break
"""


def test_a_kill_at_any_moment_leaves_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    """Killed before each file is opened, made, removed or renamed; the next export clears up."""
    target = tmp_path / "export"
    old, new = {"a1": "1", "b1": "1"}, {"a2": "22", "b2": "22", "c2": "22"}

    command = [sys.executable, "-P", "-c", CHILD, str(target)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, check=True, capture_output=True, timeout=100, env=environment)
    ends = [json.loads(line) for line in done.stdout.splitlines()]

    *killed, last = ends
    assert last == [0, new]
    assert len(killed) > 20
    assert {code for code, _ in killed} == {-signal.SIGKILL}
    assert [found for _, found in killed if found not in (old, new)] == []
    assert [found for _, found in killed].count(new) >= 1
    assert [each.name for each in tmp_path.iterdir()] == ["export"]


def test_files_of_others_are_not_touched(tmp_path: Path) -> None:
    """Neither a folder that is no export, nor an export that something was put into."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/dog.jpg").write_text("dog")
    put(tmp_path / "export", a1="1")
    (tmp_path / "export/a/notes.txt").write_text("mine")
    (tmp_path / "file").write_text("file")

    for name, words in (("photos", "holds dog.jpg"), ("export", "holds a/notes.txt"), ("file", "is a file")):
        with pytest.raises(OutputError, match=words):
            put(tmp_path / name, a2="2")

    assert files(tmp_path / "export") == {"a1": "1", "notes.txt": "mine"}


def test_two_exports_to_one_place_do_not_meet(tmp_path: Path) -> None:
    """The second is told; the first is not disturbed."""
    with beside(tmp_path / "export") as writing:
        fill(writing, a1="1")
        with pytest.raises(LockedError, match="another export writes"):
            put(tmp_path / "export", a2="2")

    assert files(tmp_path / "export") == {"a1": "1"}
