"""`doctor`: what it finds at the machine, the folders and the endpoint, and that it buys nothing."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from batch.cli.app import cli
from batch.runner.doctor import Finding, examine
from batch.runner.options import RunOptions
from batch.store.lock import OutputLock
from tests.support.connect_proxy import tls_endpoint
from tests.support.fakes import FakeClock

KEY = "sk-canary-0123456789abcdef"
MODEL = "gemini-3.1-flash-image"
NOW = FakeClock().now()


class Endpoint:
    """Answers each look in the same way."""

    def __init__(self, port: int, requests: list[bytes]) -> None:
        self.port, self.requests = port, requests
        self.status, self.body, self.date = "200 OK", json.dumps({"name": f"models/{MODEL}"}), NOW

    def answer(self, _: bytes) -> bytes:
        head = (
            f"HTTP/1.1 {self.status}\r\nDate: {format_datetime(self.date)}\r\nContent-Length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body.encode()


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    made = Endpoint(0, [])
    async with AsyncExitStack() as stack:
        made.port, made.requests = await stack.enter_async_context(tls_endpoint(None, lambda asked: made.answer(asked)))
        yield made


async def found(
    folder: Path, port: int, *, more: str = "", environment: Mapping[str, str] | None = None
) -> dict[str, Finding]:
    """The findings by what they are about."""
    provider = f'provider: {{profile: anyfast, base_url: "http://127.0.0.1:{port}"}}\n'
    (folder / "m.yaml").write_text(f"{provider}{more}jobs: [{{id: a, prompt: cup}}]\n")
    surroundings = {"ANYFAST_API_KEY": KEY, "XDG_STATE_HOME": str(folder)} if environment is None else environment
    looked = examine(folder / "m.yaml", folder / "out", RunOptions(), surroundings, FakeClock())
    return {finding.about: finding async for finding in looked}


def levels(findings: dict[str, Finding]) -> dict[str, str]:
    return {about: str(finding.level) for about, finding in findings.items()}


async def test_all_is_well(tmp_path: Path, endpoint: Endpoint) -> None:
    """Every line is ok; only GETs were made, and nothing is left behind."""
    findings = await found(tmp_path, endpoint.port)
    assert set(levels(findings).values()) == {"ok"}, findings
    assert set(findings) >= {"time zones", "state folder", "manifest", "output folder", "disk", "open files", "clock"}
    assert all(request.startswith(b"GET ") for request in endpoint.requests)
    assert os.listdir(tmp_path) == ["m.yaml"]


@pytest.mark.parametrize(
    ("status", "body", "level"),
    [
        ("401 Unauthorized", '{"error": {"message": "invalid token"}}', "fail"),
        ("400 Bad", '{"error": {"code": 400, "message": "API key not valid", "status": "INVALID_ARGUMENT"}}', "fail"),
        ("402 Pay", '{"error": {"message": "no credit"}}', "fail"),
        ("403 No", '{"error": {"message": "not allowed"}}', "fail"),
        ("404 Not Found", '{"error": {"message": "Invalid URL (GET /v1beta/models/x)"}}', "warn"),
        ("404 Not Found", "<html>nothing here</html>", "warn"),
        ("200 OK", '{"models": []}', "warn"),
        ("503 Busy", "{}", "warn"),
    ],
)
async def test_what_a_free_look_says_of_key_and_model(
    tmp_path: Path, endpoint: Endpoint, status: str, body: str, level: str
) -> None:
    """A refusal fails; where the endpoint has no listing, only a paid request can tell, and that is said."""
    endpoint.status, endpoint.body = status, body
    finding = (await found(tmp_path, endpoint.port))["anyfast model"]
    assert finding.level == level
    assert level == "fail" or finding.remedy == "--buy-one asks for one"
    assert KEY not in finding.words


async def test_an_endpoint_of_openais_format_is_asked_at_its_own_page(tmp_path: Path, endpoint: Endpoint) -> None:
    """`/v1/models/MODEL`."""
    address = f"http://127.0.0.1:{endpoint.port}/v1"
    (tmp_path / "m.yaml").write_text(
        f'provider: {{profile: openai, base_url: "{address}"}}\nmodel: gpt-image-1\njobs: [{{id: a, prompt: cup}}]\n'
    )
    endpoint.body = '{"id": "gpt-image-1"}'
    surroundings = {"OPENAI_API_KEY": KEY, "XDG_STATE_HOME": str(tmp_path)}
    looked = examine(tmp_path / "m.yaml", tmp_path / "out", RunOptions(), surroundings, FakeClock())
    findings = {finding.about: finding async for finding in looked}
    assert findings["openai model"].level == "ok", findings
    assert endpoint.requests[0].startswith(b"GET /v1/models/gpt-image-1 ")


@pytest.mark.parametrize(("seconds", "words"), [(90, "90 s behind"), (-7200, "7,200 s ahead of")])
async def test_a_wrong_clock_is_found(tmp_path: Path, endpoint: Endpoint, seconds: int, words: str) -> None:
    """Against the endpoint's own Date."""
    endpoint.date = NOW + timedelta(seconds=seconds)
    finding = (await found(tmp_path, endpoint.port))["clock"]
    assert finding.level == "warn"
    assert words in finding.words


