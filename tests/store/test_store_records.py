"""Lines that the store writes without a request: decisions, shared failures, kept answers, pictures taken over."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import platform
import shutil
import socket
import threading
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from batch.core.clock import SystemClock
from batch.core.errors import OutcomeUnknown, OutputError, StorageError, Unusable
from batch.core.lane import Lane
from batch.core.model import Terms
from batch.core.results import Decided
from batch.providers.base import Answer, Picture, Received
from batch.store.folder import look_into, machine, output_folder
from batch.store.job_state import State
from batch.store.ledger_reader import open_ledger
from batch.store.picture_check import BadPicture
from batch.store.records import EndRecord, RunRecord, TryRecord
from batch.store.source_folder import SourceFolder
from batch.store.store import Store

TERMS = Terms(endpoint="here", model="another", lane=Lane.FLEX)


def records(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "ledger.jsonl").read_bytes().splitlines()]


def typed(output: Path) -> list[Any]:
    return list(open_ledger(output).records())


def published(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "manifest.jsonl").read_bytes().splitlines()]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


async def bought(store: Store, make: Any, name: str = "shirt", *pictures: bytes) -> None:
    attempt = await store.begin(make.job(name), why="new")
    _, answer = make.receive(attempt.spool, *(pictures or (make.picture(),)))
    await store.keep(attempt, answer, make.facts())


async def rejected(store: Store, make: Any, *, usd: float = 0.045, kept: bool = True) -> TryRecord:
    """An attempt whose kept answer holds two pictures, after a parser found none; returns its `try` record."""
    attempt = await store.begin(make.job(), why="new", terms=TERMS)
    if kept:
        make.receive(attempt.spool, make.picture(color="red"), make.picture())
    await store.reject(attempt, Unusable("text_only", "words"), make.facts(usd=usd), again=False)
    tried = typed(store.output)[-2]
    assert isinstance(tried, TryRecord)
    return tried


def interpreted(received: Received) -> Answer:
    """What today's parser makes of a kept answer: its pictures, a caption and a warning."""
    pictures = tuple(Picture(blob=blob) for blob in received.blobs)
    return Answer(pictures=pictures, caption="so it is", warnings=("odd: odd",))


async def test_a_note_says_when_and_of_which_run(open_store: Any, out: Path) -> None:
    """The lines that tell one run from the next."""
    store, _ = await open_store()
    await store.note(RunRecord(manifest="shop.yaml"))
    (record,) = records(out)
    assert (record["t"], record["run"], record["manifest"]) == ("run", "run-1", "shop.yaml")
    assert SystemClock().now().isoformat()[:10] == record["at"][:10]


@pytest.mark.parametrize(
    ("decided", "usd", "told"),
    [(Decided.PAID, 0.123457, ["shirt"]), (Decided.UNPAID, 0.0, []), (Decided.FAILED, 0.0, ["shirt"])],
)
async def test_a_decision_on_an_unknown_outcome_is_written_with_its_money(
    open_store: Any, make: Any, out: Path, decided: Decided, usd: float, told: list[str]
) -> None:
    """What was open is spent or free, to the millionth of a dollar; manifest.jsonl says so unless the job is new."""
    store, _ = await open_store()
    attempt = await store.begin(make.job(), why="new")
    await store.unknown(attempt, OutcomeUnknown("cut", "cut"), make.facts())

    await store.resolve("shirt", decided, maybe_usd=0.12345678, note="in the log")

    record = records(out)[-1]
    assert (record["t"], record["job"], record["att"], record["decided"]) == ("resolve", "shirt", 1, str(decided))
    assert (record["usd"], record["maybe_usd"], record["note"]) == (usd, 0.123457, "in the log")
    assert (record["run"], record["at"][:10]) == ("run-1", SystemClock().now().isoformat()[:10])
    assert [line["id"] for line in published(out)] == told


