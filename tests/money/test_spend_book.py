"""The spend book and what a ledger says of a killed run's money: every cent at its run, its day and once."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batch.core.errors import OutputError, StorageError
from batch.money.book import BookHeld, Share
from batch.money.spend_book import SpendBook, Spent, spent_by_run_and_day
from batch.store.ledger import encode_line

TODAY, TOMORROW = "2026-01-30", "2026-01-31"
SHARE = Share(run="killed", day=TODAY, tag="", output="/o", micro_usd=300_000, is_open=True)
OPEN_MICRO_USD = 90_000


def line(kind: str, attempt: int = 1, *, run: str = "killed", day: str = TODAY, **more: Any) -> dict[str, Any]:
    at = f"{day}T12:00:00.000Z"
    return {"t": kind, "run": run, "at": at, "job": "cup", "att": attempt, **more}


def spent(folder: Path, *lines: dict[str, Any]) -> Spent:
    ledger = folder / "ledger.jsonl"
    ledger.write_bytes(b"".join(encode_line(each) for each in ({"t": "run", "run": "killed", "at": ""}, *lines)))
    return spent_by_run_and_day(folder, lambda _: OPEN_MICRO_USD, frozenset(["killed"]))


def put(book: SpendBook, *shares: Share) -> None:
    with book.locked() as (_, writer):
        for share in shares:
            writer.put(share)


@pytest.mark.parametrize("kind", ["done", "fail", "unk"])
def test_every_kind_of_end_has_its_price(kind: str, tmp_path: Path) -> None:
    """A picture, a charged failure, and an unknown outcome: what the ledger says it cost, counts."""
    found = spent(tmp_path, line("try"), line(kind, usd=0.045))
    assert dict(found.micro_usd) == {("killed", TODAY): 45_000}
    assert found.still_open == frozenset()


def test_an_attempt_without_an_end_counts_for_the_most_it_can_cost(tmp_path: Path) -> None:
    """And keeps its day open, to be looked at again."""
    found = spent(tmp_path, line("try"), line("try", 2, day=TOMORROW), line("done", usd=0.02))
    assert dict(found.micro_usd) == {("killed", TODAY): 20_000, ("killed", TOMORROW): OPEN_MICRO_USD}
    assert found.still_open == {("killed", TOMORROW)}


def test_money_belongs_to_the_run_and_day_that_sent_the_request(tmp_path: Path) -> None:
    """A later run that settles it the next morning does not take it over."""
    found = spent(tmp_path, line("try"), line("unk", run="later", day=TOMORROW, usd=0.09))
    assert dict(found.micro_usd) == {("killed", TODAY): 90_000}


def test_several_attempts_at_one_job_count_each(tmp_path: Path) -> None:
    """A repeat is a request of its own, and may be out while the first has ended."""
    found = spent(tmp_path, line("try"), line("fail", usd=0.01), line("try", 2), line("done", 2, usd=0.02))
    assert dict(found.micro_usd) == {("killed", TODAY): 30_000}
    found = spent(tmp_path, line("try"), line("try", 2), line("done", 2, usd=0.02))
    assert dict(found.micro_usd) == {("killed", TODAY): 20_000 + OPEN_MICRO_USD}


def test_other_runs_in_the_ledger_are_not_asked_about(tmp_path: Path) -> None:
    """Their money is in shares of their own."""
    found = spent(tmp_path, {"t": "run", "run": "other", "at": ""}, line("try", run="other"), line("done", usd=1.0))
    assert found.known == {"killed"}
    assert not found.micro_usd


@pytest.mark.parametrize(
    ("failed_usd", "reread_usd", "micro_usd"),
    [(0.0, [0.045], 45_000), (0.045, [0.0], 45_000), (0.0, [0.045] * 2, 45_000)],
)
def test_a_picture_found_later_in_a_kept_answer_is_paid_once(
    failed_usd: float, reread_usd: list[float], micro_usd: int, tmp_path: Path
) -> None:
    """What was counted as free costs its price from then on; what was charged already is not charged again."""
    rereads = [line("reread", run="later", day=TOMORROW, usd=usd) for usd in reread_usd]
    found = spent(tmp_path, line("try"), line("fail", usd=failed_usd, kept=["cup~1.answer"]), *rereads)
    assert dict(found.micro_usd) == {("killed", TODAY): micro_usd}


def test_a_charged_answer_that_is_read_again_counts_as_it_did(tmp_path: Path) -> None:
    """Whatever price the line of `reread` repeats."""
    found = spent(tmp_path, line("try"), line("fail", usd=0.045, kept=["cup~1.answer"]), line("reread", usd=0.045))
    assert dict(found.micro_usd) == {("killed", TODAY): 45_000}


def test_a_picture_found_later_is_added_to_what_else_its_day_cost(tmp_path: Path) -> None:
    """It takes nothing's place, and every dollar is a million millionths."""
    rejected = [line("fail", attempt, kept=[f"cup~{attempt}.answer"]) for attempt in (2, 3)]
    rereads = [line("reread", attempt, run="later", day=TOMORROW, usd=1.5) for attempt in (2, 3)]
    found = spent(
        tmp_path, *(line("try", attempt) for attempt in (1, 2, 3)), line("done", usd=12.0), *rejected, *rereads
    )
    assert dict(found.micro_usd) == {("killed", TODAY): 15_000_000}


