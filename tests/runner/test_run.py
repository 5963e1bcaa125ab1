"""The run as a whole, over real sockets, against the simulator and its billing book."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import batch
from batch.core.errors import BatchError, ConfigError, InputError, LockedError, OutputError
from batch.core.model import Outcome
from batch.core.settings import ChangedPolicy
from batch.runner.control import RunControl
from batch.runner.options import RunOptions
from batch.store.folder import output_folder
from tests.support.bench import KEY, Bench, balance, faults
from tests.support.fakes import Recorder

Make = Callable[..., Any]

# ---- the promises -----------------------------------------------------------------------------------------


async def test_buys_every_picture_once(bench: Bench) -> None:
    """A first run sends one request per job and ends with 0."""
    summary = await bench.run(5)
    assert (summary.exit, summary.reason, summary.done, summary.requests) == (0, "done", 5, 5)
    assert bench.book.billed == 5
    assert summary.cost_usd == pytest.approx(bench.book.usd)
    assert len(bench.pictures()) == 5


async def test_a_finished_batch_sends_nothing(bench: Bench) -> None:
    """P9: again, and no request is sent, no byte of a picture or of manifest.jsonl changes."""
    await bench.run(3)
    before, lines = bench.pictures(), (bench.output / "manifest.jsonl").read_bytes()
    summary = await bench.run(3)
    assert (summary.exit, summary.requests, summary.done) == (0, 0, 3)
    assert bench.book.requests == 3
    assert bench.pictures() == before
    assert (bench.output / "manifest.jsonl").read_bytes() == lines


async def test_a_day_that_is_used_up_ends_the_run_and_the_next_start(bench: Bench, state_home: Path) -> None:
    """Exit 75 with the time of the next day; another manifest with the same key sends nothing before it. What the runs
    share is readable by its owner only and does not hold the key."""
    first = await bench.run(4, limits={"requests_per_day": 3})
    second = await bench.run([{"id": "other", "prompt": "another"}], limits={"requests_per_day": 3})
    for summary in (first, second):
        assert (summary.exit, summary.reason) == (75, "day_used_up")
        assert summary.not_before is not None
        assert summary.not_before.endswith(":00:00Z")
    assert (first.done, first.requests, second.requests, bench.book.requests) == (3, 3, 0, 3)
    [shared] = (state_home / "imagebatch/quotas").iterdir()
    assert re.fullmatch(r"[0-9a-f]{16}\.quota", shared.name)
    assert shared.stat().st_mode & 0o777 == 0o600
    assert b"sk-for-tests" not in shared.read_bytes()


async def test_a_rehearsed_day_that_is_used_up_is_remembered_in_its_folder(bench: Bench, state_home: Path) -> None:
    """The built-in simulator's endpoint remembers as a real one does; another folder has its own."""
    options: dict[str, Any] = {"provider": {"profile": "simulator"}, "limits": {"requests_per_day": 3}}
    first, second = await bench.run(4, **options), await bench.run(4, **options)
    elsewhere = replace(bench, path=bench.path / "elsewhere")
    elsewhere.path.mkdir()
    third = await elsewhere.run(4, **options)
    assert [each.reason for each in (first, second, third)] == ["day_used_up"] * 3
    assert [each.requests for each in (first, second, third)] == [3, 0, 3]
    assert len(list((state_home / "imagebatch/quotas").iterdir())) == 2


async def test_goes_on_after_a_stop(bench: Bench) -> None:
    """Stopped in the middle: what is done stays done, and the next run buys exactly the rest."""
    control = RunControl()

    class StopsAtTwo(Recorder):
        def job_ended(self, outcome: Outcome, in_flight: int) -> None:
            super().job_ended(outcome, in_flight)
            if len(self.named("ended")) == 2:
                control.drain(15, "SIGTERM")

    bench.options = {"control": control, "listener": StopsAtTwo()}
    first = await bench.run(9, limits={"concurrency": 2})
    assert (first.exit, first.reason) == (143, "interrupted")
    assert 2 <= first.done < 9
    bench.options = {}
    second = await bench.run(9)
    assert (second.exit, second.done, second.requests) == (0, 9, 9 - first.done)
    assert bench.book.billed == 9


