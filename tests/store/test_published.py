"""manifest.jsonl: one line per job in the manifest's order, made again whenever it is not what it should be."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from batch.core.errors import OutcomeUnknown, Refused, StorageError, Unusable
from batch.core.model import Image
from batch.store.durable import PUBLIC_MODE
from batch.store.history import History, replay
from batch.store.published import PublishedManifest, published_line

IMAGE = Image(path="images/one.png", mime="image/png", width=1, height=1, size_bytes=3, sha256="0" * 64)
PUBLISHED_IMAGE = {"path": IMAGE.path, "mime": IMAGE.mime, "width": 1, "height": 1, "bytes": 3, "sha256": IMAGE.sha256}


class Folder:
    """An output folder with a ledger, and the jobs' order."""

    def __init__(self, path: Path, ledger: Any, make: Any) -> None:
        self.path, self.ledger, self.make = path, ledger, make
        self.jobs = [make.job(name) for name in ("one", "two", "three", "four")]
        one, two, three, _ = self.jobs
        ledger.write(make.tried(two), make.failed(two, Refused("blocked", "by policy", http_status=200)))
        ledger.write(make.tried(one), make.done(one, images=[IMAGE], caption="雨后"))
        ledger.write(make.tried(three), make.unknown(three, OutcomeUnknown("timeout", "no answer")))
        self.published = PublishedManifest(path)

    @property
    def history(self) -> History:
        return replay(self.path)[0]

    @property
    def order(self) -> bytes:
        return b"".join(job.key() for job in self.jobs)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / "manifest.jsonl").read_bytes().split(b"\n")[:-1]]

    def write(self) -> None:
        """Write it as a run would, and note it in the ledger."""
        made = self.published.write(self.order, self.history)
        fields = {"order": made.order, "through": made.through, "bytes": made.bytes}
        self.ledger.write({"t": "end", "published": fields})


@pytest.fixture
def folder(tmp_path: Path, ledger: Any, make: Any) -> Any:
    folder = Folder(tmp_path, ledger, make)
    yield folder
    folder.published.close()


def test_every_settled_job_has_one_line_in_the_manifests_order(folder: Folder) -> None:
    """Not in the order things happened; jobs that never began have none."""
    folder.write()

    assert [(line["id"], line["status"]) for line in folder.lines()] == [
        ("one", "done"),
        ("two", "failed"),
        ("three", "unknown"),
    ]
    assert folder.lines()[0]["images"][0]["path"] == "images/one.png"
    assert folder.lines()[1]["error"] == {"code": "blocked", "message": "by policy", "http_status": 200}


def test_a_current_file_is_left_untouched(folder: Folder) -> None:
    """P9: a finished batch run again changes nothing."""
    folder.write()

    assert folder.published.is_current(folder.order, folder.history)


@pytest.mark.parametrize("what", ["missing", "shorter", "another order", "more happened"])
def test_a_file_that_is_missing_or_behind_is_made_again(folder: Folder, what: str) -> None:
    """Derived from the ledger, so it can be deleted or damaged at any time."""
    folder.write()
    path, order = folder.path / "manifest.jsonl", folder.order
    if what == "missing":
        path.unlink()
    elif what == "shorter":
        os.truncate(path, 10)
    elif what == "another order":
        order = order[16:] + order[:16]
    else:
        folder.ledger.write(folder.make.tried(folder.jobs[3]))

    assert not folder.published.is_current(order, folder.history)


def test_settled_jobs_are_appended_while_the_run_is_on(folder: Folder) -> None:
    """A pipeline may follow the file."""
    for job in folder.jobs:
        folder.published.append(folder.history.of(job.key()))

    assert [line["id"] for line in folder.lines()] == ["one", "two", "three"]


def test_the_half_line_of_a_killed_run_is_cut_before_appending(folder: Folder) -> None:
    """Else the next line would be glued to it."""
    folder.write()
    with open(folder.path / "manifest.jsonl", "ab") as file:
        file.write(b'{"id": "tw')

    folder.published.append(folder.history.of(folder.jobs[0].key()))

    assert [line["id"] for line in folder.lines()] == ["one", "two", "three", "one"]


