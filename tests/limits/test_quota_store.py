"""The file of counts that runs share: what it keeps, what it passes over, and whom it waits for."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import pytest

from batch.limits.live_pace import LivePace
from batch.limits.quota_store import FileQuotaStore, QuotaState
from batch.limits.rate_pacer import Found
from tests.support.fakes import FakeClock

DAY_START = "00:00 America/Los_Angeles"


def quota_store(folder: Path, clock: FakeClock | None = None, said: list[str] | None = None) -> FileQuotaStore:
    say = (said if said is not None else []).append
    return FileQuotaStore(folder / "quotas", "key.quota", clock or FakeClock(), say, boot_id="this")


def kept(store: FileQuotaStore) -> QuotaState:
    with store.transaction() as state:
        assert state is not None
        return state


def written(folder: Path, held: object) -> None:
    """The file as a run would have left it that held this."""
    text = json.dumps(held).encode("ascii")
    (folder / "quotas").mkdir()
    (folder / "quotas/key.quota").write_bytes(b"%08x 7 %d " % (zlib.crc32(text), len(text)) + text + b"\n")


def test_the_next_run_begins_with_all_that_was_kept(tmp_path: Path) -> None:
    """Counts, the even spacing, days, when a picture came last, and what was found, to a tenth a minute."""
    with quota_store(tmp_path).transaction() as state:
        assert state is not None
        state.counts.parts.update({4000: [1, 2, 3], 4001: [4, 5, 6]})
        state.counts.spaced_at = 1000.25
        state.counts.days[DAY_START] = ["2026-01-31T08:00:00+00:00", 7, 8, 9]
        state.served_at = 1_769_862_063.4
        state.found["m"] = Found(61.26, 0.01236), 1_769_862_064.0
        state.changed = True

    state = kept(quota_store(tmp_path))

    assert (state.counts.parts, state.counts.spaced_at) == ({4000: [1, 2, 3], 4001: [4, 5, 6]}, 1000.25)
    assert state.counts.days == {DAY_START: ["2026-01-31T08:00:00+00:00", 7, 8, 9]}
    assert state.served_at == 1_769_862_063.0
    assert state.found == {"m": (Found(61.3, 0.0124), 1_769_862_064.0)}


def live_pace(*, ceiling: float | None = 300.0, next_at: float = 1000.2, tried_seconds: float = 41.5) -> LivePace:
    return LivePace(
        ceiling=ceiling,
        is_guess=False,
        counts=True,
        in_trial=False,
        share=0.03,
        tried_seconds=tried_seconds,
        decided_at=958.123456789,
        next_at=next_at,
        sent=700,
    )


def test_the_pace_of_runs_that_are_on_is_shared_to_the_last_digit(tmp_path: Path) -> None:
    """Which decision is the newest is told by its time; a minute after its last turn a run is over."""
    store = quota_store(tmp_path)
    with store.transaction() as state:
        assert state is not None
        state.live.update({"m": live_pace(), "free": live_pace(ceiling=None), "over": live_pace(next_at=939.9)})
        state.changed = True

    assert kept(quota_store(tmp_path)).live == {"m": live_pace(), "free": live_pace(ceiling=None)}


def test_a_pace_that_was_tried_for_days_is_taken_for_an_hour(tmp_path: Path) -> None:
    """It doubles in some seconds, and no number is as large as it would be."""
    written(tmp_path, {"boot": "this", "live": {"m": live_pace(tried_seconds=1e9).row()}})
    assert kept(quota_store(tmp_path)).live == {"m": live_pace(tried_seconds=3600.0)}


@pytest.mark.parametrize(
    "held",
    [
        {"parts": 5, "days": [], "paces": 3, "spaced_at": "soon", "served_at": "never"},
        {"parts": [5, [1, 2, 3], [1, 2, 3, "4"], [-1, 1, 1, 1], [1, 1, 1, 1, 1]]},
        {"days": {"noon somewhere": ["2026", 1, 1, 1], DAY_START: ["2026", 1, 1]}},
        {"days": {DAY_START: [2026, 1, 1, 1]}, "paces": {"m": [60.0, 0.01]}},
        {"days": {DAY_START: ["2026", "1", 1, 1]}, "paces": {"m": [60.0, "0.01", 9.0]}},
        {"live": {"few": [300.0], "none": None, "words": ["300", False, True, False, 0.03, 1.0, 2.0, 3.0, 4]}},
        {"live": {"m": [float("nan"), False, True, False, 0.03, 1.0, 2.0, 3.0, 4]}},
        {"live": {"m": [10**400, False, True, False, 0.03, 1.0, 2.0, 3.0, 4]}},
        {"live": {"m": [300.0, False, True, False, 1.0, 1.0, 2.0, 3.0, 4]}},
        {"live": {"m": [300.0, False, True, False, 0.03, -1.0, 2.0, 3.0, 4]}},
        {"paces": {"slow": [0.9, 0.01, 9.0], "none": [60.0, 0.0, 9.0], "all": [60.0, 1.0, 9.0]}},
        [],
    ],
)
def test_what_makes_no_sense_is_passed_over(tmp_path: Path, held: Any) -> None:
    """The file is a help: a later version, or a hand, may have written anything."""
    written(tmp_path, {"boot": "this", **held} if isinstance(held, dict) else held)
    said: list[str] = []

    assert kept(quota_store(tmp_path, said=said)) == QuotaState()
    assert said == []


def test_the_slowest_pace_that_can_be_found_is_kept(tmp_path: Path) -> None:
    """One request a minute."""
    written(tmp_path, {"boot": "this", "paces": {"m": [1, 0.5, 9]}})
    assert kept(quota_store(tmp_path)).found == {"m": (Found(1.0, 0.5), 9.0)}


def test_a_file_that_is_held_is_said_after_two_seconds_and_given_up_after_a_minute(tmp_path: Path) -> None:
    """Runs with one key meet at it all the time; each wait is timed from its own beginning."""
    clock, said = FakeClock(), list[str]()
    store, other = quota_store(tmp_path, clock, said), quota_store(tmp_path)
    words = f"the quotas' file {tmp_path / 'quotas/key.quota'} is locked by another process"

    def looks(after_seconds: float, most_said: list[str], stuck: str = "") -> None:
        clock.time = began + after_seconds
        with store.transaction() as state:
            assert state is None
        assert (said, store.stuck) == (most_said, stuck)

    for number in range(2):
        began = clock.time
        told = [f"waiting: {words}"] * number
        with other.transaction():
            for seconds in (0.0, 2.0):
                looks(seconds, told)
            for seconds in (2.1, 30.0, 60.0):
                looks(seconds, [*told, f"waiting: {words}"])
            looks(60.1, [*told, f"waiting: {words}"], f"{words}, which does not go on")
        assert kept(store) == QuotaState()
        assert store.stuck == ""


def test_a_file_that_would_grow_too_large_is_left_alone(tmp_path: Path) -> None:
    """Its copies have a fixed place each. The run goes on by itself, and is told what to do."""
    said: list[str] = []
    store = quota_store(tmp_path, said=said)
    with store.transaction() as state:
        assert state is not None
        state.found["m" * 20_000] = Found(60.0, 0.01), 9.0
        state.changed = True

    assert (tmp_path / "quotas/key.quota").read_bytes() == b""
    assert said == [
        f"the quotas' file {tmp_path / 'quotas/key.quota'} cannot be used (it has grown too large; remove it): this "
        "run counts by itself, so two runs with this key at once may take more than the limits together"
    ]
    assert len(kept(store).found) == 1


def test_closing_twice_closes_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A descriptor's number soon belongs to another file."""
    store = quota_store(tmp_path)
    kept(store)
    closed: list[int] = []
    real = os.close

    def noting(descriptor: int) -> None:
        closed.append(descriptor)
        real(descriptor)

    monkeypatch.setattr(os, "close", noting)
    store.close()
    store.close()

    monkeypatch.undo()
    assert len(closed) == 1


def test_an_earlier_versions_file_is_where_a_new_one_begins(tmp_path: Path) -> None:
    """Under its former name, until there is one under the new."""
    written(tmp_path, {"boot": "this", "served_at": 9.0, "parts": [[4000, 1, 2, 3]]})
    said: list[str] = []

    def begun() -> FileQuotaStore:
        clock = FakeClock()
        return FileQuotaStore(
            tmp_path / "quotas", "new.quota", clock, said.append, former_name="key.quota", boot_id="this"
        )

    with begun().transaction() as state:
        assert state is not None
        assert (state.served_at, state.counts.parts) == (9.0, {4000: [1, 2, 3]})
        state.served_at, state.changed = 10.0, True
    assert kept(begun()).served_at == 10.0
    assert kept(quota_store(tmp_path)).served_at == 9.0
    assert said == []
