"""Runs a command to its end within a time limit and says what it used."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_WAIT4: Final = Path(__file__).with_name("wait4.py")
ROOT: Final = Path(__file__).resolve().parent.parent


class CommandFailed(RuntimeError):
    """The command ended with another code than 0, or not in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a command and its children used. MB are 1,000,000 bytes."""

    exit_code: int
    wall_seconds: float
    user_seconds: float
    system_seconds: float
    peak_mb: float

    @property
    def cpu_seconds(self) -> float:
        return self.user_seconds + self.system_seconds


def run(argv: list[str], *, log: Path, timeout: float, env: Mapping[str, str] | None = None) -> Usage:
    """Runs the command from the repository's root; its output goes to `log`."""
    usage_file = log.with_suffix(".usage.json")
    wrapped = [sys.executable, "-I", "-S", str(_WAIT4), str(usage_file), *argv]
    with (
        open(log, "wb") as output,
        subprocess.Popen(
            wrapped,
            cwd=ROOT,
            env={**_plain_environment(), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            process.wait(timeout=timeout)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise CommandFailed(f"not finished after {timeout:.0f} s: {tail(log)}") from None
            raise
    usage = Usage(**json.loads(usage_file.read_bytes()))
    if usage.exit_code != 0:
        raise CommandFailed(f"exit code {usage.exit_code}: {tail(log)}")
    return usage


def tail(log: Path, length: int = 600) -> str:
    """The end of a log, as one line."""
    return " ".join(log.read_bytes()[-length:].decode(errors="replace").split())


def _plain_environment() -> dict[str, str]:
    """Without what would bend the requests, or have every start compile the sources anew."""
    dropped = {
        "pythondontwritebytecode",
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "google_api_key",
        "google_gemini_base_url",
    }
    return {name: value for name, value in os.environ.items() if name.lower() not in dropped}
