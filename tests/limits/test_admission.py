"""The admission: slots, gate, every quota at once, and whose turn it is."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.core.clock import DayStart, DayStartProblem
from batch.core.errors import EndpointDown, RateLimited
from batch.core.events import Waiting
from batch.core.settings import Limits
from batch.core.usage import Usage
from batch.dispatch.turnstile import Turnstile
from batch.limits.admission import AdmissionController
from batch.limits.gate import Reservation
from batch.limits.quota_store import FileQuotaStore, MemoryQuotaStore, QuotaState, QuotaStore, quotas_folder
from batch.limits.quotas import PER_MINUTE, Need, need_of
from batch.limits.rate_pacer import Found
from batch.limits.wait import Wait
from tests.support.fakes import FakeClock, Recorder, job, reference


class Heard(Recorder):
    """Also remembers what was waited for."""

    def waiting(self, waiting: Waiting) -> None:
        self.events.append(("waiting", waiting.by, waiting.most))


class Crowd:
    """Requests that are over as soon as they are let out, each with a name; notes who came through and when."""

    def __init__(
        self,
        per_minute: int | None = None,
        quota_store: QuotaStore | None = None,
        clock: FakeClock | None = None,
        **limits: Any,
    ) -> None:
        self.clock = clock or FakeClock()
        self.heard = Heard()
        self.limits = Limits(**{"concurrency": 1000, "requests_per_minute": per_minute, "adaptive": False, **limits})
        self.admission = AdmissionController(self.limits, self.clock, self.heard, quota_store)
        self.line = Turnstile(self.clock, self.heard)
        self.passed: list[tuple[int, float]] = []
        self.taken: list[Need] = []

    async def come(self, name: int, after_seconds: float = 0.0, need: Need | None = None) -> None:
        if after_seconds:
            await self.clock.sleep(after_seconds)
        out = await self.acquire(name, need)
        self.passed.append((name, self.clock.monotonic() - 1000.0))
        self.taken.append(out.need)
        self.release(out)

    async def acquire(self, name: int, need: Need | None = None) -> Reservation:
        return await self.line.wait_for(name, lambda: self.admission.take(need or Need(), "m"))

    def release(self, out: Reservation, *ended: Any, **found: Any) -> None:
        self.admission.release(out, *ended, **found)
        self.line.changed()

    def pause_for(self, seconds: float, *, told: bool = True) -> None:
        self.admission.pause_for(seconds, "slow down", told=told)

    @property
    def names(self) -> list[int]:
        return [name for name, _ in self.passed]

    @property
    def times(self) -> list[float]:
        return [at for _, at in self.passed]


@settings(deadline=None, max_examples=60)
@given(
    per_minute=st.integers(1, 9),
    arrivals=st.lists(st.floats(0, 300, allow_nan=False), min_size=1, max_size=60),
    closings=st.lists(st.tuples(st.floats(0, 200), st.floats(0, 90)), max_size=3),
)
def test_no_minute_sees_more_than_the_limit(
    per_minute: int, arrivals: list[float], closings: list[tuple[float, float]]
) -> None:
    """However requests arrive and the gate closes, any 60 seconds hold at most the limit, and nobody is forgotten."""

    async def scenario() -> list[float]:
        crowd = Crowd(per_minute)

        async def close(after_seconds: float, seconds: float) -> None:
            await crowd.clock.sleep(after_seconds)
            crowd.pause_for(seconds)

        await asyncio.gather(
            *(crowd.come(n, at) for n, at in enumerate(arrivals)), *(close(*closing) for closing in closings)
        )
        return crowd.times

    times = asyncio.run(scenario())
    assert len(times) == len(arrivals)
    for first, last in zip(times, times[per_minute:], strict=False):
        assert last - first >= 60.0


async def test_the_limit_is_used_up() -> None:
    """A limit of 30 lets out about 30 a minute, not fewer."""
    crowd = Crowd(30)
    await asyncio.gather(*(crowd.come(n) for n in range(300)))
    assert crowd.times[-1] == pytest.approx(9 * 60, abs=9)


@pytest.mark.parametrize(
    ("limits", "times"),
    [
        ({"requests_per_second": 2.0}, [0.0, 0.505, 1.01, 1.515]),
        ({"requests_per_second": 2.0, "burst": 3}, [0.0, 0.0, 0.0, 0.5]),
        ({"requests_per_minute": 120, "adaptive": True}, [0.0, 0.0, 0.0, 0.0, 0.5, 1.0]),
        ({"requests_per_minute": 120, "burst": 2}, [0.0, 0.0, 0.5, 1.0]),
        ({"requests_per_minute": 60, "requests_per_second": 9.0, "burst": 2}, [0.0, 0.0, 1.0, 2.0]),
        ({"requests_per_minute": 120}, [0.0] * 6),
    ],
    ids=["evenly", "burst", "a minute's", "a minute's with burst", "the slower", "not adaptive"],
)
async def test_requests_leave_evenly(limits: dict[str, Any], times: list[float]) -> None:
    """So many a second, and a burst of them at once; a rate per minute is spaced, too, unless nothing is adaptive."""
    crowd = Crowd(None, **limits)
    await asyncio.gather(*(crowd.come(n) for n in range(len(times))))
    assert crowd.times == pytest.approx(times)


async def test_what_was_not_sent_may_be_sent_at_once_later() -> None:
    """After a pause the burst is there again, and no more than that."""
    crowd = Crowd(None, requests_per_second=1.0, burst=2)
    await asyncio.gather(*(crowd.come(n, 10.0 if n > 1 else 0.0) for n in range(5)))
    assert crowd.times == pytest.approx([0.0, 0.0, 10.0, 10.0, 11.0])


async def test_two_runs_share_the_spacing(tmp_path: Path) -> None:
    """What one has just sent the other waits for."""
    first, second = (Crowd(None, shared(tmp_path), requests_per_second=1.0, burst=2) for _ in range(2))
    await first.come(0)
    await second.come(1)
    refused = second.admission.take(Need(), "m")
    assert isinstance(refused, Wait)
    assert (refused.seconds, refused.waiting) == (1.0, Waiting(by="requests_per_second", most=1))


async def test_without_a_limit_nobody_waits() -> None:
    """None is no limit."""
    crowd = Crowd(None)
    await asyncio.gather(*(crowd.come(n) for n in range(1000)))
    assert set(crowd.times) == {0.0}


@pytest.mark.parametrize("per_minute", [None, 1, 3])
async def test_first_come_first_served(per_minute: int | None) -> None:
    """Nobody overtakes, whether the gate or the rate holds them back."""
    crowd = Crowd(per_minute)
    crowd.pause_for(20)
    await asyncio.gather(*(crowd.come(n) for n in range(9)))
    assert crowd.names == list(range(9))


@pytest.mark.parametrize("steps", range(12))
async def test_a_cancelled_waiter_takes_nothing(steps: int) -> None:
    """Whenever a waiter is cancelled, the others get through as if it had never come, or it had already passed."""
    crowd = Crowd(1)
    await crowd.come(0)
    waiting = asyncio.create_task(crowd.come(1))
    others = [asyncio.create_task(crowd.come(n)) for n in (2, 3)]
    for _ in range(steps):
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(*others)
    await asyncio.gather(waiting, return_exceptions=True)
    assert [name for name in crowd.names if name != 1] == [0, 2, 3]
    places = len(crowd.names)
    assert crowd.times[-1] == pytest.approx((places - 1) * 60.5)


async def test_a_closed_gate_holds_everybody() -> None:
    """One closing keeps back those who wait and those who come later."""
    crowd = Crowd(None)
    crowd.pause_for(30)
    await asyncio.gather(*(crowd.come(n, after_seconds=n) for n in range(5)))
    assert set(crowd.times) == {30.0}
    assert crowd.heard.named("gate") == [("gate", 30)]


@pytest.mark.parametrize(("second", "opens_at", "times_told"), [(50.0, 60.0, 2), (5.0, 30.0, 1), (20.0, 30.0, 1)])
async def test_the_longest_closing_counts(second: float, opens_at: float, times_told: int) -> None:
    """A longer delay keeps the gate closed longer, also for those already waiting; a shorter one changes nothing."""
    crowd = Crowd(None)
    crowd.pause_for(30)
    waiting = asyncio.create_task(crowd.come(0))
    await crowd.clock.sleep(10)
    crowd.pause_for(second)
    await waiting
    assert crowd.times == [opens_at]
    assert len(crowd.heard.named("gate")) == times_told


async def test_who_waits_for_the_rate_also_minds_the_gate() -> None:
    """A request that waited for its minute does not leave through a gate that closed meanwhile."""
    crowd = Crowd(1)
    await crowd.come(0)
    waiting = asyncio.create_task(crowd.come(1))
    await crowd.clock.sleep(50)
    crowd.pause_for(100)
    await waiting
    assert crowd.times == [0.0, 150.0]


# ---- several quotas -------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(
    most=st.fixed_dictionaries(
        {
            "requests_per_minute": st.integers(1, 9),
            "tokens_per_minute": st.integers(50, 900),
            "images_per_minute": st.integers(1, 9),
        }
    ),
    wanted=st.lists(st.tuples(st.floats(0, 200), st.integers(1, 500)), min_size=1, max_size=40),
)
def test_no_quota_is_passed_in_any_minute(most: dict[str, Any], wanted: list[tuple[float, int]]) -> None:
    """However they arrive, any 60 seconds hold at most each quota's number; what is larger than a quota goes alone."""

    async def scenario() -> Crowd:
        crowd = Crowd(None, **most)
        coming = enumerate(wanted)
        await asyncio.gather(*(crowd.come(n, after, Need(tokens=tokens)) for n, (after, tokens) in coming))
        return crowd

    crowd = asyncio.run(scenario())
    assert len(crowd.passed) == len(wanted)
    for name, what in PER_MINUTE.items():
        amounts = [min(need.amounts[what], most[name]) for need in crowd.taken]
        for at in crowd.times:
            inside = [amount for amount, when in zip(amounts, crowd.times, strict=True) if at - 60 < when <= at]
            assert sum(inside) <= most[name]