async def test_stopped_before_it_began(bench: Bench) -> None:
    """A stop during the check of the manifest sends nothing at all."""
    control = RunControl()
    control.drain(2, "SIGINT")
    bench.options = {"control": control}
    summary = await bench.run(3)
    assert (summary.exit, summary.requests, summary.pending) == (130, 0, 3)
    assert bench.book.requests == 0


@pytest.mark.parametrize(
    ("policy", "exit_code", "requests", "files"),
    [(ChangedPolicy.REFUSE, 65, 0, 2), (ChangedPolicy.KEEP, 0, 0, 2), (ChangedPolicy.RERUN, 0, 1, 3)],
)
async def test_edited_after_it_was_bought(
    bench: Bench, policy: ChangedPolicy, exit_code: int, requests: int, files: int
) -> None:
    """P13: an edited job is neither skipped silently nor overwritten; the old picture stays whatever is chosen."""
    await bench.run([{"id": "a", "prompt": "red"}, {"id": "b", "prompt": "green"}])
    before = bench.pictures()
    try:
        exit_now = (
            await bench.run(
                [{"id": "a", "prompt": "blue"}, {"id": "b", "prompt": "green"}], options=RunOptions(on_changed=policy)
            )
        ).exit
    except InputError as error:
        exit_now = error.exit_code
        assert "(a)" in str(error)  # noqa: PT017
    assert exit_now == exit_code
    assert bench.book.requests == 2 + requests
    assert len(bench.pictures()) == files
    assert before.items() <= bench.pictures().items()


async def test_growing_and_shuffled_manifests(bench: Bench) -> None:
    """Jobs are known by id: order does not matter, new ones are bought, removed ones keep their pictures."""
    await bench.run(4)
    jobs = [{"id": f"job-{n}", "prompt": f"cup number {n}"} for n in (5, 3, 1, 4, 0)]
    summary = await bench.run(jobs)
    assert (summary.exit, summary.done, summary.requests) == (0, 5, 2)
    assert [line["id"] for line in bench.lines()] == ["job-5", "job-3", "job-1", "job-4", "job-0"]
    assert len(bench.pictures()) == 6


async def test_a_file_in_the_way(bench: Bench) -> None:
    """P14: a picture that is not ours is found before anything is sent, and left as it is."""
    (bench.output / "images").mkdir(parents=True)
    (bench.output / "images" / "job-1.png").write_text("mine")
    with pytest.raises(OutputError, match="job-1") as caught:
        await bench.run(3)
    assert caught.value.exit_code == 73
    assert (bench.output / "images" / "job-1.png").read_text() == "mine"
    assert bench.book.requests == 0


async def test_a_missing_picture_is_said_and_not_bought_again(bench: Bench) -> None:
    """A bought file that is gone: exit 3, no request."""
    await bench.run(2)
    next((bench.output / "images").glob("job-1.*")).unlink()
    summary = await bench.run(2)
    assert (summary.exit, summary.reason, summary.missing, summary.requests) == (3, "missing_files", 1, 0)


async def test_another_run_in_the_folder(bench: Bench) -> None:
    """P12: the second run sends nothing and names the first."""
    bench.output.mkdir()
    with output_folder(bench.output), pytest.raises(LockedError, match="another run"):
        await bench.run(1)
    assert bench.book.requests == 0


