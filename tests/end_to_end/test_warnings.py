"""Pictures that are kept and are not as asked: the summary, status, why, manifest.jsonl and a canary say so."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

import batch
from batch.core.errors import OutputError
from batch.plan import decide
from batch.report.status import read_status
from batch.report.text import status_lines, summary_lines
from batch.report.why import why_lines
from batch.runner.control import RunControl
from batch.runner.run import plan_only
from tests.support.bench import Bench, faults
from tests.support.fakes import QuickClock

WRONG_SIZE = {"fault": "wrong_size"}


def kinds(bench: Bench) -> Counter[str]:
    return Counter(warned["kind"] for line in bench.lines() for warned in line["warnings"])


@faults({"fault": "wrong_size", "prompt": "number 1"}, {"fault": "wrong_size", "prompt": "number 2"})
async def test_pictures_not_as_asked_are_counted_everywhere(bench: Bench) -> None:
    """They are kept, the run is a success, and a person and a program learn of it."""
    summary = await bench.run(4)

    assert (summary.exit, summary.done, summary.not_as_asked, dict(summary.warnings)) == (0, 4, 2, {"smaller": 2})
    assert "  warnings   2 pictures are not as asked: 2 smaller" in list(summary_lines(summary, "again"))
    status = read_status(bench.output)
    assert (status.not_as_asked, dict(status.warnings)) == (2, {"smaller": 2})
    assert "  warnings   2 pictures are not as asked: 2 smaller" in list(status_lines(status))
    warned = {line["id"]: line["warnings"] for line in bench.lines()}
    assert warned["job-0"] == []
    assert warned["job-1"] == [{"kind": "smaller", "message": "asked for 512, got 256x256"}]


@faults({"fault": "wrong_size", "prompt": "number 1"})
async def test_why_says_what_is_odd(bench: Bench) -> None:
    """Below the line of the picture."""
    await bench.run(2)
    planned = plan_only(bench.path / "m.yaml", output=bench.output)
    job = next(job for job in planned.prepared.manifest.jobs() if job.id == "job-1")
    past = planned.history.of(job.key())

    lines = list(why_lines(decide(job, past, planned.prepared.policies), past, bench.output))

    assert "      warning: smaller: asked for 512, got 256x256" in lines


@faults({"fault": "wrong_size", "prompt": "number 1"})
async def test_the_counts_are_of_all_pictures_that_stand(bench: Bench) -> None:
    """Also in a later run that buys nothing, and not of pictures that better ones replaced."""
    await bench.run(3)
    later = await bench.run(3)

    assert (later.requests, later.not_as_asked, dict(later.warnings)) == (0, 1, {"smaller": 1})


@faults(WRONG_SIZE)
async def test_a_canary_takes_pictures_not_as_asked_for_failed(bench: Bench) -> None:
    """A relay that drops the size is found after the first few."""
    summary = await bench.run(10, canary={"jobs": 3, "max_failed": 0.4})

    assert (summary.exit, summary.reason, summary.requests, summary.pending) == (1, "canary", 3, 7)
    assert "3 of the first 3 jobs got no picture, or not the one asked for (3 smaller)" in (summary.message or "")


@faults({"fault": "wrong_size", "prompt": "number 1"})
async def test_a_canary_is_not_failed_by_few_of_them(bench: Bench) -> None:
    """The manifest says how many."""
    summary = await bench.run(6, canary={"jobs": 3, "max_failed": 0.4})

    assert (summary.exit, summary.done) == (0, 6)


@faults(WRONG_SIZE)
async def test_a_person_who_is_asked_after_the_canary_is_told(bench: Bench) -> None:
    """Before the others are sent."""
    questions: list[str] = []

    async def ask(question: str) -> bool:
        questions.append(question)
        return False

    bench.options["control"] = RunControl(ask=ask)
    await bench.run(5, canary=2)

    assert "2 pictures not as asked: 2 smaller." in questions[0]


@faults({"fault": "blank_picture"})
async def test_blank_pictures_and_those_of_other_jobs_are_named(bench: Bench) -> None:
    """An endpoint that sends the same grey square to everybody."""
    summary = await bench.run(4)

    assert dict(summary.warnings) == {"blank": 4, "same_as_another": 3}
    assert summary.not_as_asked == 4
    message = next(w["message"] for line in bench.lines() for w in line["warnings"] if w["kind"] == "same_as_another")
    assert message.startswith("the same bytes as the picture of job-")


@faults(pictures="plain")
async def test_a_picture_of_an_earlier_run_is_remembered(bench: Bench) -> None:
    """Also if its job is no longer in the manifest."""
    await bench.run([{"id": "old", "prompt": "one thing"}])
    await bench.run([{"id": "new", "prompt": "another thing"}])

    assert [(line["id"], [w["kind"] for w in line["warnings"]]) for line in bench.lines()] == [
        ("new", ["same_as_another"])
    ]


@faults(pictures="plain")
async def test_samples_of_one_job_that_are_alike_are_named(bench: Bench) -> None:
    """Four samples were paid for, to choose from."""
    await bench.run([{"id": "cup", "prompt": "a cup", "samples": 3}])

    assert kinds(bench)["same_as_another"] == 2


@faults(pictures="plain")
async def test_pictures_shared_on_purpose_are_not_named(bench: Bench) -> None:
    """Jobs that ask for exactly the same share one."""
    await bench.run([{"id": f"cup-{n}", "prompt": "a cup"} for n in range(3)], dedupe=True)

    assert kinds(bench)["same_as_another"] == 0


@faults({"fault": "blank_picture"})
async def test_the_setting_turns_the_content_checks_off(bench: Bench) -> None:
    """What is wrong with its size is said all the same."""
    summary = await bench.run(3, check_content=False)

    assert (summary.not_as_asked, dict(summary.warnings), kinds(bench)) == (0, {}, Counter())


async def test_a_rehearsal_is_not_flooded(tmp_path: Path) -> None:
    """The simulator's plain pictures are flat and alike, and nobody has paid for them."""
    manifest = {
        "provider": {"profile": "simulator", "simulator": {"pictures": "plain"}},
        "defaults": {"image_size": 512},
        "jobs": [{"id": f"job-{n}", "prompt": f"cup {n}"} for n in range(3)],
    }
    (tmp_path / "m.yaml").write_text(json.dumps(manifest))

    summary = await batch.run(tmp_path / "m.yaml", output=tmp_path / "out", clock=QuickClock())

    assert (summary.done, summary.not_as_asked, dict(summary.warnings)) == (3, 0, {})