async def test_who_waits_for_one_quota_takes_nothing_of_another() -> None:
    """A request too large for the tokens that are left uses up no request of the minute while it waits."""
    crowd = Crowd(2, tokens_per_minute=100)
    await crowd.come(0, need=Need(tokens=60))
    waiting = asyncio.create_task(crowd.come(1, need=Need(tokens=60)))
    await crowd.clock.sleep(5)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await crowd.come(2, need=Need(tokens=40))
    assert crowd.times == [0.0, 5.0]


async def test_pictures_are_counted_apart_from_requests() -> None:
    """One request may ask for several: both quotas of pictures count them, and those of requests do not."""
    crowd = Crowd(2, images_per_minute=3)
    await crowd.come(0, need=Need(images=2))
    refused = crowd.admission.take(Need(images=2), "m")
    assert isinstance(refused, Wait)
    assert refused.waiting == Waiting(by="images_per_minute", most=3)
    await crowd.come(1, need=Need(images=1))
    crowd = Crowd(None, images_per_day=3)
    await crowd.come(0, need=Need(images=2))
    with pytest.raises(EndpointDown, match="images_per_day is used up: 3 a day"):
        crowd.admission.take(Need(images=2), "m")
    await crowd.come(1, need=Need(images=1))
    assert crowd.names == [0, 1]