# ---- nothing is sent before everything is checked -----------------------------------------------------------


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize(
    ("jobs", "top", "environment", "error", "exit_code"),
    [
        ([{"id": "a", "prompt": ""}], {}, KEY, InputError, 65),
        ([{"id": "a", "prompt": "x"}, {"id": "A", "prompt": "y"}], {}, KEY, InputError, 65),
        ([{"id": "a", "prompt": "x", "references": ["gone.png"]}], {}, KEY, InputError, 65),
        ([{"id": "{{ id }}", "prompt": "{{ nothing }}"}], {"rows": "rows.csv"}, KEY, InputError, 65),
        ([{"id": "a", "prompt": "x"}], {}, {}, ConfigError, 78),
        ([{"id": "a", "prompt": "x"}], {}, {"ANYFAST_API_KEY": " "}, ConfigError, 78),
    ],
    ids=["empty prompt", "same name", "reference", "template", "no key", "empty key"],
)
async def test_found_before_anything_is_sent(
    bench: Bench, jobs: Any, top: Any, environment: Any, error: type[BatchError], exit_code: int, exists: bool
) -> None:
    """A mistake costs no request and leaves the output folder as it was."""
    (bench.path / "rows.csv").write_text("id,title\nx,y\n")
    if exists:
        bench.output.mkdir()
        (bench.output / "mine.txt").write_text("mine")
    bench.options = {"environment": environment}
    with pytest.raises(error) as caught:
        await bench.run(jobs, **top)
    assert caught.value.exit_code == exit_code
    assert bench.book.requests == 0
    left = sorted(file.name for file in bench.output.iterdir() if not file.name.startswith(".lock")) if exists else []
    assert left == (["mine.txt"] if exists else [])
    assert bench.output.exists() is exists


# ---- one cause stops the run --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bench", "exit_code", "reason"),
    [
        ({"keys": ["another"]}, 77, "bad_key"),
        ({"faults": ["relay_user_quota"]}, 77, "no_credit"),
        ({"faults": ["http_404_retired"]}, 77, "model_missing"),
        ({"faults": ["quota_day"], "flavour": "google"}, 75, "daily_quota"),
        ({"faults": ["redirect"]}, 76, "redirected"),
    ],
    indirect=["bench"],
)
async def test_what_only_a_person_or_time_can_mend(bench: Bench, exit_code: int, reason: str) -> None:
    """The run stops after what was in flight, with the cause as its reason, and the other jobs stay to be done."""
    summary = await bench.run(20, limits={"concurrency": 2})
    assert (summary.exit, summary.reason) == (exit_code, reason)
    assert bench.book.requests <= (4 if reason == "daily_quota" else 2)  # its delay of seconds is tried once
    assert summary.pending + summary.worth_retrying == 20
    assert (summary.not_before is not None) == (reason == "daily_quota")


@faults({"fault": "http_400"})
async def test_every_job_refused_alike_stops_the_run(bench: Bench) -> None:
    """A hundred thousand jobs must not fail for good because of one wrong setting."""
    summary = await bench.run(40, limits={"concurrency": 2})
    assert (summary.exit, summary.reason) == (77, "all_refused")
    assert summary.pending >= 30


# ---- one job's trouble --------------------------------------------------------------------------------------


@faults({"fault": "finish_image_safety", "prompt": "number 1"})
async def test_a_blocked_prompt(bench: Bench) -> None:
    """It fails alone, for good, with its cause; the others are bought; no later run sends it again."""
    summary = await bench.run(3)
    assert (summary.exit, summary.reason, summary.done, summary.failed) == (1, "failed_jobs", 2, 1)
    again = await bench.run(3)
    assert (again.exit, again.requests) == (1, 0)
    error = bench.lines()[1]["error"]
    assert error["code"] == "image_safety"


@faults({"fault": "http_503", "prompt": "number 1"})
async def test_a_job_that_got_no_service(bench: Bench) -> None:
    """It failed for now: cron runs it again, without being told that a person must act."""
    summary = await bench.run(3)
    assert (summary.exit, summary.reason, summary.failed, summary.worth_retrying) == (75, "failed_for_now", 1, 1)
    assert bench.book.billed == 2


@faults({"fault": "close", "times": 1})
async def test_no_answer_is_asked_for_once_more(bench: Bench) -> None:
    """Sent and cut: the job is bought with a second request, and the report says what that may have cost."""
    summary = await bench.run(3)
    assert (summary.exit, summary.done, summary.requests) == (0, 3, 4)
    assert summary.possibly_paid_twice == 1
    assert summary.possibly_paid_twice_usd > 0
    balance(bench)