def test_appending_opens_the_ledger_once(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of jobs an hour pass here."""
    opened: list[str] = []
    real = os.open

    def watched(path: str, *args: int) -> int:
        opened.append(str(path))
        return real(path, *args)

    past = folder.history.of(folder.jobs[0].key())
    monkeypatch.setattr(os, "open", watched)

    for _ in range(5):
        folder.published.append(past)

    assert sorted(os.path.basename(path) for path in opened) == ["ledger.jsonl", "manifest.jsonl"]


def test_text_in_any_language_stays_readable(folder: Folder) -> None:
    """People read this file; it is UTF-8."""
    folder.write()

    assert "雨后".encode() in (folder.path / "manifest.jsonl").read_bytes()


@pytest.mark.parametrize("character", list("\u2028\u2029\x85\u202e\u2066\x7f\x9b\ud83d\n\x1b"))
def test_unruly_characters_are_escaped(character: str) -> None:
    """Line ends of other kinds, text turned around, half a surrogate pair, terminal commands."""
    line = published_line({"caption": f"a{character}b"})

    assert line.count(b"\n") == 1
    assert f"\\u{ord(character):04x}".encode() in line or b"\\n" in line
    assert json.loads(line)["caption"] == f"a{character}b"


def test_a_later_picture_takes_the_earlier_ones_line(folder: Folder) -> None:
    """One line per job: the newest bought."""
    edited = folder.make.job("one", "a blue shirt")
    again = Image(path="images/one~v2.png", mime="image/png", width=1, height=1, size_bytes=3, sha256="1" * 64)
    folder.ledger.write(folder.make.tried(edited, 2), folder.make.done(edited, 2, images=[again]))
    folder.write()

    (line,) = [line for line in folder.lines() if line["id"] == "one"]
    assert (line["prompt"], line["images"][0]["path"]) == ("a blue shirt", "images/one~v2.png")


def test_a_picture_stands_in_its_line_while_a_new_one_is_open(folder: Folder) -> None:
    """P13: what is there is what is said."""
    folder.ledger.write(folder.make.tried(folder.make.job("one", "a blue shirt"), 2))
    folder.write()

    assert (folder.lines()[0]["status"], folder.lines()[0]["prompt"]) == ("done", "a red shirt")


def test_readers_never_see_half_a_file(folder: Folder) -> None:
    """It is written beside and put in place; nothing is left beside."""
    folder.write()
    before = (folder.path / "manifest.jsonl").stat().st_ino
    folder.write()

    assert (folder.path / "manifest.jsonl").stat().st_ino != before
    assert sorted(os.listdir(folder.path)) == ["ledger.jsonl", "manifest.jsonl"]


def test_a_line_has_every_field(folder: Folder) -> None:
    """docs/manifest.md promises them to programs, whether the job is done, failed or unknown."""
    two, four = folder.jobs[1], folder.jobs[3]
    charged = folder.make.failed(four, Unusable("text_only", "words"), usd=0.01234567)
    folder.ledger.write(folder.make.tried(four), charged)
    folder.ledger.write(folder.make.tried(four, 2), folder.make.done(four, 2, images=[IMAGE], caption="雨后"))
    folder.ledger.write(folder.make.tried(two, 2), folder.make.failed(two, Refused("blocked", "again"), 2, usd=0.0104))
    folder.write()

    _, failed, unknown, done = folder.lines()
    asked: dict[str, Any] = {
        "prompt": "a red shirt",
        "references": [],
        "model": "gemini-3.1-flash-image",
        "aspect_ratio": None,
    }
    assert done == {
        "id": "four",
        "status": "done",
        **asked,
        "image_size": "512",
        "simulated": False,
        "images": [PUBLISHED_IMAGE],
        "accepted": False,
        "warnings": [],
        "caption": "雨后",
        "error": None,
        "attempts": 2,
        "cost_usd": 0.057346,
        "finished_at": "2026-01-01T00:00:01.000Z",
    }
    assert failed == {
        "id": "two",
        "status": "failed",
        **asked,
        "image_size": "512",
        "simulated": False,
        "images": [],
        "accepted": False,
        "warnings": [],
        "caption": None,
        "attempts": 2,
        "cost_usd": 0.0104,
        "error": {"code": "blocked", "message": "again", "http_status": None},
        "finished_at": "2026-01-01T00:00:01.000Z",
    }
    assert list(unknown) == list(done)
    assert (unknown["status"], unknown["cost_usd"], unknown["error"]["code"]) == ("unknown", 0.0, "timeout")


def test_a_rehearsal_says_so_in_every_line(folder: Folder) -> None:
    """While the run is on and after it."""
    published = PublishedManifest(folder.path, lambda: True)
    published.append(folder.history.of(folder.jobs[0].key()))
    assert [line["simulated"] for line in folder.lines()] == [True]
    published.write(folder.order, folder.history)
    assert [line["simulated"] for line in folder.lines()] == [True] * 3


def test_each_line_has_the_row_of_its_own_job(folder: Folder) -> None:
    """A row that comes for another job is not put there; where rows end early, the rest has none."""
    published = PublishedManifest(folder.path)
    published.keeps_rows = True
    published.append(folder.history.of(folder.jobs[0].key()), {"sku": "1"})
    assert [line["row"] for line in folder.lines()] == [{"sku": "1"}]
    one, two, three, _ = (job.key() for job in folder.jobs)
    for rows, found in (
        ([(one, {"sku": "1"}), (two, {"sku": "2"}), (three, None)], [{"sku": "1"}, {"sku": "2"}, None]),
        ([(one, {"sku": "1"}), (three, {"sku": "3"})], [{"sku": "1"}, None, None]),
        ([], [None, None, None]),
    ):
        published.write(folder.order, folder.history, rows)
        assert [line["row"] for line in folder.lines()] == found


def test_of_an_accepted_loss_only_what_is_left_is_named(folder: Folder) -> None:
    """Files that are gone are left out, and those that were altered marked."""
    (folder.path / "images").mkdir()
    for name, data in (("whole", b"abc"), ("altered", b"ab")):
        (folder.path / f"images/{name}.png").write_bytes(data)
    images = [
        Image(path=f"images/{name}.png", mime="image/png", width=1, height=1, size_bytes=3, sha256="0" * 64)
        for name in ("whole", "gone", "altered")
    ]
    job = folder.jobs[3]
    folder.ledger.write(folder.make.tried(job), folder.make.done(job, images=images))
    folder.write()
    assert [len(line["images"]) for line in folder.lines()] == [1, 0, 0, 3]
    folder.ledger.write({"t": "resolve", "job": job.id, "spec": job.spec_hash(), "att": 1, "decided": "accepted"})
    folder.write()

    line = folder.lines()[-1]
    assert line["accepted"] is True
    named = [(each["path"], each.get("altered")) for each in line["images"]]
    assert named == [("images/whole.png", None), ("images/altered.png", True)]


def test_a_file_with_other_rows_is_made_again(folder: Folder) -> None:
    """The table's cells may change where no job does."""
    folder.write()
    assert not folder.published.is_current(folder.order, folder.history, "other")


def test_a_file_longer_than_what_is_written_at_once_is_whole(folder: Folder) -> None:
    """A batch has millions of lines."""
    jobs = [folder.make.job(f"job-{number}") for number in range(7)]
    captions = [str(number) * 100_000 for number in range(7)]
    for job, caption in zip(jobs, captions, strict=True):
        folder.ledger.write(folder.make.tried(job), folder.make.done(job, images=[IMAGE], caption=caption))

    made = folder.published.write(b"".join(job.key() for job in jobs), folder.history)

    assert [line["caption"] for line in folder.lines()] == captions
    assert made.bytes == (folder.path / "manifest.jsonl").stat().st_size


def test_the_file_is_for_others_to_read(folder: Folder) -> None:
    """While it is written and when it is whole, as the umask allows."""
    folder.published.append(folder.history.of(folder.jobs[0].key()))
    assert (folder.path / "manifest.jsonl").stat().st_mode & 0o777 == PUBLIC_MODE
    folder.write()
    assert (folder.path / "manifest.jsonl").stat().st_mode & 0o777 == PUBLIC_MODE


def test_a_file_that_cannot_be_written_is_named(folder: Folder) -> None:
    """P22, with what was being done."""
    (folder.path / "manifest.jsonl").mkdir()
    with pytest.raises(StorageError, match=r"^cannot write manifest\.jsonl: "):
        folder.published.append(folder.history.of(folder.jobs[0].key()))
    with pytest.raises(StorageError, match=r"^cannot write manifest\.jsonl: "):
        folder.write()