async def test_tokens_are_corrected_by_what_was_counted() -> None:
    """What the provider counts replaces the estimate, so that a cautious one does not cost speed for long."""
    crowd = Crowd(None, tokens_per_minute=1000)
    out = await crowd.acquire(0, Need(tokens=900))
    crowd.release(out, usage=Usage(total=300))
    await crowd.come(1, need=Need(tokens=700))
    assert crowd.times == [0.0]
    crowd.release(await crowd.acquire(2, Need(tokens=1)), usage=Usage())


def test_what_a_request_is_estimated_to_take(tmp_path: Path) -> None:
    """Its prompt, 1,120 tokens per reference, and the picture by its size."""
    assert need_of(job(prompt="a" * 300, image_size="4K")) == Need(requests=1, tokens=100 + 2520, images=1)
    assert need_of(job(prompt="杯" * 10)).tokens == 10 + 1120
    sizes = {size: need_of(job(prompt="", image_size=size)).tokens for size in ("512", "1K", "2K", "4K", "16K")}
    assert sizes == {"512": 747, "1K": 1120, "2K": 1680, "4K": 2520, "16K": 2520}
    two = (reference(tmp_path, b"1"), reference(tmp_path, b"2", name="s"))
    assert need_of(job(prompt="", references=two)).tokens == 3 * 1120


