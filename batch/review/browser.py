"""Opening a browser at an address with a token in it.

A browser is started with its address as an argument, which every user of the machine can read. So it is given a file
that only its owner can read, and that leads on to the address.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from html import escape
from pathlib import Path


@contextmanager
def leading_page(address: str) -> Iterator[str]:
    """The address of such a file, which is there while the block runs."""
    descriptor, path = tempfile.mkstemp(prefix="imagebatch-review-", suffix=".html")  # readable by its owner alone
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            target = escape(address, quote=True)
            file.write(f'<!doctype html><meta http-equiv="refresh" content="0;url={target}">\n')
            file.write(f'<title>imagebatch review</title><a href="{target}">To the review</a>\n')
        yield Path(path).as_uri()
    finally:
        with suppress(OSError):
            os.unlink(path)
