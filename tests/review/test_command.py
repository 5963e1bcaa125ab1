"""`imagebatch review` as a process: its address, Ctrl-C, and being killed."""

from __future__ import annotations

import json
import re
import signal
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from batch import run_sync
from batch.album import open_album
from batch.review.browser import leading_page
from batch.store.decisions import DecisionFile


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A finished run of twenty pictures."""
    manifest = {
        "provider": {"profile": "simulator", "simulator": {"pictures": "plain"}},
        "defaults": {"image_size": "512"},
        "jobs": [{"id": f"job-{number}", "prompt": f"cup {number}"} for number in range(20)],
    }
    run_sync(manifest, output=tmp_path / "out")
    return tmp_path / "out"


def reviewing(output: Path, *options: str) -> AbstractContextManager[tuple[subprocess.Popen[str], str]]:
    return serving("review", str(output), *options)


@contextmanager
def serving(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process of a command that serves pages, and the address that it printed."""
    command = [sys.executable, "-P", "-m", "batch", *words, "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            said = ""
            for line in process.stdout:
                said += line
                found = re.search(r"http://127\.0\.0\.1:\d+/\S+", line)
                if found:
                    yield process, found[0]
                    return
            raise AssertionError(said)
        finally:
            with suppress(ProcessLookupError):
                process.kill()


def post(address: str, words: list[dict[str, str]]) -> int:
    request = urllib.request.Request(address + "api/decisions", json.dumps(words).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        status: int = answer.status
        return status


def test_the_page_is_there_and_ctrl_c_ends_it_with_the_counts(output: Path) -> None:
    """Exit code 0, and the next command."""
    picture = open_album(output).entry("job-3").versions[0].pictures[0]
    with reviewing(output, "--by", "Ada") as (process, address):
        with urllib.request.urlopen(address, timeout=30) as page:
            assert b"<!doctype html>" in page.read()
        thumbnail = f"{address}thumbs/{picture.sha256[:2]}/{picture.sha256}.webp"
        with urllib.request.urlopen(thumbnail, timeout=30) as small:
            assert small.read(4) == b"RIFF"
        post(address, [{"job": "job-3", "sha256": picture.sha256, "verdict": "rejected"}])
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        rest = process.stdout.read()
        assert process.wait(30) == 0

    assert "0 accepted, 1 rejected, 19 left" in rest
    assert "imagebatch run MANIFEST --rejected" in rest
    assert "Traceback" not in rest
    assert [decision.by for decision in DecisionFile(output).lines()] == ["Ada"]


def test_a_killed_review_has_every_decision_that_it_confirmed(output: Path) -> None:
    """SIGKILL while pages send one decision after another."""
    pictures = {entry.id: entry.versions[0].pictures[0].sha256 for entry in open_album(output)}
    confirmed: list[str] = []

    def decide(job: str) -> None:
        for number in range(200):
            word = {"job": job, "sha256": pictures[job], "verdict": "accepted", "note": f"{job} {number}"}
            try:
                post(address, [word])
            except (OSError, urllib.error.URLError):
                return
            confirmed.append(word["note"])
            if len(confirmed) == 30:
                process.kill()

    with reviewing(output) as (process, address), ThreadPoolExecutor(4) as pages:
        list(pages.map(decide, list(pictures)[:4]))
        process.wait(30)

    kept = [decision.note for decision in DecisionFile(output).lines()]
    assert len(confirmed) >= 30
    assert set(confirmed) <= set(kept)
    assert not DecisionFile(output).read().unreadable


def test_an_output_that_is_none_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """Exit code and words as `status` has them."""
    (tmp_path / "empty").mkdir()
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "batch", "review", tmp_path / "empty"], capture_output=True, text=True, check=False
    )

    assert ran.returncode == 73
    assert "holds no ledger" in ran.stderr


def test_a_port_that_is_taken_is_told(output: Path) -> None:
    """And another way out is named."""
    with reviewing(output) as (_, address):
        port = str(urlsplit(address).port)
        command = [sys.executable, "-P", "-m", "batch", "review", str(output), "--no-browser", "--port", port]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ran.returncode == 73
    assert f"cannot listen on port {port}" in ran.stderr
    assert "--port" in ran.stderr


def test_the_token_is_in_no_file_that_others_read() -> None:
    """The browser is handed a file, not the address; it is gone afterwards."""
    address = 'http://127.0.0.1:1/a"b<c/gallery/'
    with leading_page(address) as page:
        path = Path(unquote(urlsplit(page).path))
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text()

    assert mode == 0o600
    assert "url=http://127.0.0.1:1/a&quot;b&lt;c/gallery/" in text
    assert "b<c" not in text
    assert not path.exists()
