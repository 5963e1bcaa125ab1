"""Why a job will be sent, or will not."""

from __future__ import annotations

from pathlib import Path

from batch import run_sync
from batch.report.why import why_lines
from batch.runner.run import plan_only

MANIFEST = """\
provider:
  profile: simulator
  simulator: {{pictures: plain, faults: [{{fault: finish_image_safety, prompt: knife}}]}}
defaults: {{image_size: 512}}
jobs:
  - {{id: cup, prompt: {prompt}}}
  - {{id: knife, prompt: a knife}}
"""


def why(folder: Path, job_id: str) -> list[str]:
    planned = plan_only(folder / "m.yaml", output=folder / "out")
    return list(why_lines(*planned.decision_on(job_id), planned.output))


def bought(folder: Path) -> Path:
    (folder / "m.yaml").write_text(MANIFEST.format(prompt="a cup"))
    run_sync(folder / "m.yaml", output=folder / "out")
    return folder


def test_a_job_never_sent_has_no_past(tmp_path: Path) -> None:
    """Without an output folder there is only the decision, the place and the prompt."""
    (tmp_path / "m.yaml").write_text(MANIFEST.format(prompt="a cup"))

    assert why(tmp_path, "cup") == [
        "cup: will be sent: it was never sent as it stands now",
        f"  written at {tmp_path}/m.yaml:6",
        "  prompt     a cup",
    ]


def test_every_attempt_is_told_with_its_end_and_its_money(tmp_path: Path) -> None:
    """A refused job: the attempt, what it cost, and the cause."""
    lines = why(bought(tmp_path), "knife")

    assert lines[0] == "knife: will not be sent: it failed for good; edit it, or name its cause in --retry"
    assert lines[3].endswith("attempt 1 (new)")
    assert "charged $0.045: image_safety: " in lines[4]


def test_an_edited_job_shows_what_was_asked_before(tmp_path: Path) -> None:
    """Old and new value of what changed, and nothing of what did not."""
    bought(tmp_path)
    (tmp_path / "m.yaml").write_text(MANIFEST.format(prompt="a blue cup"))
    lines = why(tmp_path, "cup")

    assert lines[0] == "cup: was edited after its picture was bought; --on-changed decides"
    assert [line for line in lines if "->" in line] == ["  prompt       a cup  ->  a blue cup"]
    assert lines[-1].endswith("images/cup.png") or lines[-1].endswith("images/cup.jpg")