async def test_a_job_that_was_refused_keeps_its_place() -> None:
    """It goes before those that came after it, although they have waited in the line meanwhile."""
    crowd = Crowd(1)
    await crowd.come(5)
    others = [asyncio.create_task(crowd.come(n)) for n in (7, 8)]
    await asyncio.sleep(0)
    await asyncio.gather(crowd.come(6), *others)
    assert crowd.names == [5, 6, 7, 8]


async def test_refused_again_and_again_the_gate_stays_closed_longer() -> None:
    """Whatever short delay is named: a probe per gate, at growing distances, until one is answered."""
    crowd = Crowd(None)
    times = []
    for number in range(11):
        out = await crowd.acquire(number)
        times.append(out.at)
        refused = RateLimited("r", "", wait_seconds=0.1)
        crowd.release(out, refused)
        crowd.pause_for(0.1)
    assert [round(later - earlier, 1) for earlier, later in pairwise(times)] == [
        *(0.1, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0),
        *(60.0, 60.0),  # by now every quota of a minute is new
    ]
    others = asyncio.gather(*(crowd.come(n) for n in range(20, 24)))
    await others
    assert len(set(crowd.times)) == 1  # answered at once, so nobody had to feel the way any longer


@pytest.mark.parametrize(("told", "served", "first"), [(False, True, 1.0), (False, False, 9.0), (True, True, 9.0)])
async def test_a_refusal_among_requests_that_are_served(told: bool, served: bool, first: float) -> None:
    """If nobody named a delay, the gate closes for a second; refused again, longer each time."""
    crowd = Crowd(None, adaptive=True)
    if served:
        await crowd.come(0)
    times = []
    for number in range(6):
        out = await crowd.acquire(number)
        times.append(out.at)
        crowd.release(out, RateLimited("r", "", wait_seconds=9.0 if told else None))
        crowd.pause_for(9.0, told=told)
    gaps = [round(later - earlier, 1) for earlier, later in pairwise(times)]
    assert gaps == ([1.0, 1.0, 2.0, 4.0, 8.0] if first == 1.0 else [9.0] * 5)


async def test_what_is_waited_for_is_told_when_it_changes() -> None:
    """Slots, quota, gate and nothing; not once per request."""
    crowd = Crowd(3, concurrency=2)
    held = [await crowd.acquire(n) for n in range(2)]
    waiting = [asyncio.create_task(crowd.come(n)) for n in (2, 3, 4)]
    await crowd.clock.sleep(1)
    for out in held:
        crowd.release(out)
    await crowd.clock.sleep(5)
    crowd.pause_for(70)
    await asyncio.gather(*waiting)
    words = [(by, most) for _, by, most in crowd.heard.named("waiting")]
    assert words == [("concurrency", 2), ("requests_per_minute", 3), ("gate", 0), ("", 0)]


# ---- the day ---------------------------------------------------------------------------------------------------

PACIFIC = DayStart.read("00:00 America/Los_Angeles")