@faults({"fault": "close", "times": 1})
async def test_no_answer_can_be_held(bench: Bench) -> None:
    """`unknown: hold`: not sent again by this run or the next, and exit 3 until somebody decides."""
    for _ in range(2):
        summary = await bench.run(3, retry={"unknown": "hold"})
        assert (summary.exit, summary.reason, summary.done, summary.unknown) == (3, "unknown_outcome", 2, 1)
    assert bench.book.requests == 3
    balance(bench)


@faults({"fault": "text_only", "share": 0.3}, {"fault": "http_503", "share": 0.2}, {"fault": "close", "share": 0.1})
async def test_the_books_balance(bench: Bench) -> None:
    """P11: after a day of all kinds of trouble, everything charged is accounted for."""
    await bench.run(30)
    await bench.run(30)
    balance(bench)
    tries = [line for line in bench.ledger() if line["t"] == "try"]
    assert len(tries) == bench.book.requests


@faults({"fault": "quota_minute", "requests": [2]}, flavour="google")
async def test_one_429_holds_its_own_job_and_then_all_is_bought(bench: Bench) -> None:
    """One refusal among requests that are served is no closed gate; it is sent again after its delay, no job fails."""
    told = bench.options["listener"] = Recorder()
    summary = await bench.run(6, limits={"concurrency": 2})
    assert (summary.exit, summary.done, summary.requests) == (0, 6, 7)
    assert told.named("gate") == []