@pytest.mark.parametrize("again", [True, False])
async def test_a_job_shares_the_failure_of_the_one_it_is_equal_to(
    open_store: Any, make: Any, out: Path, again: bool
) -> None:
    """At no cost, under its own name and attempts, and as final as the other one's."""
    store, _ = await open_store()
    attempt = await store.begin(make.job(), why="new")
    await store.reject(attempt, Unusable("text_only", "words"), make.facts(), again=again)

    await store.share_failure(make.job("hat"), store.history.of(make.job().key()))

    record = records(out)[-1]
    assert (record["t"], record["job"], record["of"], record["att"]) == ("copy", "hat", "shirt", 0)
    assert (record["usd"], record["code"], record["again"], record["run"]) == (0.0, "text_only", again, "run-1")
    assert record["at"][:10] == SystemClock().now().isoformat()[:10]


async def test_a_kept_answer_is_found_with_its_attempt(open_store: Any, make: Any) -> None:
    """As the attempt was sent; its new files have names of their own."""
    store, _ = await open_store()
    tried = await rejected(store, make)

    attempt, received = store.rejected_answer(tried)

    assert received is not None
    assert len(received.blobs) == 2
    assert (attempt.job.id, attempt.number, attempt.terms, attempt.attempt_id) == ("shirt", 1, TERMS, "run-1.shirt.1")
    assert os.path.basename(attempt.spool.new_blob().file) == "shirt~reread~1.0"
    attempt.spool.discard()


async def test_a_kept_answer_that_is_gone_is_none(open_store: Any, make: Any) -> None:
    """Only its line is left."""
    store, _ = await open_store()
    _, received = store.rejected_answer(await rejected(store, make, kept=False))
    assert received is None


async def test_pictures_of_a_kept_answer_become_the_jobs_and_the_answer_stays(
    open_store: Any, make: Any, out: Path
) -> None:
    """Copies are named; the line has the money that was not counted yet, and what was is not counted twice."""
    store, _ = await open_store()
    tried = await rejected(store, make)
    failed = typed(out)[-1]
    kept = {path.name: path.read_bytes() for path in (out / "rejected").iterdir()}
    attempt, received = store.rejected_answer(tried)
    assert received is not None
    answer = interpreted(received)

    done = await store.keep_reread(attempt, answer, failed, usd=0.25, maybe_usd=0.0625)

    record = records(out)[-1]
    assert (record["t"], record["job"], record["att"], record["was"]) == ("reread", "shirt", 1, "text_only")
    assert (record["usd"], record["maybe_usd"], record["counted_usd"]) == (0.25, 0.0625, 0.045)
    assert (record["run"], record["caption"], record["warnings"]) == ("run-1", "so it is", ["odd: odd"])
    assert record["at"][:10] == SystemClock().now().isoformat()[:10]
    assert [image["path"] for image in record["images"]] == ["images/shirt~1.png", "images/shirt.png"]
    assert (out / "images/shirt.png").read_bytes() == kept["shirt~1.1"]
    assert {path.name: path.read_bytes() for path in (out / "rejected").iterdir()} == kept
    assert not (out / "images/shirt.png").samefile(out / "rejected/shirt~1.1")
    assert (out / "rejected/shirt~1.1").stat().st_mode & 0o777 == 0o600
    assert not [name for name in os.listdir(out / "spool") if name.startswith("shirt")]
    assert (done.job.id, done.attempt.number, done.attempt.cost_usd, done.caption) == ("shirt", 1, 0.25, "so it is")
    assert (done.images[-1].path, done.warnings) == ("images/shirt.png", ("odd: odd",))
    assert store.history.of(make.job().key()).state is State.DONE
    assert published(out)[-1]["id"] == "shirt"


async def test_a_picture_inside_a_kept_answer_becomes_the_jobs(open_store: Any, make: Any, out: Path) -> None:
    """A short one stands in the answer itself, not in a file beside it."""
    store, _ = await open_store()
    attempt, _ = store.rejected_answer(await rejected(store, make))
    answer = Answer(pictures=(Picture(data=make.picture()),))
    await store.keep_reread(attempt, answer, typed(out)[-1], usd=0.0, maybe_usd=0.0)
    assert (out / "images/shirt.png").read_bytes() == make.picture()