@pytest.mark.parametrize(
    ("now", "began", "next_begins"),
    [
        ("2026-01-31T12:00", "2026-01-31T08:00", "2026-02-01T08:00"),
        ("2026-01-31T07:59", "2026-01-30T08:00", "2026-01-31T08:00"),
        ("2026-01-31T08:00", "2026-01-31T08:00", "2026-02-01T08:00"),
        ("2026-03-08T09:00", "2026-03-08T08:00", "2026-03-09T07:00"),  # 23 hours: summer time begins
        ("2026-11-02T07:30", "2026-11-01T07:00", "2026-11-02T08:00"),  # 25 hours: it ends
    ],
)
def test_a_day_begins_at_midnight_pacific(now: str, began: str, next_begins: str) -> None:
    """Winter or summer, in UTC."""
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert PACIFIC.began(moment).strftime("%Y-%m-%dT%H:%M") == began
    assert PACIFIC.next(moment).strftime("%Y-%m-%dT%H:%M") == next_begins


@pytest.mark.parametrize("text", ["", "00:00", "24:00 UTC", "7:30 UTC", "07:30 Mars/Olympus", "07:30 ../../etc/passwd"])
def test_what_is_no_beginning_of_a_day(text: str) -> None:
    """A time and a zone this machine knows, and no path."""
    with pytest.raises(DayStartProblem):
        DayStart.read(text)


async def test_a_day_that_is_used_up_says_when_the_next_begins() -> None:
    """The run stops with 75 and the time at which a start makes sense; nothing is taken."""
    crowd = Crowd(None, requests_per_day=2)
    await crowd.come(0)
    await crowd.come(1)
    with pytest.raises(EndpointDown, match="requests_per_day is used up: 2 a day") as stopped:
        await crowd.come(2)
    assert (stopped.value.exit_code, stopped.value.not_before) == (75, "2026-02-01T08:00:00Z")
    await crowd.clock.sleep(24 * 3600)
    await crowd.come(3)
    assert crowd.names == [0, 1, 3]


async def test_a_wall_clock_put_back_begins_no_day_again() -> None:
    """What was taken today stays taken when the clock jumps to yesterday."""
    crowd = Crowd(None, requests_per_day=1)
    await crowd.come(0)
    today = crowd.clock.now
    crowd.clock.now = lambda: today().replace(day=30)  # type: ignore[method-assign]
    with pytest.raises(EndpointDown):
        await crowd.come(1)


# ---- shared by several runs ------------------------------------------------------------------------------------


def shared(folder: Path, said: list[str] | None = None, boot_id: str | None = None) -> FileQuotaStore:
    say = (said if said is not None else []).append
    return FileQuotaStore(folder / "quotas", "key.quota", FakeClock(), say, boot_id=boot_id)


async def test_two_runs_share_minute_day_and_what_was_found(tmp_path: Path) -> None:
    """What one takes the other cannot, and what one found the next begins with; the file is for its owner only."""
    tallies = [shared(tmp_path), shared(tmp_path)]
    first, second = (Crowd(3, quota_store, requests_per_day=4) for quota_store in tallies)
    for number in range(2):
        await first.come(number)
    await second.come(2)
    refused = second.admission.take(Need(), "m")
    assert isinstance(refused, Wait)
    assert refused.seconds == pytest.approx(60.5)
    assert (refused.waiting, refused.is_fixed) == (Waiting(by="requests_per_minute", most=3), True)
    with tallies[0].transaction() as state:
        assert state is not None
        state.found["m"], state.changed = (Found(120.0, 0.01), 9.0), True
    with tallies[1].transaction() as state:
        assert state is not None
        assert state.found == {"m": (Found(120.0, 0.01), 9.0)}
    second.clock.time += 70
    await second.come(3)
    with pytest.raises(EndpointDown):
        await second.come(4)
    mode = stat.S_IMODE((tmp_path / "quotas/key.quota").stat().st_mode)
    assert (mode, stat.S_IMODE((tmp_path / "quotas").stat().st_mode)) == (0o600, 0o700)


class HeldUp(MemoryQuotaStore):
    """The process that asks is held up before it has the lock, as on a busy machine; `meanwhile` happens then."""

    def __init__(self, state: QuotaState, meanwhile: Callable[[], object]) -> None:
        super().__init__(state)
        self._meanwhile = meanwhile

    @contextmanager
    def transaction(self) -> Iterator[QuotaState | None]:
        self._meanwhile()
        with super().transaction() as state:
            yield state