async def test_a_bug_is_called_a_bug(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of ours in one job: the others are bought, exit 70, and the next run finishes it without a request."""
    from batch.store.store import Store

    keep = Store.keep

    async def breaks(self: Store, attempt: Any, *rest: Any) -> Any:
        if attempt.job.id == "job-1":
            raise ValueError("bug")
        return await keep(self, attempt, *rest)

    monkeypatch.setattr(Store, "keep", breaks)
    first = await bench.run(3)
    assert (first.exit, first.reason, first.done) == (70, "internal", 2)
    assert "ValueError" in str(first.message)
    monkeypatch.undo()
    second = await bench.run(3)
    assert (second.exit, second.done, second.requests) == (0, 3, 0)
    assert bench.book.billed == 3


# ---- what is written ----------------------------------------------------------------------------------------

FIELDS = [
    "id",
    "status",
    "prompt",
    "references",
    "model",
    "aspect_ratio",
    "image_size",
    "simulated",
    "images",
    "accepted",
    "warnings",
    "caption",
    "error",
    "attempts",
    "cost_usd",
    "finished_at",
]


@faults({"fault": "finish_image_safety", "prompt": "tiger"})
async def test_the_fields_of_a_line(bench: Bench) -> None:
    """manifest.jsonl has exactly the documented fields, in their order, for done and failed alike."""
    await bench.run(
        [{"id": "cup", "prompt": "a cup"}, {"id": "cat", "prompt": "a tiger"}],
        defaults={"image_size": 512, "modalities": ["TEXT", "IMAGE"]},
    )
    done, failed = bench.lines()
    assert list(done) == list(failed) == FIELDS
    assert list(done["images"][0]) == ["path", "mime", "width", "height", "bytes", "sha256"]
    assert list(failed["error"]) == ["code", "message", "http_status"]
    assert (done["status"], done["error"], failed["status"], failed["images"]) == ("done", None, "failed", [])
    assert done["caption"]
    file = bench.output / done["images"][0]["path"]
    assert hashlib.sha256(file.read_bytes()).hexdigest() == done["images"][0]["sha256"]


@pytest.mark.parametrize(
    "prompt",
    [
        "雨后江南小镇的茶馆，水墨画风格",
        "منظر طبيعي عند الغروب",
        "👩‍🚀🚀 on a 🌙",
        'line\nbreak "quotes" \\ / é é',
        "\u202eright to left\u202c",
        "a" * 5000,
    ],
    ids=["chinese", "arabic", "emoji", "escapes", "bidi", "long"],
)
async def test_prompts_in_any_language(bench: Bench, prompt: str) -> None:
    """What the user wrote reaches the provider and manifest.jsonl unchanged, and its caption comes back whole."""
    modalities = {"image_size": 512, "modalities": ["TEXT", "IMAGE"]}
    assert (await bench.run([{"id": "x", "prompt": prompt}], defaults=modalities)).exit == 0
    assert bench.book.entries[0].prompt == prompt
    assert bench.lines()[0]["prompt"] == prompt
    assert prompt.split()[0][:10] in bench.lines()[0]["caption"]


@pytest.mark.parametrize(
    ("ratio", "size", "pixels"),
    [
        ("1:1", 512, (512, 512)),
        ("16:9", "1K", (1376, 768)),
        ("3:4", "1K", (896, 1200)),
        ("9:16", "2K", (1536, 2752)),
        (None, "1K", (1024, 1024)),
    ],
)
async def test_sizes(bench: Bench, ratio: str | None, size: Any, pixels: tuple[int, int]) -> None:
    """The picture has the pixels that were asked for, and manifest.jsonl says so."""
    await bench.run([{"id": "x", "prompt": "a cup", "aspect_ratio": ratio, "image_size": size}])
    image = bench.lines()[0]["images"][0]
    with Image.open(bench.output / image["path"]) as picture:
        assert picture.size == (image["width"], image["height"]) == pixels


@pytest.mark.parametrize(
    ("bench", "ending", "mime"),
    [
        ({"format": "png"}, "png", "image/png"),
        ({"format": "jpeg"}, "jpg", "image/jpeg"),
        ({"format": "png", "faults": ["mime_wrong"]}, "png", "image/png"),
    ],
    indirect=["bench"],
)
async def test_the_bytes_decide_the_format(bench: Bench, ending: str, mime: str) -> None:
    """Name and type follow the picture's bytes, whatever the answer declared."""
    await bench.run(1)
    image = bench.lines()[0]["images"][0]
    assert (image["path"], image["mime"]) == (f"images/job-0.{ending}", mime)


async def test_references_travel_along(bench: Bench) -> None:
    """An edit sends its pictures, and two different pictures give two different results."""
    for name, color in (("a.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (64, 64), color).save(bench.path / name)
    await bench.run(
        [
            {"id": "one", "prompt": "on snow", "references": ["a.png"]},
            {"id": "two", "prompt": "on snow", "references": ["b.png"]},
            {"id": "both", "prompt": "on snow", "references": ["a.png", "b.png"]},
        ]
    )
    assert sorted(entry.references for entry in bench.book.entries) == [1, 1, 2]
    assert len({line["images"][0]["sha256"] for line in bench.lines()}) == 3
    assert bench.lines()[2]["references"] == ["a.png", "b.png"]


@faults("two_images")
async def test_every_paid_picture_is_kept(bench: Bench) -> None:
    """Two pictures where one was asked for: both are on disk and in the line."""
    await bench.run(1)
    assert len(bench.lines()[0]["images"]) == len(bench.pictures()) == 2


async def test_the_key_is_in_no_file(bench: Bench) -> None:
    """P19: whatever was written, the key is not in it."""
    await bench.run(3)
    for file in bench.output.rglob("*"):
        assert not file.is_file() or b"sk-for-tests" not in file.read_bytes()


async def test_the_embedded_simulator(tmp_path: Path) -> None:
    """`provider: simulator` needs no key and no server; its options are the manifest's."""
    file = tmp_path / "m.yaml"
    file.write_text("{provider: {profile: simulator, simulator: {format: jpeg}}, jobs: [{id: a, prompt: x}]}")
    summary = await batch.run(file, output=tmp_path / "out", environment={})
    assert summary.exit == 0
    assert (tmp_path / "out" / "images" / "a.jpg").is_file()
