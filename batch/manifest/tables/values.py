"""When two cells hold the same value."""

from __future__ import annotations

import unicodedata
from typing import Any


def value_of(cell: Any) -> bytes | None:
    """What makes two rows one kind; None for nothing. Spellings that look the same are one value."""
    if not isinstance(cell, str):
        return None
    value = cell.strip() if cell.isascii() else unicodedata.normalize("NFC", cell).strip()
    return value.encode("utf-8", "surrogatepass") or None
