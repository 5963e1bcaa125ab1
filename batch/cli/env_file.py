"""`--env-file`: variables from a file, for this process only. Nothing is exported, so no child ever sees them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

_LINE: Final = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_QUOTED: Final = re.compile(r"""(["'])(.*)\1\s*(?:#.*)?""")


def read_env_file(file: Path) -> Mapping[str, str]:
    """The variables of a file: `NAME=value` on each line, `#` before comments, quotes around values with blanks.

    Nothing is expanded. Raises `UsageError` that names the line, and never shows its value.
    """
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        why = (error.strerror or error) if isinstance(error, OSError) else "it is not UTF-8 text"
        raise click.UsageError(f"--env-file {file} cannot be read: {why}") from None
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip()
        if not words or words.startswith("#"):
            continue
        match = _LINE.fullmatch(words)
        if match is None:
            raise click.UsageError(f"--env-file {file}:{number} is no NAME=value")
        found[match[1]] = _value(match[2])
    return found


def _value(text: str) -> str:
    quoted = _QUOTED.fullmatch(text)
    return quoted[2] if quoted is not None else re.split(r"\s+#", text)[0].strip()
