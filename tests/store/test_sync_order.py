"""What is synced before what: a power cut may come between any two of these calls."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batch.core.errors import OutcomeUnknown, Unusable
from batch.core.model import Image
from batch.core.own_files import make_folders
from batch.providers.base import Answer, Picture
from batch.store.contracts import Tail
from batch.store.durable import copy_durably, give_name, replace_file, sync_file
from batch.store.folder import output_folder
from batch.store.ledger import LedgerFile, encode_line
from batch.store.ledger_reader import open_ledger
from batch.store.picture_folder import PictureFolder
from batch.store.records import FailRecord, RunRecord, TryRecord
from tests.support.fakes import FakeClock


class Calls:
    """The calls that make something durable, name it or cut it off, in order, with names relative to a folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        self.seen: list[str] = []
        for name in ("fsync", "fdatasync", "ftruncate", "link", "rename", "replace", "unlink", "write"):
            self._watch(name)

    def take(self) -> list[str]:
        """What was seen since the last time."""
        seen, self.seen = self.seen, []
        return seen

    def _watch(self, name: str) -> None:
        real: Callable[..., Any] = getattr(os, name)

        def watched(*args: Any, **options: Any) -> Any:
            result = real(*args, **options)
            self.seen.append(f"{name} {self._name(args[1] if name in ('link', 'rename', 'replace') else args[0])}")
            return result

        self._monkeypatch.setattr(os, name, watched)

    def _name(self, where: int | str) -> str:
        return os.path.relpath(os.readlink(f"/proc/self/fd/{where}") if isinstance(where, int) else where, self._folder)


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(tmp_path, monkeypatch)


def test_folders_are_durable_from_the_top_down(tmp_path: Path, calls: Calls) -> None:
    """Each name in its parent, the outermost first; a folder that is there costs nothing. All are private."""
    (tmp_path / "state").mkdir()
    make_folders(tmp_path / "state/a/b/c")
    assert calls.take() == ["fsync state", "fsync state/a", "fsync state/a/b"]
    assert (tmp_path / "state/a/b/c").stat().st_mode & 0o777 == 0o700
    make_folders(tmp_path / "state/a/b/c")
    assert calls.take() == []


def test_a_replaced_file_is_durable_under_its_name(tmp_path: Path, calls: Calls) -> None:
    """The rename, then the folder."""
    (tmp_path / "a.part").write_bytes(b"new")
    calls.take()
    replace_file(str(tmp_path / "a"), str(tmp_path / "a.part"))
    assert calls.take() == ["replace a", "fsync ."]


