"""An attempt's way through the store, and what a later run finds of it."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from batch.core.errors import OutcomeUnknown, OutputError, Refused, StorageError, Unusable
from batch.store.folder import output_folder
from batch.store.job_state import State


def records(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "ledger.jsonl").read_bytes().splitlines()]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


async def test_an_attempt_may_be_sent_only_once_its_intent_is_on_disk(open_store: Any, make: Any, out: Path) -> None:
    """W1: the ticket is the permission."""
    store, _ = await open_store()

    attempt = await store.begin(make.job(), why="new")

    (record,) = records(out)
    assert (record["t"], record["why"], record["rid"]) == ("try", "new", attempt.attempt_id)
    assert (attempt.number, attempt.attempt_id) == (1, "run-1.shirt.1")


async def test_a_kept_picture_is_named_recorded_and_leaves_the_spool(open_store: Any, make: Any, out: Path) -> None:
    """W4, W5: the picture first, then the line that speaks of it."""
    store, _ = await open_store()
    attempt = await store.begin(make.job(), why="new")
    _, answer = make.receive(attempt.spool, make.picture())

    done = await store.keep(attempt, answer, make.facts())

    record = records(out)[-1]
    assert (record["t"], record["caption"], record["images"][0]["path"]) == ("done", "so it is", "images/shirt.png")
    assert done.images[0].path == "images/shirt.png"
    assert os.listdir(out / "spool") == ["free.1"]
    assert store.history.of(make.job().key()).state is State.DONE


async def test_a_rejected_answer_is_kept_aside_and_listed(open_store: Any, make: Any, out: Path) -> None:
    """It was paid: somebody may want to look at it."""
    store, _ = await open_store()
    attempt = await store.begin(make.job(), why="new")
    make.receive(attempt.spool, b"no picture")

    await store.reject(attempt, Unusable("bad_image", "damaged"), make.facts(), again=True)

    record = records(out)[-1]
    assert (record["paid"], record["again"]) == ("yes", True)
    assert record["kept"] == ["shirt~1.answer", "shirt~1.0"] == sorted(os.listdir(out / "rejected"), reverse=True)
    assert os.listdir(out / "spool") == []


async def test_an_answer_of_a_ledger_that_was_moved_away_is_kept_too(open_store: Any, make: Any, out: Path) -> None:
    """Both were paid for; the new one has the name that its ledger speaks of."""
    store, _ = await open_store()
    (out / "rejected/shirt~1.0").write_bytes(b"older")
    attempt = await store.begin(make.job(), why="new")
    make.receive(attempt.spool, b"no picture")

    await store.reject(attempt, Unusable("bad_image", "damaged"), make.facts(), again=True)

    assert (out / "rejected/shirt~1.0~x2").read_bytes() == b"older"
    assert (out / "rejected/shirt~1.0").read_bytes() == b"no picture"


async def test_an_error_without_an_answer_keeps_nothing(open_store: Any, make: Any, out: Path) -> None:
    """Thousands of refusals must not become thousands of files."""
    store, _ = await open_store()
    attempt = await store.begin(make.job(), why="new")

    await store.reject(attempt, Refused("http_400", "malformed"), make.facts(), again=False)

    assert (records(out)[-1]["kept"], os.listdir(out / "rejected")) == ([], [])


async def test_an_unknown_attempt_drops_what_had_arrived(open_store: Any, make: Any, out: Path) -> None:
    """Half an answer is of no use to anybody."""
    store, _ = await open_store()
    attempt = await store.begin(make.job(), why="new")
    writer = attempt.spool.new_blob()
    writer.write(b"half")
    writer.close()

    await store.unknown(attempt, OutcomeUnknown("cut", "cut"), make.facts())

    assert (records(out)[-1]["t"], os.listdir(out / "spool")) == ("unk", ["free.1"])
    assert (records(out)[-1]["kept"], os.listdir(out / "rejected")) == ([], [])


@pytest.mark.parametrize("end", ["reject", "unknown"])
async def test_an_answer_that_cannot_be_kept_ends_the_run_and_stays_in_the_spool(
    open_store: Any, make: Any, out: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """P22: no line says that it was kept, and the next run finds it."""
    store, stack = await open_store()
    attempt = await store.begin(make.job(), why="new")
    received, _ = make.receive(attempt.spool, b"no picture")

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", broken)
        with pytest.raises(StorageError, match=r"^cannot keep an unusable answer: Input/output error"):
            await (
                store.unknown(attempt, OutcomeUnknown("cut", "cut"), make.facts())
                if end == "unknown"
                else store.reject(attempt, Unusable("text_only", "words"), make.facts(), again=False)
            )
    await stack.aclose()

    assert [record["t"] for record in records(out)] == ["try"]
    later, _ = await open_store()
    assert [found for _, found in later.open_attempts()] == [received]


async def test_an_answer_that_outlived_its_run_is_found_by_the_next(open_store: Any, make: Any, out: Path) -> None:
    """P4: with the job as it was asked, and the answer as it came."""
    store, stack = await open_store()
    attempt = await store.begin(make.job(), why="new")
    received, _ = make.receive(attempt.spool, make.picture())
    await store.begin(make.job("lost"), why="new")
    await stack.aclose()

    later, _ = await open_store()

    found = {attempt.job.id: (attempt, answer) for attempt, answer in later.open_attempts()}
    assert found["shirt"][1] == received
    assert found["shirt"][0].job.spec_hash() == make.job().spec_hash()
    assert found["shirt"][0].attempt_id == attempt.attempt_id
    assert found["lost"][1] is None


async def test_a_picture_named_before_the_crash_keeps_its_name(
    open_store: Any, make: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P10: no second copy beside the first."""
    store, stack = await open_store()
    attempt = await store.begin(make.job(), why="new")
    _, answer = make.receive(attempt.spool, make.picture())

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "disk")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fdatasync", broken)
        with pytest.raises(StorageError):
            await store.keep(attempt, answer, make.facts())
    await stack.aclose()

    later, _ = await open_store()
    ((attempt, _),) = later.open_attempts()
    await later.keep(attempt, answer, make.facts())

    assert os.listdir(out / "images") == ["shirt.png"]


