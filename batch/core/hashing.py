"""The hash of a file's content."""

from __future__ import annotations

import hashlib
from typing import BinaryIO, Final

_BLOCK_BYTES: Final = 1 << 20


def sha256_of(file: BinaryIO) -> bytes:
    """SHA-256 of an open file, from its beginning to its end."""
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
    return digest.digest()