def test_where_links_are_missing_a_copy_is_durable_before_it_has_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P2: a name never leads to bytes that a power cut can take; what was left hidden is replaced."""

    def refuse(*args: Any, **options: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    (tmp_path / "a").write_bytes(b"new")
    (tmp_path / ".b.part").write_bytes(b"an older and longer one")
    monkeypatch.setattr(os, "link", refuse)
    calls = Calls(tmp_path, monkeypatch)
    assert give_name(str(tmp_path / "a"), str(tmp_path / "b"))
    # It was called .b.part when it was synced; `renameat2`, which then names it, is no function of `os`.
    assert calls.take() == ["unlink .b.part", "write .b.part", "fsync .b.part"]
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"a": b"new", "b": b"new"}


def test_a_copy_takes_the_permissions_and_the_place_of_what_was_there(tmp_path: Path, calls: Calls) -> None:
    """They are set before the sync, so they are durable, too."""
    (tmp_path / "a").write_bytes(b"new")
    (tmp_path / "a").chmod(0o640)
    (tmp_path / "b").write_bytes(b"old")
    calls.take()
    copy_durably(str(tmp_path / "a"), str(tmp_path / "b"))
    assert calls.take() == ["unlink b", "write b", "fsync b"]
    assert ((tmp_path / "b").read_bytes(), (tmp_path / "b").stat().st_mode & 0o777) == (b"new", 0o640)


def test_permissions_are_changed_only_where_they_are_told(tmp_path: Path) -> None:
    """Syncing a file otherwise leaves them alone."""
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "a").chmod(0o640)
    sync_file(str(tmp_path / "a"))
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    sync_file(str(tmp_path / "a"), mode=0o604)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o604


def test_a_ledger_is_durable_with_its_name_before_it_is_written(tmp_path: Path, calls: Calls) -> None:
    """And its first lines appear at once, whole; later ones cost one sync each group."""
    file = LedgerFile(str(tmp_path / "ledger.jsonl"))
    assert calls.take() == ["fsync ledger.jsonl", "fsync ."]
    file.append([encode_line({"n": 1}), encode_line({"n": 2})])
    assert calls.take() == ["write .ledger.part", "fdatasync .ledger.part", "replace ledger.jsonl", "fsync ."]
    file.append([encode_line({"n": 3}), encode_line({"n": 4})])
    assert calls.take() == ["write ledger.jsonl", "fdatasync ledger.jsonl"]
    file.close()
    LedgerFile(str(tmp_path / "ledger.jsonl")).close()
    assert calls.take() == []
    assert [file.name for file in tmp_path.iterdir()] == ["ledger.jsonl"]


def test_a_torn_end_is_durable_elsewhere_before_it_is_cut_off(tmp_path: Path, calls: Calls) -> None:
    """The copy, the copy's name, then the cut; a whole end is left alone."""
    whole = encode_line({"n": 1})
    (tmp_path / "ledger.jsonl").write_bytes(whole + b"torn")
    file = LedgerFile(str(tmp_path / "ledger.jsonl"))
    file.mend(Tail(len(whole), b"torn"), str(tmp_path / "kept"))
    assert calls.take() == ["write kept", "fsync kept", "fsync .", "ftruncate ledger.jsonl", "fsync ledger.jsonl"]
    assert (file.size_bytes, (tmp_path / "kept").stat().st_mode & 0o777) == (len(whole), 0o600)
    file.mend(Tail(len(whole), b""), str(tmp_path / "not kept"))
    assert calls.take() == []
    file.close()


def test_a_newline_that_was_lost_is_durable_before_a_line_follows(tmp_path: Path, calls: Calls) -> None:
    """Or a second crash could leave two lines in one."""
    first, second = encode_line({"n": 1}), encode_line({"n": 2})
    (tmp_path / "ledger.jsonl").write_bytes(first[:-1])
    file = LedgerFile(str(tmp_path / "ledger.jsonl"))
    file.mend(Tail(len(first) - 1, b""), str(tmp_path / "not kept"))
    assert calls.take() == ["write ledger.jsonl", "fsync ledger.jsonl"]
    assert file.append([second]) == [len(first)]
    assert (tmp_path / "ledger.jsonl").read_bytes() == first + second
    file.close()


async def test_a_new_output_folder_is_durable_before_the_ledger_is(tmp_path: Path, calls: Calls) -> None:
    """With every folder that leads to it, or a power cut could take the whole ledger."""
    with output_folder(tmp_path / "new/out") as folder:
        async with folder.open("run", FakeClock()) as store:
            await store.note(RunRecord())
    seen = [call for call in calls.take() if call.startswith("fsync")]
    begun = seen.index("fsync new/out/ledger.jsonl")
    assert {"fsync new/out", "fsync new", "fsync ."} <= set(seen[:begun])


async def test_pictures_of_an_answer_are_durable_before_their_names(
    tmp_path: Path, calls: Calls, open_store: Any, make: Any
) -> None:
    """P1: each file, then its name; after the last of them the folder, then the line. Taken over: the folder, too."""
    store, _ = await open_store()
    attempt = await store.begin(make.job(), why="new")
    _, answer = make.receive(attempt.spool, make.picture(color="red"), make.picture())
    calls.take()
    await store.keep(attempt, answer, make.facts())
    steps = [call for call in calls.take() if call.split()[0] in ("fsync", "fdatasync", "link")]
    assert steps == [
        *("fsync out/spool/shirt~1.0", "link out/images/shirt~1.png"),
        *("fsync out/spool/shirt~1.1", "link out/images/shirt.png"),
        *("fsync out/images", "fdatasync out/ledger.jsonl"),
    ]
    await store.adopt(make.job("hat"), store.bought_by(make.job().key()), why="same")
    steps = [call for call in calls.take() if call.split()[0] in ("fsync", "fdatasync", "link")]
    assert steps[-4:] == [
        *("link out/images/hat~1.png", "link out/images/hat.png"),
        *("fsync out/images", "fdatasync out/ledger.jsonl"),
    ]


