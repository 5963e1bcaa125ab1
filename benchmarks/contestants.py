"""Who runs: the runner with its defaults, the SDK's loop, curl; how, and what each must leave behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from benchmarks.answers import Answer

_HERE: Final = Path(__file__).parent
_MODEL: Final = "gemini-3.1-flash-image"
#: curl's own limit for --parallel-max (7.68 to 8.x); more in flight takes several curls.
_CURL_PARALLEL: Final = 250

RUNNER_ENV: Final = {"GEMINI_API_KEY": "benchmark-key-0000"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One measured run: how many pictures, how many at a time, from where, into which (empty) folder."""

    answer: Answer
    images: int
    concurrency: int
    base_url: str
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """`command` prepares the folder; `pattern` finds the results: pictures, or answers if not `decodes`."""

    name: str
    what: str
    command: Callable[[Task], Command]
    pattern: str
    decodes: bool = True

    def missing(self, task: Task) -> str | None:
        """What is wrong with the results; None if every picture is there in full."""
        wanted = task.answer.image_bytes if self.decodes else task.answer.json_bytes
        sizes = [file.stat().st_size for file in task.folder.glob(self.pattern)]
        if sizes == [wanted] * task.images:
            return None
        whole = sizes.count(wanted)
        return f"{whole} of {task.images} pictures are there in full, {len(sizes) - whole} otherwise"


def contestants(sdk_python: Path) -> dict[str, Contestant]:
    """All of them, by name. `sdk_python` has google-genai and nothing else."""
    version = metadata.version("google-genai")
    everyone = (
        Contestant(
            name="imagebatch",
            what="`imagebatch run --json`, `adaptive: false`: checks, hashes, fsync, ledger",
            command=runner,
            pattern="out/images/**/*.png",
        ),
        Contestant(
            name="sdk",
            what=f"a loop on google-genai {version} as `pip install google-genai` gives it",
            command=lambda task: sdk(task, sdk_python),
            pattern="job-*.png",
        ),
        Contestant(
            name="sdk-wide",
            what="the same, its pool's bound of 100 connections lifted",
            command=lambda task: sdk(task, sdk_python, "--wide-pool"),
            pattern="job-*.png",
        ),
        Contestant(
            name="sdk-aiohttp",
            what="the same loop where aiohttp is installed too",
            command=lambda task: sdk(task, Path(sys.executable)),
            pattern="job-*.png",
        ),
        Contestant(
            name="curl",
            what="`curl --parallel`: download alone, nothing decoded",
            command=curl,
            pattern="*.answer.json",
            decodes=False,
        ),
    )
    return {one.name: one for one in everyone}


def runner(task: Task) -> Command:
    """`imagebatch run` on a table of `images` rows."""
    manifest = write_manifest(task)
    argv = [sys.executable, "-m", "batch", "run", str(manifest), "-o", str(task.folder / "out"), "--json"]
    return Command(argv=argv, env=RUNNER_ENV)


def write_manifest(task: Task) -> Path:
    """The job manifest and its table."""
    rows = "".join(f"{number}\n" for number in range(task.images))
    (task.folder / "rows.csv").write_text(f"n\n{rows}")
    manifest: dict[str, Any] = {
        "name": "benchmark",
        "provider": {"profile": "google", "base_url": task.base_url},
        "model": _MODEL,
        # Nobody here has a quota to be found: all slots from the start, as the others do it.
        "limits": {"concurrency": task.concurrency, "adaptive": False},
        "rows": "rows.csv",
        "jobs": [
            {
                "id": "job-{{ n }}",
                "prompt": "picture {{ n }}",
                "aspect_ratio": "1:1",
                "image_size": task.answer.kind.image_size,
            }
        ],
    }
    file = task.folder / "jobs.yaml"
    file.write_text(json.dumps(manifest, indent=2))  # JSON is YAML
    return file


def sdk(task: Task, python: Path, *options: str) -> Command:
    """The SDK's loop under one interpreter."""
    size = task.answer.kind.image_size
    numbers = [str(task.images), str(task.concurrency)]
    script = str(_HERE / "sdk_loop.py")
    return Command(argv=[str(python), script, task.base_url, *numbers, size, str(task.folder), *options])


def curl(task: Task) -> Command:
    """curl with one list of addresses; several curls where one may not have enough in flight."""
    (task.folder / "body.json").write_text(
        json.dumps(
            {
                "contents": [{"role": "user", "parts": [{"text": "picture"}]}],
                "generationConfig": {
                    "responseModalities": ["IMAGE"],
                    "imageConfig": {"aspectRatio": "1:1", "imageSize": task.answer.kind.image_size},
                },
            }
        )
    )
    processes = min(-(-task.concurrency // _CURL_PARALLEL), task.images)
    commands = [_one_curl(task, part, processes) for part in range(processes)]
    if processes == 1:
        return Command(argv=commands[0])
    script = "".join(f"{subprocess.list2cmdline(argv)} & p{i}=$!\n" for i, argv in enumerate(commands))
    waits = "".join(f"wait $p{i} || exit 1\n" for i in range(processes))
    return Command(argv=["sh", "-c", script + waits])


def _one_curl(task: Task, part: int, parts: int) -> list[str]:
    url = f"{task.base_url}/v1beta/models/{_MODEL}:generateContent"
    entries = "".join(
        f'url = "{url}"\noutput = "{task.folder}/{number}.answer.json"\n' for number in range(part, task.images, parts)
    )
    config = task.folder / f"curl-{part}.config"
    config.write_text(f'data-binary = "@{task.folder}/body.json"\nheader = "Content-Type: application/json"\n{entries}')
    parallel = ["--parallel", "--parallel-immediate", "--parallel-max", str(task.concurrency // parts)]
    program = shutil.which("curl")
    if program is None:
        raise RuntimeError("curl is not installed")
    return [program, "--silent", "--show-error", "--fail", *parallel, "--config", str(config)]


def sdk_environment(folder: Path) -> Path:
    """The interpreter of an environment with google-genai alone, in the version installed here.

    Made on demand and kept in the folder.
    """
    version = metadata.version("google-genai")
    environment = folder / f"google-genai-{version}"
    python = environment / "bin" / "python"
    ready = environment / "ready"
    if not ready.exists():
        print(f"making an environment with google-genai {version} alone ...", file=sys.stderr)
        shutil.rmtree(environment, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        install = [str(python), "-m", "pip", "install", "-qq", f"google-genai=={version}"]
        subprocess.run(install, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
        ready.touch()
    return python
