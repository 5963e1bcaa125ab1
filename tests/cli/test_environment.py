"""Options from the environment, values for the manifest, and a file of variables."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from batch.cli.app import cli
from batch.cli.env_file import read_env_file

TWO = """\
provider: {profile: simulator, simulator: {latency_seconds: 0}}
jobs: [{id: a, prompt: cup}, {id: b, prompt: mug}]
"""


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.yaml").write_text(TWO)
    return tmp_path / "m.yaml"


def plan(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(cli, ["plan", "m.yaml", "--json", *words], env=environment)


def to_send(result: Result) -> int:
    assert result.exit_code == 0, result.output
    found: int = json.loads(result.stdout)["to_do"]
    return found


def test_a_variable_stands_for_an_option(manifest: Path) -> None:
    """`IMAGEBATCH_` and the option's name in capitals."""
    assert to_send(plan()) == 2
    assert to_send(plan(IMAGEBATCH_LIMIT="1")) == 1
    assert to_send(plan(IMAGEBATCH_ONLY="a b")) == 2
    assert to_send(plan(IMAGEBATCH_ONLY="a")) == 1


def test_the_command_line_comes_before_the_environment(manifest: Path) -> None:
    """And the environment before the manifest."""
    (manifest.parent / "m.yaml").write_text(TWO + "output: by-manifest\n")
    assert json.loads(plan().stdout)["output"].endswith("by-manifest")
    assert json.loads(plan(IMAGEBATCH_OUTPUT="by-variable").stdout)["output"].endswith("by-variable")
    chosen = plan("-o", "by-option", IMAGEBATCH_OUTPUT="by-variable")
    assert json.loads(chosen.stdout)["output"].endswith("by-option")


def test_a_value_may_come_from_the_environment(manifest: Path) -> None:
    """Several are separated by blanks; what is wrong with one names it."""
    assert to_send(plan(IMAGEBATCH_SET="limits.concurrency=2 tag=spring")) == 2
    wrong = CliRunner().invoke(cli, ["plan", "m.yaml"], env={"IMAGEBATCH_SET": "limits.concurrency=0"})
    assert "--set limits.concurrency: concurrency must be" in str(wrong.exception)


def test_a_wrong_variable_is_named(manifest: Path) -> None:
    """Exit 2, as for the option."""
    result = plan(IMAGEBATCH_MAX_COST="nan")
    assert result.exit_code == 2
    assert "IMAGEBATCH_MAX_COST" in result.output


def test_an_empty_variable_is_none(manifest: Path) -> None:
    """Unset variables are often written so."""
    assert to_send(plan(IMAGEBATCH_LIMIT="", IMAGEBATCH_OUTPUT="", IMAGEBATCH_SET="")) == 2


def test_help_names_the_variables_but_for_what_charges_again() -> None:
    """`--again`, `--rejected`, `--resend`, `--retry` and `--yes` must be typed."""
    command = cli.get_command(click.Context(cli), "run")
    assert command is not None
    named = {option.opts[-1]: option.envvar for option in command.params if isinstance(option, click.Option)}
    assert named["--max-cost"] == "IMAGEBATCH_MAX_COST"
    assert named["--quiet"] == "IMAGEBATCH_QUIET"
    assert named["--output"] == "IMAGEBATCH_OUTPUT"
    assert [name for name, variable in named.items() if variable is None] == [
        *("--retry", "--resend", "--again", "--rejected", "--yes", "--dry-run")
    ]
    assert "IMAGEBATCH_MAX_COST" in CliRunner().invoke(cli, ["run", "--help"]).output


def test_a_provider_is_chosen_on_the_command_line(manifest: Path) -> None:
    """One manifest serves a rehearsal and the real thing."""
    manifest.write_text("provider: [{profile: anyfast, name: main}, google]\njobs: [{id: a, prompt: cup}]\n")
    result = CliRunner().invoke(cli, ["run", "m.yaml", "-q", "--json", "--provider", "simulator"])
    assert json.loads(result.stdout)["simulated"] is True


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("KEY=sk-1", "sk-1"),
        ("export KEY=sk-1", "sk-1"),
        ("  KEY = sk-1  ", "sk-1"),
        ('KEY="sk 1" # note', "sk 1"),
        ("KEY='sk # 1'", "sk # 1"),
        ("KEY=sk-1 # note", "sk-1"),
        ("KEY=sk#1", "sk#1"),
        ("KEY=a=b", "a=b"),
        ("KEY=${HOME}", "${HOME}"),
        ("KEY=", ""),
    ],
)
def test_a_file_of_variables_is_read(tmp_path: Path, line: str, value: str) -> None:
    """Comments, quotes and `export`; nothing is expanded."""
    (tmp_path / ".env").write_text(f"# comment\n\n{line}\n")
    assert read_env_file(tmp_path / ".env") == {"KEY": value}


@pytest.mark.parametrize("text", ["sk-secret-without-a-name\n", "1KEY=sk-secret\n", "KEY sk-secret\n"])
def test_a_line_that_is_none_is_named_and_not_shown(tmp_path: Path, text: str) -> None:
    """It may be the key."""
    (tmp_path / ".env").write_text("A=1\n" + text)
    with pytest.raises(click.UsageError, match=r"\.env:2 is no NAME=value") as caught:
        read_env_file(tmp_path / ".env")
    assert "secret" not in caught.value.format_message()


def test_the_key_may_come_from_a_file_of_variables(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's environment stays as it is, so no child sees it."""
    monkeypatch.delenv("ANYFAST_API_KEY", raising=False)
    manifest.write_text('provider: {profile: anyfast, base_url: "http://127.0.0.1:9"}\njobs: []\n')
    Path(".env").write_text("ANYFAST_API_KEY=sk-from-a-file\n")
    without = CliRunner().invoke(cli, ["run", "m.yaml", "--allow-empty"])
    assert "no API key" in str(without.exception)
    with_file = CliRunner().invoke(cli, ["run", "m.yaml", "--allow-empty", "-q", "--env-file", ".env"])
    assert with_file.exit_code == 0, with_file.output
    assert "ANYFAST_API_KEY" not in os.environ


def test_a_program_that_judges_pictures_does_not_get_the_file(manifest: Path) -> None:
    """What stands in it is for this process alone."""
    Path(".env").write_text("A_SECRET_OF_THE_FILE=sk-from-a-file\n")
    judge = Path("judge.sh")
    judge.write_text("#!/bin/sh\nenv > seen.txt\n")
    judge.chmod(0o755)
    manifest.write_text(TWO + "check: ./judge.sh\n")
    CliRunner().invoke(cli, ["run", "m.yaml", "-q", "--env-file", ".env"])
    assert "PATH=" in Path("seen.txt").read_text()
    assert "A_SECRET_OF_THE_FILE" not in Path("seen.txt").read_text()
