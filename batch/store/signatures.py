"""Signatures that came with pictures: what is sent back to go on with one. A file for each, by the picture's hash."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

import pybase64

from batch.core.model import Image
from batch.core.own_files import sync_folder
from batch.providers.base import Blob
from batch.store.durable import create_anew, replace_file, storage_errors, write_all

FOLDER: Final = "signatures"


def keep_signature(output: Path, image: Image, signature: str | Blob) -> str:
    """Keep what came with a picture, durably; returns its path in the output folder. Raises `StorageError`."""
    name = f"{FOLDER}/{image.sha256}"
    path = str(output / name)
    hidden = f"{path}.{threading.get_ident()}.part"  # the same bytes may be kept twice at once
    with storage_errors("keep a signature"):
        if not os.path.isdir(output / FOLDER):
            os.makedirs(output / FOLDER, exist_ok=True)
            sync_folder(str(output))
        descriptor = create_anew(hidden)
        try:
            write_all(descriptor, _text(signature))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        replace_file(path, hidden)
    return name


def _text(signature: str | Blob) -> bytes:
    """As base64: a long one was decoded on its way into its file."""
    if isinstance(signature, str):
        return signature.encode("ascii", "replace")
    with open(signature.file, "rb") as file:
        data = file.read()
    return pybase64.b64encode(data) if signature.is_base64 else data
