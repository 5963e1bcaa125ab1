"""How a command ends that may fail half-way."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from batch.cli.console import io_words
from batch.core.errors import BatchError, StorageError


def carry_out(act: Coroutine[Any, Any, None]) -> StorageError | None:
    """A write that fails is handed back: what was written before it is to be shown all the same."""
    import asyncio

    try:
        asyncio.run(act)
    except StorageError as error:
        return error
    except OSError as error:
        return StorageError(io_words(error))
    return None


def end_with(failure: BatchError | None) -> None:
    if failure is not None:
        raise failure