def test_what_others_took_until_we_had_the_lock_counts() -> None:
    """A run that is held up for seconds between asking and the lock drops none of what others took by then."""
    clock, state, limits = FakeClock(), QuotaState(), Limits(concurrency=99, requests_per_minute=10, adaptive=False)
    other = AdmissionController(limits, clock, Recorder(), MemoryQuotaStore(state))

    def take_all() -> None:
        clock.time += 3.0
        while isinstance(other.take(Need(), "m"), Reservation):
            pass

    held_up = AdmissionController(limits, clock, Recorder(), HeldUp(state, take_all))
    found = held_up.take(Need(), "m")
    assert isinstance(found, Wait)
    assert found.seconds > 59
    assert sum(taken[0] for taken in state.counts.parts.values()) == 10


async def test_the_two_copies_stand_where_every_version_looks_for_them(tmp_path: Path) -> None:
    """At the file's beginning and at 16 KiB: runs of two versions may share it."""
    crowd = Crowd(9, shared(tmp_path))
    await crowd.come(0)
    await crowd.come(1)
    data = (tmp_path / "quotas/key.quota").read_bytes()
    heads = [data[at:].split(b" ")[:2] for at in (0, 16_384)]
    assert [(len(checksum), number) for checksum, number in heads] == [(8, b"0"), (8, b"1")]


def test_the_paces_of_fifty_models_are_remembered(tmp_path: Path) -> None:
    """The last fifty that were found: the file has room for no more."""
    found = {f"model-{number}": (Found(60.0 + number, 0.0125), 1_769_862_063.0) for number in range(51)}
    with shared(tmp_path).transaction() as state:
        assert state is not None
        state.found.update(found)
        state.changed = True
    with shared(tmp_path).transaction() as state:
        assert state is not None
        assert state.found == dict(list(found.items())[-50:])


async def test_a_restart_of_the_machine_empties_the_minutes_alone(tmp_path: Path) -> None:
    """The clock begins anew, so what it counted means nothing; days and what was found stay."""
    before = Crowd(1, shared(tmp_path), requests_per_day=2)
    await before.come(0)
    quota_store = shared(tmp_path, boot_id="another")
    after = Crowd(1, quota_store, requests_per_day=2)
    await after.come(1)
    assert after.times == [0.0]
    with pytest.raises(EndpointDown):
        await after.come(2)


@pytest.mark.parametrize("damage", [b"", b"garbage", b"00000000 9 2 {}\n", b"\xff" * 40_000])
async def test_a_damaged_file_is_begun_anew(tmp_path: Path, damage: bytes) -> None:
    """It is nobody's only copy of anything that cost money; the run goes on."""
    (tmp_path / "quotas").mkdir()
    (tmp_path / "quotas/key.quota").write_bytes(damage)
    said: list[str] = []
    crowd = Crowd(1, shared(tmp_path, said))
    await crowd.come(0)
    assert isinstance(Crowd(1, shared(tmp_path)).admission.take(Need(), "m"), Wait)
    assert said == []


@pytest.mark.parametrize("torn_at", range(0, 120, 9))
async def test_torn_in_the_middle_of_writing_the_older_copy_counts(tmp_path: Path, torn_at: int) -> None:
    """A run killed while it wrote loses the request it had not sent, and nothing else."""
    crowd = Crowd(9, shared(tmp_path))
    await crowd.come(0)
    file = tmp_path / "quotas/key.quota"
    good = file.read_bytes()
    await crowd.come(1)
    newer = file.read_bytes()
    begin = next(at for at in range(len(newer)) if newer[at] != (good + bytes(len(newer)))[at])
    torn = newer[: begin + torn_at] + (good + bytes(len(newer)))[begin + torn_at : len(newer)]
    file.write_bytes(torn)
    with shared(tmp_path).transaction() as state:
        assert state is not None
        assert sum(taken[0] for taken in state.counts.parts.values()) in (1, 2)


