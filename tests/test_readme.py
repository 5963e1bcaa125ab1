"""The README says what is true: its files exist, its manifest works, its exit codes are the real ones."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from PIL import Image

from batch.cli.app import cli
from batch.cli.report import report
from batch.cli.reread import reread
from batch.cli.resolve import resolve
from batch.cli.run import run
from batch.core.errors import ExitCode
from batch.manifest import load_manifest
from batch.report.text import PLAN_WORDS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_file_it_names_is_there() -> None:
    """Links and the quick start's manifest lead somewhere, in the README and in every page of docs/."""
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
        missing = [link for link in links if not (page.parent / link).exists()]
        assert not missing, f"{page.name} names {missing}"
    assert (ROOT / "jobs/quickstart.yaml").is_file()


def test_its_links_work_on_a_package_page() -> None:
    """There it stands alone: the build turns every link into the repository into a web address."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    hook = project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    page = README
    for each in hook["substitutions"]:
        page = re.sub(each["pattern"], each["replacement"], page)
    left = re.findall(r"\]\((?!https:|#)([^)]+)", page)
    assert left == []
    address = project["project"]["urls"]["Homepage"]
    for link in re.findall(rf"\]\({re.escape(address)}/blob/main/([^)#]+)", page):
        assert (ROOT / link).is_file(), link


def test_its_figures_are_the_measured_ones() -> None:
    """The memory of a thousand requests in flight is that of the benchmark's own table."""
    [told] = re.findall(r"about (\d+) MB of memory", README)
    page = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    header, row = (
        [cell.strip() for cell in line.split("|")]
        for line in re.findall(r"^\| case \| contestant .*|^\| latency-1000 \| imagebatch .*", page, re.MULTILINE)[:2]
    )
    [column] = [number for number, name in enumerate(header) if name == "peak MB"]
    assert int(told) == int(row[column])


def test_the_summary_of_the_benchmarks_is_their_table() -> None:
    """Least and most memory for answers of 2 MB and 24 MB, ours and the loop's, as measured."""
    page = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    for size in ("2MB", "24MB"):
        [line] = re.findall(rf"^\* Answers of {size.replace('MB', ' MB')}: .*", page, re.MULTILINE)
        told = [int(number.replace(",", "")) for pair in re.findall(r"([\d,]+) to ([\d,]+)", line) for number in pair]
        measured = [
            int(re.findall(rf"^\| {size}-{in_flight} \| {who} \|.*", page, re.MULTILINE)[0].split("|")[11])
            for who in ("imagebatch", "sdk")
            for in_flight in (8, 64)
        ]
        assert told == measured, size


def test_what_a_package_holds() -> None:
    """Type markers and the licence are there, and the build takes both packages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert packages == ["batch", "imagebatch"]
    assert all((ROOT / name / "py.typed").is_file() for name in packages)
    assert [*project["project"]["license-files"]] == ["LICENSE"]
    assert (ROOT / "LICENSE").is_file()


def test_its_manifest_makes_a_job_per_product(tmp_path: Path) -> None:
    """The catalog manifest of the first minute, copied as it stands, over two rows of one product."""
    example = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert example is not None
    (tmp_path / "my.yaml").write_text(example[1], encoding="utf-8")
    (tmp_path / "products.csv").write_text("Handle,Title\nmug,Mug\nmug,\n", encoding="utf-8")
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "photos/mug.jpg")

    jobs = list(load_manifest(tmp_path / "my.yaml").check())

    assert [job.id for job in jobs] == ["mug"]


def test_its_exit_codes_are_the_real_ones() -> None:
    """Every code the program may end with stands in the table, and no other."""
    table = README[README.index("## Exit codes") : README.index("## Documentation")]
    rows = re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE)
    listed = {int(code) for row in rows for code in row.split(",")}

    assert listed == {int(code) for code in ExitCode} | {129, 130, 143}


def test_its_exit_codes_mean_what_the_help_says() -> None:
    """One text for each code, in the README and in `--help`."""
    table = README[README.index("## Exit codes") : README.index("## Documentation")]
    told = re.findall(r"^\| ([\d, ]+) \| (.*?) \|", table, re.MULTILINE)
    assert told == re.findall(r"^ +(\d[\d, ]*?)  (.*)$", cli.epilog or "", re.MULTILINE)


def test_the_page_about_running_names_real_options_and_words() -> None:
    """Every option it names is one of a command that it describes, and the plan it shows is in a real one's words."""
    page = (ROOT / "docs/running.md").read_text(encoding="utf-8")
    options = {
        option for each in (*run.params, *resolve.params, *reread.params, *report.params) for option in each.opts
    }
    assert set(re.findall(r"--[a-z][a-z-]+", page)) <= options
    shown = re.findall(r"^ +[\d,]+  (.+?), (?:cost |saves )?\$", page, re.MULTILINE)
    assert len(shown) == 6
    assert set(shown) <= {words for words, _ in PLAN_WORDS.values()}
