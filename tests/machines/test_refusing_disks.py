"""Runs on file systems that refuse something: permissions, hard links, locks, syncing."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

import batch

JOBS = "provider: {profile: simulator, simulator: {latency_seconds: 0}}\n"
JOBS += "jobs: [{id: a, prompt: cup}, {id: b, prompt: mug}, {id: c, prompt: jug}]\n"
#: Calls that refuse, where a run works all the same.
BEARABLE = ("chmod", "link", "link,renameat2", "fsync_folder", "fallocate")
ALL_BEARABLE = ",".join(BEARABLE)
Command: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="the library to preload needs gcc")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The preloaded library."""
    made = tmp_path_factory.mktemp("refusing") / "refusing.so"
    source = Path(__file__).with_name("refusing.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", made, source, "-ldl"], check=True)
    return made


def environment(library: Path) -> dict[str, str]:
    paths = [str(Path(batch.__file__).parents[1]), *filter(os.path.isdir, sys.path)]
    return {**os.environ, "PYTHONPATH": ":".join(paths), "LD_PRELOAD": str(library)}


@pytest.fixture
def command(tmp_path: Path, library: Path) -> Command:
    """`imagebatch WORDS` in the test's folder, where the calls named refuse."""
    (tmp_path / "m.yaml").write_text(JOBS)

    def call(*words: str, refused: str = "", number: int = errno.EPERM) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "batch", *words],
            cwd=tmp_path,
            env={**environment(library), "REFUSED": refused, "REFUSED_WITH": str(number)},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return call


def whole(output: Path) -> int:
    """How many pictures of the ledger lie there with their bytes; nothing else does."""
    records = [json.loads(line) for line in (output / "ledger.jsonl").read_bytes().splitlines()]
    pictures = {
        image["path"]: image["sha256"] for record in records if record["t"] == "done" for image in record["images"]
    }
    assert {f"images/{file.name}" for file in (output / "images").iterdir()} == set(pictures)
    for path, digest in pictures.items():
        assert hashlib.sha256((output / path).read_bytes()).hexdigest() == digest
    return len(pictures)


def requests(output: Path) -> int:
    """How many requests went out."""
    ledger = output / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines() if ledger.exists() else []
    return sum(json.loads(line)["t"] == "try" for line in lines)


@pytest.mark.parametrize(
    ("refused", "number"),
    [
        *((call, errno.EPERM) for call in BEARABLE),
        *((ALL_BEARABLE, number) for number in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)),
    ],
)
def test_pictures_come_where_something_is_refused(command: Command, tmp_path: Path, refused: str, number: int) -> None:
    """Permissions stay as they are, names are given without links: each alone, and all together."""
    ended = command("run", "m.yaml", "-o", "out", refused=refused, number=number)
    assert ended.returncode == 0, ended.stderr
    assert whole(tmp_path / "out") == 3
    again = command("run", "m.yaml", "-o", "out", refused=refused, number=number)
    assert again.returncode == 0, again.stderr
    assert requests(tmp_path / "out") == 3


def test_a_folder_that_cannot_be_synced_is_said(command: Command) -> None:
    """What is weaker after a power cut is one line when the run begins."""
    ended = command("run", "m.yaml", "-o", "out", refused="fsync_folder", number=errno.EINVAL)
    assert "cannot sync folders: a power cut may take the newest pictures" in ended.stderr


@pytest.mark.parametrize(
    ("beside", "number"),
    [("", errno.ENOLCK), ("", errno.EOPNOTSUPP), ("", errno.ENOSYS), ("", errno.EPERM), (ALL_BEARABLE, errno.EPERM)],
)
def test_a_disk_without_locks_is_refused(command: Command, tmp_path: Path, beside: str, number: int) -> None:
    """Exit 73 says why and what to do; no request goes out, at the first start and at the next."""
    for _ in range(2):
        ended = command("run", "m.yaml", "-o", "out", refused=f"flock,{beside}".rstrip(","), number=number)
        assert ended.returncode == 73, ended.stderr
        assert "without locks" in ended.stderr
        assert "name a folder on another one. Nothing was sent" in ended.stderr
    assert requests(tmp_path / "out") == 0


@pytest.mark.parametrize("beside", ["", ALL_BEARABLE])
@pytest.mark.parametrize("number", [errno.EPERM, errno.EINVAL])
def test_a_disk_that_cannot_sync_files_is_refused(command: Command, tmp_path: Path, beside: str, number: int) -> None:
    """What is paid must outlive a power cut: exit 73 before any request."""
    ended = command("run", "m.yaml", "-o", "out", refused=f"fsync,{beside}".rstrip(","), number=number)
    assert ended.returncode == 73, ended.stderr
    assert "cannot make files durable" in ended.stderr
    assert requests(tmp_path / "out") == 0


@pytest.mark.parametrize("refused", ["link", "link,renameat2"])
@pytest.mark.parametrize(
    ("before", "given", "after"),
    [
        ({}, True, {"name": b"picture"}),
        ({"name": b"mine"}, False, {"name": b"mine"}),
        ({"name": b""}, False, {"name": b""}),
        ({"name": b"", ".name.part": b"picture"}, True, {"name": b"picture"}),
        ({"name": b"", ".name.part": b"pic"}, True, {"name": b"picture"}),
        ({".name.part": b"pic"}, True, {"name": b"picture"}),
        ({"name": b"mine", ".name.part": b"picture"}, False, {"name": b"mine", ".name.part": b"picture"}),
    ],
    ids=["free", "taken", "taken by an empty file", "crashed", "crashed, other bytes", "crashed early", "taken later"],
)
def test_a_name_without_links_overwrites_nothing(
    library: Path, tmp_path: Path, refused: str, before: dict[str, bytes], given: bool, after: dict[str, bytes]
) -> None:
    """It is given whole or not at all, also after a crash in the middle of it."""
    source = tmp_path / "source"
    source.write_bytes(b"picture")
    folder = tmp_path / "images"
    folder.mkdir()
    for name, data in before.items():
        (folder / name).write_bytes(data)
    code = "import sys; from batch.store.durable import give_name; print(give_name(*sys.argv[1:]))"
    ended = subprocess.run(
        [sys.executable, "-c", code, source, folder / "name"],
        env={**environment(library), "REFUSED": refused},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.strip() == str(given)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == after
    assert source.read_bytes() == b"picture"