async def test_a_kept_picture_that_is_gone_by_now_is_a_storage_error(open_store: Any, make: Any, out: Path) -> None:
    """Somebody has removed it since the answer was read; nothing is recorded."""
    store, _ = await open_store()
    attempt, received = store.rejected_answer(await rejected(store, make))
    assert received is not None
    (out / "rejected/shirt~1.1").unlink()
    before = records(out)
    with pytest.raises(StorageError, match="cannot read a kept answer"):
        await store.keep_reread(attempt, interpreted(received), typed(out)[-1], usd=0.0, maybe_usd=0.0)
    assert records(out) == before
    attempt.spool.discard()


@pytest.mark.parametrize("is_reread", [False, True])
@pytest.mark.parametrize(("colors", "is_alike"), [(("red", "navy"), True), (("navy", "red"), False)])
async def test_the_result_is_compared_with_other_jobs_pictures(
    open_store: Any, make: Any, out: Path, is_reread: bool, colors: tuple[str, str], is_alike: bool
) -> None:
    """The last picture is the result; those that came with it may be alike."""
    store, _ = await open_store()
    attempt = await store.begin(make.job("hat", prompt="a hat"), why="new")
    _, answer = make.receive(attempt.spool, make.picture(color="navy"))
    await store.keep(attempt, answer, make.facts())
    attempt = await store.begin(make.job(), why="new", terms=TERMS)
    received, answer = make.receive(attempt.spool, *(make.picture(color=color) for color in colors))
    if is_reread:
        await store.reject(attempt, Unusable("text_only", "words"), make.facts(), again=False)
        attempt, received = store.rejected_answer(typed(out)[-2])
        answer = replace(interpreted(received), warnings=())
        done = await store.keep_reread(attempt, answer, typed(out)[-1], usd=0.0, maybe_usd=0.0)
    else:
        done = await store.keep(attempt, answer, make.facts())
    assert done.warnings == (("same_as_another: the same bytes as the picture of hat",) if is_alike else ())


@pytest.mark.parametrize(
    ("second", "is_told"),
    [(("cap", "a cap"), True), (("cap", "a hat"), False), (("hat", "a cap"), False)],
    ids=["another job", "the same asked for", "the same job, edited"],
)
async def test_the_same_bytes_are_odd_only_where_something_else_was_asked_for(
    open_store: Any, make: Any, second: tuple[str, str], is_told: bool
) -> None:
    """Two jobs that ask for the same may get the same, and a job may get its own picture again."""
    store, _ = await open_store()
    for name, prompt in (("hat", "a hat"), second):
        attempt = await store.begin(make.job(name, prompt=prompt), why="new")
        _, answer = make.receive(attempt.spool, make.picture())
        done = await store.keep(attempt, answer, make.facts())
    assert done.warnings == (("same_as_another: the same bytes as the picture of hat",) if is_told else ())