def photo(file: Path, kind: str) -> None:
    """A picture with something on it, of the size that is asked for."""
    picture = Image.linear_gradient("L").resize((512, 512)).convert("RGB")
    ImageDraw.Draw(picture).ellipse((90, 90, 400, 400), fill=(120, 20, 90))
    picture.save(file, kind)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "AVIF"])
@faults({"fault": "reference_back"})
async def test_a_reference_that_came_back_is_named(bench: Bench, kind: str) -> None:
    """Byte for byte, or converted on its way with the same pixels."""
    photo(bench.path / f"cup.{kind.lower()}", kind)

    summary = await bench.run([{"id": "cup", "prompt": "on a beach", "references": [f"cup.{kind.lower()}"]}])

    (line,) = bench.lines()
    messages = [w["message"] for w in line["warnings"] if w["kind"] == "same_as_reference"]
    assert messages == [f"the reference cup.{kind.lower()} came back"]
    assert summary.not_as_asked == 1


async def test_another_picture_of_the_same_size_is_no_reference_that_came_back(bench: Bench) -> None:
    """Every picture has the size of some reference."""
    photo(bench.path / "cup.png", "PNG")

    await bench.run([{"id": "cup", "prompt": "on a beach", "references": ["cup.png"]}])

    assert kinds(bench) == Counter()


@faults({"fault": "another_shape"})
async def test_a_square_in_place_of_a_wide_picture_is_named(bench: Bench) -> None:
    """A relay that drops the ratio."""
    summary = await bench.run([{"id": "cup", "prompt": "a cup", "aspect_ratio": "16:9"}, {"id": "x", "prompt": "x"}])

    assert "  warnings   1 picture is not as asked: 1 of another shape" in list(summary_lines(summary, "again"))


@pytest.mark.parametrize(
    ("bench", "kind", "ending"),
    [
        ({"faults": ["avif_picture"]}, "unusual_format", "avif"),
        ({"faults": ["jpeg_without_end"]}, "damaged_file", "jpg"),
        ({"faults": ["trailing_bytes"]}, "trailing_bytes", "jpg"),
        ({"faults": ["mime_svg"]}, "declared_type", "jpg"),
    ],
    indirect=["bench"],
)
async def test_a_picture_that_is_odd_and_as_asked_is_kept(bench: Bench, kind: str, ending: str) -> None:
    """It is bought once, counted apart, and stays done."""
    summary = await bench.run(1)
    again = await bench.run(1)

    assert (summary.done, summary.not_as_asked, dict(summary.warnings)) == (1, 0, {kind: 1})
    assert (again.requests, again.done, bench.book.billed) == (0, 1, 1)
    assert list(bench.pictures()) == [f"job-0.{ending}"]
    assert any(line.startswith("  odd        kept all the same: 1 ") for line in summary_lines(summary, "again"))


@pytest.mark.parametrize("ending", ["avif", "gif", "bmp", "tif"])
async def test_a_file_in_the_way_is_found_whatever_its_format(bench: Bench, ending: str) -> None:
    """Before anything is sent, for the picture may come in that format."""
    (bench.output / "images").mkdir(parents=True)
    (bench.output / f"images/job-0.{ending}").write_bytes(b"somebody's own")

    with pytest.raises(OutputError, match="move it away"):
        await bench.run(1)
    assert bench.book.requests == 0