def test_a_run_is_known_by_its_first_line_only(tmp_path: Path) -> None:
    """A ledger of another folder's that holds an attempt of it says nothing of the rest of its money."""
    (tmp_path / "ledger.jsonl").write_bytes(encode_line(line("try")) + encode_line(line("done", usd=0.01)))
    found = spent_by_run_and_day(tmp_path, lambda _: OPEN_MICRO_USD, frozenset(["killed"]))
    assert found.known == frozenset()


def test_the_last_word_on_a_run_and_day_counts(tmp_path: Path) -> None:
    """More or less, in this process and in the next."""
    book = SpendBook(tmp_path / "book")
    for micro_usd in (300_000, 500_000, 100_000):
        put(book, replace(SHARE, micro_usd=micro_usd))
        assert book.look().total() == SpendBook(tmp_path / "book").look().total() == micro_usd


def test_what_a_folder_left_open_is_that_of_its_own_killed_runs(tmp_path: Path) -> None:
    """Not the share of the run that asks, of another folder or of a run that ended."""
    book = SpendBook(tmp_path / "book")
    others = replace(SHARE, run="me"), replace(SHARE, run="x", output="/else"), replace(SHARE, run="y", is_open=False)
    put(book, SHARE, *others)
    assert book.look().left_open("/o", but="me") == [SHARE]


def test_two_never_hold_a_book_at_once(tmp_path: Path) -> None:
    """The second is told at once, and gets it when the first is done."""
    first, second = SpendBook(tmp_path / "book"), SpendBook(tmp_path / "book")
    with first.locked(), pytest.raises(BookHeld, match="locked by another process"), second.locked():
        raise AssertionError
    put(second, SHARE)
    with first.locked() as (shares, _):
        assert list(shares) == [SHARE]


def test_a_book_that_was_moved_away_begins_anew(tmp_path: Path) -> None:
    """A run that goes on writes a whole book, and counts nothing from the old one."""
    path = tmp_path / "book"
    book = SpendBook(path)
    put(book, SHARE, replace(SHARE, run="s"))
    path.rename(tmp_path / "away")
    assert book.look().total() == 0
    put(book, replace(SHARE, run="t"))
    assert SpendBook(path).look().total() == 300_000
    assert book.look().total() == 300_000


def test_a_torn_line_is_cut_off_before_the_next(tmp_path: Path) -> None:
    """What follows it is a line of its own."""
    path = tmp_path / "book"
    put(SpendBook(path), SHARE)
    with open(path, "ab") as file:
        file.write(b'{"run":"s","da')
    put(SpendBook(path), replace(SHARE, run="t"))
    assert [share.run for share in SpendBook(path).look()] == ["killed", "t"]


