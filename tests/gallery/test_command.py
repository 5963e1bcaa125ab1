"""`imagebatch gallery`: what it says, and where it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from batch.core.errors import ExitCode
from tests.support.written_output import WrittenOutput


def gallery(*argv: object) -> tuple[int, str, str]:
    """Exit code, and what it printed on stdout and stderr."""
    words = [sys.executable, "-P", "-m", "batch", "gallery", *map(str, argv)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_it_says_what_was_made_and_what_to_open(tmp_path: Path) -> None:
    """One line of counts, one for pictures without a thumbnail, and the page; a manifest stands for its folder."""
    output = WrittenOutput(tmp_path / "out", endpoint="simulator")
    output.done("whole")
    output.done("damaged", data=b"no picture")
    output.failed("none")
    made = output.finish()
    assert gallery(made) == (
        0,
        f"3 jobs, 1 new thumbnail\nnone for 1 picture that could not be read\nopen {made}/gallery/index.html\n",
        "",
    )
    manifest = tmp_path / "m.yaml"
    manifest.write_text(json.dumps({"provider": "simulator", "output": str(made), "jobs": [{"prompt": "a cup"}]}))
    assert gallery(manifest, "--no-thumbnails")[:2] == (
        0,
        f"3 jobs, 0 new thumbnails\nopen {made}/gallery/index.html\n",
    )


def test_mistakes_end_in_a_sentence(tmp_path: Path) -> None:
    """No ledger, a damaged one, a file in the folder's place: what is wrong and where, and the code that says so."""
    (tmp_path / "empty").mkdir()
    code, _, told = gallery(tmp_path / "empty")
    assert (code, "holds no ledger" in told) == (ExitCode.CANNOT_CREATE, True)
    output = WrittenOutput(tmp_path / "out")
    output.done("a")
    made = output.finish()
    (made / "gallery").write_text("in the way")
    code, _, told = gallery(made)
    assert (code, "gallery is a file; move it away" in told) == (ExitCode.CANNOT_CREATE, True)
    (made / "gallery").unlink()
    ledger = (made / "ledger.jsonl").read_bytes()
    (made / "ledger.jsonl").write_bytes(ledger.replace(b'"done"', b'"dona"'))
    code, _, told = gallery(made)
    assert (code, "ledger.jsonl" in told) == (ExitCode.DATA, True)
    assert not (made / "gallery").exists()
    assert "Traceback" not in told
