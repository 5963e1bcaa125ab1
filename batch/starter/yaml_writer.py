"""Texts as YAML writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final


def joined(*parts: str) -> str:
    """Parts of a path, as a manifest writes it; nothing for this folder."""
    return "/".join(part for part in parts if part not in ("", "."))


_PLAIN: Final[Callable[[str], object]] = re.compile(r"[A-Za-z][A-Za-z0-9_./ ()-]*[A-Za-z0-9)]").fullmatch
_WORDS_OF_YAML: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def yaml_scalar(text: str) -> str:
    """A text as YAML: plain where it cannot be taken for anything else, else quoted as JSON is."""
    plain = _PLAIN(text) is not None and text.lower() not in _WORDS_OF_YAML
    return text if plain else json.dumps(text, ensure_ascii=False)