class Reads(SystemClock):
    """Says when it was asked for the time so many times."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.all_read = asyncio.Event()

    def now(self) -> datetime:
        self.left -= 1
        if not self.left:
            self.all_read.set()
        return super().now()


@pytest.mark.parametrize(("prompt", "told"), [("a cap", ["hat", "cap"]), ("a hat", [])])
async def test_pictures_that_are_stored_at_once_are_compared_as_well(
    make: Any, out: Path, monkeypatch: pytest.MonkeyPatch, prompt: str, told: list[str]
) -> None:
    """One whose line is not written yet counts: here no line is written before both are made."""
    clock, both_made, real = Reads(4), threading.Event(), os.fdatasync

    def held(descriptor: int) -> None:
        both_made.wait(20)
        real(descriptor)

    with output_folder(out) as folder:
        async with folder.open("run-1", clock) as store:
            attempts = [
                await store.begin(make.job(name, prompt=text), why="new")
                for name, text in (("hat", "a hat"), ("cap", prompt))
            ]
            answers = [make.receive(attempt.spool, make.picture())[1] for attempt in attempts]
            monkeypatch.setattr(os, "fdatasync", held)
            pairs = zip(attempts, answers, strict=True)
            keeping = [asyncio.create_task(store.keep(*pair, make.facts())) for pair in pairs]
            await clock.all_read.wait()
            both_made.set()
            done = await asyncio.gather(*keeping)

    found = [text for each in done for text in each.warnings]
    assert len(found) == bool(told)
    assert {f"same_as_another: the same bytes as the picture of {name}" for name in told}.issuperset(found)


@pytest.mark.parametrize(
    ("endpoint", "check_content", "is_told"),
    [("anyfast", True, True), ("anyfast", False, False), ("simulator", True, False)],
)
async def test_a_blank_picture_is_told_of_where_it_was_bought(
    open_store: Any, make: Any, out: Path, endpoint: str, check_content: bool, is_told: bool
) -> None:
    """Unless that is switched off. What the simulator draws may be flat; manifest.jsonl says that it drew it."""
    store, _ = await open_store(check_content=check_content)
    await store.note(RunRecord(endpoint=endpoint))
    attempt = await store.begin(make.job(), why="new")
    flat = io.BytesIO()
    PIL.Image.new("RGB", (512, 512), "navy").save(flat, "PNG")
    _, answer = make.receive(attempt.spool, flat.getvalue())

    done = await store.keep(attempt, answer, make.facts())
    store.published.append(store.history.of(make.job().key()))

    assert done.warnings == (("blank: one colour, or nearly",) if is_told else ())
    assert published(out)[-1]["simulated"] is (endpoint == "simulator")


async def test_every_pixel_is_looked_at_where_that_is_asked_for(open_store: Any, make: Any) -> None:
    """Damage that the structure does not show."""
    out = io.BytesIO()
    PIL.Image.effect_noise((128, 128), 90).convert("RGB").save(out, "WEBP", quality=90)
    data = bytearray(out.getvalue())
    data[30:60] = b"\xa5" * 30
    for decode in (True, False):
        store, stack = await open_store(decode=decode)
        attempt = await store.begin(make.job(), why="new")
        _, answer = make.receive(attempt.spool, bytes(data))
        if decode:
            with pytest.raises(Unusable, match="cannot be decoded"):
                await store.keep(attempt, answer, make.facts())
        else:
            await store.keep(attempt, answer, make.facts())
        await stack.aclose()


async def test_a_line_of_manifest_jsonl_that_cannot_be_written_is_told_at_the_end(
    open_store: Any, make: Any, out: Path
) -> None:
    """The decision is in the ledger and stands; the others are taken all the same."""
    store, stack = await open_store()
    for name in ("hat", "cap"):
        attempt = await store.begin(make.job(name), why="new")
        await store.unknown(attempt, OutcomeUnknown("cut", "cut"), make.facts())
    (out / "manifest.jsonl").mkdir()

    for name in ("hat", "cap"):
        await store.resolve(name, Decided.FAILED, maybe_usd=0.045, note="")

    with pytest.raises(StorageError, match=r"^cannot write manifest\.jsonl: .* is a folder"):
        await stack.aclose()
    assert [record["job"] for record in records(out) if record["t"] == "resolve"] == ["hat", "cap"]


async def test_what_a_rehearsal_takes_from_another_folder_is_not_known_to_be_bought(
    open_store: Any, make: Any, out: Path, tmp_path: Path
) -> None:
    """A later run must not take its picture for one that was paid for."""
    store, _ = await open_store()
    await store.note(RunRecord(endpoint="simulator"))
    await bought(store, make)
    found = store.bought_by(make.job().key())
    shutil.copytree(out / "images", tmp_path / "images")
    await store.adopt(make.job("cap"), replace(found, folder=tmp_path), why="reused")
    assert records(out)[-1]["from"] == {"job": "shirt", "run": "run-1", "output": str(tmp_path)}


async def test_a_picture_is_found_by_its_row_and_by_its_job(open_store: Any, make: Any, out: Path) -> None:
    """With all that its line says, also from another folder that is only read."""
    store, stack = await open_store()
    await bought(store, make)
    found = store.bought_by(make.job().key())
    assert (found.folder, found.job_id, found.run, found.caption, found.warnings) == (
        *(out, "shirt", "run-1", "so it is"),
        (),
    )
    assert [image.path for image in found.images] == ["images/shirt.png"]
    assert store.bought(0) == found
    await stack.aclose()
    assert SourceFolder(out).bought(0) == found


def test_a_folder_without_a_ledger_is_none_to_take_from(tmp_path: Path) -> None:
    """It may be a typing error."""
    with pytest.raises(OutputError, match=r"holds no ledger: no run has begun there"):
        SourceFolder(tmp_path)


async def test_a_picture_taken_over_says_from_whom_and_what_it_saved(
    open_store: Any, make: Any, out: Path, tmp_path: Path
) -> None:
    """From this folder and from another one; it costs nothing."""
    store, _ = await open_store()
    await bought(store, make)
    found = store.bought_by(make.job().key())
    await store.adopt(make.job("hat"), found, why="same", saved_usd=0.1234567)
    os.rename(out / "images", tmp_path / "images")
    os.mkdir(out / "images")
    await store.adopt(make.job("cap"), replace(found, folder=tmp_path), why="reused")

    here, there = records(out)[-2:]
    assert (here["t"], here["job"], here["why"], here["usd"], here["saved_usd"]) == (
        *("adopt", "hat", "same", 0.0),
        0.123457,
    )
    assert (here["run"], here["at"][:10]) == ("run-1", SystemClock().now().isoformat()[:10])
    assert (here["from"], here["att"], here["caption"]) == ({"job": "shirt", "run": "run-1"}, 0, "so it is")
    assert (there["from"], there["why"], there["saved_usd"]) == (
        {"job": "shirt", "run": "run-1", "output": str(tmp_path), "bought": True},
        "reused",
        0.0,
    )
    assert (out / "images/cap.png").read_bytes() == (tmp_path / "images/shirt.png").read_bytes()


async def test_a_picture_of_another_folder_is_checked_by_its_content(
    open_store: Any, make: Any, out: Path, tmp_path: Path
) -> None:
    """Nobody knows what has happened there; in this one its length is enough."""
    store, _ = await open_store()
    await bought(store, make)
    found = store.bought_by(make.job().key())
    (tmp_path / "images").mkdir()
    for folder in (out, tmp_path):
        (folder / "images/shirt.png").unlink(missing_ok=True)
        (folder / "images/shirt.png").write_bytes(b"x" * found.images[0].size_bytes)
    with pytest.raises(BadPicture, match="is not the picture that was bought"):
        await store.adopt(make.job("cap"), replace(found, folder=tmp_path), why="reused")
    await store.adopt(make.job("hat"), found, why="same")
    assert [record["job"] for record in records(out) if record["t"] == "adopt"] == ["hat"]


async def test_a_picture_of_ours_is_in_nobodys_way(open_store: Any, make: Any, out: Path) -> None:
    """What the ledger knows is told apart by its content when the time comes."""
    store, stack = await open_store()
    await bought(store, make)
    await stack.aclose()
    with output_folder(out) as folder:
        assert folder.name_in_the_way(make.job()) is None
        (out / "images/hat.png").write_bytes(b"")
        assert folder.name_in_the_way(make.job("hat")) == "images/hat.png"


async def test_a_spool_that_cannot_be_cleaned_ends_the_run(
    open_store: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P22: with what was being done."""
    store, _ = await open_store()
    (out / "spool/other~1.0").write_bytes(b"")

    def refuse(path: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        with pytest.raises(StorageError, match="cannot clean the spool: Input/output error"):
            store.sweep_spool()


async def test_how_the_last_run_ended_is_known_only_if_it_did(open_store: Any, out: Path) -> None:
    """A run that was killed has no end, whatever those before it had."""

    def last_end() -> Any:
        with output_folder(out) as folder:
            return folder.last_end()

    begun = (RunRecord(),)
    for notes, exit_code in (
        ((), None),
        (begun, None),
        ((EndRecord(exit=3),), 3),
        (begun, None),
        ((EndRecord(exit=4),), 4),
    ):
        store, stack = await open_store()
        for note in notes:
            await store.note(note)
        await stack.aclose()
        end = last_end()
        assert (end.exit if end is not None else None) == exit_code


async def test_looking_into_a_folder_takes_no_lock(open_store: Any, make: Any, out: Path) -> None:
    """While a run is on there."""
    store, _ = await open_store()
    await bought(store, make)
    with look_into(out) as reading:
        assert reading.history().of(make.job().key()).state is State.DONE
    (out.parent / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="is a file; name a folder"):
        look_into(out.parent / "file")


def test_where_a_run_takes_place_is_written_down() -> None:
    """For a person who compares logs."""
    assert machine() == {"host": socket.gethostname(), "pid": os.getpid(), "python": platform.python_version()}
