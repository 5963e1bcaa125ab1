"""Which implementation of the contracts keeps an output: files in its folder. The one place that knows."""

from __future__ import annotations

from pathlib import Path

from batch.store.contracts import Log, LogReader, Ownership, Shelf
from batch.store.ledger import NAME as LEDGER
from batch.store.ledger import LedgerFile, LedgerView
from batch.store.picture_folder import PictureFolder


def log_of(output: Path) -> LogReader:
    """The log of an output, to read; there need not be one."""
    return LedgerView(output / LEDGER)


def open_log(output: Path) -> Log:
    """The log of an output that is owned, to write; made if there is none. Raises `StorageError`."""
    return LedgerFile(str(output / LEDGER))


def shelf_of(output: Path) -> Shelf:
    """Where the pictures of an output lie."""
    return PictureFolder(str(output))


def ownership_of(output: Path) -> Ownership:
    """Who may write to an output."""
    from batch.store.lock import OutputLock

    return OutputLock(str(output))