def test_the_new_book_has_the_last_word_over_the_former(tmp_path: Path) -> None:
    """What was settled under the new name is not undone by the old file."""
    put(SpendBook(tmp_path / "former"), SHARE)
    book = SpendBook(tmp_path / "book", tmp_path / "former")
    put(book, replace(SHARE, micro_usd=50_000, is_open=False))
    assert book.look().total() == 50_000
    with book.locked() as (shares, _):
        assert shares.total() == 50_000


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is made durable, in order: files' data and folders, by name."""
    seen: list[str] = []

    def noting(sync: Callable[[int], None]) -> Callable[[int], None]:
        def noted(descriptor: int) -> None:
            sync(descriptor)
            seen.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))

        return noted

    monkeypatch.setattr(os, "fsync", noting(os.fsync))
    monkeypatch.setattr(os, "fdatasync", noting(os.fdatasync))
    return seen


def test_every_share_is_durable_before_money_is_spent_from_it(syncs: list[str], tmp_path: Path) -> None:
    """The new book's name and each line are on the disk when `put` returns."""
    folder = tmp_path / "spend"
    folder.mkdir()
    book = SpendBook(folder / "book")
    with book.locked() as (_, writer):
        assert syncs[-1] == "spend"
        for number in (1, 2):
            writer.put(replace(SHARE, micro_usd=number))
            assert syncs.count("book") == number


def test_a_share_that_cannot_be_written_is_an_error_and_counts_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P22: no money is spent from a share that is not on the disk."""
    book = SpendBook(tmp_path / "book")
    put(book, SHARE)

    monkeypatch.setattr(os, "fdatasync", disk_full)
    with book.locked() as (shares, writer), pytest.raises(StorageError) as failed:
        writer.put(replace(SHARE, run="t"))

    assert str(failed.value) == "cannot write the spend book: No space left on device"
    assert [share.run for share in shares] == ["killed"]


def test_a_torn_line_that_cannot_be_cut_off_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the next share would be glued to it, and both be lost."""
    put(SpendBook(tmp_path / "book"), SHARE)
    with open(tmp_path / "book", "ab") as file:
        file.write(b'{"run":"s","da')
    monkeypatch.setattr(os, "ftruncate", disk_full)

    with pytest.raises(StorageError) as failed, SpendBook(tmp_path / "book").locked():
        raise AssertionError

    assert str(failed.value) == "cannot read the spend book: No space left on device"


def disk_full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_book_is_not_looked_for_behind_a_link(tmp_path: Path) -> None:
    """Nor written there: it would be another account's money."""
    put(SpendBook(tmp_path / "strangers"), SHARE)
    before = (tmp_path / "strangers").read_bytes()
    (tmp_path / "book").symlink_to("strangers")
    book = SpendBook(tmp_path / "book")

    with pytest.raises(OutputError, match=rf"cannot read the spend book {book.path}: Too many levels of symbolic"):
        book.look()
    with pytest.raises(OutputError, match=rf"cannot use the spend book {book.path}: Too many levels of symbolic"):
        put(book, SHARE)

    assert (tmp_path / "strangers").read_bytes() == before


def test_a_device_in_the_books_place_is_named() -> None:
    """Looking at it hangs nothing and finds no money, and none is written there."""
    book = SpendBook(Path("/dev/null"))
    with pytest.raises(OutputError, match=r"^cannot read the spend book /dev/null: it is no file$"):
        book.look()
    with pytest.raises(OutputError, match=r"^cannot use the spend book /dev/null: it is no file; caps"):
        put(book, SHARE)


def test_the_book_is_private(tmp_path: Path) -> None:
    """What somebody spends is their own business."""
    put(SpendBook(tmp_path / "book"), SHARE)
    assert (tmp_path / "book").stat().st_mode & 0o777 == 0o600


def test_a_folder_in_the_books_place_is_named(tmp_path: Path) -> None:
    """With what to do about it."""
    (tmp_path / "book").mkdir()
    with (
        pytest.raises(OutputError, match="Make it writable, or set XDG_STATE_HOME"),
        SpendBook(tmp_path / "book").locked(),
    ):
        raise AssertionError