async def test_cancelling_a_keep_loses_nothing(open_store: Any, make: Any, out: Path) -> None:
    """A second Ctrl-C in the worst moment: the answer stays in the spool, or the line is written."""
    store, stack = await open_store()
    attempt = await store.begin(make.job(), why="new")
    _, answer = make.receive(attempt.spool, make.picture())
    keeping = asyncio.create_task(store.keep(attempt, answer, make.facts()))
    await asyncio.sleep(0)
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping
    await stack.aclose()

    later, _ = await open_store()

    ((_, received),) = later.open_attempts()
    assert received is not None


async def test_many_attempts_at_once_share_syncs_and_all_arrive(open_store: Any, make: Any, out: Path) -> None:
    """The threads and the loop do not trip over each other."""
    store, _ = await open_store()

    async def buy(number: int) -> None:
        attempt = await store.begin(make.job(f"job-{number}"), why="new")
        _, answer = make.receive(attempt.spool, make.picture(size=(16, 16)))
        await store.keep(attempt, answer, make.facts())

    await asyncio.gather(*(buy(number) for number in range(60)))

    assert len(os.listdir(out / "images")) == 60
    assert sorted(record["n"] for record in records(out)) == list(range(1, 121))


async def test_attempts_are_counted_over_the_jobs_life(open_store: Any, make: Any, out: Path) -> None:
    """Over runs, and over edits of the job."""
    for prompt in ("one", "two"):
        store, stack = await open_store()
        attempt = await store.begin(make.job(prompt=prompt), why="new")
        await store.unknown(attempt, OutcomeUnknown("cut", "cut"), make.facts(attempt.number))
        await stack.aclose()

    assert [record["att"] for record in records(out)] == [1, 1, 2, 2]


