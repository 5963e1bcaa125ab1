"""Reference pictures as they go into a request: read, compared with what was checked, converted, encoded once."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import pybase64
from PIL import Image as Pillow

from batch.capabilities import REFERENCE_MIME_TYPES
from batch.errors import Refused
from batch.model import Reference

#: Encoded references kept in memory; a catalog's jobs often share a few.
CACHE_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedReference:
    """A reference as base64, with the MIME type its bytes really have (the API refuses a wrong one)."""

    mime: str
    base64: bytes


class ReferenceEncoder:
    """Encodes references, keeping the most recently used. Reading happens in a thread."""

    def __init__(self, cache_bytes: int = CACHE_BYTES) -> None:
        self._limit = cache_bytes
        self._held = 0
        self._cache: OrderedDict[str, EncodedReference] = OrderedDict()

    async def encode(self, reference: Reference) -> EncodedReference:
        """The encoded picture. Raises `Refused` if the file is gone or holds other bytes than when checked."""
        cached = self._cache.get(reference.sha256)
        if cached is not None:
            self._cache.move_to_end(reference.sha256)
            return cached
        encoded = await asyncio.to_thread(_encode, reference)
        self._keep(reference.sha256, encoded)
        return encoded

    def _keep(self, sha256: str, encoded: EncodedReference) -> None:
        if sha256 in self._cache or len(encoded.base64) > self._limit:
            return
        self._cache[sha256] = encoded
        self._held += len(encoded.base64)
        while self._held > self._limit:
            _, dropped = self._cache.popitem(last=False)
            self._held -= len(dropped.base64)


def _encode(reference: Reference) -> EncodedReference:
    try:
        data = reference.file.read_bytes()
    except OSError as error:
        raise Refused(
            "reference_unreadable", f"reference {reference.name!r} cannot be read any more: {error.strerror}",
            may_work_later=True,
        ) from None
    if hashlib.sha256(data).hexdigest() != reference.sha256:
        raise Refused(
            "reference_changed", f"reference {reference.name!r} was changed while the run was on", may_work_later=True
        )
    mime = reference.mime
    if mime not in REFERENCE_MIME_TYPES:
        try:
            mime, data = "image/png", _as_png(data)
        except (OSError, ValueError, SyntaxError, EOFError, Pillow.DecompressionBombError) as error:
            raise Refused(
                "reference_unreadable", f"reference {reference.name!r} cannot be converted to PNG: {error}"
            ) from None
    return EncodedReference(mime=mime, base64=pybase64.b64encode(data))


def _as_png(data: bytes) -> bytes:
    """The picture's first frame as PNG, for formats that the API does not take."""
    with Pillow.open(io.BytesIO(data)) as picture:
        out = io.BytesIO()
        mode = "RGBA" if "A" in picture.getbands() or "transparency" in picture.info else "RGB"
        picture.convert(mode).save(out, "PNG")
    return out.getvalue()
