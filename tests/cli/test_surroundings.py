"""The command in surroundings that a container or a cron line has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import batch
from batch.cli.app import cli
from batch.core.errors import InputError, OutputError

PICTURES = "provider: {profile: simulator, simulator: {latency_seconds: 0}}\njobs: [{id: a, prompt: cup}]\n"


def call(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "batch", *words],
        cwd=folder,
        env={**os.environ, **more},
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("amount", ["nan", "inf", "-inf", "1e999"])
def test_a_cap_that_is_no_amount_is_a_wrong_command_line(tmp_path: Path, amount: str) -> None:
    """Exit 2, and nothing is begun."""
    (tmp_path / "m.yaml").write_text(PICTURES)
    ended = call(tmp_path, "run", "m.yaml", "-o", "out", f"--max-cost={amount}")
    assert ended.returncode == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("locale", [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C"}])
@pytest.mark.parametrize("output", ["out-é", "out-日本", os.fsdecode(b"out-\xff")])
def test_json_is_json_in_every_locale(tmp_path: Path, locale: dict[str, str], output: str) -> None:
    """Whatever the output folder is called, `plan --json` can be read by a program."""
    (tmp_path / "m.yaml").write_text(PICTURES)
    ended = call(tmp_path, "plan", "m.yaml", "-o", output, "--json", **locale)
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["output"].endswith(output)


def test_a_current_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    """`run` without an absolute output says so with exit 73."""
    (tmp_path / "m.yaml").write_text(PICTURES)
    (tmp_path / "gone").mkdir()
    words = [sys.executable, "-m", "batch", "run", str(tmp_path / "m.yaml")]
    ended = subprocess.run(
        ["/bin/sh", "-c", 'rmdir ../gone && exec "$@"', "sh", *words],
        cwd=tmp_path / "gone",
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 73
    assert "the current folder is gone" in ended.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the others have no such flag")
@pytest.mark.parametrize("allowed", ["", "1"])
def test_no_core_is_handed_to_a_program_unless_it_is_allowed(allowed: str) -> None:
    """Where the kernel pipes dumps to a program no limit holds: the process says that it is not to be dumped."""
    code = (
        "import ctypes, sys; from batch.cli.app import main\n"
        "sys.argv = ['imagebatch', '--version']\n"
        "try: main()\n"
        "finally: print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), file=sys.stderr)"  # PR_GET_DUMPABLE
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "IMAGEBATCH_CORE_DUMPS": allowed},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stderr.strip() == ("1" if allowed else "0")


@pytest.mark.parametrize("allowed", ["", "1"])
def test_no_core_is_dumped_unless_it_is_allowed(allowed: str) -> None:
    """The key must not outlive the process in a file."""
    code = (
        "import resource, sys; from batch.cli.app import main\n"
        "hard = resource.getrlimit(resource.RLIMIT_CORE)[1]; resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))\n"
        "sys.argv = ['imagebatch', '--version']\n"
        "try: main()\n"
        "finally: print(resource.getrlimit(resource.RLIMIT_CORE)[0] == (0 if not "
        f"{allowed!r} else hard), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "IMAGEBATCH_CORE_DUMPS": allowed},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stderr.strip() == "True"


@pytest.mark.parametrize(
    "output",
    [
        *("s3://b/x", "s3:/b/x", "s3:b", "gs://b", "gs:b", "az://c/x", "az:c", "abfss://c@a.example/x", "S3://B"),
        *("hdfs://n/x", "sftp://h/x", "https://h/x", "file:///x", "memory://x", "r2:b"),
    ],
)
@pytest.mark.parametrize("where", ["option", "manifest"])
def test_an_address_is_no_output_folder(tmp_path: Path, output: str, where: str) -> None:
    """Pictures would lie in a local folder of that name; exit 73, and none is made."""
    (tmp_path / "m.yaml").write_text(PICTURES + (f'output: "{output}"\n' if where == "manifest" else ""))
    with pytest.raises(OutputError, match="looks like an address") as caught:
        batch.run_sync(tmp_path / "m.yaml", output=output if where == "option" else None)
    assert caught.value.exit_code == 73
    assert [file.name for file in tmp_path.iterdir()] == ["m.yaml"]


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf", "1e999", "nan"])
@pytest.mark.parametrize(
    "field",
    [
        *(
            "limits: {concurrency: X}",
            "limits: {requests_per_second: X}",
            "limits: {tokens_per_minute: X}",
            "canary: X",
        ),
        *("timeouts: {connect_seconds: X}", "timeouts: {total_seconds: X}", "retry: {max_outage_minutes: X}"),
        *("retry: {unusable_retries: X}", "prices: {1K: X}", "budget: {per_run: X}", "budget: {tags: {a: X}}"),
        *("canary: {jobs: 3, max_failed: X}", "limit: X", "defaults: {samples: X}"),
        *("provider: {profile: anyfast, weight: X}", "provider: {profile: anyfast, prices: {1K: X}}"),
        "provider: {profile: simulator, simulator: {latency_seconds: X}}",
        "provider: {profile: simulator, simulator: {faults: [{fault: http_503, share: X}]}}",
    ],
)
def test_what_is_no_number_is_a_problem_of_the_manifest(tmp_path: Path, field: str, number: str) -> None:
    """NaN passes every comparison: each field says no, before anything is written."""
    (tmp_path / "m.yaml").write_text(f"{field.replace('X', number)}\njobs: [{{id: a, prompt: cup}}]\n")
    with pytest.raises(InputError):
        batch.run_sync(tmp_path / "m.yaml", output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _number_options() -> list[tuple[str, str]]:
    """Every option of every command that takes a number."""
    context = click.Context(cli)
    commands = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    return [
        (name, option.opts[0])
        for name, command in commands.items()
        if command is not None
        for option in command.params
        if isinstance(option.type, click.types.IntParamType | click.types.FloatParamType)
    ]


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999"])
@pytest.mark.parametrize(("command", "option"), _number_options())
def test_what_is_no_number_is_a_wrong_command_line(command: str, option: str, number: str) -> None:
    """Exit 2 for every option that takes one."""
    ended = CliRunner().invoke(cli, [command, f"{option}={number}"])
    assert ended.exit_code == 2