async def test_an_endpoint_that_is_not_there_fails(tmp_path: Path) -> None:
    """With what to check."""
    finding = (await found(tmp_path, 9))["anyfast endpoint"]
    assert finding.level == "fail"
    assert "HTTPS_PROXY" in finding.remedy


async def test_a_missing_key_and_a_missing_home_are_found(tmp_path: Path, endpoint: Endpoint) -> None:
    """Nothing is asked without a key."""
    findings = await found(tmp_path, endpoint.port, environment={"HOME": "", "XDG_STATE_HOME": "/proc/nowhere"})
    assert findings["anyfast key"].level == "fail"
    assert findings["state folder"].level == "warn"
    assert "XDG_STATE_HOME" in findings["state folder"].remedy
    assert endpoint.requests == []


async def test_a_held_output_folder_is_found(tmp_path: Path, endpoint: Endpoint) -> None:
    """Another run works there."""
    (tmp_path / "out").mkdir()
    lock = OutputLock(str(tmp_path / "out"))
    lock.acquire()
    try:
        findings = await found(tmp_path, endpoint.port)
    finally:
        lock.release()
    assert findings["output folder"].level == "warn"
    assert "another run is working" in findings["output folder"].words


async def test_a_wrong_manifest_is_told_in_its_own_words(tmp_path: Path, endpoint: Endpoint) -> None:
    """And nothing behind it is looked at."""
    findings = await found(tmp_path, endpoint.port, more="limits: {concurrency: 0}\n")
    assert findings["manifest"].level == "fail"
    assert "concurrency must be" in findings["manifest"].words
    assert endpoint.requests == []


@pytest.fixture
def simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    text = "provider: {profile: simulator, simulator: {latency_seconds: 0}}\n"
    (tmp_path / "m.yaml").write_text(text + "jobs: [{id: a, prompt: a}, {id: b, prompt: b}]\n")
    return tmp_path


def doctor(*words: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", *words])


def test_the_command_prints_a_line_per_check_and_ends_with_0(simulated: Path) -> None:
    """Or 1 if one failed."""
    result = doctor("m.yaml")
    assert result.exit_code == 0
    assert "ok   manifest: 2 jobs" in result.output
    wrong = doctor("m.yaml", "--set", "limits.concurrency=0")
    assert wrong.exit_code == 1
    assert "fail manifest: --set limits.concurrency: concurrency must be" in wrong.output


def test_json_has_every_finding(simulated: Path) -> None:
    """For programs: about, level, words, remedy."""
    told: dict[str, Any] = json.loads(doctor("m.yaml", "--json").stdout)
    assert told["exit"] == 0
    assert {"about": "manifest", "level": "ok", "words": "2 jobs", "remedy": ""} in told["findings"]


def test_one_picture_is_bought_only_with_a_yes(simulated: Path) -> None:
    """Its price is said first; it is the first job that is due, and counts as bought."""
    refused = doctor("m.yaml", "--buy-one")
    assert refused.exit_code == 2
    assert "one picture is bought, for $0.067 at list price; add --yes" in refused.output
    assert not (simulated / "output").exists()
    bought = doctor("m.yaml", "--buy-one", "--yes")
    assert bought.exit_code == 0, bought.output
    assert "ok   one picture: came" in bought.output
    assert [file.name for file in (simulated / "output" / "m" / "images").iterdir()] == ["a.png"]


def test_a_picture_that_does_not_come_fails(simulated: Path) -> None:
    """With the reason of the run."""
    fault = "provider.simulator.faults=[{fault: finish_image_safety, share: 1}]"
    result = doctor("m.yaml", "--set", fault, "--buy-one", "--yes")
    assert result.exit_code == 1
    assert "fail one picture: did not come" in result.output


def test_without_a_manifest_only_the_machine_is_looked_at(simulated: Path) -> None:
    """And nothing can be bought."""
    assert "warn provider: not looked at" in doctor().output
    assert doctor("--buy-one").exit_code == 2