@pytest.mark.parametrize("has_answer", [True, False])
async def test_what_came_of_an_answer_is_durable_before_its_line(
    calls: Calls, open_store: Any, make: Any, has_answer: bool
) -> None:
    """Kept in rejected/ with its name, also where the outcome is unknown; without an answer nothing is kept."""
    store, _ = await open_store()
    errors = (Unusable("text_only", "words"), OutcomeUnknown("cut", "cut"))
    for number, error in enumerate(errors, start=1):
        attempt = await store.begin(make.job(), why="new")
        if has_answer:
            make.receive(attempt.spool, b"half")
        calls.take()
        if isinstance(error, OutcomeUnknown):
            await store.unknown(attempt, error, make.facts(number))
        else:
            await store.reject(attempt, error, make.facts(number), again=True)
        steps = [call for call in calls.take() if call.split()[0] in ("fsync", "fdatasync", "link")]
        kept = [
            *(f"fsync out/spool/shirt~{number}.answer", f"link out/rejected/shirt~{number}.answer"),
            *(f"fsync out/spool/shirt~{number}.0", f"link out/rejected/shirt~{number}.0"),
            "fsync out/rejected",
        ]
        assert steps == [*(kept if has_answer else []), "fdatasync out/ledger.jsonl"]


async def test_pictures_of_a_kept_answer_are_durable_before_their_line(
    calls: Calls, open_store: Any, make: Any, tmp_path: Path
) -> None:
    """A copy of each, its name, the folder, then the line."""
    store, _ = await open_store()
    attempt = await store.begin(make.job(), why="new")
    make.receive(attempt.spool, make.picture())
    await store.reject(attempt, Unusable("text_only", "words"), make.facts(), again=False)
    tried, failed = open_ledger(tmp_path / "out").records()
    assert isinstance(tried, TryRecord)
    assert isinstance(failed, FailRecord)
    attempt, received = store.rejected_answer(tried)
    answer = Answer(pictures=tuple(Picture(blob=blob) for blob in received.blobs))
    calls.take()
    await store.keep_reread(attempt, answer, failed, usd=0.0, maybe_usd=0.0)
    steps = [call for call in calls.take() if call.split()[0] in ("fsync", "fdatasync", "link")]
    assert steps == [
        *("fsync out/spool/shirt~reread~1.0", "link out/images/shirt.png"),
        *("fsync out/images", "fdatasync out/ledger.jsonl"),
    ]


def test_a_folder_of_pictures_is_durable_before_a_name_in_it_counts(
    tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own name before the picture's; and a sync that comes before a name was given does not count for it."""
    (tmp_path / "out/images").mkdir(parents=True)
    (tmp_path / "a").write_bytes(b"abc")
    shelf = PictureFolder(str(tmp_path / "out"))
    image = Image(path="images/x/y/a.png", mime="image/png", width=1, height=1, size_bytes=3, sha256="")
    link = os.link

    def link_after_a_sync(*args: Any, **options: Any) -> None:
        shelf.sync()
        link(*args, **options)

    monkeypatch.setattr(os, "link", link_after_a_sync)
    shelf.put(str(tmp_path / "a"), image)
    assert calls.take() == ["fsync a", "fsync out/images", "fsync out/images/x", "link out/images/x/y/a.png"]
    shelf.sync()
    assert calls.take() == ["fsync out/images/x/y"]
    shelf.sync()
    assert calls.take() == []
