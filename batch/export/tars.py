"""WebDataset: tars of so many samples each, with the same bytes every time."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from batch.export.picks import Pick
from batch.export.place import Beside
from batch.store.picture_check import EXTENSIONS

#: What a name in an old tar (USTAR) may have, with its ending.
_LONGEST_KEY: Final = 80

Sample = tuple[Pick, dict[str, Any], str]


def write_tars(writing: Beside, samples: Iterable[Sample], per_tar: int) -> list[str]:
    """Pack the pictures that were written to the export, and take the loose files away; returns the tars' names."""
    left = iter(samples)
    names: list[str] = []
    while batch := list(islice(left, per_tar)):
        name = f"{len(names):05d}.tar"
        with writing.writing(name) as out, tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for member, data in _members(writing, batch):
                _add(tar, member, data)
        for _, _, file in batch:
            writing.drop(file)
        names.append(name)
    return names


def _members(writing: Beside, batch: list[Sample]) -> Iterator[tuple[str, bytes]]:
    for pick, about, file in batch:
        key = sample_key(pick.name)
        with open(writing.folder / file, "rb") as picture:
            yield f"{key}.{EXTENSIONS[pick.mime]}", picture.read()
        text = json.dumps(about, ensure_ascii=False, sort_keys=True)
        yield f"{key}.json", text.encode("utf-8", "backslashreplace")
        yield f"{key}.txt", pick.prompt.encode("utf-8", "backslashreplace")


def sample_key(name: str) -> str:
    """A picture's name as a sample's key: without dots and folders, which have a meaning there."""
    stem = name.rpartition(".")[0]
    key = stem.replace("/", "_").replace(".", "_")
    if key == stem and len(key) <= _LONGEST_KEY:
        return key
    return f"{key[:_LONGEST_KEY]}-{hashlib.blake2b(stem.encode(), digest_size=4).hexdigest()}"


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = len(data), 0, 0o644
    tar.addfile(member, io.BytesIO(data))
