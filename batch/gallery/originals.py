"""Second names of pictures in a gallery that stands elsewhere, so that the folder can be uploaded as a whole."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from batch.core.errors import StorageError


def link_original(source: Path, target: Path) -> None:
    """A hard link, or a copy where none can be made. A file of that name is left alone, and a link leads to no
    picture of ours. Raises `StorageError`."""
    if os.path.lexists(target) or os.path.islink(source) or not os.path.isfile(source):
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):
            os.link(source, target, follow_symlinks=False)
            return
        hidden = target.with_name(f".{target.name}.part")
        shutil.copyfile(source, hidden, follow_symlinks=False)
        os.replace(hidden, target)
    except FileNotFoundError:
        return  # taken away since the folder was read
    except OSError as error:
        raise StorageError(f"cannot write {target}: {error.strerror or error}") from error
