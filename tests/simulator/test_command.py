"""`imagebatch simulate` as a user meets it."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from batch.simulator.command import simulate
from batch.simulator.faults.all_faults import FAULTS


def test_list_faults_names_them_all() -> None:
    """Each fault is printed with its line."""
    output = CliRunner().invoke(simulate, ["--list-faults"]).output
    for name, fault in FAULTS.items():
        assert f"  {name} " in output
        assert fault.about in output


def test_help_does_not_load_the_server() -> None:
    """Asking for help imports neither aiohttp nor Pillow."""
    code = "import sys, batch.simulator.command; sys.exit('aiohttp' in sys.modules or 'PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fault", "htp_503"], 'did you mean "http_503"?'),
        (["--fault", "cut;bytes"], "is not written param=value"),
        (["--latency", "soon"], "neither seconds nor LOW-HIGH"),
        (["--host", "0.0.0.0"], "not a loopback address"),
        (["--config", "missing.yaml"], "does not exist"),
    ],
)
def test_wrong_arguments_are_explained(arguments: list[str], words: str) -> None:
    """A usage error says what is wrong and ends with 2."""
    result = CliRunner().invoke(simulate, arguments)
    assert result.exit_code == 2
    assert words in result.output.replace("\n", " ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_told_to_stop(number: signal.Signals, tmp_path: Path) -> None:
    """It prints its address, answers, and ends in order with the book's totals."""
    config = tmp_path / "simulator.yaml"
    config.write_text("flavour: relay\nfaults: [{fault: http_503, share: 0.1}]\n")
    code = "from batch.simulator.command import simulate; simulate()"
    command = [sys.executable, "-u", "-c", code, "--config", str(config), "--book", str(tmp_path / "b.jsonl")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url + "/__simulator__/health") as answer:
            assert b'"flavour":"relay"' in answer.read()
        process.send_signal(number)
        rest = process.stdout.read()
    assert process.returncode == 0
    assert f'base_url: "{url}"' in rest
    assert "0 requests, 0 charged ($0.000)" in rest