async def test_leftovers_of_dead_runs_are_swept(open_store: Any, make: Any, out: Path) -> None:
    """F30: but not those of attempts that are still open."""
    store, _ = await open_store()
    attempt = await store.begin(make.job(), why="new")
    make.receive(attempt.spool, b"x")
    (out / "spool/other~1.0").write_bytes(b"")

    assert store.sweep_spool() == 1
    assert sorted(os.listdir(out / "spool")) == ["shirt~1.0", "shirt~1.answer"]


async def test_a_stray_file_with_a_new_jobs_name_is_found_before_sending(make: Any, out: Path) -> None:
    """P14: the plan asks; what the ledger knows is ours."""
    (out / "images").mkdir(parents=True)
    (out / "images/shirt.webp").write_bytes(b"")

    with output_folder(out) as folder:
        assert folder.name_in_the_way(make.job()) == "images/shirt.webp"
        assert folder.name_in_the_way(make.job("hat")) is None


@pytest.mark.parametrize("name", ["images", "spool", "rejected"])
async def test_a_link_in_place_of_a_folder_is_refused(open_store: Any, out: Path, tmp_path: Path, name: str) -> None:
    """P23: nothing outside the output folder is written."""
    os.mkdir(out)
    os.mkdir(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", out / name)

    with pytest.raises(OutputError, match="is a link"):
        await open_store()


async def test_permissions_keep_prompts_private_and_pictures_public(open_store: Any, make: Any, out: Path) -> None:
    """The ledger and raw answers are the user's own; pictures follow the umask."""
    store, _ = await open_store()
    attempt = await store.begin(make.job(), why="new")
    _, answer = make.receive(attempt.spool, make.picture())
    await store.keep(attempt, answer, make.facts())

    from batch.store.durable import PUBLIC_MODE

    modes = {name: (out / name).stat().st_mode & 0o777 for name in ("ledger.jsonl", "spool", "rejected")}
    assert modes == {"ledger.jsonl": 0o600, "spool": 0o700, "rejected": 0o700}
    assert (out / "images/shirt.png").stat().st_mode & 0o777 == PUBLIC_MODE


async def test_no_descriptor_and_no_thread_outlives_the_store(open_store: Any, make: Any) -> None:
    """A program may open thousands of stores."""
    import threading

    _, stack = await open_store()
    await stack.aclose()
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()

    for _ in range(5):
        store, stack = await open_store()
        attempt = await store.begin(make.job(), why="new")
        _, answer = make.receive(attempt.spool, make.picture())
        done = await store.keep(attempt, answer, make.facts(attempt.number))
        store.published.append(store.history.of(done.job.key()))
        await stack.aclose()

    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == (files, threads)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE])
async def test_an_answer_is_kept_where_no_file_can_be_made_any_more(
    tmp_path: Path, open_store: Any, make: Any, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """P4: its files were made before it was asked for; what cannot get its name waits in the spool for the next run."""
    store, stack = await open_store()
    tickets = [await store.begin(make.job(name), why="new") for name in ("shirt", "mug")]
    real = os.open

    def no_new_file(path: str, flags: int, *args: int) -> int:
        if flags & os.O_CREAT:
            raise OSError(number, os.strerror(number))
        return real(path, flags, *args)

    def no_new_name(*args: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", no_new_file)
        patch.setattr(os, "link", no_new_name)
        received, answer = make.receive(tickets[0].spool, make.picture())
        with pytest.raises(StorageError):
            await store.keep(tickets[0], answer, make.facts())
        refused, _ = make.receive(tickets[1].spool, b"words")
        with pytest.raises(StorageError):
            await store.reject(tickets[1], Unusable("text_only", "no picture", retries=1), make.facts(), again=False)
        with pytest.raises(StorageError):
            await store.begin(make.job("boat"), why="new")
    await stack.aclose()

    again, _ = await open_store()
    assert [found for _, found in again.open_attempts()] == [received, refused]
