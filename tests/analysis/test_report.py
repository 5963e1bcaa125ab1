"""`imagebatch report`: figures of real runs, and their two forms."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import pytest

from batch import RunOptions, run_sync
from batch.analysis import Figures, read_figures, report_markdown, report_page
from batch.analysis.files import write_report
from batch.core.decisions import Decision, Verdict
from batch.core.errors import OutputError
from batch.core.settings import ChangedPolicy
from batch.store.decisions import DecisionFile

MANIFEST: Final = """\
provider:
  profile: simulator
  simulator:
    pictures: plain
    faults:
      - {{fault: finish_image_safety, prompt: knife}}
      - {{fault: cut, prompt: lamp}}
      - {{fault: http_503, prompt: vase, times: 1}}
defaults: {{image_size: 512}}
retry: {{unknown: hold}}
jobs:
  - {{id: cup, prompt: "{words} cup"}}
  - {{id: mug, prompt: "{words} mug"}}
  - {{id: vase, prompt: "a vase"}}
  - {{id: knife, prompt: a knife}}
  - {{id: lamp, prompt: a lamp}}
"""
HOSTILE: Final = "<img src=x onerror=alert(1)>|`*_\u202e{{7*7}}"


def bought(folder: Path, words: str = "a", options: RunOptions | None = None) -> Path:
    (folder / "m.yaml").write_text(MANIFEST.format(words=words))
    run_sync(folder / "m.yaml", output=folder / "out", options=options)
    return folder / "out"


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures, one refused, one unknown, and one after a refusal."""
    return bought(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def figures(output: Path) -> Figures:
    return read_figures(output)


def test_jobs_are_counted_by_where_they_stand(figures: Figures) -> None:
    """As `status` counts them."""
    jobs = figures.jobs

    assert (jobs.done, jobs.failed, jobs.unknown, jobs.pending) == (3, 1, 1, 0)
    assert (jobs.accepted, jobs.rejected, jobs.undecided) == (0, 0, 3)


def test_money_adds_up_to_what_the_ledger_says(figures: Figures, output: Path) -> None:
    """Charged and unknown, each as in the last run's end."""
    end = json.loads((output / "ledger.jsonl").read_text().splitlines()[-1])

    assert figures.money.charged == pytest.approx(end["cost_usd"])
    assert figures.money.unknown == pytest.approx(end["maybe_cost_usd"])
    assert figures.money.no_picture > 0
    assert figures.money.per_accepted is None


def test_a_cause_has_its_jobs_and_advice(figures: Figures) -> None:
    """The words of the provider, and ours."""
    causes = {cause.code: cause for cause in figures.causes}

    assert causes["image_safety"].ids == ("knife",)
    assert "change the words" in causes["image_safety"].advice
    assert causes.keys() == {"image_safety", "cut"}


def test_refusals_are_told_apart_from_failures(figures: Figures) -> None:
    """The 503 was not charged and was sent again; the refused picture was charged."""
    (route,) = figures.routes

    assert figures.refusals == (("unavailable", 1),)
    assert (route.requests, route.pictures, route.refused, route.failed, route.unknown) == (6, 3, 1, 1, 1)


def test_rejected_and_replaced_pictures_have_their_money_apart(tmp_path: Path) -> None:
    """Two pictures made anew, one of them accepted, one rejected."""
    bought(tmp_path)
    output = bought(tmp_path, "a blue", RunOptions(on_changed=ChangedPolicy.RERUN))
    before = read_figures(output)
    lines = [json.loads(line) for line in (output / "ledger.jsonl").read_text().splitlines()]
    pictures = {line["job"]: line["images"][0]["sha256"] for line in lines if line["t"] == "done"}
    DecisionFile(output).append(
        Decision(at="2026-01-01T00:00:00Z", job=job, sha256=pictures[job], verdict=verdict)
        for job, verdict in (("cup", Verdict.ACCEPTED), ("mug", Verdict.REJECTED))
    )
    after = read_figures(output)

    assert before.money.replaced == pytest.approx(2 * 0.045, abs=0.01)
    assert (after.jobs.accepted, after.jobs.rejected, after.jobs.undecided) == (1, 1, 1)
    assert after.money.rejected > 0
    assert after.money.delivered == pytest.approx(before.money.delivered - after.money.rejected)
    assert after.money.charged == after.money.per_accepted == before.money.charged


def test_a_killed_run_is_told_as_one_without_an_end(output: Path, tmp_path: Path) -> None:
    """Its pictures count, and its time up to its last line."""
    cut = tmp_path / "cut"
    cut.mkdir()
    lines = (output / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (cut / "ledger.jsonl").write_bytes(b"".join(line for line in lines if b'"t":"end"' not in line))
    figures = read_figures(cut)

    (run,) = figures.runs
    assert (run.exit, run.reason) == (None, "")
    assert run.ended_at > run.started_at
    assert figures.throughput is not None
    assert figures.throughput.pictures == 3
    assert figures.jobs.missing == 3


def test_an_output_without_a_picture_has_a_report(tmp_path: Path) -> None:
    """Both forms leave out what was not measured."""
    manifest = {
        "provider": {"profile": "simulator", "simulator": {"faults": [{"fault": "finish_image_safety"}]}},
        "jobs": [{"id": "a", "prompt": "a knife"}],
    }
    run_sync(manifest, output=tmp_path / "out")
    figures = read_figures(tmp_path / "out")

    assert (figures.latency, figures.throughput) == (None, None)
    assert "Time for a picture" not in report_markdown(figures) + report_page(figures)


class Elements(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_text_from_outside_is_never_markup(tmp_path: Path) -> None:
    """Ids and the provider's words are hostile; the page has no script, picture or link, and shows them as text."""
    manifest: dict[str, Any] = {
        "provider": {"profile": "simulator", "simulator": {"faults": [{"fault": "finish_image_safety"}]}},
        "jobs": [{"id": "a", "prompt": HOSTILE}],
    }
    run_sync(manifest, output=tmp_path / "out")
    figures = read_figures(tmp_path / "out")
    cause = replace(figures.causes[0], ids=(HOSTILE,), example=HOSTILE)
    page = report_page(replace(figures, output=HOSTILE, causes=(cause,)))

    elements = Elements(page).tags
    assert not {tag for tag, _ in elements} & {"script", "img", "a", "iframe", "object", "form"}
    assert not [name for _, attributes in elements for name in attributes if name.startswith("on")]
    assert "\u202e" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_markdown_escapes_what_would_be_markup(figures: Figures) -> None:
    """In ids, causes and the folder's name."""
    text = report_markdown(replace(figures, output=HOSTILE))

    assert text.splitlines()[0] == r"# Report on \<img src=x onerror=alert(1)\>\|\`\*\_\u202e\{\{7\*7\}\}".replace(
        r"\u202e", r"\\u202e"
    )


def test_the_page_allows_no_script_and_names_its_one_style(figures: Figures) -> None:
    """The policy's hash is that of the style as it stands in the page."""
    page = report_page(figures)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)

    assert style is not None
    assert policy is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy[1].startswith(f"default-src 'none'; style-src 'sha256-{digest}'")


def test_charts_say_in_words_what_they_show(figures: Figures) -> None:
    """For those who do not see them."""
    labels = [
        attributes.get("aria-label") or "" for tag, attributes in Elements(report_page(figures)).tags if tag == "svg"
    ]

    assert len(labels) == 2
    assert labels[0].startswith("How long 3 requests took: half up to ")
    assert labels[1].startswith("Pictures a minute over ")


def test_the_command_writes_both_forms_and_says_where(output: Path) -> None:
    """On stdout a headline and the paths; both files are whole."""
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "batch", "report", output], capture_output=True, text=True, check=True
    )

    assert ran.stdout.splitlines()[0].startswith("3 of 5 jobs have their picture; $")
    assert (output / "report.html").read_text().startswith("<!doctype html>")
    assert (output / "report.md").read_text().startswith("# Report on ")


def test_json_prints_the_figures_and_writes_nothing(output: Path, tmp_path: Path) -> None:
    """For programs."""
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "ledger.jsonl").write_bytes((output / "ledger.jsonl").read_bytes())
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "batch", "report", copy, "--json"], capture_output=True, text=True, check=True
    )

    assert json.loads(ran.stdout)["jobs"]["done"] == 3
    assert [path.name for path in copy.iterdir()] == ["ledger.jsonl"]


def test_another_ending_is_refused_before_anything_is_written(figures: Figures, tmp_path: Path) -> None:
    """The message names those there are."""
    with pytest.raises(OutputError, match=r"report\.pdf: a report is written as \.html or \.md"):
        write_report(figures, [tmp_path / "report.html", tmp_path / "report.pdf"])
    assert not list(tmp_path.iterdir())
