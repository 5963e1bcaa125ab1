"""Pictures that were fetched from web addresses, kept for later runs under $XDG_CACHE_HOME/imagebatch/references.

    urls/<2 hex>/<sha256 of the address>.json    which picture was there, and what the server said of its version
    pictures/<2 hex>/<sha256 of the content>     the picture

Addresses are not written down: they may hold a signature. Every file gets its name when it is whole, so several
processes can share the cache, and all of it may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from batch.core.errors import OutputError
from batch.core.own_files import open_to_read
from batch.core.state_folders import cache_home

#: Longer values of these headers are not worth keeping.
_LONGEST_HEADER: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPicture:
    """What is known of the picture at one address. `etag` and `last_modified` are the server's words, or empty."""

    sha256: str
    mime: str
    size_bytes: int
    etag: str = ""
    last_modified: str = ""

    @property
    def conditions(self) -> dict[str, str]:
        """Headers of a request to be answered only if the picture is another by now."""
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in headers.items() if value}


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where fetched pictures are kept."""
    return cache_home(environment) / "references"


class ReferenceCache:
    """The folder. Raises `OutputError` if it cannot be written; what cannot be read is not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, url: str) -> KeptPicture | None:
        """What is kept of an address, if the picture is there in its full length."""
        try:
            with open_to_read(self._record(url)) as stream:
                kept = _parsed(stream.read())
            is_whole = kept is not None and os.stat(self.file(kept.sha256)).st_size == kept.size_bytes
        except OSError:
            return None
        return kept if is_whole else None

    def is_intact(self, kept: KeptPicture) -> bool:
        """Whether the picture still is what it was, to the last byte."""
        try:
            digest = hashlib.sha256()
            with open_to_read(self.file(kept.sha256)) as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
            return digest.hexdigest() == kept.sha256
        except OSError:
            return False

    def file(self, sha256: str) -> Path:
        """Where a picture lies."""
        return self.folder / "pictures" / sha256[:2] / sha256

    def keep(self, url: str, data: bytes, mime: str, headers: Mapping[str, str]) -> KeptPicture:
        """Keep what was at an address, with what the answer's headers say of its version."""
        kept = KeptPicture(
            sha256=hashlib.sha256(data).hexdigest(),
            mime=mime,
            size_bytes=len(data),
            etag=_plain(headers.get("etag", "")),
            last_modified=_plain(headers.get("last-modified", "")),
        )
        try:
            _write(self.file(kept.sha256), data)
            _write(self._record(url), json.dumps(asdict(kept)).encode())
        except OSError as error:
            raise OutputError(
                f"fetched pictures cannot be kept in {self.folder}: {error.strerror}; make room there, or name another "
                "folder in XDG_CACHE_HOME"
            ) from None
        return kept

    def _record(self, url: str) -> Path:
        name = hashlib.sha256(url.encode()).hexdigest()
        return self.folder / "urls" / name[:2] / f"{name}.json"


def _parsed(data: bytes) -> KeptPicture | None:
    """A record, if it is one of ours and undamaged."""
    try:
        kept = KeptPicture(**json.loads(data))
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (kept.sha256, kept.mime, kept.etag, kept.last_modified)
    if not all(isinstance(text, str) and text == _plain(text) for text in texts) or type(kept.size_bytes) is not int:
        return None
    return kept if re.fullmatch("[0-9a-f]{64}", kept.sha256) else None


def _plain(header: str) -> str:
    """A header's value, if it can be sent back as it is."""
    return header if len(header) <= _LONGEST_HEADER and header.isascii() and header.isprintable() else ""


def _write(file: Path, data: bytes) -> None:
    """Put a file in its place whole; readers see the old one or the new one."""
    _make_folder(file.parent)
    descriptor, name = tempfile.mkstemp(dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        os.replace(name, file)
    except BaseException:
        with suppress(OSError):  # why it could not be written is what matters; a file without a name in use is no harm
            os.unlink(name)
        raise


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, for its owner's eyes only."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
