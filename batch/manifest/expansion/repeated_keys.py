"""Which keys came twice, for 8 bytes a key."""

from __future__ import annotations

from collections.abc import Iterator
from struct import iter_unpack
from typing import Final

#: Keys whose double use is looked up and named; the rest is counted.
_NAMED: Final = 1000
#: So much of a key is kept to find out whether it comes twice.
_BEGINNING_BYTES: Final = 9


class RepeatedKeys:
    """Which keys came twice: their beginnings, kept unsorted in 256 heaps, compared at the end.

    Should two different keys begin alike, which will not happen in a lifetime, then none is found to come twice later.
    """

    def __init__(self) -> None:
        self._heaps = [bytearray() for _ in range(256)]

    def add(self, key: bytes) -> None:
        self._heaps[key[0]] += key[1:_BEGINNING_BYTES]

    def repeated(self) -> tuple[set[bytes], int]:
        """The beginnings of some of the keys that came twice, and how many more there are."""
        more = 0
        found: set[bytes] = set()
        for first, heap in enumerate(self._heaps):
            for beginning in _repeated(heap):
                key = bytes([first]) + beginning
                if len(found) < _NAMED:
                    found.add(key)
                else:
                    more += key not in found
        return found, more


def beginning(key: bytes) -> bytes:
    """What `repeated` knows a key by."""
    return key[:_BEGINNING_BYTES]


def _repeated(heap: bytearray) -> Iterator[bytes]:
    """Every 8 bytes that were there before."""
    with memoryview(heap) as whole, whole.cast("Q") as numbers:
        if len(set(numbers)) == len(numbers):  # as nearly always, and quickly found out
            return
    seen: set[bytes] = set()
    for (found,) in iter_unpack("8s", heap):
        if found in seen:
            yield found
        seen.add(found)
