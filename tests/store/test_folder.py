"""An output folder as it is made, and what is read of it without a lock."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from batch.core.clock import SystemClock
from batch.store.folder import last_note, look_into, output_folder
from batch.store.records import EndRecord, RunRecord


async def test_a_new_folder_is_found_again_after_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every folder in which a name was made is synced, from the first that was there already; so is the output's."""
    synced: list[str] = []
    real = os.fsync

    def noting(descriptor: int) -> None:
        real(descriptor)
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", noting)
    out = tmp_path / "shop/spring/out"

    with output_folder(out) as folder:
        async with folder.open("run-1", SystemClock()):
            made = {name: (out / name).stat().st_mode & 0o777 for name in ("images", "rejected", "spool")}

    assert {str(each) for each in (tmp_path, tmp_path / "shop", tmp_path / "shop/spring", out)} <= set(synced)
    assert made == {"images": 0o755 & ~umask(), "rejected": 0o700, "spool": 0o700}


def umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


async def test_what_was_rehearsed_is_seen_unless_only_bought_pictures_count(tmp_path: Path, make: Any) -> None:
    """As `status` looks, and as a run that buys does."""
    with output_folder(tmp_path) as folder:
        async with folder.open("run-1", SystemClock()) as store:
            await store.note(RunRecord(endpoint="simulator"))
            attempt = await store.begin(make.job(), why="new")
            _, answer = make.receive(attempt.spool, make.picture())
            await store.keep(attempt, answer, make.facts())

    for bought_only, jobs in ((None, 1), (False, 1), (True, 0)):
        options = {} if bought_only is None else {"bought_only": bought_only}
        with look_into(tmp_path, **options) as reading:
            assert len(reading.history()) == jobs
        with output_folder(tmp_path, **options) as folder:
            assert len(folder.history) == jobs


async def test_the_first_line_of_a_ledger_is_a_note_like_any_other(tmp_path: Path) -> None:
    """Of a run that was killed before it sent anything; without a line there is none."""
    for notes, kind in (((), type(None)), ((RunRecord(),), RunRecord), ((EndRecord(exit=3),), EndRecord)):
        with output_folder(tmp_path) as folder:
            async with folder.open("run-1", SystemClock()) as store:
                for note in notes:
                    await store.note(note)
        with output_folder(tmp_path) as folder:
            assert type(folder.last_note()) is kind
            assert type(last_note(tmp_path, folder.history)) is kind
