"""docs/python.md: its examples run as they stand, and a caller's script passes the strictest type check."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text("utf-8"), re.DOTALL)
JOBS = "jobs:\n" + "".join(f"  - {{id: mug-{n}, prompt: mug number {n}}}\n" for n in range(1, 5))
SCRIPT = "\n".join(example for example in EXAMPLES if "pytest" not in example)


def run_python(*words: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=100
    )


def test_the_examples_run_in_order(tmp_path: Path) -> None:
    """Each asserts what the page says of it."""
    (tmp_path / "jobs.yaml").write_text(JOBS)
    (tmp_path / "app.py").write_text(SCRIPT)

    ended = run_python("app.py", folder=tmp_path)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("4 done, 0 failed")


def test_the_fixture_works_in_a_callers_tests(tmp_path: Path) -> None:
    """The page's conftest.py and test, with strict markers, in a folder of their own."""
    conftest, test = (example for example in EXAMPLES if "pytest" in example)
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "test_mine.py").write_text(f"import imagebatch\n{test}")

    ended = run_python(
        "-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider", "--rootdir=.", folder=tmp_path
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 passed" in ended.stdout


@pytest.mark.skipif(shutil.which("mypy", path=Path(sys.executable).parent) is None, reason="mypy is not installed")
def test_a_callers_script_passes_mypy_strict(tmp_path: Path) -> None:
    """The page's examples as one script, and a wrong argument of `run_sync` that must be seen."""
    (tmp_path / "app.py").write_text(SCRIPT + "imagebatch.run_sync('jobs.yaml', outpt='out')\n")

    ended = run_python("-m", "mypy", "--strict", "app.py", folder=tmp_path, MYPYPATH=_source_path())

    lines = ended.stdout.splitlines()
    assert len(lines) == 2, ended.stdout + ended.stderr
    assert 'Unexpected keyword argument "outpt"' in lines[0]


def _source_path() -> str:
    """Where mypy finds the package when it is not installed; it refuses site-packages here."""
    import imagebatch

    root = Path(imagebatch.__file__).parents[1]
    return "" if root.name == "site-packages" else str(root)


@pytest.mark.parametrize("name", ["batch.py", "batch/__init__.py"])
def test_a_batch_of_the_callers_is_named(name: str, tmp_path: Path) -> None:
    """A module that hides the package inside is an ImportError with its path, and is not run."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("print('mine')\n")
    (tmp_path / "app.py").write_text("import imagebatch\n")

    ended = run_python("app.py", folder=tmp_path)

    assert ended.stdout == ""
    assert f"`import batch` finds {tmp_path / name}" in ended.stderr
    assert "rename that file" in ended.stderr


def test_run_sync_inside_a_loop_says_what_to_write(tmp_path: Path) -> None:
    """As in a notebook: one sentence, and no coroutine that is never awaited."""
    script = """
        import asyncio, imagebatch
        async def cell():
            imagebatch.run_sync("jobs.yaml")
        asyncio.run(cell())
    """
    ended = run_python("-W", "error", "-c", textwrap.dedent(script), folder=tmp_path)
    assert ended.stderr.splitlines()[-1].endswith("write `await imagebatch.run(...)`")
    assert "never awaited" not in ended.stderr
