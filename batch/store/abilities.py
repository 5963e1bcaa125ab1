"""What the file system of an output can do: tried with a file of its own, before anything is sent.

Shares (CIFS, NFS) and memory sticks (FAT, exFAT) refuse one thing or another. Permissions are not needed, and a name
can be given without a hard link (`rename`). Without a sync of files nothing outlives a power cut, so such a place is
refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from batch.core.errors import OutputError
from batch.core.own_files import UNSUPPORTED, sync_folder
from batch.store.durable import PUBLIC_MODE, create_anew, forget, write_all

#: How the files that are tried are called.
PROBE: Final = "probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """Whether a file system has hard links, permissions, and syncs the names in a folder."""

    links: bool
    permissions: bool
    syncs_folders: bool

    def weaker(self, output: str) -> str | None:
        """What of the promises does not hold there; None if they all do."""
        if self.syncs_folders:
            return None
        return f"the file system of {output} cannot sync folders: a power cut may take the newest pictures"


def abilities_of(folder: str, output: str, *, syncs_folders: bool | None = None) -> Abilities:
    """Try the file system of a folder that can be written. Raises `OutputError` if it is no place for an `output`.

    `syncs_folders`: what is known of it already.
    """
    first, second = (os.path.join(folder, f"{PROBE}.{number}") for number in (1, 2))
    try:
        forget(second)
        descriptor = create_anew(first)
        try:
            write_all(descriptor, b"probe")
            _sync(descriptor, output)
            permissions = _can(lambda: os.fchmod(descriptor, PUBLIC_MODE))
        finally:
            os.close(descriptor)
        links = _can(lambda: os.link(first, second, follow_symlinks=False))
        os.rename(first, second)
        if syncs_folders is None:
            syncs_folders = sync_folder(folder)
    finally:
        forget(first)
        forget(second)
    return Abilities(links=links, permissions=permissions, syncs_folders=syncs_folders)


def _sync(descriptor: int, output: str) -> None:
    try:
        os.fsync(descriptor)
        os.fdatasync(descriptor)
    except OSError as error:
        raise OutputError(
            f"{output} is on a file system that cannot make files durable (fsync: {error.strerror or error}), so a "
            "power cut could take what was paid for; name a folder on another one. Nothing was sent"
        ) from error


def _can(act: Callable[[], None]) -> bool:
    try:
        act()
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return False
    return True
