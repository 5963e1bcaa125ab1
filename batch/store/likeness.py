"""Whether a picture is one of its job's references, byte for byte or pixel for pixel.

What is known of a reference is kept, for many jobs have the same ones. A picture is decoded for this only if it has a
reference's size in pixels.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from batch.core.model import Reference
from batch.store.decoding import Decoded, Undecodable, size_of
from batch.store.picture_check import PictureFacts

_KEPT: Final = 4096
_LARGEST_BYTES: Final = 64 << 20


def same_as_reference(file: str, facts: PictureFacts, references: Sequence[Reference]) -> Reference | None:
    """The reference that a picture is a copy of, if there is one that can still be read."""
    for reference in references:
        if reference.sha256 == facts.sha256:
            return reference
    sizes = {(facts.width, facts.height), (facts.height, facts.width)}
    files = [each for each in references if each.data is None]
    alike = [each for each in files if _size_of(os.fspath(each.file), each.sha256) in sizes]
    pixels = _pixels(file) if alike else None
    if pixels is None:
        return None
    return next((each for each in alike if _pixels_of(os.fspath(each.file), each.sha256) == pixels), None)


@lru_cache(_KEPT)
def _size_of(file: str, sha256: str) -> tuple[int, int] | None:  # noqa: ARG001  (the content the size is known for)
    return size_of(file)


@lru_cache(_KEPT)
def _pixels_of(file: str, sha256: str) -> bytes | None:  # noqa: ARG001  (the content the pixels are known for)
    return _pixels(file)


def _pixels(file: str) -> bytes | None:
    try:
        if os.path.getsize(file) > _LARGEST_BYTES:
            return None
        with open(file, "rb") as opened:
            return Decoded(opened.read()).pixels()
    except (OSError, Undecodable):
        return None
