"""Columns of numbers and hashes on their way through a pipe, as they lie in memory."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import IO, TypeAlias

Column: TypeAlias = "bytearray | array[int] | array[float]"


def write_columns(stream: IO[bytes], columns: Sequence[Column]) -> None:
    """Write each column with its length before it."""
    for column in columns:
        with memoryview(column) as view, view.cast("B") as data:
            stream.write(data.nbytes.to_bytes(8, "little"))
            stream.write(data)


def read_columns(stream: IO[bytes], columns: Sequence[Column]) -> None:
    """Fill empty columns with what `write_columns` wrote. Raises `EOFError` if that ends too soon."""
    for column in columns:
        data = exactly(stream, int.from_bytes(exactly(stream, 8), "little"))
        if isinstance(column, bytearray):
            column += data
        else:
            column.frombytes(data)


def exactly(stream: IO[bytes], size_bytes: int) -> bytes:
    """So many bytes. Raises `EOFError` if there are fewer."""
    data = stream.read(size_bytes)
    if len(data) < size_bytes:
        raise EOFError(f"{len(data)} bytes instead of {size_bytes}")
    return data
