"""Ctrl-C while the command starts: it ends by the signal, and says nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import batch

#: Put before the first module: from the n-th import after `batch` was asked for, Ctrl-C is pressed.
_PRESSED = """
import os, sys
class Presses:
    seen = -1
    def find_spec(self, name, path=None, target=None):
        if name == "batch" or self.seen >= 0:
            self.seen += 1
            if self.seen == int(os.environ["PRESSED_AT"]):
                os.kill(os.getpid(), 2)
        return None
sys.meta_path.insert(0, Presses())
"""
_REPOSITORY = Path(batch.__file__).parents[1]


def pressed(tmp_path: Path, words: list[str], at: int) -> subprocess.CompletedProcess[str]:
    (tmp_path / "sitecustomize.py").write_text(_PRESSED)
    (tmp_path / "m.yaml").write_text("jobs: [{id: a, prompt: cup}]\n")
    paths = [str(tmp_path), str(_REPOSITORY), *filter(os.path.isdir, sys.path)]
    return subprocess.run(
        [sys.executable, *words, "plan", "m.yaml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ":".join(paths), "PRESSED_AT": str(at)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=_hear_ctrl_c,
    )


def _hear_ctrl_c() -> None:
    """Tests that run in the background of a shell are started deaf to it, and what they start would be, too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("at", [3, 4, 5, 8, 12, 20, 40, 80, 120, 160, 200])
@pytest.mark.parametrize("how", ["module", "script"])
def test_ctrl_c_while_modules_are_loaded_shows_no_traceback(tmp_path: Path, how: str, at: int) -> None:
    """Whichever module is on its way, the process ends by SIGINT as shells expect it."""
    script = tmp_path / "imagebatch"
    script.write_text("import sys\nfrom batch.__main__ import main\nsys.exit(main())\n")
    ended = pressed(tmp_path, ["-m", "batch"] if how == "module" else [str(script)], at)
    assert ended.returncode == -signal.SIGINT
    assert ended.stderr == ""


def test_a_program_that_imports_the_package_keeps_its_handler() -> None:
    """Ctrl-C stays its own business."""
    code = "import signal, batch; print(signal.getsignal(2) is signal.default_int_handler)"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(_REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        preexec_fn=_hear_ctrl_c,
    )
    assert ended.stdout.strip() == "True"
