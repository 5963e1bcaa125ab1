"""Reference pictures: found, checked and hashed before anything is sent.

A reference is uploaded to a stranger's computer, so it must lie under one folder, and it must be a picture by
its content, whatever its name. Each distinct file is read once; only a hundred bytes per file stay in memory.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import warnings
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image, UnidentifiedImageError

from batch.manifest.files import FileProblem, open_regular, reason
from batch.manifest.problems import show
from batch.model import Reference

MAX_PIXELS: Final = 50_000_000
MAX_FILE_BYTES: Final = 100 * 1024 * 1024

#: Pillow's names of the formats it may try, and their MIME types. The list is closed on purpose: other
#: parsers start programs (EPS) or read documents. Phones write JPEGs that Pillow calls MPO.
_MIME_BY_FORMAT: Final = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
}
_FORMATS: Final = tuple(name for name in _MIME_BY_FORMAT if name != "MPO")  # its reader is the JPEG reader
_READABLE: Final = "PNG, JPEG, WEBP, GIF, BMP, TIFF or AVIF"


class ReferenceProblem(Exception):  # carries a sentence to the report
    """A reference that cannot be sent; the text says why."""


class _Facts(NamedTuple):
    """What is remembered of a file. `problem` is empty for a good one."""

    sha256: bytes
    mime: str
    problem: str


class References:
    """The pictures under one folder."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder = folder
        self._root = os.path.realpath(root)
        self._inside = self._root.rstrip(os.sep) + os.sep
        self._known: dict[bytes, _Facts] = {}

    def get(self, name: str) -> Reference:
        """The reference a manifest calls `name`; raises ReferenceProblem if it cannot be sent."""
        file, facts = self._find(name)
        key = hashlib.blake2b(
            f"{file}\0{facts.st_ino}\0{facts.st_size}\0{facts.st_mtime_ns}".encode("utf-8", "surrogateescape"),
            digest_size=16,
        ).digest()
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _examined(file)
        if known.problem:
            raise _problem(name, known.problem)
        return Reference(
            name=name, file=Path(file), sha256=known.sha256.hex(), mime=known.mime, size_bytes=facts.st_size
        )

    def _find(self, name: str) -> tuple[str, os.stat_result]:
        if not name.strip():
            raise ReferenceProblem("a reference is empty; name a file or leave it out")
        try:
            file = os.path.realpath(os.path.join(self._folder, name))
            if not file.startswith(self._inside):
                raise _problem(name, "lies outside reference_root; references are uploaded, so name its folder there")
            facts = os.stat(file)
        except OSError as error:
            hint = "; write / between folders" if "\\" in name else ""
            raise _problem(name, reason(error) + hint) from error
        except ValueError as error:
            raise _problem(name, "is no valid file name") from error
        if not stat.S_ISREG(facts.st_mode):
            raise _problem(name, "is not a regular file")
        return file, facts


def _problem(name: str, why: str) -> ReferenceProblem:
    return ReferenceProblem(f"reference {show(name)} {why}")


def _examined(file: str) -> _Facts:
    """Read a file once: its hash, its format, and whether it is whole."""
    try:
        with open_regular(file) as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
        mime = _picture_mime(data)
    except FileProblem as error:
        return _Facts(b"", "", str(error))
    except OSError as error:
        return _Facts(b"", "", reason(error))
    except ReferenceProblem as error:
        return _Facts(b"", "", str(error))
    return _Facts(hashlib.sha256(data).digest(), mime, "")


def _picture_mime(data: bytes) -> str:
    if not data:
        raise ReferenceProblem("is empty")
    if len(data) > MAX_FILE_BYTES:
        raise ReferenceProblem(f"is larger than {MAX_FILE_BYTES // 1024 // 1024} MB")
    try:
        with warnings.catch_warnings():
            # Pillow only warns between one and two times its limit, and warns of oddities in whole pictures.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _decoded_mime(data)
    except ReferenceProblem:
        raise
    except UnidentifiedImageError:
        raise ReferenceProblem(f"is not a picture that can be read; save it as {_READABLE}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many_pixels() from None
    except Exception as error:  # decoders of damaged pictures raise anything from SyntaxError to struct.error
        raise ReferenceProblem(f"is damaged or cut off ({show(str(error))})") from error


def _decoded_mime(data: bytes) -> str:
    with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
        if picture.width * picture.height > MAX_PIXELS:
            raise _too_many_pixels()
        mime = _MIME_BY_FORMAT[picture.format or ""]
        # A JPEG read at an eighth of its size is still read to its end; the other formats ignore this.
        picture.draft(None, (1, 1))
        picture.load()
        return mime


def _too_many_pixels() -> ReferenceProblem:
    return ReferenceProblem(f"has more than {MAX_PIXELS // 1_000_000} million pixels; make it smaller")
