"""Which row a key has: a hash table of row numbers in an array, because a dict needs 140 bytes for a key of 16.

Keys are hashes already, so their own first bytes say where to look. Rows are numbered in the order their keys came.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from typing import Final

KEY_BYTES: Final = 16
_SMALLEST_TABLE: Final = 1024
_first_eight_bytes = struct.Struct("=Q").unpack_from


class KeyIndex:
    """Keys of 16 bytes and their rows: 16 bytes a key, and 8 to 16 more for the table.

    A slot of the table holds a row's number plus one, zero if it is free; who finds a slot taken by another key looks
    into the next one. At least half of the slots are free, so the way is short.
    """

    def __init__(self) -> None:
        self._keys = bytearray()
        self._count = 0
        self._slots = array("I", [0]) * _SMALLEST_TABLE
        self._next = 0

    @classmethod
    def of(cls, keys: bytearray, slots: array[int]) -> KeyIndex:
        """From the two columns of another one."""
        made = cls()
        made._keys, made._slots, made._count = keys, slots, len(keys) // KEY_BYTES
        return made

    @property
    def columns(self) -> tuple[bytearray, array[int]]:
        """The keys, 16 bytes each in the order of their rows, and the table that finds them."""
        return self._keys, self._slots

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyIndex) and self.columns == other.columns

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        return map(self.key_at, range(self._count))

    def key_at(self, row: int) -> bytes:
        return bytes(self._keys[row * KEY_BYTES : (row + 1) * KEY_BYTES])

    def row_of(self, key: bytes) -> int | None:
        """The key's row; None if it has none. Quickest when asked in the order of the rows, as a plan does."""
        keys = self._keys
        if keys.startswith(key, self._next):
            row = self._next // KEY_BYTES
        else:
            slots = self._slots
            last = len(slots) - 1
            slot = _first_eight_bytes(key)[0] & last
            while (taken := slots[slot]) and not keys.startswith(key, (taken - 1) * KEY_BYTES):
                slot = (slot + 1) & last
            if not taken:
                return None
            row = taken - 1
        self._next = (row + 1) * KEY_BYTES
        return row

    def row_or_new(self, key: bytes) -> int:
        """The key's row, which is the next free one (the number of keys so far) if it has none yet."""
        keys, slots = self._keys, self._slots
        last = len(slots) - 1
        slot: int = _first_eight_bytes(key)[0] & last
        while taken := slots[slot]:
            if keys.startswith(key, (taken - 1) * KEY_BYTES):
                return taken - 1
            slot = (slot + 1) & last
        row = self._count
        keys += key
        self._count = slots[slot] = row + 1
        if 2 * self._count > len(slots):
            self._double()
        return row

    def _double(self) -> None:
        slots = self._slots = array("I", [0]) * (2 * len(self._slots))
        last = len(slots) - 1
        with memoryview(self._keys) as keys, keys.cast("Q") as halves:
            for taken, beginning in enumerate(halves[::2], start=1):
                slot = beginning & last
                while slots[slot]:
                    slot = (slot + 1) & last
                slots[slot] = taken


class KeyMap:
    """A number (0 to 2**32 - 1) for every key: the first one it was given."""

    def __init__(self) -> None:
        self._rows = KeyIndex()
        self._numbers = array("I")

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: bytes) -> bool:
        return self.get(key) is not None

    def get(self, key: bytes) -> int | None:
        """The key's number; None if it has none."""
        if not self._numbers:
            return None
        row = self._rows.row_of(key)
        return None if row is None else self._numbers[row]

    def add(self, key: bytes, number: int) -> int:
        """Give the key a number, unless it has one; returns the one it has."""
        row = self._rows.row_or_new(key)
        if row == len(self._numbers):
            self._numbers.append(number)
            return number
        return self._numbers[row]
