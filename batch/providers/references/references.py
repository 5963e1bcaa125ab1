"""Reference pictures as they go into a request: read, compared with what was checked, made to fit, encoded once."""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final, TypeAlias

import pybase64

from batch.core.errors import Refused
from batch.core.hashing import sha256_of
from batch.core.model import Reference
from batch.core.profiles import CAREFUL_LIMITS, ReferenceLimits
from batch.pictures.opening import UnreadablePicture
from batch.providers.references.shrinking import CannotFit, fitted

#: Encoded references kept in memory; a catalog's jobs often share a few.
CACHE_BYTES: Final = 64 << 20

#: Each takes up to 80 MB while it is scaled; of larger ones, `batch.pictures` decodes one at a time.
_AT_ONCE: Final = 2
_READ_AT_ONCE_BYTES: Final = 32 << 20

#: What a reference costs in a request beside its own base64.
_AROUND_BYTES: Final = 128

#: When a request is too large, its files may have this share of what they might have, and again, to the smallest.
#: Steps, so that jobs with other companions still share one encoding.
_STEP: Final = 0.75
_SMALLEST_FILE_BYTES: Final = 16_000

#: Which version: the original's hash, and how many bytes it may have.
_Key: TypeAlias = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedReference:
    """A reference as base64, with the MIME type its bytes really have (the API refuses a wrong one)."""

    mime: str
    base64: bytes


class ReferenceEncoder:
    """Encodes references within a provider's limits, keeping the most recently used.

    Requests that need the same one at the same time share the work, which happens in a thread.
    """

    def __init__(self, limits: ReferenceLimits = CAREFUL_LIMITS, cache_bytes: int = CACHE_BYTES) -> None:
        self._limits = limits
        self._most_kept = cache_bytes
        #: Characters of base64 that are kept.
        self.held_bytes = 0
        self._cache: OrderedDict[_Key, EncodedReference] = OrderedDict()
        self._making: dict[_Key, asyncio.Task[EncodedReference]] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    @property
    def kept(self) -> list[str]:
        """Hashes of the references that are kept, the least recently used first."""
        return [sha256 for sha256, _ in self._cache]

    @property
    def is_busy(self) -> bool:
        """Whether any reference is being encoded."""
        return bool(self._making)

    async def encode(self, references: Sequence[Reference], *, beside_bytes: int = 0) -> list[EncodedReference]:
        """The references of one request, which has `beside_bytes` of other text.

        Raises `Refused` if a file is gone or holds other bytes than when checked, or if they cannot be made to fit.
        """
        most_bytes = self._limits.file_bytes
        encoded = [await self._version(reference, most_bytes) for reference in references]
        room = self._limits.body_bytes - beside_bytes - _AROUND_BYTES * len(references)
        if sum(len(one.base64) for one in encoded) <= room:
            return encoded
        most_bytes = self._share([len(one.base64) for one in encoded], room)
        return [
            one if len(one.base64) <= _base64_bytes(most_bytes) else await self._version(reference, most_bytes)
            for one, reference in zip(encoded, references, strict=True)
        ]

    def _share(self, sizes: Sequence[int], room: int) -> int:
        """How many bytes each file may have so that together they fit; small ones leave theirs to the others."""
        for most_bytes in _steps(self._limits.file_bytes):
            if sum(min(size, _base64_bytes(most_bytes)) for size in sizes) <= room:
                return most_bytes
        raise self._too_large(f"{len(sizes)} references")

    def _too_large(self, what: str) -> Refused:
        limit = f"{self._limits.body_bytes / 1_000_000:g} MB"
        return Refused("request_too_large", f"{what} cannot be made to fit into a request of {limit}; send less")

    async def _version(self, reference: Reference, most_bytes: int) -> EncodedReference:
        key = reference.sha256, most_bytes
        kept = self._cache.get(key)
        if kept is not None:
            self._cache.move_to_end(key)
            return kept
        task = self._making.get(key)
        if task is None:
            task = self._making[key] = asyncio.create_task(self._make(key, reference))
            task.add_done_callback(_look_at_its_error)
        return await asyncio.shield(task)  # one that gives up does not stop the others

    async def _make(self, key: _Key, reference: Reference) -> EncodedReference:
        try:
            async with self._turns:
                encoded = await asyncio.to_thread(encode_reference, reference, self._limits.side_pixels, key[1])
        except CannotFit:
            raise self._too_large(f"reference {reference.name!r}") from None
        finally:
            del self._making[key]
        self._keep(key, encoded)
        return encoded

    def _keep(self, key: _Key, encoded: EncodedReference) -> None:
        if key in self._cache or len(encoded.base64) > self._most_kept:
            return
        self._cache[key] = encoded
        self.held_bytes += len(encoded.base64)
        while self.held_bytes > self._most_kept:
            _, dropped = self._cache.popitem(last=False)
            self.held_bytes -= len(dropped.base64)


def _steps(most_bytes: int) -> Iterator[int]:
    while most_bytes >= _SMALLEST_FILE_BYTES:
        yield most_bytes
        most_bytes = round(most_bytes * _STEP)


def _base64_bytes(size: int) -> int:
    return (size + 2) // 3 * 4


def _look_at_its_error(task: asyncio.Task[EncodedReference]) -> None:
    """Looks at the error if every waiter gave up; else asyncio would complain."""
    if not task.cancelled():
        task.exception()


def _opened(reference: Reference) -> BinaryIO:
    return open(reference.file, "rb") if reference.data is None else io.BytesIO(reference.data)


def encode_reference(reference: Reference, side_pixels: int | None, most_bytes: int) -> EncodedReference:
    """Read, compare and convert one reference. Raises `Refused` or `CannotFit`."""
    try:
        with _opened(reference) as opened:
            # A small file is read once, so that what is sent is what is compared, whatever happens to it meanwhile.
            file: BinaryIO = io.BytesIO(opened.read()) if reference.size_bytes <= _READ_AT_ONCE_BYTES else opened
            mime, data = _converted(reference, file, side_pixels, most_bytes)
            if sha256_of(file).hex() != reference.sha256:
                raise _changed(reference)
    except OSError as error:
        raise Refused(
            "reference_unreadable",
            f"reference {reference.name!r} cannot be read any more: {error.strerror}",
            may_work_later=True,
        ) from None
    return EncodedReference(mime=mime, base64=pybase64.b64encode(data))


def _converted(reference: Reference, file: BinaryIO, side_pixels: int | None, most_bytes: int) -> tuple[str, bytes]:
    try:
        return fitted(file, side_pixels=side_pixels, most_bytes=most_bytes)
    except UnreadablePicture as problem:
        if sha256_of(file).hex() != reference.sha256:
            raise _changed(reference) from None
        raise Refused("reference_unreadable", f"reference {reference.name!r} {problem}") from None
    except MemoryError:
        raise Refused(
            "reference_unreadable", f"reference {reference.name!r} needs more memory than there is; make it smaller"
        ) from None


def _changed(reference: Reference) -> Refused:
    return Refused(
        "reference_changed", f"reference {reference.name!r} was changed while the run was on", may_work_later=True
    )