@pytest.mark.parametrize("obstacle", ["file", "link", "full"])
async def test_without_the_file_a_run_counts_by_itself(
    tmp_path: Path, obstacle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message says so once, and the run's own quotas hold."""
    said: list[str] = []
    if obstacle == "file":
        (tmp_path / "quotas").write_text("in the way")
    elif obstacle == "link":
        (tmp_path / "quotas").mkdir()
        (tmp_path / "quotas/key.quota").symlink_to(tmp_path / "elsewhere")
    crowd = Crowd(1, shared(tmp_path, said))
    if obstacle == "full":
        monkeypatch.setattr(os, "pwrite", _full)
    await asyncio.gather(*(crowd.come(n) for n in range(3)))
    assert crowd.times == pytest.approx([0.0, 60.5, 121.0], abs=0.5)
    assert len(said) == 1
    assert "cannot be used" in said[0]
    assert "this run counts by itself" in said[0]
    assert not (tmp_path / "elsewhere").exists()


def _full(*args: object) -> int:
    raise OSError(28, "No space left on device")


async def test_a_request_waits_for_counts_that_are_held_and_takes_of_them(tmp_path: Path) -> None:
    """A suspended process keeps its lock, and what it counted may be all there is: nothing goes out beside it."""
    said: list[str] = []
    clock = FakeClock()
    crowd = Crowd(1, FileQuotaStore(tmp_path / "quotas", "key.quota", clock, said.append), clock)
    other = shared(tmp_path)
    await Crowd(1, other).come(0)
    with other.transaction():
        coming = asyncio.ensure_future(crowd.come(1))
        await clock.sleep(5)
        assert not coming.done()
        assert said == [f"waiting: the quotas' file {tmp_path / 'quotas/key.quota'} is locked by another process"]
    await coming
    assert crowd.times == pytest.approx([60.5], abs=0.6)


async def test_counts_that_stay_held_end_the_run_for_a_later_one(tmp_path: Path) -> None:
    """After a minute, with exit 75; not one request has gone out."""
    clock = FakeClock()
    crowd = Crowd(1, FileQuotaStore(tmp_path / "quotas", "key.quota", clock, lambda _: None), clock)
    with shared(tmp_path).transaction(), pytest.raises(EndpointDown, match="locked by another process") as stopped:
        await crowd.come(0)
    assert (stopped.value.code, stopped.value.exit_code) == ("quotas_held", 75)
    assert (crowd.passed, 1060 <= clock.time < 1062) == ([], True)


def test_tokens_that_an_answer_names_while_the_counts_are_held_are_counted_later(tmp_path: Path) -> None:
    """The estimate was too low: what went out beside it must not be forgotten."""
    quota_store = shared(tmp_path)
    admission = AdmissionController(Limits(tokens_per_minute=10_000), FakeClock(), Recorder(), quota_store)
    out = admission.take(Need(tokens=1_000), "m")
    assert isinstance(out, Reservation)
    with shared(tmp_path).transaction():
        admission.release(out, None, Usage(total=9_000))
    refused = admission.take(Need(tokens=2_000), "m")
    assert isinstance(refused, Wait)
    assert refused.waiting == Waiting(by="tokens_per_minute", most=10_000)


def test_the_shared_folder_and_the_files_name_in_it_are_made_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day's count must outlive a power cut that comes after it was written out; the name is synced once."""
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}")))
    for _ in range(2):
        with shared(tmp_path).transaction() as state:
            assert state is not None
    assert synced == [str(tmp_path), str(tmp_path / "quotas")]


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"XDG_STATE_HOME": "/var/s"}, "/var/s/imagebatch/quotas"),
        ({"XDG_STATE_HOME": "s"}, "~/.local/state/imagebatch/quotas"),
        ({}, "~/.local/state/imagebatch/quotas"),
    ],
)
def test_where_it_is_kept(environment: dict[str, str], folder: str) -> None:
    """As the XDG specification has it."""
    assert quotas_folder(environment) == Path(folder).expanduser()
